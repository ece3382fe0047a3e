// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refresh is how often volumes follow their sources, tokens above all. The real
// kubelet takes about a minute too.
const refresh = time.Minute

func (r *runner) volumeDir(name string) string { return filepath.Join(r.dir, "volumes", name) }

// writeVolumes makes each volume's directory what its sources say now.
func (r *runner) writeVolumes(ctx context.Context) error {
	for _, v := range r.pod.Spec.Volumes {
		files, err := r.volumeFiles(ctx, v)
		if err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
		if err := syncDir(r.volumeDir(v.Name), files, v.EmptyDir != nil); err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	return nil
}

func (r *runner) refreshVolumes(ctx context.Context) {
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := r.writeVolumes(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("refresh volumes", "error", err)
			}
		}
	}
}

func (r *runner) volumeFiles(ctx context.Context, v corev1.Volume) (map[string][]byte, error) {
	switch {
	case v.EmptyDir != nil:
		return nil, nil
	case v.Secret != nil:
		values, err := r.secret(ctx, v.Secret.SecretName, isTrue(v.Secret.Optional))
		return items(values, v.Secret.Items, isTrue(v.Secret.Optional), err)
	case v.ConfigMap != nil:
		values, err := r.configMap(ctx, v.ConfigMap.Name, isTrue(v.ConfigMap.Optional))
		return items(values, v.ConfigMap.Items, isTrue(v.ConfigMap.Optional), err)
	case v.DownwardAPI != nil:
		return r.downward(v.DownwardAPI.Items)
	case v.Projected != nil:
		files := map[string][]byte{}
		for _, source := range v.Projected.Sources {
			part, err := r.projection(ctx, source)
			if err != nil {
				return nil, err
			}
			maps.Copy(files, part)
		}
		return files, nil
	}
	return nil, errors.New("make volume: the lab supports emptyDir, secret, configMap, downwardAPI and projected")
}

func (r *runner) projection(ctx context.Context, p corev1.VolumeProjection) (map[string][]byte, error) {
	switch {
	case p.ServiceAccountToken != nil:
		token, err := r.token(ctx, p.ServiceAccountToken)
		return map[string][]byte{p.ServiceAccountToken.Path: token}, err
	case p.Secret != nil:
		values, err := r.secret(ctx, p.Secret.Name, isTrue(p.Secret.Optional))
		return items(values, p.Secret.Items, isTrue(p.Secret.Optional), err)
	case p.ConfigMap != nil:
		values, err := r.configMap(ctx, p.ConfigMap.Name, isTrue(p.ConfigMap.Optional))
		return items(values, p.ConfigMap.Items, isTrue(p.ConfigMap.Optional), err)
	case p.DownwardAPI != nil:
		return r.downward(p.DownwardAPI.Items)
	}
	return nil, errors.New("project: the lab supports serviceAccountToken, secret, configMap and downwardAPI")
}

// token asks for a token of the pod's ServiceAccount that is good as long as the
// pod is.
func (r *runner) token(ctx context.Context, p *corev1.ServiceAccountTokenProjection) ([]byte, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: p.ExpirationSeconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: r.pod.Name, UID: r.pod.UID},
	}}
	if p.Audience != "" {
		request.Spec.Audiences = []string{p.Audience}
	}
	granted, err := r.kubelet.config.Client.CoreV1().ServiceAccounts(r.pod.Namespace).
		CreateToken(ctx, r.pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("request token of ServiceAccount %s: %w", r.pod.Spec.ServiceAccountName, err)
	}
	return []byte(granted.Status.Token), nil
}

func (r *runner) downward(list []corev1.DownwardAPIVolumeFile) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, item := range list {
		if item.FieldRef == nil {
			return nil, fmt.Errorf("project %s: the lab supports fieldRef only", item.Path)
		}
		value, err := r.field(item.FieldRef.FieldPath)
		if err != nil {
			return nil, err
		}
		files[item.Path] = []byte(value)
	}
	return files, nil
}

// items applies a manifest's choice of keys and file names.
func items(values map[string][]byte, list []corev1.KeyToPath, optional bool, err error) (map[string][]byte, error) {
	if err != nil || len(list) == 0 {
		return values, err
	}
	files := map[string][]byte{}
	for _, item := range list {
		value, ok := values[item.Key]
		if !ok && !optional {
			return nil, fmt.Errorf("find key %s: it is not there", item.Key)
		}
		if ok {
			files[item.Path] = value
		}
	}
	return files, nil
}

// syncDir makes a directory hold exactly the files, each replaced at once. With
// keep it may hold others too.
func syncDir(dir string, files map[string][]byte, keep bool) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if keep {
		return os.Chmod(dir, 0o777) // emptyDir is for whoever the container runs as
	}
	for name, content := range files {
		if err := replaceFile(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := files[e.Name()]; !ok && !e.IsDir() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func replaceFile(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
