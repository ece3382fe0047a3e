// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// poolPatcher counts and keeps the status patches of pools.
type poolPatcher struct {
	mu     sync.Mutex
	bodies map[string][]string
}

func (p *poolPatcher) PatchStatus(_ context.Context, _, name string, _ types.PatchType, body []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bodies[name] = append(p.bodies[name], string(body))
	return nil
}

func (p *poolPatcher) count(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.bodies[name])
}

func (p *poolPatcher) last(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.bodies[name]); n > 0 {
		return p.bodies[name][n-1]
	}
	return ""
}
