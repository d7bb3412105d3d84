package ftpserver

import (
	"io"
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
