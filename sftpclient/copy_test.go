package sftpclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/fault"
	"dray/meter"
	"dray/sftp"
	"dray/transfer"
)

// copies makes s a server that copies by itself.
func (s *fake) copies() {
	s.announce(sftp.ExtCopyData)
	s.says = func(q *sftp.Request, _ []byte) []byte {
		if string(q.Extension) != sftp.ExtCopyData {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		from, to := s.handles[string(q.Handle)], s.handles[string(q.Into)]
		b := s.files[from][q.Offset : q.Offset+q.Size]
		s.files[to] = append(s.files[to][:q.At], b...)
		return status(q, sftp.OK, "")
	}
}

// Nothing of a file that the server copies goes over the line, and the copy has the
// mode and time that it shall have.
func TestAServerCopiesByItself(t *testing.T) {
	for name, make := range map[string]func(testing.TB, Options) (*Client, string){"dray": dray, "OpenSSH": openssh} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var said []string
			c, dir := make(t, Options{Trace: Trace{Sent: func(line string) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, line)
			}}})
			when := time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)
			for _, size := range []int{0, 1, 100_000, 2*copyPiece + 5} {
				want := random(size)
				need(t, os.WriteFile(filepath.Join(dir, "from"), want, 0o644))
				var count meter.Counter
				rep, err := c.Copy(t.Context(), filepathOf(name, dir, "from"), filepathOf(name, dir, "to"), Store{Mode: 0o640, MTime: when}, transfer.Options{Meter: &count, Idle: 30 * time.Second})
				if err != nil || !rep.Whole || rep.Bytes != int64(size) || count.Bytes() != int64(size) {
					t.Fatalf("Copy of %d bytes = %+v, %v; %d were booked", size, rep, err, count.Bytes())
				}
				got, err := os.ReadFile(filepath.Join(dir, "to"))
				need(t, err)
				if !bytes.Equal(got, want) {
					t.Errorf("Copy of %d bytes made %d others", size, len(got))
				}
				fi, err := os.Stat(filepath.Join(dir, "to"))
				need(t, err)
				if fi.Mode().Perm() != 0o640 || !fi.ModTime().Equal(when) {
					t.Errorf("the copy is %v of %v", fi.Mode(), fi.ModTime())
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for _, line := range said {
				if strings.HasPrefix(line, "READ ") || strings.HasPrefix(line, "WRITE ") {
					t.Errorf("bytes went over the line: %s", line)
				}
			}
			if len(said) == 0 {
				t.Error("nothing was seen")
			}
		})
	}
}

// filepathOf is a path as the server takes it: dray's shows the directory as its root.
func filepathOf(server, dir, name string) string {
	if server == "dray" {
		return "/" + name
	}
	return filepath.Join(dir, name)
}

// As many copies as there may be, each of which needs two handles, do not wait for each
// other for ever.
func TestManyCopiesShareFewHandles(t *testing.T) {
	s := newFake()
	s.copies()
	c := s.dial(t, Options{Handles: 3})
	s.put("from", random(1000))
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if _, err := c.Copy(t.Context(), "from", fmt.Sprint("to", i), Store{}, transfer.Options{}); err != nil {
				t.Errorf("Copy: %v", err)
			}
		})
	}
	all.Wait()
	if n := int64(len(c.handles)) - c.left.Load(); n != 0 {
		t.Errorf("%d places of handles are taken at the end", n)
	}
	one := s.dial(t, Options{Handles: 1})
	if _, err := one.Copy(t.Context(), "from", "to", Store{}, transfer.Options{}); idOf(err) != fault.IDUnsupported {
		t.Errorf("Copy with one handle: %v", err)
	}
}

// However many large files are copied, the server has few pieces in its queue, and none
// is given up because others are before it.
func TestLargeCopiesQueueHere(t *testing.T) {
	s := newFake()
	s.announce(sftp.ExtCopyData)
	sizes := map[string]uint64{}
	var mu sync.Mutex
	s.says = func(q *sftp.Request, _ []byte) []byte {
		s.mu.Lock()
		name := s.handles[string(q.Handle)]
		into := s.handles[string(q.Into)]
		s.mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		switch {
		case string(q.Extension) == sftp.ExtCopyData:
			sizes[into] += q.Size
			time.Sleep(10 * time.Millisecond)
			return status(q, sftp.OK, "")
		case q.Type == sftp.TypeFstat && name == "from":
			return sftp.AppendAttrs(nil, q.ID, &sftp.Attributes{Flags: sftp.HasSize, Size: 3 * copyPiece})
		case q.Type == sftp.TypeFstat:
			return sftp.AppendAttrs(nil, q.ID, &sftp.Attributes{Flags: sftp.HasSize, Size: sizes[name]})
		}
		return nil
	}
	c := s.dial(t, Options{})
	s.put("from", nil)
	var all sync.WaitGroup
	for i := range 30 { // 90 pieces, of 10 ms each
		all.Go(func() {
			if _, err := c.Copy(t.Context(), "from", fmt.Sprint("to", i), Store{}, transfer.Options{Idle: 500 * time.Millisecond}); err != nil {
				t.Errorf("Copy: %v", err)
			}
		})
	}
	all.Wait()
	if c.copies.used != 0 {
		t.Errorf("%d bytes are taken at the end", c.copies.used)
	}
}

