// SPDX-License-Identifier: Apache-2.0

// Package simulate is the verb kubectl herald simulate: what would become of Services'
// addresses if manifests were applied.
//
// It owns the verb's flags, the snapshot it reads from the API server, the question
// whether the API server would take the manifests, and the print-out. What would happen
// is decided in package whatif, with the controller's own code. It writes nothing to the
// cluster. The goroutines that list several kinds at once end before [Run] goes on.
package simulate
