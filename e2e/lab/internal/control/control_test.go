// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCall(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	if _, err := Call(t.Context(), socket, Request{Command: "x"}); err == nil || !strings.Contains(err.Error(), "still up") {
		t.Errorf("calling nobody: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, socket, func(_ context.Context, r Request) (string, error) {
			if r.Command == "fail" {
				return "", errors.New("it is " + strings.Join(r.Args, " and "))
			}
			return strings.Join(r.Args, "+"), nil
		})
	}()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for _, err := os.Stat(socket); err != nil; _, err = os.Stat(socket) {
		<-ticker.C
	}
	if answer, err := Call(ctx, socket, Request{Command: "join", Args: []string{"a", "b"}}); answer != "a+b" || err != nil {
		t.Errorf("answer %q, %v", answer, err)
	}
	if _, err := Call(ctx, socket, Request{Command: "fail", Args: []string{"bad", "ugly"}}); err == nil || err.Error() != "it is bad and ugly" {
		t.Errorf("error %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
