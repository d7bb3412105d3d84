package sshclient

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"dray/fault"
)

func TestUnknownHostKeys(t *testing.T) {
	host := newKey(t)
	p := newPeer(t, open(), host)
	print := ssh.FingerprintSHA256(host.PublicKey())

	st := newStage(t)
	fe := st.fails(st.options(p), fault.IDHostKeyNew)
	if fe.Kind != fault.Untrusted || fe.Facts[0] != "127.0.0.1" || fe.Facts[1] != "ED25519 "+print {
		t.Errorf("%v: %v", fe.Kind, fe.Facts)
	}
	if fe.Do[len(fe.Do)-1] != "dray trust "+TrustName(p.host, p.port, 22)+" "+print {
		t.Errorf("what to do: %q", fe.Do)
	}
	for _, answer := range []Answer{No, Once, Yes} {
		st := newStage(t)
		o := st.options(p)
		var asked HostKey
		o.Ask = func(_ context.Context, q HostKey) (Answer, error) {
			asked = q
			return answer, nil
		}
		if answer == No {
			st.fails(o, fault.IDHostKeyNew)
		} else {
			st.connects(o)
		}
		if asked.Host != p.host || asked.Port != p.port || asked.Fingerprint != "ED25519 "+print || asked.File != st.known || asked.Remote == nil {
			t.Errorf("asked %+v", asked)
		}
		known, err := Known([]string{st.known}, p.host, p.port)
		need(t, err)
		if (len(known) == 1) != (answer == Yes) {
			t.Errorf("after answer %d there are %d lines", answer, len(known))
		}
		if o.Ask = nil; answer == Yes {
			st.connects(o)
		}
	}
	for strict, works := range map[string]bool{"yes": false, "ask": true, "accept-new": true, "no": true} {
		st := newStage(t)
		st.write("config", "StrictHostKeyChecking "+strict+"\nHashKnownHosts yes\n")
		o := st.options(p)
		asked := false
		o.Ask = func(context.Context, HostKey) (Answer, error) { asked = true; return Yes, nil }
		if !works {
			st.fails(o, fault.IDHostKeyNew)
			continue
		}
		st.connects(o)
		if asked != (strict == "ask") {
			t.Errorf("%s: asked is %v", strict, asked)
		}
		if b, err := os.ReadFile(st.known); err != nil || !strings.HasPrefix(string(b), "|1|") {
			t.Errorf("%s: the file is %q, %v", strict, b, err)
		}
	}
	st = newStage(t)
	o := st.options(p)
	stop := errors.New("somebody hung up")
	o.Ask = func(context.Context, HostKey) (Answer, error) { return No, stop }
	if _, err := Dial(t.Context(), o); !errors.Is(err, stop) {
		t.Errorf("an error of Ask becomes %v", err)
	}
}

func TestChangedHostKeys(t *testing.T) {
	host, other := newKey(t), newKey(t)
	p := newPeer(t, takesPassword(), host)
	for _, config := range []string{"", "StrictHostKeyChecking no\n", "StrictHostKeyChecking accept-new\n"} {
		for _, on := range []ssh.PublicKey{other.PublicKey(), ecdsaKey(t).PublicKey()} {
			st := newStage(t)
			st.write("config", config)
			st.trust(p, on)
			o := st.options(p)
			o.Password = func(context.Context, Question) (string, error) {
				t.Error("the password was asked for")
				return password, nil
			}
			o.Ask = func(context.Context, HostKey) (Answer, error) { t.Error("asked about a changed key"); return Yes, nil }
			fe := st.fails(o, fault.IDHostKeyOther)
			if fe.Facts[2] != st.known+":1" || fe.Do[len(fe.Do)-1] != "dray trust "+TrustName(p.host, p.port, 22)+" "+ssh.FingerprintSHA256(host.PublicKey())+" --replace" {
				t.Errorf("%v, %q", fe.Facts, fe.Do)
			}
		}
	}
	// Both are on file: one of them is enough.
	st := newStage(t)
	st.trust(p, other.PublicKey())
	st.trust(p, host.PublicKey())
	o := st.options(p)
	o.Password = gives(password)
	st.connects(o)
}

// Of several keys the server shows the one that is on file.
func TestTheKeyOnFileIsAskedFor(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	need(t, err)
	for _, k := range []ssh.Signer{newKey(t), ecdsaKey(t), signerOf(t, private)} {
		st := newStage(t)
		keys := []ssh.Signer{k}
		for _, x := range []ssh.Signer{newKey(t), ecdsaKey(t)} {
			if x.PublicKey().Type() != k.PublicKey().Type() {
				keys = append(keys, x)
			}
		}
		p := newPeer(t, open(), keys...)
		st.trust(p, k.PublicKey())
		c := st.connects(st.options(p))
		if !same(c.HostKey(), k.PublicKey()) {
			t.Errorf("the key is %s", c.Fingerprint())
		}
	}
}

