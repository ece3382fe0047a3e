// SPDX-License-Identifier: Apache-2.0

package lb

// Reason is why an object or a Service is in the state it is in. It is the one
// source of the reasons in conditions, Events, log lines and metric labels.
type Reason uint8

// Reasons of configuration objects.
const (
	// ReasonAccepted: the object is valid and in use.
	ReasonAccepted Reason = iota
	// ReasonInvalid: a field of the object has a value that cannot be used.
	ReasonInvalid
	// ReasonConflict: the object collides with an older one, which keeps what it has.
	ReasonConflict
	// ReasonUnknownReference: the object names another one that does not exist.
	ReasonUnknownReference
	// ReasonRedundant: something is said twice. It counts once, and costs nothing.
	ReasonRedundant
	// ReasonDeprecated: something deprecated is used. It works; it will not forever.
	ReasonDeprecated

	// ReasonAllocated: the Service has the addresses it claims.
	ReasonAllocated
	// ReasonNoPool: there is no usable pool at all.
	ReasonNoPool
	// ReasonNoMatchingPool: there are pools, but none may serve this Service.
	ReasonNoMatchingPool
	// ReasonUnknownPool: the pool that the Service names does not exist.
	ReasonUnknownPool
	// ReasonPoolFull: the pools that may serve the Service have no free address.
	ReasonPoolFull
	// ReasonFamilyMissing: the pools that may serve the Service lack a family it needs.
	ReasonFamilyMissing
	// ReasonOutsidePools: the requested address is in no pool.
	ReasonOutsidePools
	// ReasonAddressInUse: another Service has the requested address.
	ReasonAddressInUse
	// ReasonNotAllowed: the pool's serviceAllocation excludes the Service.
	ReasonNotAllowed
	// ReasonSharingRefused: the address may not be shared between these Services.
	ReasonSharingRefused
	// ReasonInvalidService: an annotation or field of the Service cannot be used.
	ReasonInvalidService
	// ReasonPoolBroken: the pool of the Service's address is invalid; the address stays.
	ReasonPoolBroken
	// ReasonReserved: the requested address is kept for another Service.
	ReasonReserved
	// ReasonExpired: the reservation has ended because its Service was away too long.
	ReasonExpired

	// ReasonAnnounced: this node announces the address.
	ReasonAnnounced
	// ReasonNotOwner: another node was elected to announce the address.
	ReasonNotOwner
	// ReasonNoAdvertisement: no advertisement covers the Service and its pool.
	ReasonNoAdvertisement
	// ReasonNoEndpoints: the Service has no endpoint that may receive traffic.
	ReasonNoEndpoints
	// ReasonNoCandidate: no live node may announce the address.
	ReasonNoCandidate
	// ReasonNoInterface: the elected node has none of the interfaces selected.
	ReasonNoInterface
	// ReasonSettling: membership has not settled yet; nothing changes until then.
	ReasonSettling

	// ReasonNodeExcluded: this node may not announce anything, by label or condition.
	ReasonNodeExcluded
	// ReasonNodeNotSelected: no advertisement of the Service selects this node.
	ReasonNodeNotSelected
	// ReasonNoLocalEndpoints: the Service wants traffic only where its endpoints are,
	// and this node has none of them.
	ReasonNoLocalEndpoints
	// ReasonNoPeer: this node has no BGP peer to advertise the address to.
	ReasonNoPeer

	// ReasonNoCommonNode: the Service shares the address, and is not announced because
	// no node that suits it suits the older Services too.
	ReasonNoCommonNode
	// ReasonSharerElsewhere: this node does not suit another Service on the address.
	ReasonSharerElsewhere
	// ReasonOtherClass: the loadBalancerClass of the Service is not ours.
	ReasonOtherClass
	// ReasonTakingOver: nothing is given before every address in use has been taken over.
	ReasonTakingOver
	// ReasonContested: a station that is no speaker has the address, too, and it is left
	// to that station.
	ReasonContested
)

// String returns the reason as Kubernetes writes reasons: in CamelCase.
func (r Reason) String() string { //nolint:funlen // a line for each reason
	switch r {
	case ReasonAccepted:
		return "Accepted"
	case ReasonInvalid:
		return "Invalid"
	case ReasonConflict:
		return "Conflict"
	case ReasonUnknownReference:
		return "UnknownReference"
	case ReasonRedundant:
		return "Redundant"
	case ReasonDeprecated:
		return "Deprecated"
	case ReasonAllocated:
		return "Allocated"
	case ReasonNoPool:
		return "NoPool"
	case ReasonNoMatchingPool:
		return "NoMatchingPool"
	case ReasonUnknownPool:
		return "UnknownPool"
	case ReasonPoolFull:
		return "PoolFull"
	case ReasonFamilyMissing:
		return "FamilyMissing"
	case ReasonOutsidePools:
		return "OutsidePools"
	case ReasonAddressInUse:
		return "AddressInUse"
	case ReasonNotAllowed:
		return "NotAllowed"
	case ReasonSharingRefused:
		return "SharingRefused"
	case ReasonInvalidService:
		return "InvalidService"
	case ReasonPoolBroken:
		return "PoolBroken"
	case ReasonReserved:
		return "Reserved"
	case ReasonExpired:
		return "Expired"
	case ReasonAnnounced:
		return "Announced"
	case ReasonNotOwner:
		return "NotOwner"
	case ReasonNoAdvertisement:
		return "NoAdvertisement"
	case ReasonNoEndpoints:
		return "NoEndpoints"
	case ReasonNoCandidate:
		return "NoCandidate"
	case ReasonNoInterface:
		return "NoInterface"
	case ReasonSettling:
		return "Settling"
	case ReasonNodeExcluded:
		return "NodeExcluded"
	case ReasonNodeNotSelected:
		return "NodeNotSelected"
	case ReasonNoLocalEndpoints:
		return "NoLocalEndpoints"
	case ReasonNoPeer:
		return "NoPeer"
	case ReasonNoCommonNode:
		return "NoCommonNode"
	case ReasonSharerElsewhere:
		return "SharerElsewhere"
	case ReasonOtherClass:
		return "OtherClass"
	case ReasonTakingOver:
		return "TakingOver"
	case ReasonContested:
		return "Contested"
	}
	return "Unknown"
}
