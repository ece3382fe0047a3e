// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

// apiServer answers reviews as an API server does and returns what it was sent
// by path.
func apiServer(t *testing.T, answers map[string]string) (*APIReviewer, map[string]map[string]any) {
	t.Helper()
	sent := map[string]map[string]any{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var object map[string]any
		if err := json.Unmarshal(body, &object); err != nil {
			t.Errorf("%s %s: %v in %q", r.Method, r.URL.Path, err, body)
		}
		sent[r.Method+" "+r.URL.Path] = object
		answer, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	reviewer, err := NewAPIReviewer(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return reviewer, sent
}

const (
	tokenReviews  = "/apis/authentication.k8s.io/v1/tokenreviews"
	accessReviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
)

func TestAuthenticate(t *testing.T) {
	r, sent := apiServer(t, map[string]string{tokenReviews: `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview",
		"status":{"authenticated":true,"user":{"username":"prometheus","uid":"7","groups":["g"],"extra":{"k":["v"]}}}}`})
	user, err := r.Authenticate(t.Context(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	want := User{Name: "prometheus", UID: "7", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}
	if diff := cmp.Diff(want, user); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
	review := sent["POST "+tokenReviews]
	if review["kind"] != "TokenReview" || review["apiVersion"] != "authentication.k8s.io/v1" {
		t.Errorf("sent %v", review)
	}
	if diff := cmp.Diff(map[string]any{"token": "secret"}, review["spec"]); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
}

func TestAuthenticateUnknownToken(t *testing.T) {
	r, _ := apiServer(t, map[string]string{tokenReviews: `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview",
		"status":{"error":"invalid bearer token"}}`})
	if _, err := r.Authenticate(t.Context(), "x"); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("Authenticate() = %v, want %v", err, ErrUnauthenticated)
	}
}

func TestAuthorize(t *testing.T) {
	user := User{Name: "prometheus", UID: "7", Groups: []string{"g"}, Extra: map[string][]string{"k": {"v"}}}
	for _, allowed := range []string{"true", "false"} {
		t.Run(allowed, func(t *testing.T) {
			r, sent := apiServer(t, map[string]string{accessReviews: `{"apiVersion":"authorization.k8s.io/v1",
				"kind":"SubjectAccessReview","status":{"allowed":` + allowed + `,"reason":"no rule"}}`})
			err := r.Authorize(t.Context(), user, "/metrics")
			var forbidden *ForbiddenError
			if (err == nil) != (allowed == "true") || (err != nil && !errors.As(err, &forbidden)) {
				t.Errorf("Authorize() = %v", err)
			}
			want := map[string]any{
				"user": "prometheus", "uid": "7", "groups": []any{"g"}, "extra": map[string]any{"k": []any{"v"}},
				"nonResourceAttributes": map[string]any{"path": "/metrics", "verb": "get"},
			}
			if diff := cmp.Diff(want, sent["POST "+accessReviews]["spec"]); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReviewErrorsAreNotVerdicts(t *testing.T) {
	r, _ := apiServer(t, nil)
	var forbidden *ForbiddenError
	if _, err := r.Authenticate(t.Context(), "x"); err == nil || errors.Is(err, ErrUnauthenticated) || !strings.HasPrefix(err.Error(), "create a TokenReview") {
		t.Errorf("Authenticate() = %v", err)
	}
	if err := r.Authorize(t.Context(), User{}, "/metrics"); err == nil || errors.As(err, &forbidden) {
		t.Errorf("Authorize() = %v", err)
	}
}
