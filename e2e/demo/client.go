// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
)

// visit has the client ask each address once and look at its neighbour table: the
// hardware address there is the node that announces.
func (d *demo) visit(ctx context.Context) error {
	for _, addr := range d.addrs {
		d.tell.say("> client1$ curl http://%s/", inURL(addr))
		var pod, podNode string
		err := expect(ctx, "an answer from "+addr.String(), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			reply, err := d.client.Echo(ctx, "http", netip.AddrPortFrom(addr, 80).String())
			pod, podNode = reply.Pod, reply.Node
			return err
		})
		if err != nil {
			return err
		}
		mac, node, err := d.announcer(addr)
		if err != nil {
			return err
		}
		d.tell.showf("answered by %s on %s", pod, podNode)
		d.tell.showf("the client's neighbour table: %s is at %s, which is %s", addr, mac, node)
		d.owner = node
	}
	return nil
}

// inURL returns addr as URLs have it (RFC 3986 section 3.2.2).
func inURL(addr netip.Addr) string {
	if addr.Is6() {
		return "[" + addr.String() + "]"
	}
	return addr.String()
}

// announcer returns what the client's neighbour table has for addr.
func (d *demo) announcer(addr netip.Addr) (mac, node string, err error) {
	hardware, err := d.client.MACOf(addr)
	if err != nil {
		return "", "", err
	}
	mac = hardware.String()
	node, ok := d.nodeOf[mac]
	if !ok {
		return "", "", fmt.Errorf("%s is at %s, which is no node of ours", addr, mac)
	}
	return mac, node, nil
}

const (
	connectEvery = 10 * time.Millisecond
	connectLimit = 200 * time.Millisecond
	// enough is how many answers, of those that a client gets in a row, are back to normal.
	enough = 100
)

// cutOff takes all links of the announcing node down while the client connects, and
// tells what the client saw.
func (d *demo) cutOff(ctx context.Context) error {
	d.tell.say("")
	d.tell.say("The client now connects to both addresses every %d ms.", connectEvery.Milliseconds())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var records []*probe.Probe
	stopped := make(chan struct{}, len(d.addrs))
	for _, addr := range d.addrs {
		p := probe.New(connectEvery, connectLimit, d.connect(addr))
		records = append(records, p)
		go func() { p.Run(ctx); stopped <- struct{}{} }()
		if err := awaitAnswers(ctx, p, addr, enough/4); err != nil {
			return err
		}
	}
	node, err := d.lab.Node(d.owner)
	if err != nil {
		return err
	}
	lost := d.owner
	err = d.tell.step("cutting "+lost+" off: all its links go down", func() error {
		if err := node.Isolate(); err != nil {
			return err
		}
		for i, addr := range d.addrs {
			if err := expect(ctx, "another node to announce "+addr.String(), d.movedFrom(lost, addr)); err != nil {
				return err
			}
			if err := awaitAnswers(ctx, records[i], addr, enough); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	cancel()
	for range records {
		<-stopped
	}
	if err := d.tellGaps(records); err != nil || !d.keep {
		return err
	}
	return node.Rejoin()
}

func (d *demo) connect(addr netip.Addr) probe.Ask {
	return func(ctx context.Context) (string, error) {
		reply, err := d.client.Echo(ctx, "tcp", netip.AddrPortFrom(addr, 80).String())
		return reply.Node, err
	}
}

// movedFrom is true when the client's neighbour table has another node for addr.
func (d *demo) movedFrom(lost string, addr netip.Addr) func(context.Context) error {
	return func(context.Context) error {
		mac, node, err := d.announcer(addr)
		if err == nil && node == lost {
			err = fmt.Errorf("%s is still at %s, which is %s", addr, mac, node)
		}
		return err
	}
}

func (d *demo) tellGaps(records []*probe.Probe) error {
	for i, addr := range d.addrs {
		mac, node, err := d.announcer(addr)
		if err != nil {
			return err
		}
		gap := records[i].Longest().Length
		d.tell.showf("%s: longest time without an answer %d ms; now at %s, which is %s",
			addr, gap.Milliseconds(), mac, node)
	}
	return nil
}

// awaitAnswers waits for n more answers.
func awaitAnswers(ctx context.Context, p *probe.Probe, addr netip.Addr, n int) error {
	start := time.Now()
	return expect(ctx, "answers from "+addr.String(), func(context.Context) error {
		if got := len(p.Since(start)); got < n {
			_, err := p.Last()
			return fmt.Errorf("%d of %d so far, last error: %w", got, n, err)
		}
		return nil
	})
}
