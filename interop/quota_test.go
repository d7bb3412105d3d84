//go:build linux

package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// disk is what a home holds, hidden files included: number and bytes of regular
// files, each once, however many names it has.
func disk(t *testing.T, home string) (files int, bytes int64) {
	t.Helper()
	seen := map[uint64]bool{}
	err := filepath.WalkDir(home, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if fi, err := d.Info(); err == nil { // else it has another name by now
			if st := fi.Sys().(*syscall.Stat_t); st.Nlink > 1 {
				if seen[st.Ino] {
					return nil
				}
				seen[st.Ino] = true
			}
			files++
			bytes += fi.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, bytes
}

// exact waits until what the server has counted is what is on the disk, for a
// second at most, or as long as patience says.
func (s *site) exact(t *testing.T, name, when string, patience time.Duration) (files int, bytes int64) {
	t.Helper()
	onFiles, onBytes := disk(t, filepath.Join(s.homes, name))
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		late := time.Now().After(deadline)
		if files, bytes = s.used(t, name); files == onFiles && bytes == onBytes {
			return files, bytes
		}
		if late {
			t.Errorf("%s: %d files and %d bytes are used; on the disk are %d and %d", when, files, bytes, onFiles, onBytes)
			return onFiles, onBytes
		}
	}
}

// A crowd is many sessions of an account, over plain, explicit and implicit
// listeners in turn.
type crowd []*visitor

// gather logs n sessions in, from several addresses: no address has more than 64
// logins that wait.
func gather(t *testing.T, srv *server, name string, n int) crowd {
	t.Helper()
	cfg := srv.trusted(t)
	roads := []struct{ name, addr string }{
		{"plain", srv.ready.FTP[0]}, {"explicit", srv.ready.FTP[1]}, {"implicit", srv.ready.FTPS[0]},
	}
	all := make(crowd, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			road := roads[i%len(roads)]
			v, err := enter(t.Context(), road.name, road.addr, name, cfg, fmt.Sprintf("127.0.1.%d", 1+i%8))
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = v
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, v := range all {
			if v != nil {
				v.hangUp()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// store uploads all files at once, each in a session of its own, and returns the
// names of those that were taken. The others must be refused with 552.
func (c crowd) store(t *testing.T, files []file) (taken map[string]file) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	taken = map[string]file{}
	begin := make(chan struct{})
	for i, f := range files {
		wg.Go(func() {
			content := f.content()
			<-begin
			err := c[i].put(t.Context(), "STOR "+f.name, content)
			switch {
			case err == nil:
				mu.Lock()
				taken[f.name] = f
				mu.Unlock()
			case code(err) != 552:
				t.Errorf("%s: %v; want 226 or 552", f.name, err)
			case !strings.Contains(err.Error(), "[quota]"):
				t.Errorf("%s: %v; want the id of a full quota", f.name, err)
			}
		})
	}
	close(begin)
	wg.Wait()
	return taken
}

// put is an upload that may be refused in the middle: the reply decides.
func (v *visitor) put(ctx context.Context, line string, b []byte) error {
	data, err := v.open(ctx, line)
	if err != nil {
		return err
	}
	defer data.Close()
	_, werr := data.Write(b)
	if c, ok := data.(*tls.Conn); ok && werr == nil {
		werr = c.CloseWrite()
	}
	if werr == nil {
		werr = data.Close()
	}
	if err := v.expect("STOR", 226); err != nil {
		return err
	}
	return werr
}

// onThree is a configuration with a plain, an explicit and an implicit listener.
const onThree = "[[listener]]\nlisten = [\"127.0.0.1:0\"]\nplain = true\n[[listener]]\nlisten = [\"127.0.0.1:0\"]\n" +
	"[[listener]]\nprotocol = \"ftps\"\nlisten = [\"127.0.0.1:0\"]\n"

// same200 are 200 files of 10 to 60 KiB, with names that begin with prefix, and
// their sum.
func same200(prefix string) (files []file, bytes int64) {
	for i := range 200 {
		f := file{fmt.Sprintf("%s-%03d.bin", prefix, i), 10_000 + 256*i}
		files = append(files, f)
		bytes += int64(f.size)
	}
	return files, bytes
}

// shows checks that a home shows the files and nothing else.
func shows(t *testing.T, home string, want map[string]file) {
	t.Helper()
	got := scan(t, home)
	maps.DeleteFunc(got, func(name, _ string) bool { return strings.HasPrefix(name, ".dray-") })
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is there; it was refused", name)
		}
	}
	for name, f := range want {
		if got[name] != sum(f.content()) {
			t.Errorf("%s: %s; want %s", name, orNothing(got[name]), sum(f.content()))
		}
	}
}

// watched looks at what a home holds until the function that it returns is called,
// which tells the most that was seen.
func watched(t *testing.T, home string) func() int64 {
	var most int64
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			var sum int64
			entries, _ := os.ReadDir(home)
			for _, e := range entries {
				if fi, err := e.Info(); err == nil {
					sum += fi.Size()
				}
			}
			most = max(most, sum)
		}
	}()
	return func() int64 {
		close(stop)
		<-ended
		return most
	}
}

