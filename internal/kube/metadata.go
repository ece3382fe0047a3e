// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// acceptMetadata asks the API server to leave out everything but metadata.
const acceptMetadata = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

// ListMetadata returns the metadata of the objects in namespace that labelSelector
// matches. It always asks the API server: for what is looked at once in a while, it
// is cheaper than an informer.
func (r Resource[T]) ListMetadata(ctx context.Context, namespace, labelSelector string) ([]metav1.ObjectMeta, error) {
	body, err := r.client.Get().NamespaceIfScoped(namespace, namespace != "").Resource(r.name).
		Param("labelSelector", labelSelector).SetHeader("Accept", acceptMetadata).Do(ctx).Raw()
	if err != nil {
		return nil, r.wrap("list", namespace, labelSelector, err)
	}
	var list metav1.PartialObjectMetadataList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, r.wrap("decode list of", namespace, labelSelector, err)
	}
	metadata := make([]metav1.ObjectMeta, len(list.Items))
	for i := range list.Items {
		metadata[i] = list.Items[i].ObjectMeta
	}
	return metadata, nil
}
