// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const (
	config    = "../../config"
	namespace = "metallb-system"
)

// objects reads every object that the kustomizations reachable from a directory
// name, except the CRDs, strictly: an unknown field fails the test.
func objects(t *testing.T, directory string) []metav1.Object {
	t.Helper()
	var kustomization struct {
		metav1.TypeMeta
		Resources []string `json:"resources"`
	}
	decode(t, read(t, filepath.Join(directory, "kustomization.yaml")), &kustomization)
	var found []metav1.Object
	for _, resource := range kustomization.Resources {
		path := filepath.Join(directory, resource)
		switch {
		case filepath.Base(path) == "crd": // generated, and tested with the types
		case filepath.Ext(path) == "":
			found = append(found, objects(t, path)...)
		default:
			for document := range bytes.SplitSeq(read(t, path), []byte("\n---\n")) {
				found = append(found, object(t, path, document))
			}
		}
	}
	return found
}

func object(t *testing.T, path string, document []byte) metav1.Object {
	t.Helper()
	var typed metav1.TypeMeta
	if err := yaml.Unmarshal(document, &typed); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	kinds := map[string]metav1.Object{
		"v1 Namespace":                                    &corev1.Namespace{},
		"v1 ServiceAccount":                               &corev1.ServiceAccount{},
		"apps/v1 Deployment":                              &appsv1.Deployment{},
		"apps/v1 DaemonSet":                               &appsv1.DaemonSet{},
		"rbac.authorization.k8s.io/v1 Role":               &rbacv1.Role{},
		"rbac.authorization.k8s.io/v1 RoleBinding":        &rbacv1.RoleBinding{},
		"rbac.authorization.k8s.io/v1 ClusterRole":        &rbacv1.ClusterRole{},
		"rbac.authorization.k8s.io/v1 ClusterRoleBinding": &rbacv1.ClusterRoleBinding{},
	}
	o, ok := kinds[typed.APIVersion+" "+typed.Kind]
	if !ok {
		t.Fatalf("%s: unexpected %s %s", path, typed.APIVersion, typed.Kind)
	}
	decode(t, document, o)
	return o
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func decode(t *testing.T, document []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(document, into); err != nil {
		t.Fatalf("%v in:\n%s", err, document)
	}
}

// all returns the objects of one type.
func all[T metav1.Object](t *testing.T) []T {
	t.Helper()
	var typed []T
	for _, o := range objects(t, filepath.Join(config, "default")) {
		if o, ok := o.(T); ok {
			typed = append(typed, o)
		}
	}
	if len(typed) == 0 {
		t.Fatalf("no %T in %s", *new(T), config)
	}
	return typed
}

// pods returns the pod templates by the name of their workload.
func pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	t.Helper()
	return map[string]corev1.PodTemplateSpec{
		"controller": all[*appsv1.Deployment](t)[0].Spec.Template,
		"speaker":    all[*appsv1.DaemonSet](t)[0].Spec.Template,
	}
}

func TestEverythingIsInTheNamespaceAndLabeled(t *testing.T) {
	for _, o := range objects(t, filepath.Join(config, "default")) {
		switch o.(type) {
		case *corev1.Namespace, *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding:
			if o.GetNamespace() != "" {
				t.Errorf("%T %s has a namespace", o, o.GetName())
			}
		default:
			if o.GetNamespace() != namespace {
				t.Errorf("%T %s is in namespace %q", o, o.GetName(), o.GetNamespace())
			}
		}
		if o.GetLabels()["app"] != "metallb" {
			t.Errorf("%T %s lacks the label app=metallb", o, o.GetName())
		}
	}
}

func TestWorkloadsHaveTheNamesOfMetalLB(t *testing.T) {
	deployment, daemonSet := all[*appsv1.Deployment](t)[0], all[*appsv1.DaemonSet](t)[0]
	if deployment.Name != "controller" || daemonSet.Name != "speaker" {
		t.Errorf("Deployment %s, DaemonSet %s", deployment.Name, daemonSet.Name)
	}
	selectors := map[string]map[string]string{
		"controller": deployment.Spec.Selector.MatchLabels,
		"speaker":    daemonSet.Spec.Selector.MatchLabels,
	}
	for name, pod := range pods(t) {
		want := map[string]string{"app": "metallb", "component": name}
		if diff := cmp.Diff(want, pod.Labels); diff != "" {
			t.Errorf("labels of %s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(want, selectors[name]); diff != "" {
			t.Errorf("selector of %s (-want +got):\n%s", name, diff)
		}
		if pod.Spec.ServiceAccountName != name {
			t.Errorf("ServiceAccount of %s is %q", name, pod.Spec.ServiceAccountName)
		}
	}
}

func TestContainersHaveNoMoreThanTheyNeed(t *testing.T) {
	capabilities := map[string]*corev1.Capabilities{
		"controller": {Drop: []corev1.Capability{"ALL"}},
		"speaker":    {Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_RAW", "NET_ADMIN"}},
	}
	for name, pod := range pods(t) {
		if pod.Spec.HostNetwork != (name == "speaker") || pod.Spec.HostPID || pod.Spec.HostIPC {
			t.Errorf("%s: hostNetwork %t, hostPID %t, hostIPC %t", name, pod.Spec.HostNetwork, pod.Spec.HostPID, pod.Spec.HostIPC)
		}
		if p := pod.Spec.SecurityContext.SeccompProfile; p == nil || p.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: seccomp profile %v", name, p)
		}
		for _, volume := range pod.Spec.Volumes {
			if volume.Secret == nil || volume.Secret.SecretName != "memberlist" {
				t.Errorf("%s: unexpected volume %s", name, volume.Name)
			}
		}
		no, yes := false, true
		want := &corev1.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: capabilities[name],
		}
		for _, container := range pod.Spec.Containers {
			if diff := cmp.Diff(want, container.SecurityContext); diff != "" {
				t.Errorf("%s (-want +got):\n%s", container.Name, diff)
			}
		}
	}
	if runAsNonRoot := pods(t)["controller"].Spec.SecurityContext.RunAsNonRoot; runAsNonRoot == nil || !*runAsNonRoot {
		t.Error("the controller may run as root")
	}
}

