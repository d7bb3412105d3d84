package ftpserver

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/event"
	"dray/fault"
	"dray/gate"
	"dray/guard"
	"dray/transfer"
)

func TestTheRoadsOfTransfers(t *testing.T) {
	t.Parallel()
	for _, try := range []struct {
		name, typ string
		tls       bool
		road      transfer.Road
	}{
		{"binary in clear text", "TYPE I", false, transfer.RoadKernel},
		{"text", "TYPE A", false, transfer.RoadCopy},
		{"under TLS", "TYPE I", true, transfer.RoadCopy},
	} {
		s := plain()
		s.tree, _ = onDisk(t)
		s.rules.TLS = serverTLS()
		st := newSite(t, s)
		var k *talk
		if try.tls {
			k = st.secureLogin(clientTLS())
		} else {
			k = st.login()
		}
		k.do(200, try.typ)
		content := noise(300_000)
		k.put("STOR a", content)
		if got := k.get("RETR a"); got != content {
			t.Errorf("%s: %d bytes came back", try.name, len(got))
		}
		done := st.events.transfers()
		if len(done) != 2 {
			t.Fatalf("%s: %d transfers", try.name, len(done))
		}
		for i, e := range done {
			if e.Road != string(try.road) || !e.Whole || e.Bytes != 300_000 || e.TLS != try.tls || e.Path != "/a" || e.User != "alice" ||
				e.Direction != []event.Direction{event.Upload, event.Download}[i] {
				t.Errorf("%s: %+v; want the road %s", try.name, e, try.road)
			}
		}
	}
}

func TestTwoUploadsToOneName(t *testing.T) {
	t.Parallel()
	for _, tree := range []string{"mem", "os"} {
		s := plain()
		if tree == "os" {
			s.tree, _ = onDisk(t)
		}
		st := newSite(t, s)
		a, b := st.login(), st.login()
		first, second := a.pasv(), b.pasv()
		a.do(150, "STOR f")
		b.do(150, "STOR f")
		_, _ = io.WriteString(first, "first")
		_, _ = io.WriteString(second, "the second")
		_ = finish(second)
		b.hear(226)
		_ = finish(first)
		a.hear(226)
		if got := a.get("RETR f"); got != "first" { // the last commit wins
			t.Errorf("%s: f = %q", tree, got)
		}

		// Appends to one file do not mix.
		first, second = a.pasv(), b.pasv()
		a.do(150, "APPE f")
		hasID(t, b.do(450, "APPE f"), fault.IDInUse)
		second.Close()
		_, _ = io.WriteString(first, " and more")
		_ = finish(first)
		a.hear(226)
		if got := b.get("RETR f"); got != "first and more" {
			t.Errorf("%s: f = %q", tree, got)
		}

		// STOU keeps its name while it runs.
		first, second = a.pasv(), b.pasv()
		if got := a.do(150, "STOU u"); got != "150 FILE: u" {
			t.Errorf("%s: %q", tree, got)
		}
		if got := b.do(150, "STOU u"); got != "150 FILE: u.1" {
			t.Errorf("%s: %q", tree, got)
		}
		_ = finish(first)
		_ = finish(second)
		a.hear(226)
		b.hear(226)
	}
}

func TestDownloadThatTheClientEnds(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS = serverTLS()
	st := newSite(t, s)
	if err := st.mem.WriteFile("/big", []byte(noise(16<<20))); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*talk{st.login(), st.secureLogin(clientTLS())} {
		nc := k.over(k.pasv())
		k.do(150, "RETR big")
		if _, err := io.ReadFull(nc, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		reset(nc)
		hasID(t, k.hear(426), fault.IDDataLost)
		if got := k.get("NLST"); got != "big\r\n" {
			t.Errorf("NLST = %q", got)
		}
	}
}

// The control connection of a killed client under TLS.
func TestControlLostUnderTLS(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"reset", "close", "bare end"} {
		s := plain()
		s.rules.TLS = serverTLS()
		st := newSite(t, s)
		k := st.secureLogin(clientTLS())
		nc := k.over(k.pasv())
		k.do(150, "STOR up")
		_, _ = io.WriteString(nc, noise(10_000))
		switch how {
		case "reset":
			reset(k.nc)
		case "close":
			k.nc.Close()
		default:
			k.raw.Close()
		}
		st.quiet()
		nc.Close()
		if _, err := st.mem.ReadFile("/up"); err == nil {
			t.Errorf("%s: the upload is published", how)
		}
	}
}

