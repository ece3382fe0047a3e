// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
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
			r.note(ReasonInvalid, path.Index(i).String(), "is the same selector as %s; remove it", path.Index(at))
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
	terms := make(labels.Requirements, 0, len(s.MatchLabels)+len(s.MatchExpressions))
	valid := true
	require := func(path *field.Path, key string, op selection.Operator, values []string) {
		term, err := labels.NewRequirement(key, op, values, field.WithPath(path))
		if err != nil {
			r.rejectTerm(err)
			valid = false
			return
		}
		terms = append(terms, *term)
	}
	for _, key := range slices.Sorted(maps.Keys(s.MatchLabels)) {
		require(path.Child("matchLabels").Key(key), key, selection.In, []string{string(s.MatchLabels[key])})
	}
	for i, e := range s.MatchExpressions {
		at := path.Child("matchExpressions").Index(i)
		op, ok := selectionOperator(e.Operator)
		if !ok {
			r.reject(ReasonInvalid, at.Child("operator").String(), "%q is not an operator; use In, NotIn, Exists or DoesNotExist", e.Operator)
			valid = false
			continue
		}
		require(at, e.Key, op, texts(e.Values))
	}
	if !valid {
		return nil
	}
	return labels.NewSelector().Add(terms...)
}

func texts[T ~string](list []T) []string {
	plain := make([]string, 0, len(list))
	for _, s := range list {
		plain = append(plain, string(s))
	}
	return plain
}

func selectionOperator(op metav1.LabelSelectorOperator) (selection.Operator, bool) {
	switch op {
	case metav1.LabelSelectorOpIn:
		return selection.In, true
	case metav1.LabelSelectorOpNotIn:
		return selection.NotIn, true
	case metav1.LabelSelectorOpExists:
		return selection.Exists, true
	case metav1.LabelSelectorOpDoesNotExist:
		return selection.DoesNotExist, true
	}
	return "", false
}

// rejectTerm turns what apimachinery finds wrong with a requirement into problems.
func (r *report) rejectTerm(err error) {
	var several utilerrors.Aggregate
	if !errors.As(err, &several) {
		r.reject(ReasonInvalid, "", "%v", err)
		return
	}
	for _, e := range several.Errors() {
		var at *field.Error
		if !errors.As(e, &at) {
			r.reject(ReasonInvalid, "", "%v", e)
			continue
		}
		r.reject(ReasonInvalid, at.Field, "%s cannot be used in a selector: %s", quote(at.BadValue), at.Detail)
	}
}

func quote(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprintf("%v", v)
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
			r.note(ReasonInvalid, path.Index(i).String(), "%q is already in %s; remove it", s, path.Index(at))
			continue
		}
		first[s] = i
		kept = append(kept, s)
	}
	return kept
}
