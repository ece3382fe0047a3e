// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/herald-lb/herald/e2e/lab/internal/pki"
)

// SecurePort is where the API server listens.
const SecurePort = 6443

// credentials are the files that identify everyone to everyone.
type credentials struct {
	dir       string
	authority *pki.Authority
}

// issueCredentials writes the authority, the API server's certificate and the
// service account key pair.
func issueCredentials(dir string, names []string, addresses []netip.Addr, now time.Time) (*credentials, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create credentials: %w", err)
	}
	authority, err := pki.NewAuthority("herald-lab", now)
	if err != nil {
		return nil, err
	}
	c := &credentials{dir: dir, authority: authority}
	server, err := authority.Server("kube-apiserver", names, addresses)
	if err != nil {
		return nil, err
	}
	kubelet, err := authority.Client("kube-apiserver-kubelet-client")
	if err != nil {
		return nil, err
	}
	private, public, err := pki.NewSigningKey()
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		"ca.crt":             authority.PEM(),
		"apiserver.crt":      server.Certificate,
		"apiserver.key":      server.Key,
		"kubelet-client.crt": kubelet.Certificate,
		"kubelet-client.key": kubelet.Key,
		"sa.key":             private,
		"sa.pub":             public,
	} {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return nil, fmt.Errorf("create credentials: %w", err)
		}
	}
	return c, nil
}

func (c *credentials) path(name string) string { return filepath.Join(c.dir, name) }

// kubeconfig writes a kubeconfig for a user, with a client certificate of its
// own inside, and returns its path.
func (c *credentials) kubeconfig(file string, server netip.Addr, user string, groups ...string) (string, error) {
	pair, err := c.authority.Client(user, groups...)
	if err != nil {
		return "", err
	}
	encode := base64.StdEncoding.EncodeToString
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: lab
  context: {cluster: lab, user: %[3]s}
current-context: lab
`, serverURL(server), encode(c.authority.PEM()), user, encode(pair.Certificate), encode(pair.Key))
	path := c.path(file)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return "", fmt.Errorf("write kubeconfig of %s: %w", user, err)
	}
	return path, nil
}

// KubeletTLS returns what nodes at these addresses answer the API server with. It
// asks for a certificate of the cluster's authority.
func (cp *ControlPlane) KubeletTLS(addresses []netip.Addr) (*tls.Config, error) {
	authority := cp.credentials.authority
	pair, err := authority.Server("kubelet", nil, addresses)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	if err != nil {
		return nil, fmt.Errorf("load certificate of kubelet: %w", err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(authority.PEM())
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		ClientCAs:    clients,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}, nil
}

func serverURL(addr netip.Addr) string {
	return "https://" + net.JoinHostPort(addr.String(), strconv.Itoa(SecurePort))
}
