//go:build linux

package interop

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"dray/sftp"
)

// addr is where an SFTP play's server listens.
func (p *sftpPlay) addr() string { return p.ready.SFTP[0] }

// wider gives a small file system more room.
func wider(t *testing.T, dir, options string) {
	t.Helper()
	if err := syscall.Mount("dray-test", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		t.Fatal(err)
	}
}

// onlyPartial checks that a directory holds one cut upload, which is a beginning of
// whole, and returns its length.
func onlyPartial(t *testing.T, dir string, whole []byte) int64 {
	t.Helper()
	_, hidden := namesIn(t, dir)
	if len(hidden) != 1 || !cutName.MatchString(hidden[0]) {
		t.Fatalf("hidden names %q; want that of one cut upload", hidden)
	}
	b, err := os.ReadFile(filepath.Join(dir, hidden[0]))
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > len(whole)-4096 || !bytes.HasPrefix(whole, b) {
		t.Errorf("the partial has %d bytes; want a beginning of the %d that were sent, less 4096 at least", len(b), len(whole))
	}
	return int64(len(b))
}

// refusedWith checks that err is a status with a sentence and its id.
func refusedWith(t *testing.T, what string, err error, code sftp.Code, sentence string) string {
	t.Helper()
	var s *status
	if !errors.As(err, &s) || s.code != code || !regexp.MustCompile(sentence).MatchString(s.text) {
		t.Errorf("%s: %v; want status %d with %s", what, err, code, sentence)
		return ""
	}
	return s.text
}

const diskFull = `No space left on the server's disk: \d.* free; (\d+) bytes kept to resume\..* \[no-space\]$`

