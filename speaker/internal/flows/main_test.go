// SPDX-License-Identifier: Apache-2.0

package flows_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

func TestMain(m *testing.M) {
	linktest.Isolate()
	goleak.VerifyTestMain(m)
}
