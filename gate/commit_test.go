package gate

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/transfer"
	"dray/vfs"
	"dray/vfs/memfs"
)

// A slowTree is a tree whose uploads tell what is asked of them and when, and
// fail or wait where the test wants it.
type slowTree struct {
	*memfs.Tree
	steps []string
	at    map[string]func(ctx context.Context) error // before a step
}

func (s *slowTree) Create(ctx context.Context, p vfs.Path, how vfs.Create) (vfs.Upload, error) {
	up, err := s.Tree.Create(ctx, p, how)
	if err != nil {
		return nil, err
	}
	return &slowUpload{up, s}, nil
}

func (s *slowTree) step(ctx context.Context, name string) error {
	s.steps = append(s.steps, name)
	if f := s.at[name]; f != nil {
		return f(ctx)
	}
	return nil
}

type slowUpload struct {
	vfs.Upload
	tree *slowTree
}

func (u *slowUpload) Sync(ctx context.Context) error {
	if err := u.tree.step(ctx, "sync"); err != nil {
		return err
	}
	return u.Upload.Sync(ctx)
}

func (u *slowUpload) Commit(ctx context.Context) error {
	if err := u.tree.step(ctx, "commit"); err != nil {
		return err
	}
	return u.Upload.Commit(ctx)
}

func (u *slowUpload) Cut() error {
	if err := u.tree.step(context.Background(), "cut"); err != nil {
		return err
	}
	return u.Upload.Cut()
}

func (u *slowUpload) Discard() error {
	if err := u.tree.step(context.Background(), "discard"); err != nil {
		return err
	}
	return u.Upload.Discard()
}

// slow is a session on a slowTree in which /a is to be replaced by 10,000 bytes
// that have come.
func slow(t *testing.T) (*house, *slowTree, *Session, *Upload, transfer.Report) {
	h := newHouse(t)
	need(t, h.tree.WriteFile("/a", []byte("old")))
	tree := &slowTree{Tree: h.tree, at: map[string]func(context.Context) error{}}
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return tree, nil }
	s := h.anna()
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	rep := must(put(t, up, 10_000))
	return h, tree, s, up, rep
}

func TestStillIsAskedBetweenTheSyncAndTheRename(t *testing.T) {
	h, tree, s, up, rep := slow(t)
	still := func(ctx context.Context) error {
		if got := finished(t, s, "/a"); got != 3 {
			t.Errorf("the name shows %d bytes before the decision", got)
		}
		return tree.step(ctx, "still")
	}
	need(t, up.Commit(t.Context(), rep, still))
	if want := []string{"sync", "still", "commit"}; !slices.Equal(tree.steps, want) {
		t.Errorf("steps %q, want %q", tree.steps, want)
	}
	if got := finished(t, s, "/a"); got != 10_000 {
		t.Errorf("the file has %d bytes, want 10000", got)
	}
	e := one[event.Transfer](t, h.events.take(), "anna")
	if want := (event.Transfer{Meta: e.Meta, Direction: event.Upload, Path: "/a", Bytes: 10_000, Took: rep.Took,
		Road: "copy", Whole: true}); e != want {
		t.Errorf("event %+v, want %+v", e, want)
	}
}

func TestWhatCutsAnUploadBeforeItsRename(t *testing.T) {
	gone := fault.Because(errors.New("reset by peer"), fault.Cut, fault.IDUploadCut)
	kicked := fault.New(fault.Closing, fault.IDShutdown)
	full := &fs.PathError{Op: "fsync", Path: "/real/secret", Err: fault.New(fault.NoSpace, fault.IDNoSpace)}
	tests := []struct {
		name    string
		arrange func(tree *slowTree, cancel context.CancelCauseFunc)
		still   error
		steps   []string
		kind    fault.Kind
		id      fault.ID
	}{
		{"the client is gone", nil, gone, []string{"sync", "still", "cut"}, fault.Cut, fault.IDUploadCut},
		{"a disk that fails at the sync", func(tree *slowTree, _ context.CancelCauseFunc) {
			tree.at["sync"] = func(context.Context) error { return full }
		}, nil, []string{"sync", "cut"}, fault.NoSpace, fault.IDNoSpace},
		{"a cancellation while it syncs", func(tree *slowTree, cancel context.CancelCauseFunc) {
			tree.at["sync"] = func(context.Context) error { cancel(kicked); return nil }
		}, nil, []string{"sync", "cut"}, fault.Closing, fault.IDShutdown},
		{"a cancellation from before", func(_ *slowTree, cancel context.CancelCauseFunc) { cancel(kicked) },
			nil, []string{"sync", "cut"}, fault.Closing, fault.IDShutdown},
		{"ABOR, which has no cause of its own", func(tree *slowTree, cancel context.CancelCauseFunc) {
			tree.at["sync"] = func(context.Context) error { cancel(nil); return nil }
		}, nil, []string{"sync", "cut"}, fault.Canceled, fault.IDAborted},
		{"a rename that fails", func(tree *slowTree, _ context.CancelCauseFunc) {
			tree.at["commit"] = func(context.Context) error { return fs.ErrPermission }
		}, nil, []string{"sync", "still", "commit", "cut"}, fault.Denied, fault.IDPerm},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, tree, s, up, rep := slow(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if tt.arrange != nil {
				tt.arrange(tree, cancel)
			}
			err := up.Commit(ctx, rep, func(ctx context.Context) error {
				return errors.Join(tree.step(ctx, "still"), tt.still)
			})
			is(t, "Commit", err, tt.kind, tt.id)
			if !slices.Equal(tree.steps, tt.steps) {
				t.Errorf("steps %q, want %q", tree.steps, tt.steps)
			}
			if got := finished(t, s, "/a"); got != 3 {
				t.Errorf("the old file has %d bytes now", got)
			}
			if got := partial(t, s, "/a"); got != kept {
				t.Errorf("%d bytes are kept, want %d", got, kept)
			}
			if e := one[event.Transfer](t, h.events.take(), "anna"); e.Whole || e.Reason != string(tt.id) {
				t.Errorf("event %+v, want a cut one with %s", e, tt.id)
			}
		})
	}
}

