package ftpserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/gate"
)

// A register is a Directory whose accounts a test changes.
type register struct {
	mu    sync.Mutex
	known map[string]account.Account
}

func newRegister(all ...account.Account) *register {
	r := &register{known: map[string]account.Account{}}
	for _, a := range all {
		r.known[a.Name] = a
	}
	return r
}

func (r *register) Lookup(_ context.Context, name string) (account.Account, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := r.known[name]
	if !ok {
		return account.Account{}, fs.ErrNotExist
	}
	return a, nil
}

func (r *register) put(a account.Account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[a.Name] = a
}

func TestSessionsOfAnAccount(t *testing.T) {
	t.Parallel()
	s := plain()
	s.users = []account.Account{{Name: "two", Rights: account.Full, MaxSessions: 2}, alice, {Name: "bob", Rights: account.Full}}
	s.door.MaxSessions = 1
	st := newSite(t, s)
	login := func(name string) *talk {
		t.Helper()
		k := st.greeted()
		k.as(name)
		return k
	}
	full := func(name, count string) {
		t.Helper()
		k := st.greeted()
		k.do(331, "USER "+name)
		reply := k.do(421, "PASS secret")
		hasID(t, reply, fault.IDBusy)
		if !strings.Contains(reply, "sessions of this account: "+count+" in use") {
			t.Errorf("%q; want %s in use", reply, count)
		}
		k.ended()
	}
	first, second := login("two"), login("two")
	full("two", "2 of 2")
	first.do(200, "NOOP")
	first.do(331, "USER two") // a new login on a connection gives back the old one
	first.do(230, "PASS secret")
	second.bye()
	st.eventually("the session is over", func() bool { return st.server.gate.Sessions("two") == 1 })
	login("two")
	full("two", "2 of 2")

	login("alice") // has no limit of its own
	full("alice", "1 of 1")
	login("bob")
}

// Who is disabled or removed hears it at once, while idle, in a transfer and in
// the middle of RNFR and RNTO; nobody else does.
func TestAnAccountThatIsTakenAway(t *testing.T) {
	t.Parallel()
	s := plain()
	s.rules.TLS, s.rules.ClearData = serverTLS(), true
	bob := account.Account{Name: "bob", Rights: account.Full}
	s.users = []account.Account{alice, bob}
	st := newSite(t, s)
	if err := st.mem.WriteFile("/a", []byte("abc")); err != nil {
		t.Fatal(err)
	}
	known := newRegister(alice, bob)
	st.server.gate.Directory = known

	idle, secure, renaming, other := st.login(), st.secureLogin(clientTLS()), st.login(), st.greeted()
	other.as("bob")
	renaming.do(350, "RNFR a")
	gone := []*talk{idle, secure, renaming}
	for i := range 5 {
		loading := st.login()
		nc := loading.pasv()
		loading.do(150, fmt.Sprintf("STOR up%d", i))
		if _, err := io.WriteString(nc, "some"); err != nil {
			t.Fatal(err)
		}
		gone = append(gone, loading)
	}
	st.server.gate.Refresh(t.Context())
	for _, k := range append(gone, other) {
		k.do(200, "NOOP") // nothing has changed yet
	}
	off := alice
	off.Disabled = true
	known.put(off)
	begun := time.Now()
	st.server.gate.Refresh(t.Context())
	for i, k := range gone {
		reply := k.hear(421)
		hasID(t, reply, fault.IDAccountOff)
		if !strings.Contains(reply, "disabled") {
			t.Errorf("connection %d: %q; want why", i, reply)
		}
		k.ended()
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %v", took)
	}
	if tree := snapshot(t, st.mem); !strings.HasPrefix(tree, "/a ") || strings.Contains(tree, "\n") {
		t.Errorf("the tree holds more than /a:\n%s", tree)
	}
	other.do(200, "NOOP")
	other.bye()
}

// clientCertificate makes one that signs itself, and its pin.
func clientCertificate(t *testing.T, name string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, hex.EncodeToString(sum[:])
}

