// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is where all labs of a machine are written down.
const Dir = "/run/herald-lab"

const stateFile = "state.json"

// namePattern bounds a lab's name: an interface is called "hl-" and the name, and
// interface names have 15 characters; without hyphens, the prefix of one lab's
// namespaces is never the beginning of another's.
var namePattern = regexp.MustCompile(`^[a-z0-9]{1,12}$`)

// Record is what is written down about a lab.
type Record struct {
	Name     string `json:"name"`
	Program  Task   `json:"program"`
	Topology string `json:"topology"`
	// HostNet is the network of the link between the machine and the lab.
	HostNet netip.Prefix `json:"hostNet"`
	// Dir holds the lab's files.
	Dir string `json:"dir"`
	// Ready is set once the lab is up.
	Ready bool `json:"ready"`
}

// Prefix is what the names of the lab's namespaces start with.
func (r Record) Prefix() string { return "hl-" + r.Name + "-" }

// HostLink is the name of the lab's interface on the machine.
func (r Record) HostLink() string { return "hl-" + r.Name }

// Registry is the directory of labs.
type Registry struct{ dir string }

// Open returns the registry in dir, which is created if need be.
func Open(dir string) (*Registry, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open registry of labs: %w", err)
	}
	return &Registry{dir: dir}, nil
}

// Claim takes a name for the calling program, after removing what is left of
// dead labs, whatever their names. It is an error if a living lab has the name.
// An empty dir makes the lab's files live in the registry.
func (r *Registry) Claim(name, topology, dir string) (Record, error) {
	if !namePattern.MatchString(name) {
		return Record{}, fmt.Errorf("name a lab: %q, want at most 12 lower-case letters and digits", name)
	}
	unlock, err := r.lock()
	if err != nil {
		return Record{}, err
	}
	defer unlock()
	records, err := r.removeDead()
	if err != nil {
		return Record{}, err
	}
	taken := map[netip.Prefix]bool{}
	for _, other := range records {
		if other.Name == name {
			return Record{}, fmt.Errorf("start lab %s: it is already up (process %d)", name, other.Program.PID)
		}
		taken[other.HostNet] = true
	}
	network, err := freeNetwork(taken)
	if err != nil {
		return Record{}, err
	}
	self, err := Self()
	if err != nil {
		return Record{}, err
	}
	rec := Record{Name: name, Program: self, Topology: topology, HostNet: network, Dir: dir}
	if rec.Dir == "" {
		rec.Dir = filepath.Join(r.dir, name)
	}
	return rec, r.Write(rec)
}

// Write replaces what is known of a lab.
func (r *Registry) Write(rec Record) error {
	dir := filepath.Join(r.dir, rec.Name)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(rec.Dir, 0o755)); err != nil {
		return fmt.Errorf("record lab %s: %w", rec.Name, err)
	}
	content, err := json.MarshalIndent(rec, "", "  ")
	if err != nil {
		return fmt.Errorf("record lab %s: %w", rec.Name, err)
	}
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return fmt.Errorf("record lab %s: %w", rec.Name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("record lab %s: %w", rec.Name, err)
	}
	return nil
}

// List returns all labs, dead ones included, in order of their names.
func (r *Registry) List() ([]Record, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var records []Record
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		rec, err := r.Get(e.Name())
		if err != nil {
			return nil, err
		}
		records = append(records, rec)
	}
	return records, nil
}

// Get returns what is known of one lab. A lab whose record was never completed is
// known by its name alone.
func (r *Registry) Get(name string) (Record, error) {
	content, err := os.ReadFile(filepath.Join(r.dir, name, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(r.dir, name)); err != nil {
			return Record{}, fmt.Errorf("find lab %s: there is none of that name", name)
		}
		return Record{Name: name, Dir: filepath.Join(r.dir, name)}, nil
	}
	if err != nil {
		return Record{}, fmt.Errorf("find lab %s: %w", name, err)
	}
	var rec Record
	if err := json.Unmarshal(content, &rec); err != nil {
		return Record{}, fmt.Errorf("read record of lab %s: %w", name, err)
	}
	return rec, nil
}

// Forget removes a lab's record, and its files if they live in the registry.
func (r *Registry) Forget(rec Record) error {
	if err := os.RemoveAll(filepath.Join(r.dir, rec.Name)); err != nil {
		return fmt.Errorf("forget lab %s: %w", rec.Name, err)
	}
	return nil
}

// Remove removes a lab, living or dead, from outside: its program, its other
// processes, its namespaces, its link, its record.
func (r *Registry) Remove(rec Record) error {
	unlock, err := r.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return r.sweep(rec)
}

// removeDead sweeps dead labs and returns the living ones.
func (r *Registry) removeDead() ([]Record, error) {
	records, err := r.List()
	if err != nil {
		return nil, err
	}
	var living []Record
	for _, rec := range records {
		if rec.Program.Alive() {
			living = append(living, rec)
			continue
		}
		if err := r.sweep(rec); err != nil {
			return nil, fmt.Errorf("remove what is left of lab %s: %w", rec.Name, err)
		}
	}
	return living, nil
}

func (r *Registry) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(r.dir, ".lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock registry of labs: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock registry of labs: %w", err)
	}
	return func() { f.Close() }, nil
}

// freeNetwork returns a /30 of 198.18.0.0/16 (RFC 2544: test beds) that no other
// lab has and no interface of the machine is in.
func freeNetwork(taken map[netip.Prefix]bool) (netip.Prefix, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("list addresses of the machine: %w", err)
	}
	var used []netip.Prefix
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			used = append(used, p.Masked())
		}
	}
	for i := range 1 << 14 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 6), byte(i << 2)}), 30)
		free := !taken[p]
		for _, u := range used {
			free = free && !u.Overlaps(p)
		}
		if free {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("choose a network for the lab: all of 198.18.0.0/16 is taken")
}

// NameFor makes a lab's name out of any text.
func NameFor(text string) string {
	name := strings.Map(func(r rune) rune {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			return r
		}
		return -1
	}, strings.ToLower(text))
	return name[:min(len(name), 12)]
}
