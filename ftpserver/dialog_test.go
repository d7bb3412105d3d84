package ftpserver

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dray/account"
	"dray/vfs"
	"dray/vfs/memfs"
)

// TestDialogs replays testdata/*.dialog against a server over loopback, over
// both kinds of trees. The first line of a file names its story. Then:
//
//	RULES: plain        what the listener allows, see variants; before all else
//	TREE: mem           or os; without it the story is told on both
//	ROOM: 100000        bytes of room in the tree, which is in memory then
//	GIVEN: a/b = "x"    what the tree holds at the beginning; "a/" a directory;
//	                    a name may have "\xff" and the like, as in F
//	LOGIN: alice        a new connection, logged in, TYPE I
//	CONNECT:            a new connection, nothing said
//	C: line             the client says it; "\xff" and the like as in Go
//	S: 250 *            the next line of the server; * is anything
//	UNTIL: 211 End      lines of the server, up to this one
//	TLS:                AUTH TLS, handshake, PBSZ 0, PROT P
//	AUTH:               AUTH TLS and the handshake alone
//	CLEAR:              the client ends TLS, as it must behind CCC
//	MODE: passive       or active, epsv, eprt: how D connects
//	D: STOR a <<"x"     a command with a data connection that sends x
//	D: RETR a >>"x"     one that must bring x; in a listing * is anything
//	CUT: STOR a "x"     x is sent, the data connection is reset, and then the
//	                    control connection, with the answer unread
//	BREAK: STOR a "x"   x is sent, then the data connection alone is reset
//	HANGUP:             the client closes the control connection
//	F: a/b = "x"        what the tree holds now; "missing" for nothing,
//	F: a/b mode 600     its permission bits
//
// A content is a Go string, "x"*5000 or pieces joined by +.
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.dialog")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogs: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".dialog")
		trees := []string{"mem", "os"}
		for line := range strings.Lines(string(text)) {
			if arg, ok := strings.CutPrefix(line, "TREE: "); ok {
				trees = []string{strings.TrimSpace(arg)}
			}
			if strings.HasPrefix(line, "ROOM: ") {
				trees = []string{"mem"}
			}
		}
		for _, tree := range trees {
			t.Run(name+"/"+tree, func(t *testing.T) {
				t.Parallel()
				replay(t, file, string(text), tree)
			})
		}
	}
}

// refusedAlways are rows that no request can succeed with.
var refusedAlways = []string{"MFCT"}

// Every row of the table has a story, in which it succeeds once.
func TestEveryCommandIsInADialog(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.dialog")
	did := map[string]bool{} // by command, whether it was answered by 2xx or 3xx
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(text, []byte("# "+filepath.Base(file)+" — ")) {
			t.Errorf("%s does not begin with its name and story", file)
		}
		for command, ok := range answered(string(text)) {
			did[command] = did[command] || ok
		}
	}
	check := func(name string) {
		switch ok, said := did[name]; {
		case !said:
			t.Errorf("no dialog says %s", name)
		case !ok && !slices.Contains(refusedAlways, name):
			t.Errorf("%s succeeds in no dialog", name)
		case ok && slices.Contains(refusedAlways, name):
			t.Errorf("%s succeeds", name)
		}
	}
	for _, row := range commands() {
		check(row.verb)
	}
	for _, row := range siteCommands() {
		check("SITE " + row.verb)
	}
}

