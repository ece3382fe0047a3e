// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// With --l2-failback=never a node that comes back gets nothing back: the address stays
// where it went, and a connection that was made there goes on. The node is away for a moment
// only: gossip does not take it for dead, and nobody greets it when it is back.
func TestFailbackNever(t *testing.T) {
	s := begin(t)
	s.givenFlag("daemonset/speaker", "--l2-failback=never")
	addrs, owner := s.givenAnnounced("web", ipv4)
	node, err := s.lab.Node(owner)
	s.must(err)
	s.afterwards(func() { s.check(node.Rejoin()) })

	s.must(node.Isolate())
	next := s.expectMoved(addrs[0], owner)
	s.expectReachable(addrs)
	conn := s.connect(addrs[0])

	s.must(node.Rejoin())
	s.expectTakingPart(owner)
	s.expectAnnouncedBy(addrs[0], next)
	s.expectStillOpen(conn)

	// A speaker that has forgotten what it had learns from the others what is theirs.
	s.must(s.lab.Kill(target(s.speakerOn(owner))))
	s.awaitRollout("daemonset/speaker")
	s.expectTakingPart(owner)
	s.expectAnnouncedBy(addrs[0], next)
	s.expectStillOpen(conn)
}

// Without the flag it is as in MetalLB: the node that comes back has its address again. Those
// who have connected to the other meanwhile do not notice.
func TestFailbackImmediate(t *testing.T) {
	s := begin(t)
	addrs, owner := s.givenBackendsElsewhere(dual)
	node, err := s.lab.Node(owner)
	s.must(err)
	s.afterwards(func() { s.check(node.Rejoin()) })
	s.must(node.Isolate())
	for _, addr := range addrs {
		s.expectMoved(addr, owner)
	}
	load, stop := s.givenLoad(addrs)
	s.must(node.Rejoin())
	for _, addr := range addrs {
		s.expectAnnouncedBy(addr, owner)
	}
	s.expectTakingPart(owner)
	stop()
	s.expectLossless(load, "the return of "+owner)
}

// expectTakingPart waits until a node that was away takes part in elections again: it
// announces what only it may announce.
func (s *story) expectTakingPart(node string) {
	s.Helper()
	p := s.givenPool(ipv4, notAutomatic, unadvertised)
	s.advertise(p, `nodeSelectors: [{matchLabels: {kubernetes.io/hostname: `+node+`}}]`)
	s.canaries++
	name := fmt.Sprintf("only-%d", s.canaries)
	s.givenService(name, ipv4, fromPool(p))
	s.expectAnnouncedBy(s.expectAssigned(name, p)[0], node)
}

// connect opens a connection that lasts until the story ends. It tries again when it was
// passed on to a pod of a node that is cut off.
func (s *story) connect(addr netip.Addr) (conn net.Conn) {
	s.Helper()
	s.await(patience, "a connection to a pod that is there", func() (err error) {
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		defer cancel()
		conn, err = s.client.Dial(ctx, "tcp", netip.AddrPortFrom(addr, 80).String())
		return err
	})
	s.Cleanup(func() { _ = conn.Close() })
	s.expectStillOpen(conn)
	return conn
}

// connectOnce opens a connection to each address.
func (s *story) connectOnce(addrs []netip.Addr) (conns []net.Conn) {
	s.Helper()
	for _, addr := range addrs {
		conns = append(conns, s.connect(addr))
	}
	return conns
}

// expectStillOpen asks a question over each connection and waits for the answer.
func (s *story) expectStillOpen(conns ...net.Conn) {
	s.Helper()
	for _, conn := range conns {
		s.must(conn.SetDeadline(time.Now().Add(patience)))
		_, err := fmt.Fprintln(conn, "still there?")
		s.must(err)
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			s.Fatalf("the connection to %s has ended: %v", conn.RemoteAddr(), err)
		}
	}
}
