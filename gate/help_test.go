package gate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/guard"
	"dray/transfer"
	"dray/vfs"
	"dray/vfs/memfs"
)

// right is the password of every account.
const right = "right"

// people is a Verifier that counts how often it is asked.
type people struct {
	mu     sync.Mutex
	known  map[string]account.Account
	asked  int
	broken error
	slow   bool // refusals take a second, as those of a Checker do
}

func (p *people) Verify(ctx context.Context, name string, s account.Secret, _ netip.Addr, bar account.Bar) (account.Account, error) {
	a, err := p.verify(name, s)
	if err == nil {
		if why := bar(&a); why != "" {
			a, err = account.Account{}, fmt.Errorf("%w: %s", account.ErrWrong, why)
		}
	}
	if p.slow && errors.Is(err, account.ErrWrong) {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return a, context.Cause(ctx)
		}
	}
	return a, err
}

func (p *people) verify(name string, s account.Secret) (account.Account, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	if p.broken != nil {
		return account.Account{}, p.broken
	}
	a, ok := p.known[name]
	if !ok || s.Reveal() != right && !a.Anonymous {
		return account.Account{}, account.ErrWrong
	}
	return a, nil
}

// seen is a Sink that remembers.
type seen struct {
	mu  sync.Mutex
	all []any
}

func (s *seen) Event(_ context.Context, e any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, e)
}

// take returns the events since the last call.
func (s *seen) take() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.all
	s.all = nil
	return all
}

// A house is a gate with one tree behind it.
type house struct {
	t      testing.TB
	tree   *memfs.Tree
	gate   *Gate
	people *people
	events *seen
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, tree: memfs.New(memfs.Options{}), people: &people{known: map[string]account.Account{}}, events: &seen{}}
	h.gate = &Gate{
		Guard: guard.New(guard.Limits{}, nil), Verifier: h.people, Events: h.events,
		Trees: func(context.Context, account.Account) (vfs.FS, error) { return h.tree, nil },
	}
	return h
}

var (
	here  = netip.MustParseAddrPort("192.0.2.1:21")
	alice = netip.MustParseAddrPort("198.51.100.7:40000")
	bob   = netip.MustParseAddrPort("203.0.113.9:40000")
	open  = &Door{Name: "test", Protocol: "ftp", Plain: true}
	safe  = &Door{Name: "test", Protocol: "ftp"}
)

func (h *house) knock(from netip.AddrPort, d *Door) *Visit {
	h.t.Helper()
	v, err := h.gate.Knock(Peer{Remote: from, Local: here, Door: d})
	need(h.t, err)
	h.t.Cleanup(v.Leave)
	return v
}

// login brings a in.
func (h *house) login(a account.Account) *Session {
	h.t.Helper()
	h.people.known[a.Name] = a
	s, err := h.knock(alice, open).Password(h.t.Context(), a.Name, account.NewSecret(right))
	need(h.t, err)
	h.t.Cleanup(s.Close)
	h.events.take()
	return s
}

// anna may do everything.
func (h *house) anna() *Session {
	h.t.Helper()
	return h.login(account.Account{Name: "anna", Rights: account.Full})
}

func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func at(t testing.TB, s string) vfs.Path {
	t.Helper()
	p, err := vfs.Resolve(vfs.Root, s)
	need(t, err)
	return p
}

// is wants an error of a kind, with the id; "" wants none.
func is(t testing.TB, doing string, err error, kind fault.Kind, id fault.ID) {
	t.Helper()
	if id == "" {
		if err != nil {
			t.Errorf("%s = %v, want no error", doing, err)
		}
		return
	}
	if e := fault.Of(err); err == nil || e.Kind != kind || e.ID != id {
		t.Errorf("%s = %v (kind %d), want kind %d, id %s", doing, err, fault.KindOf(err), kind, id)
	}
}

func always(context.Context) error { return nil }

var errGone = fault.New(fault.Cut, fault.IDUploadCut)

