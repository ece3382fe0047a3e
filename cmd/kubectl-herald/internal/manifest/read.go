// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Stdin is the path that stands for standard input.
const Stdin = "-"

// Read returns the objects in the files, in the order in which kubectl applies them: by
// path as given, the files of a folder by name, documents from the top. Of a folder, files
// that end in .yaml, .yml and .json count, and no folders in it. Objects without a
// namespace get the one given; one of another namespace is an error, because Herald would
// not look at it.
func Read(paths []string, stdin io.Reader, namespace string) (Set, error) {
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	r := reader{codec: codec, namespace: namespace}
	for _, path := range paths {
		if err := r.path(path, stdin); err != nil {
			return nil, err
		}
	}
	return r.set, r.set.distinct()
}

// reader collects objects.
type reader struct {
	codec     codec
	namespace string
	set       Set
}

func (r *reader) path(path string, stdin io.Reader) error {
	if path == Stdin {
		return r.stream("standard input", stdin)
	}
	files, err := filesAt(path)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := r.file(file); err != nil {
			return err
		}
	}
	return nil
}

// filesAt returns path itself, or the manifests in it if it is a folder.
func filesAt(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return []string{path}, nil //nolint:nilerr // no folder: opening it tells what is wrong
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("folder %s has no .yaml, .yml or .json file in it", path)
	}
	return files, nil
}

func (r *reader) file(path string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return r.stream(path, file)
}

func (r *reader) stream(name string, from io.Reader) error {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(from))
	for n := 1; ; n++ {
		raw, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		where := fmt.Sprintf("%s, document %d", name, n)
		if err == nil {
			err = r.document(where, raw)
		}
		if err != nil {
			return err
		}
	}
}

func (r *reader) document(where string, raw []byte) error {
	body, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return fmt.Errorf("%s: %s", where, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if string(body) == "null" {
		return nil // comments only
	}
	return r.value(where, body)
}

// value reads one object, or each object of a List, which is what kubectl get prints.
func (r *reader) value(where string, body []byte) error {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Items           []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return fmt.Errorf("%s: is no object: %w", where, err)
	}
	if strings.HasSuffix(head.Kind, "List") {
		for i, item := range head.Items {
			if err := r.value(fmt.Sprintf("%s, item %d", where, i+1), item); err != nil {
				return err
			}
		}
		return nil
	}
	o, err := r.codec.decode(body)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", where, title(head.TypeMeta, body), err)
	}
	if err := place(o, r.namespace); err != nil {
		return fmt.Errorf("%s: %s: %w", where, title(head.TypeMeta, body), err)
	}
	r.set = append(r.set, Object{Where: where, Object: o})
	return nil
}

// title names the object of a document, as far as it has a name.
func title(kind metav1.TypeMeta, body []byte) string {
	var named struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(body, &named) // an object without a readable name has none
	words := strings.Fields(kind.Kind + " " + named.Metadata.Name)
	if len(words) == 0 {
		return "object"
	}
	return strings.Join(words, " ")
}

// place checks that Herald would look at the object.
func place(o metav1.Object, namespace string) error {
	switch {
	case o.GetName() == "":
		return errors.New("metadata.name is missing")
	case o.GetNamespace() == "":
		o.SetNamespace(namespace)
	case o.GetNamespace() != namespace:
		return fmt.Errorf("metadata.namespace is %q, but Herald reads its configuration in %q only (--namespace)", o.GetNamespace(), namespace)
	}
	return nil
}
