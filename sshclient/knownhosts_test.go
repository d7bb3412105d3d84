package sshclient

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// line is one of known_hosts.
func line(names string, key ssh.PublicKey) string {
	return names + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + "\n"
}

func TestKnownNamesAreThoseThatCanBeRead(t *testing.T) {
	k := newKey(t).PublicKey()
	file := filepath.Join(t.TempDir(), "known_hosts")
	text := "# a comment\n" + line("b.example,[a.example]:2222,192.0.2.1", k) + line("|1|c2FsdA==|aGFzaA==", k) + line("*.example", k) + line("@cert-authority ca.example", k) + line("[::1]:23", k) + "cut off\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := KnownNames([]string{filepath.Join(t.TempDir(), "missing"), file})
	if want := []string{"b.example", "a.example", "192.0.2.1", "::1"}; !slices.Equal(got, want) {
		t.Errorf("the names are %q; want %q", got, want)
	}
}

func TestKnownFindsLines(t *testing.T) {
	k := newKey(t).PublicKey()
	rest := strings.SplitN(line("x", k), " ", 2)[1]
	tests := []struct {
		name, names, host string
		port              int
		want              bool
	}{
		{"a name", "a.example", "a.example", 22, true},
		{"no case", "A.example", "a.EXAMPLE", 22, true},
		{"another", "a.example", "b.example", 22, false},
		{"no part of a name", "a.example", "a.example.net", 22, false},
		{"one of several", "b,a.example,c", "a.example", 22, true},
		{"a port", "[a.example]:2222", "a.example", 2222, true},
		{"another port", "[a.example]:2222", "a.example", 22, false},
		{"no port in the file", "a.example", "a.example", 2222, false},
		{"an address", "::1", "::1", 22, true},
		{"an address with a port", "[::1]:23", "::1", 23, true},
		{"a pattern", "*.example", "a.example", 22, true},
		{"a pattern for ports", "[*.example]:*", "a.example", 4, true},
		{"all but one", "*.example,!a.example", "a.example", 22, false},
		{"hashed", knownhosts.HashHostname("a.example"), "a.example", 22, true},
		{"hashed with a port", knownhosts.HashHostname("[a.example]:2222"), "a.example", 2222, true},
		{"hashed, another", knownhosts.HashHostname("a.example"), "b.example", 22, false},
		{"a hash of another kind", "|2|AAAA|AAAA", "a.example", 22, false},
		{"a hash that is none", "|1|%%%|", "a.example", 22, false},
	}
	for _, tt := range tests {
		file := filepath.Join(t.TempDir(), "kh")
		need(t, os.WriteFile(file, []byte("# comment\n\nnonsense\n"+tt.names+" ssh-ed25519 notbase64\n"+tt.names+" "+rest), 0o600))
		got, err := Known([]string{file, filepath.Join(t.TempDir(), "none")}, tt.host, tt.port)
		need(t, err)
		if (len(got) == 1) != tt.want {
			t.Errorf("%s: %d lines of %q for %s port %d", tt.name, len(got), tt.names, tt.host, tt.port)
		}
		if tt.want && len(got) == 1 && (got[0].Where() != file+":5" || got[0].Fingerprint() != "ED25519 "+ssh.FingerprintSHA256(k)) {
			t.Errorf("%s: %s %s", tt.name, got[0].Where(), got[0].Fingerprint())
		}
	}
}

func TestRememberAndForget(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	file := filepath.Join(dir, "known_hosts")
	a, b := newKey(t).PublicKey(), ecdsaKey(t).PublicKey()
	need(t, Remember(file, "A.example", 22, a, Remembering{}))
	need(t, Remember(file, "a.example", 22, a, Remembering{}))
	need(t, Remember(file, "a.example", 2222, b, Remembering{Hash: true}))
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v %v", fi.Mode(), err)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v %v", fi.Mode(), err)
	}
	data, err := os.ReadFile(file)
	need(t, err)
	if n := bytes.Count(data, []byte("\n")); n != 2 || bytes.Contains(data, []byte("2222")) {
		t.Errorf("the file is %q", data)
	}
	for port, want := range map[int]ssh.PublicKey{22: a, 2222: b} {
		got, err := Known([]string{file}, "a.example", port)
		if err != nil || len(got) != 1 || !same(got[0].Key, want) {
			t.Errorf("port %d: %v, %v", port, got, err)
		}
	}
	// A file without an end of its last line.
	need(t, os.WriteFile(file, append(data, "# last"...), 0o600))
	need(t, os.Chmod(file, 0o640))
	need(t, Remember(file, "c.example", 22, a, Remembering{}))
	if got, err := Known([]string{file}, "c.example", 22); err != nil || len(got) != 1 || got[0].Line != 4 {
		t.Errorf("%v, %v", got, err)
	}
	before, err := os.ReadFile(file)
	need(t, err)
	gone, err := Forget(file, "a.example", 2222)
	if err != nil || len(gone) != 1 || gone[0].Line != 2 || gone[0].File != file {
		t.Errorf("%v, %v", gone, err)
	}
	after, err := os.ReadFile(file)
	need(t, err)
	if got := strings.Count(string(after), "\n"); got != 3 || !strings.HasPrefix(string(after), "a.example ") || !strings.Contains(string(after), "# last") {
		t.Errorf("what is left: %q", after)
	}
	if old, err := os.ReadFile(file + ".old"); err != nil || !bytes.Equal(old, before) {
		t.Errorf("what is kept: %q, %v", old, err)
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("the mode became %v", fi.Mode())
	}
	if gone, err := Forget(file, "nobody", 22); err != nil || gone != nil {
		t.Errorf("%v, %v", gone, err)
	}
	if gone, err := Forget(filepath.Join(dir, "none"), "a", 22); err != nil || gone != nil {
		t.Errorf("%v, %v", gone, err)
	}
	for _, bad := range []string{"a b", "a,b", "a\nb", "*", "!a", "|1|a|b", ""} {
		if err := Remember(file, bad, 22, a, Remembering{}); err == nil {
			t.Errorf("%q was remembered", bad)
		}
	}
	if err := Remember("", "a", 22, a, Remembering{}); err == nil {
		t.Error("a key was remembered in no file")
	}
}

