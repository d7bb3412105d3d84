package gate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/vfs"
)

// What one upload has asked for and does not need is not what makes another one
// too large: that one waits for it.
func TestAnUploadWaitsForWhatOthersHold(t *testing.T) {
	for _, c := range []struct {
		name    string
		then    func(first *Upload, cancel context.CancelFunc)
		granted int64
		kind    fault.Kind
		after   time.Duration
	}{
		{"the other one needs less", func(first *Upload, _ context.CancelFunc) { first.Meter().Done(1000, 100) }, 500, 0, time.Second},
		{"the other one needs all of it", func(first *Upload, _ context.CancelFunc) { first.Meter().Done(1000, 1000) }, 0, fault.OverQuota, time.Second},
		{"the other one stalls", func(*Upload, context.CancelFunc) {}, 0, fault.OverQuota, roomWait},
		{"the client leaves", func(_ *Upload, cancel context.CancelFunc) { cancel() }, 0, fault.Canceled, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, b, s := rich(t, 1000)
				first, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
				need(t, err)
				second, err := s.Create(t.Context(), at(t, "/b"), vfs.Create{})
				need(t, err)
				if n, err := first.Meter().Take(t.Context(), 1000); n != 1000 || err != nil {
					t.Fatalf("Take = %d, %v", n, err)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() {
					time.Sleep(time.Second)
					c.then(first, func() { cancel(fault.New(fault.Canceled, fault.IDAborted)) })
				}()
				begun := time.Now()
				n, err := second.Meter().Take(ctx, 1000)
				if n != c.granted || err != nil && fault.KindOf(err) != c.kind || (err == nil) != (c.granted > 0) || time.Since(begun) != c.after {
					t.Errorf("Take = %d, %v after %v; want %d, kind %v after %v", n, err, time.Since(begun), c.granted, c.kind, c.after)
				}
				second.Meter().Done(n, 0)
				for _, up := range []*Upload{first, second} {
					up.settle(t.Context(), footing{})
				}
				if b.open != 0 || b.heldB != 0 {
					t.Errorf("%d holds with %d bytes are open", b.open, b.heldB)
				}
				synctest.Wait()
			})
		})
	}
}
