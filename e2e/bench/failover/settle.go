// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/e2e/internal/await"
	"github.com/herald-lb/herald/e2e/internal/scrape"
	"github.com/herald-lb/herald/e2e/internal/wire"
)

const (
	// settleLimit is how long a cluster may take to get over a fault.
	settleLimit = time.Minute
	// asked is how many addresses are asked for at most when owners are looked for.
	asked = 120
)

// home is who had which addresses before the last fault: without failback never, they are
// to be there again before the next.
type home map[netip.Addr]string

// awaitSettled returns once the last fault is over: every speaker takes part and hears all
// that it watches, each address has one owner, the one that it had before, and the API
// server has been told so.
func (w *world) awaitSettled(ctx context.Context) (owners map[netip.Addr]string, err error) {
	err = await.Until(ctx, settleLimit, 100*time.Millisecond, func() error {
		if err := w.speakersHearEachOther(ctx); err != nil {
			return err
		}
		if owners, err = w.owners(); err != nil {
			return err
		}
		return w.statusesTell(ctx, owners)
	})
	if err != nil {
		return nil, fmt.Errorf("get over the last fault: %w", err)
	}
	return owners, nil
}

// owners returns who answers for each address, or for as many of them as are asked for.
func (w *world) owners() (map[netip.Addr]string, error) {
	var addrs []netip.Addr
	for _, family := range w.families {
		all := w.addresses[family]
		addrs = append(addrs, all[:min(len(all), asked)]...)
	}
	const wait = 60 * time.Millisecond
	answers, err := wire.WhoHasEach(w.client.Netns(), lanLink, addrs, wait)
	if err != nil {
		return nil, err
	}
	owners := make(map[netip.Addr]string, len(answers))
	for addr, macs := range answers {
		if len(macs) != 1 {
			return nil, fmt.Errorf("%s is answered for by %d stations %v", addr, len(macs), macs)
		}
		owners[addr] = w.nodeOf[macs[0]]
		if before := w.home[addr]; before != "" && before != owners[addr] && !w.never() {
			return nil, fmt.Errorf("%s is on %s, and was on %s", addr, owners[addr], before)
		}
	}
	return owners, nil
}

// statusesTell is nil when each Service has one status, and those of which the owner is
// known name it.
func (w *world) statusesTell(ctx context.Context, owners map[netip.Addr]string) error {
	raw, err := w.lab.Clientset().CoreV1().RESTClient().Get().AbsPath("/apis/metallb.io/v1beta1/servicel2statuses").DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("list statuses: %w", err)
	}
	var list v1beta1.ServiceL2StatusList
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("read statuses: %w", err)
	}
	nodes := make(map[string][]string)
	for i := range list.Items {
		s := &list.Items[i].Status
		nodes[s.ServiceName] = append(nodes[s.ServiceName], s.Node)
	}
	for addr, name := range w.serviceOf {
		owner, known := owners[addr]
		if got := nodes[name]; len(got) != 1 || known && got[0] != owner {
			return fmt.Errorf("%s is on %q, and the statuses of Service %s name %q", addr, owner, name, got)
		}
	}
	return nil
}

// never says whether addresses stay where they have gone.
func (w *world) never() bool { return strings.Contains(w.flags, "--l2-failback=never") }

// speakersHearEachOther is nil when every speaker counts all as members, and each session that
// it watches others by is up.
func (w *world) speakersHearEachOther(ctx context.Context) error {
	for _, node := range append(slices.Clone(w.announcers), w.backend) {
		m, err := w.scrape(ctx, node)
		if err != nil {
			return fmt.Errorf("%s: %w", node, err)
		}
		members, sessions, up := m["herald_gossip_members"], m["herald_vigil_sessions"], m["herald_vigil_sessions_up"]
		if int(members) != len(w.announcers)+1 || sessions == 0 || up != sessions {
			return fmt.Errorf("%s: %.0f members; hears %.0f of the %.0f speakers that it watches", node, members, up, sessions)
		}
	}
	return nil
}

// givenReader gets a token that metrics may be read with.
func (w *world) givenReader(ctx context.Context) error {
	const name = "reader"
	core := w.lab.Clientset().CoreV1()
	_, err1 := core.ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	_, err2 := w.lab.Clientset().RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "metallb-system:metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "default", Name: name}},
	}, metav1.CreateOptions{})
	day := int64(24 * 60 * 60)
	token, err3 := core.ServiceAccounts("default").CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("make a reader of metrics: %w", err)
	}
	w.token = token.Status.Token
	return nil
}

// scrape returns the metrics of Herald's own of a node's speaker, by name and labels as they
// are written.
func (w *world) scrape(ctx context.Context, node string) (map[string]float64, error) {
	n, err := w.lab.Node(node)
	if err != nil {
		return nil, err
	}
	status, body, err := scrape.Metrics(ctx, n.Netns().Dial, n.InternalIPs()[0].String(), w.token)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("read metrics: status %d", status)
	}
	if err != nil {
		return nil, err
	}
	metrics := make(map[string]float64)
	for line := range strings.Lines(body) {
		name, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if value, err := strconv.ParseFloat(text, 64); ok && err == nil && strings.HasPrefix(name, "herald_") {
			metrics[name] = value
		}
	}
	return metrics, nil
}
