// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

const (
	// bgpPort is where BGP listens (RFC 4271, 3).
	bgpPort = 179
	// longestPassword is how much the kernel takes for TCP MD5 (TCP_MD5SIG_MAXKEYLEN).
	longestPassword = 80
)

func (p *configParser) parsePeers(objects Objects) {
	profiles := p.parseBFDProfiles(objects.BFDProfiles)
	for _, o := range byName(objects.BGPPeers) {
		r := report{object: objectOf("BGPPeer", o)}
		parser := peerParser{report: &r, object: o, spec: field.NewPath("spec")}
		peer := parser.peer(profiles, objects.Secrets)
		p.report(r)
		if !r.rejected {
			p.config.Peers = append(p.config.Peers, peer)
		}
	}
}

// Concerns reports whether a BGPPeer is meant for a node with these labels, also if it is
// not valid. Selectors that cannot be read might mean any node.
func Concerns(o *v1beta2.BGPPeer, node labels.Set) bool {
	var r report
	selectors := r.selectors(field.NewPath("spec", "nodeSelectors"), o.Spec.NodeSelectors)
	return r.rejected || len(selectors) == 0 || AnyMatches(selectors, node)
}

// peerParser reads one BGPPeer. The API server has refused most of what is refused
// here; what it has not seen was stored before its rules.
type peerParser struct {
	*report
	object *v1beta2.BGPPeer
	spec   *field.Path
}

func (p *peerParser) reject(name, format string, args ...any) {
	p.report.reject(ReasonInvalid, p.spec.Child(name).String(), format, args...)
}

func (p *peerParser) peer(profiles map[string]*BFDProfile, secrets map[string]*corev1.Secret) Peer {
	s := &p.object.Spec
	peer := Peer{
		Namespace: p.object.Namespace, Name: p.object.Name, Created: p.object.CreationTimestamp.Time,
		MyASN: s.MyASN, LocalASN: s.LocalASN, ASN: s.PeerASN,
		Interface: s.Interface, VRF: s.VRFName, Port: s.Port, MultiHop: s.EBGPMultiHop,
		GracefulRestart: s.EnableGracefulRestart, BothFamilies: s.DualStackAddressFamily,
		NodeSelectors: p.selectors(p.spec.Child("nodeSelectors"), s.NodeSelectors),
	}
	if peer.Port == 0 {
		peer.Port = bgpPort
	}
	p.autonomousSystems(&peer)
	p.endpoints(&peer)
	p.timers(&peer)
	peer.Password = p.password(secrets)
	p.bfd(&peer, profiles)
	if s.DisableMP { //nolint:staticcheck // to read it is how its users are told that it is deprecated
		p.note(ReasonDeprecated, p.spec.Child("disableMP").String(), "has no effect; remove it, and see dualStackAddressFamily")
	}
	return peer
}

func (p *peerParser) autonomousSystems(peer *Peer) {
	s := &p.object.Spec
	switch s.DynamicASN {
	case "":
	case v1beta1.DynamicASNInternal:
		peer.Dynamic = InternalASN
	case v1beta1.DynamicASNExternal:
		peer.Dynamic = ExternalASN
	default:
		p.reject("dynamicASN", "%q is not a kind of peer; use internal or external", s.DynamicASN)
	}
	if s.MyASN == 0 {
		p.reject("myASN", "0 is not an AS number; use 1 to 4294967295")
	}
	if (s.PeerASN != 0) == (s.DynamicASN != "") {
		p.reject("peerASN", "set exactly one of peerASN, where the AS number of the peer is known, and dynamicASN, where it is not")
	}
	if s.EBGPMultiHop && (s.PeerASN == s.MyASN || peer.Dynamic == InternalASN) {
		p.reject("ebgpMultiHop", "is for external peers only, and this one is internal; remove it or correct the AS numbers")
	}
}

// endpoints reads the addresses of both ends of the session.
func (p *peerParser) endpoints(peer *Peer) {
	s := &p.object.Spec
	if (s.Address != "") == (s.Interface != "") {
		p.reject("peerAddress", "set exactly one of peerAddress and, for an unnumbered session, interface")
	}
	peer.Address = p.address("peerAddress", s.Address)
	peer.Source = p.address("sourceAddress", s.SrcAddress)
	switch {
	case peer.Address.IsLinkLocalUnicast() && peer.Address.Is6():
		p.reject("peerAddress", "%s is a link-local address, which says nothing without a link; set interface instead", peer.Address)
	case peer.Address.IsUnspecified() || peer.Address.IsMulticast():
		p.reject("peerAddress", "%s is not the address of a router", peer.Address)
	case peer.Address.IsValid() && peer.Source.IsValid() && peer.Address.Is4() != peer.Source.Is4():
		p.reject("sourceAddress", "%s and peerAddress %s must be of the same family", peer.Source, peer.Address)
	}
	peer.SecuredHops = p.securedHops()
	peer.RouterID = p.address("routerID", s.RouterID)
	if peer.RouterID.IsValid() && (!peer.RouterID.Is4() || peer.RouterID.IsUnspecified()) {
		p.reject("routerID", "%s is not a BGP Identifier; write one in the notation of an IPv4 address, such as 192.0.2.1", peer.RouterID)
	}
}

