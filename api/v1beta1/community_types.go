// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CommunitySpec is the wish: names for BGP communities.
type CommunitySpec struct {
	// communities are the aliases. A name is defined once in all Community
	// objects together.
	// Default: none.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=1024
	Communities []CommunityAlias `json:"communities,omitempty"`
}

// CommunityAlias is a name for one BGP community.
type CommunityAlias struct {
	// name is what BGPAdvertisements write in place of the value.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.contains(':')",message="name must not contain a colon: in a BGPAdvertisement it would be read as a value"
	Name string `json:"name"`

	// value is 64512:100 (two numbers of 16 bits, RFC 1997) or
	// large:64512:1:2 (three numbers of 32 bits, RFC 8092).
	//
	// +required
	// +kubebuilder:validation:MaxLength=48
	// +kubebuilder:validation:XValidation:rule="(self.matches(r'^[0-9]{1,10}:[0-9]{1,10}$') && self.split(':').all(part, int(part) <= 65535)) || (self.matches(r'^large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$') && self.replace('large:', '').split(':').all(part, int(part) <= 4294967295))",message="value must be a community such as 64512:100 (two numbers up to 65535) or a large community such as large:64512:1:2 (three numbers up to 4294967295)"
	Value string `json:"value"`
}

// CommunityStatus is what the controller reports of the aliases.
type CommunityStatus struct {
	// conditions: Accepted tells whether the aliases are in use, and if not,
	// why.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Community gives names to BGP communities, for use in BGPAdvertisements.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`,priority=10
// +kubebuilder:resource:path=communities
type Community struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wish.
	//
	// +optional
	Spec CommunitySpec `json:"spec,omitempty"`

	// status is what the controller reports.
	//
	// +optional
	Status CommunityStatus `json:"status,omitzero"`
}

// CommunityList is a list of Community objects.
//
// +kubebuilder:object:root=true
type CommunityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Community `json:"items"`
}
