// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ensureGossipKey makes the Secret that a controller would have made.
func (e *environment) ensureGossipKey(ctx context.Context) error {
	_, err := e.api.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "memberlist"},
		StringData: map[string]string{"secretkey": rand.Text()},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// addresses returns the LB IPs of all Services of a namespace.
func (e *environment) addresses(ctx context.Context, name string) ([]netip.Addr, error) {
	list, err := e.api.CoreV1().Services(name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	var addresses []netip.Addr
	for i := range list.Items {
		for _, ingress := range list.Items[i].Status.LoadBalancer.Ingress {
			a, err := netip.ParseAddr(ingress.IP)
			if err != nil {
				return nil, fmt.Errorf("service %s: %w", list.Items[i].Name, err)
			}
			addresses = append(addresses, a)
		}
	}
	return addresses, nil
}

// awaitAnswers returns when the speaker has answered for every address of the
// namespace.
func (e *environment) awaitAnswers(ctx context.Context, name string) error {
	missing, err := e.addresses(ctx, name)
	if err != nil {
		return err
	}
	client, err := e.lab.Client(clientName)
	if err != nil {
		return err
	}
	for len(missing) > 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("nobody answers for %d addresses, such as %s: %w", len(missing), missing[0], err)
		}
		var unanswered []netip.Addr
		for _, self := range []netip.Addr{clientAddress, clientAddress6} {
			err := client.Netns().Enter(func() error {
				out, err := sweep(linkName, self, familyOf(self, missing))
				unanswered = append(unanswered, out.unanswered...)
				return err
			})
			if err != nil {
				return err
			}
		}
		missing = unanswered
	}
	return nil
}

// familyOf returns those of the same family as one.
func familyOf(one netip.Addr, all []netip.Addr) []netip.Addr {
	var same []netip.Addr
	for _, a := range all {
		if a.Is4() == one.Is4() {
			same = append(same, a)
		}
	}
	return same
}