func TestACancellationAfterStillDoesNotStopTheCommit(t *testing.T) {
	h, tree, s, up, rep := slow(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	tree.at["commit"] = func(ctx context.Context) error {
		cancel(fault.New(fault.Closing, fault.IDShutdown))
		s.visit.End(fault.New(fault.Closing, fault.IDShutdown))
		return context.Cause(ctx) // the commit must not hear of it
	}
	need(t, up.Commit(ctx, rep, func(context.Context) error { cancel(context.Canceled); return nil }))
	if got := finished(t, s, "/a"); got != 10_000 {
		t.Errorf("the file has %d bytes, want 10000", got)
	}
	if e := one[event.Transfer](t, h.events.take(), "anna"); !e.Whole {
		t.Errorf("event %+v, want a whole one", e)
	}
}

// Cut must do its work though everything around it is over.
func TestCutRunsInAContextThatHasEnded(t *testing.T) {
	_, _, s, up, rep := slow(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := up.Cut(ctx, rep, context.Cause(ctx))
	is(t, "Cut", err, fault.Canceled, fault.IDAborted)
	if got := partial(t, s, "/a"); got != kept {
		t.Errorf("%d bytes are kept, want %d", got, kept)
	}
}

func TestACutUploadSaysWhatIsKept(t *testing.T) {
	full := fault.New(fault.NoSpace, fault.IDNoSpace)
	tests := []struct {
		name string
		a    account.Account
		size int64
		why  error
		want []string // in the facts, one each
	}{
		{"enough to go on with", account.Account{Name: "anna", Rights: account.Full}, 10_000, errGone, []string{"5904 bytes kept to resume"}},
		{"too little to go on with", account.Account{Name: "anna", Rights: account.Full}, vfs.CutTail, errGone, []string{"nothing kept"}},
		{"a stranger's", account.Account{Name: "ftp", Rights: account.Full, Anonymous: true}, 10_000, errGone, []string{"nothing kept"}},
		{"when the disk is full, how full too", account.Account{Name: "anna", Rights: account.Full}, 10_000, full, []string{"free", "5904 bytes kept to resume"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			s := h.login(tt.a)
			up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
			need(t, err)
			e := fault.Of(up.Cut(t.Context(), must(put(t, up, tt.size)), tt.why))
			if len(e.Facts) != len(tt.want) {
				t.Fatalf("facts %q, want %q", e.Facts, tt.want)
			}
			for i, want := range tt.want {
				if !strings.Contains(e.Facts[i].(string), want) {
					t.Errorf("fact %q, want %q", e.Facts[i], want)
				}
			}
			if !errors.Is(e, tt.why) {
				t.Errorf("the log will not have the cause: %v", e)
			}
		})
	}
}

func TestACutAppendLeavesTheOldFile(t *testing.T) {
	h := newHouse(t)
	need(t, h.tree.WriteFile("/a", []byte("old")))
	s := h.anna()
	cut(t, s, "/a", vfs.Create{How: vfs.InPlace, Offset: -1}, 10_000)
	if got, err := h.tree.ReadFile("/a"); err != nil || string(got) != "old" {
		t.Errorf("the file is %q, %v", got, err)
	}
	if got := partial(t, s, "/a"); got != -1 {
		t.Errorf("a partial of %d bytes is kept", got)
	}
}

func TestOfTwoUploadsToOneNameTheLastCommitWins(t *testing.T) {
	h := newHouse(t)
	s := h.anna()
	first, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	second, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	a, b := must(put(t, first, 100)), must(put(t, second, 200))
	need(t, second.Commit(t.Context(), b, always))
	need(t, first.Commit(t.Context(), a, always))
	if got := finished(t, s, "/a"); got != 100 {
		t.Errorf("the file has %d bytes, want the 100 of the later commit", got)
	}
}

func TestAnExclusiveUploadNeverReplaces(t *testing.T) {
	h := newHouse(t)
	s := h.anna()
	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{How: vfs.New})
	need(t, err)
	is(t, "a second one", second(s.Create(t.Context(), at(t, "/a"), vfs.Create{How: vfs.New})), fault.Exists, fault.IDExists)
	rep := must(put(t, up, 10))
	need(t, h.tree.WriteFile("/a", []byte("quicker")))
	is(t, "Commit", up.Commit(t.Context(), rep, always), fault.Exists, fault.IDExists)
	if got := finished(t, s, "/a"); got != int64(len("quicker")) {
		t.Errorf("the file of the quicker one has %d bytes", got)
	}
}
