// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// IPAddressPoolSpec is the wish: which addresses may be given to which Services.
type IPAddressPoolSpec struct {
	// addresses are the ranges the pool consists of, IPv4, IPv6 or both. Each
	// is a prefix in CIDR notation (192.0.2.0/24, 2001:db8::/64) or a first
	// and a last address with a hyphen between (192.0.2.10-192.0.2.20). A
	// single address is a prefix of full length: 192.0.2.7/32, 2001:db8::7/128.
	// Ranges must not overlap, within a pool or between pools.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4096
	// +kubebuilder:validation:items:MaxLength=96
	// +kubebuilder:validation:items:XValidation:rule="!isIP(self.trim())",message="is a single address, which needs its prefix length: write 192.0.2.7/32 for IPv4 or 2001:db8::7/128 for IPv6",messageExpression="self.trim() + ' is a single address, which needs its prefix length: write ' + self.trim() + (self.contains(':') ? '/128' : '/32')"
	// +kubebuilder:validation:items:XValidation:rule="isIP(self.trim()) || isCIDR(self) || (self.contains('-') && isIP(self.substring(0, self.indexOf('-')).trim()) && isIP(self.substring(self.indexOf('-') + 1).trim()))",message="must be a prefix such as 192.0.2.0/24 or 2001:db8::/64, or a first and a last address such as 192.0.2.10-192.0.2.20",messageExpression="self.trim() + ' must be a prefix such as 192.0.2.0/24 or 2001:db8::/64, or a first and a last address such as 192.0.2.10-192.0.2.20'"
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('-') || !isIP(self.substring(0, self.indexOf('-')).trim()) || !isIP(self.substring(self.indexOf('-') + 1).trim()) || ip(self.substring(0, self.indexOf('-')).trim()).family() == ip(self.substring(self.indexOf('-') + 1).trim()).family()",message="the first and the last address of a range must be of the same family, both IPv4 or both IPv6",messageExpression="self.trim() + ': the first and the last address of a range must be of the same family, both IPv4 or both IPv6'"
	// +kubebuilder:validation:items:XValidation:rule="!self.contains('-') || self.contains(':') || !isIP(self.substring(0, self.indexOf('-')).trim()) || !isIP(self.substring(self.indexOf('-') + 1).trim()) || int(self.substring(0, self.indexOf('-')).trim().split('.')[0]) * 16777216 + int(self.substring(0, self.indexOf('-')).trim().split('.')[1]) * 65536 + int(self.substring(0, self.indexOf('-')).trim().split('.')[2]) * 256 + int(self.substring(0, self.indexOf('-')).trim().split('.')[3]) * 1 <= int(self.substring(self.indexOf('-') + 1).trim().split('.')[0]) * 16777216 + int(self.substring(self.indexOf('-') + 1).trim().split('.')[1]) * 65536 + int(self.substring(self.indexOf('-') + 1).trim().split('.')[2]) * 256 + int(self.substring(self.indexOf('-') + 1).trim().split('.')[3]) * 1",message="the first address of a range must not be greater than the last; swap them",messageExpression="self.trim() + ': the first address of a range must not be greater than the last; swap them'"
	Addresses []string `json:"addresses"`

	// autoAssign lets the controller take addresses from the pool for Services
	// that name neither a pool nor an address.
	// Default: true.
	//
	// +optional
	// +kubebuilder:default=true
	AutoAssign *bool `json:"autoAssign,omitempty"`

	// avoidBuggyIPs keeps IPv4 addresses that end in .0 or .255 from being
	// given, because some old routers mistake them for broadcast addresses.
	// Default: false.
	//
	// +optional
	// +kubebuilder:default=false
	AvoidBuggyIPs bool `json:"avoidBuggyIPs,omitempty"`

	// serviceAllocation reserves the pool for the Services it selects, and
	// orders such pools.
	// Default: none, the pool serves every Service.
	//
	// +optional
	ServiceAllocation *ServiceAllocation `json:"serviceAllocation,omitempty"`
}

// ServiceAllocation selects the Services that a pool serves. A Service must be in
// one of the namespaces (by name or by selector, where any is given) and match
// one of the service selectors (where any is given).
type ServiceAllocation struct {
	// priority orders the pools that select a Service: the lowest is tried
	// first, 0 last. Pools of equal priority are tried in order of their
	// names.
	// Default: 0, tried after all others.
	//
	// +optional
	Priority int `json:"priority,omitempty"`

	// namespaces are the names of namespaces whose Services the pool serves.
	// Default: none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MaxLength=253
	Namespaces []string `json:"namespaces,omitempty"`

	// namespaceSelectors select such namespaces by label; one match suffices.
	// Default: none.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	NamespaceSelectors []LabelSelector `json:"namespaceSelectors,omitempty"`

	// serviceSelectors select Services by label; one match suffices.
	// Default: none, every Service of the namespaces.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	ServiceSelectors []LabelSelector `json:"serviceSelectors,omitempty"`
}

// IPAddressPoolStatus is what the controller reports of a pool.
type IPAddressPoolStatus struct {
	// conditions: Accepted tells whether the pool is in use, and if not, why.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// assignedIPv4 is the number of IPv4 addresses in use.
	// Default: 0.
	//
	// +optional
	// +kubebuilder:default=0
	AssignedIPv4 int64 `json:"assignedIPv4"`

	// assignedIPv6 is the number of IPv6 addresses in use.
	// Default: 0.
	//
	// +optional
	// +kubebuilder:default=0
	AssignedIPv6 int64 `json:"assignedIPv6"`

	// availableIPv4 is the number of IPv4 addresses that are still free.
	// Default: 0.
	//
	// +optional
	// +kubebuilder:default=0
	AvailableIPv4 int64 `json:"availableIPv4"`

	// availableIPv6 is the number of IPv6 addresses that are still free;
	// 9223372036854775807 where there are as many or more.
	// Default: 0.
	//
	// +optional
	// +kubebuilder:default=0
	AvailableIPv6 int64 `json:"availableIPv6"`

	// reservedIPv4 is the number of IPv4 addresses that no Service has and
	// that are kept for one by an AddressReservation. They are not among
	// those available.
	// Default: 0.
	//
	// +optional
	ReservedIPv4 int64 `json:"reservedIPv4,omitempty"`

	// reservedIPv6 is the same of IPv6 addresses.
	// Default: 0.
	//
	// +optional
	ReservedIPv6 int64 `json:"reservedIPv6,omitempty"`
}

// IPAddressPool is a set of addresses for Services of type LoadBalancer.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Auto Assign",type=boolean,JSONPath=`.spec.autoAssign`
// +kubebuilder:printcolumn:name="Avoid Buggy IPs",type=boolean,JSONPath=`.spec.avoidBuggyIPs`
// +kubebuilder:printcolumn:name="Addresses",type=string,JSONPath=`.spec.addresses`
// +kubebuilder:printcolumn:name="Accepted",type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`,priority=10
type IPAddressPool struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the wish.
	//
	// +required
	Spec IPAddressPoolSpec `json:"spec"`

	// status is what the controller reports.
	//
	// +optional
	Status IPAddressPoolStatus `json:"status,omitzero"`
}

// IPAddressPoolList is a list of pools.
//
// +kubebuilder:object:root=true
type IPAddressPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []IPAddressPool `json:"items"`
}
