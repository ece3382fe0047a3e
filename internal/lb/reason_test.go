// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

// The declarations are the truth: a reason added there and forgotten in String, Help or
// Reasons fails.
func TestReasonsAreComplete(t *testing.T) {
	t.Parallel()
	declared := declaredReasons(t)
	var listed []string
	for _, r := range lb.Reasons() {
		listed = append(listed, "Reason"+r.String())
	}
	if diff := cmp.Diff(declared, listed); diff != "" {
		t.Errorf("constants of type Reason against Reasons() by String() (-declared +listed):\n%s", diff)
	}
	unknown := lb.Reason(len(declared))
	if got := unknown.String(); got != "Unknown" {
		t.Errorf("the reason past the last is %q; want Unknown", got)
	}
}

func declaredReasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, decl := range file.Decls {
		constants, ok := decl.(*ast.GenDecl)
		if !ok || constants.Tok != token.CONST {
			continue
		}
		for _, spec := range constants.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}

func TestReasonsAreDistinct(t *testing.T) {
	t.Parallel()
	camelCase := regexp.MustCompile(`^[A-Z][A-Za-z]+$`)
	names, helps := map[string]lb.Reason{}, map[string]lb.Reason{}
	unknown := lb.Reason(255).Help()
	for _, r := range lb.Reasons() {
		name, help := r.String(), r.Help()
		if !camelCase.MatchString(name) {
			t.Errorf("%q is not a CamelCase word, which conditions and Events ask for", name)
		}
		if other, ok := names[name]; ok {
			t.Errorf("reasons %d and %d are both named %s", other, r, name)
		}
		if other, ok := helps[help]; ok {
			t.Errorf("%s and %s have the same help", other, r)
		}
		if help == unknown {
			t.Errorf("%s has no help", r)
		}
		if !strings.HasSuffix(help, ".") || strings.Contains(help, ". ") || strings.Contains(help, "\n") {
			t.Errorf("the help of %s is not one sentence: %q", r, help)
		}
		names[name], helps[help] = r, r
	}
}
