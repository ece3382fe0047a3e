// SPDX-License-Identifier: Apache-2.0

package assign

import "testing"

// Why an address is lost is told by the write that takes it away, not by one that was on
// its way before.
func TestCauseIsToldByItsOwnWrite(t *testing.T) {
	l := &letter{sending: true}
	l.cause = "no pool contains 192.0.2.1"
	l.accept(state{}, "")
	if l.cause == "" {
		t.Fatal("another write took the cause with it")
	}
	l.accept(state{}, l.cause)
	if l.cause != "" {
		t.Errorf("%q is told again", l.cause)
	}
}
