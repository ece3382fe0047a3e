// SPDX-License-Identifier: Apache-2.0

// Package registry knows which labs there are on this machine, and removes what
// is left of those whose program has died.
//
// It owns one directory (by default /run/herald-lab) with one directory for each
// lab, the rule for telling a living lab from a dead one (process id and start
// time), and the rule for telling a lab's processes from all others (they are in
// one of its network namespaces). It must not know how a lab is built.
//
// No goroutines.
package registry
