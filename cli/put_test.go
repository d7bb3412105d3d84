//go:build unix

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Ctrl-C ends a put that waits for its pipe, and nothing of what came stays here.
func TestStandardInputThatDoesNotEnd(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	left := func() int {
		entries, err := os.ReadDir(tmp)
		fine(t, err)
		return len(entries)
	}
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, _ = io.WriteString(w, "the beginning")
		cancel(&signalError{"Ctrl-C", exitInt})
	}()
	if _, _, err := spool(ctx, r); exitOf(err) != exitInt || left() != 0 {
		t.Errorf("%v, %d files are left", err, left())
	}
	name, done, err := spool(t.Context(), strings.NewReader("all of it"))
	fine(t, err)
	if b, err := os.ReadFile(name); string(b) != "all of it" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if done(); left() != 0 {
		t.Errorf("%d files are left", left())
	}
	if _, _, err := spool(t.Context(), io.MultiReader(strings.NewReader("x"), broken{})); err == nil || left() != 0 {
		t.Errorf("%v, %d files are left", err, left())
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("it broke") }

// The command that goes on has the options that it needs, and no password.
func TestNoPasswordInTheCommandThatGoesOn(t *testing.T) {
	c := &client{}
	f := pflag.NewFlagSet("get", pflag.ContinueOnError)
	c.flags(f)
	fine(t, f.Parse([]string{"--user=me:" + marker, "--password-cmd=echo " + marker, "--proxy=http://me:" + marker + "@gate:3128", "--ca=my ca", "--active", "--timeout=5s"}))
	f.Visit(func(fl *pflag.Flag) { c.typed = append(c.typed, fl) })
	if got, want := c.again("get"), "dray get --ca 'my ca' --active --timeout 5s"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	c = &client{}
	f = pflag.NewFlagSet("get", pflag.ContinueOnError)
	c.flags(f)
	fine(t, f.Parse([]string{"--proxy=socks5://gate"}))
	f.Visit(func(fl *pflag.Flag) { c.typed = append(c.typed, fl) })
	if got, want := c.again("get"), "dray get --proxy socks5://gate"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

// A file that is missing here is told as one of this machine: no directory of the
// server is to be looked at. Nothing is connected to.
func TestWhatIsMissingHere(t *testing.T) {
	t.Parallel()
	w := newWard(t)
	file := filepath.Join(w.root, "a-file")
	fine(t, os.WriteFile(file, nil, 0o600))
	const nobody = "ftp://alice@127.0.0.1:1/in"
	for _, try := range []struct {
		args   []string
		status int
		id     string
		says   string
	}{
		{[]string{"put", "nothere", nobody}, 7, "not-found", "it was looked for on this machine"},
		{[]string{"put", "no*thing", nobody}, 7, "not-found", "it was looked for on this machine"},
		{[]string{"mirror", "nothere", nobody}, 7, "not-found", "it was looked for on this machine"},
		{[]string{"check", "nothere", nobody}, 7, "not-found", "it was looked for on this machine"},
		{[]string{"watch", "nothere", nobody}, 7, "not-found", "it was looked for on this machine"},
		{[]string{"mirror", file, nobody}, 1, "not-dir", "it is a file of this machine"},
		{[]string{"check", file, nobody}, 1, "not-dir", "it is a file of this machine"},
		{[]string{"watch", file, nobody}, 1, "not-dir", "it is a file of this machine"},
		{[]string{"put", filepath.Join(file, "x"), nobody}, 1, "local-file", "on this machine"},
	} {
		p := w.dray(try.args...)
		p.is(try.status, try.id)
		p.says(try.says)
		if strings.Contains(p.err, "List the directory") || strings.Contains(p.err, "Download it") {
			t.Errorf("%q gives advice about the server:\n%s", try.args, p.err)
		}
	}
}
