// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AddressReservationSpec is the wish: which addresses are kept for which Service.
type AddressReservationSpec struct {
	// serviceName is the Service that the addresses are kept for, in the
	// namespace of the reservation. It need not exist. It cannot be changed.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="serviceName cannot be changed; make another reservation for the other Service"
	ServiceName string `json:"serviceName"`

	// addresses are what is kept: one address, or one of each family.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="must be an IP address such as 192.0.2.10 or 2001:db8::10",messageExpression="self + ' must be an IP address such as 192.0.2.10 or 2001:db8::10'"
	// +kubebuilder:validation:XValidation:rule="size(self) < 2 || !self.all(a, isIP(a)) || ip(self[0]).family() != ip(self[1]).family()",message="two addresses must be of different families, one IPv4 and one IPv6"
	Addresses []string `json:"addresses"`

	// ttl is how long the addresses are kept while the Service is not there,
	// such as 48h or 90m: from its deletion, or from the making of the
	// reservation if the Service was not there then. It does not run while
	// the Service is there.
	// Default: for as long as there is the reservation.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$') && duration(self).getSeconds() >= 1",message="ttl must be 1s or longer, written with a unit such as 48h or 90m"
	TTL *metav1.Duration `json:"ttl,omitempty"`

	// sharingKey is that of the Service (annotation allow-shared-ip), where
	// it shares the addresses: reservations of one address for Services with
	// one key stand side by side. Of others only the oldest does.
	// Default: none, the addresses are kept for this Service alone.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	SharingKey string `json:"sharingKey,omitempty"`
}

// ReservationState says what has become of a reservation.
//
// +kubebuilder:validation:Enum=Bound;Held;Refused;Expired
type ReservationState string

// States of an AddressReservation.
const (
	// ReservationBound: the Service has the addresses.
	ReservationBound ReservationState = "Bound"
	// ReservationHeld: no other Service is given the addresses.
	ReservationHeld ReservationState = "Held"
	// ReservationRefused: none of the addresses can be kept; the condition
	// Accepted says why.
	ReservationRefused ReservationState = "Refused"
	// ReservationExpired: the Service was away for longer than spec.ttl. When
	// it is there again, the reservation counts again.
	ReservationExpired ReservationState = "Expired"
)

// AddressReservationStatus is what the controller reports of a reservation.
type AddressReservationStatus struct {
	// conditions: Accepted tells whether all addresses are kept, and if not,
	// why.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// state is Bound while the Service has the addresses, Held while they are
	// kept for it, Refused if they cannot be, Expired after ttl.
	//
	// +optional
	State ReservationState `json:"state,omitempty"`

	// releasedAt is since when the Service is not there; from then ttl
	// counts. It is unset while the Service is there.
	//
	// +optional
	ReleasedAt *metav1.Time `json:"releasedAt,omitempty"`

	// expiresAt is when the addresses will be, or were, free for others. It is
	// unset while the Service is there, and without ttl.
	//
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
}

// AddressReservation keeps addresses for a Service while it is deleted and created
// again. No other Service is given them; one that has one already keeps it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Service",type=string,JSONPath=`.spec.serviceName`
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Expires At",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].reason`,priority=10
type AddressReservation struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wish.
	//
	// +required
	Spec AddressReservationSpec `json:"spec"`

	// status is what the controller reports.
	//
	// +optional
	Status AddressReservationStatus `json:"status,omitzero"`
}

// AddressReservationList is a list of reservations.
//
// +kubebuilder:object:root=true
type AddressReservationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AddressReservation `json:"items"`
}