// Two hundred uploads at once: what was taken is whole and within the quota, what
// was refused is not there, and the count is what is on the disk. What is left can
// be used to the last byte.
func TestQuotaUnderTwoHundredUploads(t *testing.T) {
	t.Parallel()
	files, bytes := same200("file")
	const most = 100 // files
	quota := map[string]int64{"all fit": bytes, "half of the bytes fit": bytes / 2, "half of the files fit": 1 << 30}
	s := newSite(t, "31500-31999", onThree)
	s.add(t, "all fit", "--quota", fmt.Sprint(bytes), "--quota-files", fmt.Sprint(len(files)))
	s.add(t, "half of the bytes fit", "--quota", fmt.Sprint(bytes/2))
	s.add(t, "half of the files fit", "--quota", "1G", "--quota-files", fmt.Sprint(most))
	srv := s.serve(t)

	// crowded uploads the files and returns a session that goes on.
	crowded := func(t *testing.T, name string) (v *visitor, taken map[string]file, n int, used int64) {
		home := filepath.Join(s.homes, name)
		c := gather(t, srv, name, len(files))
		peak := watched(t, home)
		taken = c.store(t, files)
		// A look takes a while, in which an upload that is cut gives back its end.
		if got, most := peak(), quota[name]+quota[name]/4; got > most {
			t.Errorf("for a moment the home held %d bytes; the quota is %d", got, quota[name])
		}
		shows(t, home, taken)
		n, used = s.exact(t, name, "after the uploads", time.Second)
		if used > quota[name] {
			t.Errorf("%d bytes are used; the quota is %d", used, quota[name])
		}
		return c[1], taken, n, used
	}
	refused := func(t *testing.T, v *visitor, f file) {
		t.Helper()
		if err := v.put(t.Context(), "STOR "+f.name, f.content()); code(err) != 552 {
			t.Errorf("%s of %d bytes: %v; want 552", f.name, f.size, err)
		}
	}
	fits := func(t *testing.T, v *visitor, f file) {
		t.Helper()
		if err := v.put(t.Context(), "STOR "+f.name, f.content()); err != nil {
			t.Errorf("%s of %d bytes: %v; want 226", f.name, f.size, err)
		}
	}
	gone := func(t *testing.T, v *visitor, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := v.ask("DELE "+name, 250); err != nil {
				t.Errorf("DELE %s: %v", name, err)
			}
		}
	}

	t.Run("all fit", func(t *testing.T) {
		v, taken, n, used := crowded(t, "all fit")
		if len(taken) != len(files) || n != len(files) || used != bytes {
			t.Errorf("%d of %d uploads were taken, %d of %d bytes", len(taken), len(files), used, bytes)
		}
		refused(t, v, file{"one more", 0}) // which is a file
		refused(t, v, file{files[7].name, files[7].size + 1})
		fits(t, v, file{files[7].name, files[7].size})
		gone(t, v, files[0].name, files[1].name)
		fits(t, v, file{"both in one", files[0].size + files[1].size})
		refused(t, v, file{"one byte more", 1})
		s.exact(t, "all fit", "full again", time.Second)
	})
	t.Run("half of the bytes fit", func(t *testing.T) {
		v, taken, _, _ := crowded(t, "half of the bytes fit")
		// Of what was refused nothing is kept.
		_, used := s.exact(t, "half of the bytes fit", "after the refusals", time.Second)
		var sum int64
		var one file
		for _, f := range taken {
			sum, one = sum+int64(f.size), f
		}
		if used != sum {
			t.Errorf("%d bytes are used; what was taken has %d", used, sum)
		}
		rest := int(quota["half of the bytes fit"] - used)
		refused(t, v, file{"too much", rest + 1})
		if err := v.ask("SIZE too much", 550); err != nil { // what the quota ended would fill it, unseen
			t.Error(err)
		}
		fits(t, v, file{"the rest", rest})
		refused(t, v, file{"one byte", 1})
		fits(t, v, file{"no byte", 0})
		fits(t, v, file{one.name, one.size - 100}) // a smaller file in its place is credited
		fits(t, v, file{"a hundred", 100})
		refused(t, v, file{"one byte", 1})
		gone(t, v, "the rest")
		fits(t, v, file{"the rest again", rest})
		if err := v.ask("RNFR the rest again", 350); err != nil {
			t.Error(err)
		}
		if err := v.ask("RNTO a hundred", 250); err != nil { // which is replaced, and credited
			t.Error(err)
		}
		fits(t, v, file{"another hundred", 100})
		refused(t, v, file{"one byte", 1})
		s.exact(t, "half of the bytes fit", "full again", time.Second)
	})
	t.Run("half of the files fit", func(t *testing.T) {
		v, taken, n, _ := crowded(t, "half of the files fit")
		if len(taken) != most || n != most {
			t.Errorf("%d uploads were taken and %d files count; want %d", len(taken), n, most)
		}
		refused(t, v, file{"one more", 1})
		for name := range taken {
			fits(t, v, file{name, 5})
			gone(t, v, name)
			break
		}
		fits(t, v, file{"one more", 1})
		refused(t, v, file{"and one", 1})
		s.exact(t, "half of the files fit", "full again", time.Second)
	})
}

