// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/lb"
)

// StatusAPI is what Statuses need of the API server. kube.Resource is one.
type StatusAPI[T any] interface {
	statusWriter
	Create(ctx context.Context, namespace string, obj T) (T, error)
}

// statusWriter is the part of a StatusAPI that is the same for all kinds.
type statusWriter interface {
	PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error
	// Delete succeeds if the object is gone, or another one has its name.
	Delete(ctx context.Context, namespace, name string, uid types.UID) error
	// ListMetadata returns the metadata of the objects that the selector matches.
	ListMetadata(ctx context.Context, namespace, labelSelector string) ([]metav1.ObjectMeta, error)
}

// statusKind is what kinds of status objects differ in: what they are called, and
// whether their items are interfaces or peers.
type statusKind struct {
	// prefix is what names of objects begin with.
	prefix string
	// create makes an object with this metadata and without a status.
	create func(ctx context.Context, namespace string, meta metav1.ObjectMeta) (foundStatus, error)
	// items is the name of the field with the items, and encode its value.
	items  string
	encode func(items []string) any
}

// content is what an object says of a Service on a node.
type content struct {
	items []string
	// sessions are those with peers that are not as they should be.
	sessions []v1beta1.BGPSessionStatus
}

// foundStatus is an object as it is found at the API server.
type foundStatus struct {
	*metav1.ObjectMeta
	content
	node string
}

// NewStatuses returns ServiceL2Status objects that nobody writes yet. Their items are
// interfaces.
func NewStatuses(owner StatusOwner, api StatusAPI[*v1beta1.ServiceL2Status], log *slog.Logger) *Statuses {
	return newStatuses(owner, api, log, statusKind{
		prefix: "l2-", items: "interfaces",
		create: func(ctx context.Context, namespace string, meta metav1.ObjectMeta) (foundStatus, error) {
			created, err := api.Create(ctx, namespace, &v1beta1.ServiceL2Status{
				TypeMeta: metav1.TypeMeta{APIVersion: v1beta1.GroupVersion.String(), Kind: "ServiceL2Status"}, ObjectMeta: meta,
			})
			return foundL2Status(created), err
		},
		encode: func(names []string) any {
			interfaces := make([]v1beta1.InterfaceInfo, 0, len(names))
			for _, n := range names {
				interfaces = append(interfaces, v1beta1.InterfaceInfo{Name: n})
			}
			return interfaces
		},
	})
}

// NewBGPStatuses returns ServiceBGPStatus objects that nobody writes yet. Their items
// are peers.
func NewBGPStatuses(owner StatusOwner, api StatusAPI[*v1beta1.ServiceBGPStatus], log *slog.Logger) *Statuses {
	return newStatuses(owner, api, log, statusKind{
		prefix: "bgp-", items: "peers",
		create: func(ctx context.Context, namespace string, meta metav1.ObjectMeta) (foundStatus, error) {
			created, err := api.Create(ctx, namespace, &v1beta1.ServiceBGPStatus{
				TypeMeta: metav1.TypeMeta{APIVersion: v1beta1.GroupVersion.String(), Kind: "ServiceBGPStatus"}, ObjectMeta: meta,
			})
			return foundBGPStatus(created), err
		},
		encode: func(names []string) any { return append([]string{}, names...) },
	})
}

// OnStatus takes note of a ServiceL2Status of this node. It is a callback for an
// informer.
func (s *Statuses) OnStatus(old, now *v1beta1.ServiceL2Status) {
	s.on(foundL2Status(old), foundL2Status(now))
}

// OnBGPStatus takes note of a ServiceBGPStatus of this node, as OnStatus does.
func (s *Statuses) OnBGPStatus(old, now *v1beta1.ServiceBGPStatus) {
	s.on(foundBGPStatus(old), foundBGPStatus(now))
}

// foundL2Status reads an object; nil is none.
func foundL2Status(o *v1beta1.ServiceL2Status) foundStatus {
	if o == nil {
		return foundStatus{}
	}
	found := foundStatus{ObjectMeta: &o.ObjectMeta, node: o.Status.Node}
	for _, i := range o.Status.Interfaces {
		found.items = append(found.items, i.Name)
	}
	return found
}

func foundBGPStatus(o *v1beta1.ServiceBGPStatus) foundStatus {
	if o == nil {
		return foundStatus{}
	}
	return foundStatus{ObjectMeta: &o.ObjectMeta, node: o.Status.Node, content: content{o.Status.Peers, o.Status.Sessions}}
}

// patch returns a merge patch (RFC 7386) that replaces the status. Items are named also
// when there are none, which omitempty would leave as they were. What is said of sessions
// stays as it is unless told.
func (k *statusKind) patch(node lb.NodeName, service lb.ServiceName, c content, told bool) ([]byte, error) {
	status := map[string]any{
		"node":             node,
		"serviceName":      service.Name,
		"serviceNamespace": service.Namespace,
		k.items:            k.encode(c.items),
	}
	if told {
		status["sessions"] = c.sessions // none are null, which takes the field away
	}
	body, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return nil, fmt.Errorf("encode the status of %s: %w", service, err)
	}
	return body, nil
}
