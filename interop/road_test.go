//go:build linux

package interop

import (
	"crypto/tls"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// In clear text the kernel moves files: a program that reads and writes each piece
// pays twice. Under TLS the file is read in large pieces, and records leave in
// trains. What is counted is calls, not time.
func TestTheKernelMovesFiles(t *testing.T) {
	t.Parallel()
	strace := peer(t, "strace")
	const size = 100 << 20
	big := file{"big", size}
	for _, row := range []struct {
		name   string
		secure bool
		line   string
		most   map[string]int // calls that each may have
		moves  string         // what moves the bytes, all but 16 KiB
	}{
		{"download", false, "RETR big.bin", map[string]int{"read": 50, "pread64": 20, "write": 50}, "sendfile"},
		{"upload", false, "STOR new.bin", map[string]int{"read": 50, "write": 50, "pwrite64": 20}, "splice"},
		// 256 KiB each; a train has four records of 16 KiB.
		{"download under TLS", true, "RETR big.bin", map[string]int{"read": 100, "pread64": size>>18 + 50, "write": size>>16 + 100}, "write"},
		// Records come one by one; the file gets them in pieces of 192 KiB and more.
		{"upload under TLS", true, "STOR new.bin", map[string]int{"pwrite64": size/(192<<10) + 50, "write": 100}, "pwrite64"},
	} {
		t.Run(row.name, func(t *testing.T) {
			trace := filepath.Join(t.TempDir(), "trace")
			l := &life{root: t.TempDir(), state: t.TempDir(), passive: ownRange(), args: []string{"--sync", "none"}, prefix: []string{
				strace, "-D", "-f", "-y", "-qq", "-s", "16", "-o", trace,
				"-e", "trace=read,pread64,readv,write,pwrite64,writev,sendfile,splice,sendto,recvfrom",
			}}
			plant(t, l.root, named{"big.bin", big.content()})
			s := l.launch(t)
			var cfg *tls.Config
			if row.secure {
				cfg = s.trusted(t)
			}
			v, err := visit(t.Context(), s.ready.FTP[0], cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer v.hangUp()
			if row.line == "RETR big.bin" {
				b, err := v.download(t.Context(), "big.bin")
				if err != nil || len(b) != size {
					t.Fatalf("%d bytes, %v", len(b), err)
				}
			} else if err := v.upload(t.Context(), row.line, big.content()); err != nil {
				t.Fatal(err)
			}
			if err := v.ask("SITE HELP", 214); err != nil {
				t.Fatal(err)
			}
			var counts map[string]int
			var moved int64
			for deadline := time.Now().Add(20 * time.Second); moved < size-16<<10; time.Sleep(50 * time.Millisecond) { // strace writes a little later
				counts, moved = map[string]int{}, 0
				for _, c := range readTrace(t, trace) {
					counts[c.name]++
					if c.name == row.moves && c.result > 0 && (c.name != "splice" || toFile.MatchString(c.args)) {
						moved += c.result
					}
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s moved %d bytes: %v", row.moves, moved, counts)
				}
			}
			for name, most := range row.most {
				if counts[name] > most {
					t.Errorf("%d calls of %s; want at most %d: %v", counts[name], name, most, counts)
				}
			}
		})
	}
}

// toFile is a splice from a pipe.
var toFile = regexp.MustCompile(`^\d+<pipe:`)
