package sshclient

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"dray/fault"
)

// The methods of RFC 4252 and RFC 4256.
const (
	methodKey      = "publickey"
	methodAsk      = "keyboard-interactive"
	methodPassword = "password"
)

// Limits on logging in.
const (
	maxKeyFile  = 1 << 20
	maxKeys     = 30 // offered to a server that never has enough
	keysBefore  = 5  // offered when a password may follow: OpenSSH hangs up at the sixth failure
	maxRounds   = 10 // of questions in one login
	maxPrompts  = 20 // in one round
	maxBanner   = 8 << 10
	agentAnswer = 10 * time.Second // to a list of keys; a signature may wait for a human
)

// errNothingLeft ends a login that has no more to try.
var errNothingLeft = errors.New("no way to log in is left")

// ErrNoPassword is what Options.Password says when there is none.
var ErrNoPassword = errors.New("no password is known")

// errRefused is a password that was given once already.
var errRefused = errors.New("it was refused")

// A login tries to log in on one connection.
type login struct {
	ctx  context.Context
	o    Options
	s    *Settings
	jump bool
	wait *patience
	wire *wire

	keys    []*identity
	loaded  bool
	agent   net.Conn
	unwatch func() bool
	offered int

	tried   []string // for the cause: keys and methods, in words
	allowed []string // what the server said last
	skipped []string // keys that could not be used, and why
	current string   // what is being tried
	asked   [2]int   // passwords sent by keyboard-interactive, and as password
	word    string   // to be given at the next question
	refused map[string][]string
	given   map[string]bool // methods that are given up
	rounds  int             // of questions
	before  int             // rounds when keyboard-interactive began
	banner  []byte
	fatal   error
}

// An identity is a key that may be offered.
type identity struct {
	signer ssh.Signer // lazy for a file that is locked
	name   string     // "agent: comment" or the file
	offer  func() (ssh.Signer, error)
}

// close ends the connection to the agent.
func (l *login) close() {
	if l.agent != nil {
		l.unwatch()
		l.agent.Close()
	}
}

// next chooses what is tried next: what package ssh calls an AuthCallback.
func (l *login) next(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
	l.allowed = c.AllowedMethods
	if l.fatal != nil {
		return nil, l.fatal
	}
	if err := l.wire.failed(); err != nil {
		return nil, err
	}
	if err := l.ctx.Err(); err != nil {
		return nil, err
	}
	if len(l.allowed) > 0 && l.current == "" {
		l.o.trace("server takes", clean(strings.Join(l.allowed, ", "), 200))
	}
	l.wait.next("the answer to the login", 2*l.s.Connect)
	for _, m := range l.s.Methods {
		if !slices.Contains(l.allowed, m) || l.given[m] {
			continue
		}
		switch m {
		case methodKey:
			if id, signer := l.nextKey(); id != nil {
				l.current = m
				return ssh.PublicKeys(signer), nil
			}
		case methodAsk:
			// A server that asked nothing the last time will not the next time.
			if l.asked[0] < l.s.PasswordPrompts && (l.asked[0] == 0 || l.rounds > l.before) && (l.o.Prompt != nil || l.o.Password != nil && !l.jump) {
				l.before = l.rounds
				l.asked[0]++
				if l.asked[0] > 1 && l.o.Prompt == nil { // the dialogue began with the wrong one
					var err error
					if l.word, err = l.password(methodAsk, "password: ", l.asked[0]); err != nil {
						if l.fatal != nil {
							return nil, l.fatal
						}
						break
					}
				}
				l.current = m
				l.o.trace("trying", m)
				l.tried = append(l.tried, m)
				return ssh.KeyboardInteractive(l.answer), nil
			}
		case methodPassword:
			if l.asked[1] < l.s.PasswordPrompts {
				word, err := l.password(methodPassword, "password: ", l.asked[1]+1)
				l.asked[1]++
				if err != nil {
					if l.fatal != nil {
						return nil, l.fatal
					}
					l.given[m] = true
					if len(l.refused[m]) == 0 { // else it was tried, and there is no other
						l.skipped = append(l.skipped, "password: "+err.Error())
					}
					continue
				}
				l.current = m
				l.o.trace("trying", m)
				l.tried = append(l.tried, m)
				return ssh.Password(word), nil
			}
		}
		l.given[m] = true
	}
	return nil, errNothingLeft
}

