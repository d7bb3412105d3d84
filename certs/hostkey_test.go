package certs

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"os"
	"path/filepath"
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
	if _, err := LoadHostKey(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("a file that is missing: %v", err)
	}
}

func publicOf(k *rsa.PrivateKey) ssh.PublicKey {
	pub, err := ssh.NewPublicKey(&k.PublicKey)
	if err != nil {
		panic(err)
	}
	return pub
}
