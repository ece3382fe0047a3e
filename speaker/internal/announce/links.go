// SPDX-License-Identifier: Apache-2.0

package announce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"sync/atomic"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/herald-lb/herald/internal/lb"
	"github.com/herald-lb/herald/speaker/internal/layer2"
	"github.com/herald-lb/herald/speaker/internal/link"
)

// exclusionPoll is how often the file is looked at: a kubelet takes a minute to mount
// a changed ConfigMap anyway.
const exclusionPoll = 10 * time.Second

// defaultExclude matches the names of interfaces that container networks and
// virtual machines bring along, and that lead to no client: those that MetalLB
// leaves out by default.
const defaultExclude = `^(docker|cbr|dummy|virbr|lxcbr|veth|cali|tunl|flannel|kube-ipvs|cni|nodelocaldns|lxc)|^lo$`

// Exclusions are the names of interfaces that addresses are never announced on, as
// patterns in a file, which is MetalLB's excludel2.yaml:
//
//	announcedInterfacesToExclude: ["^docker.*", "^lo$"]
//
// Without a file they are defaultExclude.
type Exclusions struct {
	path     string
	log      *slog.Logger
	changed  chan struct{}
	patterns atomic.Pointer[[]*regexp.Regexp]
	// content is what patterns were read from; it belongs to Run after the start.
	content []byte
}

// ReadExclusions reads the file for the first time. A file that is there and cannot
// be used is an error.
func ReadExclusions(path string, log *slog.Logger) (*Exclusions, error) {
	x := &Exclusions{path: path, log: log, changed: make(chan struct{}, 1)}
	content, err := readIfExists(path)
	if err != nil {
		return nil, err
	}
	if err := x.use(content); err != nil {
		return nil, err
	}
	return x, nil
}

// readIfExists returns nil for a file that does not exist.
func readIfExists(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the interfaces to exclude: %w", err)
	}
	return content, nil
}

func (x *Exclusions) use(content []byte) error {
	patterns, err := parseExclusions(content)
	if err != nil {
		return fmt.Errorf("read the interfaces to exclude from %s: %w", x.path, err)
	}
	x.content = content
	x.patterns.Store(&patterns)
	return nil
}

func parseExclusions(content []byte) ([]*regexp.Regexp, error) {
	if content == nil {
		return []*regexp.Regexp{regexp.MustCompile(defaultExclude)}, nil
	}
	var file struct {
		Patterns []string `json:"announcedInterfacesToExclude"`
	}
	if err := yaml.UnmarshalStrict(content, &file); err != nil {
		return nil, err
	}
	patterns := make([]*regexp.Regexp, 0, len(file.Patterns))
	for i, p := range file.Patterns {
		compiled, err := regexp.Compile(p)
		if err != nil {
			return nil, fmt.Errorf("announcedInterfacesToExclude[%d]: %w", i, err)
		}
		patterns = append(patterns, compiled)
	}
	return patterns, nil
}

// Changed rings when the patterns have changed.
func (x *Exclusions) Changed() <-chan struct{} { return x.changed }

// Run reads the file again when it has changed, until ctx ends. A change that cannot
// be used is logged, and what was read before stays in force.
func (x *Exclusions) Run(ctx context.Context) error {
	tick := time.NewTicker(exclusionPoll)
	defer tick.Stop()
	complained := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		content, err := readIfExists(x.path)
		if err == nil {
			if (content == nil) == (x.content == nil) && bytes.Equal(content, x.content) {
				continue
			}
			err = x.use(content)
		}
		switch {
		case err == nil:
			complained = ""
			x.log.Info("interfaces to exclude have changed", lb.LogKeyCount, len(*x.patterns.Load()))
			ring(x.changed)
		case err.Error() != complained:
			complained = err.Error()
			x.log.Error("interfaces to exclude stay as they were", lb.LogKeyError, err)
		}
	}
}

// apply returns the interfaces whose names are not excluded, in the form that layer 2
// takes them.
func (x *Exclusions) apply(links []link.Interface) []layer2.Interface {
	patterns := *x.patterns.Load()
	interfaces := make([]layer2.Interface, 0, len(links))
	for i := range links {
		l := &links[i]
		if matchesAny(patterns, l.Name) {
			continue
		}
		interfaces = append(interfaces, layer2.Interface{
			Index: l.Index, Name: l.Name, MAC: l.MAC, Up: l.Up, Master: l.Master,
			ARP: l.ARP, LinkLocal6: l.LinkLocal6, Ups: l.Ups,
		})
	}
	return interfaces
}

func matchesAny(patterns []*regexp.Regexp, name string) bool {
	for _, p := range patterns {
		if p.MatchString(name) {
			return true
		}
	}
	return false
}

// announcesWhenUp says whether an interface counts as one of this node's: it can carry
// announcements once it is up. One that is down does not make an advertisement that
// names it wrong.
func announcesWhenUp(i layer2.Interface) bool {
	i.Up = true
	return layer2.Usable(i, layer2.ARP) || layer2.Usable(i, layer2.NDP)
}
