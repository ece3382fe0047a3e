// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// A lab lives as long as the program that started it. One that is to be kept is
// therefore played by a second demo, in a session of its own; the first one returns to
// the terminal when the story is told.

// envTold names, to the second demo, the file descriptor to close when the story is told.
const (
	envTold = "HERALD_DEMO_TOLD"
	fdTold  = 3
)

// playInBackground starts the second demo, and returns its exit status, or 0 as soon as
// it has told its story.
func playInBackground(ctx context.Context) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find own program: %w", err)
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return 1, fmt.Errorf("make pipe: %w", err)
	}
	defer told.Close()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envTold+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{tell} // becomes fdTold
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	tell.Close()
	if err != nil {
		return 1, fmt.Errorf("start demo in the background: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) // it may have ended
	defer stop()

	if n, _ := told.Read(make([]byte, 1)); n == 1 {
		return 0, nil
	}
	err = cmd.Wait() // the pipe was closed without a word
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 1, err
}

// toldInBackground tells the first demo that the story has been told, and lets go of the
// terminal.
func toldInBackground() error {
	told := os.NewFile(fdTold, "told")
	defer told.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for _, fd := range []int{1, 2} {
		if err := syscall.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("let go of the terminal: %w", err)
		}
	}
	_, err = told.Write([]byte{1})
	return err
}
