// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/herald-lb/herald/e2e/lab"
)

// router is a router beside the node. It is asked over the socket of its own command line
// tool, so that a question costs it and us as little as possible.
type router struct {
	*lab.Host
	asn     uint32
	address netip.Addr
	// sources are the node's addresses on the cable.
	sources []string
	link    string // the router's
	// prefixes returns how many prefixes of IPv4 its BGP table has, has whether it has one.
	prefixes func() (int, error)
	has      func(netip.Prefix) (bool, error)
	stop     func() error
}

// vtyAnswer is how long a router may take to answer, with a table to digest.
const vtyAnswer = time.Minute

// dialFRR connects to bgpd as vtysh does: a command ends with a null octet, an answer with
// three of them and a status.
func dialFRR(l *lab.Lab) (*router, error) {
	host, err := l.Router("frr")
	if err != nil {
		return nil, err
	}
	pid, err := l.PID("frr/bgpd")
	if err != nil {
		return nil, err
	}
	zebra, err := l.PID("frr/zebra")
	if err := errors.Join(err, hurry(pid), hurry(zebra)); err != nil {
		return nil, err
	}
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/%d/root/run/frr/bgpd.vty", pid))
	if err != nil {
		return nil, fmt.Errorf("connect to bgpd: %w", err)
	}
	in := bufio.NewReader(conn)
	ask := func(command string) ([]byte, error) { return askFRR(conn, in, command) }
	return &router{
		Host: host, asn: 64513, address: netip.MustParseAddr("192.0.2.1"), sources: []string{"192.0.2.11", "192.0.2.12"}, link: "eth1",
		prefixes: func() (int, error) {
			answer, err := ask("show bgp ipv4 unicast summary json")
			if err != nil {
				return 0, err
			}
			return receivedByFRR(answer), nil
		},
		has: func(p netip.Prefix) (bool, error) {
			answer, err := ask("show bgp ipv4 unicast " + p.String() + " json")
			return err == nil && frrHas(answer, p), err
		},
		stop: conn.Close,
	}, nil
}

// frrHas says whether an answer is about this prefix, and not one that contains it.
func frrHas(answer []byte, p netip.Prefix) bool {
	var entry struct {
		Prefix string            `json:"prefix"`
		Paths  []json.RawMessage `json:"paths"`
	}
	return json.Unmarshal(answer, &entry) == nil && entry.Prefix == p.String() && len(entry.Paths) > 0
}

func askFRR(conn net.Conn, in *bufio.Reader, command string) (answer []byte, err error) {
	if err := conn.SetDeadline(time.Now().Add(vtyAnswer)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(append([]byte(command), 0)); err != nil {
		return nil, fmt.Errorf("ask bgpd: %w", err)
	}
	for {
		piece, err := in.ReadBytes(0)
		if err != nil {
			return nil, fmt.Errorf("read from bgpd: %w", err)
		}
		answer = append(answer, piece...)
		if !bytes.HasSuffix(answer, []byte{0, 0, 0}) {
			continue
		}
		if _, err := in.ReadByte(); err != nil {
			return nil, fmt.Errorf("read from bgpd: %w", err)
		}
		return answer[:len(answer)-3], nil
	}
}

// receivedByFRR returns the prefixes of the peer that has sent the most. An answer that is
// not JSON says that there are no peers.
func receivedByFRR(answer []byte) (most int) {
	var table struct {
		Peers map[string]struct {
			Received int `json:"pfxRcd"`
		} `json:"peers"`
	}
	if json.Unmarshal(answer, &table) != nil {
		return 0
	}
	for _, p := range table.Peers {
		most = max(most, p.Received)
	}
	return most
}

// startBIRD starts BIRD, which the lab does not by itself, and connects to it as birdc does:
// each line of an answer begins with a number or a blank, and the last has a blank after it.
func startBIRD(ctx context.Context, l *lab.Lab) (*router, error) {
	host, err := l.Client("bird")
	if err != nil {
		return nil, err
	}
	config, err := filepath.Abs("e2e/topologies/bench-bgp/bird.conf")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(l.Dir(), "bird.ctl")
	cmd := host.Command(context.WithoutCancel(ctx), "bird", "-f", "-c", config, "-s", socket)
	p, err := start("bird", cmd)
	if err != nil {
		return nil, err
	}
	stop := func() error { return kill(cmd, p.exited) }
	conn, in, err := dialBIRD(ctx, socket)
	err = errors.Join(err, hurry(cmd.Process.Pid))
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	ask := func(command string) (string, error) { return askBIRD(conn, in, command) }
	count := regexp.MustCompile(`for (\d+) networks in table master4`)
	return &router{
		Host: host, asn: 64514, address: netip.MustParseAddr("203.0.113.1"), sources: []string{"203.0.113.11", "203.0.113.12"}, link: "eth1",
		prefixes: func() (int, error) {
			answer, err := ask("show route count")
			n := 0
			if m := count.FindStringSubmatch(answer); m != nil {
				n, _ = strconv.Atoi(m[1]) // digits
			}
			return n, err
		},
		has: func(p netip.Prefix) (bool, error) {
			answer, err := ask("show route " + p.String())
			return strings.Contains(answer, p.String()), err
		},
		stop: func() error { return errors.Join(conn.Close(), stop()) },
	}, nil
}

func kill(cmd *exec.Cmd, exited <-chan error) error {
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	var ended *exec.ExitError
	if err := <-exited; err != nil && !errors.As(err, &ended) { // that it was killed is no news
		return err
	}
	return nil
}

func dialBIRD(ctx context.Context, socket string) (conn net.Conn, in *bufio.Reader, err error) {
	for range 100 {
		if conn, err = net.Dial("unix", socket); err == nil {
			in = bufio.NewReader(conn)
			_, err = in.ReadString('\n') // it says who it is
			return conn, in, err
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, fmt.Errorf("connect to BIRD: %w", err)
}

var lastOfBIRD = regexp.MustCompile(`^\d{4} `)

func askBIRD(conn net.Conn, in *bufio.Reader, command string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(vtyAnswer)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return "", fmt.Errorf("ask BIRD: %w", err)
	}
	var answer strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("read from BIRD: %w", err)
		}
		answer.WriteString(line)
		if lastOfBIRD.MatchString(line) {
			return answer.String(), nil
		}
	}
}

// await returns when the router's table has n prefixes, and when that was.
func (r *router) await(ctx context.Context, n int) (time.Time, error) {
	const patience = 4 * time.Minute
	have := 0
	for begin := time.Now(); time.Since(begin) < patience; {
		var err error
		if have, err = r.prefixes(); err != nil || have == n {
			return time.Now(), err
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, fmt.Errorf("%s has %d prefixes, and never the %d it should", r.Name(), have, n)
}

// awaitOne returns when the router has a prefix, or has it no longer.
func (r *router) awaitOne(ctx context.Context, p netip.Prefix, there bool) (time.Time, error) {
	const patience = 20 * time.Second
	for begin := time.Now(); time.Since(begin) < patience; {
		if has, err := r.has(p); err != nil || has == there {
			return time.Now(), err
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, fmt.Errorf("%s: that it has %s should be %v, and is not", r.Name(), p, there)
}

// hurry has a process go before others, as if it had a processor of its own: a router has.
func hurry(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, thread := range threads {
		id, _ := strconv.Atoi(filepath.Base(thread)) // the kernel has numbers there
		err = errors.Join(err, syscall.Setpriority(syscall.PRIO_PROCESS, id, -20))
	}
	return err
}
