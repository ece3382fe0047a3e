// SPDX-License-Identifier: Apache-2.0

package layer2

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// snapLen is how much of a frame the filters let through: all.
const snapLen = 0xffff

// filter is the kernel's half of the parsers: it keeps a speaker asleep while others
// talk about addresses that are none of its own. It lets pass what asks for, or
// claims, an address that the sieve lets through. The parsers check again what it
// checks, since a filter does not apply to what was queued before it.
func filter(p Protocol, s *Sieve) ([]bpf.RawInstruction, error) {
	checks, lookup := aboutARP(), lookupARP
	if p == NDP {
		checks, lookup = aboutNDP(), lookupNDP
	}
	verdict := []bpf.Instruction{bpf.RetConstant{Val: snapLen}}
	if s != nil {
		verdict = append(lookup(s.program()), bpf.RetConstant{Val: 0})
	}
	raw, err := bpf.Assemble(slices.Concat(resolve(slices.Concat(checks, reachesUs())), verdict))
	if err != nil {
		return nil, fmt.Errorf("assemble %s filter: %w", p, err)
	}
	return raw, nil
}

// drop marks, in checks not yet resolved, a jump to where frames are dropped.
const drop = 0xff

// reachesUs drops what is not for this station, what it has sent itself, and
// what belongs to a VLAN: a frame with a tag is the VLAN interface's.
func reachesUs() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: drop},
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: drop},
	}
}

// aboutARP drops all but ARP requests and replies.
func aboutARP() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherTypeAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeARP, SkipTrue: drop},
		bpf.LoadAbsolute{Off: arpHardwareAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpEthernet<<16 | arpIPv4, SkipTrue: drop},
		bpf.LoadAbsolute{Off: arpHardwareLen, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 6<<8 | 4, SkipTrue: drop},
		bpf.LoadAbsolute{Off: arpOperationAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: drop},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: arpReply, SkipTrue: drop},
		bpf.LoadAbsolute{Off: arpTargetAddrAt, Size: 4}, // there is one
	}
}

// lookupARP looks up the address that a request asks for, and the one that its
// sender claims, as the sender of a reply does.
func lookupARP(program []bpf.Instruction) []bpf.Instruction {
	return slices.Concat([]bpf.Instruction{
		bpf.LoadAbsolute{Off: arpOperationAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arpRequest, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(program)) + 1},
		bpf.LoadAbsolute{Off: arpTargetAddrAt, Size: 4},
	}, program, []bpf.Instruction{
		bpf.LoadAbsolute{Off: arpSenderAddrAt, Size: 4},
	}, program)
}

// aboutNDP drops all but neighbor solicitations and advertisements from this link.
// The socket sees every IPv6 packet of the interface, so the first comparison is the
// one that nearly all of them fail. A packet too short to be loaded from is dropped
// too.
func aboutNDP() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: ipv6NextHeaderAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ipv6ICMP<<8 | hopLimit, SkipTrue: drop},
		bpf.LoadAbsolute{Off: icmpAt, Size: 2},
		bpf.ALUOpConstant{Op: bpf.ALUOpSub, Val: neighborSolicitation << 8}, // the code is 0 in both
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: (neighborAdvertisement - neighborSolicitation) << 8, SkipTrue: drop},
		bpf.LoadAbsolute{Off: etherTypeAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeIPv6, SkipTrue: drop},
		bpf.LoadAbsolute{Off: optionsAt - 1, Size: 1},
	}
}

// lookupNDP looks up the target: what a solicitation asks for is where an
// advertisement has what it claims.
func lookupNDP(program []bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{bpf.LoadAbsolute{Off: targetAt + 12, Size: 4}}, program...)
}

// resolve ends the checks with one instruction that drops the frame, to which the
// jumps to drop lead, and past which what has met no objection goes on.
func resolve(program []bpf.Instruction) []bpf.Instruction {
	program = append(program, bpf.Jump{Skip: 1}, bpf.RetConstant{Val: 0})
	for i, instruction := range program {
		end := uint8(len(program) - i - 2)
		if jump, ok := instruction.(bpf.JumpIf); ok && jump.SkipTrue == drop {
			jump.SkipTrue = end
			program[i] = jump
		}
	}
	return program
}