// answered are the commands that a dialog says, each with whether one of its final
// replies was 2xx or 3xx. Behind SITE both words are the command.
func answered(dialog string) map[string]bool {
	did := map[string]bool{}
	var waiting []string // for their replies, in order
	for line := range strings.Lines(dialog) {
		key, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), ":")
		rest = strings.TrimPrefix(rest, " ")
		switch key {
		case "C", "D":
			f := strings.Fields(strings.ToUpper(rest))
			if len(f) > 1 && f[0] == "SITE" {
				f[0] += " " + f[1]
				did["SITE"] = did["SITE"] || false
			}
			if len(f) > 0 {
				waiting = append(waiting, f[0])
				did[f[0]] = did[f[0]] || false
			}
		case "S", "UNTIL":
			if len(waiting) > 0 && len(rest) > 3 && rest[0] >= '2' && rest[0] <= '5' && rest[3] == ' ' {
				ok := rest[0] < '4'
				did[waiting[0]] = did[waiting[0]] || ok
				if strings.HasPrefix(waiting[0], "SITE ") {
					did["SITE"] = did["SITE"] || ok
				}
				waiting = waiting[1:]
			}
		case "TLS", "AUTH":
			did["AUTH"] = true
		case "LOGIN", "CONNECT", "CUT", "HANGUP":
			waiting = nil
		}
	}
	return did
}

