// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"bytes"
	"context"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// Keys of log records that only this package writes.
const (
	logKeyEvent = "event"
	logKeyStep  = "step"
)

const (
	// logBudget bounds the records per logWindow above debug level: a stranger with a
	// wrong key must not fill the log, packet by packet.
	logBudget = 50
	logWindow = 10 * time.Second
)

// newLogger returns a logger for memberlist that writes to to.
func newLogger(to *slog.Logger, now func() time.Time) *log.Logger {
	return log.New(&logWriter{to: to, now: now}, "", 0)
}

// logWriter turns memberlist's lines into records. Each call of Write is one line.
type logWriter struct {
	to  *slog.Logger
	now func() time.Time

	mu         sync.Mutex // guards the budget
	windowEnds time.Time
	spent      int
}

// levelOf splits a line into memberlist's level and the rest. Its errors are those of
// single packets and probes, which is what a dying neighbour looks like: nothing that
// needs a human.
func levelOf(line []byte) (slog.Level, []byte) {
	prefix, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return slog.LevelInfo, line
	}
	switch string(prefix) {
	case "[DEBUG]":
		return slog.LevelDebug, rest
	case "[INFO]":
		return slog.LevelInfo, rest
	case "[WARN]", "[ERR]":
		return slog.LevelWarn, rest
	}
	return slog.LevelInfo, line
}

// Write logs one line.
func (w *logWriter) Write(line []byte) (int, error) {
	level, text := levelOf(bytes.TrimSpace(line))
	ctx := context.Background()
	if !w.to.Enabled(ctx, level) || level > slog.LevelDebug && !w.spend() {
		return len(line), nil
	}
	text = bytes.TrimPrefix(text, []byte("memberlist: "))
	w.to.Log(ctx, level, "memberlist", lb.LogKeyMessage, string(text))
	return len(line), nil
}

// spend takes one record from the budget, and says so when it is the last.
func (w *logWriter) spend() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := w.now(); !now.Before(w.windowEnds) {
		w.windowEnds, w.spent = now.Add(logWindow), 0
	}
	w.spent++
	if w.spent == logBudget {
		w.to.Warn("memberlist logs too much, the rest is dropped for some seconds")
	}
	return w.spent < logBudget
}
