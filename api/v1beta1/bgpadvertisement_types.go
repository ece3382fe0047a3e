// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BGPAdvertisementSpec is the wish: which addresses are advertised to which peers,
// with which path attributes.
//
// +kubebuilder:validation:XValidation:rule="!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || !has(self.aggregationLength) || self.aggregationLength == 32",fieldPath=".aggregationLength",message="aggregationLength must be 32 where serviceSelectors is set; remove one of the two"
// +kubebuilder:validation:XValidation:rule="!has(self.serviceSelectors) || self.serviceSelectors.size() == 0 || !has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128",fieldPath=".aggregationLengthV6",message="aggregationLengthV6 must be 128 where serviceSelectors is set; remove one of the two"
type BGPAdvertisementSpec struct {
	// aggregationLength is the length in bits of the IPv4 prefix that is
	// advertised for an address (RFC 4271, 4.3, NLRI Length). It must not be
	// shorter than the shortest prefix of the pools. Range: 1 to 32.
	// Default: 32, the address itself.
	//
	// +optional
	// +kubebuilder:default=32
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	AggregationLength *int32 `json:"aggregationLength,omitempty"`

	// aggregationLengthV6 is the same for IPv6 (RFC 4760, 5, NLRI Length).
	// Range: 0 to 128.
	// Default: 128, the address itself.
	//
	// +optional
	// +kubebuilder:default=128
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=128
	AggregationLengthV6 *int32 `json:"aggregationLengthV6,omitempty"`

	// localPref is the LOCAL_PREF path attribute (RFC 4271, 5.1.5), sent to
	// internal peers only; the greatest wins. Range: 0 to 4294967295.
	// Default: unset, LOCAL_PREF 100 as usual.
	//
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	LocalPref uint32 `json:"localPref,omitempty"`

	// communities are attached to the path: 64512:100 (COMMUNITIES, RFC 1997),
	// large:64512:1:2 (LARGE_COMMUNITY, RFC 8092), or the name of an alias
	// from a Community object.
	// Default: none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!self.contains(':') || (self.matches(r'^[0-9]{1,10}:[0-9]{1,10}$') && self.split(':').all(part, int(part) <= 65535)) || (self.matches(r'^large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10}$') && self.replace('large:', '').split(':').all(part, int(part) <= 4294967295))",message="must be a community such as 64512:100 (two numbers up to 65535), a large community such as large:64512:1:2 (three numbers up to 4294967295), or the name of an alias, which has no colon",messageExpression="self + ' must be a community such as 64512:100 (two numbers up to 65535), a large community such as large:64512:1:2 (three numbers up to 4294967295), or the name of an alias, which has no colon'"
	Communities []string `json:"communities,omitempty"`

	// ipAddressPools are the names of pools whose addresses are advertised.
	// Default: none; together with no ipAddressPoolSelectors, all pools.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=253
	IPAddressPools []string `json:"ipAddressPools,omitempty"`

	// ipAddressPoolSelectors select pools by label, in addition to those
	// named; one match suffices.
	// Default: none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	IPAddressPoolSelectors []LabelSelector `json:"ipAddressPoolSelectors,omitempty"`

	// nodeSelectors select the nodes that may be next hops (RFC 4271, 5.1.3);
	// one match suffices.
	// Default: none, all nodes.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	NodeSelectors []LabelSelector `json:"nodeSelectors,omitempty"`

	// peers are the names of the BGPPeers that are told.
	// Default: none, all peers.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=253
	Peers []string `json:"peers,omitempty"`

	// serviceSelectors restrict the advertisement to Services with matching
	// labels; one match suffices. An advertisement with service selectors
	// cannot aggregate.
	// Default: none, all Services.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	ServiceSelectors []LabelSelector `json:"serviceSelectors,omitempty"`
}

// BGPAdvertisementStatus is what the controller reports of an advertisement.
type BGPAdvertisementStatus struct {
	// conditions: Accepted tells whether the advertisement is in use, and if
	// not, why.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BGPAdvertisement advertises addresses to BGP peers (RFC 4271).
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="IPAddressPools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="IPAddressPool Selectors",type=string,JSONPath=`.spec.ipAddressPoolSelectors`
// +kubebuilder:printcolumn:name="Peers",type=string,JSONPath=`.spec.peers`
// +kubebuilder:printcolumn:name="Node Selectors",type=string,JSONPath=`.spec.nodeSelectors`,priority=10
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`,priority=10
type BGPAdvertisement struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wish. Default: all pools to all peers.
	//
	// +optional
	Spec BGPAdvertisementSpec `json:"spec,omitempty"`

	// status is what the controller reports.
	//
	// +optional
	Status BGPAdvertisementStatus `json:"status,omitzero"`
}

// BGPAdvertisementList is a list of advertisements.
//
// +kubebuilder:object:root=true
type BGPAdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BGPAdvertisement `json:"items"`
}
