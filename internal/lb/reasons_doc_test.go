// SPDX-License-Identifier: Apache-2.0

package lb_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/internal/lb"
)

// The documentation of reasons is written from the code: go test ./internal/lb -update.
func TestReasonsDocument(t *testing.T) {
	const path = "../../docs/reasons.md"
	want := reasonsDocument()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what the code says; -update writes it (-code +file):\n%s", path, diff)
	}
}

func reasonsDocument() string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(`# Reasons

Everything Herald decides has one of these reasons. The same word stands in the condition of the object, in the Event, in the
log record (XreasonX) and in the metric label. This page is written from the code.

| reason | what it means, and what to do |
|---|---|
`, "X", "`"))
	for _, r := range lb.Reasons() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r, r.Help())
	}
	return b.String()
}
