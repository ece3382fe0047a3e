// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProbes(t *testing.T) {
	good := Check{Name: "informers", Probe: func() error { return nil }}
	bad := Check{Name: "gossip", Probe: func() error { return errors.New("not settled") }}
	tests := []struct {
		name, method, path string
		probes             Probes
		code               int
		body               string
	}{
		{"no checks", "GET", "/healthz", Probes{}, 200, "ok\n"},
		{"ready", "GET", "/readyz", Probes{Ready: []Check{good}}, 200, "[+] informers\nok\n"},
		{"not ready", "GET", "/readyz", Probes{Ready: []Check{good, bad}}, 503, "[+] informers\n[-] gossip: not settled\nnot ok\n"},
		{"alive though not ready", "GET", "/healthz", Probes{Ready: []Check{bad}}, 200, "ok\n"},
		{"not alive", "GET", "/healthz", Probes{Live: []Check{bad}}, 503, "[-] gossip: not settled\nnot ok\n"},
		{"another path", "GET", "/", Probes{}, 404, "404 page not found\n"},
		{"another method", "POST", "/healthz", Probes{}, 405, "Method Not Allowed\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			tt.probes.Handler().ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, http.NoBody))
			if w.Code != tt.code || w.Body.String() != tt.body {
				t.Errorf("%d %q, want %d %q", w.Code, w.Body.String(), tt.code, tt.body)
			}
		})
	}
}
