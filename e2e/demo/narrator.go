// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// narrator writes the story: what is done at the margin, what comes of it indented.
type narrator struct {
	out io.Writer
}

// say writes a line at the margin.
func (n *narrator) say(format string, args ...any) {
	fmt.Fprintf(n.out, format+"\n", args...)
}

// show writes text of one or more lines, indented.
func (n *narrator) show(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		fmt.Fprintf(n.out, "    %s\n", strings.TrimRight(line, "\n"))
	}
}

// showf writes one indented line.
func (n *narrator) showf(format string, args ...any) { n.show(fmt.Sprintf(format, args...)) }

// step says what is being done, does it, and adds how long it took.
func (n *narrator) step(what string, do func() error) error {
	fmt.Fprintf(n.out, "> %s ", what)
	start := time.Now()
	if err := do(); err != nil {
		fmt.Fprintln(n.out, "... failed")
		return err
	}
	fmt.Fprintf(n.out, "... %.1f s\n", time.Since(start).Seconds())
	return nil
}
