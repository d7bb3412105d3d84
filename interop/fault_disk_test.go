//go:build linux

package interop

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A full disk costs the upload and nothing else: the client gets 452 with what
// is free and what is kept, and the old file of that name stays.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	for _, w := range []way{{"IPv4", "passive", "plain"}, {"IPv4", "passive", "explicit"}} {
		t.Run(w.tls, func(t *testing.T) {
			t.Parallel()
			root := small(t, "size=8m,mode=0755")
			p := fullPlay(t, w, root)
			var cfg *tls.Config
			if !w.plain() {
				cfg = p.trusted(t)
			}
			old, big := file{"the old report", 1 << 20}, file{"too big", 16 << 20}
			plant(t, root, old.as("report.bin"))
			v, err := visit(t.Context(), p.ready.FTP[0], cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer v.hangUp()

			var a *answer
			begun := time.Now()
			err = v.upload(t.Context(), "STOR report.bin", big.content())
			if !errors.As(err, &a) || a.code != 452 || !strings.HasSuffix(a.text, "[no-space]") {
				t.Fatalf("16 MiB to a disk of 8: %v; want a 452 with [no-space]", err)
			}
			// Like dray's own client this one reads the data connection to its end before it
			// closes it; the server must not wait for it to close first.
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("the refused upload was over after %v; want 5 s at most", took)
			}
			if !regexp.MustCompile(`\d.* free; .*\d+ bytes kept to resume`).MatchString(a.text) {
				t.Errorf("the sentence is %q; want what is free and what is kept", a.text)
			}
			t.Log(a.text)
			if got := scan(t, root)["report.bin"]; got != sum(old.content()) {
				t.Errorf("the old file: %s; want %s", orNothing(got), sum(old.content()))
			}
			if n, err := v.lines(t.Context(), "NLST"); n != 1 || err != nil {
				t.Errorf("NLST after that: %d names, %v; want the one file", n, err)
			}

			// The same session goes on: what was kept goes with the file, and then there is room.
			if err := v.ask("DELE report.bin", 250); err != nil {
				t.Error(err)
			}
			fits := file{"what fits", 6 << 20}
			if err := v.upload(t.Context(), "STOR fits.bin", fits.content()); err != nil {
				t.Errorf("6 MiB after that: %v", err)
			}
			same(t, root, treeOf(fits.as("fits.bin")))

			// Nothing is kept of an append: the file has its old length.
			if err := v.upload(t.Context(), "APPE fits.bin", big.content()); !errors.As(err, &a) || a.code != 452 {
				t.Errorf("APPE of 16 MiB: %v; want a 452", err)
			}
			same(t, root, treeOf(fits.as("fits.bin")))
		})
	}
}

// curl shows the sentence of the 452, not that the connection broke.
func TestCurlShowsThatTheDiskIsFull(t *testing.T) {
	t.Parallel()
	for _, w := range []way{{"IPv4", "passive", "plain"}, {"IPv4", "passive", "explicit"}} {
		t.Run(w.tls, func(t *testing.T) {
			t.Parallel()
			peer(t, "curl")
			root := small(t, "size=8m,mode=0755")
			p := fullPlay(t, w, root)
			old, big := file{"the old report", 1 << 20}, file{"too big", 16 << 20}
			plant(t, root, old.as("report.bin"))
			plant(t, p.local, big.as("big.bin"))
			out, err := p.try("curl", p.curlArgs("-v", "-T", "big.bin", p.url("report.bin"))...)
			if err == nil || !regexp.MustCompile(`(?m)^< 452 .*free.*kept.*\[no-space\]`).MatchString(out) {
				t.Errorf("curl: %v; want the sentence of the 452\n%s", err, tail(out, 4000))
			}
			for _, bad := range []string{"roken pipe", "reset by peer", "426 "} {
				if strings.Contains(out, bad) {
					t.Errorf("curl says %q\n%s", bad, tail(out, 4000))
				}
			}
			quiet, _ := p.try("curl", p.curlArgs("-T", "big.bin", p.url("report.bin"))...)
			t.Logf("curl without -v: %v: %s", err, strings.TrimSpace(quiet))
			if got := scan(t, root)["report.bin"]; got != sum(old.content()) {
				t.Errorf("the old file: %s; want %s", orNothing(got), sum(old.content()))
			}
			if err := os.Remove(filepath.Join(root, "report.bin")); err != nil {
				t.Error(err)
			}
		})
	}
}

// fullPlay is newPlay with a given directory.
func fullPlay(t *testing.T, w way, root string) *play {
	t.Helper()
	args := []string{"--ftp", w.listen(), "--ftps", "off"}
	if w.plain() {
		args = append(args, "--plain")
	}
	p := join(t, w, start(t, root, args...))
	p.host, p.port = address(t, "ftp", p.ready.FTP)
	if !w.plain() {
		p.ca = p.trust(t, p.host)
	}
	return p
}
