// SPDX-License-Identifier: Apache-2.0

package echo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Reply is the answer, as JSON on one line.
type Reply struct {
	Node      string `json:"node"`
	Pod       string `json:"pod"`
	Namespace string `json:"namespace"`
	// Protocol is http, tcp or udp.
	Protocol string `json:"protocol"`
	// Client is the address the server sees the question come from.
	Client netip.AddrPort `json:"client"`
	// Server is the address the server sees it go to.
	Server netip.AddrPort `json:"server"`
}

// Server answers on its ports, each over TCP and UDP. On TCP, a question that
// begins like an HTTP request gets an HTTP response, any other line gets the
// reply alone; the connection then stays open for more.
type Server struct {
	Node, Pod, Namespace string
	Ports                []uint16
}

// idle is how long a connection may be silent.
const idle = 10 * time.Minute

// Serve answers until ctx ends. The error is that of a port that cannot be had.
func (s Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, port := range s.Ports {
		address := fmt.Sprintf(":%d", port)
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			cancel(err)
			return fmt.Errorf("listen: %w", err)
		}
		context.AfterFunc(ctx, func() { l.Close() })
		wg.Go(func() { s.serveTCP(ctx, l, &wg) })
		for _, network := range []string{"udp4", "udp6"} {
			c, err := (&net.ListenConfig{Control: reportDestination}).ListenPacket(ctx, network, address)
			if err != nil {
				cancel(err)
				return fmt.Errorf("listen: %w", err)
			}
			context.AfterFunc(ctx, func() { c.Close() })
			wg.Go(func() { s.serveUDP(c.(*net.UDPConn)) })
		}
	}
	<-ctx.Done()
	return nil
}

func (s Server) serveTCP(ctx context.Context, l net.Listener, wg *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			s.converse(conn)
		})
	}
}

// converse answers one connection's questions.
func (s Server) converse(conn net.Conn) {
	reader := bufio.NewReader(conn)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return
		}
		if first, err := reader.Peek(4); err == nil && isHTTP(string(first)) {
			if !s.answerHTTP(conn, reader) {
				return
			}
			continue
		}
		if _, err := reader.ReadString('\n'); err != nil {
			return
		}
		if _, err := conn.Write(s.reply("tcp", conn.RemoteAddr(), conn.LocalAddr())); err != nil {
			return
		}
	}
}

func isHTTP(first string) bool {
	return slices.Contains([]string{"GET ", "HEAD", "POST", "PUT ", "DELE", "OPTI"}, first)
}

// answerHTTP answers one request and says whether another may follow.
func (s Server) answerHTTP(conn net.Conn, reader *bufio.Reader) bool {
	request, err := http.ReadRequest(reader)
	if err != nil {
		return false
	}
	if _, err := io.Copy(io.Discard, request.Body); err != nil {
		return false
	}
	body := s.reply("http", conn.RemoteAddr(), conn.LocalAddr())
	response := http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: request,
		Header:        http.Header{"Content-Type": {"application/json"}},
		ContentLength: int64(len(body)),
		Body:          io.NopCloser(strings.NewReader(string(body))),
		Close:         request.Close,
	}
	return response.Write(conn) == nil && !request.Close
}

func (s Server) reply(protocol string, client, server net.Addr) []byte {
	line, err := json.Marshal(Reply{
		Node: s.Node, Pod: s.Pod, Namespace: s.Namespace, Protocol: protocol,
		Client: addrPort(client), Server: addrPort(server),
	})
	if err != nil {
		panic("echo: encode reply: " + err.Error()) // strings and addresses always encode
	}
	return append(line, '\n')
}

func addrPort(a net.Addr) netip.AddrPort {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Ask puts a question to a Server over a connection and reads the reply. The
// network is that of the connection; "http" asks over HTTP on a TCP connection.
// ctx's deadline bounds it.
func Ask(ctx context.Context, conn net.Conn, protocol string) (Reply, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return Reply{}, fmt.Errorf("set deadline: %w", err)
		}
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // fails only if closed
	defer stop()
	question := "who\n"
	if protocol == "http" {
		question = "GET / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n"
	}
	if _, err := conn.Write([]byte(question)); err != nil {
		return Reply{}, fmt.Errorf("ask: %w", err)
	}
	line, err := readReply(conn, protocol)
	if err != nil {
		return Reply{}, fmt.Errorf("read reply: %w", err)
	}
	var r Reply
	if err := json.Unmarshal(line, &r); err != nil {
		return Reply{}, fmt.Errorf("read reply: %w", err)
	}
	return r, nil
}

func readReply(conn net.Conn, protocol string) ([]byte, error) {
	reader := bufio.NewReader(conn)
	if protocol != "http" {
		return reader.ReadBytes('\n')
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(response.Body)
}
