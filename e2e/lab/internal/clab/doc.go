// SPDX-License-Identifier: Apache-2.0

// Package clab parses the subset of containerlab topology files that the lab can
// make real without containers, and the kind configuration such a file names.
//
// It owns the reading: which keys there are, what they default to, and errors
// that name the key. A key outside the subset is an error, for a lab that
// ignores half of a file is not the lab the file describes. It must not know
// about namespaces or processes; it reads files but touches nothing else.
//
// No goroutines.
package clab
