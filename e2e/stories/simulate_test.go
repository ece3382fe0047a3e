// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/e2e/stories/internal/stage"
)

// Exit statuses of kubectl herald simulate.
const (
	exitSpares   = 0
	exitError    = 1
	exitDisrupts = 3
)

func TestSimulateForetellsMoves(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		p := s.givenPool(f, of(4))
		names := []string{"web-1", "web-2", "web-3", "web-4"} // of those made in one second the name decides
		for _, name := range names {
			s.givenService(name, f, fromPool(p))
			s.expectAssigned(name, p)
		}
		// The last two addresses are not in it any more; those after them are new.
		var shifted []string
		for i := range p.addrs(0) {
			shifted = append(shifted, fmt.Sprintf("%s-%s", p.addrs(0)[i], p.addrs(1)[i]), fmt.Sprintf("%s-%s", p.addrs(4)[i], p.addrs(7)[i]))
		}
		told := s.simulate(poolManifest(p, shifted), exitDisrupts)
		told.expectEffects(map[string]string{"web-1": "keep", "web-2": "keep", "web-3": "move", "web-4": "move"})
		for i, name := range names {
			told.expectTo(name, p.addrs([]int{0, 1, 4, 5}[i]))
		}
		if got := told.service("web-3").Cause; !strings.Contains(got, "no pool contains "+p.addrs(2)[0].String()) {
			s.Errorf("web-3 moves because %q", got)
		}
		told.expectStillTrue() // asking changes nothing
		s.apply(poolManifest(p, shifted))
		told.expectTrue()
	})
}

func TestSimulateForetellsWhatAWiderPoolGives(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4, of(1))
	s.givenService("holder", ipv4, fromPool(p))
	s.expectAssigned("holder", p)
	s.givenService("waiting", ipv4, fromPool(p))
	s.expectWaiting("waiting", "AllocationFailed", p.name)
	p.addresses, p.size = p.ranges(2), 2
	told := s.simulate(poolManifest(p, p.addresses), exitSpares)
	told.expectEffects(map[string]string{"holder": "keep", "waiting": "gain"})
	told.expectTo("waiting", p.addrs(1))
	s.applyPool(p)
	told.expectTrue()
	again := s.simulate(poolManifest(p, p.addresses), exitSpares)
	again.expectEffects(map[string]string{"holder": "keep", "waiting": "keep"})
}

// The whole configuration without one pool, as kubectl get prints it.
func TestSimulateForetellsLosses(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4)
	s.givenService("loser", ipv4, fromPool(p))
	s.expectAssigned("loser", p)
	told := s.simulate(s.configurationWithout(p), exitDisrupts, "--prune")
	told.expectEffects(map[string]string{"loser": "lose"})
	if got := told.service("loser"); got.Reason != "UnknownPool" && got.Reason != "NoPool" {
		s.Errorf("loser loses for the reason %s: %s", got.Reason, got.Message)
	}
	told.expectStillTrue()
	s.deletePool(p)
	told.expectTrue()
}

// Two pools change places: what happens depends on which is applied first.
func TestSimulateKnowsThatOrderMatters(t *testing.T) {
	s := begin(t)
	old := s.givenPool(ipv4, of(2))
	s.givenService("web", ipv4)
	addrs := s.expectAssigned("web", old)
	renamed := *old
	renamed.name += "-renamed"
	s.pools = append(s.pools, &renamed)
	shrunk := poolManifest(old, []string{fmt.Sprintf("%s/32", old.addrs(1)[0])})
	taking := poolManifest(&renamed, []string{fmt.Sprintf("%s/32", addrs[0])})
	s.simulate(shrunk+taking, exitDisrupts).expectEffects(map[string]string{"web": "move"})
	text, _, code := s.herald("-f", "-", shrunk+taking)
	if code != exitDisrupts || !strings.Contains(text, "the order matters to 1 Service") {
		s.Errorf("exit status %d, and nothing about the order in:\n%s", code, text)
	}
	told := s.simulate(taking+shrunk, exitSpares)
	told.expectEffects(map[string]string{"web": "keep"})
	s.apply(taking + shrunk)
	s.await(patience, "the address to be of the new pool", func() error {
		if got := s.service("web").Annotations["metallb.io/ip-allocated-from-pool"]; got != renamed.name {
			return fmt.Errorf("it is of %s", got)
		}
		return nil
	})
	told.expectTrue()
}

func TestSimulateRefusesWhatTheAPIServerRefuses(t *testing.T) {
	s := begin(t)
	p := newPool(ipv4)
	good := poolManifest(p, p.ranges(2))
	for name, test := range map[string]struct {
		manifest string
		words    []string
	}{
		"an address that is none": {
			strings.ReplaceAll(good, p.ranges(2)[0], "192.0.2.300-192.0.2.301"),
			[]string{"document 1", p.name, "spec.addresses[0]", "192.0.2.300-192.0.2.301 must be a prefix"},
		},
		"a field that is none": {
			strings.ReplaceAll(good, "addresses:", "adresses:"), []string{"document 1", p.name, `unknown field "spec.adresses"`},
		},
		"a kind that is none of Herald's": {
			strings.ReplaceAll(good, "IPAddressPool", "AddressPool"), []string{"AddressPool", "not part of Herald's configuration"},
		},
	} {
		_, complaint, code := s.herald("-f", "-", test.manifest)
		if code != exitError {
			s.Errorf("%s: exit status %d, want %d", name, code, exitError)
		}
		for _, word := range test.words {
			if !strings.Contains(complaint, word) {
				s.Errorf("%s: %q does not say %q", name, complaint, word)
			}
		}
	}
}

