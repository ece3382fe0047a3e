// SPDX-License-Identifier: Apache-2.0

// Package await waits: for what shows itself only to those who look again and again, or for
// a time.
package await

import (
	"context"
	"time"
)

// Until returns nil when the condition has no error any more, and the condition's last
// error once the limit is over or ctx has ended. It looks at least once, and then once in
// each pace.
func Until(ctx context.Context, limit, pace time.Duration, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Pause returns after a time, or when ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
