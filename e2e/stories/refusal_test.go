// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/internal/wire"
	"github.com/herald-lb/herald/e2e/stories/internal/stage"
)

// leastInvalid is how many wrong manifests there must be for the table to be one.
const leastInvalid = 40

// Every wrong manifest is refused by kubectl apply, with words that name the field. The
// first lines of each file say which: "# want: words of the message", "# field: path".
func TestInvalidManifestsRefused(t *testing.T) { //nolint:tparallel // the files do not touch each other, but other stories are told alone
	s := begin(t)
	files, err := filepath.Glob("../testdata/invalid/*.yaml")
	s.must(err)
	if len(files) < leastInvalid {
		t.Fatalf("found %d wrong manifests; want at least %d", len(files), leastInvalid)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			manifest, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := wanted(string(manifest))
			if len(want) == 0 {
				t.Fatal("the file does not say what it wants")
			}
			out, err := s.lab.Kubectl(t.Context(), "apply", "-f", file)
			if err == nil {
				t.Fatalf("kubectl apply accepted it: %s", out)
			}
			for _, fragment := range want {
				if said := out + err.Error(); !strings.Contains(said, fragment) {
					t.Errorf("kubectl apply said: %s\nwant words about %q", said, fragment)
				}
			}
		})
	}
}

// wanted returns the fragments that a wrong manifest's first lines ask for.
func wanted(manifest string) []string {
	var fragments []string
	for line := range strings.Lines(manifest) {
		line = strings.TrimSpace(line)
		for _, key := range []string{"# want: ", "# field: "} {
			if fragment, ok := strings.CutPrefix(line, key); ok {
				fragments = append(fragments, fragment)
			}
		}
		if !strings.HasPrefix(line, "#") {
			break
		}
	}
	return fragments
}

// Of two pools with the same addresses the older keeps them; the younger says with whom
// it collides, serves what is left, and has all of it when the older is gone.
func TestOverlappingPools(t *testing.T) {
	eachFamily(t, func(s *story, f family) {
		older := s.givenPool(f, of(2))
		s.expectAccepted(older)
		s.awaitNextSecond() // creation times are in seconds
		younger := s.givenPool(f, func(p *pool) { p.v4, p.v6, p.addresses = older.v4, older.v6, older.ranges(4) })
		s.expectCondition(younger, older.name)
		s.expectAccepted(older)

		s.givenService("web", f)
		s.expectAddresses("web", older.addrs(0))
		s.givenPods(s.nodes...)
		s.expectReachable(older.addrs(0))
	})
}

// awaitNextSecond waits until objects made from now on are younger than those there.
func (s *story) awaitNextSecond() {
	s.Helper()
	now := time.Now().Truncate(time.Second)
	s.await(patience, "the next second", func() error {
		if !time.Now().Truncate(time.Second).After(now) {
			return errors.New("not yet")
		}
		return nil
	})
}

func (s *story) expectAccepted(p *pool) {
	s.Helper()
	s.await(patience, p.name+" to be accepted", func() error {
		object, err := s.poolStatus(p)
		if err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(object.Status.Conditions, "Accepted") {
			return fmt.Errorf("it has %+v", object.Status.Conditions)
		}
		return nil
	})
}

// expectCondition waits until a condition of the pool says something is wrong and
// mentions a word.
func (s *story) expectCondition(p *pool, word string) {
	s.Helper()
	s.await(patience, "a condition on "+p.name+" about "+word, func() error {
		object, err := s.poolStatus(p)
		if err != nil {
			return err
		}
		for _, c := range object.Status.Conditions {
			if c.Status == metav1.ConditionFalse && strings.Contains(c.Message, word) {
				return nil
			}
		}
		return fmt.Errorf("it has %+v", object.Status.Conditions)
	})
}

// A wrong flag is one line that names it, and status 2.
func TestWrongFlag(t *testing.T) {
	for _, program := range []string{"controller", "speaker"} {
		path, err := stage.Program(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"--no-such-flag"}, {"--port=many"}, {"--port=70000"}, {"--log-level=loud"}, {"stray-argument"},
		} {
			t.Run(program+args[0], func(t *testing.T) {
				var stdout, stderr bytes.Buffer
				cmd := exec.CommandContext(t.Context(), path, args...)
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				err := cmd.Run()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 2 {
					t.Errorf("it ended with %v; want status 2", err)
				}
				word := strings.TrimLeft(strings.Split(args[0], "=")[0], "-")
				if got := stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, word) || stdout.Len() > 0 {
					t.Errorf("it said %q, and %q on its standard output; want one line on standard error that names %s",
						got, stdout.String(), word)
				}
			})
		}
	}
}

// Garbage on the LAN harms nobody: the client keeps being answered, and the speakers
// keep running.
func TestMalformedFrames(t *testing.T) {
	s := begin(t)
	addrs, owner := s.givenAnnounced("web", dual)
	restarts := s.restartsOfSpeakers()
	records, stop := s.connectToAll(addrs)

	const frames = 20_000
	seed := uint64(time.Now().UnixNano())
	s.Logf("%d frames from seed %d", frames, seed)
	s.must(wire.Garbage(s.client.Netns(), lanLink, addrs, frames, seed))

	for i, addr := range addrs {
		s.expectAnswers(records[i], 20)
		s.expectAnnouncedBy(addr, owner)
	}
	stop()
	s.expectGaps(addrs, records)
	if now := s.restartsOfSpeakers(); now != restarts {
		s.Errorf("speakers were restarted: before %s, now %s", restarts, now)
	}
}

// restartsOfSpeakers tells which speakers run and how often each was restarted.
func (s *story) restartsOfSpeakers() string {
	s.Helper()
	var all []string
	for _, pod := range s.podsOf("speaker") {
		for _, container := range pod.Status.ContainerStatuses {
			all = append(all, fmt.Sprintf("%s:%d", pod.Name, container.RestartCount))
		}
	}
	return strings.Join(all, " ")
}
