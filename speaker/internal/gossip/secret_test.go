// SPDX-License-Identifier: Apache-2.0

package gossip

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Speakers of different releases must derive the same key.
func TestDerivedKeyIsStable(t *testing.T) {
	key, err := deriveKey([]byte("a secret"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(key), "1b44982d6a2b9bca54990580957d108f8817c31413f98f64c22411c2dcada986"; got != want {
		t.Errorf("key = %s, want %s", got, want)
	}
}

// Who does not know the secret is not let in, whether it encrypts or not, and it
// does not disturb the others.
func TestStrangersAreRefused(t *testing.T) {
	for name, secret := range map[string]string{"wrong secret": "another secret", "no encryption": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 3)
				defer c.close()
				c.awaitAlive(2*time.Second, c.members, 0, 1, 2)
				c.secret = secret
				stranger := c.start(3)
				time.Sleep(time.Minute)
				c.awaitAlive(0, c.members[:3], 0, 1, 2)
				c.awaitAlive(0, []*member{stranger}, 3)
			})
		})
	}
}

func TestPlainTextWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{t: t, net: newNetwork()}
		c.start(0)
		c.start(1)
		defer c.close()
		c.awaitAlive(2*time.Second, c.members, 0, 1)
	})
}

func TestSecretIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		c.prepare(2)
		late := c.members[2]
		path := filepath.Join(late.secretDir, secretFile)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		late.SetPeers(c.nodes())
		c.run(late)
		defer c.close()
		time.Sleep(time.Minute)
		if isSettled(late.Members) {
			t.Error("settled without having taken part")
		}
		writeSecret(t, late.secretDir, "") // mounted before it was filled
		time.Sleep(time.Minute)
		c.awaitAlive(0, c.members[:2], 0, 1)
		writeSecret(t, late.secretDir, "a secret")
		c.awaitAlive(5*time.Second, c.members, 0, 1, 2)
	})
}

func TestAwaitingSecretEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 0)
		m := c.prepare(0)
		if err := os.Remove(filepath.Join(m.secretDir, secretFile)); err != nil {
			t.Fatal(err)
		}
		c.run(m)
		time.Sleep(time.Minute)
		c.leave(m)
	})
}

func TestUnreadableSecretIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 0)
		m := c.prepare(0)
		path := filepath.Join(m.secretDir, secretFile)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		c.run(m)
		if err := <-m.done; err == nil {
			t.Error("a directory was taken for a secret")
		}
	})
}

// The secret changes, kubelets notice it up to ninety seconds apart, and no member is
// lost at any time. In the end only the new secret counts.
func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 4)
		defer c.close()
		c.awaitAlive(2*time.Second, c.members, 0, 1, 2, 3)
		for _, m := range c.members {
			writeSecret(t, m.secretDir, "a new secret")
			time.Sleep(30 * time.Second)
		}
		time.Sleep(3 * rotationStep)
		for _, m := range c.members {
			if n := testutil.ToFloat64(m.metrics.events.WithLabelValues("leave")); n != 0 {
				t.Errorf("%s lost %v members during the rotation", m.name, n)
			}
		}
		c.awaitAlive(0, c.members, 0, 1, 2, 3)

		stranger := c.start(4) // knows the old secret only
		time.Sleep(time.Minute)
		c.awaitAlive(0, c.members[:4], 0, 1, 2, 3)
		c.leave(stranger)
		c.secret = "a new secret"
		c.start(4)
		c.awaitAlive(5*time.Second, c.members, 0, 1, 2, 3, 4)
	})
}

// The secret changes again while a rotation is under way.
func TestKeyRotationTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2)
		defer c.close()
		for _, secret := range []string{"second", "third"} {
			for _, m := range c.members {
				writeSecret(t, m.secretDir, secret)
			}
			time.Sleep(time.Minute)
		}
		time.Sleep(5 * rotationStep)
		c.awaitAlive(0, c.members, 0, 1)
		c.secret = "third"
		c.start(2)
		c.awaitAlive(5*time.Second, c.members, 0, 1, 2)
	})
}