// After a crash in the middle of uploads a recount makes the count exact again,
// finished files and kept partials together.
func TestQuotaIsExactAfterACrash(t *testing.T) {
	t.Parallel()
	s := newSite(t, "32000-32199", onThree)
	home := s.add(t, "crash", "--quota", "100M")
	for life := range times(2, 10) {
		srv := s.serve(t)
		if life > 0 {
			s.exact(t, "crash", fmt.Sprintf("after crash %d", life), 20*time.Second)
		}
		c := gather(t, srv, "crash", 30)
		if n := len(c); life > 0 && n > 0 { // what the crash has left can be deleted and replaced
			if err := c[0].ask(fmt.Sprintf("DELE whole-%d-0.bin", life-1), 250); err != nil {
				t.Error(err)
			}
			f := file{fmt.Sprintf("whole-%d-1.bin", life-1), 1000}
			if err := c[0].put(t.Context(), "STOR "+f.name, f.content()); err != nil {
				t.Error(err)
			}
			s.exact(t, "crash", "after a change", time.Second)
		}
		var wg sync.WaitGroup
		for i, v := range c {
			wg.Go(func() {
				f := file{fmt.Sprintf("whole-%d-%d.bin", life, i), 50_000 + i}
				if err := v.put(t.Context(), "STOR "+f.name, f.content()); err != nil {
					t.Errorf("%s: %v", f.name, err)
				}
				data, err := v.open(t.Context(), fmt.Sprintf("STOR cut-%d-%d.bin", life, i))
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { _ = data.Close() })
				if _, err := data.Write(make([]byte, 300_000)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		within(t, "the uploads on the disk", func() bool {
			_, bytes := disk(t, home)
			return bytes > int64(len(c))*(50_000+200_000)
		})
		srv.crash(t)
	}
	srv := s.serve(t)
	files, bytes := s.exact(t, "crash", "at last", 20*time.Second)
	if shown, hidden := namesIn(t, home); len(shown) == 0 || len(hidden) == 0 || files != len(shown)+len(hidden) {
		t.Errorf("%d files count, %d bytes; the home has %d and %d partials", files, bytes, len(shown), len(hidden))
	}
	srv.end(t)
	s.exact(t, "crash", "after a stop", 0)
}
