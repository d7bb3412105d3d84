// Package config is the configuration of a server as plain data: what may be
// set, the defaults, and the complete list of what is wrong with it. It opens
// nothing and starts nothing; package serve does.
package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"dray/account"
)

// Off turns a listener off.
const Off = "off"

// The ports where FTP is expected, and those that a process without privileges
// takes in their place.
const (
	PortFTP, PortFTPHigh   = 21, 2121
	PortFTPS, PortFTPSHigh = 990, 2990
	PortSFTP               = 22
)

// Ports are where a protocol is expected, and behind that what is taken when it
// can't be had, in this order.
func Ports(protocol string) []uint16 {
	switch protocol {
	case "ftps":
		return []uint16{PortFTPS, PortFTPSHigh}
	case "sftp":
		return []uint16{PortSFTP, 2022, 2222} // sshd has the first on most hosts
	}
	return []uint16{PortFTP, PortFTPHigh}
}

// DefaultPassive is below the ephemeral ports of Linux (32768-60999), so that no
// outgoing connection takes one of its ports.
const DefaultPassive = "30000-30999"

// A Quick is what the flags of "serve DIR" set: one directory and one account. The
// zero value of a field is its default.
type Quick struct {
	Dir       string // the directory to serve; required
	User      string // default "dray"
	Password  account.Secret
	Anonymous bool   // "anonymous" and "ftp" may log in, to read
	ReadOnly  bool   // nobody may change anything
	Plain     bool   // passwords may come in clear text
	FTP       string // address of the explicit listener, or "off"; "": 21, else 2121
	FTPS      string // address of the implicit listener, or "off"; "": 990, else 2990
	SFTP      string // address of the listener for SFTP, or "off"; "": 22, else 2022 or 2222, else none
	Keys      string // file with the authorized_keys of the user, "" for none
	Passive   string // passive range, "A-B"; default DefaultPassive
	Public    string // address or host name that clients reach this host by
	State     string // directory for what must survive a start; default StateDir
	Sync      string // "commit" (default) or "none"
	Secrets   string // the file that the password came from, "" for none
}

// A Problem is one thing that is wrong with a configuration.
type Problem struct {
	Field   string // as it is set: a flag, a key such as limits.idle, or a variable
	What    string // what is wrong
	Do      string // what to write instead
	File    string // the configuration file, "" for none
	Line    int    // in File, from 1; 0: of no line
	Warning bool   // nothing is refused for it
}

// String is one line, with the place in front where there is one:
// "dray.toml:12: limits.idle: ...".
func (p Problem) String() string {
	s := p.Field + ": " + p.What + "; " + p.Do
	if p.Warning {
		s = "warning: " + s
	}
	if p.Line > 0 {
		s = fmt.Sprintf("%s:%d: %s", p.File, p.Line, s)
	}
	return s
}

// Defaults returns c with every unset field set, except the addresses, whose
// default is a search.
func (c Quick) Defaults() Quick {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&c.User, "dray")
	set(&c.Passive, DefaultPassive)
	set(&c.Sync, "commit")
	set(&c.State, StateDir())
	return c
}

// Config is q as a configuration file would have it, without the account. A
// listener without an address is to be found one.
func (q Quick) Config() Config {
	c := Config{State: q.State, Public: q.Public, Passive: q.Passive, Sync: q.Sync, SSH: SSH{SCP: true}}
	for _, l := range []struct{ protocol, addr string }{{"ftp", q.FTP}, {"ftps", q.FTPS}, {"sftp", q.SFTP}} {
		if l.addr == Off {
			continue
		}
		if l.protocol == "sftp" {
			sftp := sftpListener()
			if l.addr != "" {
				sftp.Listen = []string{l.addr}
			}
			c.Listeners = append(c.Listeners, sftp)
			continue
		}
		listener := Listener{
			Name: l.protocol, Protocol: l.protocol, Plain: q.Plain, ClearData: q.Plain && l.protocol == "ftp",
			DataSession: "prefer", TLSEnd: "require", Active: true, ActivePort: -1,
		}
		if l.addr != "" {
			listener.Listen = []string{l.addr}
		}
		c.Listeners = append(c.Listeners, listener)
	}
	if q.Anonymous {
		c.Anonymous = Anonymous{Directory: q.Dir, Plain: true}
	}
	return c
}

// StateDir is where state is kept by default: the system's place for root, else
// the user's. "" when the environment names none.
func StateDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/dray"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "dray")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "dray")
	}
	return ""
}

