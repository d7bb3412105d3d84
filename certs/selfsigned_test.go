package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var today = time.Date(2030, 3, 4, 5, 6, 7, 0, time.UTC)

func selfSigned(t *testing.T, dir string, now time.Time) *Certificate {
	t.Helper()
	c, err := SelfSigned(dir, []string{"files.example", "localhost"}, []netip.Addr{netip.MustParseAddr("192.0.2.1"),
		netip.MustParseAddr("::ffff:192.0.2.2"), netip.MustParseAddr("fe80::1%eth0")}, now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheFirstStartMakesACertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "tls")
	c := selfSigned(t, dir, today)
	leaf := c.Leaf
	if leaf.Subject.CommonName != "files.example" || leaf.IsCA || len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Errorf("subject %v, CA %v, usage %v", leaf.Subject, leaf.IsCA, leaf.ExtKeyUsage)
	}
	if pub, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || pub.Curve != elliptic.P256() {
		t.Errorf("key %T", leaf.PublicKey)
	}
	if !leaf.NotBefore.Equal(today.AddDate(0, 0, -1)) || !leaf.NotAfter.Equal(today.AddDate(10, 0, -1)) {
		t.Errorf("valid %v to %v", leaf.NotBefore, leaf.NotAfter)
	}
	for _, name := range []string{"files.example", "localhost", "192.0.2.1", "192.0.2.2", "fe80::1"} {
		if !c.covers(name) {
			t.Errorf("does not cover %s: %v %v", name, leaf.DNSNames, leaf.IPAddresses)
		}
	}
	if !strings.Contains(c.Note, "made a self-signed certificate") || !strings.Contains(c.Note, "2040-03-03") {
		t.Errorf("note %q", c.Note)
	}
	if p := c.Problems(); len(p) != 0 {
		t.Errorf("problems %q", p)
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, SelfSignedFile): 0o600} {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %o, want %o", name, got, want)
			}
		}
	}
	onlyFile(t, dir)
}

// onlyFile fails when anything but the certificate was left behind.
func onlyFile(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != SelfSignedFile {
		t.Errorf("the state directory holds %v", entries)
	}
}

func TestTheNextStartUsesItAgain(t *testing.T) {
	dir := t.TempDir()
	first := selfSigned(t, dir, today)
	again := selfSigned(t, dir, today.AddDate(9, 11, 0))
	if first.SHA256() != again.SHA256() {
		t.Error("another certificate at the second start")
	}
	if again.Note != "" {
		t.Errorf("note %q", again.Note)
	}
}

func TestAMissingNameIsTold(t *testing.T) {
	dir := t.TempDir()
	first := selfSigned(t, dir, today)
	c, err := SelfSigned(dir, []string{"files.example", "new.example"}, nil, today)
	if err != nil {
		t.Fatal(err)
	}
	if c.Hex() != first.Hex() || !strings.Contains(c.Note, "does not name new.example;") {
		t.Errorf("note %q", c.Note)
	}
}

func TestOurExpiredCertificateIsReplaced(t *testing.T) {
	dir := t.TempDir()
	first := selfSigned(t, dir, today)
	later := today.AddDate(10, 0, 0)
	second := selfSigned(t, dir, later)
	if first.Hex() == second.Hex() || !second.Leaf.NotAfter.After(later.AddDate(9, 0, 0)) {
		t.Errorf("still the old one, valid until %v", second.Leaf.NotAfter)
	}
	if !strings.Contains(second.Note, "replaced the self-signed certificate that expired at 2040-03-03") {
		t.Errorf("note %q", second.Note)
	}
	if again := selfSigned(t, dir, later); again.Hex() != second.Hex() {
		t.Error("the new one did not stay")
	}
	onlyFile(t, dir)
}

func TestAClockInThePastKeepsTheCertificate(t *testing.T) {
	dir := t.TempDir()
	first := selfSigned(t, dir, today)
	c := selfSigned(t, dir, time.Unix(0, 0))
	if c.Hex() != first.Hex() || !strings.Contains(c.Note, "set the clock") {
		t.Errorf("note %q", c.Note)
	}
}

