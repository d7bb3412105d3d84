package sftpserver

import (
	"bytes"
	"runtime/debug"
	"testing"
	"time"

	"dray/sftp"
)

// A client that asks on all of its channels and takes no answer has the server hold
// no more of it than the bound, and may go on when it takes them.
func TestManyChannelsAreBounded(t *testing.T) {
	st := newStage(t)
	st.put("f", string(make([]byte, 1<<20)))
	c := st.dial()
	var channels []*wireClient
	var handles [][]byte
	for range 8 {
		w := open(t, c)
		w.send((&sftp.Request{Type: sftp.TypeInit, Version: 3}).Append(nil))
		w.receive()
		channels, handles = append(channels, w), append(handles, w.open("f", sftp.OpenRead))
	}
	for i, w := range channels {
		q := (&sftp.Request{Type: sftp.TypeRead, ID: 9, Handle: handles[i], Length: 32 << 10}).Append(nil)
		go func() {
			many := bytes.Repeat(q, 20_000) // half a MiB
			for range 4 {
				if _, err := w.ch.Write(many); err != nil {
					return
				}
			}
		}()
	}
	var most int64
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for _, c := range st.server.loop.Conns() {
			most = max(most, c.(*conn).wire.ahead.Load())
		}
	}
	if most < hardAhead/2 || most > hardAhead+64<<10 { // the last packet may be the one too many
		t.Errorf("%d bytes were ahead", most)
	}
}

// In a crowd garbage is collected early, and not before and behind it; nobody's own
// setting becomes larger by it.
func TestACrowdIsThrifty(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	for was, crowded := range map[int]int{100: thriftPercent, 400: thriftPercent, 20: 20, -1: -1} {
		before := debug.SetGCPercent(was)
		rushing.Store(0)
		for n := range int64(crowd + 3) {
			if p := percent(); n <= crowd && p != was {
				t.Errorf("GOGC=%d: it is %d with %d that come", was, p, n)
			}
			rush(1)
		}
		for rushing.Load() > 0 {
			want := crowded
			if rushing.Load() <= crowd/2 {
				want = was
			}
			if p := percent(); p != want {
				t.Errorf("GOGC=%d: it is %d with %d that go; want %d", was, p, rushing.Load(), want)
			}
			rush(-1)
		}
		debug.SetGCPercent(before)
	}
}

// What a connection has ahead is not exact: it must not be held for ever for what
// nobody will read.
func TestNobodyIsHeldForEver(t *testing.T) {
	for name, tt := range map[string]struct{ programs, reading, writing int32 }{
		"one that only writes":            {1, 0, 1},
		"one that reads, beside a silent": {2, 1, 0},
		"one that writes, beside another": {2, 1, 1},
	} {
		w := newWire(nil)
		w.programs.Store(tt.programs)
		w.inflow.reading.Store(tt.reading)
		w.inflow.writing.Store(tt.writing)
		w.ahead.Store(hardAhead + slowAhead - 1)
		held := make(chan struct{})
		go func() {
			w.hold()
			close(held)
		}()
		select {
		case <-held:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: held", name)
			w.release()
		}
	}
}
