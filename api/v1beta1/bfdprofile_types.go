// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// BFDProfileSpec is the wish: the timing of BFD sessions (RFC 5880).
type BFDProfileSpec struct {
	// receiveInterval is the shortest interval between control packets that we
	// accept, in milliseconds (RFC 5880, 6.8.1, bfd.RequiredMinRxInterval).
	// Range: 10 to 60000.
	// Default: 300.
	//
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	ReceiveInterval *uint32 `json:"receiveInterval,omitempty"`

	// transmitInterval is the shortest interval between control packets that
	// we send, before jitter, in milliseconds (RFC 5880, 6.8.1,
	// bfd.DesiredMinTxInterval). Range: 10 to 60000.
	// Default: 300.
	//
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	TransmitInterval *uint32 `json:"transmitInterval,omitempty"`

	// detectMultiplier is the number of control packets in a row that may be
	// missed before the session is down (RFC 5880, 6.8.1, bfd.DetectMult).
	// Range: 2 to 255.
	// Default: 3.
	//
	// +optional
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=255
	DetectMultiplier *uint32 `json:"detectMultiplier,omitempty"`

	// echoInterval is the shortest interval between echo packets that we
	// accept, in milliseconds (RFC 5880, 4.1, Required Min Echo RX Interval).
	// Range: 10 to 60000.
	// Default: 50.
	//
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=60000
	EchoInterval *uint32 `json:"echoInterval,omitempty"`

	// echoMode asks for the echo function (RFC 5880, 5), over a single IPv4
	// hop only.
	// Default: false.
	//
	// +optional
	EchoMode *bool `json:"echoMode,omitempty"`

	// passiveMode waits for the first control packet of the peer before
	// sending any (RFC 5880, 6.1, the passive role).
	// Default: false, the active role.
	//
	// +optional
	PassiveMode *bool `json:"passiveMode,omitempty"`

	// minimumTtl is the least TTL or hop limit of a control packet that a
	// multihop session accepts (RFC 5883, 5). Range: 1 to 254.
	// Default: 254.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=254
	MinimumTTL *uint32 `json:"minimumTtl,omitempty"`
}

// BFDProfileStatus is what the controller reports of a profile.
type BFDProfileStatus struct {
	// conditions: Accepted tells whether the profile is in use, and if not,
	// why.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BFDProfile holds the settings of BFD sessions (RFC 5880) that guard BGP
// sessions.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Passive Mode",type=boolean,JSONPath=`.spec.passiveMode`
// +kubebuilder:printcolumn:name="Transmit Interval",type=integer,JSONPath=`.spec.transmitInterval`
// +kubebuilder:printcolumn:name="Receive Interval",type=integer,JSONPath=`.spec.receiveInterval`
// +kubebuilder:printcolumn:name="Multiplier",type=integer,JSONPath=`.spec.detectMultiplier`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`,priority=10
type BFDProfile struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wish. Default: every setting at its default.
	//
	// +optional
	Spec BFDProfileSpec `json:"spec,omitempty"`

	// status is what the controller reports.
	//
	// +optional
	Status BFDProfileStatus `json:"status,omitzero"`
}

// BFDProfileList is a list of profiles.
//
// +kubebuilder:object:root=true
type BFDProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BFDProfile `json:"items"`
}
