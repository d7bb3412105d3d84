//go:build linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An owner is a user of the machine that an account writes as. Every Debian system
// has these.
type owner struct {
	account, flag string // flag of --owner
	umask         fs.FileMode
	uid, gid      uint32
}

func owners(t *testing.T) []owner {
	t.Helper()
	all := []owner{
		{account: "anna", flag: "games", umask: 0o022},
		{account: "berta", flag: "news", umask: 0o077},
		{account: "carla", flag: "www-data:backup", umask: 0o002},
		{account: "dora", flag: "irc", umask: 0o027},
	}
	for i := range all {
		name, group, _ := strings.Cut(all[i].flag, ":")
		u, err := osuser.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		id := u.Gid
		if group != "" {
			g, err := osuser.LookupGroup(group)
			if err != nil {
				t.Fatal(err)
			}
			id = g.Gid
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(id, 10, 32)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		all[i].uid, all[i].gid = uint32(uid), uint32(gid)
	}
	return all
}

// Capabilities by their numbers (capabilities(7)).
const capSetgid, capSetuid, capNetBind = 6, 7, 10

// A census looks at all threads of a process, time and again.
type census struct {
	looks int
	wrong map[string]bool
	stop  chan struct{}
	ended chan struct{}
}

// watch wants every thread of a process to have the capabilities caps and no
// others, and never an id of root, until end is called.
func watch(pid int, caps uint64) *census {
	c := &census{wrong: map[string]bool{}, stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		for {
			c.look(pid, caps)
			select {
			case <-c.stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return c
}

func (c *census) look(pid int, caps uint64) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		c.wrong["the process has no threads"] = true
	}
	for _, name := range threads {
		b, err := os.ReadFile(name)
		if err != nil { // it has ended
			continue
		}
		c.looks++
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
			switch key {
			case "Uid", "Gid": // real, effective, saved, of the file system
				if slices.Contains(strings.Fields(value), "0") {
					c.wrong[line] = true
				}
			case "Groups":
				if slices.Contains(strings.Fields(value), "0") {
					c.wrong[line] = true
				}
			case "CapInh", "CapPrm", "CapEff", "CapAmb":
				if n, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err != nil || n != caps {
					c.wrong[line] = true
				}
			}
		}
	}
}

// end says what was wrong.
func (c *census) end(t *testing.T) {
	t.Helper()
	close(c.stop)
	<-c.ended
	for line := range c.wrong {
		t.Errorf("a thread has %s", strings.TrimSpace(line))
	}
	t.Logf("%d looks at threads", c.looks)
}

// asUser gives a site to a user without privileges: state, program and ready
// file.
func (s *site) asUser(t *testing.T, name string) (uid, gid int) {
	t.Helper()
	u, err := osuser.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err = strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	b, err3 := os.ReadFile(s.binary)
	s.binary = filepath.Join(s.dir, "dray") // that of the tests is root's alone
	if err := errors.Join(err, err2, err3, os.WriteFile(s.binary, b, 0o755), os.Chown(s.state, uid, gid)); err != nil {
		t.Fatal(err)
	}
	return uid, gid
}

// Accounts with owners write as them, through a server without privileges but
// three: what it makes belongs to the right user and group with the right mode,
// and the kernel keeps everybody out of the others' homes. The account sees them
// all, below a mount.
func TestOwners(t *testing.T) {
	t.Parallel()
	needsRoot(t, "files of other users")
	const serverUser = "nobody"
	for name, start := range map[string]func(t *testing.T, s *site, uid, gid int) *server{
		"started by root": func(t *testing.T, s *site, _, _ int) *server { return s.serve(t) },
		"started by systemd": func(t *testing.T, s *site, uid, gid int) *server {
			return s.serve(t, func(cmd *exec.Cmd) {
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Credential:  &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
					AmbientCaps: []uintptr{capNetBind, capSetuid, capSetgid},
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Low ports, for which the first of the capabilities is.
			at := map[string]string{"started by root": "127.83.1.1", "started by systemd": "127.83.1.2"}[name]
			s := newSite(t, passive(), "")
			s.write(t, fmt.Sprintf("%suser = %q\npassive = %q\nsync = \"none\"\n[[listener]]\nlisten = [\"%s:821\"]\n"+
				"[[listener]]\nprotocol = \"ftps\"\nlisten = [\"%s:890\"]\n", ownersToo, serverUser, passive(), at, at))
			uid, gid := s.asUser(t, serverUser)
			all := owners(t)
			for _, o := range all {
				home := s.add(t, o.account, "--owner", o.flag, "--umask", fmt.Sprintf("%03o", o.umask), "--mount", "/all="+s.homes)
				if err := os.Chmod(home, 0o700); err != nil {
					t.Fatal(err)
				}
				plant(t, home, named{"secret", []byte("of " + o.account)})
				for _, dir := range []string{home, filepath.Join(home, "secret")} {
					if err := os.Chown(dir, int(o.uid), int(o.gid)); err != nil {
						t.Fatal(err)
					}
				}
			}
			srv := start(t, s, uid, gid)
			c := watch(srv.process.Pid, 1<<capNetBind|1<<capSetuid|1<<capSetgid)
			cfg := srv.trusted(t)
			var wg sync.WaitGroup
			const each = 4
			for i := range len(all) * each {
				o := all[i%len(all)]
				road, addr := "explicit", srv.ready.FTP[0]
				if i >= 2*len(all) {
					road, addr = "implicit", srv.ready.FTPS[0]
				}
				wg.Go(func() {
					v, err := enter(t.Context(), road, addr, o.account, cfg, "")
					if err != nil {
						t.Error(err)
						return
					}
					defer v.hangUp()
					for round := range times(4, 100) {
						if err := v.asOwner(t.Context(), fmt.Sprintf("%d-%d", i, round)); err != nil {
							t.Errorf("%s, session %d: %v", o.account, i, err)
						}
						for _, other := range all {
							if other.account != o.account {
								v.keptOut(t, o, other)
							}
						}
					}
				})
			}
			wg.Wait()
			c.end(t)
			for _, o := range all {
				owned(t, filepath.Join(s.homes, o.account), o, each*times(4, 100))
			}
		})
	}
}

// asOwner does all that makes names, and leaves "kept-ID", "directory-ID/moved"
// and "again-ID".
func (v *visitor) asOwner(ctx context.Context, id string) error {
	content := file{id, 20_000}.content()
	err := errors.Join(
		v.upload(ctx, "STOR kept-"+id, content),
		v.upload(ctx, "STOR kept-"+id, content[:10_000]), // which replaces it
		v.upload(ctx, "APPE kept-"+id, content[10_000:]),
		v.ask("MKD directory-"+id, 257),
		v.upload(ctx, "STOR directory-"+id+"/new", content),
		v.ask("RNFR directory-"+id+"/new", 350),
		v.ask("RNTO directory-"+id+"/moved", 250),
		v.ask("SITE CHMOD 640 directory-"+id+"/moved", 200),
		v.ask("MFMT 20210304050607 directory-"+id+"/moved", 213),
		v.upload(ctx, "STOR gone-"+id, content),
		v.ask("DELE gone-"+id, 250),
		v.ask("MKD gone-"+id, 257),
		v.ask("RMD gone-"+id, 250),
		v.upload(ctx, "STOR again-"+id, nil),
	)
	if got, derr := v.download(ctx, "kept-"+id); derr != nil || sum(got) != sum(content) {
		err = errors.Join(err, derr, fmt.Errorf("kept-%s has %d bytes; want what was sent", id, len(got)))
	}
	n, lerr := v.lines(ctx, "MLSD directory-"+id)
	if lerr == nil && n < 1 {
		lerr = fmt.Errorf("directory-%s shows %d names", id, n)
	}
	return errors.Join(err, lerr)
}

// keptOut tries everything in the home of another; rights it has, so only the
// kernel can refuse.
func (v *visitor) keptOut(t *testing.T, o, other owner) {
	t.Helper()
	at := "/all/" + other.account
	for _, line := range []string{
		"CWD " + at, "MKD " + at + "/mine", "DELE " + at + "/secret", "RMD " + at, "SIZE " + at + "/secret", "MDTM " + at + "/secret",
		"MLST " + at + "/secret", "RNFR " + at + "/secret", "MFMT 20210304050607 " + at + "/secret", "SITE CHMOD 777 " + at + "/secret", "SITE CHMOD 777 " + at,
	} {
		if err := v.ask(line, 550); err != nil {
			t.Errorf("%s with the home of %s: %v; want 550", o.account, other.account, err)
		}
	}
	for _, line := range []string{"RETR " + at + "/secret", "STOR " + at + "/mine", "STOR " + at + "/secret", "APPE " + at + "/secret", "MLSD " + at, "NLST " + at} {
		data, err := v.open(t.Context(), line)
		if err == nil {
			_ = data.Close()
			err = v.expect(line, 226)
		}
		if c := code(err); c != 550 && c != 553 {
			t.Errorf("%s with the home of %s: %s: %v; want 550", o.account, other.account, line, err)
		}
	}
}

// owned checks what is in a home after n rounds.
func owned(t *testing.T, home string, o owner, n int) {
	t.Helper()
	found := map[string]int{}
	err := filepath.WalkDir(home, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == home {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		if st.Uid != o.uid || st.Gid != o.gid {
			t.Errorf("%s belongs to %d:%d; want %d:%d", name, st.Uid, st.Gid, o.uid, o.gid)
		}
		kind, _, _ := strings.Cut(d.Name(), "-")
		want := 0o666 &^ o.umask
		switch {
		case d.IsDir():
			want = 0o777 &^ o.umask
		case kind == "moved":
			want = 0o640
		case kind == "secret":
			want = 0o644
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %03o; want %03o", name, fi.Mode().Perm(), want)
		}
		found[kind]++
		return nil
	})
	want := map[string]int{"secret": 1, "kept": n, "again": n, "directory": n, "moved": n}
	if err != nil || fmt.Sprint(found) != fmt.Sprint(want) {
		t.Errorf("%s holds %v; want %v (%v)", home, found, want, err)
	}
}

// A server that may be no owner refuses such an account, and says so.
func TestOwnersNeedTheSetting(t *testing.T) {
	t.Parallel()
	needsRoot(t, "files of other users")
	s := newSite(t, passive(), "user = \"nobody\"\n[[listener]]\nlisten = [\"127.0.0.1:0\"]\n")
	s.asUser(t, "nobody")
	s.add(t, "anna", "--owner", "games")
	srv := s.serve(t)
	c := watch(srv.process.Pid, 1<<capNetBind)
	if _, err := enter(t.Context(), "explicit", srv.ready.FTP[0], "anna", srv.trusted(t), ""); code(err) != 530 || !strings.Contains(err.Error(), "[home]") {
		t.Errorf("login: %v; want 530 and the id of the home", err)
	}
	c.end(t)
	if log := srv.printed(t); !strings.Contains(log, "CAP_SETUID") {
		t.Errorf("the log does not name the capability that is missing:\n%s", log)
	}
}
