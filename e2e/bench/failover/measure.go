// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// measure does all that was asked for, in one lab for each number of nodes.
func measure(ctx context.Context, o options) (results []result, err error) {
	begin := time.Now()
	say := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	for _, nodes := range o.nodes {
		found, err := measureNodes(ctx, o, nodes, say)
		results = append(results, found...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

func measureNodes(ctx context.Context, o options, nodes int, say func(string, ...any)) (results []result, err error) {
	dir, err := os.MkdirTemp("", "failover")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(ctx, o, nodes, dir, say)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.lab.Close()) }()
	for _, addresses := range o.addresses {
		if err := w.serve(ctx, addresses); err != nil {
			return results, err
		}
		found, err := w.measureAll(ctx, addresses)
		results = append(results, found...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

// measureAll measures every fault, or what happens without any.
func (w *world) measureAll(ctx context.Context, addresses int) (results []result, err error) {
	w.home = nil // what is created may have moved what was there
	if _, err := w.awaitSettled(ctx); err != nil {
		return nil, err
	}
	stop, err := w.burden(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if w.soak > 0 {
		r, err := w.endure(ctx, addresses)
		return []result{r}, err
	}
	for _, fault := range w.faults {
		found, err := w.measureFault(ctx, fault, addresses)
		results = append(results, found...)
		if err != nil {
			return results, fmt.Errorf("%s, %d nodes, %d addresses: %w", fault, len(w.announcers), addresses, err)
		}
	}
	return results, nil
}

func (w *world) measureFault(ctx context.Context, fault string, addresses int) ([]result, error) {
	switch fault {
	case "partition", "oneway":
		r, err := w.repeatPartition(ctx, fault, addresses)
		return []result{r}, err
	case "roll", "drain":
		return w.repeatLeaving(ctx, fault, addresses)
	}
	return w.repeat(ctx, fault, addresses)
}

// burden loads the machine and the network as asked for.
func (w *world) burden(ctx context.Context) (stop func() error, err error) {
	var loops []*exec.Cmd
	stop = func() error {
		for _, c := range loops {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		return w.lose(ctx, 0)
	}
	for range w.load {
		c := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			return nil, errors.Join(err, stop())
		}
		loops = append(loops, c)
	}
	if err := w.lose(ctx, w.loss); err != nil {
		return nil, errors.Join(err, stop())
	}
	return stop, nil
}

// lose makes all links of nodes lose so many percent of their frames.
func (w *world) lose(ctx context.Context, percent int) error {
	if w.loss == 0 {
		return nil
	}
	var errs []error
	for _, n := range w.lab.Nodes() {
		for _, link := range []string{"eth0", lanLink} {
			errs = append(errs, w.lab.Lose(ctx, n.Name()+":"+link, percent))
		}
	}
	return errors.Join(errs...)
}
