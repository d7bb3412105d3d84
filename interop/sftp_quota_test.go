//go:build linux

package interop

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dray/sftp"
)

// A purse is an account with a quota, and what checks after each step that the count of
// the server is what is on the disk.
type purse struct {
	*site
	name, home string
	quota      int64
	srv        *server
	v          *sftpVisitor
}

func (s *site) purse(t *testing.T, srv *server, name string, quota int64) *purse {
	t.Helper()
	v, err := dive(t.Context(), srv.ready.SFTP[0], name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.hangUp)
	return &purse{s, name, filepath.Join(s.homes, name), quota, srv, v}
}

// counts checks what is used, which must be within the quota.
func (p *purse) counts(t *testing.T, when string, want int64) {
	t.Helper()
	if _, used := p.exact(t, p.name, when, time.Second); used != want || used > p.quota {
		t.Errorf("%s: %d bytes are used; want %d of %d", when, used, want, p.quota)
	}
}

// full wants the refusal of a full quota, with numbers and its id.
func (p *purse) full(t *testing.T, what string, err error) {
	t.Helper()
	refusedWith(t, what, err, sftp.Failure, `^Quota exceeded: \d[\d.]* \w+ of \d[\d.]* \w+ used\..* \[quota\]$`)
}

func (p *purse) fits(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v; want OK", what, err)
	}
}

func (p *purse) holds(t *testing.T, name string, want []byte) {
	t.Helper()
	holds(t, filepath.Join(p.home, name), want)
}

