package ftpserver

import (
	"log/slog"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"dray/fault"
)

// What the watchdog has found is told with ids and counts, the newest first, for a day.
func TestTheWatchTellsWhatWasFound(t *testing.T) {
	w := newWatchdog(slog.New(slog.DiscardHandler))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w.now = func() time.Time { return now }
	addr := netip.MustParseAddr
	blocked, active, reuse, fine, private := addr("198.51.100.7"), addr("203.0.113.7"), addr("192.0.2.7"), addr("2001:db8::7"), addr("8.8.8.8")
	outer := netip.MustParseAddrPort("203.0.113.1:30001")
	ports := NewPorts(30000, 30999)
	for range 3 {
		w.offered(blocked)
	}
	w.nobody(blocked, outer, false, ports, w.log)
	w.arrived(fine)
	now = now.Add(time.Minute)
	w.active(active, netip.AddrPortFrom(active, 6000), nil)
	w.active(active, netip.AddrPortFrom(active, 6001), syscall.ECONNREFUSED)
	now = now.Add(time.Minute)
	w.noReuse(reuse)
	w.noReuse(reuse)
	now = now.Add(time.Minute)
	w.told(private, addr("10.0.0.1"))
	w.nobody(private, netip.MustParseAddrPort("10.0.0.1:30002"), false, ports, w.log)

	seen := w.seen()
	if len(seen.Networks) != 5 || seen.Networks[0].Network != network(private) || seen.Networks[1].Offered != 3 || seen.Networks[1].At != outer {
		t.Errorf("networks: %+v", seen.Networks)
	}
	want := []struct {
		id    fault.ID
		from  netip.Addr
		times int
		text  string
	}{
		{fault.IDPasvAddress, private, 1, "the address told is private"},
		{fault.IDTLSReuse, reuse, 2, "data-session"},
		{fault.IDActiveBlock, active, 1, "1 of 2 addresses that clients named, the last 203.0.113.7:6001"},
		{fault.IDDataBlocked, blocked, 1, "1 of 3 offered ports, the last 203.0.113.1:30001; likely: the passive range 30000-30999 is not open"},
	}
	if len(seen.Findings) != len(want) {
		t.Fatalf("findings: %+v", seen.Findings)
	}
	for i, f := range seen.Findings {
		if f.ID != want[i].id || f.Network != network(want[i].from) || f.Times != want[i].times || !strings.Contains(f.Text, want[i].text) {
			t.Errorf("finding %d: %+v; want %+v", i, f, want[i])
		}
	}
	now = now.Add(foundFor)
	if seen := w.seen(); len(seen.Findings) != 0 || len(seen.Networks) != 5 {
		t.Errorf("a day later: %+v", seen)
	}
}

func TestTheUseOfARange(t *testing.T) {
	p := freePorts(t, 1)
	one, err := p.reserve(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.reserve(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.1")); err == nil {
		t.Error("a second port of one")
	}
	if u := p.Use(); u.Size != 1 || u.Held != 1 || u.Lacked != 1 || time.Since(u.Last) > time.Minute {
		t.Errorf("Use = %+v", u)
	}
	one.release()
	if u := p.Use(); u.Held != 0 || u.Lacked != 1 {
		t.Errorf("Use = %+v", u)
	}
}
