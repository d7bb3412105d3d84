package ftpserver

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"dray/account"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

// A use is one way to say a command, in the tree of furnished, and the rights
// that it takes.
type use struct {
	line   string
	needs  account.Rights
	before string // said first; "" for nothing
	code   int    // of who has all rights, when it is no 2xx and no 3xx
}

// uses are the ways to say each row, "SITE " before those behind it. Each row is
// here, also one that takes no right.
func uses() map[string][]use {
	const (
		list, read, write, overwrite = account.List, account.Read, account.Write, account.Overwrite
		remove, rename, mkdir, attrs = account.Delete, account.Rename, account.MakeDir, account.Attributes
	)
	none := func(lines ...string) (all []use) {
		for _, line := range lines {
			all = append(all, use{line: line})
		}
		return all
	}
	all := map[string][]use{
		"USER": none("USER nobody"), "ACCT": none("ACCT x"), "FEAT": none("FEAT"), "CLNT": none("CLNT x"), "SYST": none("SYST"),
		"PASS": {{line: "PASS secret", code: 503}}, "HOST": {{line: "HOST x", code: 503}},
		"AUTH": {{line: "AUTH TLS", code: 502}}, "PBSZ": {{line: "PBSZ 0", code: 503}}, "PROT": {{line: "PROT P", code: 503}},
		"CCC": {{line: "CCC", code: 533}}, "SSCN": {{line: "SSCN ON", code: 503}}, "CPSV": {{line: "CPSV", code: 503}},
		"OPTS": none("OPTS UTF8 ON", "OPTS MLST size;", "OPTS HASH MD5", "OPTS MODE Z LEVEL 1"),
		"HELP": none("HELP", "HELP STOR"), "NOOP": none("NOOP"), "QUIT": none("QUIT"), "REIN": none("REIN"), "ABOR": none("ABOR"),
		"CSID": none("CSID Name=x;"), "LANG": none("LANG EN"), "PRET": none("PRET RETR a"), "RANG": none("RANG 0 1"),
		"STAT": {{line: "STAT"}, {line: "STAT a"}, {line: "STAT d", needs: list}, {line: "STAT *", needs: list}},
		"PWD":  none("PWD"), "XPWD": none("XPWD"), "CWD": none("CWD d"), "XCWD": none("XCWD d"), "CDUP": none("CDUP"), "XCUP": none("XCUP"),
		"MKD": {{line: "MKD new", needs: mkdir}, {line: "MKD d/new", needs: mkdir}}, "XMKD": {{line: "XMKD new", needs: mkdir}},
		"RMD": {{line: "RMD empty", needs: remove}}, "XRMD": {{line: "XRMD empty", needs: remove}},
		"DELE": {{line: "DELE a", needs: remove}, {line: "DELE link", needs: remove}},
		"RNFR": {{line: "RNFR a", needs: rename}, {line: "RNFR d", needs: rename}},
		"RNTO": {
			{line: "RNTO new", before: "RNFR a", needs: rename}, {line: "RNTO d/new", before: "RNFR empty", needs: rename},
			{line: "RNTO d/x", before: "RNFR a", needs: rename | overwrite},
		},
		"TYPE": none("TYPE A", "TYPE I"), "STRU": none("STRU F"), "MODE": none("MODE S", "MODE Z"),
		"PASV": none("PASV"), "EPSV": none("EPSV", "EPSV ALL"),
		"PORT": none("PORT 127,0,0,1,200,1"), "EPRT": none("EPRT |1|127.0.0.1|51201|"),
		"LIST": {
			{line: "LIST", needs: list}, {line: "LIST d", needs: list}, {line: "LIST a", needs: list},
			{line: "LIST -R", needs: list}, {line: "LIST *", needs: list},
		},
		"NLST": {{line: "NLST", needs: list}, {line: "NLST d/*", needs: list}},
		"MLSD": {{line: "MLSD", needs: list}}, "MLST": none("MLST", "MLST a", "MLST d"), "SIZE": none("SIZE a"),
		"MDTM": {{line: "MDTM a"}, {line: "MDTM 20200101000000 a", needs: attrs}},
		"MFMT": {{line: "MFMT 20200101000000 a", needs: attrs}},
		"MFCT": {{line: "MFCT 20200101000000 a", code: 504}},
		"MFF":  {{line: "MFF modify=20200101000000; a", needs: attrs}, {line: "MFF UNIX.mode=0600; a", needs: attrs}},
		"REST": none("REST 1"), "ALLO": none("ALLO 1"),
		"RETR": {{line: "RETR a", needs: read}, {line: "RETR link", needs: read}, {line: "RETR a", before: "REST 1", needs: read}},
		"STOR": {
			{line: "STOR new", needs: write}, {line: "STOR d/new", needs: write}, {line: "STOR a", needs: overwrite},
			{line: "STOR link", needs: overwrite}, {line: "STOR a", before: "REST 1", needs: overwrite},
			{line: "STOR a", before: "REST 3", needs: overwrite},
		},
		"STOU": {{line: "STOU", needs: write}, {line: "STOU a", needs: write}},
		"APPE": {{line: "APPE new", needs: write}, {line: "APPE a", needs: overwrite}},
		"SITE": none("SITE HELP"),
		"AVBL": {{line: "AVBL", needs: list}, {line: "AVBL d", needs: list}}, "DSIZ": {{line: "DSIZ d", needs: list}},
		"RMDA": {{line: "RMDA d", needs: list | remove}, {line: "RMDA empty", needs: list | remove}},
		"HASH": {{line: "HASH a", needs: read}}, "MD5": {{line: "MD5 a", needs: read}}, "MMD5": {{line: "MMD5 a, d/x", needs: read}},
		"COMB": {{line: "COMB new a d/x", needs: read | remove | write}, {line: "COMB a d/x", needs: read | remove | overwrite}},

		"SITE CHMOD": {{line: "SITE CHMOD 600 a", needs: attrs}}, "SITE UTIME": {{line: "SITE UTIME 202001010000 a", needs: attrs}},
		"SITE HELP": none("SITE HELP"), "SITE IDLE": none("SITE IDLE", "SITE IDLE 60"), "SITE TIME": none("SITE TIME"), "SITE ALIAS": none("SITE ALIAS"), "SITE DRAY": none("SITE DRAY"),
		"SITE MKDIR":   {{line: "SITE MKDIR new", needs: mkdir}, {line: "SITE MKDIR d/new/below", needs: mkdir}},
		"SITE RMDIR":   {{line: "SITE RMDIR d", needs: list | remove}, {line: "SITE RMDIR empty", needs: list | remove}},
		"SITE SYMLINK": {{line: "SITE SYMLINK a new", needs: account.Link}},
		"SITE UMASK":   {{line: "SITE UMASK"}, {line: "SITE UMASK 077", needs: attrs}},
		"SITE CPFR":    {{line: "SITE CPFR a", needs: read}},
		"SITE CPTO": {
			{line: "SITE CPTO new", before: "SITE CPFR a", needs: read | write},
			{line: "SITE CPTO d/x", before: "SITE CPFR a", needs: read | overwrite},
			{line: "SITE CPTO new", before: "SITE CPFR d", needs: read | list | write | mkdir},
		},
		"SITE COPY": {
			{line: "SITE COPY a new", needs: read | write}, {line: "SITE COPY a d/x", needs: read | overwrite},
			{line: "SITE COPY d new", needs: read | list | write | mkdir},
		},
	}
	for _, verb := range []string{"XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512"} {
		all[verb] = []use{{line: verb + " a", needs: read}, {line: verb + " a 0 1", needs: read}}
	}
	return all
}

