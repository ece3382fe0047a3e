// SPDX-License-Identifier: Apache-2.0

package assign

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/herald-lb/herald/api/herald/v1alpha1"
	"github.com/herald-lb/herald/internal/lb"
)

// registering runs a test with a registrar that writes into a cluster while open.
func registering(t *testing.T, tell func(c *cluster, r *registrar, open *atomic.Bool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		c := newCluster(t)
		var open atomic.Bool
		open.Store(true)
		r := newRegistrar(archived{c}, open.Load, m, slog.New(slog.DiscardHandler))
		ctx, end := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer end()
		go func() { _ = r.run(ctx) }()
		tell(c, r, &open)
	})
}

// A replica whose Lease may have run out writes nothing, of any kind.
func TestRegistrarWritesOnlyWhileLeading(t *testing.T) {
	registering(t, func(c *cluster, r *registrar, open *atomic.Bool) {
		old := c.reservation("old", keeps("web", 0, "192.0.2.1"))
		uid := c.reserved(old).UID
		open.Store(false)
		fresh := lb.ReservationName{Namespace: "shop", Name: "new"}
		r.file(filing{name: fresh, spec: &lb.Reservation{
			Service: lb.ServiceName{Namespace: "shop", Name: "new"}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.2")},
		}})
		r.file(filing{name: old, uid: uid, remove: true})
		time.Sleep(5 * time.Minute)
		if c.reserve.writes > 0 {
			t.Errorf("%d writes while another may lead", c.reserve.writes)
		}
		open.Store(true)
		time.Sleep(time.Minute)
		if c.stands(old) != "none" || c.stands(fresh) == "none" {
			t.Errorf("a minute after the Lease was renewed, old is %q and new is %q", c.stands(old), c.stands(fresh))
		}
	})
}

// What is filed while an older filing fails is written together with it; what is filed
// about a successor replaces it.
func TestRegistrarMergesFilings(t *testing.T) {
	registering(t, func(c *cluster, r *registrar, _ *atomic.Bool) {
		name := c.reservation("web", keeps("web", 0, "192.0.2.1"))
		uid := c.reserved(name).UID
		c.away(true)
		r.file(filing{name: name, uid: uid, spec: &lb.Reservation{
			Service: lb.ServiceName{Namespace: "shop", Name: "web"}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}, TTL: time.Hour,
		}})
		time.Sleep(time.Minute)
		r.file(filing{name: name, uid: uid, status: &v1alpha1.AddressReservationStatus{State: v1alpha1.ReservationBound}})
		time.Sleep(time.Minute)
		c.away(false)
		time.Sleep(time.Minute)
		o := c.reserved(name)
		if o.Spec.Addresses[0] != "192.0.2.7" || o.Spec.TTL.Duration != time.Hour || o.Status.State != v1alpha1.ReservationBound {
			t.Errorf("the object says %+v", o)
		}

		c.away(true)
		r.file(filing{name: name, uid: uid, spec: &lb.Reservation{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.8")}}})
		time.Sleep(time.Minute)
		c.unreserve(name)
		c.reservation("web", keeps("web", 0, "192.0.2.9"))
		r.file(filing{name: name, uid: c.reserved(name).UID, status: &v1alpha1.AddressReservationStatus{State: v1alpha1.ReservationHeld}})
		c.away(false)
		time.Sleep(time.Minute)
		if o := c.reserved(name); o == nil || o.Spec.Addresses[0] != "192.0.2.9" || o.Status.State != v1alpha1.ReservationHeld {
			t.Errorf("the successor is %+v", o)
		}
	})
}

// What is filed while a write is on its way that will fail is written together with it.
func TestRegistrarMergesWhileWriting(t *testing.T) {
	registering(t, func(c *cluster, r *registrar, _ *atomic.Bool) {
		name := c.reservation("web", keeps("web", 0, "192.0.2.1"))
		uid := c.reserved(name).UID
		r.archive = &unlucky{archived: archived{c}}
		r.file(filing{name: name, uid: uid, spec: &lb.Reservation{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}})
		time.Sleep(time.Second)
		r.file(filing{name: name, uid: uid, status: &v1alpha1.AddressReservationStatus{State: v1alpha1.ReservationBound}})
		time.Sleep(time.Minute)
		if o := c.reserved(name); o.Spec.Addresses[0] != "192.0.2.7" || o.Status.State != v1alpha1.ReservationBound {
			t.Errorf("the object says %+v", o)
		}
	})
}

// unlucky is an archive that takes two seconds to fail, the first time.
type unlucky struct {
	archived
	failed atomic.Bool
}

func (u *unlucky) Patch(ctx context.Context, namespace, name string, kind types.PatchType, body []byte) error {
	if u.failed.Swap(true) {
		return u.archived.Patch(ctx, namespace, name, kind, body)
	}
	time.Sleep(2 * time.Second)
	return errors.New("connection reset")
}

// A write for an object that is gone, or has a successor, is given up.
func TestRegistrarGivesUp(t *testing.T) {
	registering(t, func(c *cluster, r *registrar, _ *atomic.Bool) {
		name := c.reservation("web", keeps("web", 0, "192.0.2.1"))
		for _, f := range []filing{
			{name: name, uid: types.UID("another"), status: &v1alpha1.AddressReservationStatus{State: v1alpha1.ReservationHeld}},
			{name: name, uid: types.UID("another"), remove: true},
			{name: lb.ReservationName{Namespace: "shop", Name: "gone"}, uid: "u", status: &v1alpha1.AddressReservationStatus{}},
			{name: name, spec: &lb.Reservation{Service: lb.ServiceName{Namespace: "shop", Name: "other"}}},
		} {
			r.file(f)
			time.Sleep(time.Minute)
		}
		if c.stands(name) != "" || c.reserve.writes != 4 {
			t.Errorf("the object stands as %q after %d writes; want it untouched after one attempt each", c.stands(name), c.reserve.writes)
		}
		if len(r.pending) > 0 || r.queue.Len() > 0 {
			t.Errorf("%d filings are kept, %d queued", len(r.pending), r.queue.Len())
		}
	})
}
