// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// end takes the lab down; if it is to be kept, when the program is interrupted.
func (d *demo) end(ctx context.Context, failure error) error {
	if d.keep && ctx.Err() == nil {
		d.tell.say("")
		d.tell.say("The lab stays until this program is interrupted (Ctrl-C). In another terminal, as root:")
		d.tell.showf("export KUBECONFIG=%s", d.lab.Kubeconfig())
		d.tell.showf("kubectl get services,servicel2statuses -A")
		d.tell.showf("ip netns exec %s bash    # a shell on client1", d.client.Netns().Name())
		<-ctx.Done()
	}
	if failure != nil || ctx.Err() != nil {
		return d.lab.Close()
	}
	return d.tell.step("taking everything down", d.lab.Close)
}
