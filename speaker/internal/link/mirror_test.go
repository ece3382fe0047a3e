// SPDX-License-Identifier: Apache-2.0

package link

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDecodeLinkRefusesPartialMessages(t *testing.T) {
	whole := linkPayload(unix.AF_UNSPEC, 7, unix.IFF_UP|unix.IFF_RUNNING|unix.IFF_BROADCAST)
	if m, ok := decodeLink(whole); !ok || m.name != "eth0" || m.index != 7 || m.mtu != 1500 || m.mac != [6]byte{2, 0, 0, 0, 0, 1} {
		t.Fatalf("decodeLink of a whole message = %+v, %v", m, ok)
	}
	tests := map[string][]byte{
		"empty":               nil,
		"header cut":          whole[:unix.SizeofIfInfomsg-1],
		"bridge port":         linkPayload(unix.AF_BRIDGE, 7, unix.IFF_UP),
		"wireless event":      append(header(unix.AF_UNSPEC, 7, unix.IFF_UP), attribute(unix.IFLA_IFNAME, []byte("wlan0\x00"))...),
		"attribute too long":  append(header(unix.AF_UNSPEC, 7, 0), 200, 0, 3, 0, 'x'),
		"attribute too short": append(header(unix.AF_UNSPEC, 7, 0), 2, 0, 3, 0),
	}
	for name, payload := range tests {
		if m, ok := decodeLink(payload); ok {
			t.Errorf("%s: decoded as %+v", name, m)
		}
	}
}

func TestDecodeAddress(t *testing.T) {
	local := netip.MustParseAddr("192.0.2.1")
	other := netip.MustParseAddr("192.0.2.2")
	payload := append([]byte{unix.AF_INET, 32, unix.IFA_F_PERMANENT, 0, 3, 0, 0, 0},
		attribute(unix.IFA_ADDRESS, other.AsSlice())...)
	payload = append(payload, attribute(unix.IFA_LOCAL, local.AsSlice())...)
	m, ok := decodeAddress(payload)
	if want := netip.PrefixFrom(local, 32); !ok || m.prefix != want || m.index != 3 {
		t.Errorf("decodeAddress of a point-to-point link = %+v, %v, want prefix %s", m, ok, want)
	}
	if m, ok := decodeAddress([]byte{unix.AF_INET, 33, 0, 0, 3, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 1}); ok {
		t.Errorf("a prefix of 33 bits was decoded as %+v", m)
	}
}

func TestMirrorSkipsFailedAndTentativeAddresses(t *testing.T) {
	m := newMirror()
	m.apply(unix.RTM_NEWLINK, linkPayload(unix.AF_UNSPEC, 7, unix.IFF_UP|unix.IFF_RUNNING))
	add := func(addr string, flags uint32) {
		m.addAddress(addressMessage{index: 7, prefix: netip.MustParsePrefix(addr), flags: flags})
	}
	add("fe80::1/64", unix.IFA_F_TENTATIVE)
	add("fe80::2/64", unix.IFA_F_DADFAILED)
	if got := m.snapshot()[0]; got.LinkLocal6.IsValid() || len(got.Prefixes) != 1 {
		t.Errorf("tentative and failed addresses are used: %+v", got)
	}
	add("fe80::3/64", unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC)
	if got := m.snapshot()[0].LinkLocal6; got != netip.MustParseAddr("fe80::3") {
		t.Errorf("link-local = %s, want the optimistic fe80::3", got)
	}
	add("fe80::1/64", unix.IFA_F_PERMANENT)
	if got := m.snapshot()[0].LinkLocal6; got != netip.MustParseAddr("fe80::1") {
		t.Errorf("link-local = %s, want fe80::1 now that detection has passed", got)
	}
}

func TestMirrorSnapshotsDoNotChange(t *testing.T) {
	m := newMirror()
	m.apply(unix.RTM_NEWLINK, linkPayload(unix.AF_UNSPEC, 7, unix.IFF_UP|unix.IFF_RUNNING))
	a := addressMessage{index: 7, prefix: netip.MustParsePrefix("192.0.2.1/24")}
	m.addAddress(a)
	before := m.snapshot()
	m.removeAddress(a)
	m.addAddress(addressMessage{index: 7, prefix: netip.MustParsePrefix("192.0.2.2/24")})
	m.snapshot()
	if got := before[0].Prefixes; len(got) != 1 || got[0] != a.prefix {
		t.Errorf("an old snapshot has changed: %v", got)
	}
}

func FuzzMirror(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWLINK), linkPayload(unix.AF_UNSPEC, 7, unix.IFF_UP))
	f.Add(uint16(unix.RTM_NEWADDR), append([]byte{unix.AF_INET, 24, 0, 0, 7, 0, 0, 0}, attribute(unix.IFA_LOCAL, []byte{192, 0, 2, 1})...))
	f.Fuzz(func(t *testing.T, kind uint16, payload []byte) {
		m := newMirror()
		m.apply(kind, payload)
		for _, i := range m.snapshot() {
			if i.Name == "" || i.MTU == 0 {
				t.Errorf("half an interface: %+v", i)
			}
		}
	})
}

func linkPayload(family byte, index, flags uint32) []byte {
	b := header(family, index, flags)
	b = append(b, attribute(unix.IFLA_IFNAME, []byte("eth0\x00"))...)
	b = append(b, attribute(unix.IFLA_ADDRESS, []byte{2, 0, 0, 0, 0, 1})...)
	return append(b, attribute(unix.IFLA_MTU, binary.NativeEndian.AppendUint32(nil, 1500))...)
}

func header(family byte, index, flags uint32) []byte {
	b := []byte{family, 0}
	b = binary.NativeEndian.AppendUint16(b, unix.ARPHRD_ETHER)
	b = binary.NativeEndian.AppendUint32(b, index)
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, 0)
}

func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
