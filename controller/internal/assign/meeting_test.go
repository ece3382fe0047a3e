// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// routedObjects are those of a cluster with BGP objects and nodes besides.
type routedObjects struct {
	shownObjects
	peer           *v1beta2.BGPPeer
	advertisements []*v1beta1.BGPAdvertisement
	found          []lb.Node
}

func (o *routedObjects) config() (lb.Objects, bool) {
	objects, complete := o.shownObjects.config()
	objects.BGPPeers = []*v1beta2.BGPPeer{o.peer}
	objects.BGPAdvertisements = o.advertisements
	return objects, complete
}

func (o *routedObjects) nodes() []lb.Node { return o.found }

// Advertisements that ask for different LOCAL_PREFs where they meet on a node: the younger
// one's condition says that it is overruled, for as long as there is such a node (ADR 0013).
func TestOverruledAdvertisementIsToldSo(t *testing.T) {
	advertisement := func(name string, age time.Duration, preference uint32, node string) *v1beta1.BGPAdvertisement {
		a := &v1beta1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{
			Namespace: "metallb-system", Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1_000_000, 0).Add(-age)),
		}}
		a.Spec.LocalPref = preference
		a.Spec.NodeSelectors = []v1beta1.LabelSelector{{MatchLabels: map[string]v1beta1.LabelValue{node: "yes"}}}
		return a
	}
	c := newCluster(t)
	c.setPools(map[string]string{"a": "192.0.2.1-192.0.2.9"})
	objects := &routedObjects{
		shownObjects: shownObjects{c},
		peer: &v1beta2.BGPPeer{
			ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "tor"},
			Spec:       v1beta1.BGPPeerSpec{MyASN: 64512, PeerASN: 64512, Address: "198.51.100.1"},
		},
		advertisements: []*v1beta1.BGPAdvertisement{
			advertisement("younger", 0, 200, "left"), advertisement("older", time.Hour, 100, "right"),
		},
	}
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	patched := &poolPatcher{bodies: map[string][]string{}}
	patchers := map[string]statusPatcher{}
	for _, kind := range []string{kindPool, kindL2Advertisement, kindBGPAdvertisement, kindBGPPeer} {
		patchers[kind] = patched
	}
	log := slog.New(slog.DiscardHandler)
	reporter := newReporter(patchers, m, log)
	reporter.counted(books{})
	out := newOutbox(c, c, m, log)
	defer out.queue.ShutDown()
	d := newDecider(objects, func(*corev1.Service) bool { return true }, out, reporter, func(filing) {}, log)
	defer d.queue.ShutDown()
	expect := func(younger string, nodes ...lb.Node) {
		t.Helper()
		objects.found = nodes
		d.configure()
		if !reporter.write(t.Context()) {
			t.Fatal("not all is written")
		}
		if got := patched.last("younger"); !strings.Contains(got, younger) {
			t.Errorf("with nodes %v the younger one says %s; want %q", nodes, got, younger)
		}
		if got := patched.last("older"); !strings.Contains(got, `"status":"True"`) {
			t.Errorf("with nodes %v the older one says %s", nodes, got)
		}
	}
	left, right := lb.Node{Name: "l", Labels: labels.Set{"left": "yes"}}, lb.Node{Name: "r", Labels: labels.Set{"right": "yes"}}
	both := lb.Node{Name: "b", Labels: labels.Set{"left": "yes", "right": "yes"}}
	expect(`"status":"True"`, left, right)
	expect(`spec.localPref: 200 is not what the older BGPAdvertisement \"older\" asks for, which is 100`, left, right, both)
	expect(`"status":"True"`, left, right)
}
