// SPDX-License-Identifier: Apache-2.0

package clab_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// schema is a JSON Schema (draft 7), as far as containerlab's uses it. A keyword
// that is not known here fails the test: what is not checked must not pass.
type schema struct {
	definitions map[string]any
}

const topologies = "../../../topologies"

func loadSchema(t *testing.T) (schema, map[string]any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(topologies, "testdata", "clab.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(content, &root); err != nil {
		t.Fatal(err)
	}
	return schema{definitions: root["definitions"].(map[string]any)}, root
}

// TestTopologiesAreContainerlabs holds every topology against containerlab's own
// schema.
func TestTopologiesAreContainerlabs(t *testing.T) {
	s, root := loadSchema(t)
	files, err := filepath.Glob(filepath.Join(topologies, "*.clab.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found topologies %v, %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var document any
		if err := yaml.UnmarshalStrict(content, &document); err != nil {
			t.Fatal(err)
		}
		if err := s.check(root, document, filepath.Base(file)); err != nil {
			t.Error(err)
		}
	}
}

// TestSchemaRefuses shows that the check above can fail.
func TestSchemaRefuses(t *testing.T) {
	s, root := loadSchema(t)
	for want, document := range map[string]string{
		"topology is required": `{"name": "x"}`,
		"frobnicate":           `{"name": "x", "topology": {"nodes": {"a": {"kind": "linux", "frobnicate": 1}}}}`,
		"kind":                 `{"name": "x", "topology": {"nodes": {"a": {"kind": "toaster"}}}}`,
		"anyOf":                `{"name": "x", "topology": {"nodes": {"a": {"kind": "linux"}}, "links": [{"endpoints": ["a", "b"]}]}}`,
	} {
		var value any
		if err := json.Unmarshal([]byte(document), &value); err != nil {
			t.Fatal(err)
		}
		if err := s.check(root, value, "file"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that contains %q", document, err, want)
		}
	}
}

// check returns the first way in which a value breaks a schema.
func (s schema) check(rules map[string]any, value any, path string) error {
	for _, keyword := range slices.Sorted(maps.Keys(rules)) {
		if err := s.keyword(keyword, rules, value, path); err != nil {
			return err
		}
	}
	return nil
}

func (s schema) keyword(keyword string, rules map[string]any, value any, path string) error {
	rule := rules[keyword]
	switch keyword {
	case "$id", "$schema", "title", "description", "markdownDescription", "default", "definitions", "then", "else", "additionalItems":
		return nil // annotations, and what other keywords read
	case "$ref":
		name := strings.TrimPrefix(rule.(string), "#/definitions/")
		definition, ok := s.definitions[name].(map[string]any)
		if !ok {
			return fmt.Errorf("%s: schema refers to unknown %s", path, name)
		}
		return s.check(definition, value, path)
	case "type":
		return checkType(rule, value, path)
	case "const":
		return s.oneValue([]any{rule}, value, path)
	case "enum":
		return s.oneValue(rule.([]any), value, path)
	case "allOf", "anyOf", "oneOf":
		return s.combine(keyword, rule.([]any), value, path)
	case "not":
		if s.check(rule.(map[string]any), value, path) == nil {
			return fmt.Errorf("%s: matches what it must not", path)
		}
		return nil
	case "if":
		return s.conditional(rules, value, path)
	}
	switch value := value.(type) {
	case map[string]any:
		return s.object(keyword, rules, value, path)
	case []any:
		return s.array(keyword, rule, value, path)
	case string:
		return text(keyword, rule, value, path)
	case float64:
		return number(keyword, rule, value, path)
	}
	return nil
}

func (s schema) conditional(rules map[string]any, value any, path string) error {
	branch := "then"
	if s.check(rules["if"].(map[string]any), value, path) != nil {
		branch = "else"
	}
	if next, ok := rules[branch].(map[string]any); ok {
		return s.check(next, value, path)
	}
	return nil
}

func (s schema) combine(keyword string, list []any, value any, path string) error {
	var errs []string
	for _, rules := range list {
		if err := s.check(rules.(map[string]any), value, path); err != nil {
			errs = append(errs, err.Error())
		}
	}
	matched := len(list) - len(errs)
	if keyword == "allOf" && matched != len(list) || keyword == "anyOf" && matched == 0 || keyword == "oneOf" && matched != 1 {
		return fmt.Errorf("%s: %d of %d alternatives match, which is not %s: %s", path, matched, len(list), keyword, strings.Join(errs, "; "))
	}
	return nil
}

func (s schema) oneValue(allowed []any, value any, path string) error {
	for _, a := range allowed {
		if reflect.DeepEqual(a, value) {
			return nil
		}
	}
	return fmt.Errorf("%s: %v is not one of %v", path, value, allowed)
}

func checkType(rule, value any, path string) error {
	names, ok := rule.([]any)
	if !ok {
		names = []any{rule}
	}
	for _, name := range names {
		if isType(name.(string), value) {
			return nil
		}
	}
	return fmt.Errorf("%s: %v is no %v", path, value, names)
}

func isType(name string, value any) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	case float64:
		return name == "number" || name == "integer" && v == float64(int64(v))
	}
	return false
}

