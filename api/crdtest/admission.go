// SPDX-License-Identifier: Apache-2.0

package crdtest

import (
	"context"
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
)

// Admission judges custom resources as the API server does, step by step and in
// its order: unknown fields (fieldValidation=Strict, what kubectl asks for),
// defaults, OpenAPI, list types, CEL. Its methods may be called from several
// goroutines.
type Admission struct {
	kinds map[schema.GroupVersionKind]kind
}

// kind is one served version of one CRD, compiled.
type kind struct {
	structural *structural.Structural
	openAPI    validation.SchemaValidator
	rules      *cel.Validator
}

// NewAdmission compiles the schemas of every served version of the CRDs.
func NewAdmission(crds []*apiextensionsv1.CustomResourceDefinition) (*Admission, error) {
	a := &Admission{kinds: make(map[schema.GroupVersionKind]kind)}
	for _, crd := range crds {
		schemas, err := internalSchemas(crd)
		if err != nil {
			return nil, err
		}
		for gvk, s := range schemas {
			str, err := structural.NewStructural(s)
			if err != nil {
				return nil, fmt.Errorf("build structural schema of %s: %w", gvk, err)
			}
			openAPI, _, err := validation.NewSchemaValidator(s)
			if err != nil {
				return nil, fmt.Errorf("build validator of %s: %w", gvk, err)
			}
			a.kinds[gvk] = kind{structural: str, openAPI: openAPI, rules: cel.NewValidator(str, true, celconfig.PerCallLimit)}
		}
	}
	return a, nil
}

// Create judges a new object. It adds defaults to the object.
func (a *Admission) Create(ctx context.Context, obj *unstructured.Unstructured) error {
	k, err := a.kindOf(obj)
	if err != nil {
		return err
	}
	if err := k.decode(obj); err != nil {
		return err
	}
	errs := validation.ValidateCustomResource(nil, obj.Object, k.openAPI)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.structural, obj.Object)...)
	if !blocksRules(errs) {
		ruleErrs, _ := k.rules.Validate(ctx, nil, k.structural, obj.Object, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, ruleErrs...)
	}
	return errs.ToAggregate()
}

// Update judges a changed object: fields that have not changed are not refused
// (ratcheting), and rules on the old value apply. It adds defaults to both.
func (a *Admission) Update(ctx context.Context, obj, old *unstructured.Unstructured) error {
	k, err := a.kindOf(obj)
	if err != nil {
		return err
	}
	defaulting.Default(old.Object, k.structural)
	if err := k.decode(obj); err != nil {
		return err
	}
	same := common.NewCorrelatedObject(obj.Object, old.Object, &model.Structural{Structural: k.structural})
	errs := validation.ValidateCustomResourceUpdate(nil, obj.Object, old.Object, k.openAPI, validation.WithRatcheting(same))
	if len(listtype.ValidateListSetsAndMaps(nil, k.structural, old.Object)) == 0 {
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.structural, obj.Object)...)
	}
	if !blocksRules(errs) {
		ruleErrs, _ := k.rules.Validate(ctx, nil, k.structural, obj.Object, old.Object, celconfig.RuntimeCELCostBudget, cel.WithRatcheting(same))
		errs = append(errs, ruleErrs...)
	}
	return errs.ToAggregate()
}

func (a *Admission) kindOf(obj *unstructured.Unstructured) (kind, error) {
	k, ok := a.kinds[obj.GroupVersionKind()]
	if !ok {
		return kind{}, fmt.Errorf("no CRD serves %s", obj.GroupVersionKind())
	}
	return k, nil
}

// decode is what happens to an object on its way in, before validation: unknown
// fields are an error, nulls are dropped, defaults are added.
func (k kind) decode(obj *unstructured.Unstructured) error {
	unknown := pruning.PruneWithOptions(obj.Object, k.structural, true, structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		errs := make([]error, 0, len(unknown))
		for _, path := range unknown {
			errs = append(errs, fmt.Errorf("unknown field %q", path))
		}
		return runtime.NewStrictDecodingError(errs)
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(obj.Object, k.structural)
	defaulting.Default(obj.Object, k.structural)
	return nil
}

// blocksRules tells whether the API server would not look at CEL rules at all,
// because the object does not even have the right shape.
func blocksRules(errs field.ErrorList) bool {
	blocking := []field.ErrorType{
		field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong,
		field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid,
	}
	return slices.ContainsFunc(errs, func(err *field.Error) bool { return slices.Contains(blocking, err.Type) })
}
