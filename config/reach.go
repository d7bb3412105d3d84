package config

import (
	"fmt"
	"path/filepath"
)

// Exposes tells how dir, which clients are to see, would give them what only the
// server may have: its state, the accounts, a private key, the configuration. It
// is the end of a sentence, as `holds the private key "/etc/dray/key.pem"`, and ""
// where all of them are out of reach. Links are followed, and dir may be missing.
func (c *Config) Exposes(dir string) string {
	if dir == "" {
		return ""
	}
	dir = realName(dir)
	if c.State != "" {
		state := realName(c.State)
		switch {
		case dir == state:
			return fmt.Sprintf("is the state directory %q", c.State)
		case below(state, dir):
			return fmt.Sprintf("holds the state directory %q", c.State)
		case below(dir, state):
			return fmt.Sprintf("lies in the state directory %q", c.State)
		}
	}
	files := []struct{ what, name string }{{"the accounts", c.Database()}}
	for _, cert := range c.TLS.Certificates {
		if cert.Key != "" {
			files = append(files, struct{ what, name string }{"the private key", cert.Key})
		} else {
			files = append(files, struct{ what, name string }{"the private key", cert.File})
		}
	}
	for _, key := range c.SSH.HostKeys {
		files = append(files, struct{ what, name string }{"the host key", key})
	}
	files = append(files, struct{ what, name string }{"the configuration", c.File})
	for _, f := range files {
		if f.name == "" {
			continue
		}
		// A link in dir can't be followed out of it, but it can be replaced.
		if below(realName(f.name), dir) || below(filepath.Join(realName(filepath.Dir(f.name)), filepath.Base(f.name)), dir) {
			return fmt.Sprintf("holds %s %q", f.what, f.name)
		}
	}
	return ""
}

// below tells whether name is dir or in it; both are real names.
func below(name, dir string) bool {
	rel, err := filepath.Rel(dir, name)
	return err == nil && filepath.IsLocal(rel)
}

// realName is name from the root on, without links as far as it exists.
func realName(name string) string {
	name, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	for at, rest := name, ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if filepath.Dir(at) == at {
			return name
		}
	}
}
