package ftpserver

import (
	"bytes"
	"compress/zlib"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/fault"
	"dray/transfer"
	"dray/vfs/memfs"
)

// A compressed is a client's data connection in MODE Z; its Close ends the
// stream and leaves the connection open.
type compressed struct {
	net.Conn
	zw *zlib.Writer
	zr io.Reader
}

func (z *compressed) Write(b []byte) (int, error) {
	if z.zw == nil {
		z.zw = zlib.NewWriter(z.Conn)
	}
	return z.zw.Write(b)
}

func (z *compressed) Read(b []byte) (n int, err error) {
	if z.zr == nil {
		if z.zr, err = zlib.NewReader(z.Conn); err != nil {
			return 0, err
		}
	}
	return z.zr.Read(b)
}

func (z *compressed) Close() error {
	if z.zw == nil {
		z.zw = zlib.NewWriter(z.Conn)
	}
	return z.zw.Close()
}

func squeezed(s string) string {
	var out bytes.Buffer
	zw := zlib.NewWriter(&out)
	_, _ = io.WriteString(zw, s)
	_ = zw.Close()
	return out.String()
}

// putRaw uploads bytes as they are over a passive connection, ends it properly, and
// returns the last reply.
func (k *talk) putRaw(code int, command, wire string) string {
	k.t.Helper()
	nc := k.over(k.pasv())
	defer nc.Close()
	k.do(150, command)
	_, _ = io.WriteString(nc, wire) // the server may have ended it
	_ = finish(nc)
	return k.hear(code)
}

func TestUploadsThatAreNoWholeStream(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		s := plain()
		s.rules.TLS = serverTLS()
		st := newSite(t, s)
		if err := st.mem.WriteFile("/old", []byte("old")); err != nil {
			t.Fatal(err)
		}
		k := st.greeted()
		if secure {
			k = st.secureLogin(clientTLS())
		} else {
			k.as("alice")
		}
		k.do(200, "TYPE I")
		k.do(200, "MODE Z")
		content := noise(300_000)
		wire := squeezed(content)
		for _, command := range []string{"STOR new", "STOR old", "APPE old"} {
			hasID(t, k.putRaw(426, command, wire[:len(wire)-1]), fault.IDUploadCut)
			hasID(t, k.putRaw(426, command, ""), fault.IDUploadCut)
			if command == "STOR old" { // APPE must not meet what is kept of it
				k.do(250, "DELE old")
				if err := st.mem.WriteFile("/old", []byte("old")); err != nil {
					t.Fatal(err)
				}
			}
			hasID(t, k.putRaw(426, command, wire+"x"), fault.IDDeflate)
			hasID(t, k.putRaw(426, command, content), fault.IDDeflate)
			hasID(t, k.putRaw(426, command, wire[:1000]+"#"+wire[1001:]), fault.IDDeflate)
			if b, err := st.mem.ReadFile("/old"); string(b) != "old" || err != nil {
				t.Errorf("%s: the old file holds %d bytes, %v", command, len(b), err)
			}
			if _, err := st.mem.ReadFile("/new"); err == nil {
				t.Errorf("%s: a name shows what is not whole", command)
			}
		}
		k.putRaw(226, "STOR new", wire)
		if b, err := st.mem.ReadFile("/new"); string(b) != content || err != nil {
			t.Errorf("the file holds %d bytes, %v", len(b), err)
		}
		k.bye()
	}
}

// What a broken stream brought must not be what the next upload goes on with.
func TestNothingOfABrokenStreamIsResumed(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	k := st.login()
	k.do(200, "TYPE I")
	k.do(200, "MODE Z")
	content := noise(300_000)
	wire := squeezed(content)
	hasID(t, k.putRaw(426, "STOR a", wire[:len(wire)-1]+"#"), fault.IDDeflate) // the checksum
	hasID(t, k.do(550, "SIZE a"), fault.IDNotFound)

	hasID(t, k.putRaw(426, "STOR a", wire[:len(wire)-1]), fault.IDUploadCut) // a cut
	reply := k.do(213, "SIZE a")
	if reply != "213 295904" {
		t.Errorf("SIZE = %q", reply)
	}
	k.do(350, "REST 295904")
	k.putRaw(226, "STOR a", squeezed(content[295_904:]))
	if b, err := st.mem.ReadFile("/a"); string(b) != content || err != nil {
		t.Errorf("after the resume the file holds %d bytes, %v", len(b), err)
	}
}

