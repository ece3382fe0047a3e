// SPDX-License-Identifier: Apache-2.0

package bgp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	gobgplog "github.com/osrg/gobgp/v3/pkg/log"
	"github.com/osrg/gobgp/v3/pkg/server"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/herald-lb/herald/speaker/internal/bgp"
	"github.com/herald-lb/herald/speaker/internal/bgp/bgptest"
)

// BenchmarkTable is how long a router waits for the whole table, from the start of the
// speaker, beside gobgp alone with the same routes in the same run. gobgp waits one to
// two seconds, at random, before it dials; "from up" is without that.
func BenchmarkTable(b *testing.B) {
	for name, start := range routers {
		for _, routes := range []int{1_000, 10_000, 50_000} {
			for _, who := range []string{"gobgp", "Herald"} {
				b.Run(fmt.Sprintf("%s/%d/%s", name, routes, who), func(b *testing.B) {
					at := newSite(b)
					r := start(b, at.Namespace, expecting(bgptest.Neighbor{Address: node4}))
					var total, fromUp, cpu time.Duration
					for b.Loop() {
						speak := heraldAlone
						if who == "gobgp" {
							speak = gobgpAlone
						}
						awaitTable(b, r, 0)
						began, spent := time.Now(), processTime(b)
						up, stop := speak(b, routes)
						select {
						case <-up:
						case <-time.After(30 * time.Second):
							b.Fatal("the session does not come up")
						}
						upAt := time.Now()
						awaitTable(b, r, routes)
						total += time.Since(began)
						fromUp += time.Since(upAt)
						cpu += processTime(b) - spent
						stop()
					}
					n := float64(b.N)
					b.ReportMetric(total.Seconds()/n, "s/table")
					b.ReportMetric(fromUp.Seconds()/n, "s/table-from-up")
					b.ReportMetric(cpu.Seconds()/n, "cpu-s/table")
				})
			}
		}
	}
}

func awaitTable(b *testing.B, r bgptest.Router, want int) {
	b.Helper()
	for end := time.Now().Add(time.Minute); r.Count() != want; {
		if time.Now().After(end) {
			b.Fatalf("the router has %d routes, want %d", r.Count(), want)
		}
	}
}

// processTime is the CPU time of this process.
func processTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// gobgpAlone is the shortest program there is that does it.
func gobgpAlone(b *testing.B, routes int) (up <-chan struct{}, stop func()) {
	b.Helper()
	ctx := context.Background()
	s := server.NewBgpServer(server.LoggerOption(silence{}))
	go s.Serve()
	must(b, s.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{Asn: nodeASN, RouterId: node4.String(), ListenPort: -1}}))
	established := make(chan struct{})
	var once sync.Once
	watched, cancel := context.WithCancel(ctx)
	must(b, s.WatchEvent(watched, &api.WatchEventRequest{Peer: &api.WatchEventRequest_Peer{}}, func(r *api.WatchEventResponse) {
		if p := r.GetPeer(); p != nil && p.Peer.State.SessionState == api.PeerState_ESTABLISHED {
			once.Do(func() { close(established) })
		}
	}))
	origin, err := anypb.New(&api.OriginAttribute{})
	must(b, err)
	hop, err := anypb.New(&api.NextHopAttribute{NextHop: "0.0.0.0"})
	must(b, err)
	for i := range routes {
		nlri, err := anypb.New(&api.IPAddressPrefix{Prefix: nthPrefix(i).Addr().String(), PrefixLen: 32})
		must(b, err)
		_, err = s.AddPath(ctx, &api.AddPathRequest{Path: &api.Path{
			Family: &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}, Nlri: nlri, Pattrs: []*anypb.Any{origin, hop},
		}})
		must(b, err)
	}
	must(b, s.AddPeer(ctx, &api.AddPeerRequest{Peer: &api.Peer{
		Conf:   &api.PeerConf{NeighborAddress: router4.String(), PeerAsn: peerASN},
		Timers: &api.Timers{Config: &api.TimersConfig{ConnectRetry: 2}},
	}}))
	return established, func() {
		cancel()
		must(b, s.StopBgp(ctx, &api.StopBgpRequest{}))
	}
}

func heraldAlone(b *testing.B, routes int) (up <-chan struct{}, stop func()) {
	b.Helper()
	r := bgp.New(bgp.Config{Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	established := make(chan struct{})
	go func() {
		defer close(ended)
		must(b, r.Run(ctx))
	}()
	for i := range routes {
		must(b, r.Advertise(bgp.PathKey{Peer: "tor", Prefix: nthPrefix(i)}, bgp.Path{}))
	}
	p := peer()
	p.Families = bgp.IPv4Unicast
	r.Peers(map[bgp.PeerName]bgp.Peer{"tor": p})
	go func() {
		defer close(established)
		for ctx.Err() == nil && r.Snapshot()["tor"].State != bgp.Established {
			<-r.Changed()
		}
	}()
	return established, func() {
		cancel()
		<-ended
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
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

// BenchmarkOneRoute is how long it takes from Advertise to the route in the router's
// table, and from Withdraw to its end, with 10 000 others there.
func BenchmarkOneRoute(b *testing.B) {
	for name, start := range routers {
		b.Run(name, func(b *testing.B) {
			at := newSite(b)
			r := start(b, at.Namespace, expecting(bgptest.Neighbor{Address: node4}))
			w := run(b)
			for i := range 10_000 {
				must(b, w.Advertise(bgp.PathKey{Peer: "tor", Prefix: nthPrefix(i)}, bgp.Path{}))
			}
			w.Peers(map[bgp.PeerName]bgp.Peer{"tor": peer()})
			awaitTable(b, r, 10_000)
			one := bgp.PathKey{Peer: "tor", Prefix: netip.MustParsePrefix(lb4)}
			var took []time.Duration
			for b.Loop() {
				began := time.Now()
				must(b, w.Advertise(one, bgp.Path{}))
				for _, ok := r.Route(lb4); !ok; _, ok = r.Route(lb4) {
					runtime.Gosched()
				}
				took = append(took, time.Since(began))
				began = time.Now()
				w.Withdraw(one)
				for _, ok := r.Route(lb4); ok; _, ok = r.Route(lb4) {
					runtime.Gosched()
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms-median")
			b.ReportMetric(took[len(took)-1].Seconds()*1000, "ms-max")
		})
	}
}
