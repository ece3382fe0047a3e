// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// narrator writes the story: what is done at the margin, what comes of it indented. It
// is used by one goroutine.
type narrator struct {
	out io.Writer
	// open is whether a line was begun and not ended.
	open bool
}

// say writes a line at the margin.
func (n *narrator) say(format string, args ...any) {
	n.endLine()
	fmt.Fprintf(n.out, format+"\n", args...)
}

// show writes text of one or more lines, indented.
func (n *narrator) show(text string) {
	n.endLine()
	for line := range strings.Lines(text) {
		fmt.Fprintln(n.out, strings.TrimRight("    "+line, " \n"))
	}
}

// showf writes one indented line.
func (n *narrator) showf(format string, args ...any) { n.show(fmt.Sprintf(format, args...)) }

// step says what is done, does it, and says how long it took.
func (n *narrator) step(what string, do func() error) error {
	n.endLine()
	fmt.Fprintf(n.out, "> %s ...", what)
	n.open = true
	start := time.Now()
	if err := do(); err != nil {
		return err
	}
	took := fmt.Sprintf("%.1f s", time.Since(start).Seconds())
	if n.open {
		fmt.Fprintln(n.out, " "+took)
		n.open = false
	} else {
		n.show(took)
	}
	return nil
}

func (n *narrator) endLine() {
	if n.open {
		fmt.Fprintln(n.out)
		n.open = false
	}
}