// Check lists all that is wrong with c, which has its defaults.
func (c Quick) Check() []Problem {
	var ps []Problem
	add := func(field, what, do string) { ps = append(ps, Problem{Field: field, What: what, Do: do}) }
	switch fi, err := os.Stat(c.Dir); {
	case c.Dir == "":
		add("DIR", "no directory is named", "write the directory to serve: dray serve DIR")
	case err != nil:
		add("DIR", fmt.Sprintf("%q can't be served: %v", c.Dir, cause(err)), "name a directory that exists")
	case !fi.IsDir():
		add("DIR", fmt.Sprintf("%q is not a directory", c.Dir), "name the directory that holds it")
	}
	if c.Anonymous && account.IsAnonymousName(c.User) {
		add("--user", fmt.Sprintf("%q is the name of the anonymous account", c.User), "choose another name, or leave --anonymous away")
	}
	if strings.ContainsFunc(c.User, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(c.User) > 255 {
		add("--user", "the name has control characters or more than 255 bytes", "use a plain name")
	}
	for _, l := range []struct{ field, addr string }{{"--ftp", c.FTP}, {"--ftps", c.FTPS}, {"--sftp", c.SFTP}} {
		if l.addr == "" || l.addr == Off {
			continue
		}
		if _, _, err := SplitAddr(l.addr); err != nil {
			add(l.field, err.Error(), `write an address such as 192.0.2.1:21, [2001:db8::1]:21 or :2121, or "off"`)
		}
	}
	if c.FTP == Off && c.FTPS == Off && c.SFTP == Off {
		add("--ftp, --ftps, --sftp", "all listeners are off", "leave one of them on")
	}
	if sameAddr(c.FTP, c.FTPS) {
		add("--ftps", "the explicit listener has the same address", "give each its own port")
	}
	if sameAddr(c.SFTP, c.FTP) || sameAddr(c.SFTP, c.FTPS) {
		add("--sftp", "another listener has the same address", "give each its own port")
	}
	if why := keysFlaw(c.Keys); why != "" {
		add("--authorized-keys", why, "name a file of authorized_keys lines, as ~/.ssh/authorized_keys")
	}
	if within(c.Keys, c.Dir) {
		add("--authorized-keys", fmt.Sprintf("%q lies in the served directory, where clients could add a key", c.Keys), "keep it outside")
	}
	if _, _, err := PassiveRange(c.Passive); err != nil {
		add("--passive", err.Error(), "write two ports, such as "+DefaultPassive)
	}
	if c.Public != "" {
		if a, err := netip.ParseAddr(c.Public); err == nil && (a.IsUnspecified() || a.Zone() != "") {
			add("--public", fmt.Sprintf("%q is no address that a client could reach", c.Public), "write the address that clients dial")
		} else if err != nil && !hostName(c.Public) {
			add("--public", fmt.Sprintf("%q is neither an address nor a host name", c.Public), "write the address that clients dial, without a port")
		}
	}
	if c.Sync != "commit" && c.Sync != "none" {
		add("--sync", fmt.Sprintf("%q is not a way to write", c.Sync), `write "commit" (on the disk before the answer) or "none"`)
	}
	if within(c.Secrets, c.Dir) {
		add("--password-file", fmt.Sprintf("%q lies in the served directory, where clients could fetch it", c.Secrets), "keep it outside")
	}
	if within(c.State, c.Dir) {
		add("--state", fmt.Sprintf("%q lies in the served directory, where clients could fetch the private key", c.State), "name a directory outside of it with --state DIR")
	}
	if c.State == "" {
		add("--state", "no home directory is known to keep the certificate in", "name a directory with --state DIR")
	}
	return ps
}

// keysFlaw is what is wrong with a file of keys, "" when nothing is.
func keysFlaw(file string) string {
	if file == "" {
		return ""
	}
	keys, err := account.ReadKeys(file)
	switch {
	case err != nil:
		return err.Error()
	case len(keys) == 0:
		return fmt.Sprintf("%q holds no key", file)
	}
	return ""
}

// sameAddr tells whether two listeners would take the same port. Port 0 is
// another one each time.
func sameAddr(a, b string) bool {
	if a == "" || b == "" || a == Off || b == Off {
		return false
	}
	hostA, portA, errA := SplitAddr(a)
	hostB, portB, errB := SplitAddr(b)
	return errA == nil && errB == nil && portA == portB && portA != 0 && hostA == hostB
}

// within tells whether name lies in dir once links are followed, also when it is
// not there yet.
func within(name, dir string) bool {
	if name == "" || dir == "" {
		return false
	}
	dir, err := filepath.Abs(dir) // first: the working directory may be known by a link
	if err != nil {
		return false
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return false
	}
	if name, err = filepath.Abs(name); err != nil {
		return false
	}
	for at, rest := name, ""; ; at, rest = filepath.Dir(at), filepath.Join(filepath.Base(at), rest) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			rel, err := filepath.Rel(dir, filepath.Join(real, rest))
			return err == nil && filepath.IsLocal(rel)
		}
		if filepath.Dir(at) == at {
			return false
		}
	}
}

// cause leaves away what a path error repeats.
func cause(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return e.Err
	}
	return err
}

func hostName(s string) bool {
	if len(s) > 253 || s == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// SplitAddr reads an address to listen on: "host:port", ":port" or "port".
func SplitAddr(s string) (host string, port uint16, err error) {
	if !strings.Contains(s, ":") {
		s = ":" + s
	}
	host, digits, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no address to listen on", s)
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("%q is no port", digits)
	}
	return host, uint16(n), nil
}

// PassiveRange reads "A-B" or a single port.
func PassiveRange(s string) (first, last uint16, err error) {
	a, b, two := strings.Cut(s, "-")
	if !two {
		b = a
	}
	x, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 16)
	y, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 16)
	switch {
	case err1 != nil || err2 != nil || x == 0:
		return 0, 0, fmt.Errorf("%q is no range of ports", s)
	case x > y:
		return 0, 0, fmt.Errorf("%q ends before it begins", s)
	case x < 1024:
		return 0, 0, fmt.Errorf("%q reaches below port 1024, where services are", s)
	}
	return uint16(x), uint16(y), nil
}
