// SPDX-License-Identifier: Apache-2.0

// Package delta keeps what is wanted beside what is there, and knows the difference.
//
// A Tracker does no work itself: its owner sets the desired values, asks for the
// pending updates and deletions, performs them, and reports each success. What
// failed stays pending. The package is pure and not safe for concurrent use.
package delta
