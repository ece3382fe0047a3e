// SPDX-License-Identifier: Apache-2.0

package lb

import "fmt"

// report collects the problems of one object while it is parsed. Its zero value but
// for object is ready to use.
type report struct {
	object   Object
	problems []Problem
	// rejected is set by the first fatal problem.
	rejected bool
}

// reject adds a problem that makes the whole object unusable.
func (r *report) reject(reason Reason, field, format string, args ...any) {
	r.rejected = true
	r.add(Problem{Field: field, Reason: reason, Message: fmt.Sprintf(format, args...), Fatal: true})
}

// note adds a problem that costs only a part of the object, or nothing.
func (r *report) note(reason Reason, field, format string, args ...any) {
	r.add(Problem{Field: field, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

func (r *report) add(p Problem) {
	p.Object = r.object
	r.problems = append(r.problems, p)
}
