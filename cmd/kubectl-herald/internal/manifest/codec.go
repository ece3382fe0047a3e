// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"

	"github.com/herald-lb/herald/api/v1beta1"
	"github.com/herald-lb/herald/api/v1beta2"
)

// codec decodes configuration objects strictly.
type codec struct{ serializer *json.Serializer }

func newCodec() (codec, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(v1beta1.AddToScheme(scheme), v1beta2.AddToScheme(scheme)); err != nil {
		return codec{}, fmt.Errorf("register API types: %w", err)
	}
	strict := json.SerializerOptions{Strict: true}
	return codec{json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, strict)}, nil
}

// decode returns the object in body, in the version of its kind that Herald works with.
func (c codec) decode(body []byte) (metav1.Object, error) {
	decoded, kind, err := c.serializer.Decode(body, nil, nil)
	switch {
	case runtime.IsMissingKind(err):
		return nil, errors.New("kind is missing")
	case runtime.IsMissingVersion(err):
		return nil, errors.New("apiVersion is missing")
	case runtime.IsNotRegisteredError(err):
		return nil, notConfiguration(kind.GroupVersion().String(), kind.Kind)
	case err != nil:
		return nil, errors.New(strings.TrimPrefix(err.Error(), "strict decoding error: "))
	}
	if old, ok := decoded.(*v1beta1.BGPPeer); ok {
		decoded = &v1beta2.BGPPeer{ObjectMeta: old.ObjectMeta, Spec: old.Spec}
	}
	object, ok := decoded.(metav1.Object)
	if !ok || kindOf(object) == "" {
		return nil, notConfiguration(kind.GroupVersion().String(), kind.Kind)
	}
	return object, nil
}

func notConfiguration(version, kind string) error {
	return fmt.Errorf("%s %s is not part of Herald's configuration; leave it out (it may be an IPAddressPool, L2Advertisement, "+
		"BGPAdvertisement, BGPPeer, BFDProfile or Community of metallb.io)", version, kind)
}