// To the byte what ALLO said needs no further proof, also of a client that is gone.
func TestUploadAsLongAsAnnounced(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.CutGrace = 300 * time.Millisecond
	st := newSite(t, s)
	k := st.login()
	k.do(200, "TYPE I")
	k.do(200, "ALLO 10000")
	nc := k.pasv()
	k.do(150, "STOR up")
	_, _ = io.WriteString(nc, noise(9_999))
	time.Sleep(30 * time.Millisecond) // or it is too short for a look
	_, _ = io.WriteString(nc, "x")
	nc.Close()
	k.hear(226)
	if b, err := st.mem.ReadFile("/up"); err != nil || len(b) != 10_000 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// A reply to NOOP is no proof that the client still lives when its data end.
func TestNoopThenDeathIsACut(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	k := st.login()
	nc := k.pasv()
	k.do(150, "STOR up")
	_, _ = io.WriteString(nc, noise(10_000))
	k.do(200, "NOOP")
	time.Sleep(25 * time.Millisecond)
	k.raw.Close()
	_ = finish(nc)
	st.quiet()
	if _, err := st.mem.ReadFile("/up"); err == nil {
		t.Error("the upload of a killed client is published")
	}
}

func TestASetUpServesOneTransferAndTheLastOneCounts(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.Ports = freePorts(t, 1)
	st := newSite(t, s)
	k := st.login()
	k.do(227, "PASV")
	k.do(550, "RETR nowhere")
	hasID(t, k.do(425, "LIST"), fault.IDNoDataPort)
	k.do(227, "PASV")
	k.do(229, "EPSV") // with one port: the first was given back
	k.do(200, "PORT 127,0,0,1,4,1")
	hasID(t, k.do(425, "LIST"), fault.IDActiveBlock)
	k.do(200, "PORT 127,0,0,1,4,1")
	if got := k.get("RETR a"); got != "abc" {
		t.Errorf("a = %q", got)
	}
}

func TestAPassivePortIsNotKeptForEver(t *testing.T) {
	s := plain()
	s.rules.Ports = freePorts(t, 1)
	synctest.Test(t, func(t *testing.T) {
		st := newServer(t, s)
		client, server := net.Pipe()
		k, done := newTalk(t, client), make(chan struct{})
		// Of this host, so that its address can be listened on.
		peer := gate.Peer{Remote: netip.MustParseAddrPort("127.0.0.1:40000"), Local: netip.MustParseAddrPort("127.0.0.1:21"), Door: st.rules.Door}
		go func() {
			defer close(done)
			st.server.ServeConn(server, peer, st.rules)
		}()
		k.hear(220)
		k.as("alice")
		k.do(227, "PASV")
		time.Sleep(reservationLife + time.Second)
		synctest.Wait()
		s.rules.Ports.mu.Lock()
		if n := len(s.rules.Ports.held); n != 0 {
			t.Errorf("%d ports are held", n)
		}
		s.rules.Ports.mu.Unlock()
		hasID(t, k.do(425, "LIST"), fault.IDNoDataPort)
		k.raw.Close()
		<-done
	})
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	s := plain()
	s.limits = guard.Limits{PerAddress: 2, PendingPerAddress: 1}
	st := newSite(t, s)
	a := st.login()
	silent := st.greeted()
	hasID(t, st.dial().hear(421), fault.IDBusy)
	a.bye()
	st.eventually("a place is free", func() bool {
		k := st.dial()
		code, text, _ := k.reply()
		if code == 421 && strings.Contains(text, string(fault.IDBusy)) {
			return false
		}
		return code == 220
	})
	// That one has crowded out the one that never logged in.
	hasID(t, silent.hear(421), fault.IDBusy)
	silent.ended()
}

// Clients share one cache of sessions over all their connections, and control
// connections resume too.
func TestOneCacheForAllConnections(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.TLS, s.rules.Session = serverTLS(), SessionRequire
	st := newSite(t, s)
	cfg := clientTLS()
	first := st.secureLogin(cfg)
	second := st.secureLogin(cfg)
	if !second.nc.(*tls.Conn).ConnectionState().DidResume {
		t.Error("the second control connection did not resume")
	}
	for range 5 {
		for _, k := range []*talk{first, second} {
			if got := k.get("RETR a"); got != "abc" {
				t.Errorf("a = %q", got)
			}
			k.put("STOR up", "x")
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree, _ = onDisk(t)
	s.rules.TLS = serverTLS()
	st := newSite(t, s)
	content := noise(200_000)
	for i := range 12 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			var k *talk
			if i%2 == 0 {
				k = st.login()
			} else {
				k = st.secureLogin(clientTLS())
			}
			k.t = t
			k.do(200, "TYPE I")
			for j := range 4 {
				name := fmt.Sprintf("f%d", (i+j)%5) // they share names
				k.put("STOR "+name, content)
				if got := k.get("RETR " + name); got != content {
					t.Errorf("%s has %d bytes", name, len(got))
				}
				nc := k.over(k.pasv())
				k.do(150, "STOR "+name)
				_, _ = io.WriteString(nc, content[:50_000])
				k.say("ABOR")
				k.hear(426)
				k.hear(226)
				nc.Close()
				k.get("LIST")
			}
			k.bye()
		})
	}
}

func TestPasswordsAreNowhereInTheLog(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	k := st.greeted()
	k.do(331, "USER alice")
	k.do(530, "PASS  with blanks ")
	k.do(331, "USER alice")
	k.do(530, "pass\x20secre7")
	k.as("alice")
	k.do(503, "PASS secre8")
	k.bye()
	st.quiet()
	for _, word := range []string{"with blanks", "secre7", "secre8", "secret"} {
		if log := st.log.String(); strings.Contains(log, word) {
			t.Errorf("the log holds %q:\n%s", word, grep(log, word))
		}
	}
}
