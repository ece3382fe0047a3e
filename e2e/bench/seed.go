// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes/scheme"
)

// etcdPut is where the lab's etcd takes what it shall store, in JSON, as seen from the
// control plane.
const etcdPut = "http://127.0.0.1:2379/v3/kv/put"

// seed makes the Services of a fleet faster than the API server does: it has one made
// and puts copies of what was stored into etcd, without a cluster IP.
//
// The API server (1.34) looks through all cluster IPs twice for each that it gives:
// 10 000 Services take minutes to create, 50 000 would take hours. Without a cluster
// IP none of that is left for the requests that are measured either. For Herald and
// for a bare patch the copies are Services like any other.
func (e *environment) seed(ctx context.Context, f fleet) error {
	one := f
	one.size = min(1, f.size)
	if err := one.create(ctx, e.api); err != nil {
		return err
	}
	pattern, err := e.api.CoreV1().Services(f.namespace).Get(ctx, serviceName(0), metav1.GetOptions{})
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
	// One by one: the API server expects no two objects with one revision.
	return spread(ctx, creators, f.size-1, func(ctx context.Context, i int) error {
		return putService(ctx, client, pattern, i+1)
	})
}

// putService stores a copy of pattern under the name of the i-th Service.
func putService(ctx context.Context, client *http.Client, pattern *corev1.Service, i int) error {
	value, err := stored(pattern, i)
	if err != nil {
		return err
	}
	return putValue(ctx, client, "/registry/services/specs/"+pattern.Namespace+"/"+serviceName(i), value)
}

// putValue stores a value in etcd.
func putValue(ctx context.Context, client *http.Client, key string, value []byte) error {
	body, err := json.Marshal(map[string][]byte{"key": []byte(key), "value": value})
	if err != nil {
		return fmt.Errorf("encode etcd request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, etcdPut, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make etcd request: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("send etcd request: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	if err != nil {
		return fmt.Errorf("store %s in etcd: %w", key, err)
	}
	return nil
}

// stored returns what the API server would store for the i-th copy of pattern.
func stored(pattern *corev1.Service, i int) ([]byte, error) {
	s := pattern.DeepCopy()
	s.Name, s.UID, s.ResourceVersion = serviceName(i), uuid.NewUUID(), ""
	s.Labels["app"] = s.Name
	s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
	protobuf, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		return nil, fmt.Errorf("encode service %s: the client has no protobuf", s.Name)
	}
	value, err := runtime.Encode(scheme.Codecs.EncoderForVersion(protobuf.Serializer, corev1.SchemeGroupVersion), s)
	if err != nil {
		return nil, fmt.Errorf("encode service %s: %w", s.Name, err)
	}
	return value, nil
}
