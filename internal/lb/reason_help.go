// SPDX-License-Identifier: Apache-2.0

package lb

// Reasons returns every reason, in the order of their declaration.
func Reasons() []Reason {
	const last = ReasonContested
	all := make([]Reason, 0, last+1)
	for r := range last + 1 {
		all = append(all, r)
	}
	return all
}

// Help returns one sentence for people who meet the reason: what it means and, where
// there is something to do, what that is.
func (r Reason) Help() string { //nolint:funlen // a line for each reason
	switch r {
	case ReasonAccepted:
		return "The object is valid and in use; there is nothing to do."
	case ReasonInvalid:
		return "A field has a value that cannot be used; the message names it: correct the object."
	case ReasonConflict:
		return "An older object already has what this one claims and keeps it; take it out of one of the two."
	case ReasonUnknownReference:
		return "The object names another one that does not exist; create that one, or correct the name."
	case ReasonRedundant:
		return "Something is said twice and counts once, which does no harm; remove one of the two."
	case ReasonDeprecated:
		return "Something deprecated is used, which still works; replace it by what the message names."
	case ReasonAllocated:
		return "The Service has the addresses it claims; there is nothing to do."
	case ReasonNoPool:
		return "There is no usable IPAddressPool; create one, or correct those whose Accepted condition is False."
	case ReasonNoMatchingPool:
		return "No IPAddressPool gives addresses to this Service unasked; set autoAssign, widen a pool's serviceAllocation, or name a pool in the Service."
	case ReasonUnknownPool:
		return "The Service names an IPAddressPool that does not exist; create the pool, or correct the annotation."
	case ReasonPoolFull:
		return "The pools that may serve the Service have no free address; add addresses to one, or delete a Service or an AddressReservation that needs none."
	case ReasonFamilyMissing:
		return "The pools that may serve the Service have no addresses of a family it needs; add a range of that family to one of them, or change spec.ipFamilyPolicy."
	case ReasonOutsidePools:
		return "The requested address is in no IPAddressPool; add it to one, or request another."
	case ReasonAddressInUse:
		return "Another Service has the requested address; request another, or let both share it with allow-shared-ip."
	case ReasonNotAllowed:
		return "The serviceAllocation of the pool excludes the Service; change it, or use another pool."
	case ReasonSharingRefused:
		return "The address cannot be shared between these Services; give both the same sharing key and different ports, and with externalTrafficPolicy Local the same selector or the annotation herald-lb.io/allow-local-sharing."
	case ReasonInvalidService:
		return "An annotation or field of the Service cannot be used; the message names it: correct the Service."
	case ReasonPoolBroken:
		return "The pool of the Service's address, or the one it names, is invalid: it gives nothing and takes nothing away; correct the pool, whose Accepted condition says what is wrong."
	case ReasonReserved:
		return "The requested address is kept for another Service by an AddressReservation; request another, or delete the reservation if it is not needed."
	case ReasonExpired:
		return "The Service of the reservation was away for longer than spec.ttl, and others may have the addresses; create the Service again, or delete the reservation."
	case ReasonAnnounced:
		return "This node announces the address; there is nothing to do."
	case ReasonNotOwner:
		return "Another node was elected to announce the address; there is nothing to do."
	case ReasonNoAdvertisement:
		return "No advertisement covers the Service and the pool of its address; create an L2Advertisement or BGPAdvertisement, or widen the selectors of one."
	case ReasonNoEndpoints:
		return "The Service has no endpoint that may receive traffic; see whether its selector matches Pods and whether they are ready."
	case ReasonNoCandidate:
		return "No live node may announce the address; see the nodeSelectors of the advertisements, the nodes' exclusion label and NetworkUnavailable condition, and whether speakers run."
	case ReasonNoInterface:
		return "The elected node has none of the interfaces that the advertisement names; correct the names, or select other nodes."
	case ReasonSettling:
		return "The speaker has just started and does not know all members yet; wait a few seconds."
	case ReasonNodeExcluded:
		return "This node may not announce addresses; see its label node.kubernetes.io/exclude-from-external-load-balancers and its condition NetworkUnavailable, or it is drained."
	case ReasonNodeNotSelected:
		return "The nodeSelectors of the advertisements that cover the Service leave this node out; there is nothing to do unless that was not meant."
	case ReasonNoLocalEndpoints:
		return "The Service has externalTrafficPolicy Local and no endpoint on this node, which therefore advertises nothing; there is nothing to do."
	case ReasonNoPeer:
		return "This node has no BGP peer that the advertisements tell and that carries the address's family; see spec.peers of the advertisements, and nodeSelectors and dualStackAddressFamily of the peers."
	case ReasonNoCommonNode:
		return "The Service shares its address, and no node that may announce it suits both this one and the older Services, which prevail; with externalTrafficPolicy Local run endpoints of all of them on one node, see that the advertisements select it, or give the Service an address of its own."
	case ReasonSharerElsewhere:
		return "Another Service that shares the address has no endpoint on this node, which therefore leaves the address to nodes that have endpoints of all; there is nothing to do."
	case ReasonOtherClass:
		return "The loadBalancerClass of the Service is not the one that this controller serves with --lb-class, so nothing is written on it; correct the class by creating the Service anew, or see to the implementation whose class it is."
	case ReasonTakingOver:
		return "The controller has just begun to lead and gives nothing before it has taken over every address in use; wait, or see in its log what delays it."
	case ReasonContested:
		return "A station that is not part of the cluster has the address, too, and with --contested-address=yield the speakers leave it to that station; the condition herald-lb.io/Contested and the Event AddressContested name its hardware address: find it, or take the address out of the pool."
	}
	return "The reason is unknown to this version."
}
