// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

// checkBGP finds what is wrong with the BGP kinds that a schema cannot see, because it
// takes several objects to see it.
func (p *configParser) checkBGP(objects Objects) {
	aliases := p.checkCommunities(objects.Communities)
	profiles := nameSet(objects.BFDProfiles)
	for _, o := range byName(objects.BGPPeers) {
		p.checkPeer(o, profiles)
	}
	peers := nameSet(objects.BGPPeers)
	for _, o := range byName(objects.BGPAdvertisements) {
		p.checkBGPAdvertisement(o, peers, aliases)
	}
}

func nameSet[T metav1.Object](objects []T) map[string]bool {
	names := make(map[string]bool, len(objects))
	for _, o := range objects {
		names[o.GetName()] = true
	}
	return names
}

// checkCommunities returns the aliases that are defined, by name. Of an alias that
// several objects define the oldest object's definition counts.
func (p *configParser) checkCommunities(objects []*v1beta1.Community) map[string]bool {
	definedBy := make(map[string]string)
	aliases := make(map[string]bool)
	for _, o := range byAge(objects) {
		r := report{object: objectOf("Community", o)}
		for i, alias := range o.Spec.Communities {
			at := field.NewPath("spec", "communities").Index(i)
			if err := checkCommunity(alias.Value); err != nil {
				r.note(ReasonInvalid, at.Child("value").String(), "%v; the alias %q is not defined until then", err, alias.Name)
				continue
			}
			owner, defined := definedBy[alias.Name]
			switch {
			case !defined:
				definedBy[alias.Name] = o.Name
				aliases[alias.Name] = true
			case owner == o.Name:
				r.note(ReasonInvalid, at.Child("name").String(), "the alias %q is defined twice in this object and the first counts; remove one of them", alias.Name)
			default:
				r.note(ReasonConflict, at.Child("name").String(), "the alias %q is defined by the older Community %q, which counts; rename or remove one of them", alias.Name, owner)
			}
		}
		p.report(r)
	}
	return aliases
}

// checkCommunity reports what is wrong with a community (RFC 1997) or a large
// community (RFC 8092) in text form.
func checkCommunity(s string) error {
	parts, bits := strings.Split(s, ":"), 16
	want := 2
	if parts[0] == "large" {
		parts, bits, want = parts[1:], 32, 3
	}
	valid := len(parts) == want
	for _, part := range parts {
		_, err := strconv.ParseUint(part, 10, bits)
		valid = valid && err == nil
	}
	if !valid {
		return fmt.Errorf("%q is not a community; write one such as 64512:100 or large:64512:1:2", s)
	}
	return nil
}

func (p *configParser) checkPeer(o *v1beta2.BGPPeer, profiles map[string]bool) {
	r := report{object: objectOf("BGPPeer", o)}
	r.selectors(field.NewPath("spec", "nodeSelectors"), o.Spec.NodeSelectors)
	if name := o.Spec.BFDProfile; name != "" && !profiles[name] {
		r.note(ReasonUnknownReference, "spec.bfdProfile", "there is no BFDProfile %q; create it, or correct the name", name)
	}
	p.report(r)
}

func (p *configParser) checkBGPAdvertisement(o *v1beta1.BGPAdvertisement, peers, aliases map[string]bool) {
	r := report{object: objectOf("BGPAdvertisement", o)}
	spec := field.NewPath("spec")
	p.coveredPools(&r, spec, o.Spec.IPAddressPools, o.Spec.IPAddressPoolSelectors)
	r.selectors(spec.Child("nodeSelectors"), o.Spec.NodeSelectors)
	r.selectors(spec.Child("serviceSelectors"), o.Spec.ServiceSelectors)
	r.distinct(spec.Child("peers"), o.Spec.Peers)
	for i, name := range o.Spec.Peers {
		if !peers[name] {
			r.note(ReasonUnknownReference, spec.Child("peers").Index(i).String(), "there is no BGPPeer %q; create it, or correct the name", name)
		}
	}
	r.distinct(spec.Child("communities"), o.Spec.Communities)
	for i, c := range o.Spec.Communities {
		checkCommunityReference(&r, spec.Child("communities").Index(i), c, aliases)
	}
	p.report(r)
}

// checkCommunityReference checks a community of an advertisement: a value, which has
// colons, or an alias, which must be defined.
func checkCommunityReference(r *report, at *field.Path, c string, aliases map[string]bool) {
	if aliases[c] {
		return
	}
	if !strings.Contains(c, ":") {
		r.note(ReasonUnknownReference, at.String(), "no Community defines the alias %q; define it, or correct the name", c)
		return
	}
	if err := checkCommunity(c); err != nil {
		r.reject(ReasonInvalid, at.String(), "%v", err)
	}
}
