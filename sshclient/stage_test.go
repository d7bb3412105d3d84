package sshclient

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/explain"
	"dray/fault"
)

// What must never be in an error or in a trace.
const (
	password   = "pass-marker-7f3"
	passphrase = "phrase-marker-9c1"
)

func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	need(t, err)
	return signerOf(t, private)
}

func ecdsaKey(t testing.TB) ssh.Signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	need(t, err)
	return signerOf(t, private)
}

func signerOf(t testing.TB, private crypto.PrivateKey) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(private)
	need(t, err)
	return s
}

// keyFiles writes an identity, locked if there is a phrase, and returns its file.
func keyInFile(t testing.TB, dir, name, phrase string) (string, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	need(t, err)
	var block *pem.Block
	if phrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(phrase))
	} else {
		block, err = ssh.MarshalPrivateKey(private, "")
	}
	need(t, err)
	file := filepath.Join(dir, name)
	need(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	return file, signerOf(t, private)
}

// certify makes a certificate.
func certify(t testing.TB, ca ssh.Signer, key ssh.PublicKey, kind uint32, until time.Time, principals ...string) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: key, CertType: kind, ValidPrincipals: principals, ValidAfter: 1, ValidBefore: uint64(until.Unix())}
	need(t, c.SignCert(rand.Reader, ca))
	return c
}

// A peer is an SSH server of the test.
type peer struct {
	t      testing.TB
	config *ssh.ServerConfig
	addr   string
	host   string
	port   int
	mu     sync.Mutex
	conns  []net.Conn
	seen   []string // directions of channels, for jumps
	mute   bool     // global requests get no answer
}

// newPeer serves with a configuration, to which a key is added when it has none.
func newPeer(t testing.TB, config *ssh.ServerConfig, keys ...ssh.Signer) *peer {
	t.Helper()
	if len(keys) == 0 {
		keys = []ssh.Signer{newKey(t)}
	}
	for _, k := range keys {
		config.AddHostKey(k)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	t.Cleanup(func() { l.Close() })
	p := &peer{t: t, config: config, addr: l.Addr().String()}
	host, port, _ := net.SplitHostPort(p.addr)
	p.host = host
	p.port, _ = strconv.Atoi(port)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *peer) serve(c net.Conn) {
	p.mu.Lock()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	defer c.Close()
	sc, chans, reqs, err := ssh.NewServerConn(c, p.config)
	if err != nil {
		return
	}
	defer sc.Close()
	go func() {
		for r := range reqs {
			if !p.mute {
				_ = r.Reply(false, nil)
			}
		}
	}()
	for nc := range chans {
		switch nc.ChannelType() {
		case "session":
			ch, reqs, err := nc.Accept()
			if err != nil {
				return
			}
			go p.session(ch, reqs)
		case "direct-tcpip":
			var to struct {
				Host string
				Port uint32
				From string
				Src  uint32
			}
			_ = ssh.Unmarshal(nc.ExtraData(), &to)
			addr := net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port)))
			p.mu.Lock()
			p.seen = append(p.seen, addr)
			p.mu.Unlock()
			out, err := net.Dial("tcp", addr)
			if err != nil {
				_ = nc.Reject(ssh.ConnectionFailed, "Connection refused")
				continue
			}
			ch, reqs, err := nc.Accept()
			if err != nil {
				return
			}
			go ssh.DiscardRequests(reqs)
			go func() { _, _ = io.Copy(ch, out); ch.Close() }()
			go func() { _, _ = io.Copy(out, ch); out.Close() }()
		default:
			_ = nc.Reject(ssh.UnknownChannelType, "no")
		}
	}
}

// session has one subsystem, which is an echo.
func (p *peer) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	for r := range reqs {
		ok := r.Type == "subsystem" && string(r.Payload[4:]) == "sftp"
		_ = r.Reply(ok, nil)
		if ok {
			fmt.Fprint(ch.Stderr(), "a word beside\n")
			go func() {
				_, _ = io.Copy(ch, ch)
				_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ N uint32 }{3}))
				ch.Close()
			}()
		}
	}
}

// stage is a home without anything of this machine.
type stage struct {
	t     testing.TB
	home  string
	known string
	mu    sync.Mutex
	lines []string
}

func newStage(t testing.TB) *stage {
	st := &stage{t: t, home: t.TempDir()}
	need(t, os.Mkdir(filepath.Join(st.home, ".ssh"), 0o700))
	st.known = filepath.Join(st.home, ".ssh", "known_hosts")
	t.Cleanup(func() { st.secretless(st.trace()) })
	return st
}

// options are for a peer whose key is on file.
func (st *stage) options(p *peer) Options {
	o := st.bare(p.host, p.port)
	return o
}

func (st *stage) bare(host string, port int) Options {
	return Options{
		Host: host, Port: port, User: "anna", Home: st.home, System: filepath.Join(st.home, "etc"), Env: func(string) string { return "" },
		Trace: func(step, text string) {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.lines = append(st.lines, step+": "+text)
		},
		Connect: 5 * time.Second,
	}
}

// trust puts the key of a peer on file.
func (st *stage) trust(p *peer, key ssh.PublicKey) {
	st.t.Helper()
	need(st.t, Remember(st.known, p.host, p.port, key, Remembering{}))
}

func (st *stage) write(name, text string) string {
	st.t.Helper()
	file := filepath.Join(st.home, ".ssh", name)
	need(st.t, os.MkdirAll(filepath.Dir(file), 0o700))
	need(st.t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func (st *stage) trace() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return strings.Join(st.lines, "\n")
}

func (st *stage) secretless(text string) {
	st.t.Helper()
	for _, s := range []string{password, passphrase} {
		if strings.Contains(text, s) {
			st.t.Errorf("a secret is in %q", text)
		}
	}
}

// connects dials and expects it to work.
func (st *stage) connects(o Options) *Conn {
	st.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, o)
	if err != nil {
		st.t.Fatalf("dial: %v\n%s", err, st.trace())
	}
	st.t.Cleanup(func() { c.Close() })
	return c
}

// fails dials and expects a fault.
func (st *stage) fails(o Options, id fault.ID) *fault.Error {
	st.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, o)
	if err == nil {
		c.Close()
		st.t.Fatalf("the connection was made; want %s\n%s", id, st.trace())
	}
	st.secretless(fmt.Sprintf("%v %+v", err, err))
	var fe *fault.Error
	if !errors.As(err, &fe) {
		st.t.Fatalf("dial: %v, which is no fault; want %s\n%s", err, id, st.trace())
	}
	if fe.ID != id {
		st.t.Fatalf("dial: %v; want %s\n%s", err, id, st.trace())
	}
	en, _ := explain.For(id)
	if len(fe.Facts) < len(en.HereFacts) {
		st.t.Errorf("%s has the facts %v; want %v", id, fe.Facts, en.HereFacts)
	}
	st.secretless(explain.Line(fe) + strings.Join(fe.Do, " "))
	return fe
}

// open lets anybody in.
func open() *ssh.ServerConfig { return &ssh.ServerConfig{NoClientAuth: true} }

// takesKeys lets in who has one of the keys.
func takesKeys(keys ...ssh.PublicKey) *ssh.ServerConfig {
	return &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		for _, own := range keys {
			if same(own, k) {
				return &ssh.Permissions{}, nil
			}
		}
		return nil, errors.New("no")
	}}
}

func takesPassword() *ssh.ServerConfig {
	return &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
		if string(p) == password {
			return nil, nil
		}
		return nil, errors.New("no")
	}}
}

func gives(word string) func(context.Context, Question) (string, error) {
	return func(context.Context, Question) (string, error) { return word, nil }
}
