package certs

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestHostKeysAreMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var wg sync.WaitGroup
	first := make([][]ssh.Signer, 2)
	for i := range first { // two servers that start at once
		wg.Go(func() {
			var err error
			if first[i], err = HostKeys(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	again, err := HostKeys(dir)
	if err != nil || len(again) != 3 || t.Failed() {
		t.Fatalf("%d keys, %v", len(again), err)
	}
	for i, want := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSA} {
		for _, other := range first {
			if ssh.FingerprintSHA256(other[i].PublicKey()) != ssh.FingerprintSHA256(again[i].PublicKey()) {
				t.Errorf("the key %s has changed", want)
			}
		}
		if got := again[i].PublicKey().Type(); got != want {
			t.Errorf("key %d is %s; want %s", i, got, want)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%v, %v", files, err)
	}
	for _, f := range files {
		if fi, err := f.Info(); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), fi.Mode(), err)
		}
	}
}

func TestHostKeysThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(k, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		write("junk", []byte("junk")):                          "no private key",
		write("locked", pem.EncodeToMemory(locked)):            "passphrase",
		write("public", ssh.MarshalAuthorizedKey(publicOf(k))): "no private key",
	} {
		if _, err := LoadHostKey(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", filepath.Base(file), err, want)
		}
	}
	if _, err := LoadHostKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is missing: %v", err)
	}
}

// A host key that others can read is no secret, whoever has made it.
func TestHostKeysThatOthersCanRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	dir := t.TempDir()
	if _, err := HostKeys(dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ssh_host_ed25519_key")
	for mode, ok := range map[fs.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false, 0o755: false} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		_, one := LoadHostKey(file)
		_, all := HostKeys(dir)
		for _, err := range []error{one, all} {
			var e *Error
			switch {
			case ok && err != nil:
				t.Errorf("mode %04o: %v", mode, err)
			case !ok && (!errors.As(err, &e) || e.Why != Exposed || !strings.Contains(err.Error(), "chmod 600 "+file)):
				t.Errorf("mode %04o: %v; want a refusal that says chmod 600", mode, err)
			}
		}
	}
}

func publicOf(k *rsa.PrivateKey) ssh.PublicKey {
	pub, err := ssh.NewPublicKey(&k.PublicKey)
	if err != nil {
		panic(err)
	}
	return pub
}
