// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Port is where a kubelet answers the API server, which asks for logs on behalf
// of kubectl.
const Port = 10250

// serveLogs answers for one node until ctx ends. Only the API server, by its
// certificate, is answered: config says so.
func (k *Kubelet) serveLogs(ctx context.Context, n *Node, config *tls.Config) error {
	l, err := n.Netns.Listen(ctx, "tcp", fmt.Sprintf(":%d", Port))
	if err != nil {
		return fmt.Errorf("listen for the API server on %s: %w", n.Name, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		path := LogPath(k.config.Dir, r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
		if err := copyLog(r.Context(), w, path, r); err != nil && !errors.Is(err, context.Canceled) {
			http.Error(w, err.Error(), http.StatusNotFound)
		}
	})
	server := &http.Server{
		Handler:           mux,
		TLSConfig:         config.Clone(), // the server adds to it
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(k.config.Log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer the API server on %s: %w", n.Name, err)
	}
	return nil
}

// copyLog writes a log, or its last lines, and goes on as it grows if asked to.
func copyLog(ctx context.Context, w http.ResponseWriter, path string, r *http.Request) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if lines, err := strconv.Atoi(r.URL.Query().Get("tailLines")); err == nil {
		if err := seekLines(f, lines); err != nil {
			return err
		}
	}
	follow, _ := strconv.ParseBool(r.URL.Query().Get("follow"))
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := io.Copy(w, f); err != nil || !follow {
			return err
		}
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// seekLines moves to where the last lines begin.
func seekLines(f *os.File, lines int) error {
	content, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	at := len(content)
	if at > 0 && content[at-1] == '\n' {
		at--
	}
	for ; lines > 0 && at >= 0; lines-- {
		at = bytes.LastIndexByte(content[:max(at, 0)], '\n')
	}
	_, err = f.Seek(int64(at+1), io.SeekStart)
	return err
}
