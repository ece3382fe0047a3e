// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/lab/internal/control"
)

// commands are all of them, in the order in which help shows them.
func commands() []command {
	list := []command{
		{"up", "[-t TOPOLOGY]", "bring a lab up and leave it running; also -dir, -controller, -speaker, -nodes-off", up},
		{"down", "[LAB]", "take a lab down, and all that a crash has left of it", down},
		{"list", "", "list the labs of this machine", list},
		{"exec", "HOST [--] COMMAND...", "run a command on a host of the lab", execOn},
		{"kubectl", "ARGUMENT...", "run kubectl as the cluster's administrator", kubectl},
		{"logs", "[-f] [WORD]", "print the logs whose names contain a word, or their names", logs},
		{"build", "", "build the Kubernetes programs into the cache, and nothing else", build},
		{"supervise", "", "", supervise},
	}
	for _, v := range verbs() {
		list = append(list, command{v.name, v.args, v.about, remote(v)})
	}
	return list
}

// pick returns the lab of that name, or the only one.
func pick(name string) (lab.Summary, error) {
	labs, err := lab.List()
	if err != nil {
		return lab.Summary{}, err
	}
	if name == "" && len(labs) == 1 {
		return labs[0], nil
	}
	var names []string
	for _, l := range labs {
		if l.Name == name {
			return l, nil
		}
		names = append(names, l.Name)
	}
	switch {
	case len(labs) == 0:
		return lab.Summary{}, errors.New("there is no lab; lab up starts one")
	case name == "":
		return lab.Summary{}, usageError("which lab? say -name, one of " + strings.Join(names, ", "))
	}
	return lab.Summary{}, fmt.Errorf("there is no lab %q; there are %s", name, strings.Join(names, ", "))
}

func down(_ context.Context, in *invocation) error {
	if err := in.parse(0, 1); err != nil {
		return ignoreHelp(err)
	}
	if len(in.args) == 1 {
		in.lab = in.args[0]
	}
	l, err := pick(in.lab)
	if err != nil {
		return err
	}
	if err := lab.Remove(l.Name); err != nil {
		return err
	}
	fmt.Printf("lab %s is down\n", l.Name)
	return nil
}

func list(_ context.Context, in *invocation) error {
	if err := in.parse(0, 0); err != nil {
		return ignoreHelp(err)
	}
	labs, err := lab.List()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tPROCESS\tTOPOLOGY\tKUBECONFIG")
	for _, l := range labs {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", l.Name, state(l), l.PID, l.Topology, l.Kubeconfig)
	}
	return w.Flush()
}

func state(l lab.Summary) string {
	switch {
	case !l.Alive:
		return "dead"
	case !l.Ready:
		return "starting"
	}
	return "up"
}

// execOn replaces this process by the command, so that signals and the terminal
// are the command's.
func execOn(ctx context.Context, in *invocation) error {
	if err := in.parse(1, -1); err != nil {
		return ignoreHelp(err)
	}
	words := in.args[1:]
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	if len(words) == 0 {
		return usageError("exec: no command; such as: lab exec client1 -- ip neigh")
	}
	l, err := pick(in.lab)
	if err != nil {
		return err
	}
	host, err := lab.OpenHost(l.Name, in.args[0])
	if err != nil {
		return err
	}
	cmd := host.Command(ctx, words[0], words[1:]...)
	args := cmd.Args
	request := control.Request{Command: "nsenter-flags", Args: in.args[:1]}
	if flags, err := control.Call(ctx, l.Socket, request); err == nil { // a pod, or the lab's program is dead: none
		args = slices.Insert(args, 1, strings.Fields(flags)...)
	}
	return replace(cmd.Path, args, os.Environ())
}

func kubectl(_ context.Context, in *invocation) error {
	// Flags are kubectl's own; the lab is chosen by one that comes first.
	if len(in.args) > 1 && in.args[0] == "-name" {
		in.lab, in.args = in.args[1], in.args[2:]
	}
	l, err := pick(in.lab)
	if err != nil {
		return err
	}
	dir, err := lab.EnsureKubernetes(context.Background(), progress)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "kubectl")
	return replace(path, append([]string{path}, in.args...), append(os.Environ(), "KUBECONFIG="+l.Kubeconfig))
}

func replace(path string, args, env []string) error {
	if err := unix.Exec(path, args, env); err != nil {
		return fmt.Errorf("run %s: %w", path, err)
	}
	return nil
}

func logs(ctx context.Context, in *invocation) error {
	follow := in.flags.Bool("f", false, "go on as logs grow")
	if err := in.parse(0, 1); err != nil {
		return ignoreHelp(err)
	}
	l, err := pick(in.lab)
	if err != nil {
		return err
	}
	dir := filepath.Join(l.Dir, "logs")
	var files []string
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && (len(in.args) == 0 || strings.Contains(filepath.Base(path), in.args[0])) {
			files = append(files, path)
		}
		return err
	}); err != nil {
		return fmt.Errorf("find logs: %w", err)
	}
	if len(in.args) == 0 {
		fmt.Println(strings.Join(files, "\n"))
		return nil
	}
	if len(files) == 0 {
		return fmt.Errorf("find logs: no name in %s contains %q", dir, in.args[0])
	}
	args := []string{"-n", "+1"}
	if *follow {
		args = []string{"-n", "100", "-F"}
	}
	cmd := exec.CommandContext(ctx, "tail", append(args, files...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func build(ctx context.Context, in *invocation) error {
	if err := in.parse(0, 0); err != nil {
		return ignoreHelp(err)
	}
	dir, err := lab.EnsureKubernetes(ctx, progress)
	if err != nil {
		return err
	}
	fmt.Println(dir)
	return nil
}

func progress(sentence string) { fmt.Fprintln(os.Stderr, sentence) }

func ignoreHelp(err error) error {
	if errors.Is(err, errHelped) {
		return nil
	}
	return err
}
