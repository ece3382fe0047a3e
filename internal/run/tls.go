// SPDX-License-Identifier: Apache-2.0

package run

import (
	"crypto/tls"
	"fmt"
	"strconv"
	"strings"
)

// TLSOptions say what a TLS server accepts. The zero value is Go's choice of
// ciphers and curves with TLS 1.2; [RegisterOptions] sets TLS 1.3.
type TLSOptions struct {
	MinVersion tlsVersion
	// CipherSuites apply to TLS 1.2 only: those of 1.3 are not configurable.
	CipherSuites     cipherSuites
	CurvePreferences curves
}

func (o *TLSOptions) register(f *FlagSet) {
	o.MinVersion = tls.VersionTLS13
	f.Var(&o.MinVersion, "tls-min-version", "least TLS `version` of the metrics server: 1.2 or 1.3")
	f.Var(&o.CipherSuites, "tls-cipher-suites", "comma-separated cipher `suites` of TLS 1.2, by their IANA names; default Go's")
	f.Var(&o.CurvePreferences, "tls-curve-preferences", "comma-separated key exchange `curves`, preferred first: X25519MLKEM768, X25519, P256, P384, P521; default Go's")
}

// Config returns a server's configuration without a certificate.
func (o *TLSOptions) Config() *tls.Config {
	return &tls.Config{
		MinVersion:       max(uint16(o.MinVersion), tls.VersionTLS12),
		CipherSuites:     o.CipherSuites,
		CurvePreferences: o.CurvePreferences,
	}
}

type tlsVersion uint16

func (v *tlsVersion) String() string {
	switch *v {
	case 0:
		return ""
	case tls.VersionTLS12:
		return "1.2"
	default:
		return "1.3"
	}
}

func (v *tlsVersion) Set(s string) error {
	switch s {
	case "1.2", "TLS1.2", "VersionTLS12":
		*v = tls.VersionTLS12
	case "1.3", "TLS1.3", "VersionTLS13":
		*v = tls.VersionTLS13
	default:
		return fmt.Errorf("want 1.2 or 1.3")
	}
	return nil
}

type cipherSuites []uint16

func (c *cipherSuites) String() string {
	names := make([]string, 0, len(*c))
	for _, id := range *c {
		names = append(names, tls.CipherSuiteName(id))
	}
	return strings.Join(names, ",")
}

// Set accepts only the suites that Go holds secure.
func (c *cipherSuites) Set(s string) error {
	known := map[string]uint16{}
	for _, suite := range tls.CipherSuites() {
		known[suite.Name] = suite.ID
	}
	ids, err := parseNames(s, known)
	*c = ids
	return err
}

type curves []tls.CurveID

func (c *curves) String() string {
	names := make([]string, 0, len(*c))
	for _, id := range *c {
		names = append(names, id.String())
	}
	return strings.Join(names, ",")
}

// Set accepts Go's names (CurveP256), the short ones (P256) and the numbers
// that IANA assigned.
func (c *curves) Set(s string) error {
	known := map[string]tls.CurveID{}
	for _, id := range []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521} {
		name := id.String()
		known[name] = id
		known[strings.TrimPrefix(name, "Curve")] = id
		known[strconv.Itoa(int(id))] = id
	}
	ids, err := parseNames(s, known)
	*c = ids
	return err
}

// parseNames reads a comma-separated list of known names. An empty list is nil.
func parseNames[ID any](list string, known map[string]ID) ([]ID, error) {
	var ids []ID
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		id, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%q is not known", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}
