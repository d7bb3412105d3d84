package osfs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"dray/fault"
)

// A guise is an Identity that is ready to be put on. nil is that of the process.
type guise struct {
	worn, own identity
	umask     fs.FileMode
	regroup   bool // their supplementary groups differ
	log       *slog.Logger
}

// An identity is what the kernel knows of a thread for its file systems.
type identity struct {
	uid, gid uint32
	groups   []uint32 // sorted, as the kernel keeps them
}

// CanSwitch tells whether this process may take the identities of others:
// whether it has CAP_SETUID and CAP_SETGID in effect.
func CanSwitch() bool {
	const need = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return effective()&need == need
}

// effective are the lowest 32 capabilities of this thread, which have all that
// are asked for here.
func effective() uint32 {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return 0
	}
	return data[0].Effective
}

// overrides are the capabilities with which the kernel checks no permission
// bits. It takes them from a thread that leaves uid 0 for its file systems, not
// from one that had another uid before.
const overrides = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER

func newGuise(id Identity, log *slog.Logger) (*guise, error) {
	if !CanSwitch() {
		return nil, fmt.Errorf("taking the identity of an owner needs CAP_SETUID and CAP_SETGID: %w", syscall.EPERM)
	}
	groups, err := os.Getgroups()
	if err != nil {
		return nil, err
	}
	g := &guise{
		worn:  identity{id.UID, id.GID, slices.Clone(id.Groups)},
		own:   identity{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())},
		umask: id.Umask.Perm(), log: log,
	}
	for _, gid := range groups {
		g.own.groups = append(g.own.groups, uint32(gid))
	}
	slices.Sort(g.own.groups)
	slices.Sort(g.worn.groups)
	g.worn.groups = slices.Compact(g.worn.groups)
	g.regroup = !slices.Equal(g.worn.groups, g.own.groups)
	return g, nil
}

// openJail opens a home and makes sure that the kernel checks what is done in it.
func (g *guise) openJail(dir string) (jail, error) {
	var j *beneath
	err := g.run(func() (err error) {
		if effective()&overrides != 0 {
			return fmt.Errorf("the process has CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH or CAP_FOWNER, with which the kernel would check nothing: take it away: %w", syscall.EPERM)
		}
		j, err = openBeneath(dir)
		return err
	})
	switch {
	case err == nil:
		return j, nil
	case errors.Is(err, errNoOpenat2):
		// Descriptors of os.Root are paths again in places where no identity is taken.
		return nil, fmt.Errorf("owners need openat2 (Linux 5.6, and no filter that forbids it): %w", errors.ErrUnsupported)
	case errors.Is(err, syscall.EACCES):
		return nil, g.barred(dir)
	}
	return nil, err
}

// barred finds which directory on the way to dir its owner may not enter.
func (g *guise) barred(dir string) error {
	e := &HomeError{Dir: dir, UID: g.worn.uid}
	whole, err := filepath.Abs(dir)
	if err != nil {
		return e
	}
	_ = g.run(func() error {
		for end := 1; end <= len(whole); end++ {
			if end > 1 && end < len(whole) && whole[end] != '/' {
				continue
			}
			part := whole[:end]
			fd, err := unix.Open(strings.TrimSuffix(part, "/")+"/.", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				e.Dir = part
				return nil
			}
			_ = unix.Close(fd)
		}
		return nil
	})
	if fi, err := os.Stat(e.Dir); err == nil {
		i := infoOf(e.Dir, fi)
		e.Mode, e.Owner, e.Group = i.mode, i.attr.UID, i.attr.GID
	}
	return e
}

// owns tells whether the user of this tree made the file.
func (g *guise) owns(i *info) bool {
	if g == nil {
		return int(i.attr.UID) == os.Geteuid()
	}
	return i.attr.UID == g.worn.uid
}

// putOn makes this thread's identity the owner's: groups first, while it may.
func (g *guise) putOn() error {
	if g.regroup {
		if err := setgroups(g.worn.groups); err != nil {
			return err
		}
	}
	setfs(sysSetfsgid, g.worn.gid)
	setfs(sysSetfsuid, g.worn.uid)
	return g.worn.check()
}

// takeOff goes back, in reverse.
func (g *guise) takeOff() error {
	setfs(sysSetfsuid, g.own.uid)
	setfs(sysSetfsgid, g.own.gid)
	if g.regroup {
		if err := setgroups(g.own.groups); err != nil {
			return err
		}
	}
	return g.own.check()
}

// check asks for what is in effect: setfsuid and setfsgid report no errors. Both
// return the id there was, and change nothing when they are asked for -1.
func (id *identity) check() error {
	const ask = ^uint32(0)
	if gid := setfs(sysSetfsgid, ask); gid != id.gid {
		return fmt.Errorf("setfsgid(%d) left %d: %w", id.gid, gid, syscall.EPERM)
	}
	if uid := setfs(sysSetfsuid, ask); uid != id.uid {
		return fmt.Errorf("setfsuid(%d) left %d: %w", id.uid, uid, syscall.EPERM)
	}
	return nil
}

// The calls themselves are for the calling thread alone, as the kernel has them:
// those of package syscall are for all threads. None of them waits.

func setfs(trap uintptr, id uint32) (before uint32) {
	r, _, _ := syscall.RawSyscall(trap, uintptr(id), 0, 0)
	return uint32(r)
}

func setgroups(groups []uint32) error {
	if _, _, errno := syscall.RawSyscall(sysSetgroups, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	return nil
}

var errVanished = errors.New("an operation ended its goroutine")

// run runs op in the guise and returns its error.
//
// It has a goroutine of its own, locked to its thread: when the thread can't go
// back to the identity of the process, the goroutine ends without unlocking it,
// and the thread with it. While a thread is locked, the run-time makes no thread
// from it that would inherit the guise.
func (g *guise) run(op func() error) error {
	if g == nil {
		return op()
	}
	type outcome struct {
		err, stuck error
		thrown     string
	}
	result := make(chan outcome, 1)
	go func() {
		out := outcome{err: errVanished}
		defer func() {
			if v := recover(); v != nil {
				out.thrown = fmt.Sprintf("%v\n%s", v, debug.Stack())
			}
			result <- out
		}()
		runtime.LockOSThread()
		defer func() {
			if out.stuck = g.takeOff(); out.stuck == nil {
				runtime.UnlockOSThread()
			}
		}()
		if err := g.putOn(); err != nil {
			out.err = fault.Because(fmt.Errorf("take the identity of uid %d: %w", g.worn.uid, err), fault.Internal, fault.IDInternal)
			return
		}
		out.err = op()
	}()
	out := <-result
	if out.stuck != nil {
		g.log.Error("a thread can't go back to the identity of the server and ends", "error", out.stuck)
	}
	if out.thrown != "" {
		panic(out.thrown)
	}
	return out.err
}
