// SPDX-License-Identifier: Apache-2.0

// Package scrape reads metrics as Prometheus does.
package scrape

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// Port is where Herald's processes serve their metrics.
const Port = "9120"

// Dialer opens connections where the metrics are to be read from.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Metrics asks for the metrics at an address, with a token unless that is empty. It returns
// the status and the body of the answer, of whatever status. It trusts any certificate, as
// those are that sign themselves.
func Metrics(ctx context.Context, dial Dialer, address, token string) (status int, body string, err error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext:       dial,
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // signed by itself, unless told otherwise
	}}
	url := "https://" + net.JoinHostPort(address, Port) + "/metrics"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	return response.StatusCode, string(raw), err
}
