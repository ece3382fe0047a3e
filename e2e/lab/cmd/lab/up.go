// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/herald-lb/herald/e2e/lab"
	"github.com/herald-lb/herald/e2e/lab/internal/control"
)

// upFlags are what up hands on to the program it starts in the background.
type upFlags struct {
	topology, dir, controller, speaker string
	nodesOff                           bool
}

func (in *invocation) upFlags() *upFlags {
	f := &upFlags{}
	in.flags.StringVar(&f.topology, "t", "e2e/topologies/l2.clab.yml", "containerlab `file`")
	in.flags.StringVar(&f.dir, "dir", "", "`directory` for logs and data, kept afterwards")
	in.flags.StringVar(&f.controller, "controller", "", "controller binary (default bin/controller)")
	in.flags.StringVar(&f.speaker, "speaker", "", "speaker binary (default bin/speaker)")
	in.flags.BoolVar(&f.nodesOff, "nodes-off", false, "the control plane alone")
	return f
}

// options returns the lab's options, and settles the name.
func (in *invocation) options(f *upFlags) lab.Options {
	if f.nodesOff {
		f.topology = ""
	}
	if in.lab == "" {
		in.lab = lab.NameFor(strings.TrimSuffix(filepath.Base(f.topology), ".clab.yml"))
	}
	if in.lab == "" {
		in.lab = "api"
	}
	return lab.Options{
		Topology: f.topology, NodesOff: f.nodesOff, Name: in.lab, Dir: f.dir, Controller: f.controller, Speaker: f.speaker,
	}
}

// up starts the supervisor in a session of its own and shows its progress until
// the lab is ready.
func up(ctx context.Context, in *invocation) error {
	f := in.upFlags()
	if err := in.parse(0, 0); err != nil {
		return ignoreHelp(err)
	}
	name := in.options(f).Name
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer read.Close()
	args := []string{"supervise", "-name", name, "-t", f.topology, "-dir", f.dir, "-controller", f.controller, "-speaker", f.speaker}
	if f.nodesOff {
		args = append(args, "-nodes-off")
	}
	cmd := exec.Command(self, args...)
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start supervisor: %w", err)
	}
	write.Close()
	interrupted := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(unix.SIGTERM) }) // it may have ended
	defer interrupted()
	if err := follow(read); err != nil {
		_ = cmd.Wait() // it has said why
		return err
	}
	return describe(name)
}

// The lines of the pipe between supervisor and up begin with one of these.
const (
	lineProgress = "progress "
	lineReady    = "ready"
	lineError    = "error "
)

// follow shows progress until the lab is ready or has failed.
func follow(pipe *os.File) error {
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		line := lines.Text()
		if sentence, ok := strings.CutPrefix(line, lineProgress); ok {
			progress(sentence)
		}
		if line == lineReady {
			return nil
		}
		if reason, ok := strings.CutPrefix(line, lineError); ok {
			return errors.New(reason)
		}
	}
	return errors.New("the lab's program ended before the lab was up")
}

// describe tells what to do with a lab that is up.
func describe(name string) error {
	l, err := pick(name)
	if err != nil {
		return err
	}
	fmt.Printf(`lab %[1]s is up

  export KUBECONFIG=%[2]s
  kubectl get nodes                     (without kubectl: lab kubectl get nodes)
`, l.Name, l.Kubeconfig)
	if hosts, err := control.Call(context.Background(), l.Socket, control.Request{Command: "clients"}); err == nil && hosts != "" {
		fmt.Printf("  lab exec %s -- sh                a shell outside the cluster\n", strings.Fields(hosts)[0])
	}
	fmt.Printf(`  lab status                            its processes
  lab logs                              its logs
  lab help                              what can be broken
  lab down %s
`, l.Name)
	return nil
}

// supervise runs a lab until SIGTERM. It reports to up by file descriptor 3.
func supervise(ctx context.Context, in *invocation) error {
	f := in.upFlags()
	if err := in.parse(0, 0); err != nil {
		return ignoreHelp(err)
	}
	pipe := os.NewFile(3, "up")
	report := func(kind, text string) {
		// up may have been interrupted; the lab does not depend on its ear.
		_, _ = fmt.Fprintf(pipe, "%s%s\n", kind, strings.ReplaceAll(text, "\n", "; "))
	}
	err := superviseLab(ctx, in.options(f), report)
	if err != nil {
		report(lineError, err.Error())
	}
	return err
}

func superviseLab(ctx context.Context, o lab.Options, report func(kind, text string)) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	var level slog.LevelVar
	sink := &lateFile{}
	o.Log = slog.New(slog.NewJSONHandler(sink, &slog.HandlerOptions{Level: &level}))
	o.Pod = self
	o.Progress = func(sentence string) { report(lineProgress, sentence) }
	l, err := lab.Start(ctx, o)
	if err != nil {
		return err
	}
	if err := sink.open(filepath.Join(l.Dir(), "logs", "lab.log")); err != nil {
		return errors.Join(err, l.Close())
	}
	served := make(chan error, 1)
	serving, stop := context.WithCancel(ctx)
	go func() {
		served <- control.Serve(serving, l.Summary().Socket, func(ctx context.Context, r control.Request) (string, error) {
			return serve(ctx, l, r)
		})
	}()
	report(lineReady, "")
	<-ctx.Done()
	stop()
	return errors.Join(<-served, l.Close())
}
