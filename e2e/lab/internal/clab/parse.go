// SPDX-License-Identifier: Apache-2.0

package clab

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	// standardMTU is that of an Ethernet link; containerlab's own default of 9500
	// would hide every fragmentation problem a user's network has.
	standardMTU = 1500
	// minMTU is what IPv6 asks of a link (RFC 8200 section 5).
	minMTU = 1280
	maxMTU = 65535
)

var (
	nodeName      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$`)
	interfaceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}$`)
)

// Load reads and parses a topology file and the files it names.
func Load(path string) (*Topology, error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read topology: %w", err)
	}
	t, err := Parse(document, filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("topology %s: %w", path, err)
	}
	return t, nil
}

// Parse reads a topology. Paths in it are relative to dir. The error joins one
// error for each problem, in the order of the file's structure.
func Parse(document []byte, dir string) (*Topology, error) {
	var problems []error
	top, err := parse(document, &problems)
	if err != nil {
		return nil, err
	}
	p := &parser{dir: dir, problems: &problems}
	t := p.topology(top)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return t, nil
}

// parser holds what the parts of the file need of each other.
type parser struct {
	dir      string
	problems *[]error
	inherit  inherited
}

func (p *parser) topology(top *object) *Topology {
	t := &Topology{Name: top.text("name")}
	if !nodeName.MatchString(t.Name) {
		top.refuse("name", "is %q, want lower-case letters, digits and hyphens", t.Name)
	}
	t.Mgmt = parseMgmt(top.object("mgmt"))
	body := top.object("topology")
	top.done()
	p.inherit = inheritedFrom(body)
	nodes := body.object("nodes")
	cluster := ""
	for _, name := range slices.Sorted(maps.Keys(nodes.fields)) {
		p.node(t, nodes, name, &cluster)
	}
	if cluster == "" {
		body.refuse("nodes", "has no node of kind k8s-kind, want one: the lab is a cluster")
	}
	p.matchMembers(t, nodes)
	for _, link := range body.objects("links") {
		t.Links = append(t.Links, parseLink(link))
	}
	p.checkLinks(t, body)
	body.done()
	return t
}

func defaultMgmt() Mgmt {
	return Mgmt{
		IPv4: netip.MustParsePrefix("172.31.255.0/24"),
		IPv6: netip.MustParsePrefix("fd00:172:31:255::/64"),
		MTU:  standardMTU,
	}
}

func parseMgmt(o *object) Mgmt {
	m := defaultMgmt()
	// The name is Docker's; in the lab the network is a bridge of its own that
	// needs none, so any name is the right one.
	o.text("network")
	m.IPv4 = o.prefix("ipv4-subnet", m.IPv4)
	m.IPv6 = o.prefix("ipv6-subnet", m.IPv6)
	m.MTU = o.number("mtu", m.MTU, minMTU, maxMTU)
	if m.IPv4.Bits() > 24 {
		o.refuse("ipv4-subnet", "is %s, want a network of /24 or larger", m.IPv4)
	}
	o.done()
	return m
}

// node reads one entry of topology.nodes into t.
func (p *parser) node(t *Topology, nodes *object, name string, cluster *string) {
	if !nodeName.MatchString(name) {
		nodes.refuse(name, "is no name for a node, want lower-case letters, digits and hyphens, at most 42")
	}
	o := p.inherit.apply(nodes.object(name))
	switch kind := o.text("kind"); kind {
	case "k8s-kind":
		if *cluster != "" {
			o.refuse("kind", "is a second cluster, want one: %s is the first", *cluster)
		}
		*cluster = name
		t.Cluster = p.cluster(o, name)
	case "ext-container":
		t.Nodes = append(t.Nodes, p.member(o, name))
	case "bridge":
		o.dictionary("labels")
		t.Nodes = append(t.Nodes, Node{Name: name, Kind: Switch})
	case "linux":
		t.Nodes = append(t.Nodes, p.linux(o, name))
	default:
		o.refuse("kind", "is %q, want k8s-kind, ext-container, bridge or linux", kind)
		return // whatever else it has belongs to a kind not known here
	}
	o.done()
}

func (p *parser) member(o *object, name string) Node {
	return Node{
		Name:    name,
		Kind:    Member,
		Labels:  o.dictionary("labels"),
		Exec:    commands(o),
		Sysctls: sysctls(o),
		Mgmt:    true,
	}
}

func (p *parser) linux(o *object, name string) Node {
	n := Node{
		Name:    name,
		Kind:    Client,
		Image:   o.text("image"),
		Labels:  o.dictionary("labels"),
		Exec:    commands(o),
		Sysctls: sysctls(o),
		Mgmt:    true,
	}
	if n.Image == "" {
		o.refuse("image", "is missing: containerlab needs one, and it tells the lab a router from a client")
	}
	if isFRR(n.Image) {
		n.Kind = Router
		n.Binds = p.binds(o)
	}
	switch mode := o.text("network-mode"); mode {
	case "":
	case "none":
		n.Mgmt = false
	default:
		o.refuse("network-mode", "is %q, want none or nothing", mode)
	}
	return n
}

// isFRR says whether an image's name, without registry and tag, is FRR's.
func isFRR(image string) bool {
	name := image[strings.LastIndex(image, "/")+1:]
	name, _, _ = strings.Cut(name, ":")
	name, _, _ = strings.Cut(name, "@")
	return name == "frr" || strings.HasPrefix(name, "frr-")
}

func commands(o *object) [][]string {
	var list [][]string
	for i, line := range o.texts("exec") {
		words, err := splitWords(line)
		if err == nil && len(words) == 0 {
			err = errors.New("is empty")
		}
		if err != nil {
			o.refuse(fmt.Sprintf("exec[%d]", i), "%v", err)
			continue
		}
		list = append(list, words)
	}
	return list
}

func sysctls(o *object) map[string]string {
	settings := o.dictionary("sysctls")
	for key := range settings {
		if !strings.HasPrefix(key, "net.") || strings.Contains(key, "/") {
			o.refuse("sysctls."+key, "is not a setting of a network namespace (net.*)")
		}
	}
	return settings
}

// binds reads an FRR node's binds. The lab shows files to FRR in a mount
// namespace of its own, which has a private /etc/frr and nothing else.
func (p *parser) binds(o *object) []Bind {
	var binds []Bind
	for i, text := range o.texts("binds") {
		key := fmt.Sprintf("binds[%d]", i)
		parts := strings.Split(text, ":")
		if len(parts) < 2 || len(parts) > 3 || (len(parts) == 3 && parts[2] != "ro" && parts[2] != "rw") {
			o.refuse(key, "is %q, want SOURCE:TARGET or SOURCE:TARGET:ro", text)
			continue
		}
		b := Bind{Source: parts[0], Target: filepath.Clean(parts[1])}
		if !filepath.IsAbs(b.Source) {
			b.Source = filepath.Join(p.dir, b.Source)
		}
		if filepath.Dir(b.Target) != "/etc/frr" {
			o.refuse(key, "shows %s, want a file in /etc/frr: the lab runs the host's FRR, not an image", b.Target)
		}
		if st, err := os.Stat(b.Source); err != nil || !st.Mode().IsRegular() {
			o.refuse(key, "names %s, which is no file", parts[0])
		}
		binds = append(binds, b)
	}
	return binds
}

// splitWords splits a command line as a POSIX shell does, quotes and
// backslashes included, and nothing else of a shell: containerlab runs commands
// directly too.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	escaped := false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("is %q, which ends inside a quotation", line)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
