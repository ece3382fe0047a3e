// SPDX-License-Identifier: Apache-2.0

package crdtest_test

import (
	"os"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// Every kind that users write has a sample, and the API server takes it.
func TestAcceptsSamples(t *testing.T) {
	admission := newAdmission(t)
	missing := map[string]bool{
		"BFDProfile": true, "BGPAdvertisement": true, "BGPPeer": true,
		"Community": true, "IPAddressPool": true, "L2Advertisement": true,
		"AddressReservation": true,
	}
	for name, m := range manifests(t, sampleDir, 10) {
		for _, obj := range m.Objects {
			if group := obj.GroupVersionKind().Group; group != "metallb.io" && group != "herald-lb.io" {
				continue
			}
			delete(missing, obj.GetKind())
			if err := admission.Create(t.Context(), obj); err != nil {
				t.Errorf("%s: %s %s: %v", name, obj.GetKind(), obj.GetName(), err)
			}
		}
	}
	for kind := range missing {
		t.Errorf("no sample of %s in %s", kind, sampleDir)
	}
}

// The sample Service selects the pods of the sample Deployment.
func TestSampleServiceFindsItsPods(t *testing.T) {
	var service corev1.Service
	var deployment appsv1.Deployment
	decodeSample(t, "service.yaml", &service)
	decodeSample(t, "deployment.yaml", &deployment)

	if got, want := service.Spec.Type, corev1.ServiceTypeLoadBalancer; got != want {
		t.Errorf("Service is of type %s, want %s", got, want)
	}
	template := deployment.Spec.Template
	if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(template.Labels)) {
		t.Errorf("Service selects %v, but the pods have %v", service.Spec.Selector, template.Labels)
	}
	if service.Namespace != deployment.Namespace {
		t.Errorf("Service is in namespace %s, its pods in %s", service.Namespace, deployment.Namespace)
	}
	if got, want := service.Spec.Ports[0].TargetPort.StrVal, template.Spec.Containers[0].Ports[0].Name; got != want {
		t.Errorf("Service targets port %q, the pods name theirs %q", got, want)
	}
}

func decodeSample(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(sampleDir + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