// variants are what RULES names.
func variant(t *testing.T, name string) setup {
	switch name {
	case "plain":
		s := setup{users: []account.Account{alice, {Name: "bob", Rights: account.Full}}}
		s.door.Plain = true
		s.rules.TLS, s.rules.ClearData = serverTLS(), true
		return s
	case "no-tls":
		s := setup{}
		s.door.Plain = true
		return s
	case "tls":
		s := setup{}
		s.rules.TLS = serverTLS()
		return s
	case "implicit":
		s := setup{}
		s.rules.TLS, s.rules.Implicit = serverTLS(), true
		return s
	case "anonymous":
		s := setup{anonymous: &account.Account{Name: "anonymous", Rights: account.ReadOnly, Anonymous: true}}
		s.door.AnonymousPlain = true
		s.rules.TLS = serverTLS()
		return s
	case "incoming": // strangers may upload
		s := setup{anonymous: &account.Account{Name: "anonymous", Rights: account.List | account.Read | account.Write, Anonymous: true}}
		s.door.AnonymousPlain = true
		return s
	case "dropbox": // uploads only: an account that keeps no partials
		s := setup{users: []account.Account{{Name: "alice", Rights: account.List | account.Write | account.MakeDir}}}
		s.door.Plain = true
		return s
	case "upload-only": // with all switches, so that none of them shows what is there
		s := variant(t, "switches")
		s.users = []account.Account{{Name: "alice", Rights: account.UploadOnly}}
		return s
	case "strangers": // read everything but what strangers have left in /incoming
		s := setup{anonymous: &account.Account{
			Name: "anonymous", Rights: account.ReadOnly, Anonymous: true,
			Paths: []account.PathRights{{Path: "/incoming", Rights: account.UploadOnly}},
		}}
		s.door.AnonymousPlain = true
		return s
	case "paths": // rights that differ from place to place
		s := setup{users: []account.Account{{
			Name: "alice", Rights: account.List | account.Read | account.Write | account.MakeDir,
			Paths: []account.PathRights{
				{Path: "/archive", Rights: account.ReadOnly}, {Path: "/secret", Rights: 0}, {Path: "/box/secret", Rights: 0},
				{Path: "/incoming/", Rights: account.Full}, {Path: "/incoming/incoming", Rights: account.ReadOnly},
			},
		}}}
		s.door.Plain = true
		return s
	case "texts": // of several lines
		s := setup{anonymous: &account.Account{Name: "anonymous", Rights: account.ReadOnly, Anonymous: true}}
		s.door.Plain = true
		s.rules.Greeting = "Files of example.net.\nEverything here is logged.\n\n421 begins no line of its own.\n"
		s.rules.Welcome = "Welcome, {user}.\r\nYes, {user}.\r\n"
		s.rules.Goodbye = "Bye.\nCome again."
		return s
	case "refuses": // what an administrator may well refuse
		s := variant(t, "plain")
		s.rules.Deny = []string{"DELE", "MKD", "XMKD", "MFMT", "SIZE", "CLNT", "STAT", "STOU", "SITE CHMOD", "SITE UTIME", "MODE Z"}
		return s
	case "unwelcome": // accounts that can't come in, each with the right password
		s := setup{users: []account.Account{
			alice,
			{Name: "disabled", Rights: account.Full, Disabled: true},
			{Name: "expired", Rights: account.Full, Expires: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
			{Name: "sftp", Rights: account.Full, Protocols: []string{"sftp", "ftps"}},
			{Name: "elsewhere", Rights: account.Full, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		}}
		s.door.Plain = true
		return s
	case "charsets":
		s := setup{users: []account.Account{
			alice, {Name: "latin", Rights: account.Full, Charset: "windows-1252"}, {Name: "kana", Rights: account.Full, Charset: "shift_jis"},
		}}
		s.door.Plain = true
		return s
	case "listed": // alice has her own cut uploads in her listings
		s := setup{users: []account.Account{{Name: "alice", Rights: account.Full, Partials: account.PartialsListed}, {Name: "bob", Rights: account.Full}}}
		s.door.Plain = true
		return s
	case "in-place": // alice's uploads write to the name itself
		s := setup{users: []account.Account{{Name: "alice", Rights: account.Full, Uploads: account.UploadsInPlace}, {Name: "bob", Rights: account.Full}}}
		s.door.Plain = true
		return s
	case "readonly":
		s := setup{users: []account.Account{{Name: "alice", Rights: account.ReadOnly}}}
		s.door.Plain = true
		return s
	case "switches": // all that can be switched on is; bob reads, carol sees nothing of a directory's inside
		s := variant(t, "plain")
		s.users = []account.Account{{Name: "alice", Rights: account.All}, {Name: "bob", Rights: account.ReadOnly}, {Name: "carol", Rights: account.All &^ account.List}}
		s.rules.Allow = []string{"CCC", "COPY", "FXP", "PRET", "RMDA"}
		return s
	case "denied": // what an administrator can refuse
		s := variant(t, "switches")
		for _, row := range commands() {
			s.rules.Deny = append(s.rules.Deny, row.verb)
		}
		for _, row := range siteCommands() {
			s.rules.Deny = append(s.rules.Deny, "SITE "+row.verb)
		}
		s.rules.Deny = slices.DeleteFunc(s.rules.Deny, func(verb string) bool {
			return slices.Contains([]string{"USER", "PASS", "TYPE", "QUIT", "SITE"}, verb)
		})
		return s
	case "no-mkd": // nobody makes directories
		s := variant(t, "switches")
		s.rules.Deny = []string{"MKD", "SITE CHMOD"}
		return s
	case "owner": // files belong to another user, whose umask holds
		s := variant(t, "plain")
		s.users = []account.Account{{Name: "alice", Rights: account.Full, Owner: &account.Owner{UID: 42001, GID: 42001, Umask: 0o027}}}
		return s
	case "host": // the listener serves a name
		s := variant(t, "plain")
		s.rules.Host = func(name string) (*tls.Config, bool) { return s.rules.TLS, name == "ftp.example.net" }
		return s
	case "reuse":
		s := setup{}
		s.rules.TLS, s.rules.Session = serverTLS(), SessionRequire
		return s
	}
	t.Fatalf("no rules %q", name)
	return setup{}
}

// A player replays one dialog.
type player struct {
	*site
	t    *testing.T
	at   string // file and line
	k    *talk
	mode string
	data *exchange
}

func replay(t *testing.T, file, text, kind string) {
	s := variant(t, "plain")
	p := &player{t: t, mode: "passive"}
	room := int64(0)
	type given struct{ path, content string }
	var givens []given
	start := func() {
		if p.site != nil {
			return
		}
		if kind == "os" {
			var dir string
			s.tree, dir = onDisk(t)
			p.site = newSite(t, s)
			p.dir = dir
		} else {
			s.tree = memfs.New(memfs.Options{MaxBytes: room})
			p.site = newSite(t, s)
		}
		for _, g := range givens {
			p.give(g.path, g.content)
		}
	}
	for i, line := range strings.Split(text, "\n") {
		p.at = fmt.Sprintf("%s:%d", file, i+1)
		if line == "" || line[0] == '#' {
			continue
		}
		key, arg, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("%s: %q is no line of a dialog", p.at, line)
		}
		arg = strings.TrimPrefix(arg, " ")
		switch key {
		case "RULES":
			s = variant(t, arg)
			continue
		case "TREE":
			continue
		case "ROOM":
			room, _ = strconv.ParseInt(arg, 10, 64)
			continue
		case "GIVEN":
			path, content, _ := strings.Cut(arg, " = ")
			if p.site != nil {
				p.give(path, content)
			} else {
				givens = append(givens, given{path, content})
			}
			continue
		}
		start()
		if key != "S" && key != "UNTIL" {
			p.join()
		}
		switch key {
		case "CONNECT":
			p.leave()
			p.k = p.dial()
			if s.rules.Implicit {
				p.k.handshake(clientTLS())
			}
		case "LOGIN":
			p.leave()
			p.k = p.dial()
			if s.rules.Implicit {
				p.k.handshake(clientTLS())
			}
			p.expect("220 *")
			p.do("USER "+arg, "331 *")
			p.do("PASS secret", "230 *")
			p.do("TYPE I", "200 *")
		case "TLS", "AUTH":
			p.do("AUTH TLS", "234 *")
			p.k.handshake(clientTLS())
			if key == "TLS" {
				p.do("PBSZ 0", "200 PBSZ=0")
				p.do("PROT P", "200 *")
				p.k.prot = true
			}
		case "MODE":
			p.mode = arg
		case "C":
			line := p.unquote(arg)
			p.k.say(line)
			switch strings.ToUpper(line) {
			case "PROT P":
				p.k.prot = true
			case "MODE Z", "MODE S":
				p.k.deflate = strings.EqualFold(line, "MODE Z")
			}
		case "CLEAR":
			p.k.clear()
		case "S":
			p.expect(arg)
		case "UNTIL":
			for {
				line, err := p.k.line()
				if err != nil {
					t.Fatalf("%s: %q, %v; want %q", p.at, line, err, arg)
				}
				if like(arg, line) {
					break
				}
			}
		case "D":
			p.dataCommand(arg)
		case "CUT", "BREAK":
			p.cut(key, arg)
		case "HANGUP":
			p.k.nc.Close()
			p.k = nil
			p.quiet()
		case "F":
			p.holds(arg)
		default:
			t.Fatalf("%s: what is %q?", p.at, key)
		}
	}
	start()
	p.join()
	p.leave()
}

// unquote reads the escapes of a client line.
func (p *player) unquote(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	u, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
	return u
}

// content reads "x", "x"*5000 and "x"+"y".
func (p *player) content(s string) string {
	var out strings.Builder
	for s = strings.TrimSpace(s); ; {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			p.t.Fatalf("%s: content %q: %v", p.at, s, err)
		}
		piece, _ := strconv.Unquote(quoted)
		s = s[len(quoted):]
		if rest, ok := strings.CutPrefix(s, "*"); ok {
			digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
			n, _ := strconv.Atoi(rest[:digits])
			piece, s = strings.Repeat(piece, n), rest[digits:]
		}
		out.WriteString(piece)
		if s == "" {
			return out.String()
		}
		if !strings.HasPrefix(s, "+") {
			p.t.Fatalf("%s: behind a content: %q", p.at, s)
		}
		s = s[1:]
	}
}