// nextKey is the next key to offer.
func (l *login) nextKey() (*identity, ssh.Signer) {
	if !l.loaded {
		l.loaded = true
		l.keys = l.gather()
	}
	more := l.o.Password != nil && !l.jump || l.o.Prompt != nil
	other := more && slices.ContainsFunc(l.allowed, func(m string) bool {
		return m != methodKey && slices.Contains(l.s.Methods, m)
	})
	for len(l.keys) > 0 {
		if l.offered >= maxKeys || other && l.offered >= keysBefore {
			l.o.trace("keys", fmt.Sprintf("%d more are not offered: servers hang up after too many", len(l.keys)))
			l.skipped = append(l.skipped, fmt.Sprintf("%d more keys were not offered", len(l.keys)))
			l.keys = nil
			return nil, nil
		}
		id := l.keys[0]
		l.keys = l.keys[1:]
		signer, err := id.offer()
		if err == nil && len((&watched{signer: signer, login: l}).Algorithms()) == 0 {
			err = errors.New("ssh_config leaves no algorithm for its kind")
		}
		if err != nil {
			l.skip(id.name, err)
			continue
		}
		l.offered++
		what := id.name + " " + fingerprint(signer.PublicKey())
		l.o.trace("offered key", what)
		l.tried = append(l.tried, what)
		return id, &watched{signer: signer, name: what, login: l}
	}
	return nil, nil
}

func (l *login) skip(name string, err error) {
	l.o.trace("key", name+": not used: "+err.Error())
	l.skipped = append(l.skipped, name+": "+err.Error())
}

// A watched signer tells when the server takes its key, and bounds its algorithms.
type watched struct {
	signer ssh.Signer
	name   string
	login  *login
}

func (w *watched) PublicKey() ssh.PublicKey { return w.signer.PublicKey() }

func (w *watched) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return w.SignWithAlgorithm(rand, data, "")
}

// Algorithms are those for this kind of key.
func (w *watched) Algorithms() []string {
	kind := w.signer.PublicKey().Type()
	if c, ok := w.signer.PublicKey().(*ssh.Certificate); ok {
		kind = c.Key.Type()
	}
	var list []string
	for _, a := range w.login.s.algorithms.users {
		if a == kind || kind == ssh.KeyAlgoRSA && (a == ssh.KeyAlgoRSASHA256 || a == ssh.KeyAlgoRSASHA512) {
			list = append(list, a)
		}
	}
	return list
}

func (w *watched) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	w.login.o.trace("accepted key", w.name)
	w.login.wait.hold() // an agent may ask its user
	defer w.login.wait.next("the answer to the login", 2*w.login.s.Connect)
	sig, err := sign(w.signer, rand, data, algorithm)
	if err != nil {
		w.login.skip(w.name, fmt.Errorf("the server takes it, but it can't sign: %w", err))
		if w.login.ctx.Err() != nil {
			w.login.fatal = w.login.ctx.Err()
		}
	}
	return sig, err
}

func sign(s ssh.Signer, rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if as, ok := s.(ssh.AlgorithmSigner); ok && algorithm != "" {
		return as.SignWithAlgorithm(rand, data, algorithm)
	}
	return s.Sign(rand, data)
}

