package remote

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/fault"
	"dray/ftp"
	"dray/meter"
	"dray/transfer"
)

// A plainFTP is a small server in memory that lets itself be sent anywhere, but for
// what a test changes.
type plainFTP struct {
	addr string

	mu    sync.Mutex
	files map[string][]byte
	said  []string
	// says replaces what is done for a command: nil does the usual.
	says func(command string) []string
	// keep is how much of an upload is kept, 0: all.
	keep int
}

func newPlainFTP(t *testing.T) *plainFTP {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &plainFTP{addr: l.Addr().String(), files: map[string][]byte{}}
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		all.Wait()
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = c.Close() })()
				s.serve(c)
				_ = c.Close()
			})
		}
	})
	return s
}

func (s *plainFTP) put(name string, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[name] = b
}

func (s *plainFTP) file(name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[name]
}

// heard counts commands that begin so.
func (s *plainFTP) heard(verb string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.said {
		if strings.HasPrefix(line, verb) {
			n++
		}
	}
	return n
}

func (s *plainFTP) serve(c net.Conn) {
	say := func(lines ...string) {
		for _, l := range lines {
			_, _ = io.WriteString(c, l+"\r\n")
		}
	}
	say("220 ready")
	var l net.Listener
	var to netip.AddrPort
	from := ""
	data := func() (net.Conn, error) {
		if l != nil {
			defer l.Close()
			_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Second))
			return l.Accept()
		}
		return net.DialTimeout("tcp", to.String(), time.Second)
	}
	for rd := bufio.NewScanner(c); rd.Scan(); {
		line := rd.Text()
		verb, arg, _ := strings.Cut(line, " ")
		s.mu.Lock()
		s.said = append(s.said, line)
		says := s.says
		b, there := s.files[arg]
		s.mu.Unlock()
		if says != nil {
			if lines := says(line); lines != nil {
				say(lines...)
				continue
			}
		}
		switch verb {
		case "USER":
			say("331 go on")
		case "PASS", "TYPE", "NOOP", "DELE":
			if verb == "DELE" {
				s.mu.Lock()
				delete(s.files, arg)
				s.mu.Unlock()
			}
			say("200 ok")
		case "FEAT":
			say("211-Features", " SIZE", " MFMT", "211 End")
		case "SIZE":
			if there {
				say(fmt.Sprint("213 ", len(b)))
			} else {
				say("550 No such file.")
			}
		case "MFMT":
			say("213 " + arg)
		case "PWD":
			say(`257 "/"`)
		case "PASV":
			l, _ = net.Listen("tcp", "127.0.0.1:0")
			say("227 ok " + ftp.FormatPASV(netip.MustParseAddrPort(l.Addr().String())))
		case "PORT":
			l = nil
			to, _ = ftp.ParsePort(arg)
			say("200 ok")
		case "RETR", "STOR", "LIST":
			if verb == "RETR" && !there {
				say("550 No such file.")
				continue
			}
			d, err := data()
			l = nil
			if err != nil {
				say("425 no")
				continue
			}
			say("150 go")
			switch verb {
			case "RETR":
				_, _ = d.Write(b)
			case "STOR":
				got, _ := io.ReadAll(d)
				if s.keep > 0 {
					got = got[:min(len(got), s.keep)]
				}
				s.put(arg, got)
			case "LIST":
				s.mu.Lock()
				for name, b := range s.files {
					fmt.Fprintf(d, "-rw-r--r-- 1 a a %d Jan  1 2020 %s\r\n", len(b), name)
				}
				s.mu.Unlock()
			}
			_ = d.Close()
			say("226 done")
		case "RNFR":
			from = arg
			say("350 ok")
		case "RNTO":
			s.mu.Lock()
			s.files[arg] = s.files[from]
			delete(s.files, from)
			s.mu.Unlock()
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 what?")
		}
	}
}

