// SPDX-License-Identifier: Apache-2.0

package container

import (
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// DefaultCapabilities is what containerd and CRI-O leave a container that asks
// for nothing.
func DefaultCapabilities() []string {
	return []string{
		"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
		"NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
	}
}

// AllCapabilities is what a privileged container has.
func AllCapabilities() []string {
	names := make([]string, 0, len(capabilityNames))
	return append(names, capabilityNames[:]...)
}

// Restrict returns the capabilities that are left of a set after a manifest's
// drop and add lists, in which ALL stands for all.
func Restrict(set, drop, add []string) []string {
	for _, name := range drop {
		name = strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		set = slices.DeleteFunc(slices.Clone(set), func(s string) bool { return name == "ALL" || s == name })
	}
	for _, name := range add {
		name = strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		if name == "ALL" {
			return AllCapabilities()
		}
		if !slices.Contains(set, name) {
			set = append(slices.Clone(set), name)
		}
	}
	return set
}

// capabilityNames are indexed by number (capabilities(7)).
var capabilityNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

func capabilityNumber(name string) (int, bool) {
	i := slices.Index(capabilityNames[:], name)
	return i, i >= 0
}

// dropPrivileges leaves the calling thread, and what it executes, with the
// Spec's user and capabilities.
func (s Spec) dropPrivileges() error {
	if err := s.dropBoundingSet(); err != nil {
		return err
	}
	if err := syscall.Setgroups([]int{s.GID}); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := syscall.Setresgid(s.GID, s.GID, s.GID); err != nil {
		return fmt.Errorf("set group %d: %w", s.GID, err)
	}
	if err := syscall.Setresuid(s.UID, s.UID, s.UID); err != nil {
		return fmt.Errorf("set user %d: %w", s.UID, err)
	}
	if s.UID == 0 {
		if err := s.setCapabilities(); err != nil {
			return err
		}
	}
	// A change of user takes this away; the program must not outlive the lab.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set parent death signal: %w", err)
	}
	if s.NoNewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	return nil
}

func (s Spec) dropBoundingSet() error {
	for number := 0; ; number++ {
		have, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(number), 0, 0, 0)
		if err != nil {
			return nil //nolint:nilerr // past the last capability this kernel knows
		}
		keep := number < len(capabilityNames) && slices.Contains(s.Capabilities, capabilityNames[number])
		if have == 0 || keep {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(number), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d from the bounding set: %w", number, err)
		}
	}
}

// setCapabilities makes the permitted and effective sets the Spec's.
func (s Spec) setCapabilities() error {
	var sets [2]unix.CapUserData // bits 0 to 31, and 32 to 63
	for _, name := range s.Capabilities {
		number, _ := capabilityNumber(name)
		sets[number/32].Permitted |= 1 << (number % 32)
		sets[number/32].Effective |= 1 << (number % 32)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return fmt.Errorf("set capabilities: %w", err)
	}
	return nil
}
