// SPDX-License-Identifier: Apache-2.0

package v1beta2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/herald-lb/herald/api/v1beta1"
)

// GroupVersion is the group and version of the resources in this package.
var GroupVersion = schema.GroupVersion{Group: v1beta1.GroupName, Version: "v1beta2"} //nolint:gochecknoglobals // a constant in all but syntax

// AddToScheme registers the types of this package. It may be called more than
// once for one scheme.
func AddToScheme(s *runtime.Scheme) error {
	builder := runtime.NewSchemeBuilder(addKnownTypes)
	return builder.AddToScheme(s)
}

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &BGPPeer{}, &BGPPeerList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