func (s schema) object(keyword string, rules map[string]any, value map[string]any, path string) error {
	properties, _ := rules["properties"].(map[string]any)
	patterns, _ := rules["patternProperties"].(map[string]any)
	switch keyword {
	case "required":
		for _, name := range rules["required"].([]any) {
			if _, ok := value[name.(string)]; !ok {
				return fmt.Errorf("%s: %s is required", path, name)
			}
		}
	case "minProperties":
		if len(value) < int(rules["minProperties"].(float64)) {
			return fmt.Errorf("%s: has %d keys", path, len(value))
		}
	case "properties", "patternProperties", "additionalProperties":
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if err := s.property(keyword, rules, properties, patterns, key, value[key], path+"."+key); err != nil {
				return err
			}
		}
	default:
		return unknown(keyword, path)
	}
	return nil
}

func (s schema) property(keyword string, rules, properties, patterns map[string]any, key string, value any, path string) error {
	named, isNamed := properties[key].(map[string]any)
	if keyword == "properties" && isNamed {
		return s.check(named, value, path)
	}
	matched := isNamed
	for pattern, next := range patterns {
		if regexp.MustCompile(pattern).MatchString(key) {
			matched = true
			if keyword == "patternProperties" {
				if err := s.check(next.(map[string]any), value, path); err != nil {
					return err
				}
			}
		}
	}
	if keyword != "additionalProperties" || matched {
		return nil
	}
	switch rest := rules["additionalProperties"].(type) {
	case bool:
		if !rest {
			return fmt.Errorf("%s: no such key", path)
		}
	case map[string]any:
		return s.check(rest, value, path)
	}
	return nil
}

func (s schema) array(keyword string, rule any, value []any, path string) error {
	switch keyword {
	case "minItems":
		if len(value) < int(rule.(float64)) {
			return fmt.Errorf("%s: has %d items", path, len(value))
		}
	case "maxItems":
		if len(value) > int(rule.(float64)) {
			return fmt.Errorf("%s: has %d items", path, len(value))
		}
	case "uniqueItems":
		for i := range value {
			for j := range i {
				if reflect.DeepEqual(value[i], value[j]) {
					return fmt.Errorf("%s: has %v twice", path, value[i])
				}
			}
		}
	case "items", "prefixItems":
		for i, item := range value {
			next, ok := rule.(map[string]any)
			if list, isList := rule.([]any); isList && i < len(list) {
				next, ok = list[i].(map[string]any)
			}
			if !ok {
				continue
			}
			if err := s.check(next, item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	default:
		return unknown(keyword, path)
	}
	return nil
}

func text(keyword string, rule any, value, path string) error {
	switch keyword {
	case "pattern":
		if !regexp.MustCompile(rule.(string)).MatchString(value) {
			return fmt.Errorf("%s: %q does not match %s", path, value, rule)
		}
	case "minLength":
		if len(value) < int(rule.(float64)) {
			return fmt.Errorf("%s: %q is too short", path, value)
		}
	default:
		return unknown(keyword, path)
	}
	return nil
}

func number(keyword string, rule any, value float64, path string) error {
	switch keyword {
	case "minimum":
		if value < rule.(float64) {
			return fmt.Errorf("%s: %v is too small", path, value)
		}
	case "maximum":
		if value > rule.(float64) {
			return fmt.Errorf("%s: %v is too large", path, value)
		}
	default:
		return unknown(keyword, path)
	}
	return nil
}

// unknown reports a keyword that does not apply to the value's type, which is
// fine, or one that this test does not know, which is not.
func unknown(keyword, path string) error {
	if slices.Contains([]string{
		"required", "minProperties", "properties", "patternProperties", "additionalProperties", "minItems", "maxItems",
		"uniqueItems", "items", "prefixItems", "pattern", "minLength", "minimum", "maximum",
	}, keyword) {
		return nil
	}
	return fmt.Errorf("%s: the schema uses %s, which this test does not know", path, keyword)
}
