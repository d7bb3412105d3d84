package ftpserver

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

// snapshot is all names of a tree with sizes.
func snapshot(t testing.TB, tree vfs.FS) string {
	t.Helper()
	var out []string
	var walk func(p vfs.Path)
	walk = func(p vfs.Path) {
		for fi, err := range tree.List(t.Context(), p) {
			if err != nil {
				t.Fatal(err)
			}
			sub, err := p.Join(fi.Name())
			if err != nil {
				t.Fatalf("a listing shows %q: %v", fi.Name(), err)
			}
			out = append(out, fmt.Sprintf("%s %v %d", sub, fi.Mode(), fi.Size()))
			if fi.IsDir() {
				walk(sub)
			}
		}
	}
	walk(vfs.Root)
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// withFiles is a tree in memory with /a, /secret and /d/x.
func withFiles(t testing.TB) *memfs.Tree {
	t.Helper()
	tree := memfs.New(memfs.Options{})
	for _, err := range []error{
		tree.WriteFile("/a", []byte("abc")), tree.WriteFile("/secret", []byte("secret")),
		tree.MkdirAll("/d"), tree.WriteFile("/d/x", []byte("x")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func plain() setup {
	s := setup{}
	s.door.Plain = true
	return s
}

// switchedOn is plain with every switch on.
func switchedOn() setup {
	s := plain()
	s.rules.Allow = []string{"CCC", "COPY", "FXP", "PRET", "RMDA"}
	return s
}

// sample is an argument that a row takes.
func sample(row command) string {
	switch row.verb {
	case "MFMT", "MFCT", "UTIME":
		return "20200101000000 a"
	case "MFF":
		return "modify=20200101000000; a"
	case "CSID":
		return "Name=x;Version=1;"
	case "LANG":
		return "EN"
	case "PRET":
		return "RETR a"
	case "SYMLINK":
		return "a new"
	case "DSIZ", "AVBL", "RMDA", "RMDIR":
		return "d"
	case "UMASK":
		return "027"
	case "IDLE":
		return "600"
	case "RANG":
		return "0 1"
	case "COMB":
		return "new a"
	case "COPY":
		return "a new"
	case "CPTO":
		return "new"
	case "MKDIR":
		return "new/new"
	case "CHMOD":
		return "600 a"
	case "TYPE":
		return "I"
	case "STRU":
		return "F"
	case "MODE":
		return "S"
	case "REST", "ALLO":
		return "1"
	case "RMD", "XRMD", "CWD", "XCWD":
		return "d"
	case "MKD", "XMKD":
		return "new"
	case "OPTS":
		return "UTF8 ON"
	case "PORT":
		return "127,0,0,1,200,1"
	case "EPRT":
		return "|1|127.0.0.1|51201|"
	case "SITE":
		return "HELP"
	case "USER":
		return "alice"
	case "PASS":
		return "secret"
	}
	if row.arg == argNone || row.arg == argOptional {
		return ""
	}
	return "a"
}

func TestNothingRunsBeforeLogin(t *testing.T) {
	s := switchedOn()
	tree := withFiles(t)
	s.tree = tree
	before := snapshot(t, tree)
	st := newSite(t, s)
	k := st.greeted()
	for _, named := range []string{"", "USER alice"} {
		for _, row := range commands() {
			if row.phase < phaseIn {
				continue
			}
			if named != "" {
				k.do(331, named)
			}
			for _, arg := range []string{"", "x", "../../secret", sample(row)} {
				hasID(t, k.do(530, strings.TrimSpace(row.verb+" "+arg)), fault.IDLogin)
			}
		}
	}
	if after := snapshot(t, tree); after != before {
		t.Errorf("the tree changed without a login:\n%s", after)
	}
	k.bye()
}

func TestPassAndAcctWaitForUser(t *testing.T) {
	st := newSite(t, switchedOn())
	k := st.greeted()
	for _, row := range commands() {
		if row.phase == phaseNamed {
			hasID(t, k.do(503, row.verb+" x"), fault.IDSequence)
		}
	}
}

func TestArgumentsAreCheckedByTheRow(t *testing.T) {
	s := switchedOn()
	tree := withFiles(t)
	s.tree = tree
	before := snapshot(t, tree)
	st := newSite(t, s)
	k := st.login()
	for _, row := range commands() {
		switch row.arg {
		case argNone:
			hasID(t, k.do(501, row.verb+" x"), fault.IDSyntax)
		case argRequired, argPath:
			hasID(t, k.do(501, row.verb), fault.IDSyntax)
			if reply := k.do(501, strings.ToLower(row.verb)+" "); !strings.Contains(reply, row.form()) {
				t.Errorf("%s without its argument: %q; want the form %q", row.verb, reply, row.form())
			}
		}
	}
	if after := snapshot(t, tree); after != before {
		t.Errorf("the tree changed:\n%s", after)
	}
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	s := switchedOn()
	s.users = []account.Account{{Name: "alice", Rights: account.ReadOnly}}
	tree := withFiles(t)
	s.tree = tree
	before := snapshot(t, tree)
	st := newSite(t, s)
	k := st.login()
	n := 0
	try := func(line string, row command) {
		if row.also&changesTree == 0 {
			return
		}
		n++
		if row.verb == "RNTO" || row.verb == "CPTO" { // nothing was said that it could go on with
			hasID(t, k.do(503, line), fault.IDSequence)
			return
		}
		if row.also&opensData != 0 {
			k.do(229, "EPSV")
		}
		hasID(t, k.do(550, line), fault.IDReadOnly)
	}
	for _, row := range commands() {
		try(strings.TrimSpace(row.verb+" "+sample(row)), row)
	}
	for _, row := range siteCommands() {
		try("SITE "+row.verb+" "+sample(row), row)
	}
	if n < 12 {
		t.Errorf("only %d rows change the tree", n)
	}
	if after := snapshot(t, tree); after != before {
		t.Errorf("the tree changed:\n%s", after)
	}
}

// A row that changes the tree says so: all others leave it alone.
func TestRowsWithoutTheTraitChangeNothing(t *testing.T) {
	s := switchedOn()
	tree := withFiles(t)
	s.tree = tree
	before := snapshot(t, tree)
	st := newSite(t, s)
	k := st.login()
	for _, row := range commands() {
		if row.also&(changesTree|opensData) != 0 || row.verb == "QUIT" || row.verb == "REIN" || row.verb == "USER" || row.verb == "AUTH" {
			continue
		}
		k.say(strings.TrimSpace(row.verb + " " + sample(row)))
		if code, text, err := k.reply(); err != nil || code >= 600 {
			t.Errorf("%s: %q, %v", row.verb, text, err)
		}
	}
	for _, row := range commands() {
		if row.also&opensData != 0 && row.also&changesTree == 0 {
			k.get(strings.TrimSpace(row.verb + " " + map[string]string{"RETR": "a"}[row.verb]))
		}
	}
	if after := snapshot(t, tree); after != before {
		t.Errorf("the tree changed:\n%s", after)
	}
}

func TestDataCommandsWantADataConnection(t *testing.T) {
	s := plain()
	s.tree = withFiles(t)
	s.rules.TLS = serverTLS()
	st := newSite(t, s)
	k := st.login()
	for _, row := range commands() {
		if row.also&opensData == 0 {
			continue
		}
		line := strings.TrimSpace(row.verb + " " + sample(row))
		hasID(t, k.do(425, line), fault.IDNoDataPort)
		// One set-up serves one transfer.
		nc := k.pasv()
		k.say(line)
		if code, text, err := k.reply(); err != nil || code != 150 {
			t.Fatalf("%s: %q, %v", line, text, err)
		}
		if row.also&changesTree != 0 {
			_ = finish(nc)
		}
		k.hear(226)
		hasID(t, k.do(425, line), fault.IDNoDataPort)
	}
	sec := st.greeted()
	sec.secure(clientTLS())
	sec.as("alice")
	for _, row := range commands() {
		if row.also&opensData == 0 {
			continue
		}
		sec.do(229, "EPSV")
		hasID(t, sec.do(521, strings.TrimSpace(row.verb+" "+sample(row))), fault.IDProtRequired)
	}
}

// Whatever the phase and the argument, one line has one final reply.
func TestEveryLineHasOneFinalReply(t *testing.T) {
	s := switchedOn()
	s.tree = withFiles(t)
	st := newSite(t, s)
	phases := map[string]func() *talk{
		"greeted": st.greeted,
		"named": func() *talk {
			k := st.greeted()
			k.do(331, "USER alice")
			return k
		},
		"in": st.login,
	}
	rows := append(commands(), command{verb: "NONSENSE"}, command{verb: "MAIL"}, command{verb: "SPSV"})
	for name, open := range phases {
		k := open()
		for _, row := range rows {
			for _, arg := range []string{"", "x", " ", "/", "..", "-R", "*", sample(row)} {
				line := row.verb
				if arg != "" {
					line += " " + arg
				}
				k.write(line + "\r\nSYST\r\n")
				_, text, err := k.reply()
				if err != nil {
					t.Fatalf("%s, %q: no reply: %v", name, line, err)
				}
				code, next, err := k.reply()
				gone := row.verb == "QUIT" || strings.Contains(text, string(fault.IDTries))
				if gone && err != nil {
					k = open()
					continue
				}
				if code != 215 || strings.HasPrefix(text, "215") && row.verb != "SYST" {
					t.Fatalf("%s, %q: replies %q and %q; want one", name, line, text, next)
				}
				if row.verb == "USER" || row.verb == "PASS" || row.verb == "REIN" {
					k.nc.Close()
					k = open()
				}
			}
		}
		k.nc.Close()
	}
}

func TestFeatIsWellFormed(t *testing.T) {
	for name, s := range map[string]setup{"plain": plain(), "tls": variant(t, "tls"), "implicit": variant(t, "implicit")} {
		st := newSite(t, s)
		k := st.dial()
		if s.rules.Implicit {
			k.handshake(clientTLS())
		}
		k.hear(220)
		lines := strings.Split(k.do(211, "FEAT"), "\n")
		if !strings.HasPrefix(lines[0], "211-") || lines[len(lines)-1] != "211 End" {
			t.Errorf("%s: FEAT is framed by %q and %q", name, lines[0], lines[len(lines)-1])
		}
		features := lines[1 : len(lines)-1]
		for i, line := range features {
			if len(line) < 2 || line[0] != ' ' || line[1] == ' ' || strings.TrimRight(line, " ") != line {
				t.Errorf("%s: feature line %q", name, line)
			}
			if i > 0 && features[i-1] == line {
				t.Errorf("%s: %q is there twice", name, line)
			}
		}
		has := func(f string) bool { return slices.Contains(features, " "+f) }
		if !has("UTF8") || !has("REST STREAM") || !has("SIZE") || !has("EPSV") || !has("TVFS") {
			t.Errorf("%s: features missing: %q", name, features)
		}
		if has("AUTH TLS") != (name == "tls") || has("PBSZ") != (name != "plain") || has("PROT") != (name != "plain") {
			t.Errorf("%s: wrong features of TLS: %q", name, features)
		}
	}
}

func TestHelpKnowsEveryRow(t *testing.T) {
	st := newSite(t, switchedOn())
	k := st.greeted()
	all := strings.Fields(k.do(214, "HELP"))
	for _, row := range commands() {
		if !slices.Contains(all, row.verb) {
			t.Errorf("HELP does not list %s", row.verb)
		}
		if row.help == "" || row.rfc == "" || row.run == nil {
			t.Errorf("the row of %s is not complete", row.verb)
		}
		if row.verb != "SITE" {
			if one := k.do(214, "HELP "+strings.ToLower(row.verb)); !strings.Contains(one, row.help) {
				t.Errorf("HELP %s = %q", row.verb, one)
			}
		}
	}
}

func TestNeverBuiltCommandsSayWhy(t *testing.T) {
	st := newSite(t, plain())
	k := st.login()
	for verb, why := range neverBuilt {
		if reply := k.do(502, verb); !strings.Contains(reply, why) {
			t.Errorf("%s: %q; want the reason %q", verb, reply, why)
		}
	}
}

func TestEveryKindOfFailureHasACode(t *testing.T) {
	for kind, code := range replies {
		if code < 400 || code > 599 {
			t.Errorf("kind %d is answered by %d", kind, code)
		}
	}
	// Real paths and causes never reach the peer.
	err := fault.Because(&fs.PathError{Op: "open", Path: "/srv/real", Err: fs.ErrPermission}, fault.Internal, fault.IDInternal)
	if r := replyFor(err); strings.Contains(r.Text, "/srv") || r.Text != explain.Sentence(err) {
		t.Errorf("reply %q", r.Text)
	}
}
