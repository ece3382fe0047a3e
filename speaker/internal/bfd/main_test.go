// SPDX-License-Identifier: Apache-2.0

package bfd

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/herald-lb/herald/speaker/internal/link/linktest"
)

func TestMain(m *testing.M) {
	if count := os.Getenv(mirrorOf); count != "" {
		if err := mirror(count); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	linktest.Isolate()
	goleak.VerifyTestMain(m)
}
