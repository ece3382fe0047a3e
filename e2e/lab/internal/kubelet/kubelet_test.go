// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/herald-lb/herald/e2e/lab/internal/container"
)

func TestEligible(t *testing.T) {
	node := func(change func(*corev1.Node)) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"rack": "a", "size": "7"}}}
		change(n)
		return n
	}
	plain := node(func(*corev1.Node) {})
	tainted := node(func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "k", Value: "v", Effect: corev1.TaintEffectNoSchedule}}
	})
	preferred := node(func(n *corev1.Node) {
		n.Spec.Taints = []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectPreferNoSchedule}}
	})
	cordoned := node(func(n *corev1.Node) { n.Spec.Unschedulable = true })
	requires := func(key string, op corev1.NodeSelectorOperator, values ...string) *corev1.Affinity {
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}}},
		}}}
	}
	onNode := func(name string) *corev1.Affinity { // what the DaemonSet controller writes
		return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{
				{Key: "metadata.name", Operator: corev1.NodeSelectorOpIn, Values: []string{name}},
			}}},
		}}}
	}
	tolerates := func(list ...corev1.Toleration) corev1.PodSpec { return corev1.PodSpec{Tolerations: list} }
	for name, c := range map[string]struct {
		spec corev1.PodSpec
		node *corev1.Node
		want bool
	}{
		"anything goes":            {corev1.PodSpec{}, plain, true},
		"selector that matches":    {corev1.PodSpec{NodeSelector: map[string]string{"rack": "a"}}, plain, true},
		"selector that does not":   {corev1.PodSpec{NodeSelector: map[string]string{"rack": "b"}}, plain, false},
		"affinity In":              {corev1.PodSpec{Affinity: requires("rack", corev1.NodeSelectorOpIn, "a", "b")}, plain, true},
		"affinity NotIn":           {corev1.PodSpec{Affinity: requires("rack", corev1.NodeSelectorOpNotIn, "a")}, plain, false},
		"affinity DoesNotExist":    {corev1.PodSpec{Affinity: requires("none", corev1.NodeSelectorOpDoesNotExist)}, plain, true},
		"affinity Gt":              {corev1.PodSpec{Affinity: requires("size", corev1.NodeSelectorOpGt, "6")}, plain, true},
		"affinity of no sense":     {corev1.PodSpec{Affinity: requires("rack", corev1.NodeSelectorOpIn)}, plain, false},
		"this very node":           {corev1.PodSpec{Affinity: onNode("n")}, plain, true},
		"another node":             {corev1.PodSpec{Affinity: onNode("m")}, plain, false},
		"taint":                    {corev1.PodSpec{}, tainted, false},
		"taint that is preferred":  {corev1.PodSpec{}, preferred, true},
		"toleration by value":      {tolerates(corev1.Toleration{Key: "k", Value: "v"}), tainted, true},
		"toleration of other":      {tolerates(corev1.Toleration{Key: "k", Value: "w"}), tainted, false},
		"toleration by existence":  {tolerates(corev1.Toleration{Key: "k", Operator: corev1.TolerationOpExists}), tainted, true},
		"toleration of everything": {tolerates(corev1.Toleration{Operator: corev1.TolerationOpExists}), cordoned, true},
		"toleration of an effect":  {tolerates(corev1.Toleration{Key: "k", Value: "v", Effect: corev1.TaintEffectNoExecute}), tainted, false},
		"cordon":                   {corev1.PodSpec{}, cordoned, false},
	} {
		if got := eligible(&corev1.Pod{Spec: c.spec}, c.node); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestAddressPool(t *testing.T) {
	p := newAddressPool([]netip.Prefix{netip.MustParsePrefix("10.244.3.0/24"), netip.MustParsePrefix("fd00:10:244:3::/64")})
	if diff := cmp.Diff([]string{"10.244.3.1", "fd00:10:244:3::1"}, addressTexts(p.gateways())); diff != "" {
		t.Errorf("gateways (-want +got):\n%s", diff)
	}
	seen := map[netip.Addr]bool{}
	var last int
	for range lastPod - firstPod + 1 {
		addresses, number, err := p.take()
		if err != nil || len(addresses) != 2 || seen[addresses[0]] || seen[addresses[1]] {
			t.Fatalf("pod %d: %v, %v", number, addresses, err)
		}
		seen[addresses[0]], seen[addresses[1]] = true, true
		last = number
	}
	if _, _, err := p.take(); err == nil {
		t.Error("an address beyond the last")
	}
	p.giveBack(firstPod)
	p.giveBack(last)
	if addresses, number, err := p.take(); err != nil || number != firstPod || addresses[0].String() != "10.244.3.2" {
		t.Errorf("after a round: %v, %d, %v; want the one that is longest unused", addresses, number, err)
	}
}

func TestExpand(t *testing.T) {
	e := &environ{values: map[string]string{}}
	e.set("A", "1")
	e.set("B_2", "two")
	e.set("A", "one") // keeps its place
	for in, want := range map[string]string{
		"plain":         "plain",
		"$(A) $(B_2)":   "one two",
		"$(NONE)":       "$(NONE)",
		"$$(A)":         "$(A)",
		"$A ${A} $(A":   "$A ${A} $(A",
		"$(A)$(A)$$":    "oneone$",
		"--x=$(A),$(B)": "--x=one,$(B)",
	} {
		if got := e.expand(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	if diff := cmp.Diff([]string{"A=one", "B_2=two"}, e.list()); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestImageName(t *testing.T) {
	for image, want := range map[string]string{
		"echo":                              "echo",
		"herald-lb/echo":                    "echo",
		"registry.example:5000/x/herald":    "herald",
		"x/herald-controller:v1":            "controller",
		"x/speaker@sha256:0123":             "speaker",
		"registry.example:5000/speaker:1@x": "speaker",
	} {
		if got := imageName(image); got != want {
			t.Errorf("%s is %q, want %q", image, got, want)
		}
	}
}

func testRunner(pod *corev1.Pod) *runner {
	k := &Kubelet{config: Config{
		Dir:      "/dir",
		Programs: map[string]Program{"speaker": {Path: "/bin/speaker"}, "echo": {Path: "/bin/pod", Args: []string{"echo"}}, "controller": {}},
		API:      netip.MustParseAddrPort("10.96.0.1:443"),
		Log:      slog.New(slog.DiscardHandler),
	}}
	r := newRunner(k, &Node{Name: "n", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}, pod)
	r.addresses = []netip.Addr{netip.MustParseAddr("10.244.0.2")}
	return r
}

func TestContainerSpec(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"app/x": "y"}},
		Spec: corev1.PodSpec{
			HostNetwork:     true,
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: new(int64(1000)), RunAsGroup: new(int64(1001))},
		},
	}
	r := testRunner(pod)
	got, err := r.containerSpec(corev1.Container{
		Name: "c", Image: "x/herald:1", Command: []string{"/opt/speaker", "--first"}, Args: []string{"--node=$(NODE)", "--label=$(LABEL)"},
		Env: []corev1.EnvVar{
			{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
			{Name: "LABEL", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app/x']"}}},
			{Name: "HOSTS", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.hostIPs"}}},
		},
		VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v", ReadOnly: true}},
		SecurityContext: &corev1.SecurityContext{
			RunAsUser: new(int64(7)), ReadOnlyRootFilesystem: new(true), AllowPrivilegeEscalation: new(false),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_RAW"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := container.Spec{
		Root: "/dir/pods/u/root-c", Program: "/bin/speaker", Entry: "/opt/speaker",
		Args: []string{"--first", "--node=n", "--label=y"},
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=p",
			"KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443",
			"NODE=n", "LABEL=y", "HOSTS=192.0.2.1,2001:db8::1",
		},
		Hostname: "n", Mounts: []container.Mount{{Source: "/dir/pods/u/volumes/v", Target: "/v", ReadOnly: true}},
		ReadOnly: true, UID: 7, GID: 1001, Capabilities: []string{"NET_RAW"}, NoNewPrivileges: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
}

func TestContainerSpecRefuses(t *testing.T) {
	yes := true
	for want, c := range map[string]corev1.Container{
		`the lab has no program "nginx"`:          {Image: "nginx"},
		`where the program "controller" is`:       {Image: "x/controller"},
		"sub-paths":                               {Image: "echo", VolumeMounts: []corev1.VolumeMount{{SubPath: "x"}}},
		"runAsNonRoot":                            {Image: "echo", SecurityContext: &corev1.SecurityContext{RunAsNonRoot: &yes}},
		"resolve field spec.nothing":              {Image: "echo", Env: []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nothing"}}}}},
		"fieldRef, secretKeyRef and configMapKey": {Image: "echo", Env: []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{}}}},
	} {
		if _, err := testRunner(&corev1.Pod{}).containerSpec(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that contains %q", err, want)
		}
	}
}

func TestSyncDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volume")
	read := func() map[string]string {
		got := map[string]string{}
		if err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			content, err := os.ReadFile(filepath.Join(dir, path))
			info, _ := e.Info()
			got[path] = string(content) + " " + info.Mode().String()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, c := range []struct {
		files map[string]file
		want  map[string]string
	}{
		{nil, map[string]string{}}, // an optional Secret that is not there yet
		{map[string]file{"a": {[]byte("1"), 0o400}, "b": {[]byte("2"), 0o644}}, map[string]string{"a": "1 -r--------", "b": "2 -rw-r--r--"}},
		{map[string]file{"a": {[]byte("3"), 0o400}}, map[string]string{"a": "3 -r--------"}},
	} {
		if err := syncDir(dir, c.files, false); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, read()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if err := syncDir(dir, nil, true); err != nil { // emptyDir: what is there is the container's
		t.Fatal(err)
	}
	if len(read()) != 1 {
		t.Errorf("a container's file is gone: %v", read())
	}
}

func TestChoose(t *testing.T) {
	values := map[string][]byte{"k": []byte("v"), "l": []byte("w")}
	got, err := choose(values, []corev1.KeyToPath{{Key: "k", Path: "sub/name", Mode: new(int32(0o440))}}, new(int32(0o400)), false, nil)
	if diff := cmp.Diff(map[string]file{"sub/name": {[]byte("v"), 0o440}}, got, cmp.AllowUnexported(file{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := choose(values, []corev1.KeyToPath{{Key: "none", Path: "x"}}, nil, false, nil); err == nil {
		t.Error("a key that is not there was found")
	}
	if got, err := choose(values, []corev1.KeyToPath{{Key: "none", Path: "x"}}, nil, true, nil); err != nil || len(got) != 0 {
		t.Errorf("an optional key that is not there: %v, %v", got, err)
	}
}