func TestLoginByCertificate(t *testing.T) {
	t.Parallel()
	mine, pin := clientCertificate(t, "alice")
	other, _ := clientCertificate(t, "alice")
	holder := account.Account{Name: "alice", Rights: account.Full, Certificates: []string{pin}}
	off := account.Account{Name: "off", Rights: account.Full, Certificates: []string{pin}, Disabled: true}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := setup{users: []account.Account{holder, off}}
		s.rules.TLS = serverTLS()
		s.rules.TLS.ClientAuth = tls.RequestClientCert
		s.rules.Welcome = "Hello, {user}."
		st := newSite(t, s)
		st.server.gate.Directory = newRegister(holder, off)
		with := func(certs ...tls.Certificate) *talk {
			cfg := clientTLS()
			cfg.Certificates, cfg.MaxVersion = certs, version
			k := st.greeted()
			k.secure(cfg)
			return k
		}

		k := with(mine)
		if reply := k.do(232, "USER alice"); reply != "232 Hello, alice." {
			t.Errorf("USER with the certificate: %q", reply)
		}
		k.do(202, "PASS whatever") // as programs say it without reading 232
		k.do(257, "PWD")
		k.do(200, "PBSZ 0")
		k.do(200, "PROT P")
		k.prot = true
		k.put("STOR up", "x")
		if got := k.get("RETR up"); got != "x" {
			t.Errorf("RETR = %q", got)
		}
		k.do(331, "USER nobody") // another name is asked for its password
		hasID(t, k.do(530, "PASS secret"), fault.IDAuth)
		k.do(331, "USER off") // and so is one whose account can't be used
		hasID(t, k.do(530, "PASS secret"), fault.IDAccountOff)
		k.do(232, "USER alice")
		k.bye()

		k = with(other)
		k.do(331, "USER alice")
		hasID(t, k.do(530, "PASS wrong"), fault.IDAuth)
		k.as2("alice")
		hasID(t, k.do(503, "PASS secret"), fault.IDSequence)
		k.bye()
		k = with()
		k.as2("alice")
		k.bye()
	}
}

// as2 is as where a welcome is said.
func (k *talk) as2(user string) {
	k.t.Helper()
	k.do(331, "USER "+user)
	if reply := k.do(230, "PASS secret"); reply != "230 Hello, "+user+"." {
		k.t.Errorf("PASS = %q", reply)
	}
}

func TestActiveModeSwitchedOff(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = withFiles(t)
	s.rules.NoActive = true
	s.rules.Allow = []string{"FXP"}
	st := newSite(t, s)
	k := st.login()
	for _, line := range []string{"PORT 127,0,0,1,200,1", "EPRT |1|127.0.0.1|51201|", "PORT 192,0,2,1,200,1"} {
		hasID(t, k.do(502, line), fault.IDNotBuilt)
		hasID(t, k.do(425, "RETR a"), fault.IDNoDataPort)
	}
	hasID(t, k.do(501, "PORT x"), fault.IDSyntax)
	if got := k.get("RETR a"); got != "abc" {
		t.Errorf("RETR = %q", got)
	}
}

// A peer for whom other rules hold has them, others have the usual ones.
func TestRulesForOnePeer(t *testing.T) {
	t.Parallel()
	s := plain()
	own := Rules{Door: &gate.Door{Name: "own", Protocol: "ftp", Plain: true}, Ports: allPorts, Greeting: "yours", Deny: []string{"DELE"}, NoActive: true}
	usual := Rules{Door: own.Door, Ports: allPorts, Greeting: "usual"}
	s.rules.For = func(peer netip.Addr) *Rules {
		if peer == netip.MustParseAddr("127.0.0.2") {
			return &own
		}
		return &usual
	}
	s.door = *own.Door
	st := newSite(t, s)
	k := st.from("127.0.0.2")
	if reply := k.do(220, "REIN"); reply != "220 yours" {
		t.Errorf("greeting %q", reply)
	}
	k.as("alice")
	hasID(t, k.do(502, "DELE a"), fault.IDNotBuilt)
	hasID(t, k.do(502, "PORT 127,0,0,2,200,1"), fault.IDNotBuilt)
	other := st.from("127.0.0.3")
	if reply := other.do(220, "REIN"); reply != "220 usual" {
		t.Errorf("greeting %q", reply)
	}
	other.as("alice")
	hasID(t, other.do(550, "DELE a"), fault.IDNotFound)
	other.do(200, "PORT 127,0,0,3,200,1")
}

