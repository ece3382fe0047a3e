// SPDX-License-Identifier: Apache-2.0

package bgp

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/internal/scrape"
)

// readerToken returns what Prometheus would have: a token of an account that may read
// metrics.
func (s *story) readerToken() string {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: %[1]s}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[1]s-reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "metallb-system:metrics-reader"}
subjects: [{kind: ServiceAccount, name: reader, namespace: %[1]s}]
`, s.ns))
	s.afterwards(func() { s.kubectl("delete", "clusterrolebinding", s.ns+"-reader") })
	token, err := s.lab.Clientset().CoreV1().ServiceAccounts(s.ns).CreateToken(s.ctx, "reader",
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	s.must(err)
	return token.Status.Token
}

// scrape returns the metrics of the speaker on a node.
func (s *story) scrape(name string) (string, error) {
	node, err := s.lab.Node(name)
	if err != nil {
		return "", err
	}
	if s.token == "" {
		s.token = s.readerToken()
	}
	status, body, err := scrape.Metrics(s.ctx, node.Netns().Dial, node.InternalIPs()[0].String(), s.token)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", status, body)
	}
	return body, err
}

// metric returns the value of a metric of the speaker on a node.
func (s *story) metric(node, name string) (float64, error) {
	body, err := s.scrape(node)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("there is no %s", name)
}

// expectMetric waits until a metric of the speaker on a node has such a value.
func (s *story) expectMetric(node, name string, such func(float64) bool) {
	s.Helper()
	s.await(patience, "a good value of "+name, func() error {
		value, err := s.metric(node, name)
		if err == nil && !such(value) {
			err = fmt.Errorf("it is %v", value)
		}
		return err
	})
}

func exactly(want float64) func(float64) bool  { return func(v float64) bool { return v == want } }
func atLeast(least float64) func(float64) bool { return func(v float64) bool { return v >= least } }
