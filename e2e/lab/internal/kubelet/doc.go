// SPDX-License-Identifier: Apache-2.0

// Package kubelet is the lab's scheduler and its kubelets: it binds pods to
// nodes, and runs the pods of every node as processes.
//
// It owns what the two do between the API server and the processes: addresses
// of pods, their volumes, environment, identity and capabilities, probes,
// restarts, status. It must not know what the programs do, nor how links and
// switches are built.
//
// It differs from the real ones by being quick (a container is probed every
// 100 ms until it is ready for the first time) and by knowing only the programs
// it is given: an image is a name for one of those.
//
// # Goroutines
//
// Kubelet.Run has one that takes pods off a queue one by one, schedules them and
// hands them to their runner. Each pod has a runner with one goroutine of its
// own, one for each container and one for each probe; they end before Run does.
package kubelet
