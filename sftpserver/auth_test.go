package sftpserver

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/event"
	"dray/gate"
	"dray/guard"
)

// login tries to log in, and returns what the server said in banners.
func (st *stage) login(cfg *ssh.ClientConfig) (*ssh.Client, string, error) {
	st.t.Helper()
	var said []string
	if cfg.User == "" {
		cfg.User = "anna"
	}
	cfg.HostKeyCallback, cfg.Timeout = ssh.InsecureIgnoreHostKey(), 10*time.Second
	cfg.BannerCallback = func(m string) error { said = append(said, m); return nil }
	c, err := ssh.Dial("tcp", st.addr, cfg)
	if err == nil {
		st.t.Cleanup(func() { _ = c.Close() })
	}
	return c, strings.Join(said, ""), err
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	need(t, err)
	s, err := ssh.NewSignerFromSigner(private)
	need(t, err)
	return s
}

func interactive(answer string) ssh.AuthMethod {
	return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		return slices.Repeat([]string{answer}, len(questions)), nil
	})
}

func TestWaysToLogIn(t *testing.T) {
	st := newStage(t)
	for name, m := range map[string]ssh.AuthMethod{
		"password": ssh.Password(password), "key": ssh.PublicKeys(st.key), "keyboard-interactive": interactive(password),
	} {
		c, _, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{m}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := string(c.ServerVersion()); got != "SSH-2.0-dray" {
			t.Errorf("the server calls itself %q", got)
		}
	}
	for name, m := range map[string]ssh.AuthMethod{
		"a wrong password": ssh.Password("guess"), "another key": ssh.PublicKeys(newKey(t)), "a wrong answer": interactive("guess"), "nothing": ssh.Password(""),
	} {
		if _, said, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{m}}); err == nil || said != "" {
			t.Errorf("%s logs in: %v, %q", name, err, said)
		}
	}
}

// Questions about keys are no failures: an agent may hold many.
func TestTwentyKeysAndThenThePassword(t *testing.T) {
	st := newStage(t)
	var keys []ssh.Signer
	for range 20 {
		keys = append(keys, newKey(t))
	}
	begun := time.Now()
	if _, _, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.PublicKeys(keys...), ssh.Password(password)}}); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, _, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.PublicKeys(append(keys, st.key)...)}}); err != nil {
		t.Errorf("the right key behind twenty others: %v", err)
	}
	for range 20 {
		keys = append(keys, newKey(t))
	}
	if _, said, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.PublicKeys(keys...), ssh.Password(password)}}); err == nil || !strings.Contains(said, "[too-many-tries]") {
		t.Errorf("forty keys: %v, %q", err, said)
	}
}

func TestTooManyPasswords(t *testing.T) {
	st := newStage(t)
	tries := 0
	_, said, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.RetryableAuthMethod(ssh.PasswordCallback(func() (string, error) {
		tries++
		return "guess", nil
	}), 10)}})
	logins := 0
	st.events.mu.Lock()
	for _, e := range st.events.all {
		if l, ok := e.(event.Login); ok && !l.OK {
			logins++
		}
	}
	st.events.mu.Unlock()
	if err == nil || tries > 4 || logins != 3 || !strings.Contains(said, "[too-many-tries]") {
		t.Errorf("%d tries, %d of them looked at, %v, %q", tries, logins, err, said)
	}
}

func TestFactorsOverTheWire(t *testing.T) {
	st := newStage(t)
	a := st.people.known["anna"]
	for _, a.Factors = range [][]string{{account.FactorKey, account.FactorPassword}, {account.FactorPassword, account.FactorKey}} {
		st.people.mu.Lock()
		st.people.known["anna"] = a
		st.people.mu.Unlock()
		st.factors(a.Factors)
	}
}

