//go:build linux

package interop

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// An edition is the n-th configuration of a server that is reloaded all the time.
// What changes from one to the next can be read from n.
type edition struct {
	n             int
	passive       [2]string
	certificate   [2]pair
	extra         bool // a listener that every second version has
	taken, broken string
}

// The listeners have addresses of their own, for their ports are of the kernel's
// choice.
const (
	plainAt, explicitAt, implicitAt, extraAt = "127.83.0.1", "127.83.0.2", "127.83.0.3", "127.83.0.4"
)

func (v edition) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "passive = %q\nsync = \"none\"\n", v.passive[v.n%2])
	fmt.Fprintf(&b, "[[listener]]\nname = \"plain\"\nlisten = [\"%s:0\"]\nplain = true\n", plainAt)
	if v.extra {
		fmt.Fprintf(&b, "[[listener]]\nname = \"extra\"\nlisten = [\"%s:0\"]\nbanner = \"extra %d\"\n", extraAt, v.n)
	}
	fmt.Fprintf(&b, "[[listener]]\nname = \"explicit\"\nlisten = [\"%s:0\"]\n", explicitAt)
	fmt.Fprintf(&b, "[[listener]]\nname = \"implicit\"\nprotocol = \"ftps\"\nlisten = [\"%s:0\"]\n", implicitAt)
	if v.taken != "" {
		fmt.Fprintf(&b, "[[listener]]\nname = \"taken\"\nlisten = [%q]\n", v.taken)
	}
	fmt.Fprintf(&b, "[messages]\nbanner = \"version %d\"\n", v.n)
	b.WriteString(v.certificate[v.n%2].toml())
	return b.String() + v.broken
}

// sockets are the lines of /proc/net/tcp: at 1 the own address, at 2 the other one, at
// 3 the state, at 4 what is queued to be sent and to be read, all hexadecimal.
func sockets() (all [][]string, err error) {
	b, err := os.ReadFile("/proc/net/tcp")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 {
			all = append(all, f)
		}
	}
	return all, err
}

// listensAt is the port on which this machine listens at an address, 0 for none.
func listensAt(t *testing.T, addr string) int {
	t.Helper()
	ip := net.ParseIP(addr).To4()
	slices.Reverse(ip) // as the kernel prints it on little-endian machines
	for range 3 {      // the table is read in pieces: one may be missed while others come and go
		all, err := sockets()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f[3] != "0A" {
				continue
			}
			if at, port, ok := strings.Cut(f[1], ":"); ok && at == strings.ToUpper(hex.EncodeToString(ip)) {
				n, err := strconv.ParseUint(port, 16, 16)
				if err != nil {
					t.Fatal(err)
				}
				return int(n)
			}
		}
	}
	return 0
}

// Sizes of the files, in bytes. Those that are downloaded are more than the
// sockets of both sides hold, so the server is in the middle when the client is.
const paced, pacedDown = 1 << 20, 6 << 20

