package serve

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"dray/account"
	"dray/certs"
	"dray/config"
	"dray/vfs"
	"dray/vfs/osfs"
)

const password = "correct horse 9"

// A journal is a log that can be read while it is written.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) log() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// onLoopback is a configuration of temporary directories and free ports.
func onLoopback(t *testing.T) config.Quick {
	t.Helper()
	c := config.Quick{
		Dir: t.TempDir(), State: t.TempDir(), Password: account.NewSecret(password),
		FTP: "127.0.0.1:0", FTPS: "127.0.0.1:0", SFTP: config.Off, Sync: "none",
	}.Defaults()
	if ps := c.Check(); len(ps) > 0 {
		t.Fatal(ps)
	}
	return c
}

// start serves until stop is called, or the test ends.
func start(t *testing.T, c config.Quick) (r *Running, stop func(), j *journal) {
	t.Helper()
	j = new(journal)
	r, err := Start(Quick(c), j.log())
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("Stop() = %v", err)
		}
		if log := j.String(); strings.Contains(log, "level=ERROR") {
			t.Errorf("the log has errors:\n%s", log)
		}
	})
	t.Cleanup(stop)
	return r, stop, j
}

// A client speaks the control connection of FTP, a line at a time.
type client struct {
	t *testing.T
	c net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return use(t, c)
}

func use(t *testing.T, c net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return &client{t, c, bufio.NewReader(c)}
}

// under puts the connection under TLS and checks that the certificate is the
// one that the card tells.
func (c *client) under(card Card) *client {
	c.t.Helper()
	conn := tls.Client(c.c, &tls.Config{InsecureSkipVerify: true}) // compared below
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	if got := hex.EncodeToString(sum[:]); got != card.SHA256Hex {
		c.t.Errorf("the certificate is %s, the card tells %s", got, card.SHA256Hex)
	}
	return use(c.t, conn)
}

// want reads one reply, which must begin so, and returns it.
func (c *client) want(begin string) string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, begin) {
		c.t.Fatalf("the server said %q, %v; want %s", line, err, begin)
	}
	return strings.TrimSpace(line)
}

// say sends a command and wants a reply that begins so.
func (c *client) say(command, begin string) string {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.c, "%s\r\n", command); err != nil {
		c.t.Fatal(err)
	}
	return c.want(begin)
}

func (c *client) login(user, password string) string {
	c.t.Helper()
	c.say("USER "+user, "331")
	return c.say("PASS "+password, "230")
}

func TestAServerServesBothListenersAndStops(t *testing.T) {
	c := onLoopback(t)
	if err := os.WriteFile(filepath.Join(c.Dir, "a.txt"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, stop, _ := start(t, c)
	if len(r.Card.FTP) != 1 || len(r.Card.FTPS) != 1 {
		t.Fatalf("card %+v; want one address of each", r.Card)
	}

	plain := dial(t, r.Card.FTP[0])
	plain.want("220")
	if got := plain.say("USER dray", "5"); !strings.Contains(got, "[tls-required]") {
		t.Errorf("USER in clear text got %q", got)
	}
	plain.say("AUTH TLS", "234")
	explicit := plain.under(r.Card)
	explicit.login("dray", password)
	explicit.say("SIZE a.txt", "213 5")
	explicit.say("DELE a.txt", "250")

	implicit := dial(t, r.Card.FTPS[0]).under(r.Card)
	implicit.want("220")
	implicit.login("dray", password)

	stop()
	for _, open := range []*client{explicit, implicit} {
		if got := open.want("421"); !strings.Contains(got, "[shutdown]") {
			t.Errorf("the goodbye is %q", got)
		}
	}
	for _, addr := range append(r.Card.FTP, r.Card.FTPS...) {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			_ = c.Close()
			t.Errorf("%s answers after Stop", addr)
		}
	}
}

func TestOneListenerMayBeOff(t *testing.T) {
	c := onLoopback(t)
	c.FTP = config.Off
	r, _, _ := start(t, c)
	if len(r.Card.FTP) != 0 || len(r.Card.FTPS) != 1 {
		t.Errorf("addresses %v and %v; want only implicit FTPS", r.Card.FTP, r.Card.FTPS)
	}
	dial(t, r.Card.FTPS[0]).under(r.Card).want("220")
}

func TestWhoMayDoWhat(t *testing.T) {
	tests := []struct {
		name     string
		set      func(*config.Quick)
		user     string
		clear    bool   // whether the password is taken in clear text
		readOnly bool   // what the login says
		mkd      string // the answer to MKD
	}{
		{"the user", func(*config.Quick) {}, "dray", false, false, "257"},
		{"a user of another name", func(c *config.Quick) { c.User = "scanner" }, "scanner", false, false, "257"},
		{"a reader", func(c *config.Quick) { c.ReadOnly = true }, "dray", false, true, "550"},
		{"the user where clear text is allowed", func(c *config.Quick) { c.Plain = true }, "dray", true, false, "257"},
		{"strangers, in clear text too", func(c *config.Quick) { c.Anonymous = true }, "anonymous", true, true, "550"},
		{"the user beside strangers", func(c *config.Quick) { c.Anonymous = true }, "dray", false, false, "257"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := onLoopback(t)
			tt.set(&c)
			r, _, _ := start(t, c)
			k := dial(t, r.Card.FTP[0])
			k.want("220")
			if !tt.clear {
				k.say("USER "+tt.user, "5")
				k.say("AUTH TLS", "234")
				k = k.under(r.Card)
			}
			if got := k.login(tt.user, password); strings.Contains(got, "reading only") != tt.readOnly {
				t.Errorf("the login says %q", got)
			}
			k.say("MKD made", tt.mkd)
		})
	}
}

