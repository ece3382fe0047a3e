// SPDX-License-Identifier: Apache-2.0

package v1beta1

// Prefixes of the annotations that Herald reads from Services. The first wins
// where both are present; the second is deprecated and draws a Warning event.
const (
	AnnotationPrefix           = "metallb.io/"
	DeprecatedAnnotationPrefix = "metallb.universe.tf/"
)

// Annotations of Services.
const (
	// AnnotationAddressPool names the only IPAddressPool that may serve the
	// Service, also one with autoAssign false.
	AnnotationAddressPool           = AnnotationPrefix + "address-pool"
	DeprecatedAnnotationAddressPool = DeprecatedAnnotationPrefix + "address-pool"

	// AnnotationLoadBalancerIPs asks for one address, or for one of each
	// family separated by a comma. It excludes spec.loadBalancerIP.
	AnnotationLoadBalancerIPs           = AnnotationPrefix + "loadBalancerIPs"
	DeprecatedAnnotationLoadBalancerIPs = DeprecatedAnnotationPrefix + "loadBalancerIPs"

	// AnnotationAllowSharedIP is the sharing key; empty means no sharing.
	AnnotationAllowSharedIP           = AnnotationPrefix + "allow-shared-ip"
	DeprecatedAnnotationAllowSharedIP = DeprecatedAnnotationPrefix + "allow-shared-ip"

	// AnnotationAllocatedFromPool is written by the controller: the pool that
	// the addresses of the Service came from, or where they came from several,
	// one for each address, separated by commas.
	AnnotationAllocatedFromPool = AnnotationPrefix + "ip-allocated-from-pool"
)

// Annotations of Services that are Herald's own. Each is an opt-in; without them
// everything is as in MetalLB.
const (
	HeraldAnnotationPrefix = "herald-lb.io/"

	// AnnotationAllowLocalSharing permits a Service with externalTrafficPolicy
	// Local to share an address with others of that policy that have another
	// selector, if all of them have it: "true" or "false", the default.
	AnnotationAllowLocalSharing = HeraldAnnotationPrefix + "allow-local-sharing"

	// AnnotationDualStackFrom says where the two addresses of a dual-stack
	// Service may come from: DualStackFromOnePool, the default, or
	// DualStackFromAnyPools.
	AnnotationDualStackFrom = HeraldAnnotationPrefix + "dual-stack-from"
	DualStackFromOnePool    = "one-pool"
	DualStackFromAnyPools   = "any-pools"

	// AnnotationReserve has the addresses of a Service kept for it, in an
	// AddressReservation, when it is deleted: "true" for as long as there is
	// the reservation, or a duration such as "48h"; "false" is the default.
	AnnotationReserve = HeraldAnnotationPrefix + "reserve"
)

// Annotations of BGPPeers that are Herald's own.
const (
	// AnnotationTTLSecurity turns on the Generalized TTL Security Mechanism
	// (RFC 5082) for the session with the peer. The value is how many hops the
	// peer is away: "1" for a neighbor. The peer has to do the same.
	AnnotationTTLSecurity = HeraldAnnotationPrefix + "ttl-security"
)

// Labels of the objects that Herald writes about Services and about itself.
const (
	// LabelNode is the node a ServiceL2Status or ServiceBGPStatus speaks of.
	LabelNode = "metallb.io/node"
	// LabelServiceName is the Service a status object speaks of.
	LabelServiceName = "metallb.io/service-name"
	// LabelServiceNamespace is the namespace of that Service.
	LabelServiceNamespace = "metallb.io/service-namespace"
	// LabelComponentType tells the ConfigurationState of a controller from
	// that of a speaker.
	LabelComponentType = "metallb.io/component-type"
	// LabelNodeName is the node of the speaker that wrote a
	// ConfigurationState.
	LabelNodeName = "metallb.io/node-name"
)

// Values of LabelComponentType.
const (
	ComponentController = "controller"
	ComponentSpeaker    = "speaker"
)

// Condition types and reasons of the configurable resources.
const (
	// ConditionAccepted is True while the object takes part in the
	// configuration, and False with the reason and what to do where it is
	// wrong by itself or loses against an older object.
	ConditionAccepted = "Accepted"
)

// Condition types and reasons of a ConfigurationState.
const (
	// ConditionPoolReconcilerValid is the controller's verdict on pools.
	ConditionPoolReconcilerValid = "poolReconcilerValid"
	// ConditionConfigReconcilerValid is a speaker's verdict on all that it
	// reads.
	ConditionConfigReconcilerValid = "configReconcilerValid"

	// ReasonReconciled goes with a condition that is True.
	ReasonReconciled = "Reconciled"
	// ReasonConfigurationError goes with a condition that is False because
	// an object is wrong.
	ReasonConfigurationError = "ConfigurationError"
	// ReasonUnknownError goes with a condition that is False for any other
	// reason.
	ReasonUnknownError = "UnknownError"
)

// Names of ConfigurationStates: the controller's, and the prefix of a
// speaker's, to which the node name is appended.
const (
	ConfigurationStateController    = "controller"
	ConfigurationStateSpeakerPrefix = "speaker-"
)