// put writes size bytes to an upload as a transfer does and reports them. An
// error is the meter's or the tree's.
func put(t testing.TB, up *Upload, size int64) (transfer.Report, error) {
	t.Helper()
	m, off, left := up.Meter(), up.Dest().Offset(), size
	rep := func() transfer.Report {
		return transfer.Report{Bytes: size - left, Took: time.Second, Road: transfer.RoadCopy}
	}
	for left > 0 {
		n, err := m.Take(t.Context(), min(left, 64<<10))
		if err != nil {
			return rep(), err
		}
		if n < 1 || n > left {
			t.Fatalf("Take(%d) = %d", min(left, 64<<10), n)
		}
		_, err = up.Dest().WriteAt(bytes.Repeat([]byte("x"), int(n)), off)
		if err != nil {
			m.Done(n, 0)
			return rep(), err
		}
		m.Done(n, n)
		off, left = off+n, left-n
	}
	return rep(), nil
}

// store uploads size bytes and publishes them.
func store(t testing.TB, s *Session, name string, how vfs.Create, size int64) error {
	t.Helper()
	up, err := s.Create(t.Context(), at(t, name), how)
	if err != nil {
		return err
	}
	rep, err := put(t, up, size)
	if err != nil {
		return up.Cut(t.Context(), rep, err)
	}
	return up.Commit(t.Context(), rep, always)
}

// cut uploads size bytes and loses the client.
func cut(t testing.TB, s *Session, name string, how vfs.Create, size int64) {
	t.Helper()
	up, err := s.Create(t.Context(), at(t, name), how)
	need(t, err)
	rep, err := put(t, up, size)
	if err != nil {
		t.Fatal(err)
	}
	is(t, "Cut", up.Cut(t.Context(), rep, errGone), fault.Cut, fault.IDUploadCut)
}

// partial is the size of the account's partial, -1 when there is none.
func partial(t testing.TB, s *Session, name string) int64 {
	t.Helper()
	fi, err := s.Partial(t.Context(), at(t, name))
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	need(t, err)
	return fi.Size()
}

// finished is the size of what others see, -1 when there is nothing.
func finished(t testing.TB, s *Session, name string) int64 {
	t.Helper()
	fi, err := s.Finished(t.Context(), at(t, name))
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	need(t, err)
	return fi.Size()
}

// entries lists a directory as the session sees it.
func entries(t testing.TB, s *Session, dir string) []string {
	t.Helper()
	var names []string
	for fi, err := range s.List(t.Context(), at(t, dir)) {
		need(t, err)
		names = append(names, fi.Name())
	}
	return names
}

// snapshot is all that a tree shows, and how much room it takes.
func snapshot(t testing.TB, tree vfs.FS) string {
	t.Helper()
	var b strings.Builder
	var walk func(p vfs.Path)
	walk = func(p vfs.Path) {
		for fi, err := range tree.List(t.Context(), p) {
			need(t, err)
			q, err := p.Join(fi.Name())
			need(t, err)
			fmt.Fprintln(&b, q, fi.Mode(), fi.Size(), fi.ModTime().UnixNano())
			if fi.IsDir() {
				walk(q)
			} else if f, err := tree.Open(t.Context(), q); err == nil {
				_, err := io.Copy(&b, io.NewSectionReader(f, 0, fi.Size()))
				need(t, errors.Join(err, f.Close()))
			}
		}
	}
	walk(vfs.Root)
	free, _, err := tree.(vfs.Spacer).Space(t.Context(), vfs.Root)
	need(t, err)
	fmt.Fprintln(&b, "free", free)
	return b.String()
}

// of returns the events of type E.
func of[E any](all []any) []E {
	var out []E
	for _, e := range all {
		if e, ok := e.(E); ok {
			out = append(out, e)
		}
	}
	return out
}

// one wants exactly one event, of type E, with a plausible Meta, and returns it.
func one[E any](t testing.TB, all []any, user string) E {
	t.Helper()
	got := of[E](all)
	if len(all) != 1 || len(got) != 1 {
		t.Fatalf("events %+v; want one %T", all, *new(E))
	}
	m := reflect.ValueOf(got[0]).FieldByName("Meta").Interface().(event.Meta)
	if m.Time.IsZero() || m.Session == "" || !slices.Contains([]string{"ftp", ProtocolSFTP}, m.Protocol) || m.User != user || !slices.Contains([]netip.AddrPort{alice, bob}, m.Remote) {
		t.Errorf("the event says of its connection %+v; user should be %q", m, user)
	}
	return got[0]
}

func secured(v *Visit) *Visit {
	v.Secured(tls.ConnectionState{})
	return v
}
