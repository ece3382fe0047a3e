// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parse runs a command line through the flags that both binaries have.
func parse(t *testing.T, env map[string]string, args ...string) (o *Options, code int, stdout, stderr string) {
	t.Helper()
	f := NewFlagSet("speaker", "announces addresses", func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	o = RegisterOptions(f, Defaults{HealthHost: "127.0.0.1"})
	f.Port("ml-bindport", 7946, "`port` of gossip")
	f.Env("ml-bindport", "METALLB_ML_BIND_PORT")
	f.Ignored("disable-cert-rotation", false, "there is no webhook")
	f.Ignored("cert-dir", true, "there is no webhook")
	var out, err strings.Builder
	code, done := f.Parse(args, &out, &err)
	if done != (code != ExitOK || out.Len() > 0) {
		t.Errorf("Parse(%q): done = %t, code = %d, stdout %q", args, done, code, out.String())
	}
	return o, code, out.String(), err.String()
}

func TestWrongUsageIsOneLineAndExitCode2(t *testing.T) {
	inPod := map[string]string{"METALLB_NAMESPACE": "metallb-system"}
	tests := []struct {
		name string
		env  map[string]string
		args []string
		want string // part of the line
	}{
		{"unknown flag", inPod, []string{"--colour"}, "-colour"},
		{"unknown flag with a line break", inPod, []string{"--a\nb"}, `-a\nb`},
		{"missing value", inPod, []string{"--port"}, "-port"},
		{"argument", inPod, []string{"start"}, `"start"`},
		{"argument after flags", inPod, []string{"--port=1", "--", "x"}, `"x"`},
		{"port not a number", inPod, []string{"--port=http"}, "want a port from 0 to 65535"},
		{"port too large", inPod, []string{"--health-probe-port", "65536"}, "want a port from 0 to 65535"},
		{"port negative", inPod, []string{"--ml-bindport=-1"}, "want a port from 0 to 65535"},
		{"same port twice", inPod, []string{"--port=80", "--health-probe-port=80"}, "--health-probe-port are both 80"},
		{"log level", inPod, []string{"--log-level=loud"}, "all, debug, info, warn, error, none"},
		{"TLS version", inPod, []string{"--tls-min-version=1.1"}, "want 1.2 or 1.3"},
		{"insecure cipher", inPod, []string{"--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"}, `"TLS_RSA_WITH_RC4_128_SHA" is not known`},
		{"curve", inPod, []string{"--tls-curve-preferences=X25519,P224"}, `"P224" is not known`},
		{"pprof address", inPod, []string{"--pprof-bind-address=6060"}, "want host:port"},
		{"boolean", inPod, []string{"--version=perhaps"}, "version"},
		{"variable", map[string]string{"METALLB_ML_BIND_PORT": "x"}, nil, "environment variable METALLB_ML_BIND_PORT"},
		{"no namespace", nil, nil, "--namespace or METALLB_NAMESPACE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, code, stdout, stderr := parse(t, tt.env, tt.args...)
			if code != ExitUsage || stdout != "" {
				t.Errorf("code = %d, stdout = %q; want %d and nothing", code, stdout, ExitUsage)
			}
			if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "speaker: ") || !strings.Contains(stderr, tt.want) {
				t.Errorf("stderr = %q, want one line with %q", stderr, tt.want)
			}
		})
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	_, code, stdout, stderr := parse(t, nil, "--help")
	if code != ExitOK || stderr != "" {
		t.Fatalf("code = %d, stderr = %q", code, stderr)
	}
	for _, want := range []string{
		"Usage: speaker [flags]\n", "speaker announces addresses.\n",
		"  --ml-bindport port\n      port of gossip (default 7946; environment variable METALLB_ML_BIND_PORT)\n",
		"  --log-level level\n", "(default info)", "(default 17472)", "(default 9120)", "(default 1.3)",
		"without effect: --cert-dir, --disable-cert-rotation\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("help lacks %q:\n%s", want, stdout)
		}
	}
}

func TestVersionNeedsNothingElse(t *testing.T) {
	_, code, stdout, stderr := parse(t, nil, "--version")
	if code != ExitOK || stderr != "" || !strings.HasPrefix(stdout, "speaker ") || !strings.HasSuffix(stdout, ")\n") {
		t.Errorf("code = %d, stdout = %q, stderr = %q", code, stdout, stderr)
	}
}

func TestPrecedence(t *testing.T) {
	tests := []struct {
		name string
		env  string
		args []string
		want string
	}{
		{"variable", "from-env", nil, "from-env"},
		{"flag wins", "from-env", []string{"--namespace=from-flag"}, "from-flag"},
		{"empty variable is absent", "", []string{"--namespace", "from-flag"}, "from-flag"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, code, _, stderr := parse(t, map[string]string{"METALLB_NAMESPACE": tt.env}, tt.args...)
			if code != ExitOK || o.Namespace != tt.want {
				t.Errorf("namespace = %q, code = %d (%s), want %q", o.Namespace, code, stderr, tt.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	o, _, _, _ := parse(t, nil, "--namespace=x")
	got := []string{o.HealthAddress(), o.MetricsAddress()}
	if diff := cmp.Diff([]string{"127.0.0.1:17472", ":9120"}, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	o, _, _, _ = parse(t, nil, "--namespace=x", "--port=0", "--health-probe-port=0")
	got = []string{o.HealthAddress(), o.MetricsAddress()}
	if diff := cmp.Diff([]string{"", ""}, got); diff != "" {
		t.Errorf("disabled (-want +got):\n%s", diff)
	}
}

func TestNamespaceOfThePod(t *testing.T) {
	path := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(path, []byte("elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var o Options
	if err := o.complete(path); err != nil || o.Namespace != "elsewhere" {
		t.Errorf("namespace = %q, %v", o.Namespace, err)
	}
	if err := (&Options{}).complete(t.TempDir()); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory in place of the file: %v", err)
	}
}

func TestIgnoredFlags(t *testing.T) {
	f := NewFlagSet("controller", "assigns addresses", os.LookupEnv)
	f.Ignored("cert-dir", true, "there is no webhook")
	f.Ignored("webhook-http2", false, "there is no webhook")
	var stdout, stderr strings.Builder
	if code, done := f.Parse([]string{"--webhook-http2", "--cert-dir", "/tmp"}, &stdout, &stderr); done {
		t.Fatalf("code = %d, stderr = %q", code, stderr.String())
	}
	want := []string{"--cert-dir: there is no webhook", "--webhook-http2: there is no webhook"}
	if diff := cmp.Diff(want, f.IgnoredFlags()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestKubeconfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	kubeconfig := `{"apiVersion":"v1","kind":"Config","current-context":"c",
		"clusters":[{"name":"c","cluster":{"server":"https://192.0.2.1:6443"}}],
		"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],
		"users":[{"name":"u","user":{"token":"t"}}]}`
	if err := os.WriteFile(path, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := (&Options{Kubeconfig: path}).RESTConfig("herald-test")
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://192.0.2.1:6443" || config.UserAgent != "herald-test" {
		t.Errorf("host %q, user agent %q", config.Host, config.UserAgent)
	}
	_, err = (&Options{Kubeconfig: path + ".absent"}).RESTConfig("x")
	if err == nil || !strings.Contains(err.Error(), path+".absent") {
		t.Errorf("error for an absent file = %v, want its path in it", err)
	}
}
