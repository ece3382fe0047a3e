// SPDX-License-Identifier: Apache-2.0

// Package control lets the command line speak to a running lab: one request, one
// answer, over a unix socket.
//
// It owns the wire: HTTP with a JSON body. It must not know the commands.
//
// Goroutines: those of net/http, until Serve returns.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Request is a command and its arguments.
type Request struct {
	Command string   `json:"command"`
	Args    []string `json:"args"`
}

// maxRequest bounds a request's body in bytes.
const maxRequest = 1 << 16

// Serve answers requests on the socket until ctx ends. run's text is the answer;
// its error is told to the caller as one.
func Serve(ctx context.Context, socket string, run func(ctx context.Context, r Request) (string, error)) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, h *http.Request) {
			var r Request
			if err := json.NewDecoder(io.LimitReader(h.Body, maxRequest)).Decode(&r); err != nil {
				http.Error(w, "read request: "+err.Error(), http.StatusBadRequest)
				return
			}
			text, err := run(h.Context(), r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusUnprocessableEntity)
				return
			}
			_, _ = io.WriteString(w, text) // the caller may have gone; the command has run
		}),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve commands: %w", err)
	}
	return nil
}

// Call sends a request and returns the answer.
func Call(ctx context.Context, socket string, r Request) (string, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encode request: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://lab/", bytes.NewReader(body))
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("reach the lab (is it still up?): %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", fmt.Errorf("read answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return "", errors.New(string(bytes.TrimSpace(text)))
	}
	return string(text), nil
}
