// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"net/http"
	"strings"
)

// A Check is one named reason to be healthy. Probe returns nil if all is well;
// it is called by several requests at once and must not block. Its error is
// shown to whoever asks, so it must not hold secrets.
type Check struct {
	Name  string
	Probe func() error
}

// Probes are the checks behind the two probes of the kubelet. Without checks a
// probe succeeds.
type Probes struct {
	// Live fails only if a restart would help.
	Live []Check
	// Ready fails as long as the process cannot do its work, and is expected to
	// succeed later by itself.
	Ready []Check
}

// Handler serves /healthz from the live checks and /readyz from the ready ones:
// 200 if all succeed, else 503, and in both cases one line per check.
func (p Probes) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", probe(p.Live))
	mux.Handle("GET /readyz", probe(p.Ready))
	return mux
}

func probe(checks []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		var lines strings.Builder
		verdict, code := "ok", http.StatusOK
		for _, check := range checks {
			if err := check.Probe(); err != nil {
				verdict, code = "not ok", http.StatusServiceUnavailable
				fmt.Fprintf(&lines, "[-] %s: %v\n", check.Name, err)
				continue
			}
			fmt.Fprintf(&lines, "[+] %s\n", check.Name)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(code)
		fmt.Fprintf(w, "%s%s\n", lines.String(), verdict)
	}
}
