// SPDX-License-Identifier: Apache-2.0

// Package layer2test has what is needed to test what uses package layer2, and
// layer2 itself: a Network in memory, and an ARP client that measures how fast
// requests are answered.
package layer2test
