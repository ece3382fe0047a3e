// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// reviewer is an API server that knows one token and allows its owner one path.
type reviewer struct {
	token, path string
	reviews     atomic.Int32
	block       chan struct{} // if set, Authenticate waits for it
	err         error         // if set, the API server is away
}

func (r *reviewer) Authenticate(ctx context.Context, token string) (User, error) {
	r.reviews.Add(1)
	if r.block != nil {
		select {
		case <-r.block:
		case <-ctx.Done():
			return User{}, ctx.Err()
		}
	}
	switch {
	case r.err != nil:
		return User{}, r.err
	case token != r.token:
		return User{}, ErrUnauthenticated
	}
	return User{Name: "prometheus"}, nil
}

func (r *reviewer) Authorize(_ context.Context, user User, path string) error {
	if path != r.path {
		return &ForbiddenError{User: user.Name, Path: path}
	}
	return nil
}

func TestPermissionIsRememberedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reviewer{token: "good", path: "/metrics"}
		v := newVerdicts(r)
		allow := func(token, path string, reviews int32, want error) {
			t.Helper()
			err := v.allow(t.Context(), token, path)
			if !errors.Is(err, want) || r.reviews.Load() != reviews {
				t.Errorf("after %d reviews: %v; want %d reviews: %v", r.reviews.Load(), err, reviews, want)
			}
		}
		allow("good", "/metrics", 1, nil)
		allow("good", "/metrics", 1, nil)
		time.Sleep(verdictTTL - time.Nanosecond)
		allow("good", "/metrics", 1, nil)
		time.Sleep(time.Nanosecond)
		allow("good", "/metrics", 2, nil)
		allow("bad", "/metrics", 3, ErrUnauthenticated)
		allow("bad", "/metrics", 4, ErrUnauthenticated) // refusals are not remembered
		allow("good", "/metrics", 4, nil)

		time.Sleep(2 * verdictTTL)
		r.token = "other"
		allow("good", "/metrics", 5, ErrUnauthenticated) // revoked
	})
}

func TestPermissionIsForOnePath(t *testing.T) {
	r := &reviewer{token: "good", path: "/metrics"}
	v := newVerdicts(r)
	if err := v.allow(t.Context(), "good", "/metrics"); err != nil {
		t.Fatal(err)
	}
	var forbidden *ForbiddenError
	if err := v.allow(t.Context(), "good", "/debug"); !errors.As(err, &forbidden) {
		t.Errorf("another path: %v, want a ForbiddenError", err)
	}
}

func TestPermissionsAreBounded(t *testing.T) {
	v := newVerdicts(&reviewer{})
	now := time.Unix(0, 0)
	for i := range 10 * maxVerdicts {
		key := verdictKey{path: strconv.Itoa(i)}
		v.remember(key, now)
		v.remember(key, now)
		if !v.remembers(key, now) {
			t.Fatalf("permission %d is not remembered", i)
		}
	}
	if len(v.allowed) != maxVerdicts || len(v.order) != maxVerdicts {
		t.Errorf("%d permissions in an order of %d, want %d", len(v.allowed), len(v.order), maxVerdicts)
	}
}

func TestReviewsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &reviewer{token: "good", path: "/metrics", block: make(chan struct{})}
		v := newVerdicts(r)
		ctx, cancel := context.WithTimeout(t.Context(), reviewTimeout)
		defer cancel()
		results := make(chan error)
		const strangers = 3 * reviewsAtOnce
		for i := range strangers {
			go func() { results <- v.allow(ctx, strconv.Itoa(i), "/metrics") }()
		}
		synctest.Wait()
		if got := r.reviews.Load(); got != reviewsAtOnce {
			t.Errorf("%d reviews at once, want %d", got, reviewsAtOnce)
		}
		for range strangers {
			if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("allow() = %v, want the deadline", err)
			}
		}
	})
}