func TestTheCardTellsWhatAClientHasToKnow(t *testing.T) {
	c := onLoopback(t)
	c.User, c.Anonymous, c.ReadOnly, c.Public, c.Passive = "anna", true, true, "198.51.100.7", "40000-40099"
	r, _, _ := start(t, c)
	card := r.Card
	if card.Dir != c.Dir || card.User != "anna" || !card.Anonymous || !card.ReadOnly || card.Plain ||
		card.Public != c.Public || card.Passive != c.Passive {
		t.Errorf("card %+v", card)
	}
	if got := strings.ToLower(strings.ReplaceAll(card.SHA256, ":", "")); got != card.SHA256Hex || len(got) != 64 {
		t.Errorf("fingerprints %s and %s", card.SHA256, card.SHA256Hex)
	}
	if card.Certificate != filepath.Join(c.State, certs.PublicFile) {
		t.Errorf("the certificate is said to be %s", card.Certificate)
	}
	if b, err := os.ReadFile(card.Certificate); err != nil || strings.Contains(string(b), "PRIVATE") {
		t.Errorf("the card names a file with the key, or none: %v", err)
	}
	if fi, err := os.Stat(filepath.Join(c.State, certs.SelfSignedFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file with the key: %v, %v", fi, err)
	}
	for _, addr := range append(card.FTP, card.FTPS...) {
		if ap, err := netip.ParseAddrPort(addr); err != nil || ap.Port() == 0 {
			t.Errorf("%q is no address that a client could dial", addr)
		}
	}
}

func TestTheCertificateIsMadeOnce(t *testing.T) {
	c := onLoopback(t)
	first, stop, j := start(t, c)
	if !strings.Contains(j.String(), "made a self-signed certificate") {
		t.Errorf("the first start does not say that it made one:\n%s", j)
	}
	stop()
	again, stop, j := start(t, c)
	if again.Card.SHA256 != first.Card.SHA256 {
		t.Errorf("the second start has the certificate %s, the first had %s", again.Card.SHA256, first.Card.SHA256)
	}
	if strings.Contains(j.String(), "made a self-signed certificate") {
		t.Errorf("the second start made one:\n%s", j)
	}
	stop()
	c.State = t.TempDir()
	other, _, _ := start(t, c)
	if other.Card.SHA256 == first.Card.SHA256 {
		t.Error("another state directory has the same certificate")
	}
}

// hiddenIn lists the names of a directory that the tree keeps for itself.
func hiddenIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), vfs.Hidden) {
			names = append(names, e.Name())
		}
	}
	return names
}

