package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// A teller is a Source for tests.
type teller struct {
	info     Info
	sessions []Session
	watchdog Watchdog
	panics   bool
}

func (s *teller) Info() Info { return s.info }

func (s *teller) Sessions() []Session {
	if s.panics {
		panic("no sessions")
	}
	return s.sessions
}

func (s *teller) Watchdog() Watchdog { return s.watchdog }

// place is where a socket can be: names of sockets are short, and those of tests long.
func place(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dray")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "admin.sock")
}

// serve answers at a new socket.
func serve(t testing.TB, source Source) (path string) {
	t.Helper()
	path = place(t)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(l, source) }()
	t.Cleanup(func() {
		_ = l.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return path
}

func dial(t testing.TB, path string) *Client {
	t.Helper()
	c, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAnswersAreWhatTheSourceTells(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := &teller{
		info:     Info{Version: "1", PID: 7, Started: now, Listeners: []Listener{{Name: "ftp", Address: "127.0.0.1:21"}}, Certificates: []Certificate{{Names: []string{"a"}, Until: now}}},
		sessions: []Session{{ID: "x", User: "anna\n\x1b", Since: now, Tasks: []Task{{What: "upload", Path: "/a", Bytes: 1, Size: -1, Since: now}}}},
		watchdog: Watchdog{
			Findings: []Finding{{ID: "data-blocked", Network: "192.0.2.0/24", Text: "x", Times: 2, Last: now}},
			Networks: []Network{{Network: "192.0.2.0/24", Offered: 3, Last: &now, At: "192.0.2.1:5"}}, Pools: []Pool{{Range: "1-2", Size: 2}},
		},
	}
	path := serve(t, s)
	if fi, err := os.Lstat(path); err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", fi, err)
	}
	c := dial(t, path)
	for range 2 { // several questions on one connection
		info, err := c.Info()
		if err != nil || !reflect.DeepEqual(info, s.info) {
			t.Errorf("Info = %+v, %v", info, err)
		}
		sessions, more, err := c.Sessions()
		if err != nil || more != 0 || !reflect.DeepEqual(sessions, s.sessions) {
			t.Errorf("Sessions = %+v, %d, %v", sessions, more, err)
		}
		seen, err := c.Watchdog()
		if err != nil || !reflect.DeepEqual(seen, s.watchdog) {
			t.Errorf("Watchdog = %+v, %v", seen, err)
		}
	}
	_, err := c.ask("kick")
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), `"kick"`) {
		t.Errorf("a request that is not there: %v", err)
	}
}

func TestManySessionsAreCutOff(t *testing.T) {
	s := &teller{sessions: make([]Session, MaxSessions+3)}
	all, more, err := dial(t, serve(t, s)).Sessions()
	if err != nil || len(all) != MaxSessions || more != 3 {
		t.Errorf("%d sessions and %d more, %v", len(all), more, err)
	}
	for i := range s.sessions {
		s.sessions[i].User = strings.Repeat("x", 5000)
	}
	if _, _, err := dial(t, serve(t, s)).Sessions(); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("an answer above the limit: %v", err)
	}
}

// What a client says that is none, and one that only connects, ends nothing else.
func TestHostileClients(t *testing.T) {
	s := &teller{}
	path := serve(t, s)
	for _, c := range []struct{ name, says, wants string }{
		{"garbage", "\x00\xff\n", "no request in JSON"},
		{"no object", "[]\n", "no request in JSON"},
		{"another version", `{"v":2,"do":"info"}` + "\n", "version"},
		{"no version", `{"do":"info"}` + "\n", "version"},
		{"no request", `{"v":1}` + "\n", "there is no request"},
		{"a long name", `{"v":1,"do":"` + strings.Repeat("x", 60000) + `"}` + "\n", "there is no request"},
		{"a long line", strings.Repeat("x", maxRequest+1) + "\n", "too long"},
		{"a line without an end", strings.Repeat("x", 4*maxRequest), "too long"},
		{"half a line", `{"v":1`, ""},
		{"nothing", "", ""},
	} {
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = io.WriteString(nc, c.says)
			if u := nc.(*net.UnixConn); c.wants == "" {
				_ = u.CloseWrite()
			}
		}()
		_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		line, _ := bufio.NewReader(nc).ReadString('\n')
		var a answer
		if err := json.Unmarshal([]byte(line), &a); c.wants != "" && (err != nil || a.OK || a.V != Version || !strings.Contains(a.Error, c.wants)) || c.wants == "" && line != "" {
			t.Errorf("%s: answered by %.200q", c.name, line)
		}
		_ = nc.Close()
	}
	s.panics = true
	c := dial(t, path)
	if _, _, err := c.Sessions(); err == nil {
		t.Error("no error where the source fails")
	}
	if _, err := c.Info(); err != nil {
		t.Errorf("after a request that failed: %v", err)
	}
	// As many as there may be, and all of them silent: one more is sent away, and the
	// others find their place when they go.
	var all []net.Conn
	for range maxConns + 4 {
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, nc)
	}
	for _, nc := range all {
		_ = nc.Close()
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c := dial(t, path)
		if _, err := c.Info(); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("nobody is answered any more: %v", err)
		}
	}
}