func (p *player) give(path, content string) {
	p.t.Helper()
	path = p.unquote(path)
	dir := strings.HasSuffix(path, "/")
	var err error
	switch {
	case p.dir == "" && dir:
		err = p.mem.MkdirAll("/" + strings.TrimSuffix(path, "/"))
	case p.dir == "":
		if d := filepath.Dir("/" + path); d != "/" {
			err = p.mem.MkdirAll(d)
		}
		if err == nil {
			err = p.mem.WriteFile("/"+path, []byte(p.content(content)))
		}
	case dir:
		err = os.MkdirAll(filepath.Join(p.dir, path), 0o755)
	default:
		err = os.MkdirAll(filepath.Dir(filepath.Join(p.dir, path)), 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(p.dir, path), []byte(p.content(content)), 0o644)
		}
	}
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
}

// holds checks one F line.
func (p *player) holds(arg string) {
	p.t.Helper()
	if path, mode, ok := strings.Cut(arg, " mode "); ok {
		at, err := vfs.Resolve(vfs.Root, path)
		if err != nil {
			p.t.Fatal(err)
		}
		var got os.FileMode
		if p.dir != "" {
			fi, err := os.Stat(filepath.Join(p.dir, path))
			if err != nil {
				p.t.Fatalf("%s: %v", p.at, err)
			}
			got = fi.Mode().Perm()
		} else {
			fi, err := p.mem.Stat(p.t.Context(), at)
			if err != nil {
				p.t.Fatalf("%s: %v", p.at, err)
			}
			got = fi.Mode().Perm()
		}
		if fmt.Sprintf("%o", got) != mode {
			p.t.Errorf("%s: mode of %s is %o; want %s", p.at, path, got, mode)
		}
		return
	}
	path, missing := strings.CutSuffix(arg, " missing")
	path, want, _ := strings.Cut(path, " = ")
	path = p.unquote(path)
	var got []byte
	var err error
	if p.dir != "" {
		got, err = os.ReadFile(filepath.Join(p.dir, path))
		if err == nil && missing {
			p.t.Errorf("%s: %s is there: %.100q", p.at, path, got)
		}
		if _, serr := os.Lstat(filepath.Join(p.dir, path)); serr == nil && missing {
			p.t.Errorf("%s: %s is there", p.at, path)
		}
	} else {
		got, err = p.mem.ReadFile("/" + path)
		at, rerr := vfs.Resolve(vfs.Root, path)
		if rerr != nil {
			p.t.Fatal(rerr)
		}
		if _, serr := p.mem.Lstat(p.t.Context(), at); serr == nil && missing {
			p.t.Errorf("%s: %s is there", p.at, path)
		}
	}
	if missing {
		return
	}
	if err != nil {
		p.t.Errorf("%s: %v", p.at, err)
		return
	}
	if want := p.content(want); string(got) != want {
		p.t.Errorf("%s: %s holds %d bytes %.60q; want %d bytes %.60q", p.at, path, len(got), got, len(want), want)
	}
}

