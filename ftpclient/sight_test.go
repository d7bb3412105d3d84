package ftpclient

import (
	"net"
	"runtime"
	"testing"

	"dray/fault"
	"dray/ftp"
	"dray/ftpserver"
)

func TestSightOfOurServer(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, w.rules)
			c := dial(t, as(w.opt, s.addr))
			put(t, c, "/a", []byte("abc"))
			seen, err := c.Sight(within(t))
			if err != nil {
				t.Fatalf("Sight: %v", err)
			}
			if seen.Peer.String() != c.LocalAddr().String() || seen.Local.String() != c.RemoteAddr().String() {
				t.Errorf("the ends are %s and %s; %s and %s here", seen.Peer, seen.Local, c.LocalAddr(), c.RemoteAddr())
			}
			if _, secure := c.TLS(); secure != (seen.TLS != "") || len(seen.Attempts) != 1 {
				t.Fatalf("%+v", seen)
			}
			a := seen.Attempts[0]
			if a.Outcome != ftp.Came || a.Passive() == w.opt.Active || a.TLS != seen.TLS || a.TLS != "" && (!a.Resumed || a.Ticket != ftp.TicketOwn) {
				t.Errorf("%+v", a)
			}
		})
	}
}

// The question may come between a set-up and its transfer.
func TestSightBetweenThePortAndTheTransfer(t *testing.T) {
	t.Parallel()
	s := newSite(t, ftpserver.Rules{})
	c := dial(t, as(Options{Plain: true}, s.addr))
	r, err := c.do(within(t), "EPSV", "")
	if err != nil {
		t.Fatal(err)
	}
	port, err := ftp.ParseEPSVReply(r.Text)
	if err != nil {
		t.Fatal(err)
	}
	last := func() ftp.Attempt {
		t.Helper()
		seen, err := c.Sight(within(t))
		if err != nil || len(seen.Attempts) != 1 {
			t.Fatalf("%+v, %v", seen, err)
		}
		return seen.Attempts[0]
	}
	if a := last(); a.At.Port() != port || a.Outcome != ftp.Waiting || a.Seen == ftp.SeenWhole {
		t.Errorf("before the dial: %+v", a)
	}
	nc, err := net.Dial("tcp", last().At.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if a := last(); a.Outcome != ftp.Waiting || runtime.GOOS == "linux" && (a.Seen != ftp.SeenWhole || a.From.String() != nc.LocalAddr().String()) {
		t.Errorf("after the dial: %+v", a)
	}
}

func TestSightOfOtherServers(t *testing.T) {
	t.Parallel()
	s := newSite(t, ftpserver.Rules{Deny: []string{"SITE DRAY"}})
	c := dial(t, as(Options{Plain: true}, s.addr))
	_, err := c.Sight(within(t))
	wants(t, "Sight", err, fault.Unsupported, fault.IDUnsupported)
}
