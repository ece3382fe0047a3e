// SPDX-License-Identifier: Apache-2.0

package run

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func discard() *slog.Logger {
	return slog.New(slog.DiscardHandler)
}
