// SPDX-License-Identifier: Apache-2.0

// Package pod is what a pod's process is before and instead of its program: the
// step from a process to a container, and the lab's own program, echo.
//
// It owns the argument words by which a binary is called for either, and for what
// holds a router's namespaces. It must not
// know about the lab, so that the binary stays small: every pod starts it.
//
// No goroutines but those of echo.
package pod

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/e2e/lab/internal/container"
	"github.com/herald-lb/herald/e2e/lab/internal/echo"
	"github.com/herald-lb/herald/e2e/lab/internal/router"
)

// The first arguments that a binary hands to Main.
const (
	// Container turns the process into a container.
	Container = "container"
	// Echo serves.
	Echo = "echo"
	// Router holds the namespaces of a router.
	Router = "router"
)

// defaultPort is where echo listens if it is not told.
const defaultPort = 8080

// Known says whether Main knows the word.
func Known(word string) bool { return word == Container || word == Echo || word == Router }

// Main does what the first argument says and returns the exit status.
func Main(args []string) int {
	var err error
	switch {
	case len(args) == 1 && args[0] == Container:
		err = container.Become()
	case len(args) == 3 && args[0] == Router:
		err = router.Hold(args[1], args[2])
	case len(args) > 0 && args[0] == Echo:
		err = serve(args[1:])
	default:
		fmt.Fprintf(os.Stderr, "usage: %s %s | %s [PORT...] | %s NAME DIRECTORY\n", os.Args[0], Container, Echo, Router)
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(words []string) error {
	ports := []uint16{defaultPort}
	if len(words) > 0 {
		ports = nil
	}
	for _, word := range words {
		port, err := strconv.ParseUint(strings.TrimPrefix(word, "--port="), 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("read ports: %q, want a number from 1 to 65535", word)
		}
		ports = append(ports, uint16(port))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	return echo.Server{
		Node: os.Getenv("LAB_NODE"), Pod: os.Getenv("LAB_POD"), Namespace: os.Getenv("LAB_NAMESPACE"),
		Ports: ports,
	}.Serve(ctx)
}
