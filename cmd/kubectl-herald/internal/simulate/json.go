// SPDX-License-Identifier: Apache-2.0

package simulate

import (
	"encoding/json"
	"io"
	"net/netip"

	"github.com/herald-lb/herald/internal/whatif"
)

// document is the output of -o json. Fields are added to it, never renamed.
type document struct {
	Summary map[string]int `json:"summary"`
	// AtOnce is the summary if all objects were applied in one moment.
	AtOnce     map[string]int `json:"summaryAtOnce"`
	Services   []service      `json:"services"`
	Unsettled  []service      `json:"unsettled"`
	Rejected   []rejection    `json:"rejected"`
	NotChecked string         `json:"notChecked,omitempty"`
}

type service struct {
	Namespace   string       `json:"namespace"`
	Name        string       `json:"name"`
	Effect      string       `json:"effect"`
	From        holding      `json:"from"`
	To          holding      `json:"to"`
	Interrupted []netip.Addr `json:"interrupted,omitempty"`
	Reason      string       `json:"reason"`
	Message     string       `json:"message,omitempty"`
	Cause       string       `json:"cause,omitempty"`
}

// holding is what a Service has.
type holding struct {
	Addresses []netip.Addr `json:"addresses"`
	Pool      string       `json:"pool,omitempty"`
}

type rejection struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
	Unusable  bool   `json:"unusable"`
	Already   bool   `json:"already"`
}

func (a answer) printJSON(w io.Writer, all bool) error {
	d := document{
		Summary: tally(a.Report), AtOnce: tally(a.atOnce), NotChecked: a.unchecked,
		Services: services(shown(a.Changes, all)), Unsettled: services(a.Unsettled), Rejected: []rejection{},
	}
	for _, r := range a.Rejected {
		d.Rejected = append(d.Rejected, rejection{
			r.Object.Kind, r.Object.Namespace, r.Object.Name, r.Reason.String(), r.Message, r.Unusable, r.Already,
		})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(d)
}

func tally(r whatif.Report) map[string]int {
	counts := r.Count()
	all := make(map[string]int, len(whatif.Effects()))
	for _, e := range whatif.Effects() {
		all[e.String()] = counts[e]
	}
	return all
}

func services(changes []whatif.Change) []service {
	all := make([]service, 0, len(changes))
	for _, c := range changes {
		all = append(all, service{
			Namespace: c.Service.Namespace, Name: c.Service.Name, Effect: c.Effect.String(),
			From: holdingOf(c.From, c.FromPool), To: holdingOf(c.To, c.ToPool), Interrupted: c.Interrupted,
			Reason: c.Reason.String(), Message: c.Message, Cause: c.Cause,
		})
	}
	return all
}

func holdingOf(addresses []netip.Addr, pool string) holding {
	return holding{append([]netip.Addr{}, addresses...), pool} // [] rather than null
}
