// SPDX-License-Identifier: Apache-2.0

// Package stories tells what Herald does for those who use it, and checks it from
// outside: a client's exchange over TCP, UDP or HTTP, the answers on the LAN, what
// kubectl shows. It never looks into Herald.
//
// Each story is a test that runs alone: make e2e RUN=NodeDies. All share one cluster,
// with Herald installed as config/default says, which starts with the first story.
// Stories run one after the other; each has a namespace and pools of its own, and
// undoes what it did to nodes.
//
// A story is made of three kinds of sentences: given... arranges, verbs act, expect...
// waits until something is true or fails when its deadline passes. There are no fixed
// pauses. That something does not happen is shown by something later that did: the
// sentence expectNothingFor... has a canary of the same kind overtake it.
//
// Interruptions are measured and logged; the bounds on them only catch what is broken.
// Figures beside limits are the business of e2e/bench.
//
// The programs are those in bin/ (make build), or in the folder that HERALD_BIN names,
// such as one with static binaries that look for data races:
//
//	go build -race -ldflags '-linkmode external -extldflags -static' -o /tmp/race/ ./controller ./speaker
//
// A panic or a race in their logs fails the run, whatever the stories say. Stories need
// root, for network namespaces; for others they are skipped.
package stories