// The quota ends where it ends, to the byte, in whatever way a file grows; what was
// refused changes nothing, and after each step the server has counted what is there.
func TestSFTPQuotaIsExactAtItsEdge(t *testing.T) {
	t.Parallel()
	const quota, most = 1 << 20, 600_000
	const rest = quota - most
	s := newSite(t, passive(), onSFTP)
	for _, name := range []string{"uploads", "edits", "names", "handles"} {
		s.add(t, name, "--quota", "1M", "--rights", "full,link")
	}
	s.add(t, "files", "--quota", "1M", "--quota-files", "2")
	srv := s.serve(t)
	a, b := file{"a", most}.content(), file{"b", quota}.content()
	filled := func(t *testing.T, name string) *purse {
		p := s.purse(t, srv, name, quota)
		p.fits(t, "the first file", p.v.put("a", a))
		p.fits(t, "a second one that fits exactly", p.v.put("b", b[:rest]))
		p.counts(t, "full", quota)
		return p
	}

	t.Run("uploads", func(t *testing.T) {
		t.Parallel()
		p := filled(t, "uploads")
		p.full(t, "one byte more", p.v.put("c", b[:1]))
		p.fits(t, "no byte", p.v.put("c", nil))
		p.counts(t, "an empty file", quota)
		p.full(t, "one byte far behind the beginning", p.v.change("d", toUpload, 1<<40, b[:1]))
		p.full(t, "a longer file for an old one", p.v.put("b", b[:rest+1]))
		p.holds(t, "b", b[:rest])
		p.counts(t, "refused", quota)
		p.fits(t, "a shorter file for an old one", p.v.put("b", b[:rest-1000]))
		p.counts(t, "shorter", quota-1000)
		p.full(t, "one byte more than is left", p.v.put("c", b[:1001]))
		// The numbers are those of before and of behind: what was refused in the middle of
		// its bytes is not used.
		p.fits(t, "no byte", p.v.setSize("b", 0))
		refusedWith(t, "400 KiB too many", p.v.put("b", b), sftp.Failure, `^Quota exceeded: 585\.9 KiB of 1\.0 MiB used\.`)
		p.fits(t, "the old one", p.v.put("b", b[:rest-1000]))
		p.holds(t, "c", nil)
		p.fits(t, "what is left", p.v.put("c", b[:1000]))
		p.fits(t, "REMOVE", p.v.remove("a"))
		p.counts(t, "removed", quota-most)

		// What is cut counts as far as it is kept, also when it goes on.
		cut, err := dive(t.Context(), srv.ready.SFTP[0], p.name)
		if err != nil {
			t.Fatal(err)
		}
		h, err := cut.open("a", toUpload)
		if err == nil {
			err = cut.write(h, 0, a[:most/2], nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		cut.hangUp()
		within(t, "a partial", func() bool {
			_, hidden := namesIn(t, p.home)
			return len(hidden) == 1 && cutName.MatchString(hidden[0])
		})
		p.counts(t, "cut", rest+most/2-4096)
		p.full(t, "what the partial leaves no room for", p.v.put("d", b[:most/2+4097]))
		p.fits(t, "going on", p.v.goOn("a", a))
		p.holds(t, "a", a)
		p.counts(t, "gone on with", quota)
		p.full(t, "one byte more at last", p.v.put("d", b[:1]))
		same(t, p.home, treeOf(named{"a", a}, named{"b", b[:rest-1000]}, named{"c", b[:1000]}))
	})

	t.Run("edits", func(t *testing.T) {
		t.Parallel()
		p := filled(t, "edits")
		p.full(t, "WRITE beyond the end", p.v.change("a", toEdit, most, b[:1]))
		p.full(t, "WRITE across the end", p.v.change("a", toEdit, most-10, b[:11]))
		p.full(t, "WRITE far behind the end", p.v.change("a", toEdit, 1<<40, b[:1]))
		p.full(t, "APPEND", p.v.change("a", toAppend, 0, b[:1]))
		p.full(t, "SETSTAT of a larger size", p.v.setSize("a", most+1))
		p.holds(t, "a", a)
		p.counts(t, "refused", quota)
		p.fits(t, "WRITE up to the end", p.v.change("a", toEdit, most-10, a[most-10:]))
		p.fits(t, "SETSTAT of a smaller size", p.v.setSize("a", most-5000))
		p.counts(t, "smaller", quota-5000)
		p.full(t, "SETSTAT of one byte too many", p.v.setSize("a", most+1))
		p.fits(t, "SETSTAT of a larger size that fits", p.v.setSize("a", most-3000))
		p.counts(t, "larger", quota-3000)
		p.fits(t, "WRITE beyond the end", p.v.change("a", toEdit, most-3000, a[most-3000:most-1000]))
		p.full(t, "APPEND of one byte too many", p.v.change("a", toAppend, 0, b[:1001]))
		p.fits(t, "APPEND", p.v.change("a", toAppend, 0, a[most-1000:]))
		p.counts(t, "full again", quota)
		p.fits(t, "WRITE of what was a gap", p.v.change("a", toEdit, most-5000, a[most-5000:most-3000]))
		p.holds(t, "a", a)

		// TRUNC without CREAT, and a handle that grows its file and whose session is cut.
		p.fits(t, "TRUNC", p.v.change("a", toEdit|sftp.OpenTrunc, 0, b[:10]))
		p.counts(t, "emptied", rest+10)
		cut, err := dive(t.Context(), srv.ready.SFTP[0], p.name)
		if err != nil {
			t.Fatal(err)
		}
		h, err := cut.open("a", toAppend)
		if err == nil {
			err = cut.write(h, 0, b[:70_000], nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		cut.hangUp()
		p.counts(t, "grown and cut", rest+10+70_000)
		p.holds(t, "a", append(bytes.Clone(b[:10]), b[:70_000]...))
	})

	t.Run("names", func(t *testing.T) {
		t.Parallel()
		p := filled(t, "names")
		// Another name is no more to count, and takes nothing away while it is there.
		p.fits(t, "hardlink", p.v.hardlink("a", "twin"))
		p.counts(t, "linked", quota)
		p.full(t, "APPEND by the other name", p.v.change("twin", toAppend, 0, b[:1]))
		p.fits(t, "SETSTAT by the other name", p.v.setSize("twin", most-1000))
		p.counts(t, "shorter by the other name", quota-1000)
		p.fits(t, "REMOVE of one name", p.v.remove("a"))
		p.counts(t, "one name removed", quota-1000)
		p.full(t, "as much as the removed name", p.v.put("c", b[:1001]))
		p.fits(t, "REMOVE of the other", p.v.remove("twin"))
		p.counts(t, "both removed", rest)
		// What a rename replaces is free.
		p.fits(t, "an upload", p.v.put("c", a))
		p.fits(t, "a rename over it", p.v.rename("b", "c"))
		p.counts(t, "renamed over", rest)
		p.fits(t, "an upload in its place", p.v.put("a", a))
		p.fits(t, "hardlink", p.v.hardlink("a", "twin"))
		p.fits(t, "a rename over one of two names", p.v.rename("c", "twin"))
		p.counts(t, "renamed over one of two names", quota)
		// An upload to one of two names is written over both.
		p.fits(t, "hardlink", p.v.hardlink("a", "other"))
		p.fits(t, "an upload to one of two names", p.v.put("other", a[:1000]))
		p.counts(t, "written over both", rest+1000)
		p.holds(t, "a", a[:1000])
	})

	t.Run("handles", func(t *testing.T) {
		t.Parallel()
		p := filled(t, "handles")
		p.fits(t, "REMOVE", p.v.remove("b"))
		open := func(name string, flags uint32) []byte {
			h, err := p.v.open(name, flags)
			if err != nil {
				t.Fatalf("OPEN %s: %v", name, err)
			}
			return h
		}
		copyData := func(from, to []byte, n uint64) error {
			return p.v.ok("copy-data", sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCopyData), Handle: from, Into: to, Size: n})
		}
		from := open("a", sftp.OpenRead)
		to := open("copy", toUpload)
		p.fits(t, "copy-data of what is left", copyData(from, to, rest))
		p.fits(t, "CLOSE", p.v.close(to))
		p.counts(t, "copied", quota)
		p.holds(t, "copy", a[:rest])
		to = open("more", toUpload)
		p.full(t, "copy-data without room", copyData(from, to, 1))
		p.full(t, "CLOSE of it", p.v.close(to))
		to = open("copy", toEdit)
		p.full(t, "copy-data beyond the end", p.v.ok("copy-data", sftp.Request{
			Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCopyData), Handle: from, Into: to, Size: 1, At: rest}))
		p.fits(t, "CLOSE", p.v.close(to))
		p.counts(t, "copied no more", quota)

		// fsync publishes, and the handle grows its file in place.
		p.fits(t, "REMOVE", p.v.remove("copy"))
		h := open("synced", toUpload)
		p.fits(t, "WRITE", p.v.write(h, 0, b[:rest-10], nil))
		p.fits(t, "fsync", p.v.fsync(h))
		p.counts(t, "published by fsync", quota-10)
		p.full(t, "WRITE behind fsync", p.v.write(h, rest-10, b[:11], nil))
		p.fits(t, "WRITE behind fsync", p.v.write(h, rest-10, b[:10], nil))
		p.counts(t, "grown behind fsync", quota)
		// A name that goes while its file is open: nobody has it any more.
		p.fits(t, "REMOVE of an open file", p.v.remove("synced"))
		p.fits(t, "SETSTAT of a file without a name", p.v.ok("FSETSTAT", sftp.Request{
			Type: sftp.TypeFsetstat, Handle: h, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: rest + 0}}))
		p.fits(t, "CLOSE of a file without a name", p.v.close(h))
		p.counts(t, "removed while it was open", most)
		h = open("never", toUpload)
		p.fits(t, "WRITE", p.v.write(h, 0, b[:rest], nil))
		if err := p.v.remove("never"); err != nil {
			t.Error(err)
		}
		p.fits(t, "CLOSE", p.v.close(h))
		p.counts(t, "an upload whose name was removed", most)
		// EXCL is there at once, and grows in place.
		h = open("lock", sftp.OpenWrite|sftp.OpenCreate|sftp.OpenExcl)
		p.fits(t, "WRITE", p.v.write(h, 0, b[:rest], nil))
		p.full(t, "WRITE of one byte more", p.v.write(h, rest, b[:1], nil))
		p.counts(t, "EXCL", quota)
		p.fits(t, "CLOSE", p.v.close(h))

		// FSETSTAT of an upload asks for what it grows by, and gives back what it does not.
		p.fits(t, "REMOVE", p.v.remove("lock"))
		size := func(n uint64) error {
			return p.v.ok("FSETSTAT", sftp.Request{Type: sftp.TypeFsetstat, Handle: h, Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: n}})
		}
		h = open("sized", toUpload)
		p.full(t, "FSETSTAT of one byte too many", size(rest+1))
		p.fits(t, "FSETSTAT", size(rest))
		p.full(t, "a file beside it", p.v.put("beside", b[:1]))
		p.fits(t, "FSETSTAT", size(1000))
		p.fits(t, "a file beside it", p.v.put("beside", b[:rest-1000]))
		p.fits(t, "CLOSE", p.v.close(h))
		p.counts(t, "FSETSTAT", quota)
	})

	t.Run("files", func(t *testing.T) {
		t.Parallel()
		p := s.purse(t, srv, "files", quota)
		const full = `^Quota exceeded: 2 files of 2 files used\..* \[quota\]$`
		p.fits(t, "a file", p.v.put("a", nil))
		p.fits(t, "another", p.v.change("b", sftp.OpenWrite|sftp.OpenCreate|sftp.OpenExcl, 0, b[:10]))
		refusedWith(t, "a third", p.v.put("c", nil), sftp.Failure, full)
		refusedWith(t, "a third with EXCL", p.v.change("c", sftp.OpenWrite|sftp.OpenCreate|sftp.OpenExcl, 0, nil), sftp.Failure, full)
		p.fits(t, "one of them anew", p.v.put("a", b[:20]))
		p.fits(t, "a rename over the other", p.v.rename("a", "b"))
		p.fits(t, "one more", p.v.put("c", b[:1]))
		p.counts(t, "two files", 21)
		if _, err := os.Stat(filepath.Join(p.home, "a")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a: %v", err)
		}
	})
}

