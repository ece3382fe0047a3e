// SPDX-License-Identifier: Apache-2.0

package main

import "context"

// end takes the lab down. If the story ended well and the lab is to be kept, it first
// says how to use it and waits until somebody takes it down.
func (d *demo) end(ctx context.Context, failure error) error {
	if failure != nil || ctx.Err() != nil {
		return d.lab.Close()
	}
	if !d.keep {
		return d.tell.step("taking everything down", d.lab.Close)
	}
	d.tell.say("")
	d.tell.say("The lab stays, with all cables plugged in again. As root:")
	d.tell.showf("export KUBECONFIG=%s", d.lab.Kubeconfig())
	d.tell.showf("kubectl get services,servicel2statuses -A")
	d.tell.showf("bin/lab exec -name %[1]s client1 -- bash    # a shell outside the cluster", d.lab.Name())
	d.tell.showf("bin/lab down %s", d.lab.Name())
	if err := toldInBackground(); err != nil {
		return err
	}
	<-ctx.Done()
	return d.lab.Close()
}
