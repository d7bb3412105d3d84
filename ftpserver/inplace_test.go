package ftpserver

import (
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/transfer"
)

// onBoth runs a test against alice with in-place uploads, in memory and on disk.
func onBoth(t *testing.T, test func(t *testing.T, st *site)) {
	t.Parallel()
	for _, tree := range []string{"mem", "os"} {
		t.Run(tree, func(t *testing.T) {
			s := plain()
			s.users = []account.Account{{Name: "alice", Rights: account.Full, Uploads: account.UploadsInPlace}}
			s.rules.DataWait = 200 * time.Millisecond
			if tree == "os" {
				s.tree, _ = onDisk(t)
			}
			test(t, newSite(t, s))
		})
	}
}

func TestAnUploadInPlaceGrowsBeforeEverybodysEyes(t *testing.T) {
	onBoth(t, func(t *testing.T, st *site) {
		a, b := st.login(), st.login()
		a.do(200, "TYPE I")
		b.do(200, "TYPE I")
		first := a.pasv()
		a.do(150, "STOR f")
		for _, command := range []string{"STOR f", "APPE f"} {
			second := b.pasv()
			hasID(t, b.do(450, command), fault.IDInUse)
			second.Close()
		}
		content := noise(1 << 20)
		if _, err := io.WriteString(first, content); err != nil {
			t.Fatal(err)
		}
		// All but the last buffer of what came, which waits to be full.
		st.eventually("b sees it grow", func() bool {
			size, err := strconv.Atoi(strings.TrimPrefix(b.do(213, "SIZE f"), "213 "))
			return err == nil && size >= len(content)/2
		})
		if got := b.get("RETR f"); len(got) < len(content)/2 || !strings.HasPrefix(content, got) {
			t.Errorf("f has %d bytes in the middle; want the beginning of what was sent", len(got))
		}
		_ = finish(first)
		a.hear(226)
		b.put("STOR f", "next")
		if got := a.get("RETR f"); got != "next" {
			t.Errorf("f = %q", got)
		}
	})
}

// Nobody connects to the port that was told, as behind a packet filter.
func TestABlockedPortDestroysNothingInPlace(t *testing.T) {
	onBoth(t, func(t *testing.T, st *site) {
		k := st.login()
		k.put("STOR f", "the old one")
		for _, command := range []string{"STOR f", "APPE f", "STOR new", "STOU new"} {
			k.do(227, "PASV")
			hasID(t, k.do(425, command), fault.IDDataBlocked)
		}
		if got := k.get("RETR f"); got != "the old one" {
			t.Errorf("f = %q", got)
		}
		k.do(550, "SIZE new")
		k.put("STOR new", "and now it is free")
	})
}

func TestTheRoadOfUploadsInPlace(t *testing.T) {
	onBoth(t, func(t *testing.T, st *site) {
		k := st.login()
		k.do(200, "TYPE I")
		want := transfer.RoadCopy
		if st.mem == nil {
			want = transfer.RoadKernel
		}
		for _, size := range []int{300_000, 200_000} { // a new file, and over an old one
			content := noise(size)
			k.put("STOR f", content)
			if got := k.get("RETR f"); got != content {
				t.Errorf("%d bytes came back of %d", len(got), size)
			}
		}
		for _, e := range st.events.transfers() {
			if e.Road != string(want) || !e.Whole {
				t.Errorf("%+v; want it whole by the road %s", e, want)
			}
		}
	})
}

// What the client is told of a refused upload is what it finds: with uploads in
// place its old file is gone, and in their place what came is there.
func TestTheReplyToABrokenUploadTellsWhatBecameOfTheFile(t *testing.T) {
	t.Parallel()
	const nothing = "nothing was published"
	for _, tt := range []struct {
		uploads, bare, stream, added string
	}{
		{"", nothing, nothing, nothing},
		{account.UploadsInPlace, "the file itself has 4 bytes now", "the file itself has 0 bytes now", "the file itself has 8 bytes now"},
	} {
		s := plain()
		s.rules.TLS = serverTLS()
		s.users = []account.Account{{Name: "alice", Rights: account.Full, Uploads: tt.uploads}}
		st := newSite(t, s)
		k := st.secureLogin(clientTLS())
		k.do(200, "TYPE I")
		for _, try := range []struct{ mode, command, wire, says, left string }{
			{"S", "STOR f", "four", tt.bare, "four"},
			{"Z", "STOR f", "no zlib stream", tt.stream, ""},
			{"Z", "APPE f", "no zlib stream", tt.added, "old file"},
		} {
			if err := st.mem.WriteFile("/f", []byte("old file")); err != nil {
				t.Fatal(err)
			}
			k.do(200, "MODE "+try.mode)
			id := fault.IDDeflate
			nc := k.over(k.pasv()).(*tls.Conn)
			k.do(150, try.command)
			_, _ = io.WriteString(nc, try.wire)
			if try.mode == "S" {
				id = fault.IDTLSNoClose
				_ = nc.NetConn().(*net.TCPConn).CloseWrite()
			} else {
				_ = nc.CloseWrite()
			}
			reply := k.hear(426)
			nc.Close()
			hasID(t, reply, id)
			if !strings.Contains(reply, try.says) || try.says != nothing && strings.Contains(reply, "published") {
				t.Errorf("uploads %q, MODE %s, %s: %q; want %q in it", tt.uploads, try.mode, try.command, reply, try.says)
			}
			want := try.left
			if tt.uploads == "" {
				want = "old file"
			}
			if got, err := st.mem.ReadFile("/f"); err != nil || string(got) != want {
				t.Errorf("uploads %q, MODE %s, %s: the file holds %q, %v; want %q", tt.uploads, try.mode, try.command, got, err, want)
			}
			k.do(250, "DELE f") // and what is kept beside it
		}
	}
}
