// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/cmd/kubectl-herald/internal/manifest"
	"github.com/herald-lb/herald/internal/ipam"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/internal/whatif"
)

// read returns what the controller would see now. Each kind is as it is at one moment,
// but not all kinds at the same.
func (o options) read(ctx context.Context, c *kube.Client, now time.Time) (whatif.Snapshot, error) {
	s := whatif.Snapshot{At: now}
	var reservations []*v1alpha1.AddressReservation
	var namespaces []*corev1.Namespace
	var services []*corev1.Service
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return list(ctx, c.Namespaces, kube.Watched[*corev1.Namespace]{}, &namespaces) })
	group.Go(func() error {
		return list(ctx, c.Services, kube.Watched[*corev1.Service]{FieldSelector: "spec.type=LoadBalancer"}, &services)
	})
	config(ctx, group, c.AddressReservations, metav1.NamespaceAll, &reservations)
	config(ctx, group, c.IPAddressPools, o.namespace, &s.Objects.Pools)
	config(ctx, group, c.L2Advertisements, o.namespace, &s.Objects.L2Advertisements)
	config(ctx, group, c.BGPAdvertisements, o.namespace, &s.Objects.BGPAdvertisements)
	config(ctx, group, c.BGPPeers, o.namespace, &s.Objects.BGPPeers)
	config(ctx, group, c.BFDProfiles, o.namespace, &s.Objects.BFDProfiles)
	config(ctx, group, c.Communities, o.namespace, &s.Objects.Communities)
	if err := group.Wait(); err != nil {
		return s, err
	}
	labelsOf := make(map[string]labels.Set, len(namespaces))
	for _, n := range namespaces {
		labelsOf[n.Name] = n.Labels
	}
	for _, found := range services {
		service, problems := lb.ParseService(found)
		claim := ipam.NewClaim(&service, problems, labelsOf[found.Namespace])
		claim.Foreign = service.Class != o.class
		s.Claims = append(s.Claims, claim)
	}
	for _, found := range reservations {
		r, _ := lb.ParseReservation(found) // one with problems keeps nothing
		contested := r.ContestedBy != "" && found.Namespace == o.namespace
		if contested && slices.ContainsFunc(r.Addresses, func(a netip.Addr) bool { return wished(s.Claims, a) }) {
			continue // as the controller does
		}
		s.Reservations = append(s.Reservations, ipam.Reservation{
			Reservation: &r, NamespaceLabels: labelsOf[found.Namespace], AnyNamespace: contested,
		})
	}
	return s, nil
}

// wished reports whether one of our Services asks for an address by name.
func wished(claims []ipam.Claim, a netip.Addr) bool {
	return slices.ContainsFunc(claims, func(c ipam.Claim) bool {
		return slices.Contains(c.Wishes(), a)
	})
}

// object is what all API types are.
type object[T any] interface {
	runtime.Object
	DeepCopy() T
}

// config has one kind read, all of it or that of a namespace.
func config[T object[T]](ctx context.Context, group *errgroup.Group, r kube.Resource[T], namespace string, into *[]T) {
	group.Go(func() error { return list(ctx, r, kube.Watched[T]{Namespace: namespace}, into) })
}

func list[T object[T]](ctx context.Context, r kube.Resource[T], w kube.Watched[T], into *[]T) error {
	_, err := r.Each(ctx, w, func(o T) { *into = append(*into, o.DeepCopy()) })
	return err
}

// validate asks the API server whether it would take the objects, one by one. unchecked
// says for which it must not be asked, and why. Empty: for none.
func validate(ctx context.Context, c *kube.Client, set manifest.Set) (unchecked string, err error) {
	var skipped []string
	var because string
	for _, o := range set {
		err := dryRun(ctx, c, o)
		var refusal apierrors.APIStatus
		switch {
		case err == nil:
		case !errors.As(err, &refusal):
			return "", fmt.Errorf("ask whether the API server takes %s: %w", o.Name(), err)
		case apierrors.IsForbidden(err):
			skipped, because = append(skipped, o.Name().String()), refusal.Status().Message
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			return "", fmt.Errorf("%s has changed in the meantime; try again", o.Name())
		default:
			return "", fmt.Errorf("%s: the API server refuses %s: %s", o.Where, o.Name(), words(refusal.Status()))
		}
	}
	if len(skipped) == 0 {
		return "", nil
	}
	return fmt.Sprintf("whether the API server takes %s was not checked: %s", strings.Join(skipped, ", "), because), nil
}

// words returns what the API server said about each field, or else all it said.
func words(status metav1.Status) string {
	if status.Details == nil || len(status.Details.Causes) == 0 {
		return status.Message
	}
	causes := make([]string, len(status.Details.Causes))
	for i, cause := range status.Details.Causes {
		causes[i] = strings.TrimPrefix(cause.Field+": "+cause.Message, ": ")
	}
	return strings.Join(causes, "; ")
}

func dryRun(ctx context.Context, c *kube.Client, o manifest.Object) error {
	switch o := o.Object.(type) {
	case *v1beta1.IPAddressPool:
		return c.IPAddressPools.DryRun(ctx, o)
	case *v1beta1.L2Advertisement:
		return c.L2Advertisements.DryRun(ctx, o)
	case *v1beta1.BGPAdvertisement:
		return c.BGPAdvertisements.DryRun(ctx, o)
	case *v1beta2.BGPPeer:
		return c.BGPPeers.DryRun(ctx, o)
	case *v1beta1.BFDProfile:
		return c.BFDProfiles.DryRun(ctx, o)
	case *v1beta1.Community:
		return c.Communities.DryRun(ctx, o)
	}
	return fmt.Errorf("a %T is no configuration", o.Object)
}
