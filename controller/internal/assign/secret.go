// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	// secretField is where speakers look for the key of their gossip.
	secretField = "secretkey"
	secretBytes = 128
	// secretRetry is the time between two attempts to make the Secret.
	secretRetry = 5 * time.Second
)

// secrets is access to the Secrets of a namespace.
type secrets interface {
	Get(ctx context.Context, namespace, name string) (*corev1.Secret, error)
	Create(ctx context.Context, namespace string, s *corev1.Secret) (*corev1.Secret, error)
}

// secretKeeper sees to it that the speakers have a key to encrypt their gossip with.
type secretKeeper struct {
	secrets         secrets
	namespace, name string
	log             *slog.Logger
}

// run makes the Secret if it is not there, and waits for ctx to end. One that exists
// is left alone, whatever it holds.
func (k *secretKeeper) run(ctx context.Context) error {
	retry := time.NewTicker(secretRetry)
	defer retry.Stop()
	for done := k.name == ""; !done; {
		err := k.ensure(ctx)
		if done = err == nil; done || ctx.Err() != nil {
			break
		}
		k.log.Error("the memberlist Secret is missing and cannot be made, trying again", lb.LogKeyError, err)
		select {
		case <-ctx.Done():
		case <-retry.C:
		}
	}
	<-ctx.Done()
	return nil
}

func (k *secretKeeper) ensure(ctx context.Context) error {
	_, err := k.secrets.Get(ctx, k.namespace, k.name)
	if err == nil || !apierrors.IsNotFound(err) {
		return err
	}
	random := make([]byte, secretBytes)
	if _, err := rand.Read(random); err != nil {
		return fmt.Errorf("make the memberlist key: %w", err)
	}
	_, err = k.secrets.Create(ctx, k.namespace, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: k.name, Namespace: k.namespace, Labels: map[string]string{"app": "metallb"}},
		Type:       corev1.SecretTypeOpaque,
		Data:       map[string][]byte{secretField: []byte(base64.StdEncoding.EncodeToString(random))},
	})
	if apierrors.IsAlreadyExists(err) {
		return nil // the other replica was faster
	}
	if err == nil {
		k.log.Info("made the memberlist Secret", lb.LogKeyObject, k.namespace+"/"+k.name)
	}
	return err
}
