//go:build linux

package interop

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// forty are small files, more than any limit on connections.
func forty() []named {
	var out []named
	for i := range 40 {
		f := file{fmt.Sprintf("some/file-%02d.bin", i), 1000 * i}
		out = append(out, f.as(f.name))
	}
	return out
}

// A server that takes fewer connections than are asked for, or has fewer ports, gets
// its files over those that it takes.
func TestFewConnectionsAreEnough(t *testing.T) {
	t.Parallel()
	for _, try := range []struct {
		name string
		more []string
		says string // what the server says to the connection that is too many
	}{
		{"vsftpd TLS 1.3", []string{"max_per_ip=3"}, "421 There are too many connections"},
		{"vsftpd plain", []string{"max_per_ip=3"}, "421 There are too many connections"},
		{"ProFTPD TLS 1.3", []string{"MaxClientsPerHost 3"}, "530 Sorry, the maximum number"},
		{"Pure-FTPd", []string{"-C", "3"}, "421 Too many connections"},
		{"OpenSSH", []string{"MaxSessions 1"}, ""},
		{"vsftpd TLS 1.2", []string{"pasv_max_port=PORT"}, ""},
		{"ProFTPD TLS 1.2", []string{"PassivePorts 1 PORT"}, ""},
		{"Pure-FTPd", []string{"-p", "1:PORT"}, ""},
		{"dray ftp", []string{"--passive", "1-PORT"}, ""},
	} {
		t.Run(try.name+" "+strings.Join(try.more, " "), func(t *testing.T) {
			t.Parallel()
			g := customerOf(t, visitTo(t, try.name, try.more...))
			want := plant(t, g.in("up"), forty()...)
			g.must(0, "put", "-q", "-r", "-P", "8", "up", g.url(""))
			same(t, g.root, want.below("up"))
			out := g.must(0, "get", "-vv", "-r", "-P", "8", "--limit-rate", "1M", g.url("up"), "down")
			if !strings.Contains(out.stderr, try.says) {
				t.Errorf("get: %v; want the server to say %q", out, try.says)
			}
			same(t, g.in("down"), want.below("up"))
			if out.took > 20*time.Second {
				t.Errorf("get: %v; want it within 20 s", out)
			}
		})
	}
}

// The address in the answer to PASV is wrong behind many routers: the client takes
// that of the control connection, and says so.
func TestTheAddressOfPASVIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"vsftpd plain", "vsftpd TLS 1.3"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := customerOf(t, visitTo(t, name, "pasv_address=192.168.99.99"))
			want := plant(t, g.root, forty()...)
			out := g.must(0, "get", "-r", "--epsv", "never", g.url("some"), "down")
			same(t, g.in("down"), want)
			if !strings.Contains(out.stderr, "192.168.99.99") {
				t.Errorf("%v; want a word about the address", out)
			}
			if n := strings.Count(out.stderr, "192.168.99.99"); n > 1 {
				t.Errorf("%v; want it said once, not %d times", out, n)
			}
		})
	}
}

