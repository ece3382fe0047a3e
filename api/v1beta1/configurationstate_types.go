// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConfigurationResult is the verdict of a component on the configuration.
//
// +kubebuilder:validation:Enum=Valid;Invalid;Unknown
type ConfigurationResult string

// Verdicts on the configuration.
const (
	// ConfigurationValid: every object is in use.
	ConfigurationValid ConfigurationResult = "Valid"
	// ConfigurationInvalid: at least one object is not in use; the others are.
	ConfigurationInvalid ConfigurationResult = "Invalid"
	// ConfigurationUnknown: the component has not looked yet, or cannot.
	ConfigurationUnknown ConfigurationResult = "Unknown"
)

// ConfigurationStateStatus is what one component reports of the configuration.
type ConfigurationStateStatus struct {
	// result is the verdict: Valid, Invalid or Unknown.
	//
	// +optional
	Result ConfigurationResult `json:"result,omitempty"`

	// errorSummary is what is wrong, one line for each problem; empty where
	// the configuration is valid.
	//
	// +optional
	ErrorSummary string `json:"errorSummary,omitempty"`

	// conditions: poolReconcilerValid (controller) or configReconcilerValid
	// (speaker), with the reason Reconciled, ConfigurationError or
	// UnknownError.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ConfigurationState tells what one component makes of the configuration. The
// controller writes the one named controller, each speaker the one named
// speaker- and its node.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Result",type=string,JSONPath=`.status.result`
// +kubebuilder:printcolumn:name="Error Summary",type=string,JSONPath=`.status.errorSummary`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ConfigurationState struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// status is what the component reports.
	//
	// +optional
	Status ConfigurationStateStatus `json:"status,omitzero"`
}

// ConfigurationStateList is a list of verdicts.
//
// +kubebuilder:object:root=true
type ConfigurationStateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ConfigurationState `json:"items"`
}
