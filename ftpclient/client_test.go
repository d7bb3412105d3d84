package ftpclient

import (
	"bytes"
	"crypto/tls"
	"slices"
	"testing"
	"time"

	"dray/fault"
	"dray/ftp"
	"dray/ftpserver"
	"dray/transfer"
)

var none = transfer.Options{}

func TestOurServer(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, w.rules)
			c := dial(t, as(w.opt, s.addr))
			big := noise(3 << 20)
			for name, content := range map[string][]byte{"empty": {}, "one": {1}, "big": big, " odd name;x ": []byte("odd"), "-a": []byte("dash"), "star*[x]?": []byte("star")} {
				put(t, c, "/"+name, content)
				if got := get(t, c, "/"+name); !bytes.Equal(got, content) {
					t.Fatalf("%q came back as %d bytes of %d", name, len(got), len(content))
				}
			}
			names := list(t, c, "/")
			slices.Sort(names)
			if want := []string{" odd name;x ", "-a", "big", "empty", "one", "star*[x]?"}; !slices.Equal(names, want) {
				t.Errorf("List = %q, want %q", names, want)
			}
			// From the middle.
			part := sink{b: slices.Clone(big[:1000]), at: 1000}
			if _, err := c.Receive(within(t), "/big", Get{From: 1000, Size: int64(len(big))}, &part, none); err != nil || !bytes.Equal(part.b, big) {
				t.Errorf("REST and RETR: %v", err)
			}
			if _, err := c.Send(within(t), "/one", Put{Append: true}, from([]byte{2, 3}), none); err != nil {
				t.Errorf("APPE: %v", err)
			}
			if got := get(t, c, "/one"); !bytes.Equal(got, []byte{1, 2, 3}) {
				t.Errorf("after APPE: %v", got)
			}
			if _, err := c.Send(within(t), "/one", Put{From: 3}, from([]byte{9, 9, 9, 4}), none); err != nil {
				t.Errorf("REST and STOR: %v", err)
			}
			if got := get(t, c, "/one"); !bytes.Equal(got, []byte{1, 2, 3, 4}) {
				t.Errorf("after REST and STOR: %v", got)
			}
			name := ""
			if _, err := c.Send(within(t), "", Put{Unique: true, Named: func(s string) { name = s }}, from([]byte("u")), none); err != nil || name == "" {
				t.Errorf("STOU: %v, %q", err, name)
			}
			if got := get(t, c, name); string(got) != "u" {
				t.Errorf("after STOU: %q", got)
			}
			if err := c.Quit(within(t)); err != nil {
				t.Errorf("Quit: %v", err)
			}
		})
	}
}

func TestCommandsOnOurServer(t *testing.T) {
	s := newSite(t, ftpserver.Rules{})
	c := dial(t, as(Options{Plain: true}, s.addr))
	ctx := within(t)
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("Mkdir", c.Mkdir(ctx, "/d"))
	wants(t, "Mkdir again", c.Mkdir(ctx, "/d"), fault.Exists, fault.IDExists)
	put(t, c, "/d/a", []byte("hello"))
	at := time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	check("SetTime", c.SetTime(ctx, "/d/a", at))
	check("Chmod", c.Chmod(ctx, "/d/a", 0o640))
	if n, err := c.Size(ctx, "/d/a"); n != 5 || err != nil {
		t.Errorf("Size = %d, %v", n, err)
	}
	if got, err := c.ModTime(ctx, "/d/a"); !got.Equal(at) || err != nil {
		t.Errorf("ModTime = %v, %v", got, err)
	}
	l, err := c.Stat(ctx, "/d/a")
	if err != nil || l.Name != "a" || l.Size != 5 || !l.Time.Equal(at) || l.Mode != 0o640 || !l.Is(ftp.KnownType|ftp.KnownMode) {
		t.Errorf("Stat = %+v, %v", l, err)
	}
	if l, err := c.Stat(ctx, "/d"); err != nil || !l.Mode.IsDir() || l.Name != "d" {
		t.Errorf("Stat of a directory = %+v, %v", l, err)
	}
	_, err = c.Stat(ctx, "/nope")
	wants(t, "Stat", err, fault.NotFound, fault.IDNotFound)
	if l, err := c.ListName(ctx, "/d/a"); err != nil || l.Size != 5 {
		t.Errorf("ListName = %+v, %v", l, err)
	}
	_, err = c.ListName(ctx, "/d/b")
	wants(t, "ListName", err, fault.NotFound, fault.IDNotFound)
	var no sink
	_, err = c.Receive(ctx, "/nope", Get{Size: -1}, &no, none)
	wants(t, "Receive", err, fault.NotFound, fault.IDNotFound)
	_, err = c.Receive(ctx, "/d", Get{Size: -1}, &no, none)
	wants(t, "Receive a directory", err, fault.IsDir, fault.IDIsDir)
	wants(t, "RemoveDir", c.RemoveDir(ctx, "/d"), fault.NotEmpty, fault.IDNotEmpty)
	check("Rename", c.Rename(ctx, "/d/a", "/d/b"))
	wants(t, "Rename", c.Rename(ctx, "/d/a", "/d/c"), fault.NotFound, fault.IDNotFound)
	check("Cwd", c.Cwd(ctx, "/d"))
	if p, err := c.Pwd(ctx); p != "/d" || err != nil {
		t.Errorf("Pwd = %q, %v", p, err)
	}
	if got := list(t, c, ""); !slices.Equal(got, []string{"b"}) {
		t.Errorf("List = %q", got)
	}
	for _, algorithm := range c.Hashes() {
		sum, err := c.Hash(ctx, "/d/b", algorithm, 0, -1)
		check("Hash "+algorithm, err)
		part, err := c.Hash(ctx, "/d/b", algorithm, 1, 3)
		check("Hash of a part "+algorithm, err)
		if bytes.Equal(sum, part) || len(sum) != len(part) {
			t.Errorf("%s: %x and %x", algorithm, sum, part)
		}
	}
	check("Noop", c.Noop(ctx))
	if r, err := c.Quote(ctx, "SITE HELP"); err != nil || r.Code != 214 {
		t.Errorf("Quote = %v, %v", r, err)
	}
	for _, name := range []string{"/a\r\nDELE /d/b", "/a\x00", "/a\n"} {
		wants(t, "a line end", c.Remove(ctx, name), fault.BadName, fault.IDBadName)
		_, err = c.Receive(ctx, name, Get{Size: -1}, &no, none)
		wants(t, "a line end", err, fault.BadName, fault.IDBadName)
	}
	_, err = c.Quote(ctx, "NOOP\r\nDELE /d/b")
	if err == nil {
		t.Errorf("Quote took a line end")
	}
	check("Remove", c.Remove(ctx, "b"))
	check("RemoveDir", c.RemoveDir(ctx, "/d"))
	if err := c.Err(); err != nil {
		t.Errorf("Err = %v", err)
	}
}

// Somebody is asked about a certificate in the middle of a handshake, and that takes
// longer than any answer of a server may.
func TestAHandshakeInWhichSomebodyIsAsked(t *testing.T) {
	s := newSite(t, ftpserver.Rules{TLS: serverTLS()})
	opt := as(Options{TLS: trusting()}, s.addr)
	opt.Timeout, opt.Handshake = 400*time.Millisecond, time.Minute
	opt.TLS.VerifyConnection = func(tls.ConnectionState) error {
		time.Sleep(time.Second)
		return nil
	}
	if err := dial(t, opt).Noop(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