// A cell is a use with its row.
type cell struct {
	use
	row  command
	name string
}

// cells are all uses, by the rows of the table.
func cells(t *testing.T) []cell {
	t.Helper()
	ways := uses()
	var all []cell
	add := func(rows []command, prefix string) {
		for _, row := range rows {
			name := prefix + row.verb
			if len(ways[name]) == 0 {
				t.Errorf("%s is not in uses: which rights does it take?", name)
			}
			for _, u := range ways[name] {
				c := cell{use: u, row: row, name: u.line}
				if u.before != "" {
					c.name = u.before + ", " + u.line
				}
				if u.line != name && !strings.HasPrefix(u.line, name+" ") {
					t.Errorf("%q is no use of %s", u.line, name)
				}
				all = append(all, c)
			}
			delete(ways, name)
		}
	}
	add(commands(), "")
	add(siteCommands(), "SITE ")
	for name := range ways {
		t.Errorf("%s is in uses and not in the table", name)
	}
	return all
}

var everyRight = []account.Rights{
	account.List, account.Read, account.Write, account.Overwrite, account.Delete, account.Rename, account.MakeDir, account.Attributes, account.Link,
}

// A matrix is a site where each login finds a tree of its own.
type matrix struct {
	*site
	opened atomic.Int32 // trees

	mu    sync.Mutex
	trees map[string]*memfs.Tree // by account, the one that its next login gets
}

func newMatrix(t *testing.T, s setup) *matrix {
	t.Helper()
	m := &matrix{site: newSite(t, s), trees: map[string]*memfs.Tree{}}
	m.server.gate.Trees = func(_ context.Context, a account.Account) (vfs.FS, error) {
		m.opened.Add(1)
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.trees[a.Name], nil
	}
	return m
}

