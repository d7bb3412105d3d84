package interop

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
)

// A wrong password over SSH is found as well, and a right one is none.
func TestFail2banFindsFailedLoginsOverSSH(t *testing.T) {
	t.Parallel() // it waits for the answers to wrong passwords
	fail2ban(t, "fail2ban-regex")
	filter, err := filepath.Abs("../contrib/fail2ban/filter.d/dray.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		dir := t.TempDir()
		log, auth := filepath.Join(dir, "dray.log"), filepath.Join(dir, "auth.log")
		s := recorded(t, fmt.Sprintf("[log]\nformat = %q\nfile = %q\nauth = %q\n[[listener]]\nprotocol = \"sftp\"\nlisten = [\"127.0.0.1:0\"]\n", format, log, auth),
			account.Account{Name: "in", Home: t.TempDir(), Rights: account.Full})
		login := func(name, secret string) error {
			c, err := ssh.Dial("tcp", s.ready.SFTP[0], &ssh.ClientConfig{
				User: name, Auth: []ssh.AuthMethod{ssh.Password(secret)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
			})
			if err == nil {
				_ = c.Close()
			}
			return err
		}
		host, _, _ := net.SplitHostPort(s.ready.SFTP[0])
		var want []string
		for _, name := range hostile[:8] {
			if login(name, "wrong") == nil {
				t.Errorf("%s: %q is let in", format, name)
			}
			want = append(want, host)
		}
		if err := login("in", password); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		s.end(t)
		found(t, want, log, filter)
		found(t, want, auth, "vsftpd")
	}
}
