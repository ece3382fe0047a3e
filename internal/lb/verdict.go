// SPDX-License-Identifier: Apache-2.0

package lb

import (
	"fmt"
	"slices"
	"strings"
)

// Verdict is what the Accepted condition of an object says: whether all of the object
// takes part in the configuration. Of an object that is not accepted a part may.
type Verdict struct {
	Accepted bool
	Reason   Reason
	// Message has a line for each problem, with the field it is about.
	Message string
}

// ByObject groups problems by the object they are about.
func ByObject(problems []Problem) map[Object][]Problem {
	grouped := make(map[Object][]Problem)
	for _, p := range problems {
		grouped[p.Object] = append(grouped[p.Object], p)
	}
	return grouped
}

// VerdictOn returns the verdict on one object that has these problems, which may be
// none. Its reason is that of the gravest problem.
func VerdictOn(problems []Problem) Verdict {
	verdict := Verdict{Accepted: true, Message: "in use"}
	if len(problems) == 0 {
		return verdict
	}
	gravest := 0
	for _, p := range problems {
		if g := p.gravity(); g > gravest {
			gravest = g
			verdict.Accepted, verdict.Reason = false, p.Reason
		}
	}
	verdict.Message = describe(problems)
	return verdict
}

// gravity is 0 for what costs nothing, 1 for what costs a part of the object, and 2
// for what costs all of it.
func (p Problem) gravity() int {
	switch {
	case p.Fatal:
		return 2
	case p.Reason == ReasonRedundant || p.Reason == ReasonDeprecated:
		return 0
	}
	return 1
}

// describe writes a line for each problem, and counts those that are too many to read.
func describe(problems []Problem) string {
	const shown = 20
	var lines []string
	for _, p := range problems[:min(shown, len(problems))] {
		lines = append(lines, p.Field+": "+p.Message)
	}
	if len(problems) > shown {
		lines = append(lines, fmt.Sprintf("and %d more problems", len(problems)-shown))
	}
	return strings.Join(lines, "\n")
}

// Summary writes a line for each problem that costs an object something, sorted. It is
// empty if there is none.
func Summary(problems []Problem) string {
	var lines []string
	for _, p := range problems {
		if p.gravity() > 0 {
			lines = append(lines, p.String())
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n")
}
