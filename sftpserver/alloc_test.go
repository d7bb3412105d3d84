package sftpserver

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"

	"dray/account"
	"dray/sftp"
	"dray/vfs"
	"dray/vfs/osfs"
)

// raced is true under the race detector, where pools forget on purpose.
var raced bool

// A sink says what it was given, and throws away what it hears.
type sink struct {
	*script
	in  []byte
	got int
}

func (s *sink) Read(b []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *sink) Write(b []byte) (int, error) {
	s.got += len(b)
	return len(b), nil
}

// Requests that move bytes and READDIR make no garbage, however many they are: not for
// a packet, not for an entry.
func TestRequestsDoNotAllocate(t *testing.T) { // not beside others, which allocate
	if raced {
		t.Skip("the race detector makes pools forget; ./test runs this without it")
	}
	dir := t.TempDir()
	need(t, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<20), 0o600))
	for _, name := range []string{"few", "many"} {
		need(t, os.Mkdir(filepath.Join(dir, name), 0o700))
	}
	for i := range 4000 {
		name := fmt.Sprintf("a name that is as long as some are %04d", i)
		if i < 100 {
			need(t, os.WriteFile(filepath.Join(dir, "few", name), nil, 0o600))
		}
		need(t, os.WriteFile(filepath.Join(dir, "many", name), nil, 0o600))
	}
	disk := osfs.NewDisk(osfs.SyncNone, slog.New(slog.DiscardHandler))
	c := offline(t, account.All, func() (vfs.FS, error) { return disk.Open(dir) })

	// allocations is what n requests cost behind those that open something.
	allocations := func(open sftp.Request, many func(h []byte, n int) []byte, n int) int64 {
		ch := &sink{script: &script{}}
		d := &dialogue{conn: c, ctx: t.Context(), ch: &paced{Channel: ch, conn: c}, session: c.session, in: make([]byte, idleBytes)}
		defer d.end()
		open.ID = 1
		ch.in = open.Append((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
		if err := d.run(); err != io.EOF {
			t.Fatal(err)
		}
		wire, err := handleOf(d)
		need(t, err)
		ch.in, ch.got = many(wire, n), 0
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err = d.run()
		runtime.ReadMemStats(&after)
		if err != io.EOF || ch.got < n*20 {
			t.Fatalf("%d bytes of answers to %d requests: %v", ch.got, n, err)
		}
		return int64(after.Mallocs - before.Mallocs)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would empty the pools
	data := bytes.Repeat([]byte("x"), 32<<10)
	for _, tt := range []struct {
		name string
		open sftp.Request
		one  sftp.Request
	}{
		{"READ", sftp.Request{Type: sftp.TypeOpen, Path: []byte("f"), Flags: sftp.OpenRead}, sftp.Request{Type: sftp.TypeRead, Length: 32 << 10}},
		{"WRITE beside", sftp.Request{Type: sftp.TypeOpen, Path: []byte("new"), Flags: makes}, sftp.Request{Type: sftp.TypeWrite, Data: data}},
		{"WRITE in place", sftp.Request{Type: sftp.TypeOpen, Path: []byte("f"), Flags: sftp.OpenWrite}, sftp.Request{Type: sftp.TypeWrite, Data: data}},
	} {
		many := func(h []byte, n int) []byte {
			tt.one.Handle = h
			return bytes.Repeat(tt.one.Append(nil), n)
		}
		few, lots := allocations(tt.open, many, 10), allocations(tt.open, many, 1010)
		if more := lots - few; more > 50 {
			t.Errorf("%s: %d allocations for 1,000 packets", tt.name, more)
		}
	}
	readdir := func(h []byte, n int) []byte {
		return bytes.Repeat((&sftp.Request{Type: sftp.TypeReaddir, Handle: h}).Append(nil), n)
	}
	opendir := func(name string) sftp.Request { return sftp.Request{Type: sftp.TypeOpendir, Path: []byte(name)} }
	few, lots := allocations(opendir("few"), readdir, 30), allocations(opendir("many"), readdir, 30)
	if more := lots - few; more > 50 {
		t.Errorf("READDIR: %d allocations for 3,900 entries", more)
	}
}

// handleOf is the one open handle.
func handleOf(d *dialogue) ([]byte, error) {
	for i, h := range d.handles.slots {
		if h != nil {
			return append([]byte{0, 0, 0, byte(i)}, byte(h.tag>>24), byte(h.tag>>16), byte(h.tag>>8), byte(h.tag)), nil
		}
	}
	return nil, errHandle
}
