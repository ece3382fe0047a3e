// SPDX-License-Identifier: Apache-2.0

package router

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDaemons(t *testing.T) {
	standard := []string{"-A", "127.0.0.1"}
	for _, c := range []struct {
		name, text string
		want       []daemon
		err        string
	}{
		{name: "nothing", want: []daemon{{"zebra", standard}, {"staticd", standard}}},
		{
			name: "as Debian has it",
			text: "# comment\nbgpd=yes\nospfd=no\nvtysh_enable=yes\nzebra_options=\"  -A 127.0.0.1 -s 90000000\"\n#MAX_FDS=1024\nbgpd_options='-A ::1'\n",
			want: []daemon{{"zebra", []string{"-A", "127.0.0.1", "-s", "90000000"}}, {"staticd", standard}, {"bgpd", []string{"-A", "::1"}}},
		},
		{name: "one the lab does not run", text: "ripd=yes\n", err: "ripd=yes"},
	} {
		got, err := parseDaemons(c.text)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: error %v, want one that contains %q", c.name, err, c.err)
			}
			continue
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(daemon{})); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", c.name, err, diff)
		}
	}
}
