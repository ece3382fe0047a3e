// SPDX-License-Identifier: Apache-2.0

package run

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/herald-lb/herald/internal/lb"
)

// A selfSigned certificate lives as long as the process, so its validity only
// has to be longer than that.
const selfSignedValidity = 10 * 365 * 24 * time.Hour

// selfSignedCertificate returns a certificate that exists in memory only. A
// client cannot verify it; it protects the scraper's bearer token from being
// read on the wire, not from an impostor.
func selfSignedCertificate(commonName string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the key of the metrics server: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // RFC 5280 4.1.2.2: at most 20 octets
	if err != nil {
		return nil, fmt.Errorf("generate the serial number of the metrics certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: commonName},
		DNSNames:     []string{commonName},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(selfSignedValidity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the metrics certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// fileCertificate is the certificate in a directory that somebody else renews,
// a mounted Secret say. It is read again when a file has changed, and a broken
// renewal leaves the last good certificate in use.
type fileCertificate struct {
	directory string
	log       *slog.Logger

	mu      sync.Mutex // guards what follows; handshakes are concurrent
	stamp   [2]time.Time
	current *tls.Certificate
}

// newFileCertificate reads the certificate for the first time.
func newFileCertificate(directory string, log *slog.Logger) (*fileCertificate, error) {
	c := &fileCertificate{directory: directory, log: log}
	if err := c.refresh(); err != nil {
		return nil, err
	}
	return c, nil
}

// get is a [tls.Config.GetCertificate].
func (c *fileCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refresh(); err != nil {
		c.log.Warn("metrics certificate not renewed, the last one stays in use", lb.LogKeyError, err)
	}
	return c.current, nil
}

func (c *fileCertificate) refresh() error {
	certificate, key := filepath.Join(c.directory, "tls.crt"), filepath.Join(c.directory, "tls.key")
	stamp, err := modificationTimes(certificate, key)
	if err != nil {
		return fmt.Errorf("read the metrics certificate: %w", err)
	}
	if c.current != nil && stamp == c.stamp {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("read the metrics certificate from %s: %w", c.directory, err)
	}
	c.current, c.stamp = &pair, stamp
	return nil
}

func modificationTimes(paths ...string) (stamp [2]time.Time, err error) {
	for i, path := range paths {
		file, err := os.Stat(path)
		if err != nil {
			return stamp, err
		}
		stamp[i] = file.ModTime()
	}
	return stamp, nil
}
