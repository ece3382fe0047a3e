// SPDX-License-Identifier: Apache-2.0

package flows

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Names of what an operator sees.
const (
	tableName  = "herald"
	probeName  = "herald-probe" // exists only inside of a transaction
	mapName    = "former"
	passedName = "passed_on"
	lostName   = "dropped"
)

// register is where the expressions of a rule keep what they have loaded.
const register = unix.NFT_REG_1

const (
	// tcpFlags is where the flags are in the TCP header (RFC 9293, section 3.1).
	tcpFlags = 13
	tcpSYN   = 0x02
)

// family is what differs between IPv4 (RFC 791) and IPv6 (RFC 8200).
type family struct {
	nftables    nftables.TableFamily
	address     nftables.SetDatatype
	destination uint32 // offset of the destination address in the header
	lifetime    uint32 // offset of the TTL or hop limit
	module      string // of the kernel, which has the dup expression
	mapID       uint32 // names the map inside of a transaction, where its name may not be known yet

	unusable error // why the kernel cannot do it; nil if it can
}

func ipv4() family {
	return family{nftables: nftables.TableFamilyIPv4, address: nftables.TypeIPAddr, destination: 16, lifetime: 8, module: "nft_dup_ipv4", mapID: 4}
}

func ipv6() family {
	return family{nftables: nftables.TableFamilyIPv6, address: nftables.TypeIP6Addr, destination: 24, lifetime: 7, module: "nft_dup_ipv6", mapID: 6}
}

// bits is the length of an address.
func (f family) bits() int { return int(f.address.Bytes) * 8 }

// ruleset is a table of one family and what is in it.
type ruleset struct {
	family family
	table  *nftables.Table
	former *nftables.Set
}

func (f family) ruleset(name string) ruleset {
	table := &nftables.Table{Name: name, Family: f.nftables}
	return ruleset{family: f, table: table, former: &nftables.Set{
		ID: f.mapID, Table: table, Name: mapName,
		IsMap: true, HasTimeout: true, KeyType: f.address, DataType: f.address,
	}}
}

// install makes everything but the entries, or makes it right. To do so with what
// is there already changes nothing: the rules are made anew, the map and the
// counters stay.
func (r ruleset) install(c *nftables.Conn) error {
	c.AddTable(r.table)
	if err := c.AddSet(r.former, nil); err != nil {
		return err
	}
	for _, name := range []string{passedName, lostName} {
		c.AddObj(&nftables.NamedObj{Table: r.table, Name: name, Type: nftables.ObjTypeCounter, Obj: &expr.Counter{}})
	}
	accept := nftables.ChainPolicyAccept
	prerouting := c.AddChain(&nftables.Chain{
		Table: r.table, Name: "prerouting", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityMangle, Policy: &accept,
	})
	passOn := c.AddChain(&nftables.Chain{Table: r.table, Name: "pass_on"})
	c.FlushChain(prerouting)
	c.FlushChain(passOn)
	for _, rule := range []nftables.Rule{
		{Chain: prerouting, Exprs: r.unknown(passOn.Name)},
		{Chain: passOn, Exprs: r.duplicate()},
		{Chain: passOn, Exprs: drop(lostName)},
	} {
		rule.Table = r.table
		c.AddRule(&rule)
	}
	return nil
}

// unknown matches the packets that are passed on. What almost no packet is comes
// first, so that the others cost little.
//
//	ct state new,invalid meta l4proto tcp ip daddr @former tcp flags ! syn goto chain
func (r ruleset) unknown(chain string) []expr.Any {
	states := expr.CtStateBitNEW | expr.CtStateBitINVALID
	return []expr.Any{
		&expr.Ct{Register: register, Key: expr.CtKeySTATE},
		masked(native32(states)),
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: native32(0)},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.IPPROTO_TCP}},
		r.loadDestination(),
		&expr.Lookup{SourceRegister: register, SetName: mapName, SetID: r.former.ID},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: tcpFlags, Len: 1},
		masked([]byte{tcpSYN}),
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{0}},
		&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain},
	}
}

// duplicate sends a clone on and drops the original. A packet at the end of its
// life is left to the next rule: dup would take one more from it all the same.
//
//	ip ttl > 1 dup to ip daddr map @former counter name passed_on drop
func (r ruleset) duplicate() []expr.Any {
	return append([]expr.Any{
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: r.family.lifetime, Len: 1},
		&expr.Cmp{Op: expr.CmpOpGt, Register: register, Data: []byte{1}},
		r.loadDestination(),
		&expr.Lookup{SourceRegister: register, DestRegister: register, IsDestRegSet: true, SetName: mapName, SetID: r.former.ID},
		&expr.Dup{RegAddr: register},
	}, drop(passedName)...)
}

func (r ruleset) loadDestination() expr.Any {
	return &expr.Payload{
		DestRegister: register, Base: expr.PayloadBaseNetworkHeader,
		Offset: r.family.destination, Len: r.family.address.Bytes,
	}
}

// drop counts a packet and ends it.
func drop(counter string) []expr.Any {
	return []expr.Any{
		&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: counter},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// masked leaves only some bits of what is in the register.
func masked(mask []byte) expr.Any {
	return &expr.Bitwise{
		SourceRegister: register, DestRegister: register,
		Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask)),
	}
}