func TestCopiesThatFail(t *testing.T) {
	for _, try := range []struct {
		name string
		says func(s *fake, q *sftp.Request) []byte
		idle time.Duration
		kind fault.Kind
		id   fault.ID
	}{
		{"the server copies less than it says", func(s *fake, q *sftp.Request) []byte { return status(q, sftp.OK, "") }, 0, fault.Cut, fault.IDShortFile},
		{"it refuses", func(s *fake, q *sftp.Request) []byte { return status(q, sftp.OpUnsupported, "no") }, 0, fault.Unsupported, fault.IDUnsupported},
		{"it fails", func(s *fake, q *sftp.Request) []byte { return status(q, sftp.Failure, "Failure") }, 0, fault.Unsupported, fault.IDServerSaysNo},
		{"it is full", func(s *fake, q *sftp.Request) []byte { return status(q, sftp.Failure, "no space left") }, 0, fault.NoSpace, fault.IDNoSpace},
		{"it says nothing", func(s *fake, q *sftp.Request) []byte { return []byte{} }, 50 * time.Millisecond, fault.Stalled, fault.IDStall},
	} {
		for _, leave := range []bool{false, true} {
			s := newFake()
			s.copies()
			s.says = func(q *sftp.Request, _ []byte) []byte {
				if string(q.Extension) == sftp.ExtCopyData {
					return try.says(s, q)
				}
				return nil
			}
			c := s.dial(t, Options{})
			s.put("from", random(1000))
			rep, err := c.Copy(t.Context(), "from", "to", Store{LeaveOpen: leave}, transfer.Options{Idle: try.idle})
			if fault.KindOf(err) != try.kind || idOf(err) != try.id || rep.Whole {
				t.Errorf("%s: %+v, %v; want %s", try.name, rep, err, try.id)
			}
			if _, err := c.Stat(t.Context(), "from"); err != nil { // behind the CLOSEs
				t.Errorf("%s: the session: %v", try.name, err)
			}
			want := 0
			if leave {
				want = 1
			}
			if n := s.open(); n != want {
				t.Errorf("%s: %d handles are open; want %d", try.name, n, want)
			}
		}
	}
	s := newFake()
	s.copies()
	c := s.dial(t, Options{})
	if _, err := c.Copy(t.Context(), "none", "to", Store{}, transfer.Options{}); idOf(err) != fault.IDNotFound || s.file("to") != nil {
		t.Errorf("Copy of nothing: %v", err)
	}
	if _, err := newFake().dial(t, Options{}).Copy(t.Context(), "a", "b", Store{}, transfer.Options{}); idOf(err) != fault.IDUnsupported {
		t.Errorf("Copy where there is none: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := c.Copy(ctx, "a", "b", Store{}, transfer.Options{}); !errors.Is(err, why) {
		t.Errorf("Copy that was ended: %v", err)
	}
}

// Servers that have copy-file alone copy by names.
func TestCopiesByNames(t *testing.T) {
	s := newFake()
	s.announce(extCopyFile)
	short := false
	s.says = func(q *sftp.Request, _ []byte) []byte {
		if string(q.Extension) != extCopyFile {
			return nil
		}
		var names []string
		b := q.Data
		for range 2 {
			n := binary.BigEndian.Uint32(b)
			names = append(names, string(b[4:4+n]))
			b = b[4+n:]
		}
		if !bytes.Equal(b, []byte{1}) {
			return status(q, sftp.BadMessage, "no overwrite")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.files[names[1]] = slices.Clone(s.files[names[0]])
		if short {
			s.files[names[1]] = s.files[names[1]][:10]
		}
		return status(q, sftp.OK, "")
	}
	c := s.dial(t, Options{})
	want := random(5000)
	s.put("from", want)
	var count meter.Counter
	rep, err := c.Copy(t.Context(), "from", "to", Store{Mode: 0o600, MTime: time.Now()}, transfer.Options{Meter: &count, Idle: time.Second})
	if err != nil || !rep.Whole || rep.Bytes != 5000 || count.Bytes() != 5000 || !bytes.Equal(s.file("to"), want) {
		t.Errorf("Copy = %+v, %v; %d booked", rep, err, count.Bytes())
	}
	short = true
	if rep, err := c.Copy(t.Context(), "from", "to", Store{}, transfer.Options{}); idOf(err) != fault.IDShortFile || rep.Whole {
		t.Errorf("Copy that is short = %+v, %v", rep, err)
	}
}
