// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	secretFile = "secretkey"
	// keyPurpose binds derived keys to this use and scheme.
	keyPurpose = "herald gossip v1"
	keyLength  = 32 // AES-256

	// secretPoll is how often the file is looked at. Secrets are mounted by switching
	// a link, which file watches miss as often as not.
	secretPoll = time.Second
	// rotationStep is longer than a kubelet may take to notice a changed Secret: its
	// sync period of one minute and a half at most.
	rotationStep = 2 * time.Minute
)

// keys are the encryption keys and where they come from.
type keys struct {
	path string
	ring *memberlist.Keyring
	log  *slog.Logger
	// current is the key that rotate has introduced last.
	current []byte
}

// awaitKeys reads the secret, waiting for it to appear. It returns nil without an
// error if there shall be no encryption, or when ctx ended.
func (m *Members) awaitKeys(ctx context.Context) (*keys, error) {
	if m.config.SecretDir == "" {
		m.log.Warn("gossip is neither encrypted nor authenticated: no secret was configured")
		return nil, nil
	}
	path := filepath.Join(m.config.SecretDir, secretFile)
	tick := time.NewTicker(secretPoll)
	defer tick.Stop()
	for waited := false; ; waited = true {
		key, err := readKey(path)
		switch {
		case err == nil:
			ring, err := memberlist.NewKeyring(nil, key)
			if err != nil {
				return nil, fmt.Errorf("use the gossip secret: %w", err)
			}
			return &keys{path: path, ring: ring, log: m.log, current: key}, nil
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		case !waited:
			m.log.Warn("waiting for the gossip secret", lb.LogKeyError, err)
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-tick.C:
		}
	}
}

// readKey derives the key from the file. An empty file does not exist yet.
func readKey(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the gossip secret: %w", err)
	}
	if len(secret) == 0 {
		return nil, fmt.Errorf("read the gossip secret: %s is empty: %w", path, fs.ErrNotExist)
	}
	return deriveKey(secret)
}

func deriveKey(secret []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, keyPurpose, keyLength)
	if err != nil {
		return nil, fmt.Errorf("derive the gossip key: %w", err)
	}
	return key, nil
}

// rotate introduces new keys as the file changes, until ctx ends. One rotation is
// completed before the next begins, so that there are never more than two keys. A nil
// receiver has nothing to rotate.
//
// That also keeps memberlist's keyring sound: RemoveKey shifts keys in a slice that
// packets are being decrypted from, which is harmless only for the last key.
func (k *keys) rotate(ctx context.Context) {
	if k == nil {
		return
	}
	tick := time.NewTicker(secretPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next, err := readKey(k.path)
		if err != nil || bytes.Equal(next, k.current) {
			continue // a file that is gone for a moment is not a new key
		}
		if !k.replace(ctx, next) {
			return
		}
	}
}

// replace moves from the current key to the next. It reports false if ctx ended or
// the key was refused.
func (k *keys) replace(ctx context.Context, next []byte) bool {
	k.log.Info("gossip secret changed", logKeyStep, "accept the new key")
	if err := k.ring.AddKey(next); err != nil {
		k.log.Error("new gossip key refused", lb.LogKeyError, err)
		return false
	}
	if !pause(ctx, rotationStep) {
		return false
	}
	k.log.Info("gossip secret changed", logKeyStep, "use the new key")
	if err := k.ring.UseKey(next); err != nil {
		k.log.Error("new gossip key not usable", lb.LogKeyError, err)
		return false
	}
	old := k.current
	k.current = next
	if !pause(ctx, rotationStep) {
		return false
	}
	k.log.Info("gossip secret changed", logKeyStep, "drop the old key")
	if err := k.ring.RemoveKey(old); err != nil {
		k.log.Error("old gossip key not dropped", lb.LogKeyError, err)
	}
	return true
}

// pause waits and reports whether it was not interrupted.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