func TestTranscript(t *testing.T) {
	t.Parallel()
	s := plain()
	s.users = []account.Account{
		{Name: "watched", Rights: account.Full, Transcript: true}, {Name: "named", Rights: account.Full},
		{Name: "private", Rights: account.Full}, {Name: "latin", Rights: account.Full, Transcript: true, Charset: "windows-1252"},
	}
	s.rules.Transcript = []string{"nobody", "named"}
	st := newSite(t, s)
	for _, name := range []string{"watched", "named", "private", "latin"} {
		k := st.greeted()
		k.do(331, "USER "+name)
		hasID(t, k.do(530, "PASS Passw0rd-wrong"), fault.IDAuth)
		k.do(331, "USER "+name)
		for _, verb := range []string{"PASSWORD", "PAS", "XPASS", "PASS:"} {
			k.do(500, verb+" Passw0rd-mistyped")
		}
		k.do(502, "ADAT Passw0rd-mistyped")
		k.as(name)
		k.do(550, "DELE of-"+name)
		k.do(202, "ACCT Passw0rd-acct")
		k.do(502, "SITE PSWD Passw0rd-old Passw0rd-new")
		k.do(502, "site  pswd Passw0rd-old Passw0rd-new")
		k.put("STOR caf\xe9", "x")
		k.do(550, "SIZE \x1b[31m\" msg=forged")
		k.do(331, "USER "+name)
		k.do(230, "PASS secret")
		k.bye()
	}
	st.quiet()
	log := st.log.String()
	for _, word := range []string{"Passw0rd", "PASS secret", "\x1b"} {
		if strings.Contains(log, word) {
			t.Errorf("the log has %q:\n%s", word, grep(log, word))
		}
	}
	open := grep(log, "level=INFO")
	for name, shown := range map[string]bool{"watched": true, "named": true, "latin": true, "private": false} {
		for _, want := range []string{
			`msg=command session=\w+ user=` + name + ` line="DELE of-` + name + `"`,
			`msg=reply session=\w+ user=` + name + ` line="550 /of-` + name + `: .*\[not-found\]"`,
			`msg=command session=\w+ user=` + name + ` line="ACCT \*\*\*"`,
			`msg=command session=\w+ user=` + name + ` line="SITE \*\*\*"`,
			`msg=reply session=\w+ user=` + name + ` line="226 1 bytes in .*"`,
			`msg=command session=\w+ user=` + name + ` line=QUIT`,
			`msg=reply session=\w+ user=` + name + ` line="221 Goodbye."`,
		} {
			if got := regexp.MustCompile(want).MatchString(open); got != shown {
				t.Errorf("at the level of everybody %s: %v; want %v", want, got, shown)
			}
			if !regexp.MustCompile(want).MatchString(log) {
				t.Errorf("nowhere in the log: %s", want)
			}
		}
	}
	for line := range strings.Lines(grep(log, "msg=forged")) {
		if !strings.Contains(line, `\" msg=forged`) {
			t.Errorf("a name has forged a line: %s", line)
		}
	}
	if t.Failed() {
		t.Logf("the log:\n%s", open)
	}
}

