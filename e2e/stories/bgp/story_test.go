// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/herald-lb/herald/e2e/stories/internal/stage"
)

// patience is how long a story waits for what should be there in a second or two, on a
// machine that may be busy with other things.
const patience = 30 * time.Second

// story is one story being told. Its sentences fail the test themselves.
type story struct {
	*testing.T
	*world
	ctx      context.Context
	ns       string
	evidence sync.Once
	token    string // of an account that may read metrics
}

var stories atomic.Int32

// begin opens a story with a namespace, a dual-stack pool and pods on these nodes.
func begin(t *testing.T, pods ...int) *story {
	t.Helper()
	s := &story{T: t, world: theWorld(t), ctx: t.Context(), ns: fmt.Sprintf("story-%d", stories.Add(1))}
	s.afterwards(s.end)
	var manifest strings.Builder
	fmt.Fprintf(&manifest, `
apiVersion: v1
kind: Namespace
metadata: {name: %s}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bgp, namespace: metallb-system}
spec: {addresses: [198.51.100.0/24, "2001:db8:100::/120"]}
`, s.ns)
	for _, i := range pods {
		fmt.Fprintf(&manifest, `---
apiVersion: v1
kind: Pod
metadata: {name: echo-%d, namespace: %s, labels: {app: echo}}
spec: {nodeName: %s, containers: [{name: echo, image: herald-lb/echo}]}
`, i, s.ns, s.nodes[i])
	}
	s.apply(manifest.String())
	return s
}

// afterwards has something undone when the story ends, well or badly.
func (s *story) afterwards(undo func()) {
	s.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 2*patience)
		defer cancel()
		s.ctx = ctx // the test's own has ended
		if s.Failed() {
			s.evidence.Do(s.showEvidence) // before anything is undone
		}
		undo()
	})
}

// end takes away all that a story may have made.
func (s *story) end() {
	for _, what := range []string{
		"bgpadvertisements,l2advertisements,bgppeers,communities,bfdprofiles,ipaddresspools --all -n " + heraldNS,
		"secret md5 --ignore-not-found -n " + heraldNS,
		"services,pods --all --now -n " + s.ns,
		"namespace --wait=false " + s.ns,
	} {
		if out, err := s.lab.Kubectl(s.ctx, append([]string{"delete"}, strings.Fields(what)...)...); err != nil {
			s.Errorf("clean up: %v\n%s", err, out)
		}
	}
}

// showEvidence logs what somebody would look at first.
func (s *story) showEvidence() {
	for _, args := range [][]string{
		{"get", "services,pods,events", "-n", s.ns, "-o", "wide"},
		{"get", "servicebgpstatuses,bgppeers,bgpadvertisements,pods,events", "-n", heraldNS, "-o", "wide"},
	} {
		out, err := s.lab.Kubectl(s.ctx, args...)
		s.Logf("kubectl %s (error %v):\n%s", strings.Join(args, " "), err, out)
	}
	for _, r := range s.routers {
		s.Log(r.show(s.ctx))
	}
	for _, log := range s.stage.Logs() {
		s.Logf("last words of %s:\n%s", filepath.Base(log), stage.LastLines(log, 25))
	}
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *story) apply(manifest string) {
	s.Helper()
	s.must(s.lab.Apply(s.ctx, manifest))
}

func (s *story) kubectl(args ...string) string {
	s.Helper()
	out, err := s.lab.Kubectl(s.ctx, args...)
	if err != nil {
		s.Fatalf("%v\n%s", err, out)
	}
	return out
}

// await returns when the condition has no error any more.
func (s *story) await(limit time.Duration, what string, condition func() error) {
	s.Helper()
	s.must(stage.Await(s.ctx, limit, what, condition))
}
