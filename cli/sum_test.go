//go:build unix

package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"dray/sftp"
)

// A checksum of less than the file is no checksum: it is not shown, and the status says
// so; those of the other files are.
func TestNoSumOfAFileThatEndsShort(t *testing.T) {
	t.Parallel()
	wanted := sha256.Sum256([]byte(theFile))
	whole := hex.EncodeToString(wanted[:]) + "  whole\n"
	for _, tt := range []struct {
		name   string
		end    func(c *ftpConn)
		status int
		id     string
	}{
		{"226 for a short file", func(c *ftpConn) { d := c.half(); _ = d.Close(); c.say("226 done") }, 10, "short-file"},
		{"226 for no byte", func(c *ftpConn) { _ = c.open().Close(); c.say("226 done") }, 10, "short-file"},
		{"426", func(c *ftpConn) { d := c.half(); d.cut(); c.say("426 broke off") }, 11, "data-lost"},
	} {
		t.Run("FTP, "+tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFTPFake(t)
			f.put("/short", theFile)
			f.put("/whole", theFile)
			f.at = func(c *ftpConn, verb, arg string) bool {
				if verb != "RETR" || !strings.HasSuffix(arg, "short") {
					return false
				}
				tt.end(c)
				return true
			}
			shortSum(t, newWard(t), f.url("/short"), f.url("/whole"), whole, tt.status, tt.id)
		})
	}
	t.Run("SFTP", func(t *testing.T) {
		t.Parallel()
		f := newSFTPFake(t)
		f.files["/short"], f.files["/whole"] = theFile, theFile
		f.says = func(s *sftpSession, q *sftp.Request, _ []byte) []byte {
			if q.Type == sftp.TypeRead && s.handles[string(q.Handle)] == "/short" && q.Offset >= 1000 {
				return sftpStatus(q, sftp.EOF, "")
			}
			return nil
		}
		w := newWard(t)
		f.known(w, f.key.PublicKey())
		shortSum(t, w, f.url("/short"), f.url("/whole"), whole, 10, "short-file")
	})
}

// shortSum asks for the sums of a file that ends short and of a whole one.
func shortSum(t *testing.T, w *ward, short, good, whole string, status int, id string) {
	t.Helper()
	w.env = append(w.env, "DRAY_PLAIN=true")
	p := w.dray("sum", short)
	p.is(status, id)
	if p.out != "" {
		t.Errorf("of the short file alone it shows %q", p.out)
	}
	p = w.dray("sum", short, good)
	p.is(status, id)
	if p.out != whole {
		t.Errorf("it shows %q; want %q", p.out, whole)
	}
	p = w.dray("sum", "--json", short, good)
	p.is(status, id)
	if strings.Count(p.out, `"sum":`) != 1 || !strings.Contains(p.out, `"ok":false`) || !strings.Contains(p.out, whole[:64]) {
		t.Errorf("--json shows %s", p.out)
	}
}
