// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
)

// parseBFDProfiles returns the profiles that can be used, by name.
func (p *configParser) parseBFDProfiles(objects []*v1beta1.BFDProfile) map[string]*BFDProfile {
	profiles := make(map[string]*BFDProfile, len(objects))
	for _, o := range byName(objects) {
		r := report{object: objectOf("BFDProfile", o)}
		profile := parseBFDProfile(&r, o)
		p.report(r)
		if !r.rejected {
			profiles[profile.Name] = &profile
		}
	}
	return profiles
}

func parseBFDProfile(r *report, o *v1beta1.BFDProfile) BFDProfile {
	spec := field.NewPath("spec")
	s, profile := &o.Spec, DefaultBFDProfile(o.Name)
	milliseconds := func(name string, value *uint32, to *time.Duration) {
		if n, ok := r.number(spec.Child(name), value, 10, 60_000); ok {
			*to = time.Duration(n) * time.Millisecond
		}
	}
	milliseconds("receiveInterval", s.ReceiveInterval, &profile.Receive)
	milliseconds("transmitInterval", s.TransmitInterval, &profile.Transmit)
	milliseconds("echoInterval", s.EchoInterval, &profile.EchoInterval)
	if n, ok := r.number(spec.Child("detectMultiplier"), s.DetectMultiplier, 2, 255); ok {
		profile.Multiplier = uint8(n)
	}
	if n, ok := r.number(spec.Child("minimumTtl"), s.MinimumTTL, 1, 254); ok {
		profile.MinimumTTL = uint8(n)
	}
	profile.Echo = s.EchoMode != nil && *s.EchoMode
	profile.Passive = s.PassiveMode != nil && *s.PassiveMode
	return profile
}

// number returns a number that is given and in range. One out of range is fatal.
func (r *report) number(path *field.Path, value *uint32, least, most uint32) (uint32, bool) {
	if value == nil {
		return 0, false
	}
	if *value < least || *value > most {
		r.reject(ReasonInvalid, path.String(), "%d is out of range; use %d to %d", *value, least, most)
		return 0, false
	}
	return *value, true
}