// The end of the stream is proof, so nobody waits for more; a bare FIN is none.
func TestACompressedUploadPaysNoGrace(t *testing.T) {
	for _, whole := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := seenFrom(t, "198.51.100.7")
			c.rules.CutGrace = time.Minute
			begun := time.Now()
			err := c.whole(t.Context(), transfer.Report{Bytes: 1 << 20, Took: time.Hour, Ended: begun, Whole: whole}, false)
			if waited := time.Since(begun); err != nil || (waited >= time.Minute) == whole {
				t.Errorf("whole %v: waited %v, %v", whole, waited, err)
			}
		})
	}
}

// A client that dies inside of it, and one that dies behind it with the control
// connection gone, leave nothing.
func TestACompressedUploadOfADeadClient(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	for name, part := range map[string]func(string) string{
		"inside": func(s string) string { return s[:len(s)/2] },
		"whole":  func(s string) string { return s },
	} {
		k := st.login()
		k.do(200, "MODE Z")
		nc := k.pasv()
		k.do(150, "STOR "+name)
		_, _ = io.WriteString(nc, part(squeezed(noise(100_000))))
		reset(k.nc)
		st.quiet() // the loss of the control connection is heard while the data connection stands
		nc.Close()
		if _, err := st.mem.ReadFile("/" + name); err == nil {
			t.Errorf("%s: it is published", name)
		}
	}
}

func TestTheQuotaCountsExpandedBytes(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = memfs.New(memfs.Options{MaxBytes: 1 << 20})
	st := newSite(t, s)
	k := st.login()
	k.do(200, "TYPE I")
	k.do(200, "MODE Z")
	hasID(t, k.putRaw(452, "STOR a", squeezed(strings.Repeat("\x00", 64<<20))), fault.IDNoSpace)
	k.do(250, "DELE a") // what is kept of it
	k.putRaw(226, "STOR a", squeezed(strings.Repeat("\x00", 1<<20-5000)))
}

func TestModeZCanBeDenied(t *testing.T) {
	t.Parallel()
	s := plain()
	st := newSite(t, s)
	if feat := st.login().do(211, "FEAT"); !strings.Contains(feat, "\n MODE Z\n") {
		t.Errorf("FEAT = %q", feat)
	}
	s.rules.Deny = []string{"MODE Z"}
	st = newSite(t, s)
	k := st.login()
	if feat := k.do(211, "FEAT"); strings.Contains(feat, "MODE") {
		t.Errorf("FEAT = %q", feat)
	}
	hasID(t, k.do(502, "MODE Z"), fault.IDNotBuilt)
	hasID(t, k.do(502, "OPTS MODE Z LEVEL 5"), fault.IDNotBuilt)
	k.do(200, "MODE S")
	k.put("STOR a", "not compressed")
	if b, err := st.mem.ReadFile("/a"); string(b) != "not compressed" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// A new login does not inherit the mode of the one before.
func TestModeZEndsWithTheLogin(t *testing.T) {
	t.Parallel()
	s := plain()
	s.users = []account.Account{alice, {Name: "bob", Rights: account.Full}}
	st := newSite(t, s)
	k := st.login()
	k.do(200, "MODE Z")
	if reply := k.do(211, "STAT"); !strings.Contains(reply, "MODE: Deflate") {
		t.Errorf("STAT = %q", reply)
	}
	k.as("bob")
	if reply := k.do(211, "STAT"); !strings.Contains(reply, "MODE: Stream") {
		t.Errorf("STAT = %q", reply)
	}
	k.put("STOR a", "not compressed")
}

func TestCompressedUploadsUnderTLSWantTheirCloseNotify(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS = serverTLS()
	st := newSite(t, s)
	k := st.secureLogin(clientTLS())
	k.do(200, "MODE Z")
	nc := k.over(k.pasv()).(*tls.Conn)
	k.do(150, "STOR a")
	_, _ = io.WriteString(nc, squeezed("content"))
	_ = nc.NetConn().(*net.TCPConn).CloseWrite()
	hasID(t, k.hear(426), fault.IDTLSNoClose)
	nc.Close()
}