// like matches a line against a pattern whose stars are anything.
func like(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return strings.HasSuffix(s, last)
}

func (p *player) expect(pattern string) {
	p.t.Helper()
	line, err := p.k.line()
	if pattern == "END" {
		if err == nil || isTimeout(err) {
			p.t.Fatalf("%s: the connection goes on: %q, %v", p.at, line, err)
		}
		return
	}
	if err != nil || !like(p.unquote(pattern), line) {
		p.t.Fatalf("%s: server said %q, %v; want %q", p.at, line, err, pattern)
	}
	if p.data != nil && len(line) > 3 && line[3] == ' ' && line[0] >= '4' {
		p.data.refused()
	}
}

func (p *player) do(line, want string) {
	p.t.Helper()
	p.k.say(line)
	p.expect(want)
}

// leave ends the connection that there is.
func (p *player) leave() {
	if p.k != nil {
		p.k.nc.Close()
		p.k = nil
		p.quiet()
	}
}

// An exchange is one data connection, which moves in the background.
type exchange struct {
	want  *string
	l     net.Listener // active
	nc    net.Conn
	got   []byte
	err   error
	done  chan struct{}
	never bool // the command was refused
}

func (x *exchange) refused() {
	x.never = true
	if x.l != nil {
		x.l.Close()
	}
	if x.nc != nil {
		x.nc.Close()
	}
}

