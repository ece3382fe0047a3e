// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/herald-lb/herald/api/v1beta1"
)

// selectors reads a list of selectors of which one match suffices. An invalid one is
// fatal: to leave it out would change what the rest of the list means. One that is
// listed twice is noted and kept once.
func (r *report) selectors(path *field.Path, list []v1beta1.LabelSelector) []labels.Selector {
	if len(list) == 0 {
		return nil
	}
	parsed := make([]labels.Selector, 0, len(list))
	first := make(map[string]int, len(list))
	for i := range list {
		s := r.selector(path.Index(i), &list[i])
		if s == nil {
			continue
		}
		key := s.String()
		if at, ok := first[key]; ok {
			r.note(ReasonRedundant, path.Index(i).String(), "is the same selector as %s; remove it", path.Index(at))
			continue
		}
		first[key] = i
		parsed = append(parsed, s)
	}
	return parsed
}

// selector reads one selector, or rejects the object and returns nil. All terms of a
// selector must hold; one without terms matches everything.
func (r *report) selector(path *field.Path, s *v1beta1.LabelSelector) labels.Selector {
	p := selectorParser{report: r}
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		at := path.Child("matchLabels").Key(key)
		p.term(term{
			operator: metav1.LabelSelectorOpIn,
			key:      key, keyAt: at,
			values: []string{string(s.MatchLabels[key])}, valueAt: func(int) *field.Path { return at },
		})
	}
	for i, e := range s.MatchExpressions {
		at := path.Child("matchExpressions").Index(i)
		p.term(term{
			operator: e.Operator, operatorAt: at.Child("operator"),
			key: e.Key, keyAt: at.Child("key"),
			values: texts(e.Values), valuesAt: at.Child("values"), valueAt: at.Child("values").Index,
		})
	}
	if p.invalid {
		return nil
	}
	return labels.NewSelector().Add(p.terms...)
}

// term is one requirement of a selector, with the paths its parts were found at.
type term struct {
	operator                    metav1.LabelSelectorOperator
	key                         string
	values                      []string
	operatorAt, keyAt, valuesAt *field.Path
	valueAt                     func(i int) *field.Path
}

type selectorParser struct {
	report  *report
	terms   labels.Requirements
	invalid bool
}

// term adds a requirement, or rejects the object for every part that is wrong.
func (p *selectorParser) term(t term) {
	op := p.operator(t)
	if wrong := validation.IsQualifiedName(t.key); len(wrong) > 0 {
		p.reject(t.keyAt, "%q is not a label key: %s", t.key, strings.Join(wrong, "; "))
	}
	for i, v := range t.values {
		if wrong := validation.IsValidLabelValue(v); len(wrong) > 0 {
			p.reject(t.valueAt(i), "%q is not a label value: %s", v, strings.Join(wrong, "; "))
		}
	}
	if p.invalid {
		return
	}
	requirement, err := labels.NewRequirement(t.key, op, t.values)
	if err != nil {
		p.reject(t.keyAt, "%v", err)
		return
	}
	p.terms = append(p.terms, *requirement)
}

// operator checks that there are values where, and only where, the operator takes some.
func (p *selectorParser) operator(t term) selection.Operator {
	var op selection.Operator
	takesValues := false
	switch t.operator {
	case metav1.LabelSelectorOpIn:
		op, takesValues = selection.In, true
	case metav1.LabelSelectorOpNotIn:
		op, takesValues = selection.NotIn, true
	case metav1.LabelSelectorOpExists:
		op = selection.Exists
	case metav1.LabelSelectorOpDoesNotExist:
		op = selection.DoesNotExist
	default:
		p.reject(t.operatorAt, "%q is not an operator; use In, NotIn, Exists or DoesNotExist", t.operator)
		return op
	}
	switch {
	case takesValues && len(t.values) == 0:
		p.reject(t.valuesAt, "is empty; operator %s needs at least one value", t.operator)
	case !takesValues && len(t.values) > 0:
		p.reject(t.valuesAt, "operator %s takes no values; remove them, or use In or NotIn", t.operator)
	}
	return op
}

func (p *selectorParser) reject(at *field.Path, format string, args ...any) {
	p.invalid = true
	p.report.reject(ReasonInvalid, at.String(), format, args...)
}

func texts[T ~string](list []T) []string {
	plain := make([]string, 0, len(list))
	for _, s := range list {
		plain = append(plain, string(s))
	}
	return plain
}

// distinct returns list without repetitions, which it notes.
func (r *report) distinct(path *field.Path, list []string) []string {
	if len(list) == 0 {
		return nil
	}
	kept := make([]string, 0, len(list))
	first := make(map[string]int, len(list))
	for i, s := range list {
		if at, ok := first[s]; ok {
			r.note(ReasonRedundant, path.Index(i).String(), "%q is already in %s; remove it", s, path.Index(at))
			continue
		}
		first[s] = i
		kept = append(kept, s)
	}
	return kept
}