func TestASocketIsTakenFromNobody(t *testing.T) {
	path := serve(t, &teller{info: Info{PID: 1}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Listen(path); !errors.Is(err, ErrTaken) {
				t.Errorf("Listen = %v", err)
			}
		})
	}
	wg.Wait()
	if info, err := dial(t, path).Info(); err != nil || info.PID != 1 {
		t.Errorf("the first server answers %+v, %v", info, err)
	}
}

func TestASocketThatADeadServerHasLeft(t *testing.T) {
	path := place(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	if _, err := Dial(path); !errors.Is(err, ErrSilent) {
		t.Errorf("Dial = %v", err)
	}
	again, err := Listen(path)
	if err != nil {
		t.Fatalf("Listen = %v", err)
	}
	_ = again.Close()
	if _, err := Dial(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the end: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 0 {
		t.Errorf("it has left %v, %v", left, err)
	}
	// A living one without a lock, of an older version, say, keeps its socket.
	other, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := Listen(path); !errors.Is(err, ErrTaken) {
		t.Errorf("Listen = %v", err)
	}
}

// Of several that start and end at once there is one at a time.
func TestOneServerAtATime(t *testing.T) {
	path := place(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	open, opened := 0, 0
	for range 8 {
		wg.Go(func() {
			for range 50 {
				l, err := Listen(path)
				if errors.Is(err, ErrTaken) {
					continue
				}
				if err != nil {
					t.Errorf("Listen = %v", err)
					return
				}
				mu.Lock()
				open++
				opened++
				if open > 1 {
					t.Error("two have the socket")
				}
				mu.Unlock()
				time.Sleep(time.Millisecond)
				mu.Lock()
				open--
				mu.Unlock()
				if err := l.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
			}
		})
	}
	wg.Wait()
	if opened == 0 {
		t.Error("nobody ever had it")
	}
}

func TestWhatIsNoSocketStays(t *testing.T) {
	path := place(t)
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); err == nil {
		t.Error("Listen succeeds")
	}
	if b, err := os.ReadFile(path); string(b) != "mine" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// A server that answers nonsense is no reason to fail in another way than by an error.
func TestHostileServers(t *testing.T) {
	for _, says := range []string{"", "x\n", "{}\n", "{\"v\":1,\"ok\":true}\n", "{\"v\":9,\"ok\":true,\"info\":{}}\n", "{\"v\":1,\"ok\":true,\"info\":"} {
		path := place(t)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if nc, err := l.Accept(); err == nil {
				_, _ = bufio.NewReader(nc).ReadString('\n')
				_, _ = io.WriteString(nc, says)
				_ = nc.Close()
			}
		}()
		if _, err := dial(t, path).Info(); err == nil {
			t.Errorf("%q is an answer", says)
		}
		_ = l.Close()
	}
}

// A line is a request of this version, or an error.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"v":1,"do":"info"}`))
	f.Add([]byte(`{"v":1,"do":"sessions","more":[1,2]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		q, err := parseRequest(line)
		if err == nil && q.V != Version || err != nil && q != (request{}) {
			t.Fatalf("parseRequest(%q) = %+v, %v", line, q, err)
		}
		out, err := encode(reply(q, &teller{}))
		if err != nil || strings.Count(string(out), "\n") != 1 || !strings.HasSuffix(string(out), "\n") {
			t.Fatalf("%q is answered by %q, %v", line, out, err)
		}
	})
}
