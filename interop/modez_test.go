package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lftp compresses data both ways (MODE Z), in clear text and under TLS.
func TestLftpInModeZ(t *testing.T) {
	peer(t, "lftp")
	for _, tls := range []string{"plain", "explicit", "implicit"} {
		for _, data := range []string{"passive", "active"} {
			w := way{"IPv4", data, tls}
			t.Run(w.String(), func(t *testing.T) {
				t.Parallel()
				p := newPlay(t, w)
				stored := plant(t, filepath.Join(p.root, "there"), all()...).below("there")
				text := named{"lines.txt", []byte(strings.Repeat("a line that compresses well\n", 50_000))}
				source := plant(t, filepath.Join(p.local, "here"), append(all(), text)...)
				half := big.content()[:big.size/2]
				plant(t, p.root, named{"put.bin", half})
				plant(t, p.local, named{"get.bin", half})
				// lftp itself leaves out names that look compressed already.
				out := p.lftp(t,
					"set ftp:use-mode-z yes",
					"cls -1 there",
					"mirror -P 4 there down",
					"mirror -R -P 4 here up",
					"set ftp:mode-z-level 9",
					fmt.Sprintf("put -c %q -o put.bin", "here/"+big.name),
					fmt.Sprintf("get -c %q -o get.bin", "there/"+big.name),
					"set ftp:use-mode-z no",
					"get up/lines.txt -o plain.txt",
				)
				same(t, p.root, stored.plus(source.below("up"), treeOf(big.as("put.bin"))))
				same(t, filepath.Join(p.local, "down"), treeOf(all()...))
				for name, want := range map[string]string{"get.bin": sum(big.content()), "plain.txt": sum(text.content)} {
					b, err := os.ReadFile(filepath.Join(p.local, name))
					if err != nil || sum(b) != want {
						t.Errorf("%s: %d bytes with another content, %v", name, len(b), err)
					}
				}
				for _, line := range []string{"---> MODE Z", "<--- 150 Opening compressed binary data connection", "---> MODE S"} {
					if !strings.Contains(out, line) {
						t.Errorf("lftp did not come to %q:\n%s", line, tail(out, 4000))
					}
				}
			})
		}
	}
}