// A hundred transfers over three kinds of listeners go through while the server
// is reloaded every 100 ms: banner, passive range, certificate and listeners
// change, and every third file has a mistake. Each transfer begins before a
// reload and ends after it.
func TestReloadUnderAHundredTransfers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	v := edition{
		passive: [2]string{"30000-30199", "30200-30399"},
		certificate: [2]pair{
			issue(t, now.Add(-time.Hour), now.Add(48*time.Hour), "localhost", "even.test"),
			issue(t, now.Add(-time.Hour), now.Add(48*time.Hour), "localhost", "odd.test"),
		},
	}
	s := newSite(t, v.passive[0], "")
	s.write(t, v.String())
	home := s.add(t, user)
	srv := s.serve(t)
	cfg := trusting(t, v.certificate[0], v.certificate[1])
	roads := []struct{ name, addr string }{
		{"plain", srv.ready.FTP[0]}, {"explicit", srv.ready.FTP[1]}, {"implicit", srv.ready.FTPS[0]},
	}
	taken, err := net.Listen("tcp", "127.83.0.5:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	// One session stands from before the first reload until after the last.
	old, err := enter(t.Context(), "explicit", roads[1].addr, user, cfg, "")
	if err != nil {
		t.Fatal(err)
	}
	defer old.hangUp()

	const workers, each = 12, 9 // 108 transfers
	stored := tree{}
	for i := range workers {
		f := file{fmt.Sprintf("down-%02d.bin", i), pacedDown + i}
		stored = stored.plus(plant(t, home, f.as(f.name)))
	}
	r := &reloads{moved: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var reloaded error
	wg.Go(func() {
		defer r.end()
		reloaded = r.run(ctx, t, s, srv, v, roads[0].addr, taken.Addr().String())
	})
	var transfers atomic.Int64
	var group sync.WaitGroup
	for i := range workers {
		road := roads[i%len(roads)]
		for j := range each {
			if j%2 == 0 {
				f := file{fmt.Sprintf("up-%02d-%d.bin", i, j), paced + 1000*i + j}
				stored[f.name] = sum(f.content())
			}
		}
		group.Go(func() {
			var c *visitor
			var at string
			var err error
			for j := range each {
				if j%3 == 0 { // a session has three transfers
					if c != nil {
						err = c.ask("QUIT", 221)
						c.hangUp()
					}
					if err == nil {
						c, err = enter(ctx, road.name, road.addr, user, cfg, "")
					}
					if err == nil {
						c.dialer.Control = narrow
					}
					at = ""
				}
				if err == nil && j%2 == 0 {
					err = r.upload(ctx, c, &at, file{fmt.Sprintf("up-%02d-%d.bin", i, j), paced + 1000*i + j})
				} else if err == nil {
					err = r.download(ctx, c, &at, file{fmt.Sprintf("down-%02d.bin", i), pacedDown + i})
				}
				if err != nil {
					t.Errorf("%s, worker %d, transfer %d: %v", road.name, i, j, err)
					break
				}
				transfers.Add(1)
			}
			if c != nil {
				c.hangUp()
			}
		})
	}
	group.Wait()
	cancel()
	wg.Wait()
	if reloaded != nil {
		t.Error(reloaded)
	}
	if n := transfers.Load(); n != workers*each {
		t.Errorf("%d transfers went through; want %d", n, workers*each)
	}
	same(t, home, stored)
	if good, bad := r.good.Load(), r.bad.Load(); good < 6 || bad < 3 {
		t.Errorf("%d reloads and %d files with a mistake in the time of the transfers; want 6 and 3 at least", good, bad)
	} else {
		t.Logf("%d transfers through %d reloads and %d files with a mistake", transfers.Load(), good, bad)
	}

	// The old session has what it was accepted with, and still works.
	data, err := old.passive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	if port := data.RemoteAddr().(*net.TCPAddr).Port; port > 30199 {
		t.Errorf("a session from before the reloads is told port %d; want one of 30000-30199", port)
	}
	if got, err := old.download(t.Context(), "down-00.bin"); err != nil || sum(got) != stored["down-00.bin"] {
		t.Errorf("a session from before the reloads downloads %d bytes: %v", len(got), err)
	}
	select {
	case err := <-srv.ended:
		srv.ended <- err
		t.Errorf("the process has ended: %v", err)
	default:
	}
}

// narrow keeps a connection from taking in much that nobody reads.
func narrow(_, _ string, c syscall.RawConn) (err error) {
	cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 128<<10) })
	return errors.Join(cerr, err)
}

// reloads counts those that are done, and lets transfers wait for the next.
type reloads struct {
	good, bad atomic.Int64

	mu    sync.Mutex
	moved chan struct{} // closed at the next reload
	over  bool
}

func (r *reloads) next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moved
}

func (r *reloads) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		close(r.moved)
		r.moved = make(chan struct{})
	}
}

// end lets everybody go on who waits.
func (r *reloads) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.over = true
		close(r.moved)
	}
}

var loaded = regexp.MustCompile(`msg="(configuration loaded|the configuration was not loaded; the one before goes on)"`)

