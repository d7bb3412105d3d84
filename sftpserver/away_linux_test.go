package sftpserver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dray/sftp"
)

// A real file that is not in memory is read whole.
func TestAColdFile(t *testing.T) {
	st := newStage(t)
	content := strings.Repeat("0123456789abcdef", 1<<16)
	st.put("f", content)
	f, err := os.Open(filepath.Join(st.dir, "f"))
	need(t, err)
	defer f.Close()
	need(t, errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)))
	w := st.newWire()
	h := w.open("f", sftp.OpenRead)
	const piece = 32 << 10
	got := make([]byte, len(content))
	for i := range uint32(len(content) / piece) {
		w.send((&sftp.Request{Type: sftp.TypeRead, ID: i, Handle: h, Offset: uint64(i) * piece, Length: piece}).Append(nil))
	}
	for range len(content) / piece {
		p := w.receive()
		copy(got[p.ID*piece:], p.Data)
	}
	if string(got) != content {
		t.Error("another file came")
	}
}
