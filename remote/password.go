package remote

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"dray/account"
)

// commandTime is how long a command may take to say a password: somebody may
// have to unlock something first.
const commandTime = time.Minute

// A PasswordEnv is what the environment says about the password.
type PasswordEnv struct {
	Password account.Secret // DRAY_PASSWORD, where Given
	Given    bool
	Command  string // DRAY_PASSWORD_CMD
}

// TakePasswordEnv reads DRAY_PASSWORD and DRAY_PASSWORD_CMD and takes them out
// of the environment, so that no process started later gets them. It is called
// once, at the start of the program.
func TakePasswordEnv() PasswordEnv {
	var e PasswordEnv
	if s, ok := os.LookupEnv("DRAY_PASSWORD"); ok && s != "" {
		e.Password, e.Given = account.NewSecret(s), true
	}
	e.Command = os.Getenv("DRAY_PASSWORD_CMD")
	_ = os.Unsetenv("DRAY_PASSWORD")
	_ = os.Unsetenv("DRAY_PASSWORD_CMD")
	return e
}

// Passwords are the sources of a password, the first of which has it: Command,
// File, Env, the URL, the stored host, Netrc, Ask.
type Passwords struct {
	Command string // --password-cmd, for the shell; the first line that it prints. It has no input
	File    string // --password-file; its first line
	Env     PasswordEnv
	Hosts   *Hosts
	Netrc   *Netrc
	Stderr  io.Writer // where commands write what is no password; nil: nowhere
	// Ask is nil where nobody can be asked.
	Ask func(ctx context.Context, u URL) (account.Secret, error)
}

// A Login is who logs in, and with what.
type Login struct {
	User        string // "": nobody was named
	Password    account.Secret
	HasPassword bool
	Account     account.Secret // what ACCT is answered with
	HasAccount  bool
	From        string   // where the password is from, for messages; "": there is none
	Warnings    []string // for whoever typed the command
}

// Find looks for the login of a URL. Without a user in the URL that is the one
// of netrc; without that one, and for the anonymous account, nobody is asked and
// no source but the URL is used. An error names its source and has no password
// in it.
func (p *Passwords) Find(ctx context.Context, u URL) (Login, error) {
	l := Login{User: u.User}
	entry, inNetrc := p.Netrc.Find(u.Host, u.User)
	if entry.Machine == "" && u.User == "" && !u.Scheme.IsFTP() {
		entry, inNetrc = NetrcEntry{}, false // default is the anonymous login of FTP
	}
	if inNetrc {
		if l.User == "" {
			l.User = entry.Login
		}
		l.Account, l.HasAccount = entry.Account, entry.HasAccount
	}
	give := func(s account.Secret, from string) (Login, error) {
		l.Password, l.HasPassword, l.From = s, true, from
		return l, nil
	}
	run := func(command, from string) (Login, error) {
		s, err := p.run(ctx, command)
		if err != nil {
			return Login{}, fmt.Errorf("%s: %w", from, err)
		}
		return give(s, from)
	}
	if account.IsAnonymousName(l.User) || l.User == "" && u.Scheme.IsFTP() {
		switch {
		case u.HasPassword:
			return give(u.Password, "the URL")
		case inNetrc && entry.HasPassword:
			return give(entry.Password, fmt.Sprintf("netrc, line %d", entry.Line))
		}
		return l, nil
	}
	switch {
	case p.Command != "":
		return run(p.Command, "--password-cmd")
	case p.File != "":
		s, err := passwordFile(p.File)
		if err != nil {
			return Login{}, fmt.Errorf("--password-file: %w", err)
		}
		if exposed(p.File) {
			l.Warnings = append(l.Warnings, fmt.Sprintf("%s has a password and may be read by others: chmod 600 %s", p.File, p.File))
		}
		return give(s, "--password-file")
	case p.Env.Given:
		return give(p.Env.Password, "DRAY_PASSWORD")
	case p.Env.Command != "":
		return run(p.Env.Command, "DRAY_PASSWORD_CMD")
	case u.HasPassword:
		return give(u.Password, "the URL")
	}
	if h, ok := p.Hosts.Get(u.StoredName); ok && u.StoredName != "" {
		place, err := h.Place()
		if err != nil {
			return Login{}, err
		}
		if place.User == "" || place.User == l.User { // else it is another's password
			switch {
			case h.PasswordCommand != "":
				return run(h.PasswordCommand, "password-command of the stored host "+h.Name)
			case h.HasPassword && !h.Exposed:
				return give(h.Password, "the stored host "+h.Name)
			}
		}
	}
	switch {
	case inNetrc && entry.HasPassword:
		return give(entry.Password, fmt.Sprintf("netrc, line %d", entry.Line))
	case p.Ask != nil:
		u.User = l.User
		s, err := p.Ask(ctx, u)
		if err != nil {
			return Login{}, err
		}
		return give(s, "the terminal")
	}
	return l, nil
}

// passwordFile reads the first line of a file.
func passwordFile(file string) (account.Secret, error) {
	f, err := os.Open(file)
	if err != nil {
		return account.Secret{}, err
	}
	defer func() { _ = f.Close() }()
	b, err := bufio.NewReaderSize(f, maxSecret+2).ReadSlice('\n') // no more than the line: it may be a terminal
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return account.Secret{}, err
	}
	return firstLine(string(b))
}

func firstLine(s string) (account.Secret, error) {
	s, _, _ = strings.Cut(s, "\n")
	s = strings.TrimSuffix(s, "\r")
	switch {
	case s == "":
		return account.Secret{}, errors.New("the first line is empty")
	case len(s) > maxSecret:
		return account.Secret{}, fmt.Errorf("the first line is longer than %d bytes", maxSecret)
	case strings.ContainsAny(s, "\x00\r"):
		return account.Secret{}, errors.New("the first line has a NUL or CR in it")
	}
	return account.NewSecret(s), nil
}

// run asks a command for the password.
func (p *Passwords) run(ctx context.Context, command string) (account.Secret, error) {
	limited, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	shell := []string{"/bin/sh", "-c", command}
	if runtime.GOOS == "windows" {
		shell = []string{"cmd", "/C", command}
	}
	c := exec.CommandContext(limited, shell[0], shell[1:]...)
	c.WaitDelay = time.Second // what it left running may hold its output open
	var out lineWriter
	c.Stdout, c.Stderr = &out, p.Stderr
	err := c.Run()
	switch {
	case ctx.Err() != nil:
		return account.Secret{}, context.Cause(ctx)
	case limited.Err() != nil:
		return account.Secret{}, fmt.Errorf("it said nothing for %v", commandTime)
	case out.over:
		return account.Secret{}, errors.New("it prints without an end")
	case errors.Is(err, exec.ErrWaitDelay): // it did end, and left something running
	case err != nil:
		return account.Secret{}, err
	}
	s, err := firstLine(string(out.line))
	if err != nil && len(out.line) == 0 {
		err = errors.New("it printed nothing")
	}
	return s, err
}

// A lineWriter keeps the beginning of what is written, and breaks off what does
// not end.
type lineWriter struct {
	line []byte
	n    int
	over bool
}

func (w *lineWriter) Write(b []byte) (int, error) {
	if room := maxSecret + 2 - len(w.line); room > 0 {
		w.line = append(w.line, b[:min(room, len(b))]...)
	}
	if w.n += len(b); w.n > 1<<20 {
		w.over = true
		return 0, errors.New("too much")
	}
	return len(b), nil
}