func TestWhatWeDidNotMakeIsNeverReplaced(t *testing.T) {
	expired := server("files.example")
	expired.NotBefore, expired.NotAfter = today.AddDate(-2, 0, 0), today.AddDate(-1, 0, 0)
	foreign := issue(t, expired, newKey(t), nil)
	pretender := expired
	pretender.Subject = pkix.Name{Organization: []string{maker}}
	issued := issue(t, pretender, newKey(t), authority(t, "Root", nil))
	ours := selfSigned(t, t.TempDir(), today)
	tests := []struct {
		name string
		data []byte
		mode os.FileMode
		why  Why
		says string
	}{
		{"an expired one of somebody else", join(foreign.certPEM(), foreign.keyPEM(t)), 0o600, Expired, "remove the file"},
		{"an expired one from an authority", join(issued.certPEM(), issued.keyPEM(t)), 0o600, Expired, "remove the file"},
		{"an empty file", nil, 0o600, NotPEM, "remove the file"},
		{"a file cut off", foreign.certPEM()[:99], 0o600, Damaged, "remove the file"},
		{"a certificate without its key", block("CERTIFICATE", ours.Leaf.Raw), 0o600, NoKey, "remove the file"},
		{"a key of others", join(foreign.certPEM(), issued.keyPEM(t)), 0o600, Mismatch, "remove the file"},
		{"a file that the group can read", join(foreign.certPEM(), foreign.keyPEM(t)), 0o640, Exposed, "chmod 600 "},
		{"a file that all can read", join(foreign.certPEM(), foreign.keyPEM(t)), 0o604, Exposed, "(mode 0604)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && tt.why == Exposed {
				t.Skip("Windows has no permission bits")
			}
			dir := t.TempDir()
			name := filepath.Join(dir, SelfSignedFile)
			if err := os.WriteFile(name, tt.data, tt.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(name, tt.mode); err != nil { // whatever the umask
				t.Fatal(err)
			}
			_, err := SelfSigned(dir, []string{"files.example"}, nil, today)
			wantError(t, err, tt.why, SelfSignedFile, tt.says)
			data, err := os.ReadFile(name)
			if err != nil || !bytes.Equal(data, tt.data) {
				t.Errorf("the file was changed: %v", err)
			}
			onlyFile(t, dir)
		})
	}
}

func TestAGoodCertificateOfSomebodyElseIsUsed(t *testing.T) {
	tmpl := server("files.example")
	tmpl.NotBefore = today.AddDate(0, 0, -1)
	p := issue(t, tmpl, newKey(t), nil)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, SelfSignedFile), join(p.keyPEM(t), p.certPEM()), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := selfSigned(t, dir, today); !c.Leaf.Equal(p.cert) {
		t.Error("another certificate")
	}
}

func TestStartsAtOnceAgreeOnOneCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var wg sync.WaitGroup
	var got [8]*Certificate
	for i := range got {
		wg.Go(func() {
			c, err := SelfSigned(dir, []string{"files.example"}, nil, today)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = c
		})
	}
	wg.Wait()
	made := 0
	for _, c := range got {
		if c == nil || c.Hex() != got[0].Hex() {
			t.Fatal("two processes have different certificates")
		}
		if c.Note != "" {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d say that they made it, want 1", made)
	}
	onlyFile(t, dir)
}

func TestNamesOfAllKinds(t *testing.T) {
	long := strings.Repeat("a", 60) + ".example"
	tests := []struct {
		name       string
		names      []string
		ips        []string
		common     string
		covers     string
		wantFailed bool
	}{
		{"none means localhost", nil, nil, "localhost", "localhost", false},
		{"only an address", nil, []string{"2001:db8::1"}, "2001:db8::1", "[2001:db8::1]", false},
		{"a name too long for a common name", []string{long}, nil, "dray", long, false},
		{"an address among the names", []string{"192.0.2.9"}, nil, "192.0.2.9", "192.0.2.9", false},
		{"a wildcard", []string{"*.example"}, nil, "*.example", "files.example", false},
		{"two names in one", []string{"a.example b.example."}, nil, "", "", true},
		{"not a name", []string{"gr\u00fcn.example"}, nil, "", "", true},
		{"an empty name", []string{""}, nil, "", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ips []netip.Addr
			for _, ip := range tt.ips {
				ips = append(ips, netip.MustParseAddr(ip))
			}
			dir := t.TempDir()
			c, err := SelfSigned(dir, tt.names, ips, today)
			if tt.wantFailed {
				if entries, _ := os.ReadDir(dir); err == nil || len(entries) != 0 {
					t.Fatalf("error %v, files %v; want an error and no file", err, entries)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.Leaf.Subject.CommonName != tt.common || !c.covers(tt.covers) {
				t.Errorf("common name %q, covers %s: %v", c.Leaf.Subject.CommonName, tt.covers, c.covers(tt.covers))
			}
		})
	}
}