func (st *stage) factors(list []string) {
	for _, tt := range []struct {
		name string
		auth []ssh.AuthMethod
		ok   bool
	}{
		{"both", []ssh.AuthMethod{ssh.PublicKeys(st.key), ssh.Password(password)}, true},
		{"both, the password first", []ssh.AuthMethod{ssh.Password(password), ssh.PublicKeys(st.key)}, true},
		{"both, asked by keyboard-interactive", []ssh.AuthMethod{ssh.PublicKeys(st.key), interactive(password)}, true},
		{"the password in two ways", []ssh.AuthMethod{interactive(password), ssh.Password(password)}, false},
		{"the key in two forms", []ssh.AuthMethod{ssh.PublicKeys(st.key), ssh.PublicKeys(st.key)}, false},
		{"the key alone", []ssh.AuthMethod{ssh.PublicKeys(st.key)}, false},
		{"the password alone", []ssh.AuthMethod{ssh.Password(password)}, false},
		{"the key and a wrong password", []ssh.AuthMethod{ssh.PublicKeys(st.key), ssh.Password("guess")}, false},
		{"another key and the password", []ssh.AuthMethod{ssh.PublicKeys(newKey(st.t)), ssh.Password(password)}, false},
	} {
		if _, _, err := st.login(&ssh.ClientConfig{Auth: tt.auth}); (err == nil) != tt.ok {
			st.t.Errorf("%q, %s: %v", list, tt.name, err)
		}
	}
}

func TestRefusalsSayWhy(t *testing.T) {
	st := newStage(t)
	a := st.people.known["anna"]
	a.Disabled = true
	st.people.known["anna"] = a
	if _, said, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.Password(password)}}); err == nil || !strings.Contains(said, "[account-off]") {
		t.Errorf("a disabled account: %v, %q", err, said)
	}
	a.Disabled, a.Protocols = false, []string{"ftps"}
	st.people.known["anna"] = a
	if _, said, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{ssh.PublicKeys(st.key)}}); err == nil || !strings.Contains(said, "[protocol-off]") {
		t.Errorf("an account of another protocol: %v, %q", err, said)
	}
}

