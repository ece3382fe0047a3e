// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
)

// parseBGP reads the BGP kinds. Pools must have been read.
func (p *configParser) parseBGP(objects Objects) {
	p.parsePeers(objects)
	parser := advertisementParser{
		configParser: p, peers: make(map[string]struct{}, len(objects.BGPPeers)),
		aliases: p.parseCommunities(objects.Communities), first: make(map[string]string),
	}
	for _, o := range objects.BGPPeers {
		parser.peers[o.Name] = struct{}{}
	}
	for _, o := range byAge(objects.BGPAdvertisements) {
		r := report{object: objectOf("BGPAdvertisement", o)}
		ad := parser.parse(&r, o)
		if !r.rejected {
			parser.checkTwin(&r, ad)
			p.config.BGPAdvertisements = append(p.config.BGPAdvertisements, ad)
		}
		p.report(r)
	}
}

// advertisementParser reads BGPAdvertisements, the oldest first.
type advertisementParser struct {
	*configParser
	// peers are the names of all BGPPeers, those that cannot be used included.
	peers   map[string]struct{}
	aliases aliases
	// first is the oldest advertisement that says a thing, by what it says.
	first map[string]string
}

func (p *advertisementParser) parse(r *report, o *v1beta1.BGPAdvertisement) BGPAdvertisement {
	s, spec := &o.Spec, field.NewPath("spec")
	ad := BGPAdvertisement{
		Namespace: o.Namespace, Name: o.Name, Created: o.CreationTimestamp.Time,
		Pools:            p.coveredPools(r, spec, s.IPAddressPools, s.IPAddressPoolSelectors),
		Aggregation4:     r.length(spec.Child("aggregationLength"), s.AggregationLength, 1, 32),
		Aggregation6:     r.length(spec.Child("aggregationLengthV6"), s.AggregationLengthV6, 0, 128),
		LocalPref:        s.LocalPref,
		Communities:      r.communities(spec.Child("communities"), s.Communities, p.aliases),
		NodeSelectors:    r.selectors(spec.Child("nodeSelectors"), s.NodeSelectors),
		Peers:            p.told(r, spec.Child("peers"), s.Peers),
		ServiceSelectors: r.selectors(spec.Child("serviceSelectors"), s.ServiceSelectors),
	}
	if len(s.ServiceSelectors) > 0 && (ad.Aggregation4 != 32 || ad.Aggregation6 != 128) {
		r.reject(ReasonInvalid, spec.Child("serviceSelectors").String(),
			"cannot be combined with aggregation, which is for all Services in a prefix; remove one of the two")
	}
	if !r.rejected {
		p.checkLengths(r, &ad)
	}
	return ad
}

// length reads an aggregation length; it is that of the address itself when unset.
func (r *report) length(path *field.Path, value *int32, least, bits int32) int {
	if value == nil {
		return int(bits)
	}
	if *value < least || *value > bits {
		r.reject(ReasonInvalid, path.String(), "%d is out of range; use %d to %d", *value, least, bits)
	}
	return int(*value)
}

// told returns the peers that an advertisement names, or nil if it names none, which
// means all. It names none of them any more when the last one is gone: then nobody is
// told, rather than everybody.
func (p *advertisementParser) told(r *report, path *field.Path, names []string) map[string]struct{} {
	if len(names) == 0 {
		return nil
	}
	told := make(map[string]struct{}, len(names))
	r.distinct(path, names)
	for i, name := range names {
		if _, ok := p.peers[name]; !ok {
			r.note(ReasonUnknownReference, path.Index(i).String(), "there is no BGPPeer %q; create it, or correct the name", name)
			continue
		}
		told[name] = struct{}{}
	}
	return told
}

// checkLengths notes ranges of the pools that are smaller than a prefix of the
// advertisement, which would then draw traffic for addresses outside the pool.
func (p *advertisementParser) checkLengths(r *report, ad *BGPAdvertisement) {
	fields := map[Family]string{IPv4: "spec.aggregationLength", IPv6: "spec.aggregationLengthV6"}
	for i := range p.config.Pools {
		pool := &p.config.Pools[i]
		if _, ok := ad.Pools[pool.Name]; !ok {
			continue
		}
		for _, entry := range pool.Ranges {
			if f := entry.Family(); !ad.Fits(entry) {
				r.note(ReasonInvalid, fields[f], "%d is shorter than the shortest prefix in %s of IPAddressPool %q, which has length %d; "+
					"addresses of that range are advertised one by one", ad.Aggregation(f), entry, pool.Name, entry.ShortestPrefix())
			}
		}
	}
}

// checkTwin notes that an older advertisement says the same already.
func (p *advertisementParser) checkTwin(r *report, ad BGPAdvertisement) {
	says := ad.says()
	if older, ok := p.first[says]; ok {
		r.note(ReasonRedundant, "spec", "says the same as the older BGPAdvertisement %q and adds nothing to it; delete one of them", older)
		return
	}
	p.first[says] = ad.Name
}

// says returns all that an advertisement says, in canonical form.
func (a *BGPAdvertisement) says() string {
	peers := "all"
	if a.Peers != nil {
		peers = strings.Join(slices.Sorted(maps.Keys(a.Peers)), " ")
	}
	return fmt.Sprintf("%q %d %d %d %v %q %q %q", slices.Sorted(maps.Keys(a.Pools)), a.Aggregation4, a.Aggregation6,
		a.LocalPref, a.Communities, canonical(a.NodeSelectors), peers, canonical(a.ServiceSelectors))
}

func canonical(selectors []labels.Selector) []string {
	forms := make([]string, 0, len(selectors))
	for _, s := range selectors {
		forms = append(forms, s.String())
	}
	slices.Sort(forms)
	return forms
}
