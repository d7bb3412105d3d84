package interop

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// curl takes the control connection back to clear text, whichever side it lets
// end TLS, with data still encrypted.
func TestCurlAndCCC(t *testing.T) {
	peer(t, "curl")
	if !strings.Contains(curlHelp(t), "--ftp-ssl-ccc") {
		missing(t, "MISSING PEER curl with --ftp-ssl-ccc: apt-get install curl")
	}
	s := configured(t, t.TempDir(), "[commands]\nallow = [\"CCC\"]")
	stored := plant(t, s.root, big.as("big"))
	for _, mode := range []string{"active", "passive"} {
		for name, version := range map[string][]string{
			"TLS 1.2": {"--tlsv1.2", "--tls-max", "1.2"},
			"TLS 1.3": {"--tlsv1.3"},
		} {
			t.Run(mode+" "+name, func(t *testing.T) {
				p := join(t, way{"IPv4", "passive", "explicit"}, s)
				p.host, p.port = address(t, "ftp", s.ready.FTP)
				p.ca = p.trust(t, p.host)
				call := func(more ...string) string {
					return p.run(t, "curl", p.curlArgs(append(append(version, "-v", "--ftp-ssl-ccc", "--ftp-ssl-ccc-mode", mode), more...)...)...)
				}
				out := call(p.url("big"), "-o", filepath.Join(p.local, "down"))
				if got := scan(t, p.local)["down"]; got != sum(big.content()) {
					t.Errorf("download: %s; want %s", got, sum(big.content()))
				}
				if !strings.Contains(out, "> CCC") || !strings.Contains(out, "> PROT P") {
					t.Errorf("curl did not say CCC and PROT P:\n%s", out)
				}
				name := strings.ReplaceAll(mode+name, " ", "")
				call("-T", filepath.Join(p.local, "down"), p.url(name))
				stored = stored.plus(treeOf(big.as(name)))
				same(t, s.root, stored)
			})
		}
	}
	if log := s.printed(t); strings.Count(log, "verb=CCC") != 8 {
		t.Errorf("the log tells of %d CCC; want 8", strings.Count(log, "verb=CCC"))
	}
}

func curlHelp(t *testing.T) string {
	t.Helper()
	p := &play{local: t.TempDir(), ctx: t.Context(), env: os.Environ()}
	return p.run(t, "curl", "--help", "all")
}

// lftp copies from server to server: no byte of the file comes to it.
func TestLftpBetweenTwoServers(t *testing.T) {
	peer(t, "lftp")
	const commands = "[commands]\nallow = [\"FXP\"]"
	for _, tls := range []string{"plain", "explicit"} {
		t.Run(tls, func(t *testing.T) {
			t.Parallel()
			from, to := configured(t, t.TempDir(), commands), configured(t, t.TempDir(), commands)
			var files []named
			for _, f := range all() {
				if len(f.content) > 0 { // lftp 4.9.2 waits for ever at the end of a file that it knows to be empty
					files = append(files, f)
				}
			}
			stored := plant(t, from.root, files...)
			p := join(t, way{"IPv4", "passive", tls}, from)
			p.host, p.port = address(t, "ftp", from.ready.FTP)
			host, port := address(t, "ftp", to.ready.FTP)
			out := p.lftp(t,
				"set ftp:use-fxp yes",
				"set ftp:fxp-force yes",
				"mirror / ftp://"+user+":"+password+"@"+host+":"+port+"/copied",
			)
			same(t, to.root, stored.below("copied"))
			if strings.Contains(out, "---> CPSV") != (tls == "explicit") {
				t.Errorf("lftp said CPSV, or did not:\n%s", tail(out, 4000))
			}
		})
	}
}
