// SPDX-License-Identifier: Apache-2.0

// Package stage is what every package of stories plays on: a cluster of the lab with
// Herald installed as a user installs it, the logs that Herald leaves, and the wait for
// something to become true.
//
// It must not know any story, nor what Herald does. It starts no goroutine of its own;
// the lab's end in Close.
package stage
