package sshclient

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"dray/fault"
)

// lobby is a stage with a peer whose host key is on file.
func lobby(t *testing.T, config *ssh.ServerConfig) (*stage, *peer, Options) {
	t.Helper()
	st := newStage(t)
	host := newKey(t)
	p := newPeer(t, config, host)
	st.trust(p, host.PublicKey())
	return st, p, st.options(p)
}

// anAgent listens on a socket.
func anAgent(t *testing.T, private ...any) string {
	t.Helper()
	ring := agent.NewKeyring()
	for i, k := range private {
		need(t, ring.Add(agent.AddedKey{PrivateKey: k, Comment: fmt.Sprintf("key %d", i)}))
	}
	return serveAgent(t, ring)
}

func serveAgent(t *testing.T, ring agent.Agent) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ag") // a path of a socket has 100 bytes
	need(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	need(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

func rawKey(t *testing.T) (ed25519.PrivateKey, ssh.PublicKey) {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	need(t, err)
	return k, signerOf(t, k).PublicKey()
}

// answering is a Prompt that notes what it is asked.
type answering struct {
	mu      sync.Mutex
	answers []string
	asked   []string
}

func (a *answering) prompt(_ context.Context, instruction string, prompts []Prompt) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, p := range prompts {
		a.asked = append(a.asked, strings.TrimSpace(instruction+"|"+p.Text))
		if len(a.answers) == 0 {
			return nil, errors.New("nobody is there")
		}
		out, a.answers = append(out, a.answers[0]), a.answers[1:]
	}
	return out, nil
}

func TestLockedKeys(t *testing.T) {
	dir := t.TempDir()
	file, key := keyInFile(t, dir, "locked", passphrase)
	other, _ := keyInFile(t, dir, "other", passphrase)
	t.Run("the phrase is asked for once, and only for the key that is taken", func(t *testing.T) {
		st, _, o := lobby(t, takesKeys(key.PublicKey()))
		a := &answering{answers: []string{"wrong", passphrase}}
		o.Identities, o.Prompt = []string{other, file}, a.prompt
		st.connects(o)
		if len(a.asked) != 2 || !strings.Contains(a.asked[0], file) || !strings.Contains(a.asked[1], file) {
			t.Errorf("asked %q", a.asked)
		}
	})
	t.Run("connections at once ask once", func(t *testing.T) {
		st, _, o := lobby(t, takesKeys(key.PublicKey()))
		a := &answering{answers: []string{passphrase}}
		o.Identities, o.Prompt, o.Unlocked = []string{file}, a.prompt, new(Unlocked)
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() {
				c, err := Dial(t.Context(), o)
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			})
		}
		all.Wait()
		if len(a.asked) != 1 {
			t.Errorf("asked %q\n%s", a.asked, st.trace())
		}
	})
	t.Run("no phrase in a batch", func(t *testing.T) {
		st, _, o := lobby(t, takesKeys(key.PublicKey()))
		o.Identities = []string{file}
		fe := st.fails(o, fault.IDAuth)
		if !strings.Contains(fe.Err.Error(), "passphrase") {
			t.Errorf("the cause is %v", fe.Err)
		}
	})
	t.Run("wrong phrases end", func(t *testing.T) {
		st, _, o := lobby(t, takesKeys(key.PublicKey()))
		a := &answering{answers: slices.Repeat([]string{"wrong"}, 10)}
		o.Identities, o.Prompt = []string{file}, a.prompt
		st.fails(o, fault.IDAuth)
		if len(a.asked) != 3 {
			t.Errorf("asked %d times", len(a.asked))
		}
	})
}

