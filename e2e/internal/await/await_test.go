// SPDX-License-Identifier: Apache-2.0

package await_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/herald-lb/herald/e2e/internal/await"
)

func TestUntil(t *testing.T) {
	notYet := errors.New("not yet")
	for name, tt := range map[string]struct {
		after time.Duration // when the condition holds
		ends  time.Duration // when ctx does
		want  error
		took  time.Duration
	}{
		"at once":   {0, time.Hour, nil, 0},
		"later":     {250 * time.Millisecond, time.Hour, nil, 300 * time.Millisecond},
		"too late":  {time.Minute, time.Hour, notYet, 10 * time.Second},
		"cancelled": {time.Minute, 2 * time.Second, notYet, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.ends)
				defer cancel()
				begun := time.Now()
				err := await.Until(ctx, 10*time.Second, 100*time.Millisecond, func() error {
					if time.Since(begun) < tt.after {
						return notYet
					}
					return nil
				})
				if took := time.Since(begun); !errors.Is(err, tt.want) || took != tt.took {
					t.Errorf("got %v after %s, want %v after %s", err, took, tt.want, tt.took)
				}
			})
		})
	}
}
