// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/herald-lb/herald/internal/lb"
)

const (
	// scrapesAtOnce bounds concurrent collections: each walks all metrics.
	scrapesAtOnce = 3
	// reviewTimeout bounds the API server's answer about one scraper.
	reviewTimeout = 5 * time.Second
)

// MetricsServer serves /metrics over HTTPS to those whom the API server allows
// to get the path /metrics, as MetalLB does: the bearer token is judged by a
// TokenReview, its owner by a SubjectAccessReview. name is the common name of
// the certificate that is made if options give no directory with one.
func MetricsServer(name string, o *Options, metrics prometheus.Gatherer, reviewer Reviewer, log *slog.Logger) (Server, error) {
	config := o.TLS.Config()
	if o.MetricsCertDir != "" {
		certificate, err := newFileCertificate(o.MetricsCertDir, log)
		if err != nil {
			return Server{}, err
		}
		config.GetCertificate = certificate.get
	} else {
		certificate, err := selfSignedCertificate(name, time.Now())
		if err != nil {
			return Server{}, err
		}
		config.Certificates = append(config.Certificates, *certificate)
	}
	scrape := promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(log.Handler(), slog.LevelError),
		MaxRequestsInFlight: scrapesAtOnce,
	})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", authorized(newVerdicts(reviewer), scrape, log))
	return Server{Address: o.MetricsAddress(), Handler: mux, TLS: config, Log: log}, nil
}

// authorized lets pass only requests whose bearer may get their path. A client
// without a token, or with an invalid one, gets 401; one that is known and not
// allowed gets 403; 503 says that the API server could not be asked.
func authorized(verdicts *verdicts, next http.Handler, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), reviewTimeout)
		defer cancel()
		token, err := bearerToken(r)
		if err == nil {
			err = verdicts.allow(ctx, token, r.URL.Path)
		}
		var forbidden *ForbiddenError
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case errors.Is(err, ErrUnauthenticated):
			w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750 section 3
			http.Error(w, "a valid bearer token is needed", http.StatusUnauthorized)
		case errors.As(err, &forbidden):
			log.Debug("scrape refused", lb.LogKeyReason, err)
			http.Error(w, err.Error(), http.StatusForbidden)
		default:
			log.Warn("scraper not authorised", lb.LogKeyError, err)
			http.Error(w, "the API server cannot be asked", http.StatusServiceUnavailable)
		}
	}
}

// bearerToken returns the token of the Authorization header (RFC 6750 section
// 2.1; the scheme is case-insensitive, RFC 9110 section 11.1).
func bearerToken(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", fmt.Errorf("read the Authorization header: %w", ErrUnauthenticated)
	}
	return token, nil
}