// The forms that private keys have.
func TestFormsOfKeys(t *testing.T) {
	dir := t.TempDir()
	k, pub := rawKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	need(t, err)
	pkcs8 := filepath.Join(dir, "pkcs8")
	need(t, os.WriteFile(pkcs8, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	st, _, o := lobby(t, takesKeys(pub))
	o.Identities = []string{pkcs8}
	st.connects(o)

	for name, text := range map[string]string{
		"x.ppk":     "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
		"enc8":      string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("xx")})),
		"nonsense":  "hello",
		"directory": "",
	} {
		file := filepath.Join(dir, name)
		if name == "directory" {
			need(t, os.Mkdir(file, 0o700))
		} else {
			need(t, os.WriteFile(file, []byte(text), 0o600))
		}
		st, _, o := lobby(t, takesKeys(pub))
		o.Identities = []string{file}
		fe := st.fails(o, fault.IDAuth)
		want := map[string]string{"x.ppk": "puttygen", "enc8": "ssh-keygen -p"}[name]
		if !strings.Contains(fe.Err.Error(), file) || !strings.Contains(fe.Err.Error(), want) || want != "" && !strings.Contains(strings.Join(fe.Do, " "), want) {
			t.Errorf("%s: %v, do %q", name, fe.Err, fe.Do)
		}
	}
	if os.Getuid() >= 0 {
		need(t, os.Chmod(pkcs8, 0o644))
		st, _, o := lobby(t, takesKeys(pub))
		o.Identities = []string{pkcs8}
		if fe := st.fails(o, fault.IDAuth); !strings.Contains(fe.Err.Error(), "chmod 600") {
			t.Errorf("a key that others can read: %v", fe.Err)
		}
	}
}

func TestAgent(t *testing.T) {
	k, pub := rawKey(t)
	strangers := make([]any, 7)
	for i := range strangers {
		strangers[i], _ = rawKey(t)
	}
	t.Run("a key of the agent", func(t *testing.T) {
		st, _, o := lobby(t, takesKeys(pub))
		o.Agent = anAgent(t, strangers[0], k)
		c := st.connects(o)
		if !strings.HasPrefix(c.By(), "publickey agent: key 1") {
			t.Errorf("by %q", c.By())
		}
	})
	t.Run("the named one first, of many", func(t *testing.T) {
		config := takesKeys(pub)
		config.MaxAuthTries = 2
		st, _, o := lobby(t, config)
		o.Agent = anAgent(t, append(strangers, k)...)
		file := filepath.Join(st.home, "id.pub")
		need(t, os.WriteFile(file, ssh.MarshalAuthorizedKey(pub), 0o644))
		o.Identities = []string{file}
		st.connects(o)
	})
	t.Run("a file that is named comes before keys that were not", func(t *testing.T) {
		file, own := keyInFile(t, t.TempDir(), "id", "")
		config := takesKeys(own.PublicKey())
		config.MaxAuthTries = 2
		st, _, o := lobby(t, config)
		o.Agent, o.Identities = anAgent(t, strangers...), []string{file}
		st.connects(o)
	})
	t.Run("only identities", func(t *testing.T) {
		st, _, o := lobby(t, takesKeys(pub))
		st.write("config", "IdentitiesOnly yes\n")
		o.Agent = anAgent(t, k)
		st.fails(o, fault.IDAuth)
		st.write("id_ed25519.pub", string(ssh.MarshalAuthorizedKey(pub)))
		st.connects(o)
	})
	t.Run("IdentityAgent", func(t *testing.T) {
		st, _, o := lobby(t, takesKeys(pub))
		socket := anAgent(t, k)
		o.Env = func(name string) string { return map[string]string{"MY_AGENT": socket, "SSH_AUTH_SOCK": "/none"}[name] }
		st.write("config", "IdentityAgent $MY_AGENT\n")
		st.connects(o)
		st.write("config", "IdentityAgent "+socket+"\n")
		st.connects(o)
		st.write("config", "IdentityAgent none\n")
		st.fails(o, fault.IDAuth)
	})
	t.Run("too many keys leave room for a password", func(t *testing.T) {
		config := takesPassword()
		config.PublicKeyCallback = takesKeys().PublicKeyCallback
		st, _, o := lobby(t, config)
		o.Agent, o.Password = anAgent(t, strangers...), gives(password)
		st.connects(o)
	})
	t.Run("too many keys are the server's word", func(t *testing.T) {
		st, _, o := lobby(t, takesKeys(pub))
		o.Agent = anAgent(t, strangers...)
		fe := st.fails(o, fault.IDAuth)
		var said interface{ Said() string }
		if !errors.As(fe, &said) || !strings.Contains(said.Said(), "too many authentication failures") {
			t.Errorf("the cause is %v", fe.Err)
		}
	})
	t.Run("an agent that is not there", func(t *testing.T) {
		st, _, o := lobby(t, takesPassword())
		o.Agent, o.Password = "/none/at/all", gives(password)
		st.connects(o)
	})
}

