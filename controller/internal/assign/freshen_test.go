// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/herald-lb/herald/internal/kube"
)

// laggard is an API server of Services whose watch says nothing until it is told to.
type laggard struct {
	mu       sync.Mutex
	services map[string]int // name to resource version
	version  int
	notices  chan metav1.WatchEvent
	listed   chan struct{} // gets a value for every list
}

func (l *laggard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Query().Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusBadRequest) // an old server: list, then watch
	case r.URL.Query().Get("watch") != "":
		l.watch(w, r)
	default:
		_ = json.NewEncoder(w).Encode(l.list())
		select {
		case l.listed <- struct{}{}:
		default:
		}
	}
}

func (l *laggard) list() corev1.ServiceList {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := corev1.ServiceList{TypeMeta: metav1.TypeMeta{Kind: "ServiceList", APIVersion: "v1"}}
	list.ResourceVersion = strconv.Itoa(l.version)
	for name, version := range l.services {
		list.Items = append(list.Items, *service(name, version))
	}
	return list
}

func (l *laggard) watch(w http.ResponseWriter, r *http.Request) {
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case e := <-l.notices:
			_ = json.NewEncoder(w).Encode(e)
			w.(http.Flusher).Flush()
		}
	}
}

// set changes a Service; version 0 deletes it. The watch does not show it yet.
func (l *laggard) set(name string, version int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version++
	if version == 0 {
		delete(l.services, name)
		return
	}
	l.version = version
	l.services[name] = version
}

// show has the watch tell of a change.
func (l *laggard) show(kind, name string, version int) {
	raw, _ := json.Marshal(service(name, version))
	e := metav1.WatchEvent{Type: kind}
	e.Object.Raw = raw
	l.notices <- e
}

func service(name string, version int) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{Kind: "Service", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, ResourceVersion: strconv.Itoa(version)},
	}
}

func TestCatchUpWaitsForWhatTheListShows(t *testing.T) {
	for name, tc := range map[string]struct {
		happens, shown func(l *laggard)
	}{
		"nothing new": {func(*laggard) {}, nil},
		"changed": {
			func(l *laggard) { l.set("a", 20) },
			func(l *laggard) { l.show("MODIFIED", "a", 20) },
		},
		"created": {
			func(l *laggard) { l.set("c", 20) },
			func(l *laggard) { l.show("ADDED", "c", 20) },
		},
		"deleted": {
			func(l *laggard) { l.set("a", 0) },
			func(l *laggard) { l.show("DELETED", "a", 12) },
		},
		"created, and deleted before it was shown": {
			func(l *laggard) { l.set("c", 20) },
			func(l *laggard) { l.set("c", 0) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := &laggard{
				services: map[string]int{"a": 10, "b": 11}, version: 11,
				notices: make(chan metav1.WatchEvent), listed: make(chan struct{}, 1),
			}
			client, informer := followed(t, l)
			tc.happens(l)
			<-l.listed // the informer's own
			done := make(chan error, 1)
			go func() { done <- catchUp(t.Context(), client.Services, kube.Watched[*corev1.Service]{}, informer) }()
			if tc.shown != nil {
				<-l.listed
				select {
				case err := <-done:
					t.Fatalf("caught up (%v) before the informer shows it", err)
				case <-time.After(3 * freshPoll):
				}
				tc.shown(l)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// followed returns a client of the server and an informer that has synced.
func followed(t *testing.T, server http.Handler) (*kube.Client, *kube.Informer[*corev1.Service]) {
	s := httptest.NewServer(server)
	transport := &http.Transport{}
	client, err := kube.NewClient(&rest.Config{Host: s.URL, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	informer, err := client.Services.Informer(kube.Watched[*corev1.Service]{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = informer.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		transport.CloseIdleConnections()
		s.Close()
	})
	if err := kube.WaitForSync(t.Context(), informer); err != nil {
		t.Fatal(err)
	}
	return client, informer
}
