// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
)

// aliases are the communities that have names.
type aliases map[string]Community

// parseCommunities returns the aliases that are defined. Of an alias that several
// objects define the oldest object's definition counts.
func (p *configParser) parseCommunities(objects []*v1beta1.Community) aliases {
	definedBy := make(map[string]string)
	defined := make(aliases)
	for _, o := range byAge(objects) {
		r := report{object: objectOf("Community", o)}
		for i, alias := range o.Spec.Communities {
			at := field.NewPath("spec", "communities").Index(i)
			c, err := ParseCommunity(alias.Value)
			if err != nil {
				r.note(ReasonInvalid, at.Child("value").String(), "%v; the alias %q is not defined until then", err, alias.Name)
				continue
			}
			switch owner, ok := definedBy[alias.Name]; {
			case !ok:
				definedBy[alias.Name], defined[alias.Name] = o.Name, c
			case owner == o.Name:
				r.note(ReasonInvalid, at.Child("name").String(), "the alias %q is defined twice in this object and the first counts; remove one of them", alias.Name)
			default:
				r.note(ReasonConflict, at.Child("name").String(), "the alias %q is defined by the older Community %q, which counts; rename or remove one of them", alias.Name, owner)
			}
		}
		p.report(r)
	}
	return defined
}

// communities reads the communities of an advertisement: values, which have colons, and
// aliases, which must be defined. One that cannot be read rejects the advertisement: to
// advertise without no-export, say, is not a part of what was meant but its opposite.
func (r *report) communities(path *field.Path, list []string, defined aliases) []Community {
	r.distinct(path, list)
	var communities []Community
	for i, s := range list {
		at := path.Index(i).String()
		if c, ok := defined[s]; ok {
			communities = append(communities, c)
			continue
		}
		if !strings.Contains(s, ":") {
			r.reject(ReasonUnknownReference, at, "no Community defines the alias %q; define it, or correct the name; "+
				"nothing is advertised without it", s)
			continue
		}
		c, err := ParseCommunity(s)
		if err != nil {
			r.reject(ReasonInvalid, at, "%v", err)
			continue
		}
		communities = append(communities, c)
	}
	slices.SortFunc(communities, Community.Compare)
	return slices.Compact(communities)
}
