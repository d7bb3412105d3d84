package ftpserver

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
	"dray/gate"
)

// piped serves one end of a pipe; the other end is the talk's. done is closed
// when the server has ended it.
func (st *site) piped(t *testing.T) (k *talk, done chan struct{}) {
	t.Helper()
	client, server := net.Pipe()
	k, done = newTalk(t, client), make(chan struct{})
	peer := gate.Peer{Remote: netip.MustParseAddrPort("198.51.100.1:40000"), Local: netip.MustParseAddrPort("198.51.100.2:21"), Door: st.rules.Door}
	go func() {
		defer close(done)
		st.server.ServeConn(server, peer, st.rules)
	}()
	return k, done
}

// inNoTime runs a story whose clock is not the world's, with the default times.
func inNoTime(t *testing.T, s setup, story func(t *testing.T, st *site, k *talk, done chan struct{})) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s.rules.LoginTime, s.rules.DataWait, s.rules.Stall = 30*time.Second, 20*time.Second, 2*time.Minute
		st := newServer(t, s)
		k, done := st.piped(t)
		story(t, st, k, done)
		k.raw.Close()
		<-done
	})
}

// patient reads a reply, however long it takes in the time of the story.
func (k *talk) patient(code int) string {
	k.t.Helper()
	_ = k.raw.SetReadDeadline(time.Time{})
	text, err := k.rd.ReadString('\n')
	if err != nil || !strings.HasPrefix(text, map[int]string{421: "421 "}[code]) {
		k.t.Fatalf("reply %q, %v; want %d", text, err, code)
	}
	return strings.TrimSpace(text)
}

func TestLoginDeadlineIsForAllOfTheLogin(t *testing.T) {
	inNoTime(t, plain(), func(t *testing.T, _ *site, k *talk, done chan struct{}) {
		begun := time.Now()
		k.hear(220)
		silent := make(chan struct{})
		go func() { // a byte every two seconds, and commands among them
			defer close(silent)
			for _, b := range []byte("NOOP\r\nREIN\r\nUSER alice\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") {
				time.Sleep(2 * time.Second)
				if _, err := k.raw.Write([]byte{b}); err != nil {
					return
				}
			}
		}()
		var last string
		for {
			_ = k.raw.SetReadDeadline(time.Time{})
			line, err := k.rd.ReadString('\n')
			if err != nil {
				break
			}
			last = strings.TrimSpace(line)
		}
		hasID(t, last, fault.IDLoginTime)
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
		<-done
		<-silent
	})
}

func TestSilenceBeforeTheLogin(t *testing.T) {
	inNoTime(t, plain(), func(t *testing.T, _ *site, k *talk, _ chan struct{}) {
		begun := time.Now()
		k.hear(220)
		hasID(t, k.patient(421), fault.IDLoginTime)
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
		k.ended()
	})
}

func TestIdleSession(t *testing.T) {
	inNoTime(t, plain(), func(t *testing.T, _ *site, k *talk, _ chan struct{}) {
		k.hear(220)
		k.as("alice")
		for range 5 {
			time.Sleep(9 * time.Minute)
			k.do(200, "NOOP")
		}
		begun := time.Now()
		hasID(t, k.patient(421), fault.IDIdle)
		if took := time.Since(begun); took != 10*time.Minute {
			t.Errorf("it took %v", took)
		}
		k.ended()
	})
}

func TestALaterLoginHasTimeOfItsOwn(t *testing.T) {
	for _, again := range []string{"USER alice", "REIN"} {
		inNoTime(t, plain(), func(t *testing.T, _ *site, k *talk, _ chan struct{}) {
			k.hear(220)
			k.as("alice")
			time.Sleep(5 * time.Minute)
			k.do(map[string]int{"USER alice": 331, "REIN": 220}[again], again)
			time.Sleep(25 * time.Second)
			k.as("alice")
			time.Sleep(5 * time.Minute)
			k.do(map[string]int{"USER alice": 331, "REIN": 220}[again], again)
			hasID(t, k.patient(421), fault.IDLoginTime)
		})
	}
}

func TestHandshakeIsPartOfTheLogin(t *testing.T) {
	s := plain()
	s.rules.TLS = serverTLS()
	inNoTime(t, s, func(t *testing.T, _ *site, k *talk, done chan struct{}) {
		begun := time.Now()
		k.hear(220)
		time.Sleep(10 * time.Second)
		k.do(234, "AUTH TLS")
		<-done // silence
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	inNoTime(t, s, func(t *testing.T, _ *site, k *talk, done chan struct{}) {
		k.hear(220)
		k.as("alice")
		time.Sleep(5 * time.Minute) // AUTH on an old session has time too
		k.secure(clientTLS())
		k.as("alice")
		k.do(200, "NOOP")
	})
}

func TestAPeerThatTakesNoReplies(t *testing.T) {
	inNoTime(t, plain(), func(t *testing.T, _ *site, k *talk, done chan struct{}) {
		begun := time.Now()
		<-done // the greeting is not read
		if took := time.Since(begun); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestSilenceOnTheImplicitPort(t *testing.T) {
	s := plain()
	s.rules.TLS, s.rules.Implicit = serverTLS(), true
	inNoTime(t, s, func(t *testing.T, _ *site, k *talk, _ chan struct{}) {
		begun := time.Now()
		hasID(t, k.patient(421), fault.IDImplicitTLS)
		if took := time.Since(begun); took != implicitSilence {
			t.Errorf("it took %v", took)
		}
	})
}

func TestShutdownWakesWhoWaits(t *testing.T) {
	inNoTime(t, plain(), func(t *testing.T, st *site, k *talk, done chan struct{}) {
		k.hear(220)
		k.as("alice")
		go st.server.Shutdown(t.Context())
		hasID(t, k.hear(421), fault.IDShutdown)
		<-done
		late, gone := st.piped(t)
		late.ended()
		<-gone
	})
}

func TestIdleTimeRestsDuringATransfer(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.Idle = 150 * time.Millisecond
	st := newSite(t, s)
	k := st.login()
	nc := k.pasv()
	k.do(150, "STOR up")
	for range 5 { // four times the idle time
		time.Sleep(s.rules.Idle)
		_, _ = io.WriteString(nc, "piece.")
	}
	_ = finish(nc)
	k.hear(226)
	k.do(200, "NOOP")
	hasID(t, k.hear(421), fault.IDIdle)
	k.ended()
}

func TestStalledTransfer(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.Stall = 200 * time.Millisecond
	st := newSite(t, s)
	k := st.login()
	nc := k.pasv()
	k.do(150, "STOR up")
	_, _ = io.WriteString(nc, "x")
	hasID(t, k.hear(426), fault.IDStall)
	if _, err := st.mem.ReadFile("/up"); err == nil {
		t.Error("a stalled upload is published")
	}
	k.do(200, "NOOP")
}
