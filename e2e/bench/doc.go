// SPDX-License-Identifier: Apache-2.0

// Command bench measures what Herald promises, each figure beside its limit: what
// the same machine does, in the same run, without Herald in the way. Ratios carry
// over from machine to machine; absolute figures do not.
//
// It prints a table and writes out/bench.json. -only picks measurements by a regular
// expression over their names. The exit status is 0 when everything could be
// measured, whether or not a goal was met: a goal is for people to judge.
package main
