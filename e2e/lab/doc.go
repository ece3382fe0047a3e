// SPDX-License-Identifier: Apache-2.0

// Package lab brings up a real Kubernetes cluster on one Linux machine, out of
// network namespaces and ordinary processes: no containers runtime, no image
// registry, no virtual machines.
//
// # What it owns
//
// A [Lab] is a topology (a containerlab file) made real: each Kubernetes node,
// client, router and switch is a network namespace; links are veth pairs;
// switches are Linux bridges. etcd, kube-apiserver and
// kube-controller-manager run in a control-plane namespace, one kube-proxy
// runs in each node's. The lab schedules pods and plays the kubelet: it runs
// the processes of Deployments and DaemonSets whose programs it knows (the echo
// server, Herald's controller and speaker), each with the network, identity,
// capabilities, files and environment its manifest states.
//
// # What it must not know
//
// Anything about how Herald works. The lab applies manifests and observes from
// outside; it never imports the product's packages.
//
// # Use
//
//	l, err := lab.Start(ctx, lab.Options{Topology: "e2e/topologies/l2.clab.yml"})
//	defer l.Close()
//
//	err = l.Apply(ctx, manifest)                       // kubectl apply -f -
//	out, err := l.Kubectl(ctx, "get", "svc", "-A")     // plain kubectl
//	clientset := l.Clientset()                         // typed, as cluster admin
//
//	c, err := l.Client("client1")                      // a *Host; also l.Router, l.Switch
//	out, err = c.Exec(ctx, "ping", "-c1", "192.0.2.1") // runs in its namespace
//	conn, err := c.Dial(ctx, "tcp", "192.0.2.1:80")    // dials from its namespace
//	echo, err := c.Echo(ctx, "tcp", "192.0.2.1:80")    // what an echo pod reports: node, pod, client
//	mac, err := c.MACOf(addr)                          // its neighbour table
//	frames, err := c.Capture("eth1")                   // frames seen on an interface
//	err = c.Netns().Enter(func() error { ... })        // Go code inside the namespace
//
//	n, err := l.Node("k8s-worker")                     // a *Node: a *Host and more
//	err = n.Label(ctx, "rack", "a")                    // "" removes the label
//	err = n.SetCondition(ctx, corev1.NodeNetworkUnavailable, corev1.ConditionTrue)
//
// # Faults
//
//	err = l.CutLink("k8s-worker:eth1")                 // both ends lose carrier; RestoreLink
//	err = n.Isolate()                                  // every link of the node; n.Rejoin
//	err = n.Kill(ctx)                                  // its processes end, its links go; n.Revive
//	err = l.Kill("k8s-worker/speaker")                 // SIGKILL; the lab's kubelet restarts it
//	err = l.Pause("k8s-worker/speaker")                // SIGSTOP; Continue
//	err = l.Partition(ctx, []string{"k8s-worker"}, rest) // frames between the sets vanish; Heal
//	err = l.Silence(ctx, []string{"k8s-worker"}, rest) // only those that way; Heal
//	err = l.Lose("k8s-worker:eth1", 20)                // percent of frames, both ways; 0 restores
//	err = l.RestartAPIServer(ctx)                      // also StopAPIServer, StartAPIServer
//	err = l.SetReady(ctx, "default", "echo-abc", false)
//
// A target such as "k8s-worker/speaker" names a node and a container on it (or
// "kube-proxy"); "control-plane/etcd" and its like name a control-plane
// process.
//
// # Goroutines
//
// Start returns with the lab running: a supervisor goroutine per process, the
// scheduler, one kubelet per node. All end in Close, which also removes every
// namespace, mount and file. Child processes die with the process that called
// Start, whatever happens to it; what else a crash leaves is removed by the
// next Start or by Remove.
package lab
