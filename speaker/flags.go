// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/run"
	"github.com/herald-lb/herald/speaker/internal/announce"
	"github.com/herald-lb/herald/speaker/internal/gossip"
)

const (
	gossipPort = 7946
	watchPort  = 7947
	// exclusionsFile is where MetalLB's manifests mount the ConfigMap metallb-excludel2.
	exclusionsFile = "/etc/metallb/excludel2.yaml"
	// longestFarewell leaves time for the rest within the termination grace period.
	longestFarewell = 3 * time.Second
	// defaultDrainWait is long enough for a network of many routers to settle.
	defaultDrainWait = 10 * time.Second
)

// flags are the command line, with MetalLB's names and environment variables.
type flags struct {
	*run.FlagSet
	options *run.Options

	node, podName, podUID string
	class                 string
	ignoreExclude         bool
	drain                 lb.DrainMark
	failback              announce.Failback
	ignoreSubnets         bool
	contested             announce.ContestPolicy
	exclusions            string
	// selfcheckInterval is how often addresses of others are asked for, 0 for never, and
	// selfcheckPace the time between two questions.
	selfcheckInterval, selfcheckPace time.Duration
	// keepConnections is how long connections outlive a move of their address, 0 not at all.
	keepConnections time.Duration
	gossip          gossip.Config
	// watch is how often other speakers are heard, at which port.
	watchInterval time.Duration
	watchPort     uint16
	// farewell is how long routers are given to prefer other nodes before this one goes.
	farewell time.Duration
	// drainWait is how long they are given on a node that is drained.
	drainWait time.Duration
}

func newFlags(lookupEnv func(string) (string, bool)) *flags {
	f := &flags{FlagSet: run.NewFlagSet("speaker", "announces the addresses of LoadBalancer Services", lookupEnv)}
	f.options = run.RegisterOptions(f.FlagSet, run.Defaults{HealthHost: "127.0.0.1"})
	f.text(&f.node, "node-name", "METALLB_NODE_NAME", "`name` of the node that the speaker runs on")
	f.text(&f.podName, "pod-name", "METALLB_POD_NAME", "`name` of the speaker's pod, which owns its status objects")
	f.text(&f.podUID, "pod-uid", "METALLB_POD_UID", "`UID` of the speaker's pod")
	f.StringVar(&f.class, "lb-class", "", "announce Services with this loadBalancer`Class`; default those without one")
	f.BoolVar(&f.ignoreExclude, "ignore-exclude-lb", false,
		"let nodes announce that have the label node.kubernetes.io/exclude-from-external-load-balancers")
	f.Var(&f.failback, "l2-failback",
		"what becomes of an address when the node that had it comes back: `immediate` gives it back, never leaves it where it is; the same on all nodes")
	f.BoolVar(&f.ignoreSubnets, "l2-ignore-subnets", false,
		"do not prefer nodes with an interface in the subnet of an address; the same on all nodes")
	f.DurationVar(&f.keepConnections, "l2-keep-connections", time.Hour,
		"how long TCP connections that are open when an address moves are passed on to the node that had it, as long as that is there; needs the capability NET_ADMIN; 0 lets them break")
	f.StringVar(&f.drain.Taint, "drain-taint", "", "`key` of a taint on a node that is to hand all its addresses and routes over; default none")
	f.StringVar(&f.drain.Annotation, "drain-annotation", "", "`key` of an annotation on such a node; default none")
	f.StringVar(&f.exclusions, "exclude-interfaces-file", exclusionsFile,
		"`path` of a file with patterns of interface names not to announce on; read again when it changes")
	f.contested = announce.Defend
	f.Var(&f.contested, "contested-address",
		"what to do about an address that a station outside the cluster has, too: `defend` goes on announcing it (RFC 5227), yield does not announce it until that ends")
	gossipFlags(f)
	watchFlags(f)
	selfcheckFlags(f)
	f.DurationVar(&f.farewell, "bgp-farewell", time.Second,
		"how long routers are given to prefer other nodes (RFC 8326) before sessions without graceful restart end; at most 3s")
	f.DurationVar(&f.drainWait, "bgp-drain-wait", defaultDrainWait,
		"how long routers are given to prefer other nodes (RFC 8326) before a node that is drained withdraws its routes")
	f.ignoredFlags()
	f.Check(func() error {
		if f.node == "" {
			return errors.New("the node is not known: give --node-name or METALLB_NODE_NAME")
		}
		if f.farewell < 0 || f.farewell > longestFarewell {
			return fmt.Errorf("invalid value %s for flag --bgp-farewell: want 0s to %s", f.farewell, longestFarewell)
		}
		if f.keepConnections < 0 {
			return fmt.Errorf("invalid value %s for flag --l2-keep-connections: want 0s or more", f.keepConnections)
		}
		if f.drainWait < 0 {
			return fmt.Errorf("invalid value %s for flag --bgp-drain-wait: want 0s or more", f.drainWait)
		}
		f.gossip.Node = lb.NodeName(f.node)
		return nil
	})
	return f
}

