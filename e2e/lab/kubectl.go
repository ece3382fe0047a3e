// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// KubectlCommand returns a kubectl command with the administrator's rights.
func (l *Lab) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.programs.Path("kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+l.Kubeconfig())
	return cmd
}

// Kubectl runs kubectl and returns what it printed to standard output. What it
// printed to standard error is in the error, if there is one.
func (l *Lab) Kubectl(ctx context.Context, args ...string) (string, error) {
	return l.kubectl(ctx, nil, args...)
}

// Apply runs kubectl apply on manifests given as text. The error holds all that
// the API server had to say.
func (l *Lab) Apply(ctx context.Context, manifests string) error {
	_, err := l.kubectl(ctx, strings.NewReader(manifests), "apply", "-f", "-")
	return err
}

// Delete runs kubectl delete on manifests given as text. What is gone already is
// no error.
func (l *Lab) Delete(ctx context.Context, manifests string) error {
	_, err := l.kubectl(ctx, strings.NewReader(manifests), "delete", "--ignore-not-found", "-f", "-")
	return err
}

func (l *Lab) kubectl(ctx context.Context, input io.Reader, args ...string) (string, error) {
	cmd := l.KubectlCommand(ctx, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), nil
}
