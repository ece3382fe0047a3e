// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/lab/internal/control"
)

// verb is a command that the lab's own program carries out.
type verb struct {
	name, args  string
	about       string // empty hides it
	least, most int
	run         func(ctx context.Context, l *lab.Lab, args []string) (string, error)
}

// quiet makes a verb of something that has no answer.
func quiet(f func(ctx context.Context, l *lab.Lab, args []string) error) func(context.Context, *lab.Lab, []string) (string, error) {
	return func(ctx context.Context, l *lab.Lab, args []string) (string, error) { return "", f(ctx, l, args) }
}

// first makes a verb of a method with one argument.
func first(f func(l *lab.Lab, arg string) error) func(context.Context, *lab.Lab, []string) (string, error) {
	return quiet(func(_ context.Context, l *lab.Lab, args []string) error { return f(l, args[0]) })
}

// node makes a verb of a method of a node.
func node(f func(ctx context.Context, n *lab.Node) error) func(context.Context, *lab.Lab, []string) (string, error) {
	return quiet(func(ctx context.Context, l *lab.Lab, args []string) error {
		n, err := l.Node(args[0])
		if err != nil {
			return err
		}
		return f(ctx, n)
	})
}

func verbs() []verb {
	return []verb{
		{"status", "", "show the lab's processes", 0, 0, status},
		{"cut", "END", "unplug a cable", 1, 1, first((*lab.Lab).CutLink)},
		{"restore", "END", "plug it in again", 1, 1, first((*lab.Lab).RestoreLink)},
		{"lose", "END PERCENT", "drop frames of a link at random; 0 stops that", 2, 2, quiet(lose)},
		{"partition", "HOSTS HOSTS", "drop all frames between two sets of hosts", 2, 2, quiet(partition)},
		{"silence", "HOSTS HOSTS", "drop all frames from one set of hosts to another", 2, 2, quiet(silence)},
		{"heal", "", "end all partitions and silences", 0, 0, quiet(func(ctx context.Context, l *lab.Lab, _ []string) error { return l.Heal(ctx) })},
		{"isolate", "NODE", "unplug all cables of a node", 1, 1, node(func(_ context.Context, n *lab.Node) error { return n.Isolate() })},
		{"rejoin", "NODE", "plug them in again", 1, 1, node(func(_ context.Context, n *lab.Node) error { return n.Rejoin() })},
		{"power-off", "NODE", "end a node at once, cables and processes", 1, 1, node(func(ctx context.Context, n *lab.Node) error { return n.Kill(ctx) })},
		{"power-on", "NODE", "start it again", 1, 1, node(func(_ context.Context, n *lab.Node) error { return n.Revive() })},
		{"pause", "TARGET", "stop a process where it is", 1, 1, first((*lab.Lab).Pause)},
		{"continue", "TARGET", "let it go on", 1, 1, first((*lab.Lab).Continue)},
		{"kill", "TARGET", "kill a process; it is started again", 1, 1, first((*lab.Lab).Kill)},
		{"terminate", "TARGET", "ask a process to end; it is started again", 1, 1, first((*lab.Lab).Terminate)},
		{"apiserver", "stop|start|restart", "stop or start the API server", 1, 1, quiet(apiServer)},
		{"ready", "NAMESPACE/POD true|false", "override a pod's readiness", 2, 2, quiet(ready)},
		{"clients", "", "", 0, 0, clients},
		{"nsenter-flags", "", "", 1, 1, nsenterFlags},
	}
}

// remote is the command line's side of a verb.
func remote(v verb) func(ctx context.Context, in *invocation) error {
	return func(ctx context.Context, in *invocation) error {
		if err := in.parse(v.least, v.most); err != nil {
			return ignoreHelp(err)
		}
		l, err := pick(in.lab)
		if err != nil {
			return err
		}
		answer, err := control.Call(ctx, l.Socket, control.Request{Command: v.name, Args: in.args})
		if err != nil {
			return err
		}
		fmt.Print(answer)
		return nil
	}
}

// serve is the lab's side.
func serve(ctx context.Context, l *lab.Lab, r control.Request) (string, error) {
	for _, v := range verbs() {
		if v.name != r.Command {
			continue
		}
		if n := len(r.Args); n < v.least || n > v.most {
			return "", fmt.Errorf("%s: has %d arguments, want %s", v.name, n, v.args)
		}
		return v.run(ctx, l, r.Args)
	}
	return "", fmt.Errorf("unknown command %q", r.Command)
}

func status(_ context.Context, l *lab.Lab, _ []string) (string, error) {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TARGET\tPROCESS\tRESTARTS")
	for _, r := range l.Status() {
		fmt.Fprintf(w, "%s\t%d\t%d\n", r.Target, r.PID, r.Restarts)
	}
	err := w.Flush()
	return text.String(), err
}

func lose(ctx context.Context, l *lab.Lab, args []string) error {
	percent, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("lose frames: %q, want a whole number of percent", args[1])
	}
	return l.Lose(ctx, args[0], percent)
}

func partition(ctx context.Context, l *lab.Lab, args []string) error {
	return l.Partition(ctx, strings.Split(args[0], ","), strings.Split(args[1], ","))
}

func silence(ctx context.Context, l *lab.Lab, args []string) error {
	return l.Silence(ctx, strings.Split(args[0], ","), strings.Split(args[1], ","))
}

func apiServer(ctx context.Context, l *lab.Lab, args []string) error {
	switch args[0] {
	case "stop":
		return l.StopAPIServer(ctx)
	case "start":
		return l.StartAPIServer(ctx)
	case "restart":
		return l.RestartAPIServer(ctx)
	}
	return fmt.Errorf("apiserver: %q, want stop, start or restart", args[0])
}

func ready(ctx context.Context, l *lab.Lab, args []string) error {
	namespace, pod, ok := strings.Cut(args[0], "/")
	value, err := strconv.ParseBool(args[1])
	if !ok || err != nil {
		return fmt.Errorf("ready: %q %q, want NAMESPACE/POD true or false", args[0], args[1])
	}
	return l.SetReady(ctx, namespace, pod, value)
}

func clients(_ context.Context, l *lab.Lab, _ []string) (string, error) {
	var names []string
	for _, c := range l.Clients() {
		names = append(names, c.Name())
	}
	return strings.Join(names, " "), nil
}

// nsenterFlags returns how to enter what a host has besides its network.
func nsenterFlags(_ context.Context, l *lab.Lab, args []string) (string, error) {
	h, err := l.Host(args[0])
	if err != nil {
		return "", err
	}
	return strings.Join(h.NsenterFlags(), " "), nil
}
