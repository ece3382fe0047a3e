// SPDX-License-Identifier: Apache-2.0

package announce

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

// passwordField is where what the controller cannot see may be wrong: it may not read
// the Secrets of peers.
const passwordField = "spec.passwordSecret"

// complaints tell, in Events on the objects, what is wrong with BGP objects where they are
// used: passwords in Secrets, which the controller may not read, and what becomes of
// objects when they meet on nodes, of which the controller keeps a condition. One speaker of the cluster does it, each thing once while it lasts.
type complaints struct {
	inventory *Inventory
	events    Events
	told      map[lb.Problem]bool
}

func newComplaints(c *Config) *complaints {
	return &complaints{inventory: c.Inventory, events: c.Events, told: make(map[lb.Problem]bool)}
}

// tell takes the problems there are now.
func (c *complaints) tell(problems []lb.Problem) {
	now := make(map[lb.Problem]bool, len(problems))
	for _, p := range problems {
		now[p] = true
		if !c.told[p] {
			c.write(p)
		}
	}
	c.told = now
}

func (c *complaints) write(p lb.Problem) {
	e := kube.Event{
		Service: lb.ServiceName{Namespace: p.Object.Namespace, Name: p.Object.Name}, Type: corev1.EventTypeWarning,
		Reason: p.Reason.String(), Message: p.Field + ": " + p.Message, Kind: p.Object.Kind,
	}
	e.UID, e.APIVersion = c.inventory.bgpObject(p.Object)
	if e.UID != "" { // else the object went in the meantime
		c.events.Write(e)
	}
}

// bgpObject returns the UID and API version of a BGPPeer or BGPAdvertisement; empty if
// there is none of that name.
func (v *Inventory) bgpObject(o lb.Object) (uid types.UID, apiVersion string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch o.Kind {
	case "BGPPeer":
		if p := v.bgp.peers[o.Name]; p != nil {
			return p.UID, v1beta2.GroupVersion.String()
		}
	case "BGPAdvertisement":
		if a := v.bgp.advertisements[o.Name]; a != nil {
			return a.UID, v1beta1.GroupVersion.String()
		}
	}
	return "", ""
}

// ofSpeakers returns those of the problems of a configuration that only speakers see,
// and those that objects have when they meet on these nodes.
func ofSpeakers(problems []lb.Problem, config *lb.Config, nodes []lb.Node) []lb.Problem {
	var all []lb.Problem
	for _, p := range problems {
		if p.Field == passwordField {
			all = append(all, p)
		}
	}
	return append(all, config.ProblemsOn(nodes)...)
}

// speaksForAll reports whether this is the one speaker that tells what all of them see:
// the first by name of those that are alive. Without gossip each is.
func speaksForAll(self lb.NodeName, alive map[lb.NodeName]struct{}) bool {
	for name := range alive {
		if name < self {
			return false
		}
	}
	return true
}
