// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// serve runs a server on a loopback port of its own until the test ends and
// returns its address.
func serve(t *testing.T, s Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve() = %v after its context ended", err)
		}
	})
	return listener.Addr().String()
}

// get asks for a URL over a connection of its own.
func get(t *testing.T, url, authorization string, config *tls.Config) (int, string) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", authorization)
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// metricsServer serves one metric to the bearer of the token "good".
func metricsServer(t *testing.T, o *Options, r Reviewer) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "herald_test_total", Help: "A test."})
	counter.Add(7)
	registry.MustRegister(counter)
	server, err := MetricsServer("speaker", o, registry, r, discard())
	if err != nil {
		t.Fatal(err)
	}
	return "https://" + serve(t, server)
}

// unverified is a client that takes any certificate, as scrapers of self-signed
// ones do.
func unverified() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true}
}

func options() *Options {
	return &Options{MetricsPort: 9120, TLS: TLSOptions{MinVersion: tls.VersionTLS13}}
}

func TestMetricsAreForThoseWhoMay(t *testing.T) {
	away := &reviewer{err: errors.New("connection refused")}
	allowing := &reviewer{token: "good", path: "/metrics"}
	forbidding := &reviewer{token: "good", path: "/elsewhere"}
	tests := []struct {
		name, authorization string
		reviewer            *reviewer
		code                int
		body                string
	}{
		{"good token", "Bearer good", allowing, 200, "herald_test_total 7"},
		{"scheme in lower case", "bearer good", allowing, 200, "herald_test_total 7"},
		{"no token", "", allowing, 401, "token"},
		{"empty token", "Bearer ", allowing, 401, "token"},
		{"other scheme", "Basic good", allowing, 401, "token"},
		{"wrong token", "Bearer bad", allowing, 401, "token"},
		{"not allowed", "Bearer good", forbidding, 403, `user "prometheus" cannot get path "/metrics"`},
		{"API server away", "Bearer good", away, 503, "API server"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url := metricsServer(t, options(), tt.reviewer)
			code, body := get(t, url+"/metrics", tt.authorization, unverified())
			if code != tt.code || !strings.Contains(body, tt.body) {
				t.Errorf("%d %q, want %d with %q", code, body, tt.code, tt.body)
			}
			if code != http.StatusOK && strings.Contains(body, "herald_test_total") {
				t.Error("the metrics are in a refusal")
			}
		})
	}
}

func TestMetricsAreOnlyAtTheirPath(t *testing.T) {
	url := metricsServer(t, options(), &reviewer{token: "good", path: "/metrics"})
	if code, _ := get(t, url+"/", "Bearer good", unverified()); code != http.StatusNotFound {
		t.Errorf("/ answers %d, want 404", code)
	}
}

func TestTLSOptionsAreEnforced(t *testing.T) {
	tests := []struct {
		name   string
		flags  []string
		client func(*tls.Config)
		want   bool
	}{
		{"TLS 1.3 is the default", nil, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, false},
		{"1.2 when asked for", []string{"--tls-min-version=VersionTLS12"}, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, true},
		{"1.1 never", []string{"--tls-min-version=1.2"}, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, false},
		{
			"cipher not listed",
			[]string{"--tls-min-version=1.2", "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
			func(c *tls.Config) {
				c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			}, false,
		},
		{
			"cipher listed",
			[]string{"--tls-min-version=1.2", "--tls-cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
			func(c *tls.Config) {
				c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
			}, true,
		},
		{"curve not listed", []string{"--tls-curve-preferences=P384,29"}, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} }, false},
		{"curve listed", []string{"--tls-curve-preferences=CurveP521,29"}, func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP521} }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, code, _, stderr := parse(t, nil, append(tt.flags, "--namespace=x")...)
			if code != ExitOK {
				t.Fatal(stderr)
			}
			url := metricsServer(t, o, &reviewer{token: "good", path: "/metrics"})
			client := unverified()
			tt.client(client)
			code, body := get(t, url+"/metrics", "Bearer good", client)
			if (code == http.StatusOK) != tt.want {
				t.Errorf("%d %q, want success %t", code, body, tt.want)
			}
		})
	}
}

func TestProfiles(t *testing.T) {
	url := "http://" + serve(t, PprofServer("", discard()))
	if code, body := get(t, url+"/debug/pprof/goroutine?debug=1", "", nil); code != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("%d %.40q", code, body)
	}
}

func TestServerDrainsRequestsInFlight(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Server{Handler: slow, Log: discard()}.serve(ctx, listener) }()
	body := make(chan string, 1)
	go func() {
		_, text := get(t, "http://"+listener.Addr().String(), "", nil)
		body <- text
	}()
	<-begun
	cancel()
	close(release)
	if got := <-body; got != "done" {
		t.Errorf("body = %q, want the answer of the request in flight", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve() = %v", err)
	}
}

func TestServerDoesNotWaitForSlowClients(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	stuck := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-release
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-begun; cancel() }()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := (Server{Handler: stuck, Log: discard()}).serve(ctx, listener); err != nil {
		t.Errorf("serve() = %v", err)
	}
}

func TestPortInUseIsAnErrorThatNamesIt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	err = HealthServer(address, Probes{}, slog.Default()).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "listen on "+address) {
		t.Errorf("Run() = %v", err)
	}
}
