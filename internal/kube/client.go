// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

// Client talks to one API server. It is safe for concurrent use.
type Client struct {
	Services       Resource[*corev1.Service]
	Namespaces     Resource[*corev1.Namespace]
	Nodes          Resource[*corev1.Node]
	Secrets        Resource[*corev1.Secret]
	Events         Resource[*corev1.Event]
	EndpointSlices Resource[*discoveryv1.EndpointSlice]
	Leases         Resource[*coordinationv1.Lease]

	IPAddressPools     Resource[*v1beta1.IPAddressPool]
	L2Advertisements   Resource[*v1beta1.L2Advertisement]
	BGPAdvertisements  Resource[*v1beta1.BGPAdvertisement]
	BGPPeers           Resource[*v1beta2.BGPPeer]
	BFDProfiles        Resource[*v1beta1.BFDProfile]
	Communities        Resource[*v1beta1.Community]
	ServiceL2Statuses  Resource[*v1beta1.ServiceL2Status]
	ServiceBGPStatuses Resource[*v1beta1.ServiceBGPStatus]

	ConfigurationStates Resource[*v1beta1.ConfigurationState]

	AddressReservations Resource[*v1alpha1.AddressReservation]
}

// NewClient returns a client for the API server that config describes. It does not
// connect. Requests are not limited on the client's side: callers bound their own
// concurrency, and the API server has priority and fairness.
func NewClient(config *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, discoveryv1.AddToScheme, coordinationv1.AddToScheme,
		v1beta1.AddToScheme, v1beta2.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register API types: %w", err)
		}
	}
	codecs := serializer.NewCodecFactory(scheme)
	groups := clientFactory{config: config, codecs: codecs.WithoutConversion(), decoder: codecs.UniversalDeserializer()}
	core := groups.client(corev1.SchemeGroupVersion)
	discovery := groups.client(discoveryv1.SchemeGroupVersion)
	coordination := groups.client(coordinationv1.SchemeGroupVersion)
	beta1 := groups.client(v1beta1.GroupVersion)
	beta2 := groups.client(v1beta2.GroupVersion)
	alpha1 := groups.client(v1alpha1.GroupVersion)
	if groups.err != nil {
		return nil, groups.err
	}
	return &Client{
		Services:       Resource[*corev1.Service]{core, "services", func() *corev1.Service { return new(corev1.Service) }},
		Namespaces:     Resource[*corev1.Namespace]{core, "namespaces", func() *corev1.Namespace { return new(corev1.Namespace) }},
		Nodes:          Resource[*corev1.Node]{core, "nodes", func() *corev1.Node { return new(corev1.Node) }},
		Secrets:        Resource[*corev1.Secret]{core, "secrets", func() *corev1.Secret { return new(corev1.Secret) }},
		Events:         Resource[*corev1.Event]{core, "events", func() *corev1.Event { return new(corev1.Event) }},
		EndpointSlices: Resource[*discoveryv1.EndpointSlice]{discovery, "endpointslices", func() *discoveryv1.EndpointSlice { return new(discoveryv1.EndpointSlice) }},
		Leases:         Resource[*coordinationv1.Lease]{coordination, "leases", func() *coordinationv1.Lease { return new(coordinationv1.Lease) }},

		IPAddressPools:     Resource[*v1beta1.IPAddressPool]{beta1, "ipaddresspools", func() *v1beta1.IPAddressPool { return new(v1beta1.IPAddressPool) }},
		L2Advertisements:   Resource[*v1beta1.L2Advertisement]{beta1, "l2advertisements", func() *v1beta1.L2Advertisement { return new(v1beta1.L2Advertisement) }},
		BGPAdvertisements:  Resource[*v1beta1.BGPAdvertisement]{beta1, "bgpadvertisements", func() *v1beta1.BGPAdvertisement { return new(v1beta1.BGPAdvertisement) }},
		BGPPeers:           Resource[*v1beta2.BGPPeer]{beta2, "bgppeers", func() *v1beta2.BGPPeer { return new(v1beta2.BGPPeer) }},
		BFDProfiles:        Resource[*v1beta1.BFDProfile]{beta1, "bfdprofiles", func() *v1beta1.BFDProfile { return new(v1beta1.BFDProfile) }},
		Communities:        Resource[*v1beta1.Community]{beta1, "communities", func() *v1beta1.Community { return new(v1beta1.Community) }},
		ServiceL2Statuses:  Resource[*v1beta1.ServiceL2Status]{beta1, "servicel2statuses", func() *v1beta1.ServiceL2Status { return new(v1beta1.ServiceL2Status) }},
		ServiceBGPStatuses: Resource[*v1beta1.ServiceBGPStatus]{beta1, "servicebgpstatuses", func() *v1beta1.ServiceBGPStatus { return new(v1beta1.ServiceBGPStatus) }},

		ConfigurationStates: Resource[*v1beta1.ConfigurationState]{beta1, "configurationstates", func() *v1beta1.ConfigurationState { return new(v1beta1.ConfigurationState) }},

		AddressReservations: Resource[*v1alpha1.AddressReservation]{alpha1, "addressreservations", func() *v1alpha1.AddressReservation { return new(v1alpha1.AddressReservation) }},
	}, nil
}

