package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var lftp = client{
	name:  "lftp",
	needs: func(t *testing.T) { peer(t, "lftp") },
	cannot: func(w way) string {
		if w.family == "IPv6" && w.active() && globalIPv6() == "" {
			return "connected to ::1 it sends EPRT |2|::|, and this host has no other IPv6 address"
		}
		return ""
	},
	on: func(w way) string {
		if w.family == "IPv6" && w.active() {
			return globalIPv6()
		}
		return ""
	},
	story: func(t *testing.T, p *play) {
		past := time.Date(2021, 3, 4, 5, 6, 7, 0, time.UTC)
		stored := plant(t, filepath.Join(p.root, "there"), append(all(),
			file{"inner", 70_000}.as("a directory/inner"))...).below("there")
		source := plant(t, filepath.Join(p.local, "here"), append(all(),
			file{"deep", 70_001}.as("a directory/b/deep"))...)
		for _, f := range samples {
			if err := os.Chtimes(filepath.Join(p.local, "here", f.name), past, past); err != nil {
				t.Fatal(err)
			}
		}
		half := big.content()[:big.size/2]
		plant(t, p.root, named{"put.bin", half})
		plant(t, p.local, named{"get.bin", half})

		p.lftp(t,
			"cls -1 -a there",
			"mirror there mirrored",
			"mirror -P 8 there parallel",
			"mirror -R here up",
			"mirror -R -P 8 here up8",
			fmt.Sprintf("pget -n 4 %q -o pget.bin", "there/"+big.name),
			fmt.Sprintf("put -c %q -o put.bin", "here/"+big.name),
			fmt.Sprintf("get -c %q -o get.bin", "there/"+big.name),
			"mkdir made",
			"put here/one -o made/one",
			"mv made/one made/two",
			"chmod 600 made/two",
			"rm made/two",
			"rmdir made",
		)

		same(t, p.root, stored.plus(source.below("up"), source.below("up8"), treeOf(big.as("put.bin"))))
		mirrored := treeOf(append(all(), file{"inner", 70_000}.as("a directory/inner"))...)
		same(t, p.local, source.below("here").plus(mirrored.below("mirrored"), mirrored.below("parallel"),
			treeOf(big.as("pget.bin"), big.as("get.bin"))))
		for _, f := range samples { // lftp sends MFMT after each upload
			fi, err := os.Stat(filepath.Join(p.root, "up", f.name))
			if err != nil {
				t.Fatal(err)
			}
			if !fi.ModTime().Equal(past) {
				t.Errorf("up/%s was modified %v; want %v", f.name, fi.ModTime().UTC(), past)
			}
		}

		if !p.plain() { // GnuTLS chose 1.3 until here; lftp connects at the first mirror
			p.lftp(t, "set ssl:priority NORMAL:-VERS-ALL:+VERS-TLS1.2",
				"mirror -P 4 there mirrored12", "mirror -R -P 4 here up12")
			same(t, filepath.Join(p.root, "up12"), source)
			same(t, filepath.Join(p.local, "mirrored12"), mirrored)
		}
	},
}

// lftp runs commands in one session and fails at the first that fails.
func (p *play) lftp(t *testing.T, commands ...string) string {
	t.Helper()
	lines := []string{
		"set cmd:fail-exit yes",
		"set cmd:interactive no",
		"set net:max-retries 1",
		"set net:timeout 20",
		"set net:reconnect-interval-base 1",
		"set pget:min-chunk-size 256k",
		"set xfer:log no",
		fmt.Sprintf("set ftp:passive-mode %v", !p.active()),
		fmt.Sprintf("set ftp:ssl-allow %v", !p.plain()),
		fmt.Sprintf("set ftp:ssl-force %v", !p.plain()),
		"set ftp:ssl-protect-data yes",
		"set ftp:ssl-protect-list yes",
	}
	if p.ca != "" {
		lines = append(lines, fmt.Sprintf("set ssl:ca-file %q", p.ca))
	} else {
		lines = append(lines, "set ssl:verify-certificate no")
	}
	lines = append(lines, fmt.Sprintf("open -u %s,%s %s", user, password, strings.TrimSuffix(p.url(""), "/")))
	lines = append(append(lines, commands...), "bye")
	path := filepath.Join(t.TempDir(), "commands")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return p.run(t, "lftp", "-d", "-f", path)
}
