package sftpserver

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/event"
	"dray/fault"
	"dray/gate"
	"dray/sftp"
)

// A loose is an end of a pipe whose writes do not wait, as those of a socket: both sides
// of SSH begin by writing.
type loose struct {
	net.Conn
	out chan []byte
}

func (l *loose) Write(b []byte) (int, error) {
	l.out <- append([]byte(nil), b...)
	return len(b), nil
}

func (l *loose) pour() {
	for b := range l.out {
		_, _ = l.Conn.Write(b)
	}
}

// inNoTime runs a story whose clock is not the world's, with the default times. The
// client has logged in.
func inNoTime(t *testing.T, with func(*stage), story func(st *stage, c *ssh.Client)) {
	t.Helper()
	hostSigners()
	synctest.Test(t, func(t *testing.T) {
		st := builtStage(t, with)
		near, far := net.Pipe()
		client, done := &loose{near, make(chan []byte, 4096)}, make(chan struct{})
		go client.pour()
		go func() {
			defer close(done)
			st.server.ServeConn(far, gate.Peer{Remote: netip.MustParseAddrPort("198.51.100.1:40000"), Door: st.rules.Door}, st.rules)
		}()
		nc, channels, requests, err := ssh.NewClientConn(client, "", &ssh.ClientConfig{
			User: "anna", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
		})
		need(t, err)
		c := ssh.NewClient(nc, channels, requests)
		story(st, c)
		_ = c.Close()
		<-done
		close(client.out)
	})
}

// lasts is how long it takes until the server has ended the connection.
func lasts(c *ssh.Client) time.Duration {
	begun := time.Now()
	_ = c.Wait()
	return time.Since(begun)
}

// said is all that comes as standard error of a channel.
func said(ch ssh.Channel) <-chan string {
	out := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(ch.Stderr())
		out <- string(b)
	}()
	return out
}

// Who is silent for as long as the rules say hears why the connection ends, whatever is
// open.
func TestSilentConnectionsEnd(t *testing.T) {
	const idle = 10 * time.Minute
	init := func(t testing.TB, c *ssh.Client) *wireClient {
		w := open(t, c)
		w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
		w.receive()
		return w
	}
	for name, begin := range map[string]func(st *stage, c *ssh.Client) (told ssh.Channel){
		"no channel": func(*stage, *ssh.Client) ssh.Channel { return nil },
		"a channel without a request": func(st *stage, c *ssh.Client) ssh.Channel {
			ch, requests, err := c.OpenChannel("session", nil)
			need(st.t, err)
			go ssh.DiscardRequests(requests)
			return ch
		},
		"a channel that was closed": func(st *stage, c *ssh.Client) ssh.Channel {
			_ = init(st.t, c).ch.Close()
			return nil
		},
		"SFTP": func(st *stage, c *ssh.Client) ssh.Channel { return init(st.t, c).ch },
		"half a request": func(st *stage, c *ssh.Client) ssh.Channel {
			w := init(st.t, c)
			w.send([]byte{0, 0, 0, 9, byte(sftp.TypeClose)})
			return w.ch
		},
		"open handles": func(st *stage, c *ssh.Client) ssh.Channel {
			w := init(st.t, c)
			st.put("old", "old")
			w.open("old", sftp.OpenRead)
			w.write(w.open("new", makes), 0, "new")
			return w.ch
		},
		"a command that waits": func(st *stage, c *ssh.Client) ssh.Channel {
			ch, requests, err := c.OpenChannel("session", nil)
			need(st.t, err)
			go ssh.DiscardRequests(requests)
			_, err = ch.SendRequest("exec", true, ssh.Marshal(struct{ S string }{"reads"}))
			need(st.t, err)
			return ch
		},
	} {
		t.Run(name, func(t *testing.T) {
			inNoTime(t, func(st *stage) {
				st.rules.Idle = idle
				st.rules.Exec = map[string]Command{"reads": func(_ context.Context, _ *gate.Session, _ string, ch Stream) int {
					_, _ = ch.Read(make([]byte, 1))
					return 0
				}}
			}, func(st *stage, c *ssh.Client) {
				var words <-chan string
				told := begin(st, c)
				if told != nil {
					words = said(told)
				}
				if took := lasts(c); took < idle-time.Second || took > idle+2*time.Second {
					t.Errorf("it ends after %v; want %v", took, idle)
				}
				if words != nil {
					if s := <-words; !strings.Contains(s, "Nothing was asked for 600 seconds") || !strings.HasSuffix(s, "["+string(fault.IDIdle)+"]\r\n") {
						t.Errorf("the client was told %q", s)
					}
				}
				synctest.Wait()
				if log := st.log.String(); strings.Count(log, "reason=idle") < 1 || !strings.Contains(log, `msg="connection ended"`) {
					t.Errorf("the log has nothing of it:\n%s", log)
				}
				for _, e := range st.events.transfers() {
					if e.Whole || e.Reason != string(fault.IDIdle) {
						t.Errorf("the event of what was open: %+v", e)
					}
				}
				if n := len(st.events.transfers()); name == "open handles" && n != 2 {
					t.Errorf("%d events; want those of a download and an upload", n)
				}
				st.missing("new")
			})
		})
	}
}

// What is asked, what moves and what takes its time to be answered is no silence.
func TestBusyConnectionsGoOn(t *testing.T) {
	inNoTime(t, func(st *stage) {
		st.rules.Idle = 10 * time.Minute
		st.rules.Exec = map[string]Command{"works": func(_ context.Context, _ *gate.Session, _ string, ch Stream) int {
			time.Sleep(45 * time.Minute)
			ch.Tell("done\r\n")
			return 7
		}}
	}, func(st *stage, c *ssh.Client) {
		w := open(t, c)
		w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
		w.receive()
		for range 4 { // questions
			time.Sleep(9 * time.Minute)
			w.do(sftp.Request{Type: sftp.TypeRealpath, Path: []byte(".")})
		}
		for range 4 { // OpenSSH's ServerAliveInterval
			time.Sleep(9 * time.Minute)
			_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
			need(t, err)
		}
		h := w.open("slow", makes)
		for i := range 4 { // a transfer that is slow
			time.Sleep(9 * time.Minute)
			w.write(h, uint64(i), "x")
		}
		p := (&sftp.Request{Type: sftp.TypeClose, ID: 77, Handle: h}).Append(nil)
		for i := range p { // a request in pieces
			time.Sleep(time.Minute)
			w.send(p[i : i+1])
		}
		if p := w.receive(); p.ID != 77 || p.Code != sftp.OK {
			t.Errorf("CLOSE is answered with %+v", p)
		}
		ch, requests, err := c.OpenChannel("session", nil)
		need(t, err)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			ssh.DiscardRequests(requests)
		}()
		_, err = ch.SendRequest("exec", true, ssh.Marshal(struct{ S string }{"works"}))
		need(t, err)
		if s := <-said(ch); s != "done\r\n" {
			t.Errorf("a long command says %q", s)
		}
		<-ended
		// The time begins with the last of it.
		if took := lasts(c); took < 10*time.Minute-time.Second || took > 10*time.Minute+time.Second {
			t.Errorf("it ends %v after the last word", took)
		}
		if e := st.events.transfers(); len(e) != 1 || !e[0].Whole || e[0].Direction != event.Upload {
			t.Errorf("events: %+v", e)
		}
	})
}
