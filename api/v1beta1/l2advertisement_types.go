// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// L2AdvertisementSpec is the wish: which addresses are announced from which nodes
// and interfaces.
type L2AdvertisementSpec struct {
	// ipAddressPools are the names of pools whose addresses are announced.
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

	// nodeSelectors select the nodes that may announce; one match suffices.
	// Default: none, all nodes.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	NodeSelectors []LabelSelector `json:"nodeSelectors,omitempty"`

	// interfaces are the exact names of the network interfaces on which a node
	// announces.
	// Default: none, all suitable interfaces.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=253
	Interfaces []string `json:"interfaces,omitempty"`

	// serviceSelectors restrict the advertisement to Services with matching
	// labels; one match suffices.
	// Default: none, all Services.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	ServiceSelectors []LabelSelector `json:"serviceSelectors,omitempty"`

	// preferredNodeSelectors favour some of the selected nodes: the candidate
	// with the greatest sum of matching weights announces.
	// Default: none, no node is favoured.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1024
	PreferredNodeSelectors []PreferredNodeSelector `json:"preferredNodeSelectors,omitempty"`
}

// PreferredNodeSelector favours the nodes that match a selector.
type PreferredNodeSelector struct {
	// weight is added to the score of each matching node. Range: 1 to 100.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`

	// preference selects the nodes.
	//
	// +required
	Preference LabelSelector `json:"preference"`
}

// L2AdvertisementStatus is what the controller reports of an advertisement.
type L2AdvertisementStatus struct {
	// conditions: Accepted tells whether the advertisement is in use, and if
	// not, why.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// L2Advertisement announces addresses on the local network, by ARP (RFC 826) for
// IPv4 and by NDP (RFC 4861) for IPv6.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="IPAddressPools",type=string,JSONPath=`.spec.ipAddressPools`
// +kubebuilder:printcolumn:name="IPAddressPool Selectors",type=string,JSONPath=`.spec.ipAddressPoolSelectors`
// +kubebuilder:printcolumn:name="Interfaces",type=string,JSONPath=`.spec.interfaces`
// +kubebuilder:printcolumn:name="Node Selectors",type=string,JSONPath=`.spec.nodeSelectors`,priority=10
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`,priority=10
type L2Advertisement struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wish. Default: all pools from all nodes.
	//
	// +optional
	Spec L2AdvertisementSpec `json:"spec,omitempty"`

	// status is what the controller reports.
	//
	// +optional
	Status L2AdvertisementStatus `json:"status,omitzero"`
}

// L2AdvertisementList is a list of advertisements.
//
// +kubebuilder:object:root=true
type L2AdvertisementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []L2Advertisement `json:"items"`
}
