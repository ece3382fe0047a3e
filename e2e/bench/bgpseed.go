// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes/scheme"
)

// routedName is the namespace of the Services that are announced by BGP.
const routedName = "routed"

// ensureRouted brings the cluster to at least n Services that have addresses and endpoints,
// and returns how many there are. They are put into etcd as the API server stores them: a
// controller that gives the addresses is not what is measured.
func (e *environment) ensureRouted(ctx context.Context, n int) error {
	if e.routed > n {
		return fmt.Errorf("there are %d Services, measure with %d of them first", e.routed, n)
	}
	if e.routed == n {
		return nil
	}
	e.say("storing %d Services with addresses and endpoints", n-e.routed)
	one := fleet{namespace: routedName, size: 1}
	if err := one.create(ctx, e.api); err != nil {
		return err
	}
	if err := createSlices(ctx, e.api, routedName, nodeName, 1); err != nil {
		return err
	}
	service, err := e.api.CoreV1().Services(routedName).Get(ctx, serviceName(0), metav1.GetOptions{})
	if err != nil {
		return err
	}
	slice, err := e.api.DiscoveryV1().EndpointSlices(routedName).Get(ctx, serviceName(0)+"-bench", metav1.GetOptions{})
	if err != nil {
		return err
	}
	host, err := e.lab.Host("control-plane")
	if err != nil {
		return err
	}
	transport := &http.Transport{DialContext: host.Dial, MaxIdleConnsPerHost: creators}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	begin := e.routed
	err = spread(ctx, creators, n-begin, func(ctx context.Context, i int) error {
		return putRouted(ctx, client, service, slice, begin+i)
	})
	if err == nil {
		e.routed = n
	}
	return err
}

// putRouted stores the i-th Service and its EndpointSlice, copies of these.
func putRouted(ctx context.Context, client *http.Client, service *corev1.Service, slice *discoveryv1.EndpointSlice, i int) error {
	s := service.DeepCopy()
	s.Name, s.UID, s.ResourceVersion = serviceName(i), uuid.NewUUID(), ""
	s.Labels["app"] = s.Name
	s.Annotations = map[string]string{"metallb.io/ip-allocated-from-pool": "bench"}
	s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: routedPrefix(i).Addr().String()}}
	if err := putObject(ctx, client, "/registry/services/specs/"+routedName+"/"+s.Name, s, corev1.SchemeGroupVersion); err != nil {
		return err
	}
	p := slice.DeepCopy()
	p.Name, p.UID, p.ResourceVersion = s.Name+"-bench", uuid.NewUUID(), ""
	p.Labels[discoveryv1.LabelServiceName] = s.Name
	return putObject(ctx, client, "/registry/endpointslices/"+routedName+"/"+p.Name, p, discoveryv1.SchemeGroupVersion)
}

// putObject stores an object as the API server would.
func putObject(ctx context.Context, client *http.Client, key string, object runtime.Object, version schema.GroupVersion) error {
	protobuf, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		return fmt.Errorf("encode %s: the client has no protobuf", key)
	}
	value, err := runtime.Encode(scheme.Codecs.EncoderForVersion(protobuf.Serializer, version), object)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	return putValue(ctx, client, key, value)
}
