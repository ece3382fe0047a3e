// SPDX-License-Identifier: Apache-2.0

package v1beta1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DynamicASN tells which kind of peer is expected where its ASN is not given.
type DynamicASN string

// Kinds of peers with an ASN that is not known beforehand.
const (
	// DynamicASNInternal accepts a peer in our own autonomous system only.
	DynamicASNInternal DynamicASN = "internal"
	// DynamicASNExternal accepts a peer in any other autonomous system.
	DynamicASNExternal DynamicASN = "external"
)

// BGPPeerSpec is the wish: with whom the nodes hold BGP sessions (RFC 4271), and
// how. Both versions of BGPPeer share this type, so that nothing is lost
// whichever of them a client reads or writes.
//
// +kubebuilder:validation:XValidation:rule="(has(self.peerASN) && self.peerASN != 0) != has(self.dynamicASN)",fieldPath=".peerASN",message="set exactly one of peerASN, where the AS number of the peer is known, and dynamicASN, where it is not"
// +kubebuilder:validation:XValidation:rule="(has(self.peerAddress) && self.peerAddress.size() > 0) != (has(self.interface) && self.interface.size() > 0)",fieldPath=".peerAddress",message="set exactly one of peerAddress and, for an unnumbered session, interface"
// +kubebuilder:validation:XValidation:rule="!has(self.ebgpMultiHop) || !self.ebgpMultiHop || !has(self.peerASN) || self.peerASN != self.myASN",fieldPath=".ebgpMultiHop",message="ebgpMultiHop is for external peers only, but peerASN equals myASN; remove it or correct the AS numbers"
// +kubebuilder:validation:XValidation:rule="!has(self.password) || self.password.size() == 0 || !has(self.passwordSecret) || !has(self.passwordSecret.name) || self.passwordSecret.name.size() == 0",fieldPath=".passwordSecret",message="set at most one of password and passwordSecret"
// +kubebuilder:validation:XValidation:rule="!has(self.holdTime) || !has(self.keepaliveTime) || !self.holdTime.matches(r'^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$') || !self.keepaliveTime.matches(r'^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$') || duration(self.keepaliveTime) <= duration(self.holdTime)",fieldPath=".keepaliveTime",message="keepaliveTime must not exceed holdTime; a third of it is usual"
// +kubebuilder:validation:XValidation:rule="has(self.holdTime) || !has(self.keepaliveTime) || !self.keepaliveTime.matches(r'^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$') || duration(self.keepaliveTime) == duration('0s') || duration(self.keepaliveTime) >= duration('1s')",fieldPath=".keepaliveTime",message="keepaliveTime without holdTime must be 0s or at least 1s, because the hold time is three times as long and at least 3s"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceAddress) || !has(self.peerAddress) || !isIP(self.sourceAddress) || !isIP(self.peerAddress) || ip(self.sourceAddress).family() == ip(self.peerAddress).family()",fieldPath=".sourceAddress",message="sourceAddress and peerAddress must be of the same family, both IPv4 or both IPv6"
type BGPPeerSpec struct {
	// myASN is the AS number the nodes speak with (RFC 4271, 4.2, My
	// Autonomous System; RFC 6793 for four octets). Range: 1 to 4294967295.
	//
	// +required
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	MyASN uint32 `json:"myASN"`

	// peerASN is the AS number of the peer. Range: 1 to 4294967295. Exactly
	// one of peerASN and dynamicASN is set.
	// Default: unset.
	//
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=4294967295
	PeerASN uint32 `json:"peerASN,omitempty"`

	// localASN is presented to this peer in place of myASN. Range: 1 to
	// 4294967295.
	// Default: unset, myASN is presented.
	//
	// +optional
	// +kubebuilder:validation:Format=int64
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=4294967295
	LocalASN uint32 `json:"localASN,omitempty"`

	// dynamicASN accepts a peer without naming its AS number: internal one
	// with our own, external one with any other.
	// Default: unset.
	//
	// +optional
	// +kubebuilder:validation:Enum=internal;external
	DynamicASN DynamicASN `json:"dynamicASN,omitempty"`

	// peerAddress is the IPv4 or IPv6 address of the peer. Exactly one of
	// peerAddress and interface is set.
	// Default: unset.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || isIP(self)",message="peerAddress must be an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1, without prefix length or zone"
	Address string `json:"peerAddress,omitempty"`

	// interface is the name of the network interface on which the peer is
	// found by its IPv6 link-local address (an unnumbered session).
	// Default: unset.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\r\n]')`,message="interface must be a single line"
	Interface string `json:"interface,omitempty"`

	// sourceAddress is the local address of the session.
	// Default: chosen by the kernel's route to the peer.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || isIP(self)",message="sourceAddress must be an IPv4 or IPv6 address such as 192.0.2.1 or 2001:db8::1, without prefix length or zone"
	SrcAddress string `json:"sourceAddress,omitempty"`

	// peerPort is the TCP port of the peer. Range: 1 to 16384; 0 stands for
	// the default.
	// Default: 179 (RFC 4271, 3).
	//
	// +optional
	// +kubebuilder:default=179
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=16384
	Port uint16 `json:"peerPort,omitempty"`

	// holdTime is the proposed Hold Time (RFC 4271, 4.2, HoldTime), such as
	// 90s or 1m30s; fractions of a second are cut off. Range: 0, which
	// switches the hold timer and keepalives off, or 3s to 65535s.
	// Default: three times keepaliveTime; 90s where that is unset too.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$') && (duration(self).getSeconds() == 0 || (duration(self).getSeconds() >= 3 && duration(self).getSeconds() <= 65535))",message="holdTime must be 0s, which switches the hold timer off, or 3s to 65535s, written with a unit such as 90s or 1m30s"
	HoldTime *metav1.Duration `json:"holdTime,omitempty"`

	// keepaliveTime is the interval between KEEPALIVE messages (RFC 4271, 10,
	// KeepaliveTime), such as 30s. It is at most holdTime.
	// Default: a third of holdTime; 30s where that is unset too.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$') && duration(self).getSeconds() <= 65535",message="keepaliveTime must be 0s to 65535s, written with a unit such as 30s"
	KeepaliveTime *metav1.Duration `json:"keepaliveTime,omitempty"`

	// connectTime is the wait between attempts to connect (RFC 4271, 10,
	// ConnectRetryTime), in whole seconds, such as 10s. Range: 1s to 65535s.
	// Default: unset, the speaker's own pace.
	//
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[+]?(0|(([0-9]+[.]?[0-9]*|[.][0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$') && duration(self) >= duration('1s') && duration(self) <= duration('65535s') && duration(self).getMilliseconds() % 1000 == 0",message="connectTime must be 1s to 65535s in whole seconds, written with a unit such as 10s"
	ConnectTime *metav1.Duration `json:"connectTime,omitempty"`

	// routerID is the BGP Identifier (RFC 4271, 4.2) in dotted notation, such
	// as 192.0.2.1. All peers of one node share one.
	// Default: the node's IPv4 address.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || (isIP(self) && ip(self).family() == 4)",message="routerID must be a BGP Identifier in the notation of an IPv4 address, such as 192.0.2.1"
	RouterID string `json:"routerID,omitempty"`

	// nodeSelectors select the nodes that hold a session with this peer; one
	// match suffices.
	// Default: none, all nodes.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1024
	NodeSelectors []LabelSelector `json:"nodeSelectors,omitempty"`

	// password authenticates the session by TCP MD5 (RFC 2385). Prefer
	// passwordSecret: who may read this object reads the password. At most one
	// of password and passwordSecret is set.
	// Default: unset, no authentication.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\r\n]')`,message="password must be a single line"
	Password string `json:"password,omitempty"`

	// passwordSecret names a Secret of type kubernetes.io/basic-auth in the
	// namespace of this object whose key password holds the TCP MD5 password
	// (RFC 2385).
	// Default: unset, no authentication.
	//
	// +optional
	PasswordSecret SecretReference `json:"passwordSecret,omitzero"`

	// bfdProfile is the name of the BFDProfile whose settings guard the
	// session (RFC 5880, RFC 5882).
	// Default: unset, no BFD.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	BFDProfile string `json:"bfdProfile,omitempty"`

	// enableGracefulRestart lets the peer keep our routes while the speaker
	// restarts (RFC 4724). It cannot be changed: delete the peer and create
	// it anew.
	// Default: false.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="enableGracefulRestart cannot be changed, because the capability is negotiated when a session opens; delete the BGPPeer and create it anew"
	EnableGracefulRestart bool `json:"enableGracefulRestart,omitempty"`

	// ebgpMultiHop permits an external peer that is more than one hop away. It
	// makes no sense where peerASN equals myASN.
	// Default: false, the peer is directly connected.
	//
	// +optional
	EBGPMultiHop bool `json:"ebgpMultiHop,omitempty"`

	// vrf is the name of the VRF device the session runs in.
	// Default: unset, the main routing table.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`!self.matches(r'[\r\n]')`,message="vrf must be a single line"
	VRFName string `json:"vrf,omitempty"`

	// disableMP is read and has no effect. Use dualStackAddressFamily.
	// Default: false.
	//
	// Deprecated: the field remains so that old manifests apply.
	//
	// +optional
	// +kubebuilder:default=false
	DisableMP bool `json:"disableMP,omitempty"`

	// dualStackAddressFamily carries routes of both families over the session
	// (RFC 4760), and not only of the family of peerAddress.
	// Default: false.
	//
	// +optional
	// +kubebuilder:default=false
	DualStackAddressFamily bool `json:"dualStackAddressFamily,omitempty"`
}

// SecretReference names a Secret.
//
// +structType=atomic
type SecretReference struct {
	// name is the name of the Secret.
	// Default: unset, no Secret.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// namespace is the namespace of the Secret. Only Secrets in the namespace
	// of the object itself are read.
	// Default: that namespace.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace,omitempty"`
}

// BGPPeerStatus is what the controller reports of a peer.
type BGPPeerStatus struct {
	// conditions: Accepted tells whether the peer is in use, and if not, why.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
