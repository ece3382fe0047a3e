// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
)

// encoded returns what an API server sends.
func encoded(t testing.TB, obj runtime.Object) []byte {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := protobuf.NewSerializer(scheme, scheme).Encode(obj, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// aList has Services of different lengths.
func aList(n int) *corev1.ServiceList {
	list := &corev1.ServiceList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceList"},
		ListMeta: metav1.ListMeta{ResourceVersion: "77"},
	}
	for i := range n {
		list.Items = append(list.Items, corev1.Service{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: fmt.Sprint("web-", i), UID: types.UID(fmt.Sprint(i)),
				ResourceVersion: fmt.Sprint(100 + i), Annotations: map[string]string{"note": strings.Repeat("x", 50*i)},
			},
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer},
		})
	}
	return list
}

func decoded(b []byte) (*corev1.ServiceList, error) {
	list := &corev1.ServiceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceList"}}
	in := bufio.NewReaderSize(bytes.NewReader(b), 16) // messages are longer
	if !isProtobuf(in) {
		return nil, fmt.Errorf("not protobuf")
	}
	var err error
	list.ListMeta, err = readProtobuf(in, func() *corev1.Service { return new(corev1.Service) },
		func(s *corev1.Service) { list.Items = append(list.Items, *s) })
	return list, err
}

func TestListIsReadAsItWasWritten(t *testing.T) {
	for _, n := range []int{0, 1, 40} {
		want := aList(n)
		got, err := decoded(encoded(t, want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("list of %d (-want +got):\n%s", n, diff)
		}
	}
}

// A list that is cut short must never pass for a shorter one: what is missing would count
// as gone.
func TestListCutShortIsAnError(t *testing.T) {
	want := aList(3)
	whole := encoded(t, want)
	for n := range whole {
		got, err := decoded(whole[:n])
		if err == nil && !cmp.Equal(want, got) {
			t.Fatalf("%d of %d bytes are a list of %d without an error", n, len(whole), len(got.Items))
		}
	}
}

// managedFields are not even decoded; everything else of the metadata is.
func TestListIsReadWithoutManagedFields(t *testing.T) {
	list := aList(2)
	list.Items[1].Finalizers, list.Items[1].GenerateName = []string{"one", "two"}, "web-"
	want := list.DeepCopy()
	for i := range list.Items {
		list.Items[i].ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1("{}")}, {Manager: "me"}}
	}
	got, err := decoded(encoded(t, list))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestWhatIsNoListIsAnError(t *testing.T) {
	status := &metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure}
	if _, err := decoded(encoded(t, status)); err == nil || !strings.Contains(err.Error(), `"Status"`) {
		t.Errorf("error %v, want one that names what was found", err)
	}
}

func FuzzReadProtobuf(f *testing.F) {
	f.Add(encoded(f, aList(2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := decoded(b); err == nil && list == nil {
			t.Error("neither list nor error")
		}
	})
}