func TestForgetLeavesOthers(t *testing.T) {
	k := newKey(t).PublicKey()
	in := line("a,b", k) + line("*.x,a", k) + "@cert-authority " + line("a", k) + "@revoked " + line("a", k) + line("[a]:23", k) + line("a*,a", k)
	want := line("b", k) + line("*.x", k) + "@cert-authority " + line("a", k) + "@revoked " + line("a", k) + line("[a]:23", k) + line("a*,!a", k)
	after, gone := without([]byte(in), "a")
	if string(after) != want || len(gone) != 3 {
		t.Errorf("%d gone, left:\n%swant:\n%s", len(gone), after, want)
	}
}

// A link to the file stays one.
func TestForgetFollowsALink(t *testing.T) {
	dir := t.TempDir()
	k := newKey(t).PublicKey()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	need(t, os.WriteFile(real, []byte(line("a", k)+line("b", k)), 0o600))
	if err := os.Symlink(real, link); err != nil {
		if runtime.GOOS != "windows" {
			t.Fatal(err)
		}
		t.Skip("SKIPPED: Windows lets nobody make symbolic links here")
	}
	_, err := Forget(link, "a", 22)
	need(t, err)
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", fi, err)
	}
	if b, err := os.ReadFile(real); err != nil || string(b) != line("b", k) {
		t.Errorf("the file: %q, %v", b, err)
	}
}

// ssh-keygen finds what we remember, and the other way round.
func TestKeygenFindsTheSame(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("ssh-keygen is missing")
		}
		t.Skip("SKIPPED: OpenSSH's ssh-keygen is missing")
	}
	file := filepath.Join(t.TempDir(), "kh")
	k := newKey(t).PublicKey()
	need(t, Remember(file, "a.example", 22, k, Remembering{Hash: true}))
	need(t, Remember(file, "b.example", 2222, k, Remembering{}))
	for _, name := range []string{"a.example", "[b.example]:2222"} {
		if out, err := exec.Command(keygen, "-F", name, "-f", file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
	if out, err := exec.Command(keygen, "-H", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if got, err := Known([]string{file}, "b.example", 2222); err != nil || len(got) != 1 {
		t.Errorf("hashed by ssh-keygen: %v, %v", got, err)
	}
}

func FuzzKnownHosts(f *testing.F) {
	k := newKey(f).PublicKey()
	f.Add(line("a", k)+line("[b]:22,c*,!ca", k)+"@revoked "+line("*", k), "a")
	f.Add(line(knownhosts.HashHostname("a"), k)+"#x\n\n"+line("a", k)[:30], "a")
	f.Add("|1||", "a")
	f.Add("a, b c\na,#b c d\na,@revoked b c d\n", "a")
	f.Fuzz(func(t *testing.T, text, host string) {
		name := HostName(host, 22)
		after, gone := without([]byte(text), name)
		// What is forgotten is not found by its name, and nothing else changes.
		if again, more := without(after, name); len(more) > 0 || !bytes.Equal(again, after) {
			t.Errorf("%q without %q is %q, and again %q", text, name, after, again)
		}
		if len(gone) == 0 && string(after) != text {
			t.Errorf("nothing was forgotten, and %q became %q", text, after)
		}
		if len(gone) > 0 {
			for l := range strings.Lines(string(after)) {
				if k, ok := parseKnownLine(l); ok && k.marker == "" && len(l) <= maxKnownLine {
					if fits, exact := k.fits(name); fits && exact {
						t.Errorf("%q is still there in %q", name, l)
					}
				}
			}
		}
	})
}
