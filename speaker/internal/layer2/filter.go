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

// filter is the kernel's half of the parsers: it keeps a speaker asleep while
// others are being asked for. It lets pass what parseRequest and
// parseSolicitation may accept, if it asks for an address that the sieve lets
// through; they check again what it checks, since a filter does not apply to what
// was queued before it.
func filter(p Protocol, s *Sieve) ([]bpf.RawInstruction, error) {
	asks, target := asksByARP(), uint32(arpTargetAddrAt)
	if p == NDP {
		asks, target = asksByNDP(), targetAt+12
	}
	pass := []bpf.Instruction{bpf.RetConstant{Val: snapLen}}
	if s != nil {
		pass = append([]bpf.Instruction{bpf.LoadAbsolute{Off: target, Size: 4}}, s.program()...)
	}
	raw, err := bpf.Assemble(slices.Concat(resolve(slices.Concat(asks, reachesUs())), pass))
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

// asksByARP drops all but ARP requests; announcements among them too.
func asksByARP() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: etherTypeAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeARP, SkipTrue: drop},
		bpf.LoadAbsolute{Off: arpHardwareAt, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: arpEthernet<<16 | arpIPv4, SkipTrue: drop},
		bpf.LoadAbsolute{Off: arpHardwareLen, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 6<<24 | 4<<16 | arpRequest, SkipTrue: drop},
		bpf.LoadAbsolute{Off: arpSenderAddrAt, Size: 4},
		bpf.TAX{},
		bpf.LoadAbsolute{Off: arpTargetAddrAt, Size: 4},
		bpf.JumpIfX{Cond: bpf.JumpEqual, SkipTrue: drop},
	}
}

// asksByNDP drops all but neighbor solicitations from this link. The socket sees
// every IPv6 packet of the interface, so the first comparison is the one that
// nearly all of them fail. A packet too short to be loaded from is dropped too.
func asksByNDP() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: ipv6NextHeaderAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: ipv6ICMP<<8 | hopLimit, SkipTrue: drop},
		bpf.LoadAbsolute{Off: icmpAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: neighborSolicitation << 8, SkipTrue: drop},
		bpf.LoadAbsolute{Off: etherTypeAt, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: etherTypeIPv6, SkipTrue: drop},
		bpf.LoadAbsolute{Off: optionsAt - 1, Size: 1},
	}
}

// resolve ends the checks with one instruction that drops the frame, to which the
// jumps to drop lead, and past which what has met no objection goes on.
func resolve(program []bpf.Instruction) []bpf.Instruction {
	program = append(program, bpf.Jump{Skip: 1}, bpf.RetConstant{Val: 0})
	for i, instruction := range program {
		end := uint8(len(program) - i - 2)
		switch jump := instruction.(type) {
		case bpf.JumpIf:
			jump.SkipTrue = end
			program[i] = jump
		case bpf.JumpIfX:
			jump.SkipTrue = end
			program[i] = jump
		}
	}
	return program
}
