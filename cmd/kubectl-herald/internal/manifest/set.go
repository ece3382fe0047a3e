// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// Object is one configuration object of a manifest.
type Object struct {
	// Where is the file and the document in it, for people.
	Where string
	// Object is a pointer to one of the API types that lb.Objects holds.
	Object metav1.Object
}

// Name returns the kind and the name of the object.
func (o Object) Name() lb.Object { return nameOf(o.Object) }

// Set is the objects of some manifests, in the order in which they are applied. No two
// of them are the same one.
type Set []Object

// distinct returns an error if one object is there twice.
func (s Set) distinct() error {
	first := make(map[lb.Object]string, len(s))
	for _, o := range s {
		if where, ok := first[o.Name()]; ok {
			return fmt.Errorf("%s: %s is in %s already; remove it from one of them", o.Where, o.Name(), where)
		}
		first[o.Name()] = o.Where
	}
	return nil
}

// Apply returns the configuration after each object of the set has been applied, in the
// order of the set: it takes the place of the one of its name, whose age and identity it
// inherits, or is made now. The objects of the set are completed accordingly; those of
// base are not touched.
func (s Set) Apply(base lb.Objects, now metav1.Time) []lb.Objects {
	var steps []lb.Objects
	for _, o := range s {
		base = put(base, o.Object, now)
		steps = append(steps, base)
	}
	return steps
}

// Prune returns the configuration after each object of base that is not in the set has
// been deleted, in the order of kinds and names.
func (s Set) Prune(base lb.Objects) []lb.Objects {
	keep := make(map[lb.Object]bool, len(s))
	for _, o := range s {
		keep[o.Name()] = true
	}
	var steps []lb.Objects
	for _, name := range names(base) {
		if !keep[name] {
			base = remove(base, name)
			steps = append(steps, base)
		}
	}
	return steps
}

func kindOf(o metav1.Object) string {
	switch o.(type) {
	case *v1beta1.IPAddressPool:
		return "IPAddressPool"
	case *v1beta1.L2Advertisement:
		return "L2Advertisement"
	case *v1beta1.BGPAdvertisement:
		return "BGPAdvertisement"
	case *v1beta2.BGPPeer:
		return "BGPPeer"
	case *v1beta1.BFDProfile:
		return "BFDProfile"
	case *v1beta1.Community:
		return "Community"
	}
	return ""
}

func nameOf(o metav1.Object) lb.Object {
	return lb.Object{Kind: kindOf(o), Namespace: o.GetNamespace(), Name: o.GetName()}
}

func put(objects lb.Objects, o metav1.Object, now metav1.Time) lb.Objects {
	switch o := o.(type) {
	case *v1beta1.IPAddressPool:
		objects.Pools = overlay(objects.Pools, o, &o.ObjectMeta, now)
	case *v1beta1.L2Advertisement:
		objects.L2Advertisements = overlay(objects.L2Advertisements, o, &o.ObjectMeta, now)
	case *v1beta1.BGPAdvertisement:
		objects.BGPAdvertisements = overlay(objects.BGPAdvertisements, o, &o.ObjectMeta, now)
	case *v1beta2.BGPPeer:
		objects.BGPPeers = overlay(objects.BGPPeers, o, &o.ObjectMeta, now)
	case *v1beta1.BFDProfile:
		objects.BFDProfiles = overlay(objects.BFDProfiles, o, &o.ObjectMeta, now)
	case *v1beta1.Community:
		objects.Communities = overlay(objects.Communities, o, &o.ObjectMeta, now)
	}
	return objects
}

// overlay returns list with o in the place of the object of its name, or at the end.
// metadata is that of o.
func overlay[T metav1.Object](list []T, o T, metadata *metav1.ObjectMeta, now metav1.Time) []T {
	list = slices.Clone(list)
	i := slices.IndexFunc(list, func(x T) bool { return x.GetName() == o.GetName() })
	if i < 0 {
		*metadata = metav1.ObjectMeta{
			Namespace: o.GetNamespace(), Name: o.GetName(),
			Labels: o.GetLabels(), Annotations: o.GetAnnotations(), CreationTimestamp: now,
		}
		return append(list, o)
	}
	old := list[i]
	*metadata = metav1.ObjectMeta{
		Namespace: old.GetNamespace(), Name: old.GetName(), UID: old.GetUID(),
		ResourceVersion: old.GetResourceVersion(), Generation: old.GetGeneration(), CreationTimestamp: old.GetCreationTimestamp(),
		Finalizers: old.GetFinalizers(), OwnerReferences: old.GetOwnerReferences(),
		// kubectl apply removes none that others have set.
		Labels: merged(old.GetLabels(), o.GetLabels()), Annotations: merged(old.GetAnnotations(), o.GetAnnotations()),
	}
	list[i] = o
	return list
}

func merged(old, now map[string]string) map[string]string {
	all := maps.Clone(old)
	if all == nil {
		return now
	}
	maps.Copy(all, now)
	return all
}

func remove(objects lb.Objects, name lb.Object) lb.Objects {
	objects.Pools = without(objects.Pools, name)
	objects.L2Advertisements = without(objects.L2Advertisements, name)
	objects.BGPAdvertisements = without(objects.BGPAdvertisements, name)
	objects.BGPPeers = without(objects.BGPPeers, name)
	objects.BFDProfiles = without(objects.BFDProfiles, name)
	objects.Communities = without(objects.Communities, name)
	return objects
}

func without[T metav1.Object](list []T, name lb.Object) []T {
	return slices.DeleteFunc(slices.Clone(list), func(o T) bool { return nameOf(o) == name })
}

// names returns the names of all objects, sorted by kind and name.
func names(objects lb.Objects) []lb.Object {
	all := slices.Concat(
		namesOf(objects.Pools), namesOf(objects.L2Advertisements), namesOf(objects.BGPAdvertisements),
		namesOf(objects.BGPPeers), namesOf(objects.BFDProfiles), namesOf(objects.Communities),
	)
	slices.SortFunc(all, func(a, b lb.Object) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
	return all
}

func namesOf[T metav1.Object](list []T) []lb.Object {
	all := make([]lb.Object, len(list))
	for i, o := range list {
		all[i] = nameOf(o)
	}
	return all
}
