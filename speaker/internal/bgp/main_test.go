// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"testing"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

func TestMain(m *testing.M) {
	linktest.Isolate()
	m.Run()
}
