package shell

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

// A ProgramError tells that a program of this machine has failed.
type ProgramError struct {
	name string
	err  error
}

// Error has no more of the program than its first word: the rest may be secret.
func (e *ProgramError) Error() string { return e.name + ": " + e.err.Error() }
func (e *ProgramError) Unwrap() error { return e.err }

// run gives the terminal to a program until it ends. Ctrl-C is for the program then.
func (c *call) runProgram(cmd *exec.Cmd, name string) error {
	c.sh.child.Store(true)
	defer c.sh.child.Store(false)
	cmd.Dir = c.set.local
	if cmd.Stdin == nil && c.sh.opt.Terminal {
		cmd.Stdin = os.Stdin
	}
	cmd.Stdout, cmd.Stderr = c.out, c.err
	if c.sh.opt.Terminal {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Run(); err != nil {
		return &ProgramError{name, err}
	}
	return nil
}

// shellOf makes the command that a shell of this machine reads; arguments stand behind
// it as words of their own.
func (c *call) shellOf(line string, args ...string) *exec.Cmd {
	if runtime.GOOS == "windows" {
		return exec.Command("cmd", append([]string{"/c", line}, args...)...)
	}
	if len(args) > 0 {
		line += ` "$@"`
	}
	return exec.Command("/bin/sh", append([]string{"-c", line, "sh"}, args...)...)
}

func (c *call) program() error {
	var words []string
	for _, w := range c.args {
		words = append(words, w.Text)
	}
	line := strings.Join(words, " ")
	if line == "" {
		sh := c.sh.opt.Getenv("SHELL")
		if sh == "" {
			sh = "/bin/sh"
			if runtime.GOOS == "windows" {
				sh = "cmd"
			}
		}
		if !c.sh.opt.Terminal {
			return misuse("! without a command is a shell, which needs a terminal")
		}
		_ = c.runProgram(exec.Command(sh), filepath.Base(sh)) // its status is that of the last command typed there
		return nil
	}
	name, _, _ := strings.Cut(line, " ")
	return c.runProgram(c.shellOf(line), name)
}

// more shows files with the pager; without a terminal it is cat.
func (c *call) more() error {
	pager := c.sh.opt.Getenv("PAGER")
	if pager == "" {
		for _, p := range []string{"less", "more"} {
			if _, err := exec.LookPath(p); err == nil {
				pager = p
				break
			}
		}
	}
	if pager == "" || !c.sh.opt.Terminal {
		return c.cat()
	}
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	c.ctx = ctx
	over := make(chan struct{})
	go func() {
		defer close(over)
		for _, f := range c.remote(c.args) {
			err := c.pour(f.path, w)
			if err != nil && (errors.Is(err, io.ErrClosedPipe) || ctx.Err() != nil) {
				break // the pager has ended: it has seen enough
			}
			if err != nil {
				c.fail(c.url(f.path), err)
			}
		}
		_ = w.Close()
	}()
	cmd := c.shellOf(pager)
	stdin, err := cmd.StdinPipe() // Run would wait for the copy of a reader
	if err != nil {
		return err
	}
	go func() {
		_, err := io.Copy(stdin, r)
		_ = stdin.Close()
		_ = r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	}()
	err = c.runProgram(cmd, "the pager")
	cancel()
	_ = r.Close()
	<-over
	return err
}

const maxCompare = 16 << 20

// edit fetches a file, lets somebody change it, and sends it back.
func (c *call) edit() error {
	editor := c.sh.opt.Getenv("VISUAL")
	if editor == "" {
		editor = c.sh.opt.Getenv("EDITOR")
	}
	if editor == "" {
		editor = "vi"
		if runtime.GOOS == "windows" {
			editor = "notepad"
		}
	}
	all, err := c.expand(c.args[0])
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return misuse("%s stands for %d names, and edit takes one", screen.Line(c.args[0].Text), len(all))
	}
	p := all[0].path
	name := remote.Base(p)
	if err := mirror.CheckName(name); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dray-edit-") // 0700
	if err != nil {
		return mirror.LocalError(os.TempDir(), err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(dir)
		}
	}()
	file := filepath.Join(dir, name)
	before, err := c.tree().Stat(c.ctx, at(p))
	fresh := errors.Is(err, fs.ErrNotExist)
	switch {
	case fresh:
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			return mirror.LocalError(file, err)
		}
	case err != nil:
		return err
	case before.Mode.IsDir():
		return fault.New(fault.IsDir, fault.IDIsDir, c.url(p))
	default:
		place, err := mirror.OpenPlace(dir, false)
		if err != nil {
			return err
		}
		err = c.transfer(nil, func(run *mirror.Run) error {
			run.Download(mirror.Download{Path: at(p), URL: c.url(p), Entry: before, Place: place, Name: name})
			return nil
		})
		_ = place.Close()
		if err != nil {
			return err
		}
		_ = os.Chmod(file, 0o600)
	}
	old, err := sumFile(file)
	if err != nil {
		return mirror.LocalError(file, err)
	}
	if err := c.runProgram(c.shellOf(editor, file), "the editor"); err != nil {
		return err
	}
	sum, err := sumFile(file)
	switch {
	case err != nil:
		return mirror.LocalError(file, err)
	case sum == old:
		fmt.Fprintln(c.err, "nothing was changed")
		return nil
	}
	keep = true // until it is there
	if err := c.unchanged(p, before, fresh, old); err != nil {
		fmt.Fprintf(c.err, "what was edited is in %s\n", screen.Line(file))
		return err
	}
	if !fresh && before.Is(knownMode) {
		_ = os.Chmod(file, before.Mode.Perm())
	}
	fi, err := os.Stat(file)
	if err != nil {
		return mirror.LocalError(file, err)
	}
	t, err := c.transferOptions()
	if err != nil {
		return err
	}
	t.Options.NoTimes, t.Options.NoModes = true, fresh
	t.Options.Conflict = mirror.Replace
	err = c.sh.front.Transfer(c.ctx, t, func(run *mirror.Run) error {
		run.Upload(mirror.Upload{File: file, Path: at(p), URL: c.url(p), Fresh: fresh, Size: fi.Size()})
		return nil
	})
	if err != nil {
		fmt.Fprintf(c.err, "what was edited is in %s\n", screen.Line(file))
		return err
	}
	keep = false
	return nil
}