func TestLinesOfKnownHosts(t *testing.T) {
	host, ca := newKey(t), newKey(t)
	plain := newPeer(t, open(), host)
	cert := certify(t, ca, host.PublicKey(), ssh.HostCert, time.Now().Add(time.Hour), "127.0.0.1")
	certSigner, err := ssh.NewCertSigner(cert, host)
	need(t, err)
	certified := newPeer(t, open(), certSigner, host)
	lapsed, err := ssh.NewCertSigner(certify(t, ca, host.PublicKey(), ssh.HostCert, time.Now().Add(-time.Hour), "127.0.0.1"), host)
	need(t, err)
	old := newPeer(t, open(), lapsed)
	elsewhere, err := ssh.NewCertSigner(certify(t, ca, host.PublicKey(), ssh.HostCert, time.Now().Add(time.Hour), "other.example"), host)
	need(t, err)
	wrong := newPeer(t, open(), elsewhere)
	name := func(p *peer) string { return HostName(p.host, p.port) }
	tests := []struct {
		name, text string
		p          *peer
		want       fault.ID
	}{
		{"its line", line(name(plain), host.PublicKey()), plain, ""},
		{"hashed", line(knownhosts.HashHostname(name(plain)), host.PublicKey()), plain, ""},
		{"a pattern", line("[127.0.0.*]:*", host.PublicKey()), plain, ""},
		{"a key of the host on its usual port", line("127.0.0.1", host.PublicKey()), plain, ""},
		{"another key of the host on its usual port", line("127.0.0.1", ca.PublicKey()), plain, fault.IDHostKeyNew},
		{"excepted", line("*,!127.0.0.1,!"+name(plain), host.PublicKey()), plain, fault.IDHostKeyNew},
		{"revoked", line(name(plain), host.PublicKey()) + "@revoked " + line("*", host.PublicKey()), plain, fault.IDHostKeyGone},
		{"revoked for others", line(name(plain), host.PublicKey()) + "@revoked " + line("other", host.PublicKey()), plain, ""},
		{"an authority", "@cert-authority " + line("[127.0.0.1]:*", ca.PublicKey()), certified, ""},
		{"an authority for others", "@cert-authority " + line("other", ca.PublicKey()), certified, fault.IDHostKeyNew},
		{"another authority", "@cert-authority " + line("*", newKey(t).PublicKey()), certified, fault.IDHostKeyNew},
		{"an authority whose key is no host's", line(name(certified), ca.PublicKey()), certified, fault.IDHostKeyOther},
		{"the key in the certificate", line(name(certified), host.PublicKey()), certified, ""},
		{"a revoked authority", "@cert-authority " + line("*", ca.PublicKey()) + "@revoked " + line("*", ca.PublicKey()), certified, fault.IDHostKeyGone},
		{"a revoked key in a certificate", "@cert-authority " + line("*", ca.PublicKey()) + "@revoked " + line("*", host.PublicKey()), certified, fault.IDHostKeyGone},
		{"a certificate that is over", "@cert-authority " + line("*", ca.PublicKey()), old, fault.IDHostKeyNew},
		{"a certificate for another host", "@cert-authority " + line("*", ca.PublicKey()), wrong, fault.IDHostKeyNew},
		{"lines that nobody can read", "x\n@what y z\n" + name(plain) + " ssh-ed25519 ???\n" + line(name(plain), host.PublicKey()), plain, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := newStage(t)
			st.write("known_hosts", tt.text)
			if tt.want == "" {
				st.connects(st.options(tt.p))
			} else {
				st.fails(st.options(tt.p), tt.want)
			}
		})
	}
}

func TestHostKeyAlias(t *testing.T) {
	st := newStage(t)
	host := newKey(t)
	p := newPeer(t, open(), host)
	st.write("config", "HostKeyAlias Cluster\n")
	st.write("known_hosts", line("cluster", host.PublicKey()))
	st.connects(st.options(p))
}

func TestPinsAndInsecure(t *testing.T) {
	host := newKey(t)
	p := newPeer(t, open(), host)
	print := ssh.FingerprintSHA256(host.PublicKey())
	for _, pin := range []string{print, "sha256" + print[6:] + "=", "ED25519 " + print} {
		st := newStage(t)
		o := st.options(p)
		o.Pins = []string{"SHA256:AAAA", pin}
		st.connects(o)
	}
	st := newStage(t)
	st.trust(p, host.PublicKey())
	o := st.options(p)
	o.Pins = []string{ssh.FingerprintSHA256(newKey(t).PublicKey())}
	st.fails(o, fault.IDHostKeyOther)
	st = newStage(t)
	st.trust(p, newKey(t).PublicKey())
	o = st.options(p)
	o.Insecure = true
	st.connects(o)
	if !strings.Contains(st.trace(), "not checked") {
		t.Error("nothing says that the key was not checked")
	}
}

func TestFetch(t *testing.T) {
	st := newStage(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	need(t, err)
	keys := []ssh.Signer{newKey(t), ecdsaKey(t), signerOf(t, private)}
	p := newPeer(t, takesPassword(), keys...)
	got, err := Fetch(t.Context(), st.options(p))
	need(t, err)
	if len(got) != 3 {
		t.Fatalf("%d keys\n%s", len(got), st.trace())
	}
	for i, k := range keys {
		if !same(got[i], k.PublicKey()) {
			t.Errorf("key %d is %s", i, fingerprint(got[i]))
		}
	}
}

func TestTrustNames(t *testing.T) {
	for _, row := range []struct {
		host string
		port int
		want string
	}{{"h.example", 22, "h.example"}, {"h.example", 2222, "h.example:2222"}, {"::1", 22, "::1"}, {"::1", 2222, "'[::1]:2222'"}} {
		if got := TrustName(row.host, row.port, 22); got != row.want {
			t.Errorf("TrustName(%q, %d) = %s; want %s", row.host, row.port, got, row.want)
		}
	}
}