// However the client gets its password, nobody else does: it is in no output, no
// file, no command line and no environment of another process.
func TestThePasswordIsNowhere(t *testing.T) {
	t.Parallel()
	const marker = password // what stands for a secret: no other word has it
	ways := map[string]func(g *customer) (url string, args []string, kept []string){
		"file": func(g *customer) (string, []string, []string) {
			name := filepath.Join(g.home, "pw")
			if err := os.WriteFile(name, []byte(marker+"\n"), 0o600); err != nil {
				g.t.Fatal(err)
			}
			return g.url(""), []string{"--password-file", name}, []string{name}
		},
		"environment": func(g *customer) (string, []string, []string) {
			g.env = append(g.env, "DRAY_PASSWORD="+marker)
			return g.url(""), nil, nil
		},
		"netrc": func(g *customer) (string, []string, []string) {
			name := filepath.Join(g.home, ".netrc")
			if err := os.WriteFile(name, []byte("machine 127.0.0.1 login "+user+" password "+marker+"\n"), 0o600); err != nil {
				g.t.Fatal(err)
			}
			return g.url(""), nil, []string{name}
		},
		"command": func(g *customer) (string, []string, []string) {
			name := filepath.Join(g.home, "tell")
			if err := os.WriteFile(name, []byte("#!/bin/sh\nsleep 0.2; cat \"${0%tell}pw\"\n"), 0o700); err != nil {
				g.t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(g.home, "pw"), []byte(marker+"\n"), 0o600); err != nil {
				g.t.Fatal(err)
			}
			return g.url(""), []string{"--password-cmd", name}, []string{filepath.Join(g.home, "pw")}
		},
		"url": func(g *customer) (string, []string, []string) {
			return strings.Replace(g.url(""), user+"@", user+":"+marker+"@", 1), nil, nil
		},
	}
	for _, server := range []string{"dray sftp", "dray ftp", "vsftpd plain", "OpenSSH"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			s := visitTo(t, server)
			content := file{"report.bin", 1 << 20}.as("report.bin")
			plant(t, s.root, content)
			for way, prepare := range ways {
				g := customerOf(t, s)
				plant(t, g.dir, named{"new.bin", content.content})
				g.env = slices.DeleteFunc(g.env, func(e string) bool { return strings.HasPrefix(e, "DRAY_PASSWORD=") })
				url, more, kept := prepare(g)
				if s.over("sftp") { // through a program, as people have behind firewalls
					name := filepath.Join(g.home, "relay.config")
					text := fmt.Sprintf("Host *\n  ProxyCommand /usr/bin/python3 %s %%h %%p\n", script(t, "relay.py"))
					if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
					more = append(more, "-F", name)
				}
				others := 0
				for _, args := range [][]string{
					{"get", "--limit-rate", "4M", url + "report.bin", "."},
					{"get", "--jsonl", url + "report.bin", "again"},
					{"put", "--limit-rate", "4M", "new.bin", url + "new.bin"},
					{"get", "--json", url + "missing.bin"},
					{"ls", "-l", url},
					{"mirror", "--retry", "0", url, "mirrored"},
					{"rm", url + "new.bin"},
				} {
					args = append(append([]string{args[0], "-vv", "--log", "dialogue.log"}, more...), args[1:]...)
					r := g.begin(args...)
					seen := g.watched(r, marker, way == "url")
					out := r.end()
					where, children := seen()
					others += children
					for _, where := range where {
						t.Errorf("%s, %s: the password is in %s", way, args[0], where)
					}
					if out.status != 0 && !slices.Contains(args, "--json") {
						t.Errorf("%s: %v", way, out)
					}
					if strings.Contains(out.stdout+out.stderr, marker) {
						t.Errorf("%s: the password is in the output of %s", way, args[0])
					}
				}
				if s.over("sftp") && others == 0 {
					t.Errorf("%s: no other process was seen; want the relay", way)
				}
				// A cut transfer leaves notes and tells a command.
				r := g.begin(append(append([]string{"get", "--limit-rate", "1M"}, more...), url+"report.bin", "cut")...)
				time.Sleep(400 * time.Millisecond)
				_ = r.Process.Signal(syscall.SIGINT)
				if out := r.end(); strings.Contains(out.stdout+out.stderr, marker) {
					t.Errorf("%s: the password is in the output of a cut get: %v", way, out)
				}
				for _, dir := range []string{g.home, g.dir, g.tmp} {
					for name := range scan(t, dir) {
						name = filepath.Join(dir, name)
						b, err := os.ReadFile(name)
						if err == nil && strings.Contains(string(b), marker) && !slices.Contains(kept, name) {
							t.Errorf("%s: the password is in %s", way, name)
						}
					}
				}
				if b, err := os.ReadFile(g.in("dialogue.log")); err != nil || !strings.Contains(string(b), "->") && !strings.HasSuffix(server, "sftp") && server != "OpenSSH" {
					t.Errorf("%s: the log holds no dialogue: %v\n%s", way, err, tail(string(b), 500))
				}
			}
		})
	}
}

// watched looks at the processes that a run is and has until it ends. The returned
// function tells where secret was seen, and how many other processes were. A URL
// that was typed with a password shows it for as long as the program runs, which
// warns of that.
func (g *customer) watched(r *run, secret string, typed bool) func() (where []string, children int) {
	seen, children := map[string]bool{}, map[int]bool{}
	look := func(pid int, name string) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err == nil && strings.Contains(string(b), secret) {
			who, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
			seen[fmt.Sprintf("%s of %q", name, who)] = true
		}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if !typed {
				look(r.Process.Pid, "cmdline") // its environment was given to it
			}
			for _, pid := range below(g.t, r.Process.Pid) {
				// Between fork and exec it still has the memory of its parent.
				if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || exe == g.bin {
					continue
				}
				children[pid] = true
				look(pid, "cmdline")
				look(pid, "environ")
			}
			select {
			case <-over:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() ([]string, int) {
		close(over)
		<-ended
		return slices.Sorted(maps.Keys(seen)), len(children)
	}
}
