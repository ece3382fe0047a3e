// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
	"github.com/herald-lb/herald/internal/lb"
)

// bgpObjects are the objects of the Inventory that only BGP needs, by name.
type bgpObjects struct {
	peers          map[string]*v1beta2.BGPPeer
	advertisements map[string]*v1beta1.BGPAdvertisement
	profiles       map[string]*v1beta1.BFDProfile
	communities    map[string]*v1beta1.Community
	secrets        map[string]*corev1.Secret
}

func newBGPObjects() bgpObjects {
	return bgpObjects{
		peers: make(map[string]*v1beta2.BGPPeer), advertisements: make(map[string]*v1beta1.BGPAdvertisement),
		profiles: make(map[string]*v1beta1.BFDProfile), communities: make(map[string]*v1beta1.Community),
		secrets: make(map[string]*corev1.Secret),
	}
}

// addTo adds the objects to those that Parse is given. The caller holds the lock.
func (b *bgpObjects) addTo(o *lb.Objects) {
	o.BGPPeers = slices.Collect(maps.Values(b.peers))
	o.BGPAdvertisements = slices.Collect(maps.Values(b.advertisements))
	o.BFDProfiles = slices.Collect(maps.Values(b.profiles))
	o.Communities = slices.Collect(maps.Values(b.communities))
	o.Secrets = maps.Clone(b.secrets)
}

// OnBGPPeer takes note of a BGPPeer. Changes of its status are left out.
func (v *Inventory) OnBGPPeer(old, now *v1beta2.BGPPeer) { define(v, v.bgp.peers, old, now) }

// OnBGPAdvertisement takes note of a BGPAdvertisement. Changes of its status are left
// out.
func (v *Inventory) OnBGPAdvertisement(old, now *v1beta1.BGPAdvertisement) {
	define(v, v.bgp.advertisements, old, now)
}

// OnBFDProfile takes note of a BFDProfile. Changes of its status are left out.
func (v *Inventory) OnBFDProfile(old, now *v1beta1.BFDProfile) { define(v, v.bgp.profiles, old, now) }

// OnCommunity takes note of a Community. Changes of its status are left out.
func (v *Inventory) OnCommunity(old, now *v1beta1.Community) { define(v, v.bgp.communities, old, now) }

// TrimSecret keeps of a Secret nothing but the password of a peer, if it is of the type
// that has one: what this process does not need it does not hold.
func TrimSecret(s *corev1.Secret) {
	s.Annotations, s.Labels, s.StringData = nil, nil, nil
	password, ok := s.Data[corev1.BasicAuthPasswordKey]
	s.Data = nil
	if ok && s.Type == corev1.SecretTypeBasicAuth {
		s.Data = map[string][]byte{corev1.BasicAuthPasswordKey: password}
	}
}

// OnSecret takes note of a Secret, which may have the password of a peer. One that no
// peer names, such as that of gossip, is kept without any consequence.
func (v *Inventory) OnSecret(old, now *corev1.Secret) {
	if old != nil && now != nil && old.UID == now.UID && old.ResourceVersion == now.ResourceVersion {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	replace(v.bgp.secrets, old, now)
	either := now
	if either == nil {
		either = old
	}
	for _, peer := range v.bgp.peers {
		if peer.Spec.PasswordSecret.Name == either.Name {
			v.configDirty = true
			v.note()
			return
		}
	}
}

// define puts now in the place of old, unless only its status has changed.
func define[T any, P interface {
	*T
	definition
	GetName() string
}](v *Inventory, all map[string]P, old, now P) {
	if old != nil && now != nil && sameDefinition(old, now) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	replace(all, old, now)
	v.configDirty = true
	v.note()
}

// peerUID returns the namespace and UID of a BGPPeer, for Events about it; empty if
// there is none of that name.
func (v *Inventory) peerUID(name string) (namespace string, uid types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p := v.bgp.peers[name]; p != nil {
		return p.Namespace, p.UID
	}
	return "", ""
}
