// SPDX-License-Identifier: Apache-2.0

package crdtest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// Manifest is a YAML file with the verdict that it expects, which stands in
// comments above the first object:
//
//	# want: a fragment of the message
//	# field: spec.addresses[0]
type Manifest struct {
	Want    string
	Field   string
	Objects []*unstructured.Unstructured
}

// ReadManifest reads a file of one or more objects.
func ReadManifest(path string) (Manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Manifest{}, err
	}
	var m Manifest
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		if want, ok := strings.CutPrefix(line, "# want: "); ok {
			m.Want = strings.TrimSpace(want)
		}
		if field, ok := strings.CutPrefix(line, "# field: "); ok {
			m.Field = strings.TrimSpace(field)
		}
	}
	m.Objects, err = decodeObjects(string(text))
	if err != nil {
		return Manifest{}, fmt.Errorf("decode %s: %w", path, err)
	}
	return m, nil
}

func decodeObjects(text string) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		obj := &unstructured.Unstructured{}
		err := decoder.Decode(obj)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(obj.Object) > 0 {
			objects = append(objects, obj)
		}
	}
}
