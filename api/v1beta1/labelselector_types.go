// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LabelSelector has the fields and the meaning of metav1.LabelSelector. It is a
// type of its own because only so can its parts carry the bounds that validation
// in the API server needs. All of its terms must hold (AND); the empty selector
// matches everything.
//
// +structType=atomic
type LabelSelector struct {
	// matchLabels asks for labels with exactly these values.
	// Default: none.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule=`self.all(key, key.size() <= 317 && key.matches(r'^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$'))`,message="matchLabels: every key must be a label key, [prefix/]name with a name of at most 63 letters, digits, '-', '_' and '.'"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// matchExpressions are further requirements on labels.
	// Default: none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	MatchExpressions []LabelSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelSelectorRequirement is one term of a LabelSelector.
//
// +structType=atomic
// +kubebuilder:validation:XValidation:rule="!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",fieldPath=".values",message="values: operators In and NotIn need at least one value; to ask for the key alone use Exists or DoesNotExist"
// +kubebuilder:validation:XValidation:rule="!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || self.values.size() == 0",fieldPath=".values",message="values: operators Exists and DoesNotExist take no values; remove them or use In or NotIn"
type LabelSelectorRequirement struct {
	// key is the label that the requirement is about.
	//
	// +required
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$`
	Key string `json:"key"`

	// operator relates the label to the values: In, NotIn, Exists or
	// DoesNotExist.
	//
	// +required
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// values is the set for In and NotIn, which need at least one; Exists and
	// DoesNotExist take none.
	// Default: none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4096
	Values []LabelValue `json:"values,omitempty"`
}

// LabelValue is the value of a label: empty, or at most 63 letters, digits, '-',
// '_' and '.' that begin and end with a letter or digit.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
type LabelValue string
