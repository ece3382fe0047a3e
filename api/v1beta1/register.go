// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of every resource that Herald serves.
const GroupName = "metallb.io"

// GroupVersion is the group and version of the resources in this package.
var GroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1beta1"} //nolint:gochecknoglobals // a constant in all but syntax

// AddToScheme registers the types of this package. It may be called more than
// once for one scheme.
func AddToScheme(s *runtime.Scheme) error {
	builder := runtime.NewSchemeBuilder(addKnownTypes)
	return builder.AddToScheme(s)
}

// Resource qualifies a resource name (for example "bgppeers") with the group.
func Resource(resource string) schema.GroupResource {
	return schema.GroupResource{Group: GroupName, Resource: resource}
}

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&BFDProfile{}, &BFDProfileList{},
		&BGPAdvertisement{}, &BGPAdvertisementList{},
		&BGPPeer{}, &BGPPeerList{},
		&Community{}, &CommunityList{},
		&ConfigurationState{}, &ConfigurationStateList{},
		&IPAddressPool{}, &IPAddressPoolList{},
		&L2Advertisement{}, &L2AdvertisementList{},
		&ServiceBGPStatus{}, &ServiceBGPStatusList{},
		&ServiceL2Status{}, &ServiceL2StatusList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
