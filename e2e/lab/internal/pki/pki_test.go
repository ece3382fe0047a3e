// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestPairsAreSignedByTheAuthority(t *testing.T) {
	now := time.Now()
	a, err := NewAuthority("authority", now)
	if err != nil {
		t.Fatal(err)
	}
	server, err := a.Server("server", []string{"name.example"}, []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")})
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.Client("user", "group")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.PEM()) {
		t.Fatal("the authority's PEM holds no certificate")
	}
	for _, name := range []string{"name.example", "192.0.2.1", "2001:db8::1"} {
		if _, err := leaf(t, server).Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := leaf(t, server).VerifyHostname("192.0.2.2"); err == nil {
		t.Error("the certificate is good for an address that was not given")
	}
	c := leaf(t, client)
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: now}); err != nil {
		t.Error(err)
	}
	if c.Subject.CommonName != "user" || !slices.Equal(c.Subject.Organization, []string{"group"}) {
		t.Errorf("the client is %s", c.Subject)
	}
}

func leaf(t *testing.T, p Pair) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestSigningKey(t *testing.T) {
	private, public, err := NewSigningKey()
	if err != nil || len(private) == 0 || len(public) == 0 {
		t.Fatalf("%d and %d bytes, %v", len(private), len(public), err)
	}
	if slices.Equal(private, public) {
		t.Error("the public half is the private one")
	}
}