// tree is that of an account of s. What comes here is told to data.
func (s *plainFTP) tree(t *testing.T, user string, data func()) Tree {
	t.Helper()
	u, err := Parse("ftp+plain://"+user+":secret@"+s.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := Open(u, Options{Timeout: 2 * time.Second, Connect: 2 * time.Second, Trace: func(line string) {
		t.Log(s.addr, line)
		if data != nil && (strings.HasPrefix(line, "-- RETR: ") || strings.HasPrefix(line, "-- STOR: ")) {
			data()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

// What two servers do with a copy between them, and what is remembered of it.
func TestCopiesBetweenServers(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789"), 3000)
	only := func(verb string, lines ...string) func(string) []string {
		return func(line string) []string {
			if strings.HasPrefix(line, verb) {
				return lines
			}
			return nil
		}
	}
	for _, try := range []struct {
		name     string
		from, to func(*plainFTP)
		direct   bool
		said     string // why not; "": nothing new
		again    int    // commands PORT in a second copy
	}{
		{name: "both allow it", direct: true, again: 1},
		{name: "the source lets nobody come", from: func(s *plainFTP) { s.says = only("PASV", "502 no") }, direct: true, again: 1},
		{name: "the target does not go elsewhere", to: func(s *plainFTP) { s.says = only("PORT", "500 Illegal PORT command.") }, direct: true, again: 1},
		{name: "nobody goes elsewhere", from: func(s *plainFTP) { s.says = only("PORT", "500 Illegal PORT command.") }, to: func(s *plainFTP) { s.says = only("PORT", "500 Illegal PORT command.") },
			said: "500 Illegal PORT command."},
		{name: "the target says 426", to: func(s *plainFTP) { s.says = only("STOR", "150 go", "426 it broke") }, said: "426 it broke"},
		{name: "the target says nothing more", to: func(s *plainFTP) { s.says = only("STOR", "150 go") }, said: "broke off"},
		{name: "the target keeps less than it got", to: func(s *plainFTP) { s.keep = 1000 }, said: "1000 of 30000 bytes"},
		{name: "the target has no leave", to: func(s *plainFTP) { s.says = only("STOR", "550 Permission denied.") }, again: 1},
	} {
		t.Run(try.name, func(t *testing.T) {
			t.Parallel()
			a, b := newPlainFTP(t), newPlainFTP(t)
			for _, x := range []struct {
				s *plainFTP
				f func(*plainFTP)
			}{{a, try.from}, {b, try.to}} {
				if x.f != nil {
					x.f(x.s)
				}
			}
			a.put("a", want)
			here := 0
			from, to := a.tree(t, "alice", func() { here++ }), b.tree(t, "bob", func() { here++ })
			c := to.(Copier)
			if road := c.Road(from); road != RoadFXP {
				t.Fatalf("Road = %v", road)
			}
			var count meter.Counter
			put := Put{Final: "b", Time: time.Now(), How: transfer.Options{Meter: &count, Idle: 300 * time.Millisecond}}
			rep, err := c.Copy(t.Context(), from, "a", "b.part", int64(len(want)), put)
			var no *NotDirect
			switch {
			case try.direct && (err != nil || rep.Bytes != int64(len(want)) || !bytes.Equal(b.file("b"), want) || count.Bytes() != int64(len(want))):
				t.Errorf("Copy = %+v, %v; %d booked, %d bytes are there", rep, err, count.Bytes(), len(b.file("b")))
			case !try.direct && !errors.As(err, &no):
				t.Fatalf("Copy = %v; want NotDirect", err)
			case !try.direct && no.Known != (try.said == ""):
				t.Errorf("Copy = %v, known %v", err, no.Known)
			}
			if !try.direct {
				if !strings.Contains(no.Why()+" "+no.Error(), try.said) && try.said != "broke off" {
					t.Errorf("it is said %q (%v); want %q", no.Why(), no, try.said)
				}
				if count.Bytes() != 0 || b.file("b") != nil {
					t.Errorf("%d bytes are booked, and the name is taken: %v", count.Bytes(), b.file("b") != nil)
				}
			}
			if here != 0 {
				t.Errorf("%d transfers were ours", here)
			}
			before := a.heard("PORT") + b.heard("PORT")
			_, err = c.Copy(t.Context(), from, "a", "c.part", int64(len(want)), put)
			if again := a.heard("PORT") + b.heard("PORT") - before; again > try.again+1 || try.again == 0 && again > 0 {
				t.Errorf("PORT was said %d times more", again)
			}
			if try.said != "" && (!errors.As(err, &no) || !no.Known) {
				t.Errorf("the second Copy = %v; want one that is known", err)
			}
		})
	}
}

// Many copies with few connections do not wait for each other for ever, and those that
// begin before anything is known come too.
func TestManyCopiesBetweenServers(t *testing.T) {
	a, b := newPlainFTP(t), newPlainFTP(t)
	a.says = func(line string) []string {
		if strings.HasPrefix(line, "PASV") { // the first way is none
			return []string{"502 no"}
		}
		return nil
	}
	a.put("a", []byte("some bytes"))
	open := func(s *plainFTP, user string, n int) Tree {
		u, err := Parse("ftp+plain://"+user+":secret@"+s.addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := Open(u, Options{Parallel: n})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tree.Close() })
		return tree
	}
	from, to := open(a, "alice", 3), open(b, "bob", 2)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			name := fmt.Sprint("b", i)
			if _, err := to.(Copier).Copy(t.Context(), from, "a", name+".part", 10, Put{Final: name}); err != nil {
				t.Errorf("Copy: %v", err)
			}
		})
	}
	all.Wait()
	for i := range 40 {
		if got := b.file(fmt.Sprint("b", i)); string(got) != "some bytes" {
			t.Errorf("b%d holds %q", i, got)
		}
	}
}

// On one account no FXP is tried, and a server that does not offer copies is not asked.
func TestRoads(t *testing.T) {
	s := newPlainFTP(t)
	s.put("a", []byte("a"))
	from, to, other := s.tree(t, "alice", nil), s.tree(t, "alice", nil), s.tree(t, "bob", nil)
	c := to.(Copier)
	if got := []transfer.Road{c.Road(from), c.Road(other), c.Road(nil)}; !slices.Equal(got, []transfer.Road{RoadServer, RoadFXP, transfer.RoadNone}) {
		t.Errorf("roads: %v", got)
	}
	_, err := c.Copy(t.Context(), from, "a", "b", 1, Put{})
	var no *NotDirect
	if !errors.As(err, &no) || !no.Known || no.Begun || s.heard("SITE") != 0 || s.heard("PORT") != 0 {
		t.Errorf("Copy = %v", err)
	}
	u, err := Parse("sftp://alice@127.0.0.1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	ssh, err := Open(u, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Road(ssh) != transfer.RoadNone || ssh.(Copier).Road(from) != transfer.RoadNone || ssh.(Copier).Road(ssh) != RoadServer {
		t.Error("roads between FTP and SFTP")
	}
	if _, err := c.Copy(t.Context(), ssh, "a", "b", 1, Put{}); !errors.As(err, &no) || fault.Of(err).ID == "" {
		t.Errorf("Copy = %v", err)
	}
}

// A server that always comes from one port can't come to a port again for a while. Between
// servers that have done it another port will do.
func TestAPortThatWasUsedJustNow(t *testing.T) {
	for _, try := range []struct {
		refusals int
		direct   bool
	}{{1, true}, {samePair - 1, true}, {samePair, false}} {
		t.Run(fmt.Sprint(try.refusals), func(t *testing.T) {
			t.Parallel()
			a, b := newPlainFTP(t), newPlainFTP(t)
			a.put("a", []byte("some bytes"))
			here := 0
			from, to := a.tree(t, "alice", func() { here++ }), b.tree(t, "bob", func() { here++ })
			c := to.(Copier)
			if _, err := c.Copy(t.Context(), from, "a", "first.part", 10, Put{Final: "first"}); err != nil {
				t.Fatal(err)
			}
			b.mu.Lock()
			left := try.refusals
			b.says = func(line string) []string {
				if left > 0 && strings.HasPrefix(line, "STOR") {
					left--
					return []string{"425 Could not open data connection to port 20134: Cannot assign requested address"}
				}
				return nil
			}
			b.mu.Unlock()
			_, err := c.Copy(t.Context(), from, "a", "second.part", 10, Put{Final: "second"})
			var no *NotDirect
			switch {
			case try.direct && (err != nil || string(b.file("second")) != "some bytes"):
				t.Errorf("Copy = %v", err)
			case !try.direct && (!errors.As(err, &no) || !no.Known):
				t.Errorf("Copy = %v; want NotDirect", err)
			}
			if here != 0 || left != 0 {
				t.Errorf("%d transfers were ours, %d refusals were not met", here, left)
			}
			// The pair is not given up.
			if _, err := c.Copy(t.Context(), from, "a", "third.part", 10, Put{Final: "third"}); err != nil {
				t.Errorf("the third Copy = %v", err)
			}
		})
	}
}