func TestImageNamesNoRegistry(t *testing.T) {
	for name, pod := range pods(t) {
		for _, container := range pod.Spec.Containers {
			if container.Image != "herald-lb/herald:latest" || container.ImagePullPolicy != corev1.PullIfNotPresent {
				t.Errorf("%s: image %s, pull policy %s", name, container.Image, container.ImagePullPolicy)
			}
		}
	}
}

// TestPermissions is the complete list of what both may do. A change here is a
// change of what an intruder gets: think of it as that.
func TestPermissions(t *testing.T) {
	const kinds = "metallb.io/{bfdprofiles,bgpadvertisements,bgppeers,communities,ipaddresspools,l2advertisements}"
	const statuses = "metallb.io/{bfdprofiles/status,bgpadvertisements/status,bgppeers/status,communities/status,ipaddresspools/status,l2advertisements/status}"
	reviews := []string{"authentication.k8s.io/{tokenreviews} create", "authorization.k8s.io/{subjectaccessreviews} create"}
	want := map[string][]string{
		"metallb-system:controller": append(slices.Clone(reviews),
			"/{services} list,watch", "/{nodes} list,watch", "/{namespaces} list,watch", "/{services/status} patch", "/{events} create",
			"herald-lb.io/{addressreservations} create,delete,list,patch,watch", "herald-lb.io/{addressreservations/status} patch"),
		"metallb-system:speaker": append(slices.Clone(reviews),
			"/{nodes,services} list,watch", "discovery.k8s.io/{endpointslices} list,watch", "/{events} create"),
		"metallb-system:metrics-reader":  {"[/metrics] get"},
		"metallb-system:simulate-reader": {"/{namespaces,services} list", kinds + " list", "herald-lb.io/{addressreservations} list"},
		"metallb-system/controller": {
			kinds + " list,watch", statuses + " patch",
			"coordination.k8s.io/{leases} create", "coordination.k8s.io/{leases} get,update only [metallb-controller]",
			"/{secrets} create", "/{secrets} get only [memberlist]",
			"metallb.io/{configurationstates} create", "metallb.io/{configurationstates} list,patch,watch only [controller]",
			"metallb.io/{configurationstates/status} patch only [controller]",
		},
		"metallb-system/speaker": {
			kinds + " list,watch",
			"metallb.io/{servicebgpstatuses,servicel2statuses} create,delete,list,watch",
			"metallb.io/{servicebgpstatuses/status,servicel2statuses/status} patch", "/{secrets} list,watch",
			"metallb.io/{configurationstates} create,list,patch,watch", "metallb.io/{configurationstates/status} patch",
			"herald-lb.io/{addressreservations} create,delete,list,patch,watch",
		},
	}
	got := map[string][]string{}
	for _, role := range all[*rbacv1.ClusterRole](t) {
		got[role.Name] = permissions(role.Rules)
	}
	for _, role := range all[*rbacv1.Role](t) {
		got[role.Namespace+"/"+role.Name] = permissions(role.Rules)
	}
	for _, rules := range want {
		slices.Sort(rules)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// permissions writes each rule as one line, sorted.
func permissions(rules []rbacv1.PolicyRule) []string {
	var lines []string
	for _, rule := range rules {
		line := strings.Join(rule.APIGroups, ",") + "/{" + sorted(rule.Resources) + "} " + sorted(rule.Verbs)
		if len(rule.NonResourceURLs) > 0 {
			line = "[" + sorted(rule.NonResourceURLs) + "] " + sorted(rule.Verbs)
		}
		if len(rule.ResourceNames) > 0 {
			line += " only [" + sorted(rule.ResourceNames) + "]"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

func sorted(words []string) string {
	return strings.Join(slices.Sorted(slices.Values(words)), ",")
}

func TestBindingsReachTheirRolesAndAccounts(t *testing.T) {
	subjects := func(name string) []rbacv1.Subject {
		return []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: namespace}}
	}
	got := map[string][]rbacv1.Subject{}
	for _, b := range all[*rbacv1.ClusterRoleBinding](t) {
		got[b.RoleRef.Kind+" "+b.RoleRef.Name] = b.Subjects
	}
	for _, b := range all[*rbacv1.RoleBinding](t) {
		got[b.RoleRef.Kind+" "+b.RoleRef.Name] = b.Subjects
	}
	want := map[string][]rbacv1.Subject{
		"ClusterRole metallb-system:controller": subjects("controller"),
		"ClusterRole metallb-system:speaker":    subjects("speaker"),
		"Role controller":                       subjects("controller"),
		"Role speaker":                          subjects("speaker"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var accounts []string
	for _, account := range all[*corev1.ServiceAccount](t) {
		accounts = append(accounts, account.Name)
	}
	if diff := cmp.Diff([]string{"controller", "speaker"}, accounts); diff != "" {
		t.Errorf("ServiceAccounts (-want +got):\n%s", diff)
	}
}
