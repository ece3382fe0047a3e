// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// givenPeer makes a router a peer of all nodes, or changes it. The rest of its spec is
// in YAML; without another, its AS number is the router's.
func (s *story) givenPeer(name string, r router, rest string) {
	s.Helper()
	if !strings.Contains(rest, "peerASN") && !strings.Contains(rest, "dynamicASN") {
		rest = fmt.Sprintf("peerASN: %d, %s", r.asn(), rest)
	}
	s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: %s, namespace: metallb-system}
spec: {connectTime: 1s, %s}
`, name, rest))
}

// givenPeers makes both routers peers of all nodes, with more of their spec in YAML.
func (s *story) givenPeers(v6 bool, more string) {
	s.Helper()
	for _, r := range s.routers {
		s.givenPeer(r.name(), r, fmt.Sprintf("myASN: 64512, peerAddress: %q, holdTime: 9s%s", r.peer(v6), more))
	}
}

// advertise makes a BGPAdvertisement, or changes it.
func (s *story) advertise(name, spec string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: %s, namespace: metallb-system}
spec: %s
`, name, spec))
}

// givenProfile makes a BFDProfile.
func (s *story) givenProfile(name, spec string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: %s, namespace: metallb-system}
spec: %s
`, name, spec))
}

// givenService makes a dual-stack Service for the story's pods, and returns its
// addresses, IPv4 first. It has the label app of its name, and those annotations.
func (s *story) givenService(name, policy string, annotations ...string) [2]netip.Addr {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s, labels: {app: %s}, annotations: {%s}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: %s
  selector: {app: echo}
  ports: [{name: tcp, port: 80, targetPort: 8080}, {name: udp, port: 53, targetPort: 8080, protocol: UDP}]
`, name, s.ns, name, strings.Join(annotations, ", "), policy))
	var addresses [2]netip.Addr
	s.await(patience, "addresses", func() error {
		service, err := s.lab.Clientset().CoreV1().Services(s.ns).Get(s.ctx, name, metav1.GetOptions{})
		if err != nil || len(service.Status.LoadBalancer.Ingress) != 2 {
			return errors.Join(err, fmt.Errorf("status has %v", service.Status.LoadBalancer.Ingress))
		}
		for _, ingress := range service.Status.LoadBalancer.Ingress {
			a := netip.MustParseAddr(ingress.IP)
			if a.Is4() {
				addresses[0] = a
			} else {
				addresses[1] = a
			}
		}
		return nil
	})
	return addresses
}

// requesting is the annotation that asks for addresses.
func requesting(addresses ...string) string {
	return fmt.Sprintf("metallb.io/loadBalancerIPs: %q", strings.Join(addresses, ","))
}

// behindBIRD asks for addresses to which the client's way leads through BIRD.
func behindBIRD() string { return requesting("198.51.100.200", "2001:db8:100::c8") }

// host returns the prefix that is the address alone.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func aggregate(a netip.Addr, length int) netip.Prefix { return netip.PrefixFrom(a, length).Masked() }
