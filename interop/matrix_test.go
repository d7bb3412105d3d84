package interop

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A way is one combination in which a client can reach a server.
type way struct {
	family string // IPv4 or IPv6
	data   string // passive or active
	tls    string // plain, explicit or implicit
}

func (w way) String() string { return w.family + "-" + w.data + "-" + w.tls }

func (w way) active() bool { return w.data == "active" }
func (w way) plain() bool  { return w.tls == "plain" }

// listen is the address on which a server of w's family listens.
func (w way) listen() string {
	if w.family == "IPv6" {
		return "[::1]:0"
	}
	return "127.0.0.1:0"
}

// ways are all of them, in the order of the printed table.
func ways() []way {
	var out []way
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, data := range []string{"passive", "active"} {
			for _, tls := range []string{"plain", "explicit", "implicit"} {
				out = append(out, way{family, data, tls})
			}
		}
	}
	return out
}

// A client is one row of the matrix.
type client struct {
	name string
	// needs skips the test when the client is not installed.
	needs func(t *testing.T)
	// cannot says why the client itself has no such way; "" when it has.
	cannot func(w way) string
	// on says where the server has to listen; nil or "": on the loopback address.
	on func(w way) string
	// story is what the client does, and what must have come of it.
	story func(t *testing.T, p *play)
}

// A play is one client's story against one server.
type play struct {
	*server
	way
	host, port string
	ca         string // file with the certificate to trust; "" when clients must not verify
	local      string // the client's directory
	ctx        context.Context
	env        []string
}

// newPlay starts a server for w. Clear text is allowed on it only where w is
// plain, so a client that falls back to it is found out.
func newPlay(t *testing.T, w way, args ...string) *play {
	t.Helper()
	w.needs(t)
	args = append([]string{"--ftp", w.listen(), "--ftps", w.listen()}, args...)
	if w.plain() {
		args = append(args, "--plain")
	}
	p := join(t, w, start(t, t.TempDir(), args...))
	p.host, p.port = address(t, "ftp", p.ready.FTP)
	if w.tls == "implicit" {
		p.host, p.port = address(t, "ftps", p.ready.FTPS)
	}
	if !w.plain() {
		p.ca = p.trust(t, p.host)
	}
	return p
}

// join is a play without address on a server that runs already.
func join(t *testing.T, w way, s *server) *play {
	t.Helper()
	p := &play{way: w, server: s, local: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p.ctx = ctx
	// A client sees nothing of the user who runs the tests: no .netrc, no
	// proxy, no stored hosts.
	p.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(),
		"LC_ALL=C.UTF-8", "TZ=UTC", "TERM=dumb",
	}
	return p
}

// needs skips where the loopback lacks w's family.
func (w way) needs(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", w.listen())
	if err != nil {
		missing(t, "MISSING PEER: no "+w.family+" on the loopback interface: "+err.Error())
	}
	l.Close()
}

// url is the address of path in the form of RFC 1738, without the login.
func (p *play) url(path string) string {
	scheme := "ftp"
	if p.tls == "implicit" {
		scheme = "ftps"
	}
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(p.host, p.port), Path: "/" + path}
	return u.String()
}

// try runs a client in its directory and returns all that it printed.
func (p *play) try(name string, args ...string) (string, error) {
	return p.command(name, args...).output()
}

// run is try for a client that must succeed.
func (p *play) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := p.try(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, tail(out, 6000))
	}
	return out
}

type command struct{ *exec.Cmd }

// goOn gives the play another minute: that of its beginning is for all of it.
func (p *play) goOn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p.ctx = ctx
}

func (p *play) command(name string, args ...string) command {
	cmd := exec.CommandContext(p.ctx, name, args...)
	cmd.Dir, cmd.Env = p.local, p.env
	cmd.WaitDelay = 2 * time.Second
	return command{cmd}
}

func (c command) output() (string, error) {
	out, err := c.CombinedOutput()
	return string(out), err
}

// globalIPv6 is an IPv6 address of this host that is not of the loopback, or "".
func globalIPv6() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return ""
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	return ""
}

// script is the path of a file of testdata.
func script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// arguments are what every script of testdata takes, as name=value.
func (p *play) arguments(more ...string) []string {
	return append([]string{
		"host=" + p.host, "port=" + p.port, "user=" + user, "password=" + password,
		"tls=" + p.tls, "data=" + p.data, "ca=" + p.ca, "local=" + p.local,
	}, more...)
}

// matrix collects what became of each combination.
type matrix struct {
	mu      sync.Mutex
	entries map[string]string // client and way
	reasons []string
}

func (m *matrix) put(c client, w way, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[c.name+" "+w.String()] = what
}

// reason numbers why, which many combinations may share.
func (m *matrix) reason(c client, why string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	why = c.name + ": " + why
	for i, r := range m.reasons {
		if r == why {
			return fmt.Sprintf("no %d", i+1)
		}
	}
	m.reasons = append(m.reasons, why)
	return fmt.Sprintf("no %d", len(m.reasons))
}

// table prints m: a line for each way, a column for each client.
func (m *matrix) table(clients []client) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%-22s", "")
	for _, c := range clients {
		fmt.Fprintf(&b, " %-8s", c.name)
	}
	for _, w := range ways() {
		fmt.Fprintf(&b, "\n%-22s", w)
		for _, c := range clients {
			what := m.entries[c.name+" "+w.String()]
			if what == "" {
				what = "not run"
			}
			fmt.Fprintf(&b, " %-8s", what)
		}
	}
	for i, why := range m.reasons {
		fmt.Fprintf(&b, "\nno %d: the client cannot: %s", i+1, why)
	}
	return b.String()
}

func outcome(t *testing.T) string {
	switch {
	case t.Failed():
		return "FAILED"
	case t.Skipped():
		return "skipped"
	}
	return "ok"
}

// Every client works in every way that it has.
func TestPeers(t *testing.T) {
	clients := []client{curl, lftp, ftplib, wget, netftp, rubyftp, phpftp, rclone, tnftp, ncftp}
	m := &matrix{entries: map[string]string{}}
	t.Run("with", func(t *testing.T) { // returns when all that is parallel in it has ended
		for _, c := range clients {
			t.Run(c.name, func(t *testing.T) {
				c.needs(t)
				for _, w := range ways() {
					if why := c.cannot(w); why != "" {
						t.Logf("%v: the client cannot: %s", w, why)
						m.put(c, w, m.reason(c, why))
						continue
					}
					var args []string
					if c.on != nil && c.on(w) != "" {
						addr := net.JoinHostPort(c.on(w), "0")
						args = []string{"--ftp", addr, "--ftps", addr} // the last one holds
					}
					t.Run(w.String(), func(t *testing.T) {
						t.Parallel()
						t.Cleanup(func() { m.put(c, w, outcome(t)) }) // runs after the server has ended
						c.story(t, newPlay(t, w, args...))
					})
				}
			})
		}
	})
	t.Logf("clients and ways:\n%s", m.table(clients))
}