// gather puts the keys in order: certificates, named keys, other keys of the agent,
// files that OpenSSH tries by itself. A key that was named comes before those that
// the agent happens to have, because servers hang up after a few.
func (l *login) gather() []*identity {
	held := l.fromAgent()
	var certs, named, other, plain []*identity
	seen := map[string]bool{} // public keys
	certFiles := slices.Clone(l.s.Certificates)
	for i, file := range l.s.Identities {
		key, err := l.readKey(file)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) || l.s.Named {
				if errors.Is(err, fs.ErrNotExist) && i >= len(l.o.Identities) {
					l.o.trace("key", file+": no such file")
				} else {
					l.skip(file, err)
				}
			}
			continue
		}
		id := &identity{name: file, offer: key.offer}
		pub := key.public
		if pub != nil {
			if seen[blob(pub)] {
				continue
			}
			seen[blob(pub)] = true
			if a := find(held, pub); a != nil {
				key.agent = a.signer
			} else if key.locked == nil && key.signer == nil && key.why == nil {
				l.skip(file, errors.New("only the public part is there, and the agent does not have the key"))
				continue
			}
			for _, c := range append([]string{file + "-cert.pub", strings.TrimSuffix(file, ".pub") + "-cert.pub"}, certFiles...) {
				cert, err := readCert(c)
				if err != nil || !same(cert.Key, pub) || seen[blob(cert)] {
					continue
				}
				seen[blob(cert)] = true
				certs = append(certs, &identity{name: c, offer: func() (ssh.Signer, error) {
					s, err := key.offer()
					if err != nil {
						return nil, err
					}
					return ssh.NewCertSigner(cert, s)
				}})
			}
		}
		switch {
		case l.s.Named:
			named = append(named, id)
		case key.agent != nil:
			other = append(other, id)
		default:
			plain = append(plain, id)
		}
	}
	for _, file := range certFiles {
		cert, err := readCert(file)
		if err != nil {
			l.skip(file, err)
			continue
		}
		if a := find(held, cert.Key); a != nil && !seen[blob(cert)] {
			certs = append(certs, &identity{name: file, offer: func() (ssh.Signer, error) { return ssh.NewCertSigner(cert, a.signer) }})
		}
	}
	for _, a := range held {
		c, isCert := a.signer.PublicKey().(*ssh.Certificate)
		switch {
		case seen[blob(a.signer.PublicKey())]:
		case l.s.OnlyIdentities && !(isCert && seen[blob(c.Key)]):
		case isCert:
			certs = append(certs, a)
		default:
			other = append(other, a)
		}
	}
	return slices.Concat(certs, named, other, plain)
}

// blob is a public key as a key of a map.
func blob(k ssh.PublicKey) string { return string(k.Marshal()) }

func find(list []*identity, pub ssh.PublicKey) *identity {
	for _, a := range list {
		if same(a.signer.PublicKey(), pub) {
			return a
		}
	}
	return nil
}

// fromAgent are the keys that the agent holds.
func (l *login) fromAgent() []*identity {
	if l.s.Agent == "" {
		return nil
	}
	d := net.Dialer{Timeout: agentAnswer}
	c, err := d.DialContext(l.ctx, "unix", l.s.Agent)
	if err != nil {
		l.o.trace("agent", "not reached: "+err.Error())
		return nil
	}
	l.agent = c
	l.unwatch = context.AfterFunc(l.ctx, func() { c.Close() }) // also while it asks its user
	_ = c.SetDeadline(time.Now().Add(agentAnswer))
	signers, err := l.list(c)
	_ = c.SetDeadline(time.Time{})
	if err != nil {
		l.o.trace("agent", "gives no keys: "+err.Error())
		return nil
	}
	return signers
}

func (l *login) list(c net.Conn) ([]*identity, error) {
	a := agent.NewClient(c)
	keys, err := a.List()
	if err != nil {
		return nil, err
	}
	signers, err := a.Signers()
	if err != nil {
		return nil, err
	}
	var ids []*identity
	for i, s := range signers {
		name := "agent"
		if i < len(keys) && keys[i].Comment != "" && bytes.Equal(keys[i].Blob, s.PublicKey().Marshal()) {
			name += ": " + clean(keys[i].Comment, 100)
		}
		pub, err := ssh.ParsePublicKey(s.PublicKey().Marshal())
		if err != nil {
			l.skip(name, errors.New("a key of a kind that is not known here"))
			continue
		}
		held := &holder{s, pub}
		ids = append(ids, &identity{signer: held, name: name, offer: func() (ssh.Signer, error) { return held, nil }})
	}
	l.o.trace("agent", fmt.Sprintf("%d keys", len(ids)))
	return ids, nil
}

// A holder is a key of the agent; what the agent shows of it is only bytes.
type holder struct {
	signer ssh.Signer
	public ssh.PublicKey
}

func (h *holder) PublicKey() ssh.PublicKey { return h.public }

func (h *holder) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return h.signer.Sign(rand, data)
}

func (h *holder) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	return sign(h.signer, rand, data, algorithm)
}

// A keyFile is a private key, as far as it can be read without a passphrase.
type keyFile struct {
	login  *login
	file   string
	public ssh.PublicKey // nil when only the passphrase shows it
	locked []byte        // the file, when a passphrase is needed
	signer ssh.Signer
	agent  ssh.Signer // the same key in the agent
	why    error      // why it can't be unlocked
}

