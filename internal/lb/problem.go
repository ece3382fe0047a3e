// SPDX-License-Identifier: Apache-2.0

package lb

import "fmt"

// Object names a Kubernetes object that a Problem is about. It is comparable.
type Object struct {
	Kind, Namespace, Name string
}

// String returns "Kind namespace/name", or "Kind name" without a namespace.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Problem is one reason why an object, or a part of it, cannot be used.
type Problem struct {
	Object Object
	// Field is the path of the offending field, such as spec.addresses[1].
	Field string
	// Reason says what kind of problem it is.
	Reason Reason
	// Message is for people: what is wrong with which value, and what to do.
	Message string
	// Fatal problems make the whole object unusable; others cost a part of it.
	Fatal bool
}

// String returns the problem as one line.
func (p Problem) String() string {
	return fmt.Sprintf("%s: %s: %s", p.Object, p.Field, p.Message)
}
