// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

// drainTimeout bounds how long a stopping server waits for requests in flight.
const drainTimeout = 2 * time.Second

// A Server answers HTTP requests on one address.
type Server struct {
	Address string // host:port; an empty host means all addresses
	Handler http.Handler
	TLS     *tls.Config // nil means plain HTTP
	Log     *slog.Logger
}

// HealthServer serves the probes of the kubelet.
func HealthServer(address string, probes Probes, log *slog.Logger) Server {
	return Server{Address: address, Handler: probes.Handler(), Log: log}
}

// PprofServer serves the profiles of the process under /debug/pprof/. It asks
// nobody for permission: give it a loopback address.
func PprofServer(address string, log *slog.Logger) Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return Server{Address: address, Handler: mux, Log: log}
}

// Run listens and serves until ctx ends, then gives requests in flight a moment
// to finish.
func (s Server) Run(ctx context.Context) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.Address, err)
	}
	return s.serve(ctx, listener)
}

// serve owns the listener and the goroutine that accepts from it.
func (s Server) serve(ctx context.Context, listener net.Listener) error {
	server := s.httpServer()
	if s.TLS != nil {
		listener = tls.NewListener(listener, s.TLS)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", s.Address, err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // a client that reads slowly does not hold up the process
	}
	return errors.Join(err, ignoreClosed(<-served))
}

// ignoreClosed returns nil for the error of a server that was told to stop.
func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// httpServer bounds what a client can cost: time, memory and connections that
// idle. WriteTimeout leaves room for a CPU profile of 30 s, the default.
func (s Server) httpServer() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true) // no scraper or probe here needs HTTP/2 and its state
	return &http.Server{
		Handler:           s.Handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute, // longer than a scrape interval
		MaxHeaderBytes:    16 << 10,        // a bearer token is 1 to 2 kB
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
}
