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

// logLevels are memberlist's levels. Its errors are those of single packets and
// probes, which is what a dying neighbour looks like: nothing that needs a human.
var logLevels = [...]struct {
	prefix string
	level  slog.Level
}{
	{"[DEBUG] ", slog.LevelDebug},
	{"[INFO] ", slog.LevelInfo},
	{"[WARN] ", slog.LevelWarn},
	{"[ERR] ", slog.LevelWarn},
}

// Write logs one line.
func (w *logWriter) Write(line []byte) (int, error) {
	text, level := bytes.TrimSpace(line), slog.LevelInfo
	for _, l := range logLevels {
		if rest, ok := bytes.CutPrefix(text, []byte(l.prefix)); ok {
			text, level = rest, l.level
			break
		}
	}
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
