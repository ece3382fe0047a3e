// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	gobgplog "github.com/osrg/gobgp/v3/pkg/log"

	"github.com/herald-lb/herald/internal/lb"
)

// Keys of log records that only this package writes.
const (
	logKeyPeer         = "peer"
	logKeyState        = "state"
	logKeyNotification = "notification"
	logKeyFields       = "fields"
)

// logger takes gobgp's log records. It also reads them: gobgp v3 tells nobody but its
// log when a deleted peer is really gone.
type logger struct {
	listener atomic.Pointer[listener]
}

// listener is who uses the speaker at the moment. Its functions are called on gobgp's
// goroutines: they must not block, nor call gobgp.
type listener struct {
	log   *slog.Logger
	freed func()
}

// logFreed is the one message of gobgp that means something here.
const logFreed = "freed fsm.h"

// Panic reports that gobgp is in a state it calls impossible, and panics.
func (l *logger) Panic(msg string, fields gobgplog.Fields) {
	l.write(slog.LevelError, msg, fields)
	panic("bgp: gobgp: " + msg)
}

// Fatal is as Panic: to end the process is not a library's business.
func (l *logger) Fatal(msg string, fields gobgplog.Fields) { l.Panic(msg, fields) }

// Error logs what gobgp calls an error.
func (l *logger) Error(msg string, fields gobgplog.Fields) { l.write(slog.LevelWarn, msg, fields) }

// Warn logs at debug level: what gobgp warns of are the ordinary ends of sessions,
// which this package reports itself, once and in words.
func (l *logger) Warn(msg string, fields gobgplog.Fields) {
	l.write(slog.LevelDebug, msg, fields)
}

// Info logs at debug level.
func (l *logger) Info(msg string, fields gobgplog.Fields) { l.write(slog.LevelDebug, msg, fields) }

// Debug logs at debug level.
func (l *logger) Debug(msg string, fields gobgplog.Fields) {
	if to := l.listener.Load(); to != nil && msg == logFreed {
		to.freed()
	}
	l.write(slog.LevelDebug, msg, fields)
}

// SetLevel has no effect: the level is that of the slog.Logger.
func (l *logger) SetLevel(gobgplog.LogLevel) {}

// GetLevel returns the level that gobgp needs to ask for before it makes a record of
// every message.
func (l *logger) GetLevel() gobgplog.LogLevel {
	if to := l.listener.Load(); to != nil && to.log.Enabled(context.Background(), slog.LevelDebug) {
		return gobgplog.DebugLevel
	}
	return gobgplog.InfoLevel
}

func (l *logger) write(level slog.Level, msg string, fields gobgplog.Fields) {
	to, ctx := l.listener.Load(), context.Background()
	if to == nil || !to.log.Enabled(ctx, level) {
		return
	}
	to.log.Log(ctx, level, "gobgp", lb.LogKeyMessage, msg, logKeyFields, joinFields(fields))
}

// joinFields writes the fields in one line, but for those that every record has.
func joinFields(fields gobgplog.Fields) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		if k != "Topic" && k != "Key" {
			words = append(words, fmt.Sprintf("%s=%v", k, fields[k]))
		}
	}
	return strings.Join(words, " ")
}