// Nothing that a login answers tells whether there is an account: neither its
// bytes nor its time.
func TestRefusedLoginsAreAllTheSame(t *testing.T) {
	t.Parallel()
	hash, err := account.NewHash(account.NewSecret("secret"))
	if err != nil {
		t.Fatal(err)
	}
	accounts := newRegister(
		account.Account{Name: "alice", Hash: hash, Rights: account.Full},
		account.Account{Name: "disabled", Hash: hash, Rights: account.Full, Disabled: true},
		account.Account{Name: "expired", Hash: hash, Rights: account.Full, Expires: time.Unix(1, 0)},
		account.Account{Name: "sftp", Hash: hash, Rights: account.Full, Protocols: []string{"sftp"}},
		account.Account{Name: "elsewhere", Hash: hash, Rights: account.Full, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		account.Account{Name: "keyless", Rights: account.Full},
		account.Account{Name: "broken", Hash: "no hash at all", Rights: account.Full},
	)
	type answer struct {
		said string
		took time.Duration
	}
	var want []answer
	for _, try := range []struct {
		name, password string
		times          int // a hash takes its time: all three only where it may matter
	}{
		{"nobody", "wrong", 3}, {"alice", "wrong", 3}, {"disabled", "wrong", 3}, {"alice", "", 1}, {"alice", " secret", 1},
		{"Alice", "secret", 1}, {"alice ", "secret", 1}, {"expired", "wrong", 1}, {"sftp", "wrong", 1}, {"elsewhere", "wrong", 1},
		{"keyless", "", 1}, {"broken", "secret", 1}, {"anonymous", "me@example.net", 1}, {"al\xe9ce", "secret", 1},
		{strings.Repeat("x", 1000), "secret", 1},
	} {
		s := plain()
		s.limits.Exempt = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} // not this peer: it waits
		inNoTime(t, s, func(t *testing.T, st *site, k *talk, _ chan struct{}) {
			st.server.gate.Verifier = account.NewChecker(accounts, account.NewQueue(1), nil)
			k.hear(220)
			begun := time.Now()
			hear := func(line string) string {
				k.say(line)
				_ = k.raw.SetReadDeadline(time.Time{})
				reply, err := k.rd.ReadString('\n')
				if err != nil {
					t.Fatalf("%q: %v", try.name, err)
				}
				return reply
			}
			for i := range try.times {
				got := answer{said: hear("USER "+try.name) + hear("PASS "+try.password), took: time.Since(begun)}
				if try.name == "nobody" {
					want = append(want, got)
				}
				if got != want[i] {
					t.Errorf("login %d of %q with %q: %+v; want %+v", i+1, try.name, try.password, got, want[i])
				}
			}
		})
	}
	for i, code := range []string{"530 ", "530 ", "421 "} {
		user, pass, _ := strings.Cut(want[i].said, "\r\n")
		if !strings.HasPrefix(user, "331 ") || !strings.HasPrefix(pass, code) || want[i].took < time.Duration(i+1)*250*time.Millisecond {
			t.Errorf("login %d of nobody: %+v; want 331 and %s", i+1, want[i], code)
		}
	}
}

