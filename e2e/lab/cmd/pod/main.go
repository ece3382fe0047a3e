// SPDX-License-Identifier: Apache-2.0

// Command pod is the process that the lab starts for each container.
package main

import (
	"os"

	"github.com/herald-lb/herald/e2e/lab/internal/pod"
)

func main() { os.Exit(pod.Main(os.Args[1:])) }