func (f *flags) text(value *string, name, variable, usage string) {
	f.StringVar(value, name, "", usage)
	f.Env(name, variable)
}

// gossipFlags defines the flags about members.
func gossipFlags(f *flags) {
	var bind string
	var wan bool
	f.text(&bind, "ml-bindaddr", "METALLB_ML_BIND_ADDR", "`address` to gossip on; without one gossip is off and every node counts as alive")
	port := f.Port("ml-bindport", gossipPort, "`port` of gossip, the same on all nodes")
	f.Env("ml-bindport", "METALLB_ML_BIND_PORT")
	f.text(&f.gossip.SecretDir, "ml-secret-key-path", "METALLB_ML_SECRET_KEY_PATH",
		"`directory` with the file secretkey that encrypts gossip; default no encryption")
	f.Var(&f.gossip.Profile, "ml-profile", "how fast a dead node is noticed: `fast`, safe on machines starved of CPU, or wan")
	f.BoolVar(&wan, "ml-wan-config", false, "the same as --ml-profile=wan")
	f.Check(func() (err error) {
		f.gossip.Port = *port
		if wan {
			f.gossip.Profile = gossip.WAN
		}
		if bind == "" {
			return nil
		}
		if f.gossip.Bind, err = netip.ParseAddr(bind); err != nil {
			return fmt.Errorf("invalid value %q for flag --ml-bindaddr: want an IP address", bind)
		}
		if *port == 0 {
			return errors.New("invalid value 0 for flag --ml-bindport: all nodes need the same port")
		}
		return nil
	})
}

// shortestWatch is what a timer can keep on a busy node.
const shortestWatch = 10 * time.Millisecond

// watchFlags defines the flags about how the death of a speaker is noticed.
func watchFlags(f *flags) {
	f.DurationVar(&f.watchInterval, "watch-interval", 50*time.Millisecond,
		"how often speakers hear of each other by BFD, the same on all nodes; one that is silent for three of them is asked for on the LAN; 0 leaves it to gossip")
	port := f.Port("watch-port", watchPort, "UDP `port` of BFD between speakers, the same on all nodes")
	f.Check(func() error {
		f.watchPort = *port
		switch {
		case f.watchInterval != 0 && (f.watchInterval < shortestWatch || f.watchInterval > time.Second):
			return fmt.Errorf("invalid value %s for flag --watch-interval: want %s to 1s, or 0", f.watchInterval, shortestWatch)
		case *port == 0:
			return errors.New("invalid value 0 for flag --watch-port: all nodes need the same port")
		}
		return nil
	})
}

// selfcheckFlags defines the flags about asking whether owners answer.
func selfcheckFlags(f *flags) {
	const shortest = 50 * time.Millisecond
	f.DurationVar(&f.selfcheckInterval, "l2-selfcheck-interval", 5*time.Minute,
		"how often an address is asked for on the LAN by the node that is next in line for it, which reports an owner that does not answer; 0 does not ask")
	f.DurationVar(&f.selfcheckPace, "l2-selfcheck-pace", time.Second,
		"the time between two such questions of a speaker: where there are many addresses, each is asked for less often")
	f.Check(func() error {
		switch {
		case f.selfcheckInterval != 0 && f.selfcheckInterval < time.Second:
			return fmt.Errorf("invalid value %s for flag --l2-selfcheck-interval: want 1s or more, or 0", f.selfcheckInterval)
		case f.selfcheckPace < shortest:
			return fmt.Errorf("invalid value %s for flag --l2-selfcheck-pace: want %s or more", f.selfcheckPace, shortest)
		}
		return nil
	})
}

// ignoredFlags accepts what only matters to MetalLB.
func (f *flags) ignoredFlags() {
	f.Ignored("host", true, "addresses come from the Node objects")
	f.Ignored("ml-labels", true, "members are found through the Node objects, not by labels of pods")
	const noFRR = "the speaker speaks BGP itself"
	f.Ignored("frrk8s-namespace", true, noFRR)
	f.Ignored("frrk8s-secret-passthrough", false, noFRR)
	f.Ignored("bgp-debounce-timeout", true, "changes are sent at once, and only they")
}

func (f *flags) statusOwner() announce.StatusOwner {
	return announce.StatusOwner{
		Node: lb.NodeName(f.node), Namespace: f.options.Namespace,
		PodName: f.podName, PodUID: types.UID(f.podUID),
	}
}