// A server that died in the middle of an upload leaves a file with a number.
// The next start makes it what a cut upload is, before the first client.
func TestAStartPutsAwayWhatADeadServerLeft(t *testing.T) {
	c := onLoopback(t)
	tree, err := osfs.NewDisk(osfs.SyncNone, nil).Open(c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	p, err := vfs.Resolve(vfs.Root, "/scan.pdf")
	if err != nil {
		t.Fatal(err)
	}
	up, err := tree.Create(t.Context(), p, vfs.Create{Owner: c.User})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := up.WriteAt(make([]byte, 10_000), 0); err != nil {
		t.Fatal(err)
	}
	names := hiddenIn(t, c.Dir)
	if len(names) != 1 || !strings.Contains(names[0], ".") {
		t.Fatalf("a running upload has the files %q", names)
	}
	// As a dead process leaves it: nobody holds a lock on it.
	b, err := os.ReadFile(filepath.Join(c.Dir, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	digit := names[0][len(names[0])-1:]
	left := strings.TrimSuffix(names[0], digit) + map[bool]string{true: "1", false: "0"}[digit == "0"]
	if err := errors.Join(up.Discard(), os.WriteFile(filepath.Join(c.Dir, left), b, 0o600)); err != nil {
		t.Fatal(err)
	}

	r, _, _ := start(t, c)
	partial := left[:strings.LastIndex(left, ".")]
	if names := hiddenIn(t, c.Dir); !slices.Equal(names, []string{partial}) {
		t.Errorf("after the start there are %q, want %q", names, partial)
	}
	k := dial(t, r.Card.FTPS[0]).under(r.Card)
	k.want("220")
	k.login(c.User, password)
	k.say("SIZE scan.pdf", fmt.Sprint("213 ", 10_000-vfs.CutTail)) // its owner may resume it
	k.say("RETR scan.pdf", "550")                                  // and it is no finished file
}

func TestAStartThatFailsSaysWhyAndLeavesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := func(t *testing.T) string { // an address that is free once the start has failed
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	tests := []struct {
		name string
		set  func(t *testing.T, c *config.Quick)
		want []string
	}{
		{"a port that is taken", func(t *testing.T, c *config.Quick) { c.FTP, c.FTPS = free(t), taken.Addr().String() },
			[]string{"--ftps", "in use by another program"}},
		{"both ports taken are both named", func(t *testing.T, c *config.Quick) { c.FTP, c.FTPS = taken.Addr().String(), taken.Addr().String() },
			[]string{"--ftp:", "--ftps:"}},
		{"an address of another host", func(t *testing.T, c *config.Quick) { c.FTP = "192.0.2.1:0" },
			[]string{"--ftp", "does not have that address"}},
		{"a directory that has gone", func(t *testing.T, c *config.Quick) { c.Dir += "/gone" }, []string{"gone", "no such file"}},
		{"a certificate that is none", func(t *testing.T, c *config.Quick) {
			if err := os.WriteFile(filepath.Join(c.State, certs.SelfSignedFile), []byte("hello"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"certificate", certs.SelfSignedFile}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := onLoopback(t)
			tt.set(t, &c)
			j := new(journal)
			r, err := Start(Quick(c), j.log())
			if err == nil {
				_ = r.Stop(t.Context())
				t.Fatal("Start() = nil")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Start() = %v; want %q in it", err, want)
				}
			}
			if host, _, _ := net.SplitHostPort(c.FTP); host == "127.0.0.1" && !strings.HasSuffix(c.FTP, ":0") && c.FTP != taken.Addr().String() {
				l, err := net.Listen("tcp", c.FTP)
				if err != nil {
					t.Fatalf("the other listener stays: %v", err)
				}
				_ = l.Close()
			}
		})
	}
}

// portOf is a port of this host that somebody has taken until the test ends.
func portOf(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

func TestTheHighPortStandsInForTheLowOne(t *testing.T) {
	low, j := portOf(t), new(journal)
	l, err := listen("", []uint16{low, 0}, j.log())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := netip.MustParseAddrPort(l.Addr().String())
	if got.Port() == low || !got.Addr().IsUnspecified() {
		t.Errorf("listening on %v though %d is taken", got, low)
	}
	if log := j.String(); !strings.Contains(log, fmt.Sprint("wanted=", low)) || !strings.Contains(log, "in use by another program") {
		t.Errorf("the log does not say why:\n%s", log)
	}
}

func TestWhereBothPortsAreTakenTheHighOneIsNamed(t *testing.T) {
	low, high := portOf(t), portOf(t)
	l, err := listen("", []uint16{low, high}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d is in use", high)) {
		t.Errorf("listen() = %v, %v", l, err)
	}
}

// An address that was asked for is never replaced by another one.
func TestAnAddressThatIsTakenIsAnError(t *testing.T) {
	low := portOf(t)
	l, err := listen(fmt.Sprint(low), []uint16{low, 0}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d is in use", low)) {
		t.Errorf("listen() = %v, %v", l, err)
	}
}

func TestWhySaysWhatToDoAboutAPort(t *testing.T) {
	op := func(errno syscall.Errno) error {
		return &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)}
	}
	for want, err := range map[string]error{
		"port 21 needs the capability CAP_NET_BIND_SERVICE or root": op(syscall.EACCES),
		"port 21 is in use by another program (ss -ltnp names it)":  op(syscall.EADDRINUSE),
	} {
		if got := why(err, 21).Error(); got != want {
			t.Errorf("why(%v) = %q, want %q", err, got, want)
		}
	}
	if err := op(syscall.ENOMEM); !errors.Is(why(err, 21), error(syscall.ENOMEM)) {
		t.Errorf("why(%v) has lost the cause", err)
	}
}

func TestWhatPASVTells(t *testing.T) {
	addr := netip.MustParseAddr
	const public4, public6 = "198.51.100.7", "2001:db8::7"
	tests := []struct {
		name, public, peer, local, want string
	}{
		{"without a public address, what was reached", "", "203.0.113.9", "10.0.0.2", "10.0.0.2"},
		{"a peer from elsewhere gets the public one", public4, "203.0.113.9", "10.0.0.2", public4},
		{"a peer on a private network what it has reached", public4, "10.0.0.9", "10.0.0.2", "10.0.0.2"},
		{"also on another private network", public4, "192.168.7.9", "10.0.0.2", "10.0.0.2"},
		{"so does loopback", public4, "127.0.0.1", "127.0.0.1", "127.0.0.1"},
		{"and a peer on the link", public4, "169.254.3.4", "169.254.1.1", "169.254.1.1"},
		{"an IPv6 peer of a private network", public4, "fd00::9", "fd00::2", "fd00::2"},
		{"IPv4 inside IPv6 is IPv4", "::ffff:" + public4, "203.0.113.9", "10.0.0.2", public4},
		{"two ends of one overlay network", public4, "100.101.0.9", "100.101.0.2", "100.101.0.2"},
		{"a provider's NAT is elsewhere", public4, "100.101.0.9", "10.0.0.2", public4},
		{"PASV has no room for an IPv6 address", public6, "203.0.113.9", "10.0.0.2", "10.0.0.2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPublicName(tt.public, slog.New(slog.DiscardHandler))
			got, err := p.tell(addr(tt.peer), addr(tt.local))
			if err != nil || got != addr(tt.want) {
				t.Errorf("tell(%s, %s) = %v, %v; want %s", tt.peer, tt.local, got, err, tt.want)
			}
		})
	}
}

func TestAPublicNameIsLookedUp(t *testing.T) {
	j := new(journal)
	p := newPublicName("localhost", j.log())
	loopback := p.addr
	if !loopback.IsLoopback() || p.fixed().IsValid() {
		t.Errorf("localhost is %v, fixed %v", loopback, p.fixed())
	}
	// The address has changed since.
	p.addr = netip.MustParseAddr("198.51.100.7")
	if got, err := p.tell(netip.MustParseAddr("203.0.113.9"), loopback); err != nil || got != p.addr {
		t.Errorf("tell() = %v, %v; want the last address while it is fresh", got, err)
	}
	if err := p.look(); err != nil || p.addr != loopback {
		t.Errorf("look() = %v, the address is %v", err, p.addr)
	}
	if !strings.Contains(j.String(), "public address changed") {
		t.Errorf("the log does not tell of the change:\n%s", j)
	}
}

// fixedAddr is a net.Addr of a text.
type fixedAddr string

func (fixedAddr) Network() string  { return "tcp" }
func (a fixedAddr) String() string { return string(a) }

func TestWhereAListenerCanBeReached(t *testing.T) {
	if got := reachable(fixedAddr("192.0.2.1:21")); !slices.Equal(got, []string{"192.0.2.1:21"}) {
		t.Errorf("a listener of one address: %q", got)
	}
	four, six := reachable(fixedAddr("0.0.0.0:2121")), reachable(fixedAddr("[::]:2121"))
	for _, got := range [][]string{four, six} {
		if got[0] != "127.0.0.1:2121" {
			t.Errorf("the wildcard: %q; want loopback first", got)
		}
		for _, addr := range got {
			if ap, err := netip.ParseAddrPort(addr); err != nil || ap.Port() != 2121 || ap.Addr().IsUnspecified() {
				t.Errorf("%q is no address that a client could dial", addr)
			}
		}
	}
	for _, addr := range four {
		if !netip.MustParseAddrPort(addr).Addr().Is4() {
			t.Errorf("an IPv4 listener is said to answer at %s", addr)
		}
	}
}

func TestTheLimitsFitTheDescriptors(t *testing.T) {
	l := limits(config.Config{})
	if n := maxFiles(); n > 64 && l.Total*4 > n {
		t.Errorf("%d connections with up to 4 descriptors each, of %d", l.Total, n)
	}
	if l.PerAddress > l.Total || l.Pending > l.Total || l.PendingPerAddress > l.PerAddress {
		t.Errorf("limits %+v contradict each other", l)
	}
}

// Two servers of one process share nothing.
func TestTwoServersInOneProcess(t *testing.T) {
	a, b := onLoopback(t), onLoopback(t)
	b.User = "otto"
	first, stop, _ := start(t, a)
	second, _, _ := start(t, b)
	stop()
	k := dial(t, second.Card.FTPS[0]).under(second.Card)
	k.want("220")
	k.login("otto", password)
	if first.Card.SHA256 == second.Card.SHA256 {
		t.Error("both have one certificate")
	}
	if _, err := os.Stat(filepath.Join(a.State, certs.SelfSignedFile)); errors.Is(err, fs.ErrNotExist) {
		t.Error("the first has no certificate of its own")
	}
}
