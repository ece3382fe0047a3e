// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
)

// end takes the lab down, or says how to use it until it is interrupted.
func (d *demo) end(ctx context.Context, failure error) error {
	if d.keep && ctx.Err() == nil {
		d.tell.say("")
		d.tell.say("The lab stays until this program is interrupted (Ctrl-C). Meanwhile:")
		<-ctx.Done()
	}
	if failure != nil || d.keep {
		return d.lab.Close()
	}
	return d.tell.step("taking everything down", d.lab.Close)
}
