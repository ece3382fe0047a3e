// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// vault has at most one Secret. failures is how many requests fail first.
type vault struct {
	secret   *corev1.Secret
	failures int
	requests int
}

func (v *vault) fails() error {
	v.requests++
	if v.failures > 0 {
		v.failures--
		return errors.New("connection refused")
	}
	return nil
}

func (v *vault) Get(_ context.Context, _, name string) (*corev1.Secret, error) {
	if err := v.fails(); err != nil {
		return nil, err
	}
	if v.secret == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
	}
	return v.secret, nil
}

func (v *vault) Create(_ context.Context, _ string, s *corev1.Secret) (*corev1.Secret, error) {
	if err := v.fails(); err != nil {
		return nil, err
	}
	v.secret = s
	return s, nil
}

func keep(t *testing.T, v *vault, name string, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	k := secretKeeper{v, "metallb-system", name, slog.New(slog.DiscardHandler)}
	if err := k.run(ctx); err != nil {
		t.Error(err)
	}
}

func TestSecretIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{failures: 2}
		keep(t, v, "memberlist", time.Minute)
		if v.secret == nil {
			t.Fatal("there is no Secret")
		}
		key, err := base64.StdEncoding.DecodeString(string(v.secret.Data["secretkey"]))
		if err != nil || len(key) != 128 || v.secret.Name != "memberlist" {
			t.Errorf("the Secret %q has a key of %d bytes (%v), want memberlist and 128", v.secret.Name, len(key), err)
		}
		if v.requests != 4 {
			t.Errorf("%d requests, want 4: two that fail, one to look, one to make it", v.requests)
		}
	})
}

func TestSecretThatExistsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{secret: &corev1.Secret{}}
		keep(t, v, "memberlist", time.Minute)
		if len(v.secret.Data) > 0 || v.requests != 1 {
			t.Errorf("the Secret was changed: %v, after %d requests", v.secret.Data, v.requests)
		}
	})
}

func TestNoSecretIsMadeUnlessNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		keep(t, v, "", time.Minute)
		if v.requests != 0 {
			t.Errorf("%d requests, want none", v.requests)
		}
	})
}
