package remote

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// Dirs are the directories of the client, which need not be there yet.
type Dirs struct {
	Config string // what somebody writes: hosts.toml
	State  string // what dray notes: trusted_certs, records of uploads
	Home   string // of netrc and of .ssh
}

// FindDirs looks them up by the rules of XDG: $XDG_CONFIG_HOME/dray and
// $XDG_STATE_HOME/dray, below $HOME where those are missing or not absolute. Without
// HOME the home is that of the account of this machine.
func FindDirs(getenv func(string) string) (Dirs, error) {
	home := getenv("HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	if home == "" { // services of systemd have no HOME
		if u, err := user.Current(); err == nil {
			home = u.HomeDir
		}
	}
	config, state := getenv("XDG_CONFIG_HOME"), getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(home) {
		home = ""
	}
	if home == "" && !(filepath.IsAbs(config) && filepath.IsAbs(state)) {
		return Dirs{}, errors.New("no home directory: set HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME")
	}
	if !filepath.IsAbs(config) { // the specification: relative ones are ignored
		config = filepath.Join(home, ".config")
	}
	if !filepath.IsAbs(state) {
		state = filepath.Join(home, ".local", "state")
	}
	return Dirs{Config: filepath.Join(config, "dray"), State: filepath.Join(state, "dray"), Home: home}, nil
}

// HostsFile is the file of the stored hosts: DRAY_HOSTS, or hosts.toml.
func (d Dirs) HostsFile(getenv func(string) string) string {
	if file := getenv("DRAY_HOSTS"); file != "" {
		return file
	}
	return filepath.Join(d.Config, "hosts.toml")
}

// CertsFile is where the certificates are that somebody trusts.
func (d Dirs) CertsFile() string { return filepath.Join(d.State, "trusted_certs") }

// UploadsDir is for the records of uploads that were cut.
func (d Dirs) UploadsDir() string { return filepath.Join(d.State, "uploads") }

// writeWhole replaces file by text, so that a reader sees the old or the new
// one whole. Nobody else may read it. The directory is made. A link is kept,
// and what it leads to is replaced.
func writeWhole(file string, text []byte) error {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+"-") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// readBounded reads a file of at most max bytes.
func readBounded(file string, max int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > max {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, max)
	}
	return b, nil
}

// clean makes text from outside one short line: control characters are shown as
// an escape.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() > 300 {
			b.WriteString("…")
			break
		}
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}