// An agent that says nothing does not hold the login for ever.
func TestCancelWhileTheAgentIsSilent(t *testing.T) {
	dir, err := os.MkdirTemp("", "ag")
	need(t, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	need(t, err)
	defer l.Close()
	_, _, o := lobby(t, takesKeys())
	o.Agent = l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	began := time.Now()
	if _, err := Dial(ctx, o); !errors.Is(err, context.Canceled) || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestCertificatesOfUsers(t *testing.T) {
	ca := newKey(t)
	checker := &ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool { return same(k, ca.PublicKey()) }}
	config := &ssh.ServerConfig{PublicKeyCallback: func(m ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		return checker.Authenticate(m, k)
	}}
	until := time.Now().Add(time.Hour)
	for _, phrase := range []string{"", passphrase} {
		st, _, o := lobby(t, config)
		file, key := keyInFile(t, st.home, "id", phrase)
		cert := certify(t, ca, key.PublicKey(), ssh.UserCert, until, "anna")
		need(t, os.WriteFile(file+"-cert.pub", ssh.MarshalAuthorizedKey(cert), 0o644))
		o.Identities = []string{file}
		o.Prompt = (&answering{answers: []string{passphrase}}).prompt
		c := st.connects(o)
		if !strings.Contains(c.By(), "ED25519-CERT") {
			t.Errorf("by %q", c.By())
		}
	}
	// CertificateFile, with the key in the agent.
	st, _, o := lobby(t, config)
	k, pub := rawKey(t)
	cert := certify(t, ca, pub, ssh.UserCert, until, "anna")
	st.write("mine.pub", string(ssh.MarshalAuthorizedKey(cert)))
	st.write("config", "CertificateFile ~/.ssh/mine.pub\n")
	o.Agent = anAgent(t, k)
	st.connects(o)
	// The agent itself has it.
	st, _, o = lobby(t, config)
	ring := agent.NewKeyring()
	need(t, ring.Add(agent.AddedKey{PrivateKey: k, Certificate: cert}))
	o.Agent = serveAgent(t, ring)
	st.connects(o)
}

// ask is a server with questions.
func asks(questions []string, answers ...string) *ssh.ServerConfig {
	return &ssh.ServerConfig{KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, client ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		if _, err := client("", "a notice", nil, nil); err != nil {
			return nil, err
		}
		for i, q := range questions {
			got, err := client("", "Two steps", []string{q}, []bool{false})
			if err != nil || got[0] != answers[i] {
				return nil, errors.New("no")
			}
		}
		return nil, nil
	}}
}

func TestQuestionsOfTheServer(t *testing.T) {
	st, _, o := lobby(t, asks([]string{"Password: "}, password))
	o.Password = gives(password)
	st.connects(o)

	st, _, o = lobby(t, asks([]string{"Password: ", "Verification code: "}, password, "123456"))
	a := &answering{answers: []string{"123456"}}
	o.Password, o.Prompt = gives(password), a.prompt
	st.connects(o)
	if len(a.asked) != 1 || !strings.Contains(a.asked[0], "Two steps") || !strings.Contains(a.asked[0], "Verification code:") {
		t.Errorf("asked %q", a.asked)
	}

	// A wrong password is asked for again, as long as it is another.
	st, _, o = lobby(t, asks([]string{"Password: "}, password))
	tries := 0
	o.Password = func(_ context.Context, q Question) (string, error) {
		if tries++; q.Try != tries || q.User != "anna" || q.Method != methodAsk {
			t.Errorf("question %+v at try %d", q, tries)
		}
		return []string{"one", "two", password}[tries-1], nil
	}
	st.connects(o)
	st, _, o = lobby(t, asks([]string{"Password: "}, password))
	o.Password = gives("wrong")
	st.fails(o, fault.IDAuth)

	// A server that takes the method and asks nothing is not asked again and again.
	calls := 0
	st, _, o = lobby(t, &ssh.ServerConfig{KeyboardInteractiveCallback: func(ssh.ConnMetadata, ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		calls++
		return nil, errors.New("no")
	}})
	o.Prompt = (&answering{}).prompt
	st.fails(o, fault.IDAuth)
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}

	// Nobody is there for the second factor: the login ends, and says why.
	config := asks([]string{"Verification code: "}, "123456")
	config.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no") }
	st, _, o = lobby(t, config)
	o.Password = gives(password)
	fe := st.fails(o, fault.IDAuth)
	if !strings.Contains(fe.Err.Error(), "Verification code:") {
		t.Errorf("the cause is %v", fe.Err)
	}
}

