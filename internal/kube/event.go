// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/internal/lb"
)

// maxPendingEvents bounds the memory of Events not yet written. A bulk assignment of
// tens of thousands of Services fits; past it Events are dropped and counted.
const maxPendingEvents = 1 << 16

// hurryPendingEvents is how many Events may wait before they give way to nothing any
// more, so that under a load that does not end they come late instead of never.
const hurryPendingEvents = maxPendingEvents / 4 * 3

// Event is one thing to tell about a Service, or about another object in a namespace.
type Event struct {
	// Service is the name of the object.
	Service lb.ServiceName
	UID     types.UID
	// APIVersion and Kind are those of the object; empty for a Service.
	APIVersion, Kind string
	// Type is corev1.EventTypeNormal or corev1.EventTypeWarning.
	Type string
	// Reason is a CamelCase word, Message a sentence.
	Reason, Message string
}

// EventWriter writes Events about Services in the background, in order. Callers
// decide what is worth an Event: it neither merges nor repeats them.
type EventWriter struct {
	client *Client
	source corev1.EventSource
	log    *slog.Logger
	now    func() time.Time

	// Gate, when set before Run, is called ahead of a write and may wait until ctx ends,
	// so that Events give way to more urgent writes, unless very many wait already.
	Gate func(ctx context.Context)
	// Patience is how long Events wait for what is more urgent than any of them. It is set
	// before Run.
	Patience time.Duration

	bell chan struct{}

	mu      sync.Mutex // guards pending and dropped
	pending []stampedEvent
	dropped uint64
}

type stampedEvent struct {
	Event
	at time.Time
}

// NewEventWriter returns a writer whose Events name component and node as their
// source. Node may be empty. It starts nothing.
func NewEventWriter(client *Client, component, node string, log *slog.Logger) *EventWriter {
	return &EventWriter{
		client: client,
		source: corev1.EventSource{Component: component, Host: node},
		log:    log,
		now:    time.Now,
		bell:   make(chan struct{}, 1),
	}
}

// Write queues e and returns at once. When the queue is full e is dropped and counted.
func (w *EventWriter) Write(e Event) {
	w.mu.Lock()
	if len(w.pending) < maxPendingEvents {
		w.pending = append(w.pending, stampedEvent{e, w.now()})
	} else {
		w.dropped++
	}
	w.mu.Unlock()
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// Dropped returns how many Events did not fit into the queue since the start.
func (w *EventWriter) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Run writes Events until ctx ends. An Event that the API server refuses is logged
// and given up: Events are news, not state.
func (w *EventWriter) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.bell:
		}
		w.wait(ctx)
		taken := w.take()
		for n, e := range taken {
			w.pass(ctx, e, len(taken)-n)
		}
	}
}

// wait has Patience.
func (w *EventWriter) wait(ctx context.Context) {
	timer := time.NewTimer(w.Patience)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// pass writes e, the first of as many as were taken, once the gate lets it. When ctx
// ends first, e is given up.
func (w *EventWriter) pass(ctx context.Context, e stampedEvent, taken int) {
	if w.Gate != nil && taken+w.waiting() < hurryPendingEvents {
		w.Gate(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	if err := w.write(ctx, e); err != nil && ctx.Err() == nil {
		w.log.Warn("event not written", lb.LogKeyService, e.Service, lb.LogKeyReason, e.Reason, lb.LogKeyError, err)
	}
}

// waiting returns how many Events are in the queue.
func (w *EventWriter) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending)
}

// take empties the queue and returns what was in it.
func (w *EventWriter) take() []stampedEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.pending
	w.pending = nil
	return taken
}

func (w *EventWriter) write(ctx context.Context, e stampedEvent) error {
	at := metav1.NewTime(e.at)
	if e.Kind == "" {
		e.APIVersion, e.Kind = "v1", "Service"
	}
	_, err := w.client.Events.Create(ctx, e.Service.Namespace, &corev1.Event{
		// The API server keeps Events apart by name only; time makes it unique.
		ObjectMeta: metav1.ObjectMeta{
			Name:      fmt.Sprintf("%s.%x", e.Service.Name, e.at.UnixNano()),
			Namespace: e.Service.Namespace,
		},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: e.APIVersion, Kind: e.Kind,
			Namespace: e.Service.Namespace, Name: e.Service.Name, UID: e.UID,
		},
		Type: e.Type, Reason: e.Reason, Message: e.Message,
		FirstTimestamp: at, LastTimestamp: at, Count: 1,
		Source: w.source, ReportingController: w.source.Component, ReportingInstance: w.source.Host,
	})
	return err
}
