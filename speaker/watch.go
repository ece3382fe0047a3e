// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/run"
	"github.com/herald-lb/herald/speaker/internal/announce"
)

// watches are the informers and followers of the speaker, each as narrow as it can be.
type watches struct {
	sources []kube.Syncer
	// configuration are those of sources that say what peers there are.
	configuration []kube.Syncer
	tasks         []run.Task
}

func newWatches(c *kube.Client, namespace string, inventory *announce.Inventory, statuses statuses, records *announce.ContestRecords) (*watches, error) {
	w, trimmer := new(watches), new(announce.Trimmer)
	err := errors.Join(
		watch(w, "services", c.Services, kube.Watched[*corev1.Service]{
			FieldSelector: "spec.type=" + string(corev1.ServiceTypeLoadBalancer), Trim: trimmer.Service,
		}, inventory.OnService),
		watch(w, "endpoint slices", c.EndpointSlices, kube.Watched[*discoveryv1.EndpointSlice]{
			LabelSelector: "!" + corev1.IsHeadlessService, Trim: trimmer.EndpointSlice,
		}, inventory.OnEndpointSlice),
		configure(w, "nodes", c.Nodes, kube.Watched[*corev1.Node]{Trim: announce.TrimNode(inventory.Drain)}, inventory.OnNode),
		configure(w, "address pools", c.IPAddressPools, kube.Watched[*v1beta1.IPAddressPool]{Namespace: namespace}, inventory.OnPool),
		configure(w, "advertisements", c.L2Advertisements, kube.Watched[*v1beta1.L2Advertisement]{Namespace: namespace}, inventory.OnL2Advertisement),
		watch(w, "statuses of this node", c.ServiceL2Statuses, kube.Watched[*v1beta1.ServiceL2Status]{
			Namespace: namespace, LabelSelector: statuses.layer2.Selector(),
		}, statuses.layer2.OnStatus),
		watchBGP(w, c, namespace, inventory, statuses.bgp),
		aside(w, "contest records of all nodes", c.AddressReservations, kube.Watched[*v1alpha1.AddressReservation]{
			Namespace: namespace, LabelSelector: announce.ContestRecordsSelector,
		}, records.OnReservation),
	)
	return w, err
}

// watchBGP adds what only BGP needs. All of it is in the namespace of this process.
func watchBGP(w *watches, c *kube.Client, namespace string, inventory *announce.Inventory, statuses *announce.Statuses) error {
	return errors.Join(
		configure(w, "peers", c.BGPPeers, kube.Watched[*v1beta2.BGPPeer]{Namespace: namespace}, inventory.OnBGPPeer),
		configure(w, "BGP advertisements", c.BGPAdvertisements, kube.Watched[*v1beta1.BGPAdvertisement]{Namespace: namespace}, inventory.OnBGPAdvertisement),
		configure(w, "BFD profiles", c.BFDProfiles, kube.Watched[*v1beta1.BFDProfile]{Namespace: namespace}, inventory.OnBFDProfile),
		configure(w, "communities", c.Communities, kube.Watched[*v1beta1.Community]{Namespace: namespace}, inventory.OnCommunity),
		configure(w, "secrets", c.Secrets, kube.Watched[*corev1.Secret]{Namespace: namespace, Trim: announce.TrimSecret}, inventory.OnSecret),
		watch(w, "BGP statuses of this node", c.ServiceBGPStatuses, kube.Watched[*v1beta1.ServiceBGPStatus]{
			Namespace: namespace, LabelSelector: statuses.Selector(),
		}, statuses.OnBGPStatus),
	)
}

// watch adds a follower of objects of which there may be very many. It begins when the
// configuration is known, which they would keep waiting.
func watch[T runtime.Object](w *watches, name string, r kube.Resource[T], watched kube.Watched[T], onChange func(old, now T)) error {
	follower, err := r.Follower(watched, onChange)
	if err != nil {
		return err
	}
	w.sources = append(w.sources, follower)
	w.tasks = append(w.tasks, run.Task{Name: name, Run: func(ctx context.Context) error {
		if kube.WaitForSync(ctx, w.configuration...) != nil {
			return nil //nolint:nilerr // ctx has ended: it has no other error
		}
		return follower.Run(ctx)
	}})
	return nil
}

// configure adds an informer of what says what peers there are.
func configure[T runtime.Object](w *watches, name string, r kube.Resource[T], watched kube.Watched[T], onChange func(old, now T)) error {
	informer, err := newInformer(r, watched, onChange)
	if err != nil {
		return err
	}
	w.sources = append(w.sources, informer)
	w.configuration = append(w.configuration, informer)
	w.tasks = append(w.tasks, run.Task{Name: name, Run: func(ctx context.Context) error { return informer.Run(ctx) }})
	return nil
}

// aside adds an informer of objects that nothing has to wait for.
func aside[T runtime.Object](w *watches, name string, r kube.Resource[T], watched kube.Watched[T], onChange func(old, now T)) error {
	informer, err := newInformer(r, watched, onChange)
	if err != nil {
		return err
	}
	w.tasks = append(w.tasks, run.Task{Name: name, Run: func(ctx context.Context) error { return informer.Run(ctx) }})
	return nil
}

func newInformer[T runtime.Object](r kube.Resource[T], watched kube.Watched[T], onChange func(old, now T)) (*kube.Informer[T], error) {
	informer, err := r.Informer(watched)
	if err != nil {
		return nil, err
	}
	if err := informer.OnChange(onChange); err != nil {
		return nil, err
	}
	return informer, nil
}
