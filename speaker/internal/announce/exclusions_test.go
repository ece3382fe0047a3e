// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/herald-lb/herald/speaker/internal/link"
)

func names(x *Exclusions, links ...string) []string {
	var in []link.Interface
	for _, name := range links {
		in = append(in, link.Interface{Name: name})
	}
	var out []string
	for _, i := range x.apply(in) {
		out = append(out, i.Name)
	}
	return out
}

func TestReadExclusions(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	links := []string{"eth0", "docker0", "lo", "bond0", "cali123"}
	for name, tt := range map[string]struct {
		content string // empty: no file
		want    []string
		wrong   bool
	}{
		"no file":      {"", []string{"eth0", "bond0"}, false},
		"MetalLB's":    {"announcedInterfacesToExclude: [\"^docker.*\", \"^lo$\"]\n", []string{"eth0", "bond0", "cali123"}, false},
		"none":         {"announcedInterfacesToExclude: []\n", links, false},
		"typo":         {"announcedInterfaceToExclude: []\n", nil, true},
		"no pattern":   {"announcedInterfacesToExclude: [\"(\"]\n", nil, true},
		"no YAML":      {"{", nil, true},
		"not a string": {"announcedInterfacesToExclude: 7\n", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "excludel2.yaml")
			if tt.content != "" {
				if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			x, err := ReadExclusions(path, log)
			if (err != nil) != tt.wrong {
				t.Fatalf("error: %v, want one: %t", err, tt.wrong)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tt.want, names(x, links...)); diff != "" {
				t.Errorf("interfaces left (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := ReadExclusions(t.TempDir(), log); err == nil {
		t.Error("a directory was taken for a file")
	}
}

// The file changes while the speaker runs; what cannot be used is not.
func TestExclusionsChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "excludel2.yaml")
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("announcedInterfacesToExclude: [eth1]\n")
	inBubble(t, func(s *speaker) {
		expect := func(want ...string) {
			t.Helper()
			for range 3 {
				s.quiesce()
			}
			if diff := cmp.Diff(want, s.layer2.followed()); diff != "" {
				t.Errorf("interfaces (-want +got):\n%s", diff)
			}
		}
		expect("eth0")
		write("announcedInterfacesToExclude: [eth0]\n")
		expect("eth1")
		write("announcedInterfacesToExclude: [\"(\"]\n")
		expect("eth1")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect("eth0", "eth1")
	}, func(c *Config) {
		var err error
		if c.Exclusions, err = ReadExclusions(path, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestDefaultExclude(t *testing.T) {
	exclude := regexp.MustCompile(defaultExclude)
	for name, want := range map[string]bool{
		"eth0": false, "eno1": false, "bond0": false, "br0": false, "lo0": false, "local0": false, "wlan0": false, "xveth": false,
		"lo": true, "docker0": true, "cbr0": true, "dummy0": true, "virbr0": true, "lxcbr0": true, "veth1a2b": true,
		"cali123": true, "tunl0": true, "flannel.1": true, "kube-ipvs0": true, "cni0": true, "nodelocaldns": true, "lxc1": true,
	} {
		if got := exclude.MatchString(name); got != want {
			t.Errorf("%s: excluded = %v, want %v", name, got, want)
		}
	}
}
