// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"

	api "github.com/osrg/gobgp/v3/api"
	gobgplog "github.com/osrg/gobgp/v3/pkg/log"
	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/protobuf/types/known/anypb"
)

// aloneWord is the argument that makes this program gobgp alone.
const aloneWord = "gobgp-alone"

// nodeASN is the node's, and the program's.
const nodeASN = 64512

// gobgpAlone is the shortest program that advertises what Herald does: the prefixes of n
// Services to one router, given its address and AS number. It ends with its standard input.
func gobgpAlone(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("%s: want SOURCE ROUTER ASN NUMBER", aloneWord)
	}
	asn, err := strconv.ParseUint(args[2], 10, 32)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	s := server.NewBgpServer(server.LoggerOption(silence{}))
	go s.Serve()
	err = s.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{Asn: nodeASN, RouterId: args[0], ListenPort: -1}})
	if err != nil {
		return err
	}
	if err := addPaths(ctx, s, args[0], n); err != nil {
		return err
	}
	err = s.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: args[1], PeerAsn: uint32(asn)},
		Transport: &api.Transport{LocalAddress: args[0]},
		Timers:    &api.Timers{Config: &api.TimersConfig{ConnectRetry: 1}},
	}})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// addPaths puts the prefixes of n Services into the table.
func addPaths(ctx context.Context, s *server.BgpServer, source string, n int) error {
	origin, err := anypb.New(&api.OriginAttribute{})
	if err != nil {
		return err
	}
	hop, err := anypb.New(&api.NextHopAttribute{NextHop: source})
	if err != nil {
		return err
	}
	for i := range n {
		p := routedPrefix(i)
		nlri, err := anypb.New(&api.IPAddressPrefix{Prefix: p.Addr().String(), PrefixLen: uint32(p.Bits())})
		if err != nil {
			return err
		}
		_, err = s.AddPath(ctx, &api.AddPathRequest{Path: &api.Path{
			Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}, Nlri: nlri, Pattrs: []*anypb.Any{origin, hop},
		}})
		if err != nil {
			return fmt.Errorf("add %s: %w", p, err)
		}
	}
	return nil
}

// routedAddresses begins the addresses of the Services that are announced by BGP, which are
// for benchmarks (RFC 2544). Those of class E, which the other pool has, routers refuse.
var routedAddresses = netip.MustParsePrefix("198.18.0.0/15")

// routedPrefix returns what is advertised for the i-th Service.
func routedPrefix(i int) netip.Prefix {
	a := routedAddresses.Addr().As4()
	a[1] |= byte(i >> 16)
	a[2], a[3] = byte(i>>8), byte(i)
	return netip.PrefixFrom(netip.AddrFrom4(a), 32)
}

// silence is a logger for gobgp.
type silence struct{}

func (silence) Panic(string, gobgplog.Fields) {}
func (silence) Fatal(string, gobgplog.Fields) {}
func (silence) Error(string, gobgplog.Fields) {}
func (silence) Warn(string, gobgplog.Fields)  {}
func (silence) Info(string, gobgplog.Fields)  {}
func (silence) Debug(string, gobgplog.Fields) {}
func (silence) SetLevel(gobgplog.LogLevel)    {}
func (silence) GetLevel() gobgplog.LogLevel   { return gobgplog.InfoLevel }
