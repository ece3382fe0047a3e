// SPDX-License-Identifier: Apache-2.0

package router

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// daemon is one of FRR's programs and its flags.
type daemon struct {
	name    string
	options []string
}

// always are the daemons that FRR's own start script runs whatever the file says.
var always = []string{"zebra", "staticd"}

// known are the daemons that the lab runs.
var known = []string{"zebra", "staticd", "bgpd", "bfdd", "ospfd", "ospf6d", "isisd"}

var setting = regexp.MustCompile(`^([a-z0-9_]+)=(.*)$`)

// parseDaemons reads FRR's file "daemons": shell assignments such as bgpd=yes and
// bgpd_options="-A 127.0.0.1". Settings that do not concern a daemon's start are
// passed over, for Debian's own file is full of them.
func parseDaemons(text string) ([]daemon, error) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := setting.FindStringSubmatch(line); m != nil {
			values[m[1]] = strings.Trim(m[2], `"'`)
		}
	}
	var list []daemon
	for _, name := range known {
		if values[name] != "yes" && !slices.Contains(always, name) {
			continue
		}
		d := daemon{name: name, options: strings.Fields(values[name+"_options"])}
		if len(d.options) == 0 {
			d.options = []string{"-A", "127.0.0.1"}
		}
		list = append(list, d)
	}
	for name, value := range values {
		if strings.HasSuffix(name, "d") && value == "yes" && !slices.Contains(known, name) {
			return nil, fmt.Errorf("read daemons: %s=yes, and the lab runs only %s", name, strings.Join(known, ", "))
		}
	}
	return list, nil
}
