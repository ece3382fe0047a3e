// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of the resources that only Herald has.
const GroupName = "herald-lb.io"

// GroupVersion is the group and version of the resources in this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"} //nolint:gochecknoglobals // a constant in all but syntax

// AddToScheme registers the types of this package. It may be called more than
// once for one scheme.
func AddToScheme(s *runtime.Scheme) error {
	builder := runtime.NewSchemeBuilder(addKnownTypes)
	return builder.AddToScheme(s)
}

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &AddressReservation{}, &AddressReservationList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
