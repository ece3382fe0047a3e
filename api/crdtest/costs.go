// SPDX-License-Identifier: Apache-2.0

package crdtest

import (
	"cmp"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// RuleCost is the estimated worst case of one CEL rule, in the API server's units.
type RuleCost struct {
	Path string
	Rule string
	Cost uint64
}

// RuleCosts estimates every rule of every version of a CRD, the costliest first.
// A rule may cost validation.StaticEstimatedCostLimit, all rules of all versions
// together validation.StaticEstimatedCRDCostLimit.
func RuleCosts(crd *apiextensionsv1.CustomResourceDefinition) ([]RuleCost, error) {
	schemas, err := internalSchemas(crd)
	if err != nil {
		return nil, err
	}
	var costs []RuleCost
	for gvk, s := range schemas {
		if err := walkRules(gvk.Version, s, validation.RootCELContext(s), &costs); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(costs, func(a, b RuleCost) int { return cmp.Compare(b.Cost, a.Cost) })
	return costs, nil
}

func walkRules(path string, s *apiextensions.JSONSchemaProps, c *validation.CELSchemaContext, costs *[]RuleCost) error {
	if len(s.XValidations) > 0 {
		if err := estimate(path, s, c, costs); err != nil {
			return err
		}
	}
	for name, property := range s.Properties {
		if err := walkRules(path+"."+name, &property, c.ChildPropertyContext(&property, name), costs); err != nil {
			return err
		}
	}
	if s.Items != nil && s.Items.Schema != nil {
		if err := walkRules(path+"[]", s.Items.Schema, c.ChildItemsContext(s.Items.Schema), costs); err != nil {
			return err
		}
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		values := s.AdditionalProperties.Schema
		return walkRules(path+"{}", values, c.ChildAdditionalPropertiesContext(values), costs)
	}
	return nil
}

func estimate(path string, s *apiextensions.JSONSchemaProps, c *validation.CELSchemaContext, costs *[]RuleCost) error {
	str, err := structural.NewStructural(s)
	if err != nil {
		return err
	}
	info, err := c.TypeInfo()
	if err != nil {
		return err
	}
	env := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
	results, err := cel.Compile(str, info.DeclType, celconfig.PerCallLimit, env, cel.NewExpressionsEnvLoader())
	if err != nil {
		return err
	}
	for i, result := range results {
		if result.Error != nil {
			return result.Error
		}
		cost := result.MaxCost
		if c.MaxCardinality != nil {
			cost *= *c.MaxCardinality
		}
		*costs = append(*costs, RuleCost{Path: path, Rule: s.XValidations[i].Rule, Cost: cost})
	}
	return nil
}
