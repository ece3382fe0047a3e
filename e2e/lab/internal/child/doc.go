// SPDX-License-Identifier: Apache-2.0

// Package child runs the lab's processes and keeps them running.
//
// It owns starting (inside a namespace, dying with the program that started
// them), signalling, ending in good time or by force, restarting with a back-off,
// and one log file for each. It must not know what the processes are.
//
// Goroutines: one for each running Child, which waits for it; Keeper.Run blocks
// and has none of its own.
package child
