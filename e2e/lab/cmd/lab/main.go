// SPDX-License-Identifier: Apache-2.0

// Command lab brings up a Kubernetes cluster in network namespaces, breaks it on
// request, and takes it down without a trace. docs/lab.md is its manual.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/e2e/lab/internal/pod"
)

func main() { os.Exit(run()) }

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

func run() int {
	args := os.Args[1:]
	if len(args) > 0 && pod.Known(args[0]) {
		return pod.Main(args)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	err := dispatch(ctx, args)
	var wrong usageError
	var exit *exec.ExitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintln(os.Stderr, "lab:", oneLine(err))
		return exitUsage
	case errors.As(err, &exit):
		return exit.ExitCode() // the command has said why
	}
	fmt.Fprintln(os.Stderr, "lab:", err)
	return exitFailure
}

// usageError is a mistake of whoever typed the command.
type usageError string

func (e usageError) Error() string { return string(e) }

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// command is what a first argument means.
type command struct {
	name  string
	args  string
	about string
	run   func(ctx context.Context, c *invocation) error
}

// invocation is one use of a command.
type invocation struct {
	flags *flag.FlagSet
	lab   string   // of -name
	args  []string // after the flags
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		help(os.Stdout)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.invoke(ctx, args[1:])
		}
	}
	return usageError(fmt.Sprintf("unknown command %q; lab help lists them", args[0]))
}

func (c command) invoke(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	in := &invocation{flags: flags}
	flags.StringVar(&in.lab, "name", "", "the lab's `name`; not needed if there is one lab only")
	in.args = args
	return c.run(ctx, in)
}

// parse reads the flags and checks the number of arguments that follow them; a
// negative most means any number.
func (in *invocation) parse(least, most int) error {
	err := in.flags.Parse(in.args)
	if errors.Is(err, flag.ErrHelp) {
		help(os.Stdout)
		return errHelped
	}
	if err != nil {
		return usageError(in.flags.Name() + ": " + err.Error())
	}
	in.args = in.flags.Args()
	if n := len(in.args); n < least || (most >= 0 && n > most) {
		return usageError(fmt.Sprintf("%s: has %d arguments; lab help shows which it takes", in.flags.Name(), n))
	}
	return nil
}

// errHelped ends a command that was asked for help only.
var errHelped = errors.New("helped")

func help(w io.Writer) {
	fmt.Fprintln(w, "usage: lab COMMAND [-name LAB] [ARGUMENT...]")
	for _, c := range commands() {
		if c.about == "" {
			continue // for programs, not for people
		}
		fmt.Fprintf(w, "  %-38s %s\n", strings.TrimSpace(c.name+" "+c.args), c.about)
	}
	fmt.Fprintln(w, `
END is one end of a link (k8s-worker:eth1). TARGET is a process: NODE/CONTAINER, NODE/POD, NODE/kube-proxy,
or control-plane/PROGRAM. HOSTS are names with commas between.`)
}