// unchanged refuses when the file of the server is another than the one that was
// fetched: by what is told of it, and a small one by its bytes.
func (c *call) unchanged(p string, before remote.Entry, fresh bool, old string) error {
	changed := func() error {
		return &fault.Error{Kind: fault.Busy, ID: fault.IDSourceMoved, Facts: []any{c.url(p)}, Do: []string{"somebody else has changed it meanwhile: nothing was sent. Compare both, and put yours back"}}
	}
	now, err := c.tree().Stat(c.ctx, at(p))
	switch {
	case errors.Is(err, fs.ErrNotExist) && fresh:
		return nil
	case errors.Is(err, fs.ErrNotExist), err == nil && fresh:
		return changed()
	case err != nil:
		return err
	case now.Size != before.Size || !now.Time.Equal(before.Time) || now.Unique != before.Unique:
		return changed()
	case now.Size > maxCompare:
		return nil
	}
	s := mirror.NewSummer("sha256")
	if err := c.read(p, s); err != nil {
		return err
	}
	if sum, err := s.Sum(); err != nil || sum != old {
		return errors.Join(changed(), err)
	}
	return nil
}

func sumFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (c *call) echo() error {
	var words []string
	for _, w := range c.args {
		words = append(words, w.Text)
	}
	fmt.Fprintln(c.out, c.shown(strings.Join(words, " ")))
	return nil
}

func (c *call) version() error {
	fmt.Fprintln(c.out, "dray "+c.sh.opt.Version)
	return nil
}

func (c *call) showHistory() error {
	for i, line := range c.sh.history {
		fmt.Fprintf(c.out, "%5d  %s\n", i+1, c.shown(line))
	}
	return nil
}

func (c *call) exit() error {
	status := 0
	if len(c.args) > 0 {
		n, err := strconv.Atoi(c.args[0].Text)
		if err != nil || n < 0 || n > 255 {
			return misuse("a status is a number from 0 to 255, not %q", screen.Line(c.args[0].Text))
		}
		status = n
	}
	if c.sh.line != nil && c.sh.stillRuns() {
		return nil
	}
	c.sh.exit = &status
	return nil
}
