package ftpserver

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"dray/fault"
	"dray/ftp"
	"dray/gate"
	"dray/vfs/memfs"
)

// lines counts the command lines in input that a session hears: up to QUIT or
// the third that is none; lines without a verb are not counted as such.
func lines(input []byte) int {
	r := ftp.NewReader(bytes.NewReader(input))
	for n, bad := 0, 0; ; n++ {
		cmd, err := r.ReadCommand()
		switch {
		case errors.Is(err, ftp.ErrNoVerb):
		case errors.Is(err, ftp.ErrBadLine), errors.Is(err, ftp.ErrLineTooLong):
			if bad++; bad == 3 {
				return n + 1
			}
		case err != nil:
			return n
		case cmd.Verb == "QUIT":
			return n + 1
		}
	}
}

// FuzzSession says anything at all on a control connection, of a stranger and
// of somebody logged in. Every line has one final reply, well formed; nothing
// panics; the connection ends; no hidden name can be seen.
func FuzzSession(f *testing.F) {
	var all strings.Builder
	for _, row := range commands() {
		line := strings.TrimSpace(row.verb+" "+sample(row)) + "\r\n"
		f.Add([]byte(line), true)
		f.Add([]byte(row.verb+" x\r\n"), true)
		if row.verb != "QUIT" {
			all.WriteString(line)
		}
	}
	for _, row := range siteCommands() {
		f.Add([]byte("SITE "+row.verb+" "+sample(row)+"\r\n"), true)
	}
	f.Add([]byte(all.String()), true)
	f.Add([]byte(all.String()), false)
	f.Add([]byte("RNFR a\r\nRNTO .dray-x\r\nMKD .dray-y\r\nNLST -R *[\r\nSTAT /*\r\nREST 5\r\nEPSV ALL\r\nPASV\r\n"), true)
	f.Add([]byte("PORT 198,51,100,1,200,1\r\nLIST\r\nNOOP\r\nSTAT\r\nABOR\r\nEPRT |1|198.51.100.1|50000|\r\nSTOR x\r\nQUIT\r\nNOOP\r\n"), true)
	f.Add([]byte("\xff\xf4\xff\xf2ABOR\r\nMKD a\xff\xffb\r\n\xff\xfa"), true)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), false)
	f.Add([]byte("\x16\x03\x01\x02\x00"), false)
	f.Add([]byte("USER x\r\nPASS\r\nUSER x\r\nPASS\r\nUSER x\r\nPASS\r\n"), false)
	f.Fuzz(func(t *testing.T, input []byte, in bool) {
		if len(input) > 64<<10 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			s := switchedOn()
			s.rules.Allow = slices.DeleteFunc(s.rules.Allow, func(word string) bool { return word == "FXP" }) // nobody is called
			tree := memfs.New(memfs.Options{MaxBytes: 1 << 20})
			for _, name := range []string{"a", "b b", "c*"} {
				if err := tree.WriteFile("/"+name, []byte("content of "+name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := tree.MkdirAll("/d/e"); err != nil {
				t.Fatal(err)
			}
			s.tree = tree
			st := newServer(t, s)
			client, server := net.Pipe()
			// Addresses of nobody: no port is opened and nobody is called.
			peer := gate.Peer{Remote: netip.MustParseAddrPort("198.51.100.1:40000"), Local: netip.MustParseAddrPort("198.51.100.2:21"), Door: st.rules.Door}
			if in {
				input = append([]byte("USER alice\r\nPASS secret\r\n"), input...)
			}
			go func() {
				_, _ = client.Write(input) // it may end before it has all been heard
			}()
			done := make(chan struct{})
			go func() {
				defer close(done)
				st.server.ServeConn(server, peer, st.rules)
			}()
			var heard bytes.Buffer
			_, _ = heard.ReadFrom(client)
			<-done // by QUIT, or by the idle time, which passes at once here
			client.Close()

			replies, last := 0, ""
			for rest := heard.String(); rest != ""; replies++ {
				line, after, ok := strings.Cut(rest, "\r\n")
				if !ok || len(line) < 4 || strings.Trim(line[:3], "0123456789") != "" || strings.ContainsAny(line, "\r\n\x00") {
					t.Fatalf("no reply: %q in %q", line, heard.String())
				}
				code := line[:3]
				for first := true; line[3] == '-' || !first && !strings.HasPrefix(line, code+" "); first = false {
					if !first && !strings.HasPrefix(line, " ") {
						t.Fatalf("the line %q of a reply could begin another: %q", line, heard.String())
					}
					if line, after, ok = strings.Cut(after, "\r\n"); !ok || len(line) < 1 {
						t.Fatalf("a reply without an end: %q", heard.String())
					}
					if strings.HasPrefix(line, code+" ") {
						break
					}
				}
				rest, last = after, line
			}
			want := lines(input) + 1 // the greeting
			byItself := strings.HasSuffix(last, "["+string(fault.IDIdle)+"]") || strings.HasSuffix(last, "["+string(fault.IDLoginTime)+"]")
			if byItself {
				replies--
			}
			early := strings.HasPrefix(last, "421 ") && !byItself
			if replies != want && !(early && replies < want) {
				t.Errorf("%d replies to %d lines of %q:\n%s", replies, want, input, heard.String())
			}
			if log := st.log.String(); strings.Contains(log, "panic") && !bytes.Contains(input, []byte("panic")) {
				t.Errorf("%s", grep(log, "panic"))
			}
			if strings.Contains(snapshot(t, tree), "/.dray-") {
				t.Error("the tree shows a hidden name")
			}
		})
	})
}
