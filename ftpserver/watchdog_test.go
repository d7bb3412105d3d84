package ftpserver

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The watchdog names network, address, count and likely cause, and says each at
// most every ten minutes.
func TestWatchdogNamesTheLikelyCause(t *testing.T) {
	public, office := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.168.1.20")
	inner, outer := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("203.0.113.9")
	ports := NewPorts(30000, 30999)
	for _, c := range []struct {
		name string
		play func(w *watchdog, log *slog.Logger)
		want []string
		not  []string
	}{
		{
			"a private address told to a public client is said at once and loudly",
			func(w *watchdog, _ *slog.Logger) { w.told(public, inner); w.told(public, inner) },
			[]string{"level=ERROR", "id=pasv-address", "198.51.100.0/24", "told=10.0.0.5", "--public"}, nil,
		},
		{
			"a private address told to a private client is right",
			func(w *watchdog, _ *slog.Logger) { w.told(office, inner) },
			nil, []string{"level"},
		},
		{
			"when nobody came after a private address, that is the cause",
			func(w *watchdog, log *slog.Logger) {
				w.told(public, inner)
				w.nobody(public, netip.AddrPortFrom(inner, 30001), false, ports, log)
			},
			[]string{"id=data-blocked", "told=10.0.0.5:30001", "times=1", "address told is private"}, nil,
		},
		{
			"when nobody came to a public address, the range is closed",
			func(w *watchdog, log *slog.Logger) {
				w.told(public, outer)
				w.nobody(public, netip.AddrPortFrom(outer, 30001), false, ports, log)
			},
			[]string{"passive range 30000-30999 is not open"}, []string{"pasv-address"},
		},
		{
			"when a SYN came, the answer is lost",
			func(w *watchdog, log *slog.Logger) {
				w.nobody(public, netip.AddrPortFrom(outer, 30001), true, ports, log)
			},
			[]string{"the answers do not reach them"}, []string{"30000-30999"},
		},
		{
			"when some came, part of the range is closed",
			func(w *watchdog, log *slog.Logger) {
				w.arrived(public)
				w.nobody(public, netip.AddrPortFrom(outer, 30001), false, ports, log)
			},
			[]string{"some of the passive range"}, nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			log := slog.New(slog.NewTextHandler(&out, nil))
			c.play(newWatchdog(log), log)
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("log lacks %q:\n%s", want, &out)
				}
			}
			for _, not := range c.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("log has %q:\n%s", not, &out)
				}
			}
		})
	}
}

func TestWatchdogSaysItOnceInTenMinutes(t *testing.T) {
	var out bytes.Buffer
	w := newWatchdog(slog.New(slog.NewTextHandler(&out, nil)))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	w.now = func() time.Time { return now }
	quiet := slog.New(slog.DiscardHandler)
	peer := netip.MustParseAddr("198.51.100.7")
	for range 60 {
		w.nobody(peer, netip.AddrPortFrom(peer, 1), false, NewPorts(1, 2), quiet)
		w.exhausted(NewPorts(1, 2))
		now = now.Add(20 * time.Second)
	}
	if n := strings.Count(out.String(), "log in and can't transfer"); n != 2 {
		t.Errorf("said %d times in 20 minutes; want 2:\n%s", n, &out)
	}
	if n := strings.Count(out.String(), "pool-exhausted"); n != 2 {
		t.Errorf("exhaustion said %d times in 20 minutes; want 2", n)
	}
	if !strings.Contains(out.String(), "times=31") {
		t.Errorf("the second time does not count all failures:\n%s", &out)
	}
}

// A million networks do not make it grow, and a network that failed outlives
// those that did not.
func TestWatchdogIsBounded(t *testing.T) {
	w := newWatchdog(slog.New(slog.DiscardHandler))
	bad := netip.MustParseAddr("198.51.100.7")
	w.nobody(bad, netip.AddrPortFrom(bad, 1), false, NewPorts(1, 2), w.log)
	for i := range 50_000 {
		w.arrived(netip.MustParseAddr(fmt.Sprintf("10.%d.%d.1", i>>8&0xff, i&0xff)))
		w.arrived(netip.MustParseAddr(fmt.Sprintf("11.%d.%d.1", i>>8&0xff, i&0xff)))
	}
	if len(w.networks) > maxNetworks {
		t.Errorf("%d networks remembered; want %d at most", len(w.networks), maxNetworks)
	}
	if s := w.networks[network(bad)]; s == nil || s.blocked != 1 {
		t.Errorf("the network that failed was forgotten: %+v", s)
	}
}