// Whoever does not log in is gone when the time is up, whatever is sent meanwhile.
func TestLoginTime(t *testing.T) {
	st := newStage(t, func(st *stage) { st.rules.LoginTime = 400 * time.Millisecond })
	for name, talk := range map[string]string{"silent": "", "slow": "SSH-2.0-slow", "talkative": "hello\r\n"} {
		nc, err := net.Dial("tcp", st.addr)
		need(t, err)
		begun := time.Now()
		go func() {
			for i := 0; ; i++ {
				if talk == "" {
					return
				}
				if _, err := nc.Write([]byte{talk[i%len(talk)]}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 4096)
		for err == nil {
			_, err = nc.Read(b)
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("%s: it is let stay for %v (%v)", name, took, err)
		}
		_ = nc.Close()
	}
	c := st.dial()
	time.Sleep(600 * time.Millisecond)
	open(t, c) // who has logged in may stay
}

// One address can't take the places of all.
func TestOneAddressDoesNotKeepOthersOut(t *testing.T) {
	st := newStage(t, func(st *stage) {
		st.gate.Guard = guard.New(guard.Limits{Total: 40, PerAddress: 30, Pending: 20, PendingPerAddress: 10}, nil)
	})
	var idle []net.Conn
	for range 60 {
		nc, err := net.Dial("tcp", st.addr)
		need(t, err)
		idle = append(idle, nc)
	}
	// They are let in one beside the other: one that is late would put out a client that
	// has not spoken yet.
	var out sync.WaitGroup
	gone := make(chan struct{}, len(idle))
	for _, nc := range idle {
		out.Go(func() {
			_, _ = io.Copy(io.Discard, nc)
			gone <- struct{}{}
		})
	}
	for i := range len(idle) - 10 {
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d have made room", i, len(idle))
		}
	}
	for range 5 { // from the same address even: those that say nothing make room
		st.dial()
	}
	for _, nc := range idle {
		_ = nc.Close()
	}
	out.Wait()
}

// Who waits at a prompt has spoken: connections that never did go first.
func TestSilentConnectionsGoBeforeAPrompt(t *testing.T) {
	for name, way := range map[string]func(flood func(), key ssh.Signer) ssh.AuthMethod{
		"password": func(flood func(), _ ssh.Signer) ssh.AuthMethod {
			return ssh.PasswordCallback(func() (string, error) { flood(); return password, nil })
		},
		"keyboard-interactive": func(flood func(), _ ssh.Signer) ssh.AuthMethod {
			return ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
				flood()
				return slices.Repeat([]string{password}, len(questions)), nil
			})
		},
		"a key that somebody has to touch": func(flood func(), key ssh.Signer) ssh.AuthMethod {
			return ssh.PublicKeys(touched{key, flood})
		},
	} {
		st := newStage(t, func(st *stage) {
			st.gate.Guard = guard.New(guard.Limits{PendingPerAddress: 10}, nil)
		})
		flood := func() {
			for range 30 {
				nc, err := net.Dial("tcp", st.addr)
				need(t, err)
				defer nc.Close()
				_, err = nc.Read(make([]byte, 1)) // it was admitted
				need(t, err)
			}
		}
		if _, _, err := st.login(&ssh.ClientConfig{Auth: []ssh.AuthMethod{way(flood, st.key)}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// touched is a key that asks before it signs.
type touched struct {
	ssh.Signer
	ask func()
}

func (k touched) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	k.ask()
	return k.Signer.Sign(r, data)
}

func TestAlgorithms(t *testing.T) {
	st := newStage(t)
	try := func(c ssh.Config, hostKeys ...string) error {
		cfg := &ssh.ClientConfig{Config: c, Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyAlgorithms: hostKeys}
		_, _, err := st.login(cfg)
		return err
	}
	for _, k := range keyExchanges {
		if err := try(ssh.Config{KeyExchanges: []string{k}}); err != nil {
			t.Errorf("key exchange %s: %v", k, err)
		}
	}
	for _, c := range ciphers {
		if err := try(ssh.Config{Ciphers: []string{c}}); err != nil {
			t.Errorf("cipher %s: %v", c, err)
		}
	}
	for _, m := range macs {
		if err := try(ssh.Config{Ciphers: []string{ssh.CipherAES128CTR}, MACs: []string{m}}); err != nil {
			t.Errorf("MAC %s: %v", m, err)
		}
	}
	for _, h := range []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256} {
		if err := try(ssh.Config{}, h); err != nil {
			t.Errorf("host key %s: %v", h, err)
		}
	}
	old := ssh.InsecureAlgorithms()
	for _, k := range old.KeyExchanges {
		if try(ssh.Config{KeyExchanges: []string{k}}) == nil {
			t.Errorf("key exchange %s is offered", k)
		}
	}
	for _, c := range old.Ciphers {
		if try(ssh.Config{Ciphers: []string{c}}) == nil {
			t.Errorf("cipher %s is offered", c)
		}
	}
	for _, m := range []string{ssh.HMACSHA1, ssh.InsecureHMACSHA196, ssh.HMACSHA256, ssh.HMACSHA512} {
		if try(ssh.Config{Ciphers: []string{ssh.CipherAES128CTR}, MACs: []string{m}}) == nil {
			t.Errorf("MAC %s is offered", m)
		}
	}
	if try(ssh.Config{}, ssh.KeyAlgoRSA) == nil {
		t.Error("a host key with SHA-1 is offered")
	}
}

// Only what an exception names comes back, and only where it holds.
func TestLegacyAlgorithms(t *testing.T) {
	st := newStage(t, func(st *stage) {
		st.rules.Legacy = Legacy{KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1}, RSASHA1: true}
	})
	for _, cfg := range []*ssh.ClientConfig{
		{Config: ssh.Config{KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1}}}, {HostKeyAlgorithms: []string{ssh.KeyAlgoRSA}},
	} {
		cfg.Auth = []ssh.AuthMethod{ssh.Password(password)}
		if _, _, err := st.login(cfg); err != nil {
			t.Errorf("%v", err)
		}
	}
	if _, _, err := st.login(&ssh.ClientConfig{
		Config: ssh.Config{KeyExchanges: []string{ssh.InsecureKeyExchangeDH1SHA1}}, Auth: []ssh.AuthMethod{ssh.Password(password)},
	}); err == nil {
		t.Error("another old key exchange came along")
	}
}