// A full disk costs the upload and nothing else: the client hears what is free and
// what is kept, the old file stays, and with room again the upload goes on.
func TestSFTPAFullDisk(t *testing.T) {
	t.Parallel()
	root := small(t, "size=8m,mode=0755")
	p := newSFTPAt(t, root)
	old, big := file{"the old report", 1 << 20}, file{"too big", 16 << 20}
	plant(t, root, old.as("report.bin"))
	v, err := dive(t.Context(), p.addr(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()

	h, err := v.open("report.bin", toUpload)
	if err != nil {
		t.Fatal(err)
	}
	text := refusedWith(t, "16 MiB to a disk of 8", v.write(h, 0, big.content(), nil), sftp.Failure, diskFull)
	t.Log(text)
	// Whatever follows hears the same.
	if again := refusedWith(t, "WRITE behind it", v.write(h, 0, []byte("x"), nil), sftp.Failure, diskFull); again != text {
		t.Errorf("the next WRITE hears %q; want what the first heard", again)
	}
	if again := refusedWith(t, "CLOSE", v.close(h), sftp.Failure, diskFull); again != text {
		t.Errorf("CLOSE hears %q; want what the first WRITE heard", again)
	}
	holds(t, filepath.Join(root, "report.bin"), old.content())
	if names, err := v.names(); err != nil || len(names) != 1 {
		t.Errorf("a listing shows %q, %v; want the old file", names, err)
	}
	kept := onlyPartial(t, root, big.content())
	if !strings.Contains(text, fmt.Sprintf("; %d bytes kept", kept)) {
		t.Errorf("%d bytes are kept; the client was told %q", kept, text)
	}
	if size, err := v.size("report.bin"); err != nil || size != int64(old.size) {
		t.Errorf("STAT: %d bytes, %v; want those of the old file", size, err)
	}

	// With the old file out of its way the partial is seen, and the upload goes on.
	if err := v.rename("report.bin", "old.bin"); err != nil {
		t.Fatal(err)
	}
	if size, err := v.size("report.bin"); err != nil || size != kept {
		t.Errorf("STAT of what was kept: %d bytes, %v; want %d", size, err, kept)
	}
	wider(t, root, "size=64m")
	if err := v.goOn("report.bin", big.content()); err != nil {
		t.Errorf("going on: %v", err)
	}
	same(t, root, treeOf(big.as("report.bin"), old.as("old.bin")))
}

// A file that is changed where it is keeps what was written of it, and the client is
// told so.
func TestSFTPAFullDiskUnderAFileInPlace(t *testing.T) {
	t.Parallel()
	root := small(t, "size=4m,mode=0755")
	p := newSFTPAt(t, root)
	old, more := file{"the old log", 1 << 20}, file{"more of it", 8 << 20}
	plant(t, root, old.as("log"))
	v, err := dive(t.Context(), p.addr(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer v.hangUp()
	h, err := v.open("log", toAppend)
	if err != nil {
		t.Fatal(err)
	}
	acked := 0
	err = v.write(h, 0, more.content(), func(n int) { acked = n })
	refusedWith(t, "an append of 8 MiB to a disk of 4", err, sftp.Failure,
		`^No space left on the server's disk: 0 bytes free; what was written before is in the file\. .*\[no-space\]$`)
	if err := v.close(h); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if whole := slices.Concat(old.content(), more.content()); len(b) < old.size+acked || !bytes.HasPrefix(whole, b) {
		t.Errorf("the log has %d bytes; want %d at least, and all as they were sent", len(b), old.size+acked)
	}
}

// What real clients make of it: they fail, the old file stays, and they go on with
// what is kept once there is room.
func TestSFTPClientsAndAFullDisk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		put  func(t *testing.T, p *sftpPlay, remote string) (string, error)
		said string // what the client shows of the cause: most of them no more than the status
		// inPlace: it opens an old file without emptying it, and so gives up what it holds.
		inPlace bool
	}{
		{"sftp", func(_ *testing.T, p *sftpPlay, remote string) (string, error) {
			return p.batch(nil, "put up.bin "+remote).output()
		}, `Failure`, false},
		{"scp", func(_ *testing.T, p *sftpPlay, remote string) (string, error) {
			return p.try("scp", append(p.sshArgs("-s", "-P", p.port, "-o", "BatchMode=yes"), "up.bin", p.there()+":"+remote)...)
		}, `Failure`, true},
		{"scp -O", func(_ *testing.T, p *sftpPlay, remote string) (string, error) {
			return p.try("scp", append(p.sshArgs("-O", "-P", p.port, "-o", "BatchMode=yes"), "up.bin", p.there()+":"+remote)...)
		}, `scp: ` + strings.TrimSuffix(diskFull, "$"), false},
		{"psftp", func(t *testing.T, p *sftpPlay, remote string) (string, error) {
			common, login := p.puttyArgs(t)
			return p.psftp(t, slices.Concat(common, login), "put up.bin "+remote).output()
		}, `failure`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := small(t, "size=8m,mode=0755")
			program, _, _ := strings.Cut(c.name, " ")
			peer(t, program)
			p := newSFTPAt(t, root)
			old, up := file{"the old report", 1 << 20}, file{"too big", 16 << 20}
			plant(t, root, old.as("report.bin"))
			plant(t, p.local, up.as("up.bin"))
			for _, remote := range []string{"report.bin", "new.bin"} {
				if remote == "report.bin" && c.inPlace {
					continue
				}
				out, err := c.put(t, p, remote)
				if err == nil || !regexp.MustCompile(c.said).MatchString(out) {
					t.Errorf("put %s: %v; want a failure that says %s\n%s", remote, err, c.said, tail(out, 3000))
				}
				t.Log(strings.TrimSpace(tail(out, 500)))
				holds(t, filepath.Join(root, "report.bin"), old.content())
				kept := onlyPartial(t, root, up.content())
				if kept < 4<<20 {
					t.Errorf("%d bytes are kept; there was more room", kept)
				}
				if remote == "report.bin" { // and with it what was kept
					p.sftp(t, "rm report.bin")
					same(t, root, tree{})
					plant(t, root, old.as("report.bin"))
				}
			}
			wider(t, root, "size=64m")
			p.sftp(t, "reput up.bin new.bin")
			same(t, root, treeOf(old.as("report.bin"), up.as("new.bin")))
		})
	}
}
