// SPDX-License-Identifier: Apache-2.0

package stories

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/internal/scrape"
)

// Metrics have the names that dashboards know, over HTTPS, for those who may read them.
func TestMetrics(t *testing.T) {
	s := begin(t)
	addrs, owner := s.givenAnnounced("web", dual)
	s.expectReachable(addrs)
	p := s.pools[0]
	reader, stranger := s.givenAccount("reader", "metallb-system:metrics-reader"), s.givenAccount("stranger", "")

	leader, speaker := s.expectLeader(), s.speakerOn(owner)
	for _, pod := range []corev1.Pod{leader, speaker} {
		s.expectRefused(pod, "", http.StatusUnauthorized)
		s.expectRefused(pod, "no token of this cluster", http.StatusUnauthorized)
		s.expectRefused(pod, stranger, http.StatusForbidden)
	}

	s.expectMetrics(leader, reader, map[string]string{
		`metallb_allocator_addresses_total{pool="` + p.name + `"}`:             "16",
		`metallb_allocator_addresses_in_use_total{pool="` + p.name + `"}`:      "2",
		`metallb_allocator_ipv4_addresses_total{pool="` + p.name + `"}`:        "8",
		`metallb_allocator_ipv4_addresses_in_use_total{pool="` + p.name + `"}`: "1",
		`metallb_allocator_ipv6_addresses_total{pool="` + p.name + `"}`:        "8",
		`metallb_allocator_ipv6_addresses_in_use_total{pool="` + p.name + `"}`: "1",
		`metallb_k8s_client_config_loaded_bool`:                                "1",
		`metallb_k8s_client_config_stale_bool`:                                 "0",
		`metallb_k8s_client_updates_total`:                                     "",
		`metallb_k8s_client_update_errors_total`:                               "",
	})
	want := map[string]string{
		`metallb_k8s_client_config_loaded_bool`: "1",
		`metallb_k8s_client_config_stale_bool`:  "0",
	}
	for _, addr := range addrs {
		ip := addr.String()
		want[`metallb_speaker_announced{ip="`+ip+`",node="`+owner+`",protocol="layer2",service="`+s.ns+`/web"}`] = "1"
		want[`metallb_layer2_requests_received{ip="`+ip+`"}`] = ""
		want[`metallb_layer2_responses_sent{ip="`+ip+`"}`] = ""
		want[`metallb_layer2_gratuitous_sent{ip="`+ip+`"}`] = ""
	}
	s.expectMetrics(speaker, reader, want)
}

// givenAccount makes a ServiceAccount that is bound to a ClusterRole, if one is named,
// and returns a token of it.
func (s *story) givenAccount(name, role string) string {
	s.Helper()
	accounts := s.api().CoreV1().ServiceAccounts(s.ns)
	_, err := accounts.Create(s.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	s.must(err)
	if role != "" {
		bindings := s.api().RbacV1().ClusterRoleBindings()
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: s.ns + "-" + name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.ns, Name: name}},
		}
		_, err = bindings.Create(s.ctx, binding, metav1.CreateOptions{})
		s.must(err)
		s.afterwards(func() {
			s.check(bindings.Delete(s.ctx, binding.Name, metav1.DeleteOptions{}))
		})
	}
	token, err := accounts.CreateToken(s.ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	s.must(err)
	return token.Status.Token
}

// scrape asks a pod for its metrics, from the node it runs on.
func (s *story) scrape(pod corev1.Pod, token string) (status int, body string, err error) {
	node, err := s.lab.Node(pod.Spec.NodeName)
	if err != nil {
		return 0, "", err
	}
	return scrape.Metrics(s.ctx, node.Netns().Dial, pod.Status.PodIP, token)
}

func (s *story) expectRefused(pod corev1.Pod, token string, want int) {
	s.Helper()
	status, body, err := s.scrape(pod, token)
	if err != nil || status != want || strings.Contains(body, "metallb_") {
		s.Errorf("%s answers a scrape with status %d, error %v; want status %d and no metrics", pod.Name, status, err, want)
	}
}

// expectMetrics waits until a scrape shows each metric with its value; no value means
// any.
func (s *story) expectMetrics(pod corev1.Pod, token string, want map[string]string) {
	s.Helper()
	s.await(patience, "the metrics of "+pod.Name, func() error {
		status, body, err := s.scrape(pod, token)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("status %d, error %w", status, err)
		}
		for metric, value := range want {
			if !hasMetric(body, metric, value) {
				return fmt.Errorf("no %s with value %q in:\n%s", metric, value, body)
			}
		}
		return nil
	})
}

func hasMetric(body, metric, value string) bool {
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, metric+" "); ok && (value == "" || strings.TrimSpace(rest) == value) {
			return true
		}
	}
	return false
}