// clientFactory makes REST clients until one fails, and keeps the error.
type clientFactory struct {
	config  *rest.Config
	codecs  runtime.NegotiatedSerializer
	decoder runtime.Decoder
	err     error
}

// groupClient is access to the kinds of one API group.
type groupClient struct {
	rest.Interface
	// decoder tells by themselves what answers are.
	decoder runtime.Decoder
}

func (f *clientFactory) client(gv schema.GroupVersion) groupClient {
	if f.err != nil {
		return groupClient{}
	}
	c := rest.CopyConfig(f.config)
	c.GroupVersion = &gv
	c.APIPath = "/apis"
	if gv.Group == "" {
		c.APIPath = "/api"
	}
	c.QPS = -1
	c.DisableCompression = true // it takes both sides longer than the network does
	c.NegotiatedSerializer = f.codecs
	if gv.Group != v1beta1.GroupName && gv.Group != v1alpha1.GroupName {
		// Custom resources have no protobuf form; built-in kinds decode several
		// times faster from it.
		c.ContentType = runtime.ContentTypeProtobuf
		c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	}
	client, err := rest.RESTClientFor(c)
	if err != nil {
		f.err = fmt.Errorf("make REST client for %s: %w", gv, err)
	}
	return groupClient{client, f.decoder}
}

// Resource is access to the objects of one kind. T is a pointer to the API type.
// The zero value is not usable; Client has one for each kind. Errors are those of
// the API server, wrapped with the verb and the object's name.
type Resource[T runtime.Object] struct {
	client groupClient
	name   string
	empty  func() T
}

// Get returns one object. Namespace is empty for cluster-scoped kinds.
func (r Resource[T]) Get(ctx context.Context, namespace, name string) (T, error) {
	obj := r.empty()
	err := r.client.Get().NamespaceIfScoped(namespace, namespace != "").Resource(r.name).Name(name).Do(ctx).Into(obj)
	return obj, r.wrap("get", namespace, name, err)
}

// Create makes obj in namespace and returns it as the API server stored it.
func (r Resource[T]) Create(ctx context.Context, namespace string, obj T) (T, error) {
	created := r.empty()
	err := r.client.Post().NamespaceIfScoped(namespace, namespace != "").Resource(r.name).Body(obj).Do(ctx).Into(created)
	return created, r.wrap("create", namespace, "", err)
}

// Update replaces the object name and returns it as the API server stored it.
func (r Resource[T]) Update(ctx context.Context, namespace, name string, obj T) (T, error) {
	updated := r.empty()
	err := r.client.Put().NamespaceIfScoped(namespace, namespace != "").Resource(r.name).Name(name).Body(obj).Do(ctx).Into(updated)
	return updated, r.wrap("update", namespace, name, err)
}

// Patch applies body to the object. The answer is not decoded.
func (r Resource[T]) Patch(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error {
	err := r.client.Patch(kind).NamespaceIfScoped(namespace, namespace != "").Resource(r.name).Name(name).Body(body).Do(ctx).Error()
	return r.wrap("patch", namespace, name, err)
}

// PatchStatus applies body to the status subresource. The answer is not decoded.
func (r Resource[T]) PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error {
	err := r.client.Patch(kind).NamespaceIfScoped(namespace, namespace != "").
		Resource(r.name).Name(name).SubResource("status").Body(body).Do(ctx).Error()
	return r.wrap("patch status of", namespace, name, err)
}

// Delete removes the object with that name. When uid is not empty only an object
// with that UID is removed. Deleting what is gone is success.
func (r Resource[T]) Delete(ctx context.Context, namespace, name string, uid types.UID) error {
	var options metav1.DeleteOptions
	if uid != "" {
		options.Preconditions = metav1.NewUIDPreconditions(string(uid))
	}
	err := r.client.Delete().NamespaceIfScoped(namespace, namespace != "").Resource(r.name).Name(name).Body(&options).Do(ctx).Error()
	if IsGone(err) {
		return nil
	}
	return r.wrap("delete", namespace, name, err)
}

func (r Resource[T]) wrap(verb, namespace, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s %s/%s: %w", verb, r.name, namespace, name, err)
}

// IsGone reports whether err says that the object is not there (any more), or that
// another one has its name.
func IsGone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err)
}
