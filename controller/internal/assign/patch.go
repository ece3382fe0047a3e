// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"encoding/json"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
)

// deprecatedAllocatedFrom is where old releases of MetalLB kept the pool.
const deprecatedAllocatedFrom = v1beta1.DeprecatedAnnotationPrefix + "ip-allocated-from-pool"

// patch returns the strategic merge patch of services/status that turns base into
// want. It is put together by hand: thousands of them are made in a burst.
//
// The UID makes the API server refuse it for a successor of the Service that was
// meant. ipMode is left to the API server, whose default is VIP.
func patch(uid types.UID, base, want state) []byte {
	b := make([]byte, 0, 384)
	b = append(b, `{"metadata":{"uid":`...)
	b = appendString(b, string(uid))
	addresses := !base.sameAddresses(want)
	if addresses {
		b = append(b, `,"annotations":{"`+v1beta1.AnnotationAllocatedFromPool+`":`...)
		b = appendStringOrNull(b, want.pool)
		if base.untidy {
			b = append(b, `,"`+deprecatedAllocatedFrom+`":null`...)
		}
		b = append(b, '}')
	}
	b = append(b, `},"status":{`...)
	if addresses {
		b = append(b, `"loadBalancer":{"ingress":`...)
		b = appendIngress(b, want.addresses)
		b = append(b, '}')
	}
	separator := `"conditions":[`
	if addresses {
		separator = `,"conditions":[`
	}
	if !base.condition.satisfies(want.condition) {
		b = appendCondition(append(b, separator...), ConditionAllocated, want.condition)
		separator = ","
	}
	if !base.announced.says(want.announced) {
		b = appendCondition(append(b, separator...), ConditionAnnounced, want.announced)
		separator = ","
	}
	if !base.contested.says(want.contested) {
		b = appendCondition(append(b, separator...), ConditionContested, want.contested)
		separator = ","
	}
	if separator == "," {
		b = append(b, ']')
	}
	return append(b, `}}`...)
}

func appendIngress(b []byte, addresses []netip.Addr) []byte {
	if len(addresses) == 0 {
		return append(b, "null"...)
	}
	for i, a := range addresses {
		if i == 0 {
			b = append(b, `[{"ip":"`...)
		} else {
			b = append(b, `,{"ip":"`...)
		}
		b = append(a.AppendTo(b), `"}`...)
	}
	return append(b, ']')
}

// appendCondition appends the condition of a type, or for none the order to delete it.
func appendCondition(b []byte, kind string, c condition) []byte {
	if c.status == "" {
		b = append(b, `{"$patch":"delete","type":"`...)
		b = append(b, kind...)
		return append(b, `"}`...)
	}
	b = append(b, `{"type":"`...)
	b = append(b, kind...)
	b = append(b, `","status":"`...)
	b = append(b, c.status...)
	b = append(b, `","reason":"`...)
	b = append(b, c.reason...)
	b = append(b, `","message":`...)
	b = appendString(b, c.message)
	b = append(b, `,"lastTransitionTime":"`...)
	b = c.since.UTC().AppendFormat(b, time.RFC3339)
	return append(b, `"}`...)
}

func appendStringOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string can always be marshalled
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
