package ftpserver

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"dray/fault"
)

// Ports that were asked for in advance serve the transfers in their order, and their
// connections may be there before the commands.
func TestPortsInAdvance(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.Ports = freePorts(t, 4)
	st := newSite(t, s)
	k := st.login()
	port := func(line string) string {
		t.Helper()
		return "127.0.0.1:" + parseEPSV(t, k.do(229, line))
	}
	taken := func(want int) {
		t.Helper()
		s.rules.Ports.mu.Lock()
		defer s.rules.Ports.mu.Unlock()
		if n := len(s.rules.Ports.held); n != want {
			t.Errorf("%d ports are held, not %d", n, want)
		}
	}
	read := func(nc net.Conn) {
		t.Helper()
		if b, err := io.ReadAll(nc); string(b) != "abc" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
	}

	one := k.connect(port("EPSV"))
	two := k.connect(port("epsv next"))
	k.write("RETR a\r\nEPSV NEXT\r\n")
	k.hear(150)
	read(one)
	k.hear(226)
	three := k.connect("127.0.0.1:" + parseEPSV(t, k.hear(229)))
	taken(2)
	k.do(150, "RETR a")
	read(two)
	k.hear(226)
	k.do(150, "RETR a")
	read(three)
	k.hear(226)
	taken(0)
	k.do(425, "RETR a")

	// A command that is refused takes its port along, and no other.
	_ = k.connect(port("EPSV NEXT")) // with nothing planned it is EPSV
	two = k.connect(port("EPSV NEXT"))
	k.do(550, "RETR nothing")
	k.do(150, "RETR a")
	read(two)
	k.hear(226)

	// Nobody else is given the port of a command that was refused while its connection may
	// be on its way.
	first := port("EPSV")
	k.write("RETR nothing\r\nEPSV NEXT\r\n")
	k.hear(550)
	two = k.connect("127.0.0.1:" + parseEPSV(t, k.hear(229)))
	_ = k.connect(first)
	taken(2)
	k.do(150, "RETR a")
	read(two)
	k.hear(226)
	taken(0)

	// Three at most, and another set-up takes the place of all.
	port("EPSV")
	port("EPSV NEXT")
	port("EPSV NEXT")
	if said := k.do(503, "EPSV NEXT"); !strings.Contains(said, "one of those ports") {
		t.Errorf("%q", said)
	} else {
		hasID(t, said, fault.IDSequence)
	}
	taken(3)
	one = k.connect(port("EPSV"))
	taken(1)
	k.do(150, "RETR a")
	read(one)
	k.hear(226)
	taken(0)

	// ABOR ends them, and so does the end of the connection.
	port("EPSV")
	port("EPSV NEXT")
	k.do(226, "ABOR")
	taken(0)
	port("EPSV")
	port("EPSV NEXT")
	k.bye()
	st.quiet()
	taken(0)
}

// An upload under a unique name that fails leaves the port of the next transfer alone.
func TestAPortInAdvanceOutlivesAFailedUpload(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	k := newSite(t, s).login()
	one := k.connect("127.0.0.1:" + parseEPSV(t, k.do(229, "EPSV")))
	two := k.connect("127.0.0.1:" + parseEPSV(t, k.do(229, "EPSV NEXT")))
	k.do(150, "STOU")
	_ = one.(*net.TCPConn).SetLinger(0)
	_ = one.Close()
	k.hear(426)
	k.do(150, "RETR a")
	if b, err := io.ReadAll(two); string(b) != "abc" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	k.hear(226)
}

// A port to which nobody came is free for others.
func TestAPortToWhichNobodyCameIsGivenBack(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.Ports, s.rules.DataWait = freePorts(t, 1), 50*time.Millisecond
	k := newSite(t, s).login()
	for range 3 {
		k.do(229, "EPSV")
		k.do(425, "RETR a")
	}
	k.do(229, "EPSV")
	k.say("RETR a")
	k.say("ABOR")
	k.hear(426)
	k.hear(226)
	k.do(229, "EPSV")
}
