// SPDX-License-Identifier: Apache-2.0

// Package container starts a program the way a container runtime starts it from
// an image on an empty base: with a root file system of its own that holds the
// program and what is mounted, its own process, host name and IPC namespaces,
// and no capability that was not given.
//
// It owns both halves: Command, which a lab calls, and Become, which the started
// copy of the lab's binary calls to turn itself into the program. It must not
// know about pods; network namespaces are the caller's.
//
// No goroutines.
package container
