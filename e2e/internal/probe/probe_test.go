// SPDX-License-Identifier: Apache-2.0

package probe_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/e2e/internal/probe"
)

// A server that is silent for a while, asked by somebody who does not wait for one
// answer before asking again.
func TestLongestGapIsTheTimeBetweenAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		ask := func(ctx context.Context) (string, error) {
			switch age := time.Since(start); {
			case age < 100*time.Millisecond:
				return "first", nil
			case age < 400*time.Millisecond:
				<-ctx.Done()
				return "", errors.New("silence")
			default:
				return "second", nil
			}
		}
		p := probe.New(10*time.Millisecond, 50*time.Millisecond, ask)
		time.AfterFunc(505*time.Millisecond, cancel)
		p.Run(ctx)

		asked, answered := p.Counts()
		if asked != 51 || answered != 21 {
			t.Errorf("asked %d, answered %d; want 51 and 21", asked, answered)
		}
		gap := p.Longest()
		if gap.Length != 310*time.Millisecond || gap.Before.By != "first" || gap.After.By != "second" {
			t.Errorf("longest gap %v between %q and %q; want 310ms between first and second", gap.Length, gap.Before.By, gap.After.By)
		}
		if last, err := p.Last(); last.By != "second" || err == nil {
			t.Errorf("last answer by %q, last error %v", last.By, err)
		}
		failures := p.Failures()
		if len(failures) != 30 || !failures[0].Asked.Equal(start.Add(100*time.Millisecond)) || failures[0].Err == nil {
			t.Errorf("%d failures; want 30, the first of a question put after 100ms: %v", len(failures), failures)
		}
		if late := p.Late(); late != 0 {
			t.Errorf("late by %v in a bubble where time waits for us", late)
		}
		if n := len(p.Since(start.Add(450 * time.Millisecond))); n != 6 {
			t.Errorf("%d answers from 450 ms on; want 6", n)
		}
	})
}

func TestNoAnswersMakeNoGap(t *testing.T) {
	p := probe.New(time.Second, time.Second, func(context.Context) (string, error) { return "", errors.New("nobody") })
	if gap := p.Longest(); gap != (probe.Gap{}) {
		t.Errorf("gap %v without answers", gap)
	}
}
