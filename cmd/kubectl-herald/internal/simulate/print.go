// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/herald-lb/herald/internal/whatif"
)

// answer is all there is to be printed.
type answer struct {
	// Report is about the objects applied one after the other.
	whatif.Report
	// atOnce is about all of them applied in one moment.
	atOnce whatif.Report
	// unchecked says what the API server was not asked. Empty: nothing.
	unchecked string
}

func (a answer) print(w io.Writer, o options) error {
	if o.output == outputJSON {
		return a.printJSON(w, o.all)
	}
	var b strings.Builder
	if err := table(&b, shown(a.Changes, o.all)); err != nil {
		return err
	}
	fmt.Fprintf(&b, "%s\n", summary(a.Report))
	for _, r := range a.Rejected {
		fmt.Fprintf(&b, "\n%s would%s not be accepted in full (%s):\n", r.Object, already(r), r.Reason)
		for line := range strings.Lines(r.Message) {
			fmt.Fprintf(&b, "  %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
	for _, note := range a.notes() {
		fmt.Fprintf(&b, "\nNote: %s.\n", note)
	}
	if len(a.Unsettled) > 0 {
		fmt.Fprintf(&b, "\nNote: the controller has these yet to write, whether or not the manifests are applied:\n")
		if err := table(&b, a.Unsettled); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func already(r whatif.Rejection) string {
	if r.Already {
		return " still"
	}
	return ""
}

// notes are what the reader should know beside the figures.
func (a answer) notes() []string {
	var notes []string
	if n := a.ordered(); n > 0 {
		notes = append(notes, fmt.Sprintf("the order matters to %s. This is what happens if the objects are applied one after the other, in the order given. "+
			"All at once it would be: %s. To spare addresses that change pools, apply the pool that gains them before the one that gives them up",
			count(n, "Service"), summary(a.atOnce)))
	}
	if a.unchecked != "" {
		notes = append(notes, a.unchecked)
	}
	return notes
}

// ordered returns for how many Services it matters in which order objects are applied.
func (a answer) ordered() (n int) {
	for i, c := range a.Changes {
		if once := a.atOnce.Changes[i]; c.Effect != once.Effect || !slices.Equal(c.To, once.To) {
			n++
		}
	}
	return n
}

// shown returns the changes to be listed, the gravest first.
func shown(changes []whatif.Change, all bool) []whatif.Change {
	var list []whatif.Change
	for _, c := range changes {
		if all || (c.Effect != whatif.Keep && c.Effect != whatif.Wait) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(x, y whatif.Change) int { return int(y.Effect) - int(x.Effect) })
	return list
}

// table writes one line for each change, in columns.
func table(w *strings.Builder, changes []whatif.Change) error {
	if len(changes) == 0 {
		return nil
	}
	var aligned strings.Builder
	columns := tabwriter.NewWriter(&aligned, 0, 0, 3, ' ', 0)
	fmt.Fprintln(columns, "EFFECT\tSERVICE\tFROM\tTO\tWHY")
	for _, c := range changes {
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\n", c.Effect, c.Service, place(c.From, c.FromPool), place(c.To, c.ToPool), why(c))
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(aligned.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	fmt.Fprintln(w)
	return nil
}

func why(c whatif.Change) string {
	if len(c.Interrupted) == 0 {
		return c.Why()
	}
	return fmt.Sprintf("%s is lost and given again: %s", join(c.Interrupted), c.Why())
}

// place writes addresses with their pool.
func place(addresses []netip.Addr, pool string) string {
	if len(addresses) == 0 {
		return "-"
	}
	return join(addresses) + " (" + pool + ")"
}

func join(addresses []netip.Addr) string {
	words := make([]string, len(addresses))
	for i, a := range addresses {
		words[i] = a.String()
	}
	return strings.Join(words, ",")
}

// summary counts effects in one line.
func summary(r whatif.Report) string {
	counts := r.Count()
	parts := make([]string, 0, len(counts))
	for _, e := range whatif.Effects() {
		parts = append(parts, fmt.Sprintf("%d %s", counts[e], e))
	}
	return fmt.Sprintf("%s: %s", count(len(r.Changes), "Service"), strings.Join(parts, ", "))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