// readKey reads a file of a private key, or of a public one that the agent may hold
// the private one of.
func (l *login) readKey(file string) (*keyFile, error) {
	k := &keyFile{login: l, file: file}
	data, fi, err := readSmall(file)
	if errors.Is(err, fs.ErrNotExist) {
		if pub, _, err2 := readPublic(file + ".pub"); err2 == nil { // the private part may be in the agent
			k.public = pub
			return k, nil
		}
		return nil, err
	}
	if err != nil {
		return nil, errors.New(reason(err))
	}
	if bytes.HasPrefix(data, []byte("PuTTY-User-Key-File-")) {
		return nil, fmt.Errorf("a key of PuTTY: convert it with `puttygen %s -O private-openssh -o %s`", file, strings.TrimSuffix(file, ".ppk")+".openssh")
	}
	if pub, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		k.public = pub
		return k, nil
	}
	if exposed(fi) {
		return nil, fmt.Errorf("others can read it (mode %04o): chmod 600 it", fi.Mode().Perm())
	}
	signer, err := ssh.ParsePrivateKey(data)
	var missing *ssh.PassphraseMissingError
	switch {
	case err == nil:
		k.signer, k.public = signer, signer.PublicKey()
	case errors.As(err, &missing), encrypted(data):
		k.locked = data
		if missing != nil {
			k.public = missing.PublicKey
		}
		if k.public == nil {
			k.public, _, _ = readPublic(file + ".pub")
		}
	default:
		return nil, fmt.Errorf("no private key that can be read: %s", strings.TrimPrefix(err.Error(), "ssh: "))
	}
	return k, nil
}

// encrypted is a key in PKCS #8 behind a passphrase, which package ssh has no
// reader for.
func encrypted(data []byte) bool {
	b, _ := pem.Decode(data)
	return b != nil && b.Type == "ENCRYPTED PRIVATE KEY"
}

// offer is a signer for the key; one whose public part is known asks for the
// passphrase only when it has to sign.
func (k *keyFile) offer() (ssh.Signer, error) {
	switch {
	case k.agent != nil:
		return k.agent, nil
	case k.signer != nil:
		return k.signer, nil
	case k.why != nil:
		return nil, k.why
	case k.locked == nil:
		return nil, errors.New("only the public part is there")
	case k.public != nil:
		return &lazy{k}, nil
	}
	return k.unlock()
}

// unlock asks for the passphrase.
func (k *keyFile) unlock() (ssh.Signer, error) {
	if k.signer != nil || k.why != nil {
		return k.signer, k.why
	}
	fail := func(err error) (ssh.Signer, error) {
		k.why = err
		return nil, err
	}
	if encrypted(k.locked) {
		return fail(fmt.Errorf("encrypted as PKCS #8, which can't be read here: convert it with `ssh-keygen -p -f %s`", k.file))
	}
	l := k.login
	l.wait.hold() // another connection may be asking
	defer l.wait.next("the answer to the login", 2*l.s.Connect)
	known, done, err := l.o.Unlocked.get(l.ctx, k.file)
	if err != nil {
		l.fatal = context.Cause(l.ctx)
		return fail(err)
	}
	defer func() { done(k.signer) }()
	if known != nil && (k.public == nil || same(known.PublicKey(), k.public)) {
		k.signer = known
		return known, nil
	}
	if l.o.Prompt == nil {
		return fail(errors.New("it needs a passphrase, and there is nobody to ask"))
	}
	for range max(1, l.s.PasswordPrompts) {
		answers, err := l.o.Prompt(l.ctx, "", []Prompt{{Text: "passphrase for " + k.file + ": "}})
		if err != nil || len(answers) != 1 || answers[0] == "" {
			break
		}
		s, err := ssh.ParsePrivateKeyWithPassphrase(k.locked, []byte(answers[0]))
		if err == nil {
			if k.public != nil && !same(k.public, s.PublicKey()) {
				return fail(errors.New("the public part beside it is of another key"))
			}
			k.signer = s
			return s, nil
		}
		l.o.trace("key", k.file+": wrong passphrase")
	}
	return fail(errors.New("no right passphrase was given"))
}

