package sftpclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"dray/fault"
	"dray/sftp"
)

// Limits of a listing, against a server that never ends one.
const (
	maxNames  = 2_000_000 // whoever asks keeps all of them
	maxName   = 4096      // bytes
	maxEmpty  = 100       // answers without a name
	firstAsks = 3         // READDIRs under way at the beginning
	mostAsks  = 4
)

// An Entry is one name of a directory, as the server tells it: nobody has checked
// that it can be a name here. Long is the line of ls -l.
type Entry struct {
	Name, Long string
	Attrs      sftp.Attributes
}

// List yields the entries of a directory as they come, without "." and "..". The
// last may be an error: of id partial-listing when entries came before it. Several
// READDIRs are under way at once; none is asked while the entries of the last ones
// are not taken.
func (c *Client) List(ctx context.Context, dir string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		h, err := c.open(ctx, &sftp.Request{Type: sftp.TypeOpendir, Path: []byte(dir)}, dir)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		l := &listing{c: c, dir: dir, handle: h, wake: make(chan struct{}, 1)}
		defer func() {
			c.leaveAll(l, 0)
			c.shut(h)
		}()
		names := 0
		for {
			batch, over, err := l.next(ctx)
			for _, e := range batch {
				names++
				if !yield(e, nil) {
					return
				}
			}
			switch {
			case err != nil:
				var said *StatusError
				if names > 0 && errors.As(err, &said) {
					err = fault.Because(err, fault.Cut, fault.IDListingCut, dir)
				}
				yield(Entry{}, err)
				return
			case over:
				return
			}
		}
	}
}

// A listing is one directory that is being read.
type listing struct {
	c      *Client
	dir    string
	handle []byte
	wake   chan struct{}

	mu    sync.Mutex
	came  []Entry
	under int  // READDIRs without an answer
	ended bool // EOF
	err   error
	count int // names in all
	full  int // answers with names
	empty int // and without, one behind the other
}

// ask sends READDIRs. Most directories end with the third at most (OpenSSH tells 100 names at once), so there are no more
// until all have brought names: the end is known when all are answered.
func (l *listing) ask() {
	l.mu.Lock()
	n := mostAsks
	switch {
	case l.ended || l.err != nil:
		n = 0
	case l.full < firstAsks && l.under == 0:
		n = firstAsks
	case l.full < firstAsks:
		n = 0
	}
	more := max(n-l.under, 0)
	l.under += more
	l.mu.Unlock()
	for range more {
		if _, err := l.c.ask(&sftp.Request{Type: sftp.TypeReaddir, Handle: l.handle}, asked{by: l}); err != nil {
			return // next finds it
		}
	}
}

// next waits for entries, for the end or for an error.
func (l *listing) next(ctx context.Context) (batch []Entry, over bool, err error) {
	for {
		l.ask()
		l.mu.Lock()
		batch, l.came = l.came, nil
		over, err = l.ended && l.under == 0, l.err
		l.mu.Unlock()
		if len(batch) > 0 || over || err != nil {
			return batch, over, err
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		case <-l.c.dead:
			select {
			case <-l.wake: // what came last
			default:
				return nil, false, l.c.err
			}
		}
	}
}

func (l *listing) take(p *sftp.Reply, _ asked) error {
	if err := fits(p, sftp.TypeName); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}()
	l.under--
	switch {
	case p.Type == sftp.TypeName:
		return l.add(p.Names)
	case p.Code == sftp.EOF:
		l.ended = true
	case !l.ended && l.err == nil: // behind the end some servers know the handle no more
		l.err = l.c.refused(&sftp.Request{Type: sftp.TypeReaddir}, l.dir, p)
	}
	return nil
}

// add copies what came. An error is a server that does not end.
func (l *listing) add(names []sftp.Name) error {
	if len(names) == 0 {
		if l.empty++; l.empty > maxEmpty {
			return fmt.Errorf("%d answers without a name to READDIR", l.empty)
		}
	} else {
		l.full++
		l.empty = 0
	}
	if l.count += len(names); l.count > l.c.names {
		return fmt.Errorf("more than %d names in a directory", l.c.names)
	}
	if l.came == nil {
		l.came = make([]Entry, 0, len(names))
	}
	for i := range names {
		n := &names[i]
		if len(n.Name) > maxName {
			return fmt.Errorf("a name of %d bytes", len(n.Name))
		}
		if s := string(n.Name); s != "." && s != ".." {
			l.came = append(l.came, Entry{Name: s, Long: string(n.Long[:min(len(n.Long), 2*maxName)]), Attrs: n.Attrs})
		}
	}
	return nil
}
