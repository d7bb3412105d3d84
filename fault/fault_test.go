package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestEveryKindHasAnID(t *testing.T) {
	for k := range NumKinds {
		if ids[k] == "" {
			t.Errorf("kind %d has no id", k)
		}
	}
}

// slow is a net.Error as a connection returns it.
type slow struct{ timeout bool }

func (slow) Error() string   { return "slow" }
func (s slow) Timeout() bool { return s.timeout }
func (slow) Temporary() bool { return false }

func path(err error) error { return &fs.PathError{Op: "open", Path: "/real/secret", Err: err} }

func link(err error) error {
	return &os.LinkError{Op: "rename", Old: "/real/a", New: "/real/b", Err: err}
}

func op(err error) error {
	return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
}

func TestKindOf(t *testing.T) {
	plain := errors.New("something")
	tests := []struct {
		name string
		err  error
		want Kind
	}{
		{"no error is nobody's", nil, Internal},
		{"an error that nobody knows is ours", plain, Internal},
		{"the end of a file is no kind of failure", io.EOF, Internal},
		{"a closed file is our mistake", fs.ErrClosed, Internal},

		{"our own error says its kind", New(NeedProt, IDProtRequired), NeedProt},
		{"also when it is wrapped", fmt.Errorf("put: %w", New(Busy, IDInUse)), Busy},
		{"also when it is joined behind another", errors.Join(plain, New(Busy, IDInUse)), Busy},
		{"also inside a path error", path(New(BadOffset, IDOffset)), BadOffset},
		{"it wins over what it wraps", Because(fs.ErrNotExist, OverQuota, IDQuota), OverQuota},
		{"the outer of two wins", Because(New(Busy, IDInUse), Closing, IDShutdown), Closing},

		{"a cancelled context was ended on purpose", context.Canceled, Canceled},
		{"also inside a path error", path(context.Canceled), Canceled},
		{"a context that ran out has stalled", context.DeadlineExceeded, Stalled},
		{"so has a deadline of a connection", os.ErrDeadlineExceeded, Stalled},
		{"also inside a net error", op(os.ErrDeadlineExceeded), Stalled},

		{"the sentinel of a missing name", fs.ErrNotExist, NotFound},
		{"the sentinel of a taken name", fs.ErrExist, Exists},
		{"the sentinel of a refusal", fs.ErrPermission, Denied},
		{"a sentinel in a path error", path(fs.ErrNotExist), NotFound},
		{"a sentinel in a link error", link(fs.ErrExist), Exists},

		{"a path error with any other cause is how os.Root refuses", path(plain), Denied},
		{"so is a link error", link(plain), Denied},

		{"a connection that was closed here cuts", net.ErrClosed, Cut},
		{"data that ended in the middle are cut", io.ErrUnexpectedEOF, Cut},
		{"a net error cuts", slow{}, Cut},
		{"a net error that is a time-out has stalled", slow{timeout: true}, Stalled},
		{"a reset inside a net error cuts", op(syscall.ECONNRESET), Cut},
		{"a broken pipe inside a net error cuts", op(syscall.EPIPE), Cut},
		{"a net error with an errno that nobody knows cuts", op(syscall.ENOBUFS), Cut},
		{"nobody answered", op(syscall.ETIMEDOUT), Stalled},
		{"the way is gone", op(syscall.EHOSTUNREACH), Stalled},

		{"an errno that is in no table is ours", syscall.EIO, Internal},
		{"also wrapped", fmt.Errorf("write: %w", syscall.EIO), Internal},
		{"also in a path error: a broken disk is no refusal", path(syscall.EIO), Internal},
		{"also in a link error", link(syscall.EIO), Internal},
		{"too many open files are ours too", path(syscall.EMFILE), Internal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := KindOf(tt.err); got != tt.want {
				t.Errorf("KindOf(%v) = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}

func TestUnreached(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		id    ID
		facts int
	}{
		{"what says it already", fmt.Errorf("dial: %w", New(Unreachable, IDProxy)), IDProxy, 0},
		{"no such name", op(&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}), IDDNS, 1},
		{"a name server that is slow", &net.DNSError{Err: "i/o timeout", Name: "h", IsTimeout: true}, IDDNS, 1},
		{"refused", op(syscall.ECONNREFUSED), IDRefused, 2},
		{"reset", op(syscall.ECONNRESET), IDBusy, 1},
		{"nobody has the address", op(syscall.EHOSTUNREACH), IDFiltered, 3},
		{"rejected here", op(syscall.EPERM), IDRejected, 2},
		{"the kernel gave up", op(syscall.ETIMEDOUT), IDFiltered, 3},
		{"we gave up", context.DeadlineExceeded, IDFiltered, 3},
		{"a deadline of the socket", os.ErrDeadlineExceeded, IDFiltered, 3},
		{"any timeout", slow{timeout: true}, IDFiltered, 3},
	} {
		err := Unreached(tt.err, "h", 21, 9600*time.Millisecond)
		e := Of(err)
		if e.ID != tt.id || len(e.Facts) != tt.facts || !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, %v", tt.name, e.ID, e.Facts)
		}
		if tt.facts == 3 && e.Facts[2] != 10 {
			t.Errorf("%s: %v s", tt.name, e.Facts[2])
		}
	}
	if e := Of(Unreached(op(syscall.EHOSTUNREACH), "h", 21, 300*time.Millisecond)); e.ID != IDRejected || len(e.Facts) != 2 {
		t.Errorf("rejected: %v, %v", e.ID, e.Facts)
	}
	for _, err := range []error{errors.New("something"), io.EOF, slow{}, op(syscall.EINVAL)} {
		if got := Unreached(err, "h", 21, 0); got != nil {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// What the file system says comes wrapped in many ways and means the same.
func TestKindOfAnErrnoInAnyWrapping(t *testing.T) {
	tests := map[syscall.Errno]Kind{
		syscall.ENOENT: NotFound, syscall.EEXIST: Exists, syscall.ENOTEMPTY: NotEmpty,
		syscall.EACCES: Denied, syscall.EPERM: Denied, syscall.EROFS: Denied, syscall.EXDEV: Denied, syscall.ELOOP: Denied,
		syscall.ENOTDIR: NotDir, syscall.EISDIR: IsDir, syscall.ENAMETOOLONG: BadName, syscall.EINVAL: BadName,
		syscall.EDQUOT: OverQuota, syscall.ENOSPC: NoSpace, syscall.EFBIG: NoSpace,
		syscall.EBUSY: Busy, syscall.ETXTBSY: Busy, syscall.EAGAIN: Busy,
		syscall.ECONNRESET: Cut, syscall.EPIPE: Cut, syscall.ECONNABORTED: Cut,
		syscall.ETIMEDOUT: Stalled, syscall.EHOSTUNREACH: Stalled, syscall.ENETUNREACH: Stalled,
		syscall.EIO: Internal, syscall.ENOMEM: Internal,
	}
	for errno, want := range tests {
		for _, err := range []error{
			errno, path(errno), link(errno), os.NewSyscallError("statx", errno),
			fmt.Errorf("look: %w", path(errno)), errors.Join(errno, errors.New("and more")),
		} {
			if got := KindOf(err); got != want {
				t.Errorf("KindOf(%T %v) = %d, want %d", err, err, got, want)
			}
		}
	}
	for errno := range errnos {
		if _, ok := tests[errno]; !ok {
			t.Errorf("%v is sorted and not tested", errno)
		}
	}
}

func TestAPathThatLeavesARootIsDenied(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "inside")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../secret", filepath.Join(inside, "out")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"../secret", "out", "/etc/passwd"} {
		_, err := root.Open(name)
		if KindOf(err) != Denied {
			t.Errorf("open %s: %v is kind %d, want Denied", name, err, KindOf(err))
		}
	}
	if err := root.Rename("out", "../gone"); KindOf(err) != Denied {
		t.Errorf("rename out of the root: %v is kind %d, want Denied", err, KindOf(err))
	}
	if _, err := root.Open("missing"); KindOf(err) != NotFound {
		t.Errorf("open missing: %v is kind %d, want NotFound", err, KindOf(err))
	}
}

func TestTheCauseOfAContextIsTheAnswer(t *testing.T) {
	kicked := New(Closing, IDShutdown)
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(kicked)
	late, stop := context.WithDeadlineCause(t.Context(), time.Unix(0, 0), New(Stalled, IDStall, 120))
	defer stop()
	plain, end := context.WithCancel(t.Context())
	end()
	tests := []struct {
		name string
		ctx  context.Context
		kind Kind
		id   ID
	}{
		{"cancelled with a cause", cancelled, Closing, IDShutdown},
		{"ran out with a cause", late, Stalled, IDStall},
		{"cancelled without", plain, Canceled, IDAborted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := context.Cause(tt.ctx)
			if got := KindOf(err); got != tt.kind {
				t.Errorf("KindOf(%v) = %d, want %d", err, got, tt.kind)
			}
			if e := Of(fmt.Errorf("receive: %w", err)); e.Kind != tt.kind || e.ID != tt.id {
				t.Errorf("Of(%v) = kind %d, id %s; want %d, %s", err, e.Kind, e.ID, tt.kind, tt.id)
			}
		})
	}
}

func TestOfKeepsWhatWasSaid(t *testing.T) {
	disk := errors.New("sector 7 is gone")
	full := Because(disk, NoSpace, IDNoSpace, "12 bytes free", "nothing kept")
	for _, err := range []error{full, fmt.Errorf("put: %w", full), errors.Join(errors.New("also"), full)} {
		e := Of(err)
		if e.Kind != NoSpace || e.ID != IDNoSpace || !slices.Equal(e.Facts, []any{"12 bytes free", "nothing kept"}) {
			t.Errorf("Of(%v) = kind %d, id %s, facts %v", err, e.Kind, e.ID, e.Facts)
		}
		if !errors.Is(e, disk) {
			t.Errorf("Of(%v) has lost the cause", err)
		}
	}
}

func TestOfNamesWhatHasOnlyAKind(t *testing.T) {
	tests := []struct {
		err  error
		kind Kind
		id   ID
	}{
		{path(syscall.ENOENT), NotFound, IDNotFound},
		{syscall.EDQUOT, OverQuota, IDQuota},
		{errors.New("odd"), Internal, IDInternal},
		{op(syscall.ECONNRESET), Cut, IDUploadCut},
	}
	for _, tt := range tests {
		e := Of(tt.err)
		if e.Kind != tt.kind || e.ID != tt.id || len(e.Facts) != 0 || e.Err != tt.err {
			t.Errorf("Of(%v) = %+v; want kind %d, id %s, no facts and the cause", tt.err, e, tt.kind, tt.id)
		}
	}
}

// Both ends of a decorator may ask Of about the same error: what one of them
// adds must not appear at the other.
func TestOfDoesNotShareItsFields(t *testing.T) {
	shared := New(NotFound, IDNotFound)
	e := Of(fmt.Errorf("look: %w", shared))
	e.Facts = []any{"/a"}
	if shared.Facts != nil {
		t.Error("the facts that were set on Of's answer are those of the error it was asked about")
	}
}

func TestTheSentinelsMatchByKind(t *testing.T) {
	sentinels := map[error]Kind{fs.ErrNotExist: NotFound, fs.ErrExist: Exists, fs.ErrPermission: Denied}
	for k := range Kind(NumKinds) {
		for sentinel, kind := range sentinels {
			err := fmt.Errorf("look: %w", New(k, ids[k]))
			if got := errors.Is(err, sentinel); got != (k == kind) {
				t.Errorf("kind %d is %v: %v, want %v", k, sentinel, got, k == kind)
			}
		}
	}
}

func TestTheTextOfAnErrorIsForTheLog(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{New(Busy, IDInUse), "in-use"},
		{Because(syscall.EBUSY, Busy, IDInUse), "in-use: " + syscall.EBUSY.Error()},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("Error() = %q, want %q", got, tt.want)
		}
	}
}
