// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

func TestMain(m *testing.M) {
	linktest.Isolate()
	if routes := os.Getenv(asSpeaker); routes != "" {
		fmt.Fprintln(os.Stderr, beSpeaker(routes))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m,
		// See Goroutines in the package's documentation: gobgp's loops never end.
		goleak.IgnoreAnyFunction("github.com/osrg/gobgp/v3/pkg/server.(*BgpServer).Serve"),
	)
}