func TestOneFactorAfterTheOther(t *testing.T) {
	dir := t.TempDir()
	file, key := keyInFile(t, dir, "id", "")
	second, key2 := keyInFile(t, dir, "id2", "")
	afterKey := func(next ssh.ServerAuthCallbacks) *ssh.ServerConfig {
		return &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			if !same(k, key.PublicKey()) {
				return nil, errors.New("no")
			}
			return nil, &ssh.PartialSuccessError{Next: next}
		}}
	}
	st, _, o := lobby(t, afterKey(ssh.ServerAuthCallbacks{PasswordCallback: takesPassword().PasswordCallback}))
	o.Identities, o.Password = []string{file}, gives(password)
	st.connects(o)
	st, _, o = lobby(t, afterKey(ssh.ServerAuthCallbacks{PublicKeyCallback: takesKeys(key2.PublicKey()).PublicKeyCallback}))
	o.Identities = []string{file, second}
	st.connects(o)
	st, _, o = lobby(t, &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		if string(p) != password {
			return nil, errors.New("no")
		}
		return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{PublicKeyCallback: takesKeys(key.PublicKey()).PublicKeyCallback}}
	}})
	o.Identities, o.Password = []string{file}, gives(password)
	st.connects(o)
	// What is missing is told.
	o.Identities = nil
	fe := st.fails(o, fault.IDAuth)
	if !strings.Contains(fe.Err.Error(), "the server takes publickey") {
		t.Errorf("the cause is %v", fe.Err)
	}
}

func TestMethodsThatAreSwitchedOff(t *testing.T) {
	for _, config := range []string{"PasswordAuthentication no\n", "PreferredAuthentications publickey,keyboard-interactive\n", "BatchMode yes\n"} {
		st, _, o := lobby(t, takesPassword())
		st.write("config", config)
		o.Password = func(context.Context, Question) (string, error) {
			t.Errorf("%q: the password was asked for", config)
			return password, nil
		}
		st.fails(o, fault.IDAuth)
	}
}

// Nothing is asked for that is not needed.
func TestNoQuestionsWithoutNeed(t *testing.T) {
	st, _, o := lobby(t, open())
	o.Password = func(context.Context, Question) (string, error) {
		t.Error("the password was asked for")
		return "", nil
	}
	if c := st.connects(o); c.By() != "none" {
		t.Errorf("by %q", c.By())
	}
}

func TestBanners(t *testing.T) {
	config := takesPassword()
	config.BannerCallback = func(ssh.ConnMetadata) string { return "Hello\x1b[31m\nagain\n" + strings.Repeat("x", 100<<10) }
	st, _, o := lobby(t, config)
	o.Password = gives(password)
	c := st.connects(o)
	if !strings.HasPrefix(c.Banner(), "Hello") || len(c.Banner()) > maxBanner || !strings.Contains(st.trace(), "banner: Hello?[31m\nbanner: again") {
		t.Errorf("%d bytes, trace %.300s", len(c.Banner()), st.trace())
	}
}

// Where no password is known none is sent: an empty answer is a login that failed, and
// servers ban for those.
func TestNoAnswerWithoutPassword(t *testing.T) {
	answered := make(chan []string, 1)
	st, _, o := lobby(t, &ssh.ServerConfig{KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		answers, err := ask("", "", []string{"Password: "}, []bool{false})
		if err == nil {
			answered <- answers
		}
		return nil, errors.New("no")
	}})
	o.Password = func(context.Context, Question) (string, error) { return "", ErrNoPassword }
	fe := st.fails(o, fault.IDAuth)
	if !strings.Contains(fe.Err.Error(), "no password is known") {
		t.Errorf("the cause is %v", fe.Err)
	}
	select {
	case answers := <-answered:
		t.Errorf("the server was answered %q", answers)
	default:
	}
}

// The version of a server may come later than everything else.
func TestLateVersion(t *testing.T) {
	p := newPeer(t, open())
	late, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	defer late.Close()
	go func() {
		for {
			c, err := late.Accept()
			if err != nil {
				return
			}
			go func() {
				time.Sleep(600 * time.Millisecond)
				p.serve(c)
			}()
		}
	}()
	st := newStage(t)
	o := st.bare("127.0.0.1", late.Addr().(*net.TCPAddr).Port)
	o.Insecure, o.Connect = true, 300*time.Millisecond
	st.fails(o, fault.IDNoAnswer)
	o.Greeting = 3 * time.Second
	st.connects(o)
}