// The same by scp: OpenSSH's by both of its ways, whose user is told by the old one.
func TestSFTPQuotaWithScp(t *testing.T) {
	t.Parallel()
	peer(t, "scp")
	const quota, most = 1 << 20, 600_000
	s := newSite(t, passive(), onSFTP)
	for _, how := range []string{"-O", "-s"} {
		s.add(t, "scp"+how, "--quota", "1M")
	}
	srv := s.serve(t)
	for _, how := range []string{"-O", "-s"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := s.purse(t, srv, "scp"+how, quota)
			key, line := traveller(t)
			key.visits(t, srv)
			s.run(t, string(line), "user", "key", "add", p.name)
			a, b := file{"a", most}.content(), file{"b", quota}.content()
			plant(t, key.local, named{"a", a}, named{"b", b[:quota-most]}, named{"b+1", b[:quota-most+1]}, named{"c", b[:1]}, named{"empty", nil})
			scp := func(args ...string) (string, error) {
				return key.scp(how, append(args, p.name+"@"+key.host+":")...).output()
			}
			if out, err := scp("a", "b"); err != nil {
				t.Fatalf("what fits exactly: %v\n%s", err, out)
			}
			p.counts(t, "full", quota)
			// What is refused does not keep away what comes behind it.
			out, err := scp("c", "empty")
			if err == nil || how == "-O" && !strings.Contains(out, "scp: Quota exceeded: 1.0 MiB of 1.0 MiB used. ") {
				t.Errorf("one byte more: %v\n%s", err, out)
			}
			t.Log(strings.TrimSpace(out))
			p.counts(t, "refused", quota)
			want := treeOf(named{"a", a}, named{"b", b[:quota-most]}, named{"empty", nil})
			same(t, p.home, want)
			p.fits(t, "REMOVE", p.v.remove("b"))
			if out, err := scp("b+1"); err == nil {
				t.Errorf("one byte too many: status 0\n%s", out)
			}
			p.counts(t, "refused again", most)
			delete(want, "b")
			same(t, p.home, want)
		})
	}
}
