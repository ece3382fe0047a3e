// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServiceL2StatusSpec is empty: nobody wishes a status.
type ServiceL2StatusSpec struct{}

// MetalLBServiceL2Status is what the announcing speaker reports of one Service.
type MetalLBServiceL2Status struct {
	// node is the name of the node that announces the Service. It never
	// changes; another owner writes an object of its own.
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

	// interfaces are the network interfaces on which the node announces; none
	// where an advertisement names none, which means all of them.
	//
	// +optional
	Interfaces []InterfaceInfo `json:"interfaces,omitempty"`
}

// InterfaceInfo names a network interface.
type InterfaceInfo struct {
	// name is the name of the interface, such as eth0.
	//
	// +optional
	Name string `json:"name,omitempty"`
}

// ServiceL2Status tells which node announces a Service by Layer 2. There is one
// for each such Service.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Allocated Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="Service Name",type=string,JSONPath=`.status.serviceName`
// +kubebuilder:printcolumn:name="Service Namespace",type=string,JSONPath=`.status.serviceNamespace`
type ServiceL2Status struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is empty.
	//
	// +optional
	Spec ServiceL2StatusSpec `json:"spec,omitzero"`

	// status is what the speaker reports.
	//
	// +optional
	Status MetalLBServiceL2Status `json:"status,omitempty"`
}

// ServiceL2StatusList is a list of Layer 2 statuses.
//
// +kubebuilder:object:root=true
type ServiceL2StatusList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServiceL2Status `json:"items"`
}
