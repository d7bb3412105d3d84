package sftpserver

import (
	"crypto/md5"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dray/sftp"
)

func TestHardLinksAndTimesOfLinks(t *testing.T) {
	st := newStage(t)
	st.put("f", "x")
	w := st.newWire()
	ext := func(name, path, to string) sftp.Request {
		return sftp.Request{Type: sftp.TypeExtended, Extension: []byte(name), Path: []byte(path), To: []byte(to)}
	}
	w.ok(ext(sftp.ExtHardlink, "f", "g"))
	need(t, os.WriteFile(filepath.Join(st.dir, "f"), []byte("y"), 0o644))
	if got := st.file("g"); got != "y" {
		t.Errorf("g holds %q", got)
	}
	w.fails(ext(sftp.ExtHardlink, "f", "g"), sftp.Failure)
	w.fails(ext(sftp.ExtHardlink, "none", "h"), sftp.NoSuchFile)
	w.ok(sftp.Request{Type: sftp.TypeMkdir, Path: []byte("d")})
	w.fails(ext(sftp.ExtHardlink, "d", "h"), sftp.Failure)
	h := w.open("new", makes)
	w.write(h, 0, "abc")
	w.ok(ext(sftp.ExtHardlink, "new", "twin"))
	if st.file("new") != "abc" || st.file("twin") != "abc" {
		t.Error("what was linked is not published")
	}
	w.close(h)

	w.ok(sftp.Request{Type: sftp.TypeSymlink, Path: []byte("f"), To: []byte("l")})
	q := ext(sftp.ExtLsetstat, "l", "")
	q.Attrs = sftp.Attributes{Flags: sftp.HasTimes, ATime: 5, MTime: 5}
	w.ok(q)
	link, err := os.Lstat(filepath.Join(st.dir, "l"))
	need(t, err)
	file, err := os.Stat(filepath.Join(st.dir, "l"))
	need(t, err)
	if link.ModTime().Unix() != 5 || file.ModTime().Unix() == 5 {
		t.Errorf("the link is of %v, what it leads to of %v", link.ModTime(), file.ModTime())
	}
	q.Attrs = sftp.Attributes{Flags: sftp.HasMode, Mode: 0o600}
	w.fails(q, sftp.OpUnsupported)
	q.Path = []byte("f")
	w.ok(q)
}

func TestChecksums(t *testing.T) {
	st := newStage(t)
	data := strings.Repeat("0123456789abcdef", 100)
	st.put("f", data)
	st.put("empty", "")
	w := st.newWire()
	check := func(q sftp.Request, want ...[]byte) {
		t.Helper()
		q.Type = sftp.TypeExtended
		p := w.do(q)
		if p.Type != sftp.TypeExtendedReply {
			t.Errorf("%+v: status %d %q", q, p.Code, p.Text)
			return
		}
		alg, sums, err := q.ParseSums(p.Data)
		if err != nil || alg == "" || string(sums) != string(join(want)) {
			t.Errorf("%+v: %q, %x, %v; want %x", q, alg, sums, err, join(want))
		}
	}
	sha := func(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:] }
	m := md5.Sum([]byte(data[10:]))
	check(sftp.Request{Extension: []byte(sftp.ExtCheckName), Path: []byte("f"), Algorithms: []byte("whirlpool,sha256,md5")}, sha(data))
	check(sftp.Request{Extension: []byte(sftp.ExtCheckName), Path: []byte("f"), Algorithms: []byte("md5"), Offset: 10}, m[:])
	check(sftp.Request{Extension: []byte(sftp.ExtCheckName), Path: []byte("f"), Algorithms: []byte("sha256"), Size: 600, Block: 256},
		sha(data[:256]), sha(data[256:512]), sha(data[512:600]))
	check(sftp.Request{Extension: []byte(sftp.ExtCheckName), Path: []byte("empty"), Algorithms: []byte("sha256")}, sha(""))
	h := w.open("f", sftp.OpenRead)
	for _, ext := range []string{sftp.ExtCheckHandle, sftp.ExtCheck} {
		check(sftp.Request{Extension: []byte(ext), Handle: h, Algorithms: []byte("SHA256")}, sha(data))
	}
	for _, q := range []sftp.Request{
		{Path: []byte("f"), Algorithms: []byte("whirlpool")}, {Path: []byte("f"), Algorithms: nil}, {Path: []byte("f"), Algorithms: []byte("md5"), Block: 255},
	} {
		q.Type, q.Extension = sftp.TypeExtended, []byte(sftp.ExtCheckName)
		w.fails(q, sftp.OpUnsupported)
	}
	w.fails(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCheckName), Path: []byte("f"), Algorithms: []byte("md5"), Offset: 1 << 40}, sftp.Failure)
	w.fails(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCheckName), Path: []byte("none"), Algorithms: []byte("md5")}, sftp.NoSuchFile)
	w.fails(sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCheckName), Path: []byte("/"), Algorithms: []byte("md5")}, sftp.Failure)
}

func join(parts [][]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}
