// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var metricName = regexp.MustCompile(`^(metallb|herald)_[a-z0-9_]+$`)

// Users build dashboards and alerts on operations.md: each metric of the code stands in
// its table, in full or shortened to how it differs from the first of its row, and each
// name in the table is one of the code.
func TestMetricsAreDocumented(t *testing.T) {
	documented, code := metricsInTable(t, "operations.md"), metricsInCode(t, "..")
	for name, where := range code {
		if !documented.covers(name) {
			t.Errorf("%s: metric %s is not in the table of docs/operations.md", where, name)
		}
	}
	for _, r := range documented {
		if _, ok := code[r.full]; !ok {
			t.Errorf("docs/operations.md names the metric %s, which is not in the code", r.full)
		}
	}
}

// row is a line of the table: a metric, and what others that stand with it end in, or
// have in their middle.
type row struct {
	full  string
	short []string
}

type table []row

// covers says whether a metric is in the table: by its name, or by the end of it in a
// row of the same family.
func (t table) covers(name string) bool {
	for _, r := range t {
		if r.full == name {
			return true
		}
		for _, s := range r.short {
			if sameFamily(name, r.full) && fits(name, s) {
				return true
			}
		}
	}
	return false
}

// fits says whether a name may be what a short form stands for: _this is an end, this_
// a part.
func fits(name, short string) bool {
	if strings.HasSuffix(short, "_") {
		return strings.Contains(name, "_"+short)
	}
	return strings.HasSuffix(name, short)
}

// sameFamily says whether two metrics have their first two words in common.
func sameFamily(a, b string) bool {
	x, y := strings.SplitN(a, "_", 3), strings.SplitN(b, "_", 3)
	return x[0] == y[0] && x[1] == y[1]
}

// metricsInTable reads the first column of the table whose head is "metric".
func metricsInTable(t *testing.T, file string) table {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "| metric | labels | meaning |\n|---|---|---|\n")
	if !found {
		t.Fatalf("%s has no table of metrics", file)
	}
	code := regexp.MustCompile("`([^`]+)`")
	var all table
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		var r row
		for _, m := range code.FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			if r.full == "" && metricName.MatchString(m[1]) {
				r.full = m[1]
				continue
			}
			if metricName.MatchString(m[1]) {
				all = append(all, row{full: m[1]})
				continue
			}
			r.short = append(r.short, m[1])
		}
		all = append(all, r)
	}
	return all
}

// metricsInCode returns the names of metrics that stand in the code as they are, with
// the file.
func metricsInCode(t *testing.T, root string) map[string]string {
	t.Helper()
	names := make(map[string]string)
	for _, dir := range []string{"controller", "speaker", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					return true
				}
				if s, err := strconv.Unquote(literal.Value); err == nil && metricName.MatchString(s) {
					names[s] = path
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(names) == 0 {
		t.Fatal("no metric found in the code")
	}
	return names
}
