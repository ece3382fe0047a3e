// SPDX-License-Identifier: Apache-2.0

package clab

import "maps"

// inherited are the parts of a file that give nodes their defaults:
// topology.kinds and topology.defaults.
type inherited struct {
	defaults map[string]any
	kinds    map[string]map[string]any
}

func inheritedFrom(body *object) inherited {
	in := inherited{defaults: body.object("defaults").fields, kinds: map[string]map[string]any{}}
	kinds := body.object("kinds")
	for kind := range kinds.fields {
		in.kinds[kind] = kinds.object(kind).fields
	}
	return in
}

// apply returns the node with what it inherits filled in. As in containerlab, a
// value of the node wins over its kind's, and that over the defaults; mappings
// are merged, commands and binds are joined, everything else is replaced.
func (in inherited) apply(node *object) *object {
	kind, ok := node.fields["kind"].(string)
	if !ok {
		kind, _ = in.defaults["kind"].(string)
	}
	merged := map[string]any{}
	for _, layer := range []map[string]any{in.defaults, in.kinds[kind], node.fields} {
		for key, value := range layer {
			merged[key] = merge(merged[key], value)
		}
	}
	node.fields = merged
	return node
}

func merge(under, over any) any {
	switch over := over.(type) {
	case map[string]any:
		if under, ok := under.(map[string]any); ok {
			both := maps.Clone(under)
			maps.Copy(both, over)
			return both
		}
	case []any:
		if under, ok := under.([]any); ok {
			return append(append([]any{}, under...), over...)
		}
	}
	return over
}
