package ftpclient

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
)

// FuzzSession runs a client against a server that says anything: pieces between
// NULs, one for each command, over connections without a network. No call may
// panic or stay, and what comes back as a whole file is all that was sent.
func FuzzSession(f *testing.F) {
	login := "220 hi\x00500 no\x00331 go\x00230 in\x00211-F\r\n MLST type*;size*;UNIX.mode;\r\n SIZE\r\n HASH SHA-256*;\r\n211 End\x00200 I\x00200 ok\x00"
	f.Add([]byte(login+"229 (|||7|)\x00150 here\r\n226 done\x00250-\r\n type=file;size=5; a\r\n250 End\x00"), []byte("type=file;size=1; a\r\n"))
	f.Add([]byte(login+"500 no\x00227 (1,2,3,4,5,6)\x00150 (5 bytes)\r\n226 ok\x00350 ok\x00"), []byte("hello"))
	f.Add([]byte("220 vsFTPd\x00500 no\x00230 in\x00500\r\n200\r\n200\x00\x00215 UNIX\x00229 (|||9|)\x00150\r\n226\x00"), []byte("-rw-r--r-- 1 a b 5 Jan 1 2020 a\r\n"))
	f.Add([]byte("421 no"), []byte{})
	f.Add([]byte("SSH-2.0-x\r\n"), []byte{})
	f.Fuzz(func(t *testing.T, control, data []byte) {
		synctest.Test(t, func(t *testing.T) { converse(t, control, data) })
	})
}

// babble says the pieces between the NULs of text, one for each line that it hears.
func babble(nc net.Conn, text []byte) {
	rd := bufio.NewReader(nc)
	for piece := range bytes.SplitSeq(text, []byte{0}) {
		if _, err := nc.Write(append(bytes.Clone(piece), '\r', '\n')); err != nil {
			return
		}
		if _, err := rd.ReadString('\n'); err != nil {
			return
		}
	}
}

// converse is one of FuzzSession.
func converse(t *testing.T, control, data []byte) {
	if len(control) > 1<<14 || len(data) > 1<<14 {
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	first := true
	opt := Options{
		Addr: "peer.example:21", Plain: true, User: "alice", Password: account.NewSecret("secret"), Proxied: true,
		Connect: 50 * time.Millisecond, Timeout: 50 * time.Millisecond, DataWait: 50 * time.Millisecond, Slow: 50 * time.Millisecond, TLS: trusting(),
		Dial: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			control, data := control, data
			is := first
			first = false
			all.Add(1)
			go func() {
				defer all.Done()
				defer there.Close()
				if !is {
					all.Add(1)
					go func() {
						defer all.Done()
						_, _ = io.Copy(io.Discard, there)
					}()
					_, _ = there.Write(data)
					return
				}
				babble(there, control)
			}()
			return here, nil
		},
	}
	start := time.Now()
	defer func() {
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("it took %v", took)
		}
	}()
	ctx := t.Context()
	c, err := Dial(ctx, opt)
	if err != nil {
		return
	}
	defer c.Close()
	n := 0
	for l, err := range c.List(ctx, "/d") {
		if err == nil && (l.Name == "" || strings.ContainsAny(l.Name, "\r\n\x00")) {
			t.Errorf("a name %q", l.Name)
		}
		if n++; n > 3 {
			break
		}
	}
	_, _ = c.Stat(ctx, "/a")
	var s sink
	if rep, err := c.Receive(ctx, "/a", Get{Size: -1}, &s, none); err == nil && (rep.Bytes != int64(len(data)) || !bytes.Equal(s.b, data)) {
		t.Errorf("a whole file of %d bytes; %d were sent", rep.Bytes, len(data))
	}
	if rep, err := c.Send(ctx, "/b", Put{From: 1}, from([]byte("abc")), none); err == nil && rep.Bytes != 2 {
		t.Errorf("an upload of %d bytes", rep.Bytes)
	}
	_, _ = c.Hash(ctx, "/a", "SHA-256", 0, -1)
	_ = c.Rename(ctx, "/a", "/b")
	_ = c.Mkdir(ctx, "/c")
	_, _ = c.Pwd(ctx)
	_ = c.Quit(ctx)
	if err := c.Noop(ctx); err == nil {
		t.Errorf("a closed connection answers")
	}
}
