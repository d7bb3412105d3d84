package sftpserver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
)

// identity writes a key for anna that OpenSSH can read, and makes it hers.
func (st *stage) identity() string {
	st.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	need(st.t, err)
	block, err := ssh.MarshalPrivateKey(private, "")
	need(st.t, err)
	file := filepath.Join(st.t.TempDir(), "id")
	need(st.t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	pub, err := ssh.NewPublicKey(private.Public())
	need(st.t, err)
	k, err := account.ParseKey(string(ssh.MarshalAuthorizedKey(pub)))
	need(st.t, err)
	a := st.people.known["anna"]
	a.Keys = append(a.Keys, k)
	st.people.known["anna"] = a
	return file
}

// sftpBatch runs OpenSSH's sftp with commands.
func (st *stage) sftpBatch(batch string, args ...string) (string, error) {
	st.t.Helper()
	if _, err := exec.LookPath("sftp"); err != nil {
		if os.Getenv("CI") != "" {
			st.t.Fatal("sftp is missing")
		}
		st.t.Skip("SKIPPED: OpenSSH's sftp is missing")
	}
	host, port, err := net.SplitHostPort(st.addr)
	need(st.t, err)
	ctx, cancel := context.WithTimeout(st.t.Context(), 60*time.Second)
	defer cancel()
	all := append([]string{
		"-q", "-b", "-", "-P", port, "-i", st.identity(), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-F", "/dev/null",
	}, args...)
	cmd := exec.CommandContext(ctx, "sftp", append(all, "anna@"+host)...)
	cmd.Stdin = strings.NewReader(batch)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestOpenSSHWorks(t *testing.T) {
	st := newStage(t)
	local := t.TempDir()
	big := make([]byte, 5<<20+17)
	_, _ = rand.Read(big)
	need(t, os.WriteFile(filepath.Join(local, "big"), big, 0o640))
	st.put("there", "hello\n")
	out, err := st.sftpBatch(strings.Join([]string{
		"lcd " + local, "pwd", "put -p big", "get big back", "get there", "mkdir d", "cd d", "put big b2", "rename b2 b3", "ls -l",
		"ln -s b3 link", "ls -ln", "chmod 600 b3", "cd ..", "rm there", "df", "rm d/link", "rm d/b3", "rmdir d", "-get none", "ls -a", "cp big copy", "quit",
	}, "\n"))
	if err != nil {
		t.Fatalf("sftp: %v\n%s\nserver:\n%s", err, out, st.log)
	}
	for _, name := range []string{"back"} {
		if b, err := os.ReadFile(filepath.Join(local, name)); err != nil || !bytes.Equal(b, big) {
			t.Errorf("%s came back as %d bytes, %v", name, len(b), err)
		}
	}
	if st.file("big") != string(big) || st.file("copy") != string(big) {
		t.Error("what was put or copied is not what was sent")
	}
	fi, err := os.Stat(filepath.Join(st.dir, "big"))
	need(t, err)
	if fi.Mode().Perm() != 0o640 {
		t.Errorf("put -p left the mode %o", fi.Mode().Perm())
	}
	st.missing("there")
	st.missing("d")
	for _, want := range []string{"Remote working directory: /", "b3", "link"} {
		if !strings.Contains(out, want) {
			t.Errorf("sftp does not say %q:\n%s", want, out)
		}
	}
}

// OpenSSH offers a key first, and forgets about keys when that is refused.
func TestOpenSSHShowsTwoFactors(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ssh is missing")
		}
		t.Skip("SKIPPED: OpenSSH's ssh is missing")
	}
	for _, factors := range [][]string{{account.FactorPassword, account.FactorKey}, {account.FactorKey, account.FactorPassword}} {
		for _, first := range []string{"publickey,password", "keyboard-interactive,publickey"} {
			st := newStage(t)
			key := st.identity()
			a := st.people.known["anna"]
			a.Factors = factors
			st.people.known["anna"] = a
			asks := filepath.Join(t.TempDir(), "askpass")
			need(t, os.WriteFile(asks, []byte("#!/bin/sh\necho "+password+"\n"), 0o700))
			host, port, err := net.SplitHostPort(st.addr)
			need(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, "ssh", "-p", port, "-i", key, "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
				"-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-o", "NumberOfPasswordPrompts=1", "-o", "PreferredAuthentications="+first,
				"-s", "anna@"+host, "sftp")
			cmd.Env = append(os.Environ(), "SSH_ASKPASS="+asks, "SSH_ASKPASS_REQUIRE=force")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("factors %q, shown as %s: %v\n%s\nserver:\n%s", factors, first, err, out, st.log)
			}
		}
	}
}
