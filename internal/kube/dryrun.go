// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DryRun asks the API server whether it would take obj, and has it write nothing: as an
// update if obj has a resource version, else as a new object. It needs the rights to
// do the real thing. Validation is the API server's own, with the rules of the CRDs.
func (r Resource[T]) DryRun(ctx context.Context, obj T) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return r.wrap("dry-run", "", "", err)
	}
	request := r.client.Post()
	if m.GetResourceVersion() != "" {
		request = r.client.Put().Name(m.GetName())
	}
	namespace := m.GetNamespace()
	err = request.NamespaceIfScoped(namespace, namespace != "").Resource(r.name).Param("dryRun", metav1.DryRunAll).Body(obj).Do(ctx).Error()
	return r.wrap("dry-run", namespace, m.GetName(), err)
}