// Unlocked are keys whose passphrase was given, for several connections with the
// same Options: each passphrase is asked for once. The zero value is empty.
type Unlocked struct {
	once sync.Once
	gate chan struct{} // holds one token: who has it may look and ask
	keys map[string]ssh.Signer
}

// get waits for its turn, and is the key of a file if it was unlocked; done ends the
// turn, with the key if there is one now.
func (u *Unlocked) get(ctx context.Context, file string) (known ssh.Signer, done func(ssh.Signer), err error) {
	if u == nil {
		return nil, func(ssh.Signer) {}, nil
	}
	u.once.Do(func() {
		u.gate = make(chan struct{}, 1)
		u.keys = map[string]ssh.Signer{}
	})
	select {
	case u.gate <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	return u.keys[file], func(s ssh.Signer) {
		if s != nil {
			u.keys[file] = s
		}
		<-u.gate
	}, nil
}

// A lazy signer unlocks its key when it has to sign.
type lazy struct{ k *keyFile }

func (z *lazy) PublicKey() ssh.PublicKey { return z.k.public }

func (z *lazy) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return z.SignWithAlgorithm(rand, data, "")
}

func (z *lazy) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s, err := z.k.unlock()
	if err != nil {
		return nil, err
	}
	return sign(s, rand, data, algorithm)
}