// open does what the mode says before a data command; the result connects.
func (p *player) open() (net.Conn, net.Listener) {
	p.t.Helper()
	switch p.mode {
	case "passive":
		return p.k.pasv(), nil
	case "epsv":
		port := parseEPSV(p.t, p.k.do(229, "EPSV"))
		host, _, _ := net.SplitHostPort(p.addr)
		return p.k.connect(net.JoinHostPort(host, port)), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if p.mode == "active" {
		p.k.do(200, fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255))
	} else {
		p.k.do(200, fmt.Sprintf("EPRT |1|127.0.0.1|%d|", port))
	}
	return nil, l
}

// dataCommand begins a D line. Its end is waited for at the next line that is
// no reply.
func (p *player) dataCommand(arg string) {
	p.t.Helper()
	command, send, upload := strings.Cut(arg, " <<")
	var want *string
	if !upload {
		c, w, download := strings.Cut(arg, " >>")
		command = c
		if download {
			w = p.content(w)
			want = &w
		}
	} else {
		send = p.content(send)
	}
	x := &exchange{want: want, done: make(chan struct{})}
	x.nc, x.l = p.open()
	p.data = x
	p.k.say(p.unquote(command))
	k := p.k
	go func() {
		defer close(x.done)
		nc := x.nc
		if x.l != nil {
			defer x.l.Close()
			nc, x.err = x.l.Accept()
			if x.err != nil {
				return
			}
			defer nc.Close()
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		nc = k.over(nc)
		if k.deflate {
			nc = &compressed{Conn: nc}
		}
		if upload {
			if _, x.err = io.WriteString(nc, send); x.err == nil {
				x.err = finish(nc)
			}
			return
		}
		x.got, x.err = io.ReadAll(nc)
	}()
}

// join ends the data connection of the last D line.
func (p *player) join() {
	p.t.Helper()
	x := p.data
	if x == nil {
		return
	}
	p.data = nil
	<-x.done
	if x.nc != nil {
		x.nc.Close()
	}
	if x.never {
		return
	}
	if x.err != nil {
		p.t.Fatalf("%s: data connection: %v", p.at, x.err)
	}
	if x.want == nil {
		return
	}
	want, got := strings.Split(*x.want, "\n"), strings.Split(string(x.got), "\n")
	ok := len(want) == len(got)
	for i := 0; ok && i < len(want); i++ {
		ok = like(want[i], got[i])
	}
	if !ok {
		p.t.Errorf("%s: before here came %d bytes %.300q; want %.300q", p.at, len(x.got), x.got, *x.want)
	}
}

// cut sends part of a file and breaks the connection.
func (p *player) cut(key, arg string) {
	p.t.Helper()
	command, content, ok := strings.Cut(arg, ` "`)
	if !ok {
		p.t.Fatalf("%s: no content", p.at)
	}
	nc, l := p.open()
	p.k.say(command)
	if l != nil {
		defer l.Close()
		var err error
		if nc, err = l.Accept(); err != nil {
			p.t.Fatal(err)
		}
	}
	p.expect("150 *")
	nc = p.k.over(nc)
	if _, err := io.WriteString(nc, p.content(`"`+content)); err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
	delivered(p.t, nc)
	reset(nc)
	if key == "CUT" {
		// With both at once it would be a matter of luck how much of x is read.
		_ = p.k.nc.SetReadDeadline(time.Now().Add(patience))
		if _, err := p.k.rd.Peek(1); err != nil {
			p.t.Fatalf("%s: %v", p.at, err)
		}
		reset(p.k.nc)
		p.k = nil
		p.quiet()
	}
}
