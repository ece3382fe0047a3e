// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServiceBGPStatusSpec is empty: nobody wishes a status.
type ServiceBGPStatusSpec struct{}

// MetalLBServiceBGPStatus is what one speaker reports of one Service.
type MetalLBServiceBGPStatus struct {
	// node is the name of the node that advertises the Service. It never
	// changes.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="node cannot be changed: a status speaks of one Service on one node; write another object"
	Node string `json:"node,omitempty"`

	// serviceName is the name of the Service.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="serviceName cannot be changed: a status speaks of one Service on one node; write another object"
	ServiceName string `json:"serviceName,omitempty"`

	// serviceNamespace is the namespace of the Service.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="serviceNamespace cannot be changed: a status speaks of one Service on one node; write another object"
	ServiceNamespace string `json:"serviceNamespace,omitempty"`

	// peers are the names of the BGPPeers the Service is meant to be
	// advertised to, sorted. What is in the way of that is told in sessions.
	//
	// +optional
	Peers []string `json:"peers,omitempty"`

	// sessions are those with peers that are not as they should be: not
	// established, not for all routes, or not guarded by BFD although the
	// BGPPeer names a BFDProfile. A peer that is not here has the Service's
	// routes, or has lacked them for a few seconds only. In large clusters
	// what is said here may be minutes old; Events on the BGPPeer are not.
	//
	// +optional
	// +listType=map
	// +listMapKey=peer
	Sessions []BGPSessionStatus `json:"sessions,omitempty"`
}

// States of a BGPSessionStatus.
const (
	BGPSessionEstablished = "Established"
	BGPSessionDown        = "Down"
)

// BGPSessionStatus is what is amiss with the session with one peer.
type BGPSessionStatus struct {
	// peer is the name of the BGPPeer, one of peers.
	//
	// +required
	// +kubebuilder:validation:MaxLength=253
	Peer string `json:"peer"`

	// state is Established, or Down for all other states of RFC 4271, section
	// 8.2.2: a session that does not come up goes through them again and
	// again.
	//
	// +required
	// +kubebuilder:validation:Enum=Established;Down
	State string `json:"state"`

	// bfd is the state of the BFD session that guards this one (RFC 5880,
	// section 6.2). There is none without a bfdProfile, nor before the BGP
	// session has been established.
	//
	// +optional
	// +kubebuilder:validation:Enum=AdminDown;Down;Init;Up
	BFD string `json:"bfd,omitempty"`

	// message says what is in the way, if it is known and no NOTIFICATION: why
	// there is no connection, that BFD has failed, which routes cannot be
	// advertised.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// lastNotification is the last NOTIFICATION of either side in words (RFC
	// 4271, section 4.5; RFC 4486; RFC 9003), however long ago. Only a session
	// that is Down has one here.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastNotification string `json:"lastNotification,omitempty"`
}

// ServiceBGPStatus tells to which peers a node advertises a Service. There is one
// for each Service and node.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="Service Name",type=string,JSONPath=`.status.serviceName`
// +kubebuilder:printcolumn:name="Service Namespace",type=string,JSONPath=`.status.serviceNamespace`
type ServiceBGPStatus struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is empty.
	//
	// +optional
	Spec ServiceBGPStatusSpec `json:"spec,omitzero"`

	// status is what the speaker reports.
	//
	// +optional
	Status MetalLBServiceBGPStatus `json:"status,omitempty"`
}

// ServiceBGPStatusList is a list of BGP statuses.
//
// +kubebuilder:object:root=true
type ServiceBGPStatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServiceBGPStatus `json:"items"`
}
