// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/herald-lb/herald/e2e/lab"
)

// birdRouter is asked by birdc.
type birdRouter struct {
	*lab.Host
	// dir has its socket, and its configuration if that is not the topology's.
	dir     string
	process *exec.Cmd
}

// startBIRD starts BIRD on a host. It goes on until stop.
func startBIRD(host *lab.Host, dir, config string) (*birdRouter, error) {
	r := &birdRouter{Host: host, dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.file("conf"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	return r, r.start()
}

func (r *birdRouter) file(kind string) string { return filepath.Join(r.dir, r.Name()+"."+kind) }

func (r *birdRouter) start() error {
	log, err := os.OpenFile(r.file("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r.process = r.Command(context.Background(), "bird", "-f", "-c", r.file("conf"), "-s", r.file("ctl"))
	r.process.Stdout, r.process.Stderr = log, log
	return r.process.Start()
}

// stop kills it.
func (r *birdRouter) stop() error {
	err := r.process.Process.Kill()
	_ = r.process.Wait() // it has been killed
	return err
}

func (r *birdRouter) name() string { return "bird" }
func (r *birdRouter) asn() uint32  { return 64514 }
func (r *birdRouter) cable() string {
	return "eth3"
}

func (r *birdRouter) peer(v6 bool) string {
	if v6 {
		return "2001:db8:2::2"
	}
	return "192.0.2.2"
}

func (r *birdRouter) ask(ctx context.Context, words ...string) (string, error) {
	out, err := r.Exec(ctx, "birdc", append([]string{"-s", r.file("ctl")}, words...)...)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return out, err
}

func (r *birdRouter) show(ctx context.Context) string {
	var all strings.Builder
	for _, words := range []string{"show protocols", "show route all", "show bfd sessions"} {
		out, err := r.ask(ctx, strings.Fields(words)...)
		fmt.Fprintf(&all, "bird> %s (error %v)\n%s\n", words, err, out)
	}
	return all.String()
}

var (
	birdPath      = regexp.MustCompile(`(?m)^.* (?:unicast|unreachable) \[`)
	birdWords     = regexp.MustCompile(`\((\d+), ?(\d+)(?:, ?(\d+))?\)`)
	birdAttribute = regexp.MustCompile(`(?m)^\s+BGP\.(\w+): (.*)$`)
	birdBFD       = regexp.MustCompile(`(?m)^(\S+)\s+(\S+)\s+Up\s+\S+\s+(\S+)\s+(\S+)$`)
)

func (r *birdRouter) paths(ctx context.Context, prefix netip.Prefix) ([]path, error) {
	out, err := r.ask(ctx, "show", "route", prefix.String(), "all")
	if err != nil && !strings.Contains(out, "not found") {
		return nil, err
	}
	var paths []path
	starts := birdPath.FindAllStringIndex(out, -1)
	for i, at := range starts {
		end := len(out)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		var found path
		found.read(out[at[1]:end])
		paths = append(paths, found)
	}
	return paths, nil
}

// read takes the attributes from what birdc says of a path.
func (p *path) read(text string) {
	for _, m := range birdAttribute.FindAllStringSubmatch(text, -1) {
		switch name, value := m[1], strings.TrimSpace(m[2]); name {
		case "next_hop": // with a link-local one perhaps, and perhaps with nothing else
			p.nextHop = strings.TrimPrefix(value, ":: ")
			p.nextHop, _, _ = strings.Cut(p.nextHop, " ")
		case "as_path":
			p.asPath = value
		case "local_pref":
			n, _ := strconv.ParseUint(value, 10, 32)
			p.localPref = uint32(n)
		case "community", "large_community":
			p.communities = append(p.communities, birdCommunities(value)...)
		}
	}
	slices.Sort(p.communities)
}

func birdCommunities(line string) []string {
	var all []string
	for _, m := range birdWords.FindAllStringSubmatch(line, -1) {
		if m[3] == "" {
			all = append(all, m[1]+":"+m[2])
		} else {
			all = append(all, "large:"+m[1]+":"+m[2]+":"+m[3])
		}
	}
	return all
}

func (r *birdRouter) established(ctx context.Context) (int, error) {
	out, err := r.ask(ctx, "show", "protocols")
	return strings.Count(out, "Established"), err
}

func (r *birdRouter) bfdUp(ctx context.Context) (int, error) {
	all, err := r.bfd(ctx)
	return len(all), err
}

// bfd returns the timeouts, in seconds, of the BFD sessions that are up.
func (r *birdRouter) bfd(ctx context.Context) (timeouts []string, err error) {
	out, err := r.ask(ctx, "show", "bfd", "sessions")
	for _, m := range birdBFD.FindAllStringSubmatch(out, -1) {
		timeouts = append(timeouts, m[4])
	}
	return timeouts, err
}

// configureBIRD changes words of BIRD's configuration until the story ends.
func (s *story) configureBIRD(oldnew ...string) {
	s.Helper()
	r := s.bird()
	was, err := os.ReadFile(birdConfig)
	if err != nil {
		s.Fatal(err)
	}
	now := string(was)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(now, oldnew[i]) {
			s.Fatalf("there is no %q in BIRD's configuration", oldnew[i])
		}
		now = strings.ReplaceAll(now, oldnew[i], oldnew[i+1])
	}
	use := func(config string) {
		err := os.WriteFile(r.file("conf"), []byte(config), 0o600)
		if err == nil {
			_, err = r.ask(s.ctx, "configure")
		}
		if err != nil {
			s.Errorf("configure BIRD: %v", err)
		}
	}
	s.afterwards(func() { use(string(was)) })
	use(now)
}
