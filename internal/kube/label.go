// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"fmt"
	"hash/fnv"
)

// MaxLabelValue is the length that Kubernetes allows; names of nodes may be longer.
const MaxLabelValue = 63

// LabelValue returns name, or if it is too long for a label, its beginning and a hash.
func LabelValue(name string) string {
	if len(name) <= MaxLabelValue {
		return name
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // a hash never fails to write
	suffix := fmt.Sprintf("-%016x", h.Sum64())
	return name[:MaxLabelValue-len(suffix)] + suffix
}
