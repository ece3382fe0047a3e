// SPDX-License-Identifier: Apache-2.0

package configstate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/internal/kube"
	"github.com/herald-lb/herald/internal/lb"
)

const (
	// pace is the least time between two writes.
	pace = time.Second
	// firstRetry is the pause after a write that failed, doubled up to lastRetry.
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// API is what a State needs of the API server. kube.Resource is one.
type API interface {
	Create(ctx context.Context, namespace string, o *v1beta1.ConfigurationState) (*v1beta1.ConfigurationState, error)
	Patch(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error
	PatchStatus(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error
	Informer(kube.Watched[*v1beta1.ConfigurationState]) (*kube.Informer[*v1beta1.ConfigurationState], error)
}

// Config says whose state it is. All fields but Node, PodName and PodUID are needed.
type Config struct {
	API       API
	Namespace string
	// Node is that of a speaker. Empty: it is the controller's state.
	Node lb.NodeName
	// PodName and PodUID are those of the pod that owns the object, which goes with it.
	// Without them it has no owner.
	PodName string
	PodUID  types.UID
	Log     *slog.Logger
}

// State keeps one ConfigurationState. All methods are safe for concurrent use.
type State struct {
	Config
	name      string
	condition string
	labels    map[string]string
	bell      chan struct{}

	mu     sync.Mutex // guards what follows
	wanted *v1beta1.ConfigurationStateStatus
	// there is the object as it was last seen or written; nil if there is none.
	there *v1beta1.ConfigurationState
}

// New returns a state that nobody writes yet.
func New(c Config) *State {
	s := &State{
		Config: c, name: v1beta1.ConfigurationStateController, condition: v1beta1.ConditionPoolReconcilerValid,
		labels: map[string]string{v1beta1.LabelComponentType: v1beta1.ComponentController},
		bell:   make(chan struct{}, 1),
	}
	if c.Node != "" {
		s.name, s.condition = v1beta1.ConfigurationStateSpeakerPrefix+string(c.Node), v1beta1.ConditionConfigReconcilerValid
		s.labels = map[string]string{
			v1beta1.LabelComponentType: v1beta1.ComponentSpeaker, v1beta1.LabelNodeName: kube.LabelValue(string(c.Node)),
		}
	}
	return s
}

// Report takes what is wrong with the configuration, which may be nothing.
func (s *State) Report(problems []lb.Problem) {
	status := s.judge(problems)
	s.mu.Lock()
	s.wanted = status
	s.mu.Unlock()
	s.ring()
}

// judge returns the verdict. What costs no object anything is no error.
func (s *State) judge(problems []lb.Problem) *v1beta1.ConfigurationStateStatus {
	const longest = 32768 // of a condition's message, by the API's rules
	condition := metav1.Condition{Type: s.condition, Status: metav1.ConditionTrue, Reason: v1beta1.ReasonReconciled}
	status := v1beta1.ConfigurationStateStatus{Result: v1beta1.ConfigurationValid}
	status.ErrorSummary = lb.Summary(problems)
	if status.ErrorSummary != "" {
		status.Result = v1beta1.ConfigurationInvalid
		condition.Status, condition.Reason = metav1.ConditionFalse, v1beta1.ReasonConfigurationError
		condition.Message = status.ErrorSummary[:min(len(status.ErrorSummary), longest)]
	}
	status.Conditions = []metav1.Condition{condition}
	return &status
}

// OnObject takes note of the object. It is the callback of the informer.
func (s *State) OnObject(_, now *v1beta1.ConfigurationState) {
	s.mu.Lock()
	s.there = now
	s.mu.Unlock()
	s.ring()
}

func (s *State) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Run watches the object and writes it until ctx ends.
func (s *State) Run(ctx context.Context) error {
	informer, err := s.API.Informer(kube.Watched[*v1beta1.ConfigurationState]{
		Namespace: s.Namespace, FieldSelector: "metadata.name=" + s.name,
	})
	if err != nil {
		return fmt.Errorf("watch ConfigurationState %s: %w", s.name, err)
	}
	if err := informer.OnChange(s.OnObject); err != nil {
		return fmt.Errorf("watch ConfigurationState %s: %w", s.name, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return informer.Run(ctx) })
	group.Go(func() error {
		if kube.WaitForSync(ctx, informer) != nil {
			return nil //nolint:nilerr // ctx has ended
		}
		s.write(ctx)
		return nil
	})
	return group.Wait()
}

// write makes the object what it should be, again and again, until ctx ends.
func (s *State) write(ctx context.Context) {
	timer := time.NewTimer(pace)
	defer timer.Stop()
	pause := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.bell:
		}
		wait := pace
		switch err := s.apply(ctx); {
		case err != nil && ctx.Err() == nil:
			s.Log.Warn("ConfigurationState not written, trying again", lb.LogKeyObject, s.name, lb.LogKeyError, err)
			wait, pause = pause, min(2*pause, lastRetry)
			s.ring()
		default:
			pause = firstRetry
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// apply writes what differs.
func (s *State) apply(ctx context.Context) error {
	s.mu.Lock()
	wanted, there := s.wanted, s.there
	s.mu.Unlock()
	if wanted == nil {
		return nil
	}
	if there == nil {
		created, err := s.API.Create(ctx, s.Namespace, s.object())
		if apierrors.IsAlreadyExists(err) {
			return nil // the informer is about to show it
		}
		if err != nil {
			return err
		}
		there = created
		s.remember(there)
	} else if err := s.adopt(ctx, there); err != nil {
		return err
	}
	status := carryOver(*wanted, &there.Status)
	if same(&status, &there.Status) {
		return nil
	}
	body, err := json.Marshal(map[string]any{"status": map[string]any{
		"result": status.Result, "errorSummary": status.ErrorSummary, "conditions": status.Conditions,
	}})
	if err != nil {
		return fmt.Errorf("encode the status of ConfigurationState %s: %w", s.name, err)
	}
	err = s.API.PatchStatus(ctx, s.Namespace, s.name, types.MergePatchType, body)
	if apierrors.IsNotFound(err) {
		s.remember(nil)
		s.ring()
		return nil
	}
	if err != nil {
		return err
	}
	written := *there
	written.Status = status
	s.remember(&written)
	return nil
}

func (s *State) remember(o *v1beta1.ConfigurationState) {
	s.mu.Lock()
	s.there = o
	s.mu.Unlock()
}

// object returns the object as it is made.
func (s *State) object() *v1beta1.ConfigurationState {
	o := &v1beta1.ConfigurationState{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1beta1.GroupVersion.String(), Kind: "ConfigurationState"},
		ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: s.Namespace, Labels: s.labels},
	}
	o.OwnerReferences = s.owners()
	return o
}

func (s *State) owners() []metav1.OwnerReference {
	if s.PodName == "" || s.PodUID == "" {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: s.PodName, UID: s.PodUID}}
}

// adopt takes over the object of a pod that was here before, which would go with it.
func (s *State) adopt(ctx context.Context, there *v1beta1.ConfigurationState) error {
	owners := s.owners()
	sameOwner := func(a, b metav1.OwnerReference) bool { return a.UID == b.UID }
	if slices.EqualFunc(there.OwnerReferences, owners, sameOwner) {
		return nil
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": there.UID, "ownerReferences": owners, "labels": s.labels,
	}})
	if err != nil {
		return fmt.Errorf("encode the owner of ConfigurationState %s: %w", s.name, err)
	}
	err = s.API.Patch(ctx, s.Namespace, s.name, types.MergePatchType, body)
	if kube.IsGone(err) {
		return nil // the informer is about to show it
	}
	return err
}

// carryOver keeps the time of a condition that has not changed.
func carryOver(wanted v1beta1.ConfigurationStateStatus, there *v1beta1.ConfigurationStateStatus) v1beta1.ConfigurationStateStatus {
	now := wanted.Conditions[0]
	now.LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
	for _, old := range there.Conditions {
		if old.Type == now.Type && old.Status == now.Status {
			now.LastTransitionTime = old.LastTransitionTime
		}
	}
	wanted.Conditions = []metav1.Condition{now}
	return wanted
}

func same(a, b *v1beta1.ConfigurationStateStatus) bool {
	return a.Result == b.Result && a.ErrorSummary == b.ErrorSummary && slices.EqualFunc(a.Conditions, b.Conditions,
		func(a, b metav1.Condition) bool {
			return a.Type == b.Type && a.Status == b.Status && a.Reason == b.Reason && a.Message == b.Message
		})
}
