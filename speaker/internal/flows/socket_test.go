// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Nothing that an earlier request has left in a socket can be taken for an answer.
func TestErrorsEndTheSocket(t *testing.T) {
	var s socket
	defer s.close()
	var used []*nftables.Conn
	request := func(failures int, err error) func(*nftables.Conn) error {
		used = nil
		return func(c *nftables.Conn) error {
			if used = append(used, c); len(used) <= failures {
				return err
			}
			return nil
		}
	}
	if err := s.try(request(0, nil)); err != nil {
		t.Fatal(err)
	}
	first := used[0]
	if err := s.try(request(1, unix.ENOENT)); err != nil {
		t.Fatal(err)
	}
	if len(used) != 2 || used[0] != first || used[1] == first {
		t.Errorf("used %d sockets, want the first one and then another", len(used))
	}
	if err := s.try(request(tries, unix.ENOENT)); !errors.Is(err, unix.ENOENT) || len(used) != tries {
		t.Errorf("got %v after %d tries, want ENOENT after %d", err, len(used), tries)
	}
	if err := s.try(request(tries, unix.EPERM)); !errors.Is(err, unix.EPERM) || len(used) != 1 {
		t.Errorf("got %v after %d tries, want EPERM after one", err, len(used))
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for err, want := range map[error]string{
		unix.EPERM:           "capability NET_ADMIN",
		unix.ENOENT:          "modules nf_tables, nft_ct and nft_dup_ipv6",
		unix.EOPNOTSUPP:      "modules nf_tables, nft_ct and nft_dup_ipv6",
		unix.EPROTONOSUPPORT: "modules nf_tables, nft_ct and nft_dup_ipv6",
		unix.ENOMEM:          "try rules of nftables",
	} {
		got := ipv6().explain("try rules", fmt.Errorf("receive: %w", err))
		if !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v is explained by %v, want %q in it", err, got, want)
		}
	}
}

// A kernel without IPv6 is no reason to have nothing for IPv4.
func TestFamilyThatTheKernelLacks(t *testing.T) {
	lacking := ipv6()
	lacking.unusable = lacking.explain("try rules", unix.ENOENT)
	table := &Table{families: []family{lacking}, taken: make(map[netip.Addr]time.Time)}
	defer table.Close()
	err := table.Keep(map[netip.Addr]netip.Addr{
		netip.MustParseAddr("2001:db8::100"): netip.MustParseAddr("2001:db8::11"),
	}, time.Minute)
	if err == nil || !strings.Contains(err.Error(), "2001:db8::100") || !strings.Contains(err.Error(), "nft_dup_ipv6") {
		t.Errorf("got %v, want an error that names the address and the module", err)
	}
	entries, err := table.Entries()
	if err != nil || len(entries) > 0 {
		t.Errorf("got entries %v, error %v", entries, err)
	}
	if err := table.Forget(netip.MustParseAddr("2001:db8::11")); err != nil {
		t.Error(err)
	}
}
