// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/internal/lb"
)

// serve starts an API server of one handler and returns a client of it.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	client, err := NewClient(&rest.Config{Host: server.URL, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func status(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason,
	})
}

func TestPatchStatusSendsOneRequest(t *testing.T) {
	type request struct{ Method, Path, ContentType, Body string }
	got := make(chan request, 8)
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Method, r.URL.Path, r.Header.Get("Content-Type"), string(body)}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"IPAddressPool","apiVersion":"metallb.io/v1beta1"}`)
	})
	err := client.IPAddressPools.PatchStatus(t.Context(), "system", "pool", types.MergePatchType, []byte(`{"status":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := request{
		"PATCH", "/apis/metallb.io/v1beta1/namespaces/system/ipaddresspools/pool/status",
		string(types.MergePatchType), `{"status":{}}`,
	}
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if len(got) != 0 {
		t.Errorf("%d more requests, want none", len(got))
	}
}

func TestDeleteOfWhatIsGoneSucceeds(t *testing.T) {
	for code, reason := range map[int]metav1.StatusReason{
		http.StatusNotFound: metav1.StatusReasonNotFound,
		http.StatusConflict: metav1.StatusReasonConflict, // another object has the name
	} {
		client := serve(t, func(w http.ResponseWriter, _ *http.Request) { status(w, code, reason) })
		if err := client.ServiceL2Statuses.Delete(t.Context(), "system", "l2-x", "uid"); err != nil {
			t.Errorf("delete answered %d: %v, want success", code, err)
		}
	}
}

func TestErrorsNameTheObjectAndKeepTheirKind(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		status(w, http.StatusForbidden, metav1.StatusReasonForbidden)
	})
	_, err := client.Secrets.Get(t.Context(), "system", "memberlist")
	if !apierrors.IsForbidden(err) {
		t.Errorf("error %v does not wrap the API server's", err)
	}
	if want := "get secrets system/memberlist: "; err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("error %v does not begin with %q", err, want)
	}
}

// eventServer collects the Events that are posted to it.
func eventServer(t *testing.T, posted chan<- corev1.Event) *Client {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	codec := protobuf.NewSerializer(scheme, scheme)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		obj, _, err := codec.Decode(body, nil, nil)
		if err != nil {
			t.Errorf("decode what was posted: %v", err)
		} else {
			posted <- *obj.(*corev1.Event)
		}
		w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	})
}

func TestEventWriterWritesInOrderThroughItsGate(t *testing.T) {
	posted := make(chan corev1.Event, 8)
	w := NewEventWriter(eventServer(t, posted), "test-component", "node-1", slog.New(slog.DiscardHandler))
	at := time.Unix(1000, 5)
	w.now = func() time.Time { return at }
	opened := make(chan struct{})
	var passed atomic.Int32
	w.Gate = func(ctx context.Context) {
		select {
		case <-opened:
			passed.Add(1)
		case <-ctx.Done():
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()

	service := lb.ServiceName{Namespace: "shop", Name: "web"}
	w.Write(Event{Service: service, UID: "u", Type: corev1.EventTypeNormal, Reason: "First", Message: "one"})
	at = at.Add(1)
	w.Write(Event{Service: service, UID: "u", Type: corev1.EventTypeWarning, Reason: "Second", Message: "two"})
	if len(posted) != 0 {
		t.Error("an event passed the closed gate")
	}
	close(opened)
	first, second := <-posted, <-posted
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if first.Reason != "First" || second.Reason != "Second" || first.Name == second.Name {
		t.Errorf("events %q %q and %q %q: want First, Second, with different names",
			first.Name, first.Reason, second.Name, second.Reason)
	}
	want := corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: "web", UID: "u"}
	if diff := cmp.Diff(want, first.InvolvedObject); diff != "" {
		t.Errorf("involved object (-want +got):\n%s", diff)
	}
	if first.Source != (corev1.EventSource{Component: "test-component", Host: "node-1"}) {
		t.Errorf("source %+v", first.Source)
	}
	if passed.Load() != 2 {
		t.Errorf("gate passed %d times, want once for each event", passed.Load())
	}
}

func TestEventWriterIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewEventWriter(nil, "c", "", slog.New(slog.DiscardHandler))
		w.Patience = time.Second
		ctx, cancel := context.WithCancel(t.Context())
		due := make(chan time.Time, 2)
		w.Gate = func(context.Context) {
			due <- time.Now()
			cancel() // nothing is written
		}
		written := time.Now()
		w.Write(Event{Service: lb.ServiceName{Namespace: "shop", Name: "web"}})
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
		if waited := (<-due).Sub(written); waited != w.Patience {
			t.Errorf("an event was due after %s, want %s", waited, w.Patience)
		}
	})
}

// TestEventWriterHurriesWhenManyWait has a gate that never opens: Events wait behind it
// until there are too many.
func TestEventWriterHurriesWhenManyWait(t *testing.T) {
	posted := make(chan corev1.Event, maxPendingEvents)
	w := NewEventWriter(eventServer(t, posted), "c", "", slog.New(slog.DiscardHandler))
	held := make(chan struct{}, hurryPendingEvents)
	w.Gate = func(ctx context.Context) {
		held <- struct{}{}
		<-ctx.Done()
	}
	const early = 3
	for range hurryPendingEvents + early {
		w.Write(Event{Service: lb.ServiceName{Namespace: "shop", Name: "web"}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	<-held
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if got, want := len(posted), early+1; got != want {
		t.Errorf("%d events did not wait, want %d", got, want)
	}
}

func TestEventWriterDropsWhatDoesNotFit(t *testing.T) {
	w := NewEventWriter(nil, "c", "", slog.New(slog.DiscardHandler))
	for range maxPendingEvents + 3 {
		w.Write(Event{})
	}
	if got := w.Dropped(); got != 3 {
		t.Errorf("dropped %d, want 3", got)
	}
}