// securedHops reads the annotation that turns GTSM on. One that cannot be read costs the
// peer: whoever asked for protection does not want to go without.
func (p *peerParser) securedHops() uint8 {
	value, ok := p.object.Annotations[v1beta1.AnnotationTTLSecurity]
	if !ok {
		return 0
	}
	at := field.NewPath("metadata", "annotations").Key(v1beta1.AnnotationTTLSecurity).String()
	hops, err := strconv.ParseUint(value, 10, 8)
	if err != nil || hops < 1 || hops > mostHops {
		p.report.reject(ReasonInvalid, at, "%q is not a number of hops; write %q for a neighbor, or up to %q", value, "1", strconv.Itoa(mostHops))
		return 0
	}
	if p.object.Spec.EBGPMultiHop {
		p.note(ReasonRedundant, p.spec.Child("ebgpMultiHop").String(), "has no effect beside the annotation %s, which says how far the peer is away",
			v1beta1.AnnotationTTLSecurity)
	}
	return uint8(hops)
}

// mostHops is how far away a peer can be whose packets are to arrive with a TTL.
const mostHops = 254

// address reads an address; the empty string is none.
func (p *peerParser) address(name, s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		p.reject(name, "%q is not an IP address; write one such as 192.0.2.1 or 2001:db8::1", s)
		return netip.Addr{}
	}
	return a.Unmap()
}

// password reads the password, from the object itself or the Secret it names. A peer
// whose password is not to be had is not used: the session could not come up, or worse,
// would come up without one. Without any Secrets at all the reference is not followed.
func (p *peerParser) password(secrets map[string]*corev1.Secret) Password {
	s, at := &p.object.Spec, "password"
	password := s.Password
	if name := s.PasswordSecret.Name; name != "" {
		at = "passwordSecret"
		if s.Password != "" {
			p.reject(at, "set at most one of password and passwordSecret")
			return ""
		}
		if secrets == nil {
			return ""
		}
		password = p.secretPassword(secrets[name])
	}
	switch {
	case strings.ContainsAny(password, "\r\n\x00"):
		p.reject(at, "the password has a line break or a zero byte in it, which routers cannot have; "+
			"remove it (echo adds one, echo -n does not)")
	case len(password) > longestPassword:
		p.reject(at, "the password has %d bytes, and TCP MD5 takes %d at most; choose a shorter one", len(password), longestPassword)
	}
	return Password(password)
}

func (p *peerParser) secretPassword(secret *corev1.Secret) string {
	ref := p.object.Spec.PasswordSecret
	if ref.Namespace != "" && ref.Namespace != p.object.Namespace {
		p.reject("passwordSecret", "namespace %q is not that of this object, and Secrets of others are not read; "+
			"create the Secret in %q", ref.Namespace, p.object.Namespace)
		return ""
	}
	if secret == nil {
		p.report.reject(ReasonUnknownReference, p.spec.Child("passwordSecret").String(),
			"there is no Secret %q; create it, of type %s, or correct the name", ref.Name, corev1.SecretTypeBasicAuth)
		return ""
	}
	if secret.Type != corev1.SecretTypeBasicAuth {
		p.reject("passwordSecret", "the Secret %q has type %q; create it anew with type %s", ref.Name, secret.Type, corev1.SecretTypeBasicAuth)
		return ""
	}
	password := string(secret.Data[corev1.BasicAuthPasswordKey])
	if password == "" {
		p.reject("passwordSecret", "the Secret %q has nothing under the key %s; put the password there", ref.Name, corev1.BasicAuthPasswordKey)
	}
	return password
}

// bfd finds the profile. One that does not exist costs its settings, and not the guard
// that the administrator wanted: the defaults take their place, as they do in FRR.
func (p *peerParser) bfd(peer *Peer, profiles map[string]*BFDProfile) {
	name := p.object.Spec.BFDProfile
	if name == "" {
		return
	}
	at := p.spec.Child("bfdProfile").String()
	profile, ok := profiles[name]
	if !ok {
		p.note(ReasonUnknownReference, at, "there is no usable BFDProfile %q; create it, or correct the name; "+
			"the default settings guard the session until then", name)
		defaults := DefaultBFDProfile(name)
		profile = &defaults
	}
	peer.BFD = profile
	if profile.Echo && !peer.Address.Is4() {
		p.note(ReasonRedundant, at, "the echoMode of BFDProfile %q is not used with this peer: it is for IPv4 only", name)
	}
}
