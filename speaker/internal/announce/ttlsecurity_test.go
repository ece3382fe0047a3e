// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"testing"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

// The annotation comes and goes without a new generation of the object.
func TestTTLSecurity(t *testing.T) {
	inBGP(t, func(s *bgpSpeaker) {
		plain := peer("left", "192.0.2.101")
		for _, test := range []struct {
			hops    string
			minimum uint8
		}{{"1", 255}, {"3", 253}, {"", 0}} {
			secured := plain.DeepCopy()
			if test.hops != "" {
				secured.Annotations = map[string]string{v1beta1.AnnotationTTLSecurity: test.hops}
			}
			s.inventory.OnBGPPeer(s.left(), secured)
			s.quiesce()
			if got := s.router.peers["left"].MinTTL; got != test.minimum {
				s.t.Errorf("with ttl-security %q the least TTL is %d, want %d", test.hops, got, test.minimum)
			}
		}
	})
}

// left is the peer as the inventory has it.
func (s *bgpSpeaker) left() *v1beta2.BGPPeer {
	s.inventory.mu.Lock()
	defer s.inventory.mu.Unlock()
	return s.inventory.bgp.peers["left"]
}