// All host keys are announced, and proved when a client asks (OpenSSH, PROTOCOL, 2.5).
func TestHostKeysAreAnnouncedAndProved(t *testing.T) {
	st := newStage(t)
	nc, err := net.Dial("tcp", st.addr)
	need(t, err)
	c, chans, reqs, err := ssh.NewClientConn(nc, st.addr, &ssh.ClientConfig{
		User: "anna", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	need(t, err)
	defer c.Close()
	go func() {
		for range chans {
		}
	}()
	req := <-reqs
	if req == nil || req.Type != hostKeys {
		t.Fatalf("the first request is %+v", req)
	}
	var keys []ssh.PublicKey
	for rest := req.Payload; len(rest) > 0; {
		var p struct {
			Key  []byte
			Rest []byte `ssh:"rest"`
		}
		need(t, ssh.Unmarshal(rest, &p))
		k, err := ssh.ParsePublicKey(p.Key)
		need(t, err)
		keys, rest = append(keys, k), p.Rest
	}
	if len(keys) != len(st.rules.HostKeys) {
		t.Fatalf("%d keys are announced", len(keys))
	}
	go ssh.DiscardRequests(reqs)
	ok, proof, err := c.SendRequest(proveHostKeys, true, req.Payload)
	if !ok || err != nil {
		t.Fatalf("the proof: %v, %v", ok, err)
	}
	for _, k := range keys {
		var p struct {
			Sig  []byte
			Rest []byte `ssh:"rest"`
		}
		need(t, ssh.Unmarshal(proof, &p))
		proof = p.Rest
		var sig ssh.Signature
		need(t, ssh.Unmarshal(p.Sig, &sig))
		data := ssh.Marshal(struct {
			What         string
			Session, Key []byte
		}{proveHostKeys, c.SessionID(), k.Marshal()})
		if err := k.Verify(data, &sig); err != nil || sig.Format == ssh.KeyAlgoRSA {
			t.Errorf("the proof for %s: %v, by %s", k.Type(), err, sig.Format)
		}
	}
	if ok, _, err := c.SendRequest(proveHostKeys, true, ssh.Marshal(struct{ K []byte }{keys[0].Marshal()})); ok || err != nil {
		t.Errorf("the proof for a key once more: %v, %v", ok, err)
	}
	for name, payload := range map[string][]byte{"nothing": nil, "junk": {1, 2, 3}, "a foreign key": ssh.Marshal(struct{ K []byte }{newKey(t).PublicKey().Marshal()})} {
		if ok, _, err := c.SendRequest(proveHostKeys, true, payload); ok || err != nil {
			t.Errorf("a proof for %s: %v, %v", name, ok, err)
		}
	}
}

// A stop that waits for a command lets its status through.
func TestAStopLetsTheStatusOfACommandThrough(t *testing.T) {
	for range 30 {
		begun, goOn := make(chan struct{}), make(chan struct{})
		st := newStage(t, func(st *stage) {
			st.rules.Exec = map[string]Command{"wait": func(context.Context, *gate.Session, string, Stream) int {
				close(begun)
				<-goOn
				return 0
			}}
		})
		s, err := st.dial().NewSession()
		need(t, err)
		need(t, s.Start("wait"))
		<-begun
		stopped := make(chan error, 1)
		go func() { stopped <- st.server.Shutdown(t.Context()) }()
		time.Sleep(time.Millisecond)
		close(goOn)
		if err := s.Wait(); err != nil {
			t.Errorf("the command ends with %v", err)
		}
		need(t, <-stopped)
	}
}

// Each key is proved once: a signature costs more than its question.
func TestCopiesOfAHostKeyAreNotProved(t *testing.T) {
	st := newStage(t)
	c := st.dial()
	var twice []byte
	for range 2 {
		twice = append(twice, ssh.Marshal(struct{ K []byte }{st.rules.HostKeys[0].PublicKey().Marshal()})...)
	}
	if ok, proof, err := c.SendRequest(proveHostKeys, true, twice); ok || err != nil {
		t.Errorf("two copies of a key are proved: %v, %d bytes, %v", ok, len(proof), err)
	}
}

// trap is a host key that panics when it proves itself, and not in a key exchange.
type trap struct {
	ssh.Signer
	armed *atomic.Bool
}

func (k trap) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	if k.armed.Load() {
		panic("trapped")
	}
	return k.Signer.Sign(r, data)
}

// bombs are people one of whom brings the house down.
type bombs struct{ *people }

func (b bombs) Verify(ctx context.Context, name string, s account.Secret, from netip.Addr, bar account.Bar) (account.Account, error) {
	if name == "bomb" {
		panic("it went off")
	}
	return b.people.Verify(ctx, name, s, from, bar)
}

// A panic at a login and behind it ends its connection and no other.
func TestAPanicEndsItsConnection(t *testing.T) {
	var armed atomic.Bool
	st := newStage(t, func(st *stage) {
		st.rules.HostKeys = []ssh.Signer{trap{hostSigners()[0], &armed}}
		st.gate.Verifier = bombs{st.people}
	})
	bystander := st.newWire()
	c := st.dial()
	armed.Store(true)
	ok, _, err := c.SendRequest(proveHostKeys, true, ssh.Marshal(struct{ K []byte }{hostSigners()[0].PublicKey().Marshal()}))
	if ok || err == nil {
		t.Errorf("the answer is %v, %v; want the end of the connection", ok, err)
	}
	armed.Store(false)
	if _, err := ssh.Dial("tcp", st.addr, &ssh.ClientConfig{
		User: "bomb", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
	}); err == nil {
		t.Error("a login that panics has succeeded")
	}
	bystander.close(bystander.open("f", makes))
	st.dial()
	st.log.mu.Lock()
	defer st.log.mu.Unlock()
	for _, want := range []string{"msg=panic in=connection", "msg=panic in=login"} {
		if s := st.log.b.String(); !strings.Contains(s, want) {
			t.Errorf("the log has no %q:\n%s", want, s)
		}
	}
	st.log.b.Reset()
}

// A session that is ended says why.
func TestAnEndedSessionSaysWhy(t *testing.T) {
	st := newStage(t)
	c := st.dial()
	ch, reqs, err := c.OpenChannel("session", nil)
	need(t, err)
	go ssh.DiscardRequests(reqs)
	ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ S string }{"sftp"}))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	said := make(chan string, 1)
	go func() {
		b := make([]byte, 1000)
		n, _ := ch.Stderr().Read(b)
		said <- string(b[:n])
	}()
	a := st.people.known["anna"]
	a.Disabled = true
	st.people.mu.Lock()
	st.people.known["anna"] = a
	st.people.mu.Unlock()
	st.gate.Refresh(t.Context())
	select {
	case s := <-said:
		if !strings.Contains(s, "[account-off]") {
			t.Errorf("it says %q", s)
		}
	case <-time.After(5 * time.Second):
		t.Error("it goes on")
	}
	if err := c.Wait(); err == nil {
		t.Error("the connection ends without an error")
	}
}