// Whoever may only read gets the answer, and is told what was not asked.
func TestSimulateNeedsOnlyToRead(t *testing.T) {
	s := begin(t)
	p := s.givenPool(ipv4, of(2))
	s.givenService("web", ipv4, fromPool(p))
	s.expectAssigned("web", p)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	s.must(os.WriteFile(config, []byte(s.kubectl("config", "view", "--raw", "--flatten")), 0o600))
	token := s.givenAccount("reader", "metallb-system:simulate-reader")
	s.kubectl("--kubeconfig", config, "config", "set-credentials", "reader", "--token="+token)
	s.kubectl("--kubeconfig", config, "config", "set-context", "reading", "--cluster="+
		s.kubectl("--kubeconfig", config, "config", "view", "-o", "jsonpath={.clusters[0].name}"), "--user=reader")

	text, complaint, code := s.herald("--kubeconfig", config, "--context", "reading", "--all", "-f", "-", poolManifest(p, p.ranges(1)))
	if code != exitSpares {
		s.Fatalf("exit status %d: %s", code, complaint)
	}
	for _, want := range []string{"keep", s.ns + "/web", "was not checked", p.name} {
		if !strings.Contains(text, want) {
			s.Errorf("it does not say %q:\n%s", want, text)
		}
	}
}

// poolManifest returns a document with the pool and these addresses.
func poolManifest(p *pool, addresses []string) string {
	return fmt.Sprintf("---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: %s\n  namespace: %s\nspec:\n  addresses: [\"%s\"]\n  autoAssign: %t\n",
		p.name, heraldNS, strings.Join(addresses, `", "`), !p.noAuto)
}

// configurationWithout returns all of Herald's configuration but the pool.
func (s *story) configurationWithout(p *pool) string {
	s.Helper()
	var list struct {
		APIVersion string           `json:"apiVersion"`
		Kind       string           `json:"kind"`
		Items      []map[string]any `json:"items"`
	}
	s.must(json.Unmarshal([]byte(s.kubectl("-n", heraldNS, "get", "ipaddresspools,l2advertisements", "-o", "json")), &list))
	list.Items = slices.DeleteFunc(list.Items, func(o map[string]any) bool {
		metadata, _ := o["metadata"].(map[string]any)
		return metadata["name"] == p.name
	})
	raw, err := json.Marshal(list)
	s.must(err)
	return string(raw)
}

// simulation is what the plugin has printed.
type simulation struct {
	*story
	Services []simulated `json:"services"`
}

type simulated struct {
	Namespace, Name, Effect, Reason, Message, Cause string
	From, To                                        struct {
		Addresses []netip.Addr
		Pool      string
	}
}

// herald runs kubectl herald simulate; the last argument is its standard input.
func (s *story) herald(args ...string) (out, complaint string, code int) {
	s.Helper()
	plugin, err := stage.Program("kubectl-herald")
	s.must(err)
	input := args[len(args)-1]
	cmd := s.lab.KubectlCommand(s.ctx, slices.Concat([]string{"herald", "simulate"}, args[:len(args)-1])...)
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(plugin)+string(os.PathListSeparator)+os.Getenv("PATH"))
	var printed, complained bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &printed, &complained
	err = cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	return printed.String(), complained.String(), cmd.ProcessState.ExitCode()
}

// simulate returns what the plugin says of a manifest, if it exits as it should.
func (s *story) simulate(manifest string, exit int, flags ...string) *simulation {
	s.Helper()
	out, complaint, code := s.herald(append(flags, "--all", "-o", "json", "-f", "-", manifest)...)
	if code != exit {
		s.Fatalf("exit status %d, want %d: %s\n%s", code, exit, complaint, out)
	}
	told := &simulation{story: s}
	s.must(json.Unmarshal([]byte(out), told))
	told.Services = slices.DeleteFunc(told.Services, func(t simulated) bool { return t.Namespace != s.ns || strings.HasPrefix(t.Name, "canary") })
	return told
}

func (t *simulation) service(name string) simulated {
	t.Helper()
	i := slices.IndexFunc(t.Services, func(s simulated) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("nothing is said about %s", name)
	}
	return t.Services[i]
}

func (t *simulation) expectEffects(want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for _, s := range t.Services {
		got[s.Name] = s.Effect
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("effects (-want +got):\n%s", diff)
	}
}

func (t *simulation) expectTo(name string, want []netip.Addr) {
	t.Helper()
	if got := t.service(name).To.Addresses; !slices.Equal(got, want) {
		t.Errorf("%s would have %v, want %v", name, got, want)
	}
}

// expectStillTrue fails if a Service has not what the simulation began with.
func (t *simulation) expectStillTrue() {
	t.Helper()
	for _, s := range t.Services {
		if got := addressesOf(t.story.service(s.Name)); !slices.Equal(got, s.From.Addresses) {
			t.Errorf("%s has %v; it had %v when it was asked for", s.Name, got, s.From.Addresses)
		}
	}
}

// expectTrue waits until every Service has exactly what the simulation said, and holds
// that against what there is after the controller has had time for something else.
func (t *simulation) expectTrue() {
	t.Helper()
	for _, s := range t.Services {
		t.expectAddresses(s.Name, s.To.Addresses)
	}
	t.canary()
	for _, s := range t.Services {
		if got := addressesOf(t.story.service(s.Name)); !slices.Equal(got, s.To.Addresses) {
			t.Errorf("%s has %v, want %v", s.Name, got, s.To.Addresses)
		}
		if got := t.story.service(s.Name).Annotations["metallb.io/ip-allocated-from-pool"]; got != s.To.Pool {
			t.Errorf("%s is of pool %q, want %q", s.Name, got, s.To.Pool)
		}
	}
}
