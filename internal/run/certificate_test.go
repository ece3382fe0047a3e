// SPDX-License-Identifier: Apache-2.0

package run

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writeCertificate puts a certificate with that name into the directory, as a
// renewal does.
func writeCertificate(t *testing.T, directory, name string, modified time.Time) {
	t.Helper()
	certificate, err := selfSignedCertificate(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(certificate.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]},
		"tls.key": {Type: "EC PRIVATE KEY", Bytes: key},
	} {
		writeFile(t, filepath.Join(directory, file), pem.EncodeToMemory(block), modified)
	}
}

func writeFile(t *testing.T, path string, content []byte, modified time.Time) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		t.Fatal(err)
	}
}

func commonName(t *testing.T, c *fileCertificate) string {
	t.Helper()
	pair, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return certificate.Subject.CommonName
}

func TestCertificateIsRenewed(t *testing.T) {
	directory := t.TempDir()
	start := time.Unix(1_700_000_000, 0)
	writeCertificate(t, directory, "first", start)
	c, err := newFileCertificate(directory, discard())
	if err != nil {
		t.Fatal(err)
	}
	if got := commonName(t, c); got != "first" {
		t.Errorf("serves %q", got)
	}
	writeFile(t, filepath.Join(directory, "tls.crt"), []byte("half a renewal"), start.Add(time.Hour))
	if got := commonName(t, c); got != "first" {
		t.Errorf("serves %q during a renewal, want the last good one", got)
	}
	writeCertificate(t, directory, "second", start.Add(2*time.Hour))
	if got := commonName(t, c); got != "second" {
		t.Errorf("serves %q after the renewal", got)
	}
	if err := os.Remove(filepath.Join(directory, "tls.key")); err != nil {
		t.Fatal(err)
	}
	if got := commonName(t, c); got != "second" {
		t.Errorf("serves %q after the files have gone", got)
	}
}

func TestCertificateMustBeThereAtStart(t *testing.T) {
	if _, err := newFileCertificate(t.TempDir(), discard()); err == nil {
		t.Error("an empty directory is accepted")
	}
	directory := t.TempDir()
	writeCertificate(t, directory, "x", time.Now())
	writeFile(t, filepath.Join(directory, "tls.key"), nil, time.Now())
	if _, err := newFileCertificate(directory, discard()); err == nil {
		t.Error("an empty key is accepted")
	}
}

func TestCertificateFromADirectoryIsServed(t *testing.T) {
	o := options()
	o.MetricsCertDir = t.TempDir()
	writeCertificate(t, o.MetricsCertDir, "metrics.example", time.Now())
	url := metricsServer(t, o, &reviewer{token: "good", path: "/metrics"})
	roots := x509.NewCertPool()
	content, err := os.ReadFile(filepath.Join(o.MetricsCertDir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(content)
	code, body := get(t, url+"/metrics", "Bearer good", &tls.Config{RootCAs: roots, ServerName: "metrics.example"})
	if code != 200 {
		t.Errorf("%d %q", code, body)
	}
}
