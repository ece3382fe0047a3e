// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"github.com/herald-lb/herald/internal/lb"
)

func TestLogLevels(t *testing.T) {
	tests := []struct{ level, want string }{
		{"all", "trace debug info warn error"},
		{"debug", "debug info warn error"},
		{"info", "info warn error"},
		{"warn", "warn error"},
		{"error", "error"},
		{"none", ""},
	}
	for _, tt := range tests {
		t.Run(tt.level, func(t *testing.T) {
			var level LogLevel
			if err := level.Set(tt.level); err != nil {
				t.Fatal(err)
			}
			if level.String() != tt.level {
				t.Errorf("String() = %q", level.String())
			}
			var lines strings.Builder
			log := level.Logger(&lines)
			log.Log(context.Background(), levelAll, "trace")
			log.Debug("debug")
			log.Info("info")
			log.Warn("warn")
			log.Error("error")
			if got := strings.Join(messages(t, lines.String()), " "); got != tt.want {
				t.Errorf("logged %q, want %q", got, tt.want)
			}
		})
	}
}

func TestZeroLogLevelIsInfo(t *testing.T) {
	var level LogLevel
	if level.String() != "info" || level.Logger(nil).Enabled(context.Background(), slog.LevelDebug) {
		t.Errorf("zero value is %s", &level)
	}
}

func TestValuesAreLoggedByName(t *testing.T) {
	var lines strings.Builder
	var level LogLevel
	level.Logger(&lines).Info("m", lb.LogKeyService, lb.ServiceName{Namespace: "default", Name: "web"},
		lb.LogKeyReason, lb.ReasonNoPool, lb.LogKeyIP, netip.MustParseAddr("192.0.2.1"), lb.LogKeyCount, 7, "after", 1500*time.Millisecond)
	for _, want := range []string{`"service":"default/web"`, `"reason":"NoPool"`, `"ip":"192.0.2.1"`, `"count":7`, `"after":"1.5s"`, `"level":"INFO"`} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("no %s in %s", want, lines.String())
		}
	}
}

func TestKlogSpeaksThroughSlog(t *testing.T) {
	t.Cleanup(klog.ClearLogger)
	var lines strings.Builder
	var level LogLevel
	BridgeKlog(level.Logger(&lines), level)
	klog.ErrorS(nil, "watch ended", "object", "services")
	klog.V(6).Info("not at level info")
	klog.Background().Info("contextual")
	if got := strings.Join(messages(t, lines.String()), ","); got != "watch ended,contextual" {
		t.Errorf("messages = %s", got)
	}
	if !strings.Contains(lines.String(), `"object":"services"`) {
		t.Errorf("the key is lost: %s", lines.String())
	}
}

// messages returns the msg of every line, each of which must be JSON.
func messages(t *testing.T, lines string) []string {
	t.Helper()
	var messages []string
	for line := range strings.Lines(lines) {
		var record struct{ Msg string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		messages = append(messages, record.Msg)
	}
	return messages
}
