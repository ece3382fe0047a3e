// SPDX-License-Identifier: Apache-2.0

// Package linktest gives tests network namespaces of their own, with real links
// between them.
//
// Namespaces here have no name: the kernel frees them, and all that is in them,
// when the test process ends, however it ends.
package linktest
