// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LabelSelector has the fields and the meaning of metav1.LabelSelector. It is a
// type of its own because only so can its parts carry the bounds that CEL
// validation needs. All of its terms must hold (AND); the empty selector
// matches everything.
//
// +structType=atomic
type LabelSelector struct {
	// matchLabels asks for labels with exactly these values.
	// Default: none.
	//
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`

	// matchExpressions are further requirements on labels.
	// Default: none.
	//
	// +optional
	// +listType=atomic
	MatchExpressions []LabelSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelSelectorRequirement is one term of a LabelSelector.
type LabelSelectorRequirement struct {
	// key is the label that the requirement is about.
	//
	// +required
	Key string `json:"key"`

	// operator relates the label to the values: In, NotIn, Exists or
	// DoesNotExist.
	//
	// +required
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// values is the set for In and NotIn, which need at least one; Exists and
	// DoesNotExist take none.
	// Default: none.
	//
	// +optional
	// +listType=atomic
	Values []string `json:"values,omitempty"`
}