// furnished is a tree in memory that gives each use something to work on.
func furnished(t testing.TB) *memfs.Tree {
	t.Helper()
	tree := withFiles(t)
	for _, err := range []error{tree.MkdirAll("/empty"), tree.Link("/link", "secret")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

// inventory is a snapshot that shows every change: contents and times too.
func inventory(t testing.TB, tree *memfs.Tree) string {
	t.Helper()
	var out []string
	var walk func(dir vfs.Path)
	walk = func(dir vfs.Path) {
		for fi, err := range tree.List(t.Context(), dir) {
			if err != nil {
				t.Fatal(err)
			}
			p, err := dir.Join(fi.Name())
			if err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprintf("%s %v %d", p, fi.Mode(), fi.Size())
			if fi.Mode().IsRegular() {
				b, err := tree.ReadFile(p.String())
				if err != nil {
					t.Fatal(err)
				}
				line += fmt.Sprintf(" %v %q", fi.ModTime(), b)
			}
			if fi.Mode()&fs.ModeSymlink != 0 {
				target, err := tree.Readlink(t.Context(), p)
				line += fmt.Sprint(" ", target, err)
			}
			out = append(out, line)
			if fi.IsDir() {
				walk(p)
			}
		}
	}
	walk(vfs.Root)
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// tried is what one use has brought.
type tried struct {
	code    int
	reply   string
	changed bool
}

// try says a use as an account, in a new tree.
func (m *matrix) try(t *testing.T, user string, c cell) tried {
	t.Helper()
	tree := furnished(t)
	m.mu.Lock()
	m.trees[user] = tree
	m.mu.Unlock()
	before := inventory(t, tree)
	k := m.greeted()
	k.t = t
	defer k.nc.Close()
	k.as(user)
	got := k.use(c)
	got.changed = inventory(t, tree) != before
	return got
}

// use says one use, with a data connection for a row that has one, and hears the
// final reply. A refusal of what is said before ends it.
func (k *talk) use(c cell) (got tried) {
	k.t.Helper()
	said := func(line string) bool {
		k.say(line)
		var err error
		if got.code, got.reply, err = k.reply(); err != nil {
			k.t.Fatalf("%s: %q, %v", line, got.reply, err)
		}
		return got.code < 400
	}
	if c.before != "" && !said(c.before) {
		return got
	}
	if c.row.also&opensData == 0 {
		said(c.line)
		return got
	}
	nc := k.pasv()
	defer nc.Close()
	if !said(c.line) {
		return got
	}
	var err error
	if c.row.also&changesTree != 0 {
		if _, err = io.WriteString(nc, "sent"); err == nil {
			err = finish(nc)
		}
	} else {
		_, err = io.Copy(io.Discard, nc)
	}
	if err == nil {
		got.code, got.reply, err = k.reply()
	}
	if err != nil {
		k.t.Fatalf("%s: %v", c.line, err)
	}
	return got
}

// forRights tells whether a reply is the refusal of who lacks a right.
func (got tried) forRights(id fault.ID) bool {
	return (got.code == 550 || got.code == 553) && strings.HasSuffix(got.reply, " ["+string(id)+"]")
}

// Every row, with every right missing: who lacks one that it takes is refused and
// changes nothing, who lacks another one hears what everybody hears.
func TestEveryRowWithEveryMissingRight(t *testing.T) {
	t.Parallel()
	all := cells(t)
	if t.Failed() {
		return
	}
	s := switchedOn()
	s.users = []account.Account{{Name: "all", Rights: account.All}, {Name: "reader", Rights: account.ReadOnly}}
	for _, r := range everyRight {
		s.users = append(s.users,
			account.Account{Name: "without " + r.String(), Rights: account.All &^ r},
			account.Account{Name: "nowhere " + r.String(), Rights: account.All, Paths: []account.PathRights{{Path: "/", Rights: account.All &^ r}}},
		)
	}
	enough := func(c cell) account.Rights {
		if c.needs == 0 || strings.HasPrefix(c.before, "REST") { // to see anything takes one, and so does an offset
			return c.needs | account.Read
		}
		return c.needs
	}
	for _, c := range all {
		name := "only " + enough(c).String()
		if !slices.ContainsFunc(s.users, func(a account.Account) bool { return a.Name == name }) {
			s.users = append(s.users, account.Account{Name: name, Rights: enough(c)})
		}
	}
	m := newMatrix(t, s)
	usual := map[string]int{}
	t.Run("who has all rights", func(t *testing.T) {
		for _, c := range all {
			got := m.try(t, "all", c)
			usual[c.name] = got.code
			if c.code == 0 && got.code/100 != 2 && got.code/100 != 3 || c.code != 0 && got.code != c.code {
				t.Errorf("%s: %s", c.name, got.reply)
			}
			// RNFR only begins, and MDTM with a time is MFMT.
			changes := c.row.also&changesTree != 0 && c.row.verb != "RNFR" || c.row.verb == "MDTM" && c.needs != 0
			if got.changed != changes {
				t.Errorf("%s: changed the tree %v; the row says %v", c.name, got.changed, changes)
			}
		}
	})
	if t.Failed() {
		return
	}
	for _, r := range everyRight {
		t.Run("who lacks "+r.String(), func(t *testing.T) {
			t.Parallel()
			for _, c := range all {
				got := m.try(t, "without "+r.String(), c)
				switch {
				case !c.needs.Has(r):
					if got.code != usual[c.name] {
						t.Errorf("%s takes no right to %s, and is refused: %s", c.name, r, got.reply)
					}
					continue
				case !got.forRights(fault.IDPerm):
					t.Errorf("%s takes the right to %s: %s", c.name, r, got.reply)
				case got.changed:
					t.Errorf("%s is refused, and has changed the tree", c.name)
				}
				if got := m.try(t, "nowhere "+r.String(), c); !got.forRights(fault.IDPerm) || got.changed {
					t.Errorf("%s takes the right to %s at its path: %s; changed %v", c.name, r, got.reply, got.changed)
				}
			}
		})
	}
	t.Run("who may only read", func(t *testing.T) {
		t.Parallel()
		for _, c := range all {
			switch got := m.try(t, "reader", c); {
			case got.changed:
				t.Errorf("%s changes the tree: %s", c.name, got.reply)
			case account.ReadOnly.Has(c.needs) && got.code != usual[c.name]:
				t.Errorf("%s only reads, and is refused: %s", c.name, got.reply)
			case !account.ReadOnly.Has(c.needs) && !got.forRights(fault.IDReadOnly):
				t.Errorf("%s is more than reading: %s", c.name, got.reply)
			}
		}
	})
	t.Run("who has no right but those", func(t *testing.T) {
		t.Parallel()
		for _, c := range all {
			if got := m.try(t, "only "+enough(c).String(), c); got.code != usual[c.name] {
				t.Errorf("%s takes %s and no other right: %s", c.name, c.needs, got.reply)
			}
		}
	})
}

// Every row before the login: nothing opens a tree.
func TestEveryRowBeforeTheLogin(t *testing.T) {
	t.Parallel()
	m := newMatrix(t, switchedOn())
	m.everyRowIsRefused(t, "", 0)
	m.everyRowIsRefused(t, "USER alice", 331)
	if n := m.opened.Load(); n > 0 {
		t.Errorf("%d trees were opened", n)
	}
}

// Every row where passwords need TLS and there is none: no login, no tree.
func TestEveryRowWithoutTLS(t *testing.T) {
	t.Parallel()
	s := switchedOn()
	s.door.Plain = false
	s.rules.TLS = serverTLS()
	m := newMatrix(t, s)
	k := m.greeted()
	for range 2 {
		hasID(t, k.do(530, "USER alice"), fault.IDTLSRequired)
		hasID(t, k.do(503, "PASS secret"), fault.IDSequence)
	}
	m.everyRowIsRefused(t, "USER alice", 530)
	if n := m.opened.Load(); n > 0 {
		t.Errorf("%d trees were opened", n)
	}
	if log := m.log.String(); strings.Contains(log, "msg=login") {
		t.Errorf("somebody is logged in:\n%s", grep(log, "msg=login"))
	}
}

// everyRowIsRefused says every use on a connection of its own, behind first, and
// without a login.
func (m *matrix) everyRowIsRefused(t *testing.T, first string, code int) {
	t.Helper()
	for _, c := range cells(t) {
		if c.row.verb == "PASS" && code == 331 {
			continue // that is the login
		}
		k := m.greeted()
		if first != "" {
			k.do(code, first)
		}
		for _, line := range []string{c.before, c.line} {
			switch {
			case line == "":
			case c.row.phase == phaseIn:
				hasID(t, k.do(530, line), fault.IDLogin)
			case c.row.phase == phaseNamed && code != 331:
				hasID(t, k.do(503, line), fault.IDSequence)
			case c.needs != 0 || line == "STAT a":
				hasID(t, k.do(530, line), fault.IDLogin)
			default:
				k.say(line)
				if code, text, err := k.reply(); err != nil || code < 200 || code >= 600 {
					t.Errorf("%s: %q, %v", line, text, err)
				}
			}
		}
		k.nc.Close()
	}
}
