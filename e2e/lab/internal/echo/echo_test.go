// SPDX-License-Identifier: Apache-2.0

package echo

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// serve runs a server on a free port of the loopback interface.
func serve(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Server{Node: "n", Pod: "p", Namespace: "s", Ports: []uint16{port}}.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return port
}

func dial(t *testing.T, network string, to netip.AddrPort) net.Conn {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		// UDP always connects, so TCP tells when the server is there.
		probe, err := net.Dial("tcp", to.String())
		if err == nil {
			probe.Close()
			conn, err := net.Dial(network, to.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-ticker.C
	}
}

func TestAskOverEverything(t *testing.T) {
	port := serve(t)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		for _, protocol := range []string{"tcp", "http", "udp"} {
			to := netip.AddrPortFrom(netip.MustParseAddr(addr), port)
			network := strings.Replace(protocol, "http", "tcp", 1)
			conn := dial(t, network, to)
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			got, err := Ask(ctx, conn, protocol)
			cancel()
			if err != nil {
				t.Errorf("%s over %s: %v", to, protocol, err)
				continue
			}
			want := Reply{
				Node: "n", Pod: "p", Namespace: "s", Protocol: protocol,
				Client: netip.MustParseAddrPort(conn.LocalAddr().String()), Server: to,
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
				t.Errorf("%s over %s (-want +got):\n%s", to, protocol, diff)
			}
		}
	}
}

func TestManyQuestionsOnOneConnection(t *testing.T) {
	conn := dial(t, "tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), serve(t)))
	for range 3 {
		if _, err := Ask(t.Context(), conn, "tcp"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAskGivesUp(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() { _, _ = server.Read(make([]byte, 100)) }() // hears, and says nothing
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if reply, err := Ask(ctx, client, "tcp"); err == nil {
		t.Errorf("silence was understood as %+v", reply)
	}
}

func TestServeReportsATakenPort(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	if err := (Server{Ports: []uint16{port}}).Serve(t.Context()); err == nil {
		t.Error("a server took a port that is taken")
	}
}
