// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"
)

// User is who a bearer token belongs to, as the API server says.
type User struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
}

// A Reviewer knows who a token belongs to and what that user may do. Its
// methods may be called at the same time.
type Reviewer interface {
	// Authenticate returns the owner of the token, or [ErrUnauthenticated].
	Authenticate(ctx context.Context, token string) (User, error)
	// Authorize returns nil if the user may get the path (a nonResourceURL), or
	// a [ForbiddenError].
	Authorize(ctx context.Context, user User, path string) error
}

// ErrUnauthenticated says that a request carries no valid token.
var ErrUnauthenticated = errors.New("no valid bearer token")

// ForbiddenError says that a user may not get a path.
type ForbiddenError struct {
	User, Path, Reason string
}

// Error names the user and the rule that is missing.
func (e *ForbiddenError) Error() string {
	text := fmt.Sprintf("user %q cannot get path %q: a ClusterRole with nonResourceURLs [%s] and verb get allows it", e.User, e.Path, e.Path)
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text
}

const (
	// verdictTTL is how long a permission outlives its withdrawal.
	verdictTTL = time.Minute
	// maxVerdicts bounds the memory; a cluster has a handful of scrapers.
	maxVerdicts = 64
	// reviewsAtOnce bounds what strangers can make us ask the API server.
	reviewsAtOnce = 4
)

// verdicts remembers for a while who was allowed what, so that a scrape does
// not cost two requests to the API server. Refusals are not remembered: a
// permission that is given works at once, and strangers cannot push those who
// are allowed out of the memory.
type verdicts struct {
	reviewer Reviewer
	slots    chan struct{}

	mu      sync.Mutex // guards allowed and order
	allowed map[verdictKey]time.Time
	order   []verdictKey // oldest first
}

// verdictKey holds a hash, so that no token stays in memory.
type verdictKey struct {
	token [sha256.Size]byte
	path  string
}

func newVerdicts(reviewer Reviewer) *verdicts {
	return &verdicts{
		reviewer: reviewer,
		slots:    make(chan struct{}, reviewsAtOnce),
		allowed:  map[verdictKey]time.Time{},
	}
}

// allow returns nil if the bearer of the token may get the path, and otherwise
// what the reviewer says.
func (v *verdicts) allow(ctx context.Context, token, path string) error {
	key := verdictKey{token: sha256.Sum256([]byte(token)), path: path}
	if v.remembers(key, time.Now()) {
		return nil
	}
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return fmt.Errorf("wait for earlier reviews: %w", ctx.Err())
	}
	user, err := v.reviewer.Authenticate(ctx, token)
	if err != nil {
		return err
	}
	if err := v.reviewer.Authorize(ctx, user, path); err != nil {
		return err
	}
	v.remember(key, time.Now())
	return nil
}

func (v *verdicts) remembers(key verdictKey, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	expiry, ok := v.allowed[key]
	return ok && now.Before(expiry)
}

// remember adds a permission in place of the oldest if there are too many.
func (v *verdicts) remember(key verdictKey, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.allowed[key]; !known {
		v.order = append(v.order, key)
	}
	v.allowed[key] = now.Add(verdictTTL)
	if len(v.order) > maxVerdicts {
		delete(v.allowed, v.order[0])
		v.order = append(v.order[:0], v.order[1:]...)
	}
}
