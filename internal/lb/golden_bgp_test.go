// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/herald-lb/herald/internal/lb"
)

// The golden files show the BGP part of a configuration in these types.
type (
	peerView struct {
		Name            string   `json:"name"`
		ASNs            string   `json:"asns"`
		Address         string   `json:"address"`
		Source          string   `json:"source,omitempty"`
		VRF             string   `json:"vrf,omitempty"`
		MultiHop        bool     `json:"multiHop,omitempty"`
		SecuredHops     uint8    `json:"securedHops,omitempty"`
		Timers          string   `json:"timers"`
		RouterID        string   `json:"routerID,omitempty"`
		Password        string   `json:"password,omitempty"`
		BFD             *bfdView `json:"bfd,omitempty"`
		GracefulRestart bool     `json:"gracefulRestart,omitempty"`
		Families        string   `json:"families"`
		NodeSelectors   []string `json:"nodeSelectors,omitempty"`
	}
	bfdView struct {
		Name       string `json:"name"`
		Intervals  string `json:"intervals"`
		Echo       string `json:"echo,omitempty"`
		Passive    bool   `json:"passive,omitempty"`
		MinimumTTL uint8  `json:"minimumTTL"`
	}
	bgpView struct {
		Name             string   `json:"name"`
		Pools            []string `json:"pools"`
		Aggregation      string   `json:"aggregation"`
		LocalPref        uint32   `json:"localPref,omitempty"`
		Communities      []string `json:"communities,omitempty"`
		Peers            []string `json:"peers"`
		NodeSelectors    []string `json:"nodeSelectors,omitempty"`
		ServiceSelectors []string `json:"serviceSelectors,omitempty"`
	}
)

func renderBGP(config lb.Config) (peers []peerView, advertisements []bgpView) {
	for i := range config.Peers {
		peers = append(peers, renderPeer(&config.Peers[i]))
	}
	for _, ad := range config.BGPAdvertisements {
		v := bgpView{
			Name: ad.Name, Pools: sortedKeys(ad.Pools), LocalPref: ad.LocalPref, Peers: []string{"(all)"},
			Aggregation:   fmt.Sprintf("/%d /%d", ad.Aggregation4, ad.Aggregation6),
			NodeSelectors: allWords(ad.NodeSelectors), ServiceSelectors: allWords(ad.ServiceSelectors),
		}
		if ad.Peers != nil {
			v.Peers = sortedKeys(ad.Peers)
		}
		for _, c := range ad.Communities {
			v.Communities = append(v.Communities, c.String())
		}
		advertisements = append(advertisements, v)
	}
	return peers, advertisements
}

func renderPeer(p *lb.Peer) peerView {
	v := peerView{
		Name: p.Name, ASNs: fmt.Sprintf("%d to %d", p.SessionASN(), p.ASN), Address: text(p.Address), Source: text(p.Source),
		VRF: p.VRF, MultiHop: p.MultiHop, SecuredHops: p.SecuredHops, RouterID: text(p.RouterID), Password: p.Password.Reveal(),
		Timers:          fmt.Sprintf("hold %s, keepalive %s, connect %s", p.HoldTime, p.KeepaliveTime, p.ConnectTime),
		GracefulRestart: p.GracefulRestart, NodeSelectors: allWords(p.NodeSelectors),
		Families: fmt.Sprintf("v4 %t, v6 %t", p.Carries(lb.IPv4), p.Carries(lb.IPv6)),
	}
	if p.Dynamic == lb.ExternalASN {
		v.ASNs = fmt.Sprintf("%d to any other", p.SessionASN())
	}
	if p.Interface != "" {
		v.Address = "on " + p.Interface
	}
	if p.Port != 179 {
		v.Address += fmt.Sprintf(" port %d", p.Port)
	}
	if p.LocalASN != 0 {
		v.ASNs += fmt.Sprintf(", in truth %d", p.MyASN)
	}
	if p.Internal() {
		v.ASNs += ", internal"
	}
	if b := p.BFD; b != nil {
		v.BFD = &bfdView{Name: b.Name, Passive: b.Passive, MinimumTTL: b.MinimumTTL}
		v.BFD.Intervals = fmt.Sprintf("receive %s, transmit %s, times %d", b.Receive, b.Transmit, b.Multiplier)
		if b.Echo {
			v.BFD.Echo = b.EchoInterval.String()
		}
	}
	return v
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func sortedKeys(set map[string]struct{}) []string {
	return slices.AppendSeq([]string{}, slices.Values(slices.Sorted(maps.Keys(set))))
}
