// SPDX-License-Identifier: Apache-2.0

// Package netns creates, enters and removes named network namespaces.
//
// It owns the bind mounts under /run/netns (the place where "ip netns" looks,
// so that people can use it too) and the rule for code that runs inside a
// namespace: on a locked thread that is given back only when it is home again.
// It knows nothing about links, addresses or Kubernetes.
//
// Goroutines: Enter uses one for its duration; Spawner keeps one, with a
// thread, until it is closed.
package netns
