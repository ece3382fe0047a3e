// SPDX-License-Identifier: Apache-2.0

// Package manifests holds what config/ installs against what it promises: every
// field exists, names and labels are MetalLB's, and nobody may do more than the
// documentation says. It needs no cluster; that the permissions also suffice is
// what the stories show, which run under them.
package manifests