// run reloads until ctx ends and looks at what each reload has done.
func (r *reloads) run(ctx context.Context, t *testing.T, s *site, srv *server, v edition, addr, taken string) error {
	mistakes := []struct {
		text string
		says string
		f    func(*edition)
	}{
		{"a key that there is not", `sinc`, func(v *edition) { v.broken = "[limits]\nsinc = 3\n" }},
		{"a port that is taken", `in use`, func(v *edition) { v.taken, v.extra = taken, !v.extra }},
		{"a certificate that is gone", `can't be opened`, func(v *edition) { v.certificate[0].cert += ".gone"; v.certificate[1].cert += ".gone" }},
		{"no TOML", `dray.toml:`, func(v *edition) { v.broken = "[messages\n" }},
		{"another state directory", `state`, func(v *edition) { v.broken = "" }},
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	j, seen := srv.journal(), 0
	extraPort := 0
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		next, wrong := v, i%3 == 0
		next.n++
		next.extra = next.n%2 == 1
		says := "configuration loaded"
		if wrong {
			m := mistakes[i/3%len(mistakes)]
			m.f(&next)
			says = m.says
			if m.text == "another state directory" {
				other := *s
				other.state += "-other"
				other.write(t, next.String())
			} else {
				s.write(t, next.String())
			}
		} else {
			s.write(t, next.String())
		}
		if err := srv.process.Signal(syscall.SIGHUP); err != nil {
			return err
		}
		var lines []string
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			more, err := j.from(seen)
			if err != nil {
				return err
			}
			seen += len(more)
			lines = append(lines, more...)
			if slices.ContainsFunc(more, loaded.MatchString) {
				break
			}
			if time.Now().After(deadline) {
				return errors.New("SIGHUP: no line of the log says how it ended, in 20 s")
			}
		}
		text := strings.Join(lines, "\n")
		if ok := strings.Contains(text, `msg="configuration loaded"`); ok == wrong || !strings.Contains(text, says) {
			return fmt.Errorf("reload %d: loaded: %v; want %v and %q in the log:\n%s", i, ok, !wrong, says, text)
		}
		if wrong {
			r.bad.Add(1)
		} else {
			v = next
			r.good.Add(1)
		}
		if err := v.holds(t, addr, &extraPort); err != nil {
			return fmt.Errorf("after reload %d: %w", i, err)
		}
		r.done()
	}
}

// holds tells whether v is what new connections get.
func (v edition) holds(t *testing.T, addr string, extraPort *int) error {
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return err
	}
	c := &visitor{host: plainAt}
	c.over(nc)
	defer c.hangUp()
	if _, text, err := c.reply(); err != nil || text != fmt.Sprintf("version %d", v.n) {
		return fmt.Errorf("the greeting is %q (%v); want version %d", text, err, v.n)
	}
	if err := c.ask("AUTH TLS", 234); err != nil {
		return err
	}
	tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // which one it is, is what is asked
	if err := tc.Handshake(); err != nil {
		return err
	}
	if got, want := tc.ConnectionState().PeerCertificates[0].DNSNames[1], []string{"even.test", "odd.test"}[v.n%2]; got != want {
		return fmt.Errorf("the certificate is for %s; want %s", got, want)
	}
	port := listensAt(t, extraAt)
	if (port != 0) != v.extra {
		return fmt.Errorf("version %d listens at %s on port %d; want one: %v", v.n, extraAt, port, v.extra)
	}
	if port == 0 && *extraPort != 0 {
		if nc, err := net.Dial("tcp", net.JoinHostPort(extraAt, strconv.Itoa(*extraPort))); err == nil {
			_ = nc.Close()
			return errors.New("a listener that was taken away still answers")
		}
	}
	*extraPort = port
	return nil
}

// ranged checks that all data ports of a session are of the range with which it
// was accepted. at is what was seen so far.
func ranged(nc net.Conn, at *string) error {
	port := nc.RemoteAddr().(*net.TCPAddr).Port
	in := "30000-30199"
	if port > 30199 {
		in = "30200-30399"
	}
	if *at != "" && *at != in {
		return fmt.Errorf("port %d in a session that was told one of %s before", port, *at)
	}
	*at = in
	return nil
}

// upload sends the first half before a reload and the second after it.
func (r *reloads) upload(ctx context.Context, c *visitor, at *string, f file) error {
	data, err := c.open(ctx, "STOR "+f.name)
	if err != nil {
		return err
	}
	defer data.Close()
	next, content := r.next(), f.content()
	if _, err = data.Write(content[:f.size/2]); err == nil {
		<-next
		_, err = data.Write(content[f.size/2:])
	}
	return errors.Join(ranged(data, at), err, finish(data), c.expect("STOR", 226))
}

// download reads the first half before a reload and the second after it.
func (r *reloads) download(ctx context.Context, c *visitor, at *string, f file) error {
	data, err := c.open(ctx, "RETR "+f.name)
	if err != nil {
		return err
	}
	defer data.Close()
	next, got := r.next(), make([]byte, f.size/2)
	if _, err = io.ReadFull(data, got); err == nil {
		<-next
		var rest []byte
		rest, err = io.ReadAll(data)
		got = append(got, rest...)
	}
	if err == nil && sum(got) != sum(f.content()) {
		err = fmt.Errorf("%s is %s; want %s", filepath.Base(f.name), sum(got), sum(f.content()))
	}
	return errors.Join(ranged(data, at), err, c.expect("RETR", 226))
}