// Whatever an uploader asks about a name, the answer is the same whether there is
// something or not. STOU and the commands that make a directory or a link are not
// asked: the name that they have made, or not, is their answer.
func TestUploadersCantTellWhatIsThere(t *testing.T) {
	t.Parallel()
	s := switchedOn()
	s.users = []account.Account{
		{Name: "alice", Rights: account.UploadOnly}, {Name: "writer", Rights: account.Write},
		{Name: "bob", Rights: account.Full, Paths: []account.PathRights{{Path: "/", Rights: account.UploadOnly}}},
	}
	m := newMatrix(t, s)
	forms := map[string][]string{
		"MFMT": {"20200101000000 NAME"}, "MFCT": {"20200101000000 NAME"}, "MDTM": {"NAME", "20200101000000 NAME"},
		"MFF":  {"modify=20200101000000; NAME", "UNIX.mode=0600; NAME"},
		"COMB": {"NAME a", "new NAME"}, "MMD5": {"NAME, a", "NAME"}, "PRET": {"RETR NAME"},
		"SITE CHMOD": {"600 NAME"}, "SITE UTIME": {"202001010000 NAME", "NAME 20200101000000 20200101000000 20200101000000 UTC"},
		"SITE COPY": {"NAME new", "a NAME"}, "SITE HELP": {""}, "SITE UMASK": {""}, "SITE IDLE": {""}, "SITE TIME": {""},
		"LIST": {"NAME", "-R NAME", "NAM*", "NAME*", "*/NAME", "[N]AME"}, "NLST": {"NAME", "NAME*"}, "STAT": {"NAME", "NAME*"},
		"XCRC": {"NAME", "NAME 0 1"}, "STOR": {"NAME"}, "APPE": {"NAME"},
	}
	var all []cell
	add := func(rows []command, prefix string) {
		for _, row := range rows {
			switch row.verb {
			case "USER", "PASS", "QUIT", "REIN", "AUTH", "STOU", "MKD", "XMKD", "MKDIR", "SYMLINK", "SITE":
				continue
			}
			args := forms[prefix+row.verb]
			if args == nil {
				args = []string{"NAME"}
			}
			for _, arg := range args {
				all = append(all, cell{row: row, use: use{line: strings.TrimSpace(prefix + row.verb + " " + arg)}})
				if row.verb == "STOR" {
					all = append(all, cell{row: row, use: use{line: "STOR " + arg, before: "REST 3"}})
				}
			}
		}
	}
	add(commands(), "")
	add(siteCommands(), "SITE ")
	took := regexp.MustCompile(` in [0-9.µmn]+s\.`)
	for _, user := range []string{"alice", "writer", "bob"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			for _, c := range all {
				var said [2]string
				for i, name := range []string{"secret", "nobody"} {
					own := c
					own.line = strings.ReplaceAll(strings.ReplaceAll(c.line, "NAM", name[:5]), name[:5]+"E", name)
					got := m.try(t, user, own)
					said[i] = took.ReplaceAllString(strings.ReplaceAll(got.reply, name, "NAME"), " in no time.")
					said[i] = strings.ReplaceAll(said[i], name[:5]+"*", "NAM*")
				}
				if strings.Contains(c.line, "IDLE") || c.line == "SITE TIME" || c.line == "STAT" {
					continue
				}
				if said[0] != said[1] {
					t.Errorf("%s: %q; where nothing is %q", c.line, said[0], said[1])
				}
			}
		})
	}
}

// charsetNames are some of each kind: one byte a letter, several, and with ASCII
// in their second bytes.
var charsetNames = []string{"windows-1252", "iso-8859-15", "koi8-r", "ibm866", "shift_jis", "euc-jp", "gbk", "gb18030", "big5", "euc-kr"}

// What is said can be heard again, what is shown can be said again, and no
// separator comes out of a conversion that did not go in.
func FuzzCharset(f *testing.F) {
	for _, s := range []string{"", "plain", "caf\xe9", "café", "\x95\\", "表", "日本語", "¥", "\xe6\x97\xa5", "\xff", "a/\x82/b", "€", "\x81", "\x1b$B"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range charsetNames {
			cs := charsetOf(name)
			if cs == nil {
				t.Fatalf("%s is unknown", name)
			}
			heard := cs.decode(s)
			if heard != s && cs.encode(heard) != s {
				t.Errorf("%s: %q is heard as %q, and shown as %q", name, s, heard, cs.encode(heard))
			}
			shown := cs.encode(s)
			if shown != s && cs.decode(shown) != s {
				t.Errorf("%s: %q is shown as %q, which is heard as %q", name, s, shown, cs.decode(shown))
			}
			for _, sep := range []string{"/", "\r", "\n", "\x00"} {
				if n := strings.Count(s, sep); strings.Count(heard, sep) != n && heard != s {
					t.Errorf("%s: %q is heard as %q, with another number of %q", name, s, heard, sep)
				}
				if n := strings.Count(s, sep); sep != "/" && strings.Count(shown, sep) != n {
					t.Errorf("%s: %q is shown as %q, with another number of %q", name, s, shown, sep)
				}
			}
		}
	})
}

func TestOnlyCharsetsOfNamesAreTaken(t *testing.T) {
	for name, ok := range map[string]bool{"": false, "nonsense": false, "utf-16le": false, "iso-2022-jp": false, "windows-1252": true, "latin1": true} {
		if got := charsetOf(name) != nil; got != ok {
			t.Errorf("charsetOf(%q): %v", name, got)
		}
	}
	var none *charset
	if s := "caf\xe9"; none.decode(s) != s || none.encode(s) != s {
		t.Error("without a set bytes change")
	}
}
