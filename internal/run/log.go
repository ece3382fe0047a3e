// SPDX-License-Identifier: Apache-2.0

package run

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// levelAll shows everything, client-go's own requests included: klog counts
// its verbosity upwards, slog its levels downwards, so this is klog's V(6).
const levelAll = slog.Level(-6)

// levelNone is above every level anything logs at.
const levelNone = slog.Level(1 << 16)

// LogLevel is the least important level that is logged. The zero value is
// "info". It is a [flag.Value].
type LogLevel struct{ level slog.Level }

// String returns the level's name on the command line.
func (l *LogLevel) String() string {
	for _, known := range logLevels() {
		if known.level == l.level {
			return known.name
		}
	}
	return l.level.String()
}

// Set reads the level's name on the command line.
func (l *LogLevel) Set(name string) error {
	names := make([]string, 0, len(logLevels()))
	for _, known := range logLevels() {
		if known.name == name {
			l.level = known.level
			return nil
		}
		names = append(names, known.name)
	}
	return fmt.Errorf("want one of %s", strings.Join(names, ", "))
}

type namedLevel struct {
	name  string
	level slog.Level
}

func logLevels() []namedLevel {
	return []namedLevel{
		{"all", levelAll},
		{"debug", slog.LevelDebug},
		{"info", slog.LevelInfo},
		{"warn", slog.LevelWarn},
		{"error", slog.LevelError},
		{"none", levelNone},
	}
}

// Logger returns a logger that writes one JSON object per line. Values that have a
// name for people are written by it: a Service as "namespace/name", a reason as a word,
// a duration with its unit.
func (l *LogLevel) Logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l.level, ReplaceAttr: byName}))
}

// byName is a [slog.HandlerOptions.ReplaceAttr].
func byName(_ []string, a slog.Attr) slog.Attr {
	if named, ok := a.Value.Any().(fmt.Stringer); ok && a.Value.Kind() != slog.KindTime {
		a.Value = slog.StringValue(named.String())
	}
	return a
}

// BridgeKlog sends what client-go says through klog to log, so that the process
// speaks with one voice; at level "all" client-go's requests are among it. klog
// is a global: call this once, before any client is made.
func BridgeKlog(log *slog.Logger, level LogLevel) {
	verbosity := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(verbosity)
	if level.level == levelAll {
		_ = verbosity.Set("v", strconv.Itoa(-int(levelAll))) // a constant that klog accepts
	}
	klog.SetLoggerWithOptions(logr.FromSlogHandler(log.Handler()), klog.ContextualLogger(true))
}
