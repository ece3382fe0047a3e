// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
)

func (p *configParser) parseL2Advertisements(objects []*v1beta1.L2Advertisement) {
	for _, o := range byName(objects) {
		r := report{object: objectOf("L2Advertisement", o)}
		ad := p.parseL2Advertisement(&r, o)
		p.report(r)
		if !r.rejected {
			p.config.L2Advertisements = append(p.config.L2Advertisements, ad)
		}
	}
}

func (p *configParser) parseL2Advertisement(r *report, o *v1beta1.L2Advertisement) L2Advertisement {
	spec := field.NewPath("spec")
	return L2Advertisement{
		Name:             o.Name,
		Pools:            p.coveredPools(r, spec, o.Spec.IPAddressPools, o.Spec.IPAddressPoolSelectors),
		NodeSelectors:    r.selectors(spec.Child("nodeSelectors"), o.Spec.NodeSelectors),
		PreferredNodes:   parsePreferredNodes(r, spec.Child("preferredNodeSelectors"), o.Spec.PreferredNodeSelectors),
		Interfaces:       r.distinct(spec.Child("interfaces"), o.Spec.Interfaces),
		ServiceSelectors: r.selectors(spec.Child("serviceSelectors"), o.Spec.ServiceSelectors),
	}
}

// coveredPools returns the names of the pools that an advertisement covers. Broken
// pools are covered too: the addresses that Services have of them stay announced.
func (p *configParser) coveredPools(r *report, spec *field.Path, names []string, selectors []v1beta1.LabelSelector) map[string]struct{} {
	covered := make(map[string]struct{})
	everything := len(names) == 0 && len(selectors) == 0
	parsed := r.selectors(spec.Child("ipAddressPoolSelectors"), selectors)
	for name, ls := range p.poolLabels {
		if everything || AnyMatches(parsed, ls) {
			covered[name] = struct{}{}
		}
	}
	path := spec.Child("ipAddressPools")
	r.distinct(path, names)
	for i, name := range names {
		if _, ok := p.poolLabels[name]; !ok {
			r.note(ReasonUnknownReference, path.Index(i).String(), "there is no IPAddressPool %q; create it, or correct the name", name)
			continue
		}
		covered[name] = struct{}{}
	}
	return covered
}

func parsePreferredNodes(r *report, path *field.Path, list []v1beta1.PreferredNodeSelector) []PreferredNode {
	if len(list) == 0 {
		return nil
	}
	preferred := make([]PreferredNode, 0, len(list))
	for i := range list {
		if w := list[i].Weight; w < 1 || w > 100 {
			r.reject(ReasonInvalid, path.Index(i).Child("weight").String(), "%d is out of range; use 1 to 100", w)
		}
		if s := r.selector(path.Index(i).Child("preference"), &list[i].Preference); s != nil {
			preferred = append(preferred, PreferredNode{Weight: list[i].Weight, Preference: s})
		}
	}
	return preferred
}
