// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// configurationState is what a user reads in a ConfigurationState.
type configurationState struct {
	Metadata metav1.ObjectMeta
	Status   struct {
		Result, ErrorSummary string
		Conditions           []metav1.Condition
	}
}

func (s *story) configurationState(name string) (c configurationState, err error) {
	err = s.read("/apis/metallb.io/v1beta1/namespaces/"+heraldNS+"/configurationstates/"+name, &c)
	return c, err
}

// expectState waits until the state of a component says so. Words are about what is
// wrong; none: nothing is.
func (s *story) expectState(name, condition string, words ...string) {
	s.Helper()
	s.await(patience, name+" to say "+strings.Join(words, ", ")+" of the configuration", func() error {
		c, err := s.configurationState(name)
		if err != nil {
			return err
		}
		result, status, reason := "Valid", metav1.ConditionTrue, "Reconciled"
		if len(words) > 0 {
			result, status, reason = "Invalid", metav1.ConditionFalse, "ConfigurationError"
		}
		st := c.Status
		if st.Result != result || len(st.Conditions) != 1 || st.Conditions[0].Type != condition ||
			st.Conditions[0].Status != status || st.Conditions[0].Reason != reason {
			return fmt.Errorf("it says %+v", st)
		}
		for _, w := range words {
			if !strings.Contains(st.ErrorSummary, w) {
				return fmt.Errorf("%q is not in %q", w, st.ErrorSummary)
			}
		}
		if len(words) == 0 && st.ErrorSummary != "" {
			return fmt.Errorf("it says %q", st.ErrorSummary)
		}
		return nil
	})
}

const (
	ofPools   = "poolReconcilerValid"
	ofSpeaker = "configReconcilerValid"
)

// Each component says what it makes of the configuration as it sees it: a peer for one
// node is that node's matter, a broken pool is everybody's. What is deleted comes back.
func TestConfigurationStates(t *testing.T) {
	s := begin(t)
	first, second := "speaker-"+s.nodes[0], "speaker-"+s.nodes[1]
	peers := func(manifest string, args ...any) {
		s.apply(fmt.Sprintf("apiVersion: metallb.io/v1beta2\nkind: BGPPeer\n"+manifest, args...))
	}
	s.afterwards(func() {
		s.kubectl("-n", heraldNS, "delete", "bgppeers/story-a", "bgppeers/story-b", "--ignore-not-found")
		s.expectState(first, ofSpeaker)
	})
	for _, name := range []string{first, second} {
		s.expectState(name, ofSpeaker)
	}
	s.expectState("controller", ofPools)

	const only = `metadata: {name: story-%s, namespace: %s}
spec: {myASN: %d, peerASN: 64999, peerAddress: 198.51.100.%d, nodeSelectors: [{matchLabels: {kubernetes.io/hostname: %s}}]%s}`
	peers(only, "a", heraldNS, 64512, 77, s.nodes[0], ", bfdProfile: nowhere")
	s.expectState(first, ofSpeaker, "story-a", "nowhere")
	s.expectState(second, ofSpeaker)

	s.kubectl("-n", heraldNS, "delete", "configurationstates", first)
	s.expectState(first, ofSpeaker, "story-a", "nowhere")
	c, err := s.configurationState(first)
	s.must(err)
	if len(c.Metadata.OwnerReferences) != 1 || c.Metadata.Labels["metallb.io/node-name"] != s.nodes[0] ||
		c.Metadata.Labels["metallb.io/component-type"] != "speaker" {
		t.Errorf("%s has owners %v and labels %v", first, c.Metadata.OwnerReferences, c.Metadata.Labels)
	}
	peers(only, "a", heraldNS, 64512, 77, s.nodes[0], "")
	s.expectState(first, ofSpeaker)

	// Peers that get along on different nodes do not on one.
	peers(only, "b", heraldNS, 64513, 78, s.nodes[1], "")
	s.expectState(second, ofSpeaker)
	peers(only, "b", heraldNS, 64513, 78, s.nodes[0], "")
	s.expectState(first, ofSpeaker, "story-b", "64513")
	s.expectState("controller", ofPools)
	s.await(patience, "the younger peer to say so", func() error {
		var o struct {
			Status struct{ Conditions []metav1.Condition }
		}
		err := s.read("/apis/metallb.io/v1beta2/namespaces/"+heraldNS+"/bgppeers/story-b", &o)
		if c := o.Status.Conditions; err == nil && (len(c) == 0 || c[0].Status != metav1.ConditionFalse || !strings.Contains(c[0].Message, "story-a")) {
			err = fmt.Errorf("it says %+v", c)
		}
		return err
	})
}
