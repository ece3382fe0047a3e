// SPDX-License-Identifier: Apache-2.0

package crdtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// LoadCRDs reads the CRDs of a directory, strictly: an unknown field is an error.
// Files without a CRD (kustomization.yaml) are skipped.
func LoadCRDs(dir string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*_*.yaml"))
	if err != nil {
		return nil, err
	}
	crds := make([]*apiextensionsv1.CustomResourceDefinition, 0, len(paths))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(text, crd); err != nil {
			return nil, fmt.Errorf("decode %s: %w", path, err)
		}
		crds = append(crds, crd)
	}
	return crds, nil
}

// CheckCRD applies the checks that the API server makes of a CRD that is created:
// structural schemas, defaults that validate, CEL rules that compile and stay
// within the cost limits.
func CheckCRD(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) error {
	internal, err := internalCRD(crd)
	if err != nil {
		return err
	}
	return validation.ValidateCustomResourceDefinition(ctx, internal).ToAggregate()
}

func internalCRD(crd *apiextensionsv1.CustomResourceDefinition) (*apiextensions.CustomResourceDefinition, error) {
	defaulted := crd.DeepCopy()
	apiextensionsv1.SetDefaults_CustomResourceDefinition(defaulted)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&defaulted.Spec)
	// The API server fills in what it has stored; a CRD from a file has not.
	for _, v := range defaulted.Spec.Versions {
		if v.Storage {
			defaulted.Status.StoredVersions = []string{v.Name}
		}
	}
	internal := &apiextensions.CustomResourceDefinition{}
	err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(defaulted, internal, nil)
	if err != nil {
		return nil, fmt.Errorf("convert CRD %s: %w", crd.Name, err)
	}
	return internal, nil
}

// internalSchemas returns the schema of every served version.
func internalSchemas(crd *apiextensionsv1.CustomResourceDefinition) (map[schema.GroupVersionKind]*apiextensions.JSONSchemaProps, error) {
	schemas := make(map[schema.GroupVersionKind]*apiextensions.JSONSchemaProps)
	for _, v := range crd.Spec.Versions {
		internal := &apiextensions.JSONSchemaProps{}
		err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, internal, nil)
		if err != nil {
			return nil, fmt.Errorf("convert schema of CRD %s, version %s: %w", crd.Name, v.Name, err)
		}
		gvk := schema.GroupVersionKind{Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind}
		schemas[gvk] = internal
	}
	return schemas, nil
}
