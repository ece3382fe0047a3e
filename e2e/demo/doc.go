// SPDX-License-Identifier: Apache-2.0

// Command demo tells Herald's story in one go, on one machine: a cluster of three
// nodes, a Service that gets addresses, a client outside that reaches it, a node that
// is cut off, and the client that hardly notices. make demo runs it; it needs root,
// for network namespaces.
//
// The manifests are those of config/, applied with kubectl as a user would; only the
// web server is the lab's own, because it tells which node it runs on.
//
// The exit status is 0 only if everything it tells was true. KEEP=1 leaves the lab
// running. An interrupt ends it and leaves nothing behind.
package main