func readSmall(file string) ([]byte, fs.FileInfo, error) {
	fi, err := os.Stat(file)
	if err != nil {
		return nil, nil, err
	}
	if fi.IsDir() || fi.Mode()&fs.ModeDevice != 0 && fi.Mode()&fs.ModeCharDevice == 0 {
		return nil, nil, errors.New("no file of a key")
	}
	if fi.Mode().IsRegular() && fi.Size() > maxKeyFile {
		return nil, nil, errors.New("too large for a key")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	return data, fi, err
}

func readPublic(file string) (ssh.PublicKey, string, error) {
	data, _, err := readSmall(file)
	if err != nil {
		return nil, "", err
	}
	pub, comment, _, _, err := ssh.ParseAuthorizedKey(data)
	return pub, comment, err
}

func readCert(file string) (*ssh.Certificate, error) {
	pub, _, err := readPublic(file)
	if err != nil {
		return nil, errors.New(reason(err))
	}
	c, ok := pub.(*ssh.Certificate)
	if !ok || c.CertType != ssh.UserCert {
		return nil, errors.New("no certificate of a user")
	}
	return c, nil
}

// password asks for a password of the account: the target's from Options.Password, a
// jump host's from Options.Prompt, because the caller's is not for every host.
func (l *login) password(method, text string, try int) (string, error) {
	l.wait.hold()
	defer l.wait.next("the answer to the login", 2*l.s.Connect)
	var word string
	var err error
	switch {
	case !l.jump && l.o.Password != nil:
		word, err = l.o.Password(l.ctx, Question{Host: l.s.Name, Port: l.s.Port, User: l.s.User, Method: method, Text: clean(text, 200), Try: try})
	case l.jump && l.o.Prompt != nil:
		var answers []string
		answers, err = l.o.Prompt(l.ctx, "", []Prompt{{Text: l.s.User + "@" + l.s.Name + "'s password: "}})
		if err == nil && len(answers) != 1 {
			err = errors.New("no answer")
		}
		if err == nil {
			word = answers[0]
		}
	default:
		return "", errors.New("none was given")
	}
	if err != nil {
		if l.ctx.Err() != nil {
			l.fatal = l.ctx.Err()
		}
		return "", err
	}
	if slices.Contains(l.refused[method], word) {
		return "", errRefused
	}
	l.refused[method] = append(l.refused[method], word) // it is never asked about again when it was right
	return word, nil
}

var passwordLike = regexp.MustCompile(`(?i)pass\s?(word|phrase|code)?\b|passwor[dt]|kennwort|mot de passe|contraseña|senha|пароль|密码|密碼|パスワード|비밀번호`)

// answer is the dialogue of keyboard-interactive (RFC 4256). A dialogue that has
// begun is brought to its end, with empty answers where there is nobody to give
// better ones: not all servers understand a client that breaks it off.
func (l *login) answer(name, instruction string, questions []string, echos []bool) ([]string, error) {
	if l.rounds++; l.rounds > maxRounds || len(questions) > maxPrompts {
		l.fatal = fault.Because(errors.New("the server asks too many questions"), fault.Unreachable, fault.IDBadReply, l.s.Name, "SSH")
		return nil, l.fatal
	}
	empty := func(why string) ([]string, error) {
		if l.ctx.Err() != nil {
			l.fatal = context.Cause(l.ctx)
			return nil, l.fatal
		}
		l.given[methodAsk] = true
		if why != "" {
			l.skipped = append(l.skipped, why)
		}
		return make([]string, len(questions)), nil
	}
	text := clean(strings.TrimSpace(name+" "+instruction), 2000)
	if len(questions) == 0 {
		if text != "" {
			l.o.trace("server says", text)
		}
		return []string{}, nil
	}
	if len(questions) == 1 && !echos[0] && !l.jump && l.o.Password != nil && passwordLike.MatchString(questions[0]) {
		word := l.word
		var err error
		if l.word = ""; word == "" {
			word, err = l.password(methodAsk, questions[0], l.asked[0])
		}
		switch {
		case err == nil:
			return []string{word}, nil
		case errors.Is(err, ErrNoPassword) && l.o.Prompt == nil:
			l.skipped = append(l.skipped, "password: "+err.Error())
			l.fatal = l.failure("")
			return nil, l.fatal
		case !errors.Is(err, errRefused) || l.o.Prompt == nil:
			if len(l.refused[methodAsk]) > 0 {
				return empty("")
			}
			return empty("password: " + err.Error())
		}
	}
	if l.o.Prompt == nil {
		return empty("the server asks \"" + clean(strings.Join(questions, " "), 200) + "\", and there is nobody to answer")
	}
	prompts := make([]Prompt, len(questions))
	for i, q := range questions {
		prompts[i] = Prompt{Text: clean(q, 500) + " ", Echo: echos[i]}
	}
	if l.jump || text == "" {
		text = strings.TrimSpace(l.s.User + "@" + l.s.Name + " " + text)
	}
	l.wait.hold()
	defer l.wait.next("the answer to the login", 2*l.s.Connect)
	answers, err := l.o.Prompt(l.ctx, text, prompts)
	if err == nil && len(answers) != len(questions) {
		err = errors.New("not all questions were answered")
	}
	if err != nil {
		return empty("the server's questions: " + err.Error())
	}
	return answers, nil
}

// said keeps what the server says before the login (RFC 4252, 5.4).
func (l *login) said(text string) error {
	if len(l.banner) < maxBanner {
		l.banner = append(l.banner, text[:min(len(text), maxBanner-len(l.banner))]...)
		for line := range strings.Lines(strings.TrimSpace(text)) {
			l.o.trace("banner", clean(line, 500))
		}
	}
	return nil
}

// An AuthError is a login that failed, in its parts.
type AuthError struct {
	Tried   []string // keys with their fingerprints, and methods
	Offered []string // methods that the server still takes
	Skipped []string // what could not be tried, and why
	Words   string   // of the server, if it had any
}

func (e *AuthError) Error() string {
	var parts []string
	if len(e.Offered) > 0 {
		parts = append(parts, "the server takes "+strings.Join(e.Offered, ", "))
	}
	if len(e.Tried) > 0 {
		parts = append(parts, "tried "+strings.Join(e.Tried, ", "))
	} else {
		parts = append(parts, "nothing could be tried")
	}
	if len(e.Skipped) > 0 {
		parts = append(parts, "not tried: "+strings.Join(e.Skipped, "; "))
	}
	if e.Words != "" {
		parts = append(parts, "the server says: "+e.Words)
	}
	return strings.Join(parts, "; ")
}

// Said is what the server said.
func (e *AuthError) Said() string { return e.Words }

// failure is the login as an error; words are the server's.
func (l *login) failure(words string) error {
	e := &AuthError{Tried: l.tried, Skipped: l.skipped, Words: words}
	for _, m := range l.allowed {
		e.Offered = append(e.Offered, clean(m, 60))
	}
	fe := fault.Because(e, fault.NotLoggedIn, fault.IDAuth, l.s.Name, l.s.User)
	for _, s := range l.skipped {
		if i := strings.Index(s, ": convert it with `"); i >= 0 {
			fe.Do = append(fe.Do, "Convert the key: "+s[i+len(": convert it with "):])
		}
	}
	return fe
}
