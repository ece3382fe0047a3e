// SPDX-License-Identifier: Apache-2.0

// Package crash kills the controller at random moments, again and again, while
// Services and pools change, and watches the API server from outside: no address may
// ever be in the status of two Services, and a Service whose claim stayed valid may
// never see its address change.
//
//	go test ./e2e/crash -kills 1000 -seed 7
package crash
