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
	// advertised to, sorted. Whether a session is established is not told
	// here.
	//
	// +optional
	Peers []string `json:"peers,omitempty"`
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
