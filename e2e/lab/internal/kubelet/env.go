// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// environ is an ordered environment.
type environ struct {
	names  []string
	values map[string]string
}

func (e *environ) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environ) list() []string {
	out := make([]string, len(e.names))
	for i, name := range e.names {
		out[i] = name + "=" + e.values[name]
	}
	return out
}

var reference = regexp.MustCompile(`\$\$|\$\([A-Za-z_][A-Za-z0-9_.-]*\)`)

// expand replaces $(NAME) as the kubelet does: unknown names stay, $$ is $.
func (e *environ) expand(text string) string {
	return reference.ReplaceAllStringFunc(text, func(ref string) string {
		if ref == "$$" {
			return "$"
		}
		if value, ok := e.values[ref[2:len(ref)-1]]; ok {
			return value
		}
		return ref
	})
}

// environment resolves a container's environment. Of the variables that the real
// kubelet adds for Services, only the API server's are there.
func (r *runner) environment(spec corev1.Container) (*environ, error) {
	api := r.kubelet.config.API
	e := &environ{values: map[string]string{}}
	e.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	e.set("HOSTNAME", r.pod.Name)
	e.set("KUBERNETES_SERVICE_HOST", api.Addr().String())
	e.set("KUBERNETES_SERVICE_PORT", itoa(int(api.Port())))
	e.set("KUBERNETES_SERVICE_PORT_HTTPS", itoa(int(api.Port())))
	if program, _, err := r.kubelet.program(spec); err == nil && len(program.Args) > 0 {
		// The lab's own programs report where they are without being told to ask.
		e.set("LAB_NODE", r.node.Name)
		e.set("LAB_POD", r.pod.Name)
		e.set("LAB_NAMESPACE", r.pod.Namespace)
	}
	for _, from := range spec.EnvFrom {
		if err := r.environFrom(e, from); err != nil {
			return nil, err
		}
	}
	for _, v := range spec.Env {
		value, ok := e.expand(v.Value), true
		if v.ValueFrom != nil {
			var err error
			if value, ok, err = r.valueFrom(v.ValueFrom); err != nil {
				return nil, fmt.Errorf("environment variable %s: %w", v.Name, err)
			}
		}
		if ok {
			e.set(v.Name, value)
		}
	}
	return e, nil
}

func (r *runner) environFrom(e *environ, from corev1.EnvFromSource) error {
	switch {
	case from.ConfigMapRef != nil:
		values, err := r.configMap(from.ConfigMapRef.Name, isTrue(from.ConfigMapRef.Optional))
		for key, value := range values {
			e.set(from.Prefix+key, string(value))
		}
		return err
	case from.SecretRef != nil:
		values, err := r.secret(from.SecretRef.Name, isTrue(from.SecretRef.Optional))
		for key, value := range values {
			e.set(from.Prefix+key, string(value))
		}
		return err
	}
	return nil
}

// valueFrom resolves a reference; ok is false for what is optional and absent.
func (r *runner) valueFrom(from *corev1.EnvVarSource) (value string, ok bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = r.field(from.FieldRef.FieldPath)
		return value, err == nil, err
	case from.SecretKeyRef != nil:
		values, err := r.secret(from.SecretKeyRef.Name, isTrue(from.SecretKeyRef.Optional))
		return pick(values, from.SecretKeyRef.Key, isTrue(from.SecretKeyRef.Optional), err)
	case from.ConfigMapKeyRef != nil:
		values, err := r.configMap(from.ConfigMapKeyRef.Name, isTrue(from.ConfigMapKeyRef.Optional))
		return pick(values, from.ConfigMapKeyRef.Key, isTrue(from.ConfigMapKeyRef.Optional), err)
	}
	return "", false, fmt.Errorf("resolve %v: the lab supports fieldRef, secretKeyRef and configMapKeyRef", from)
}

func pick(values map[string][]byte, key string, optional bool, err error) (string, bool, error) {
	if err != nil {
		return "", false, err
	}
	value, ok := values[key]
	if !ok && !optional {
		return "", false, fmt.Errorf("find key %s: it is not there", key)
	}
	return string(value), ok, nil
}

// field resolves a downward API field.
func (r *runner) field(fieldPath string) (string, error) {
	r.mu.Lock()
	pod := r.latest
	r.mu.Unlock()
	if key, ok := subscript(fieldPath, "metadata.labels"); ok {
		return pod.Labels[key], nil
	}
	if key, ok := subscript(fieldPath, "metadata.annotations"); ok {
		return pod.Annotations[key], nil
	}
	join := func(list []string) string { return strings.Join(list, ",") }
	switch fieldPath {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return r.node.Name, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return r.node.Addresses[0].String(), nil
	case "status.hostIPs":
		return join(addressTexts(r.node.Addresses)), nil
	case "status.podIP":
		return r.addresses[0].String(), nil
	case "status.podIPs":
		return join(addressTexts(r.addresses)), nil
	}
	return "", fmt.Errorf("resolve field %s: the lab does not know it", fieldPath)
}

// subscript splits "metadata.labels['key']".
func subscript(fieldPath, prefix string) (string, bool) {
	key, ok := strings.CutPrefix(fieldPath, prefix+"['")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(key, "']")
}

func isTrue(b *bool) bool { return b != nil && *b }

// secret returns a Secret's keys; nothing if it is optional and absent.
func (r *runner) secret(name string, optional bool) (map[string][]byte, error) {
	s, err := r.kubelet.secrets.Secrets(r.pod.Namespace).Get(name)
	if apierrors.IsNotFound(err) && optional {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get Secret: %w", err)
	}
	return s.Data, nil
}

// configMap returns a ConfigMap's keys; nothing if it is optional and absent.
func (r *runner) configMap(name string, optional bool) (map[string][]byte, error) {
	m, err := r.kubelet.configMaps.ConfigMaps(r.pod.Namespace).Get(name)
	if apierrors.IsNotFound(err) && optional {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get ConfigMap: %w", err)
	}
	values := map[string][]byte{}
	for key, value := range m.Data {
		values[key] = []byte(value)
	}
	maps.Copy(values, m.BinaryData)
	return values, nil
}
