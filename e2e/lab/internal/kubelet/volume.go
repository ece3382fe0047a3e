// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refresh is how often volumes follow their sources, which are read from caches.
// The real kubelet takes up to a minute and more: a Secret that a pod is waiting
// for would be most of what the lab measures.
const refresh = time.Second

// file is one file of a volume.
type file struct {
	content []byte
	mode    fs.FileMode
}

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

// refreshVolumes writes them again and again until ctx ends.
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

func (r *runner) volumeFiles(ctx context.Context, v corev1.Volume) (map[string]file, error) {
	switch {
	case v.EmptyDir != nil:
		return nil, nil
	case v.Secret != nil:
		values, err := r.secret(v.Secret.SecretName, isTrue(v.Secret.Optional))
		return choose(values, v.Secret.Items, v.Secret.DefaultMode, isTrue(v.Secret.Optional), err)
	case v.ConfigMap != nil:
		values, err := r.configMap(v.ConfigMap.Name, isTrue(v.ConfigMap.Optional))
		return choose(values, v.ConfigMap.Items, v.ConfigMap.DefaultMode, isTrue(v.ConfigMap.Optional), err)
	case v.DownwardAPI != nil:
		return r.downward(v.DownwardAPI.Items, v.DownwardAPI.DefaultMode)
	case v.Projected != nil:
		files := map[string]file{}
		for _, source := range v.Projected.Sources {
			part, err := r.projection(ctx, source, v.Projected.DefaultMode)
			if err != nil {
				return nil, err
			}
			maps.Copy(files, part)
		}
		return files, nil
	}
	return nil, errors.New("make volume: the lab supports emptyDir, secret, configMap, downwardAPI and projected")
}

func (r *runner) projection(ctx context.Context, p corev1.VolumeProjection, mode *int32) (map[string]file, error) {
	switch {
	case p.ServiceAccountToken != nil:
		token, err := r.token(ctx, p.ServiceAccountToken)
		return map[string]file{p.ServiceAccountToken.Path: {content: token, mode: fileMode(nil, mode)}}, err
	case p.Secret != nil:
		values, err := r.secret(p.Secret.Name, isTrue(p.Secret.Optional))
		return choose(values, p.Secret.Items, mode, isTrue(p.Secret.Optional), err)
	case p.ConfigMap != nil:
		values, err := r.configMap(p.ConfigMap.Name, isTrue(p.ConfigMap.Optional))
		return choose(values, p.ConfigMap.Items, mode, isTrue(p.ConfigMap.Optional), err)
	case p.DownwardAPI != nil:
		return r.downward(p.DownwardAPI.Items, mode)
	}
	return nil, errors.New("project: the lab supports serviceAccountToken, secret, configMap and downwardAPI")
}

// token is a ServiceAccount's token and when to ask for the next.
type token struct {
	content []byte
	renew   time.Time
}

// token returns a token of the pod's ServiceAccount that is good as long as the
// pod is. Like the kubelet, it asks for a new one when a fifth of its time is
// left.
func (r *runner) token(ctx context.Context, p *corev1.ServiceAccountTokenProjection) ([]byte, error) {
	if have, ok := r.tokens[p.Audience]; ok && time.Now().Before(have.renew) {
		return have.content, nil
	}
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
	now := time.Now()
	fresh := token{content: []byte(granted.Status.Token)}
	fresh.renew = now.Add(granted.Status.ExpirationTimestamp.Sub(now) * 4 / 5)
	r.tokens[p.Audience] = fresh
	return fresh.content, nil
}

func (r *runner) downward(list []corev1.DownwardAPIVolumeFile, mode *int32) (map[string]file, error) {
	files := map[string]file{}
	for _, item := range list {
		if item.FieldRef == nil {
			return nil, fmt.Errorf("project %s: the lab supports fieldRef only", item.Path)
		}
		value, err := r.field(item.FieldRef.FieldPath)
		if err != nil {
			return nil, err
		}
		files[item.Path] = file{content: []byte(value), mode: fileMode(item.Mode, mode)}
	}
	return files, nil
}

// choose applies a manifest's choice of keys, file names and modes.
func choose(values map[string][]byte, list []corev1.KeyToPath, mode *int32, optional bool, err error) (map[string]file, error) {
	if err != nil {
		return nil, err
	}
	files := map[string]file{}
	if len(list) == 0 {
		for key, value := range values {
			files[key] = file{content: value, mode: fileMode(nil, mode)}
		}
	}
	for _, item := range list {
		value, ok := values[item.Key]
		if !ok && !optional {
			return nil, fmt.Errorf("find key %s: it is not there", item.Key)
		}
		if ok {
			files[item.Path] = file{content: value, mode: fileMode(item.Mode, mode)}
		}
	}
	return files, nil
}

// fileMode returns the first mode that is given, or Kubernetes' default.
func fileMode(modes ...*int32) fs.FileMode {
	for _, mode := range modes {
		if mode != nil {
			return fs.FileMode(*mode) & fs.ModePerm
		}
	}
	return 0o644
}

// syncDir makes a directory hold exactly the files, each replaced at once. With
// keep, what is in it is the container's own affair.
func syncDir(dir string, files map[string]file, keep bool) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if keep {
		return os.Chmod(dir, 0o777) // for whoever the container runs as
	}
	for name, f := range files {
		if err := replaceFile(filepath.Join(dir, name), f); err != nil {
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

func replaceFile(path string, f file) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, f.content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.WriteFile(fresh, f.content, 0o600); err != nil {
		return err
	}
	if err := os.Chmod(fresh, f.mode); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
