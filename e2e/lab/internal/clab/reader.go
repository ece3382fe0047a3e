// SPDX-License-Identifier: Apache-2.0

package clab

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// object reads one YAML mapping key by key, remembers which keys were asked
// for, and complains about all others in done. Complaints carry the path from
// the top of the file, and are collected so that one run shows all of them.
type object struct {
	path     string
	fields   map[string]any
	known    map[string]bool
	problems *[]error
}

// parse reads a whole document, which must be a mapping.
func parse(document []byte, problems *[]error) (*object, error) {
	var fields map[string]any
	if err := yaml.UnmarshalStrict(document, &fields); err != nil {
		return nil, fmt.Errorf("parse YAML: %w", err)
	}
	if len(fields) == 0 {
		return nil, errors.New("parse YAML: the document is empty")
	}
	return &object{fields: fields, known: map[string]bool{}, problems: problems}, nil
}

func (o *object) at(key string) string {
	if o.path == "" {
		return key
	}
	return o.path + "." + key
}

// refuse records a problem with one key.
func (o *object) refuse(key, format string, args ...any) {
	*o.problems = append(*o.problems, fmt.Errorf("%s: %s", o.at(key), fmt.Sprintf(format, args...)))
}

// take returns the value of a key and marks the key as known.
func (o *object) take(key string) (any, bool) {
	o.known[key] = true
	v, ok := o.fields[key]
	return v, ok && v != nil
}

// done complains about every key that nothing asked for.
func (o *object) done() {
	for _, key := range slices.Sorted(maps.Keys(o.fields)) {
		if !o.known[key] {
			o.refuse(key, "the lab does not support this key; it supports: %s",
				strings.Join(slices.Sorted(maps.Keys(o.known)), ", "))
		}
	}
}

func (o *object) text(key string) string {
	v, ok := o.take(key)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		o.refuse(key, "is %v, want a string", v)
	}
	return s
}

func (o *object) number(key string, standard, low, high int) int {
	v, ok := o.take(key)
	if !ok {
		return standard
	}
	f, ok := v.(float64)
	if !ok || f != float64(int(f)) || int(f) < low || int(f) > high {
		o.refuse(key, "is %v, want a whole number from %d to %d", v, low, high)
		return standard
	}
	return int(f)
}

func (o *object) prefix(key string, standard netip.Prefix) netip.Prefix {
	s := o.text(key)
	if s == "" {
		return standard
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p != p.Masked() || p.Addr().Is4() != standard.Addr().Is4() {
		o.refuse(key, "is %q, want a network like %s", s, standard)
		return standard
	}
	return p
}

// object returns the mapping under a key; an empty one if the key is absent.
func (o *object) object(key string) *object {
	child := &object{path: o.at(key), fields: map[string]any{}, known: map[string]bool{}, problems: o.problems}
	v, ok := o.take(key)
	if !ok {
		return child
	}
	fields, ok := v.(map[string]any)
	if !ok {
		o.refuse(key, "is %v, want a mapping", v)
		return child
	}
	child.fields = fields
	return child
}

// objects returns the mappings of the list under a key.
func (o *object) objects(key string) []*object {
	var list []*object
	for i, v := range o.list(key) {
		child := &object{path: fmt.Sprintf("%s[%d]", o.at(key), i), known: map[string]bool{}, problems: o.problems}
		fields, ok := v.(map[string]any)
		if !ok {
			*o.problems = append(*o.problems, fmt.Errorf("%s: is %v, want a mapping", child.path, v))
			continue
		}
		child.fields = fields
		list = append(list, child)
	}
	return list
}

func (o *object) list(key string) []any {
	v, ok := o.take(key)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		o.refuse(key, "is %v, want a list", v)
	}
	return list
}

func (o *object) texts(key string) []string {
	var texts []string
	for i, v := range o.list(key) {
		s, ok := v.(string)
		if !ok {
			o.refuse(fmt.Sprintf("%s[%d]", key, i), "is %v, want a string", v)
			continue
		}
		texts = append(texts, s)
	}
	return texts
}

// dictionary returns a mapping of scalars; numbers and booleans become text, as
// containerlab takes them for sysctls and labels.
func (o *object) dictionary(key string) map[string]string {
	child := o.object(key)
	if len(child.fields) == 0 {
		return nil
	}
	texts := make(map[string]string, len(child.fields))
	for k, v := range child.fields {
		switch v := v.(type) {
		case string:
			texts[k] = v
		case bool:
			texts[k] = strconv.FormatBool(v)
		case float64:
			texts[k] = strconv.FormatFloat(v, 'f', -1, 64)
		default:
			child.refuse(k, "is %v, want a scalar", v)
		}
	}
	return texts
}
