// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

// Objects are the configuration objects of one namespace, each kind in any order. Who
// does not watch a kind leaves it out, together with the kinds that refer to it:
// a reference to an object that is not among these is a problem.
type Objects struct {
	Pools             []*v1beta1.IPAddressPool
	L2Advertisements  []*v1beta1.L2Advertisement
	BGPAdvertisements []*v1beta1.BGPAdvertisement
	BGPPeers          []*v1beta2.BGPPeer
	BFDProfiles       []*v1beta1.BFDProfile
	Communities       []*v1beta1.Community
	// Secrets are those that peers may take passwords from, by name. Nil: Secrets are
	// not known here, and what a peer says about one is taken for right.
	Secrets map[string]*corev1.Secret
}

// ParseConfig reads the configuration. The result depends on what the objects say,
// their names and their age, and not on the order in which they are given.
//
// A fatal problem keeps its object out of the Config, but for a pool, which is in it as
// Broken. Problems are grouped by object. Config shares labels with the objects, which
// must not be modified afterwards.
func ParseConfig(objects Objects) (Config, []Problem) {
	p := configParser{poolLabels: make(map[string]labels.Set, len(objects.Pools))}
	p.parsePools(objects.Pools)
	p.parseL2Advertisements(objects.L2Advertisements)
	p.parseBGP(objects)
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return compareObject(a.Object, b.Object) })
	return p.config, p.problems
}

type configParser struct {
	config   Config
	problems []Problem
	// poolLabels has the labels of every pool, broken ones included, by name.
	poolLabels map[string]labels.Set
}

// report adds the problems of one object.
func (p *configParser) report(r report) { p.problems = append(p.problems, r.problems...) }

func objectOf(kind string, o metav1.Object) Object {
	return Object{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// byAge returns the objects sorted, the oldest first. The API server's clock ticks in
// seconds: of objects that were created in the same one the name decides.
func byAge[T metav1.Object](objects []T) []T {
	return sortedBy(objects, func(a, b T) int {
		return cmp.Or(a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time), compareName(a, b))
	})
}

// byName returns the objects sorted by name.
func byName[T metav1.Object](objects []T) []T {
	return sortedBy(objects, func(a, b T) int { return compareName(a, b) })
}

func sortedBy[T any](list []T, compare func(a, b T) int) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, compare)
	return list
}

func compareName(a, b metav1.Object) int {
	return cmp.Or(cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
}

func compareObject(a, b Object) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
}
