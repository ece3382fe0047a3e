// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// pool keeps the speakers, those in use and those that wait for it. They are used
// again because gobgp's loop never ends: one that were dropped would stay in memory,
// with its table.
//
// The zero value is an empty pool. It is safe for concurrent use.
type pool struct {
	mu   sync.Mutex // guards what follows, and that only one speaker starts at a time
	idle []*speaker
	all  []*speaker
}

// get returns a speaker that has been started with this ASN and router ID.
func (p *pool) get(ctx context.Context, c speakerConfig, l *listener) (*speaker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var s *speaker
	if n := len(p.idle); n > 0 {
		s, p.idle = p.idle[n-1], p.idle[:n-1]
	} else {
		s = newSpeaker()
		p.all = append(p.all, s)
	}
	s.log.listener.Store(l)
	if err := p.start(ctx, s, c); err != nil {
		p.idle = append(p.idle, s)
		return nil, err
	}
	return s, nil
}

// put takes a speaker back that has no peer any more. What its table took is freed.
func (p *pool) put(ctx context.Context, s *speaker) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errors.Join(s.clear(ctx), p.start(ctx, s, idleConfig))
	s.log.listener.Store(nil)
	if err != nil {
		return fmt.Errorf("put a BGP speaker away: %w", err)
	}
	p.idle = append(p.idle, s)
	return nil
}

// start starts one speaker while all others stand still: gobgp keeps its options for
// route selection in variables of a package, which each start writes and which the
// loop of each speaker reads. They are the same for all, but that is for the reader to
// know and not for the memory model.
func (p *pool) start(ctx context.Context, s *speaker, c speakerConfig) error {
	others := slices.DeleteFunc(slices.Clone(p.all), func(o *speaker) bool { return o == s })
	for _, o := range others {
		o.loop.pause(ctx, o)
		defer o.loop.resume()
	}
	return s.start(ctx, c)
}
