//go:build linux

package serve

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/config"
	"dray/fault"
	"dray/ftpserver"
)

// An outcome is how an operation ends for an account.
type outcome byte

const (
	done      outcome = '.' // it does all of what it is for
	forbidden outcome = 'D' // [perm]
	reader    outcome = 'R' // [read-only]
	taken     outcome = 'X' // [exists]
	absent    outcome = 'N' // [not-found], as if there were nothing of the name
	empty     outcome = 'E' // nothing is shown
	less      outcome = '<' // as if less had been asked for, see operation.less
	beside    outcome = 'B' // under a name of its own, beside what is there
)

// refusals are the outcomes that are refusals, by what the client is told.
var refusals = map[fault.ID]outcome{fault.IDPerm: forbidden, fault.IDReadOnly: reader, fault.IDExists: taken, fault.IDNotFound: absent}

// An operation is one thing that can be done to a tree, by whatever name a
// protocol has for it, with an outcome for each of accounts.
type operation struct {
	outcomes string
	less     string // the operation that it becomes where its outcome is less
}

// accounts are those of the matrix: one with all rights, one for each right that it
// lacks, and two presets.
const accounts = "all list read write overwrite delete rename mkdir attributes link read-only upload-only"

// operations is the matrix. It knows no protocol: each way to do an operation, in
// each of them, has the outcomes that stand here.
func operations() map[string]operation {
	return map[string]operation{
		//                                                     all                          attributes
		//                                                     |  list                      |  link
		//                                                     |  |  read                   |  |   read-only
		//                                                     |  |  |  write             |  |   |  upload-only
		//                                                     |  |  |  |  overwrite      |  |   |  |
		//                                                     |  |  |  |  |  delete      |  |   |  |
		//                                                     |  |  |  |  |  |  rename   |  |   |  |
		//                                                     |  |  |  |  |  |  |  mkdir |  |   |  |
		"look at a file":                          {outcomes: ".  .  .  .  .  .  .  .  .  .   .  D"},
		"look at a directory":                     {outcomes: ".  .  .  .  .  .  .  .  .  .   .  E"}, // that it is one, and no more
		"look at a link":                          {outcomes: ".  .  .  .  .  .  .  .  .  .   .  D"},
		"see where a link leads":                  {outcomes: ".  .  .  .  .  .  .  .  .  .   .  D"},
		"enter a directory":                       {outcomes: ".  .  .  .  .  .  .  .  .  .   .  ."},
		"list a directory":                        {outcomes: ".  D  .  .  .  .  .  .  .  .   .  E"},
		"ask how much room there is":              {outcomes: ".  D  .  .  .  .  .  .  .  .   .  D"},
		"add up what is in a directory":           {outcomes: ".  D  .  .  .  .  .  .  .  .   .  D"},
		"download":                                {outcomes: ".  .  D  .  .  .  .  .  .  .   .  D"},
		"download what fits a pattern":            {outcomes: ".  N  D  .  .  .  .  .  .  .   .  N"}, // what can't be listed has nothing that fits, as in a shell
		"download a directory":                    {outcomes: ".  D  D  .  .  .  .  .  .  .   .  E"},
		"ask for a checksum":                      {outcomes: ".  .  D  .  .  .  .  .  .  .   .  D"},
		"upload a new file":                       {outcomes: ".  .  .  D  .  .  .  .  .  .   R  ."},
		"upload a new file with a mode":           {outcomes: ".  .  .  D  .  .  .  .  <  .   R  <", less: "upload a new file"},
		"upload a new file with a mode and times": {outcomes: ".  .  .  D  .  .  .  .  <  .   R  <", less: "upload a new file"},
		"upload under a name of its own":          {outcomes: "B  B  B  D  B  B  B  B  B  B   R  B"},
		"upload to a name that must be new":       {outcomes: "X  X  X  D  X  X  X  X  X  X   R  B"},
		"replace a file":                          {outcomes: ".  .  .  .  D  .  .  .  .  .   R  B"}, // whose mode stays, whatever is asked for
		"replace a file that must be there":       {outcomes: ".  .  .  .  D  .  .  .  .  .   R  D"},
		"replace a file with a mode and times":    {outcomes: ".  .  .  .  D  .  .  .  <  .   R  B", less: "replace a file"},
		"replace the end of a file":               {outcomes: ".  .  .  .  D  .  .  .  .  .   R  D"},
		"append to a file":                        {outcomes: ".  .  .  .  D  .  .  .  .  .   R  B"},
		"cut a file":                              {outcomes: ".  .  .  .  D  .  .  .  .  .   R  D"},
		"make a directory":                        {outcomes: ".  .  .  .  .  .  .  D  .  .   R  ."},
		"make a directory with a mode":            {outcomes: ".  .  .  .  .  .  .  D  <  .   R  <", less: "make a directory"},
		"make a directory where something is":     {outcomes: "X  X  X  X  X  X  X  D  X  X   R  X"},
		"make a directory and one in it":          {outcomes: ".  .  .  .  .  .  .  D  .  .   R  ."},
		"remove a file":                           {outcomes: ".  .  .  .  .  D  .  .  .  .   R  D"},
		"remove a link":                           {outcomes: ".  .  .  .  .  D  .  .  .  .   R  D"},
		"remove a directory":                      {outcomes: ".  .  .  .  .  D  .  .  .  .   R  D"},
		"remove a directory with all in it":       {outcomes: ".  D  .  .  .  D  .  .  .  .   R  D"},
		"ask what can be renamed":                 {outcomes: ".  .  .  .  .  .  D  .  .  .   R  D"},
		"rename":                                  {outcomes: ".  .  .  .  .  .  D  .  .  .   R  D"},
		"rename a directory":                      {outcomes: ".  .  .  .  .  .  D  .  .  .   R  D"},
		"rename over a file":                      {outcomes: ".  .  .  .  D  .  D  .  .  .   R  D"},
		"rename over an empty directory":          {outcomes: ".  .  .  .  D  .  D  .  .  .   R  D"},
		"rename to a name that must be new":       {outcomes: "X  X  X  X  X  X  D  X  X  X   R  D"},
		"set a time":                              {outcomes: ".  .  .  .  .  .  .  .  D  .   R  D"},
		"set the time of an open file":            {outcomes: ".  .  D  .  .  .  .  .  D  .   R  D"},
		"set the time of a link":                  {outcomes: ".  .  .  .  .  .  .  .  D  .   R  D"},
		"set a mode":                              {outcomes: ".  .  .  .  .  .  .  .  D  .   R  D"},
		"set the mode of a directory":             {outcomes: ".  .  .  .  .  .  .  .  D  .   R  D"},
		"set modes of what comes":                 {outcomes: ".  .  .  .  .  .  .  .  D  .   R  D"},
		"make a link":                             {outcomes: ".  .  .  .  .  .  .  .  .  D   R  D"},
		"make a link where something is":          {outcomes: "X  X  X  X  X  X  X  X  X  D   R  D"},
		"give a file another name":                {outcomes: ".  .  D  .  .  .  .  .  .  D   R  D"},
		"give a file a name that is taken":        {outcomes: "X  X  D  X  X  X  X  X  X  D   R  D"},
		"ask what can be copied":                  {outcomes: ".  .  D  .  .  .  .  .  .  .   .  D"},
		"copy a file":                             {outcomes: ".  .  D  D  .  .  .  .  .  .   R  D"},
		"copy over a file":                        {outcomes: ".  .  D  .  D  .  .  .  .  .   R  D"},
		"copy a directory":                        {outcomes: ".  D  D  D  .  .  .  D  .  .   R  D"},
		"make a file of others":                   {outcomes: ".  .  D  D  .  D  .  .  .  .   R  D"},
		"put others behind a file":                {outcomes: ".  .  D  .  D  D  .  .  .  .   R  D"},
	}
}

// of is the outcome for an account.
func (o operation) of(who string) outcome {
	i := slices.Index(strings.Fields(accounts), who)
	return outcome(strings.Fields(o.outcomes)[i][0])
}

// takes are the rights that make a difference to the operation.
func (o operation) takes() (r account.Rights) {
	for _, right := range rights() {
		if o.of(right.String()) != o.of("all") {
			r |= right
		}
	}
	return r
}

// rights are all that there are, one by one.
func rights() (all []account.Rights) {
	for r := account.Rights(1); r != 0; r <<= 1 {
		if r.String() != "" {
			all = append(all, r)
		}
	}
	return all
}

// whole fails the test unless each operation has one outcome for each account and a
// way to do it, and each right an account that lacks it.
func whole(t *testing.T, all []way) {
	t.Helper()
	columns, words, table := strings.Fields(accounts), []string{"all"}, operations()
	for _, r := range rights() {
		words = append(words, r.String())
	}
	if words = append(words, "read-only", "upload-only"); !slices.Equal(columns, words) {
		t.Fatalf("the matrix is for %q, and there are %q", columns, words)
	}
	for name, o := range table {
		fields := strings.Fields(o.outcomes)
		if len(fields) != len(columns) {
			t.Errorf("%q has %d outcomes; there are %d accounts", name, len(fields), len(columns))
		}
		for _, f := range fields {
			if len(f) != 1 || !strings.Contains(".DRXNE<B", f) {
				t.Errorf("%q has an outcome %q", name, f)
			}
		}
		if _, ok := table[o.less]; ok != strings.Contains(o.outcomes, "<") {
			t.Errorf("%q becomes %q", name, o.less)
		}
		if !slices.ContainsFunc(all, func(w way) bool { return w.operation == name }) {
			t.Errorf("there is no way to %s", name)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// aDay is when all of furnished was changed.
var aDay = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

// furnish gives a directory what the ways are about, and takes all else away.
func furnish(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	err = errors.Join(err, os.Mkdir(at("dir"), 0o755), os.Mkdir(at("empty"), 0o755), os.Symlink("file", at("link")))
	for name, b := range map[string]string{"file": content, "other": "678", "dir/inner": "abc"} {
		err = errors.Join(err, os.WriteFile(at(name), []byte(b), 0o644), os.Chmod(at(name), 0o644), os.Chtimes(at(name), aDay, aDay))
	}
	for _, name := range []string{"dir", "empty", "."} {
		err = errors.Join(err, os.Chmod(at(name), 0o755), os.Chtimes(at(name), aDay, aDay))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// inventory is all that is in a directory, and its own time: what is hidden too, and
// where links lead.
func inventory(t *testing.T, dir string) (lines []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		what := ""
		switch {
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			what = strconv.Quote(string(b))
		case fi.Mode()&fs.ModeSymlink != 0:
			if what, err = os.Readlink(name); err != nil {
				return err
			}
		}
		lines = append(lines, fmt.Sprintf("%s %v %s %s", rel, fi.Mode(), what, fi.ModTime().UTC().Format(time.RFC3339Nano)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

var (
	today   = regexp.MustCompile(` 20(2[1-9]|[3-9]\d)-[-0-9T:.]+Z`)
	dirTime = regexp.MustCompile(`(?m)( d[-rwx]+) .*$`)
)

// shape is an inventory in which whatever is new has the same time. Directories have
// none: whether a file is changed where it is or replaced is the protocol's affair.
func shape(lines []string) string {
	return today.ReplaceAllString(dirTime.ReplaceAllString(strings.Join(lines, "\n"), "$1"), " now")
}

// A house is an account with its directory, and what was seen there.
type house struct {
	t        *testing.T
	who, dir string
	peer     *peer
	clean    []string // inventory of what furnish has made
	shapes   map[string]string
}

func (h *house) furnish() {
	h.t.Helper()
	furnish(h.t, h.dir)
	h.clean = inventory(h.t, h.dir)
}

// live does a way and holds it against an outcome.
func (h *house) live(w way, o operation, want outcome) {
	h.t.Helper()
	heard := w.do(h.peer)
	after := inventory(h.t, h.dir)
	changed := !slices.Equal(after, h.clean)
	failed := func(format string, args ...any) {
		h.t.Helper()
		h.t.Errorf("%s for %s is to %s, whose outcome is %c: %s\nit heard %q", w.name, h.who, w.operation, want, fmt.Sprintf(format, args...), heard.got)
	}
	told := w.tells != "" && strings.Contains(heard.got, w.tells)
	left := h.shapes[w.operation]
	if want == less {
		left = h.shapes[o.less]
	}
	switch want {
	case done, less:
		switch {
		case heard.id != "":
			failed("it is refused")
		case shape(after) != left:
			failed("it has left\n%s\nand not\n%s", shape(after), left)
		case w.tells != "" && !told:
			failed("it does not tell %q", w.tells)
		}
	case empty:
		if heard.id != "" || told || changed {
			failed("it tells %q: %v; it has changed the tree: %v", w.tells, told, changed)
		}
	case beside:
		if heard.id != "" || !isBeside(h.clean, after) {
			failed("it has left\n%s\nof\n%s", strings.Join(after, "\n"), strings.Join(h.clean, "\n"))
		}
	default:
		switch {
		case refusals[heard.id] != want:
			failed("it is %q", heard.id)
		case changed:
			failed("it has left\n%s\nof\n%s", strings.Join(after, "\n"), strings.Join(h.clean, "\n"))
		case told:
			failed("it tells %q", w.tells)
		}
	}
	if changed && !w.changes && !slices.Contains(changing, w.row) {
		failed("its row does not say that it changes the tree")
	}
	if changed {
		h.furnish()
	}
}

// liveBlind does a way twice, the second time where nothing is. The answers are the same:
// but for the time that an upload took, and the names that STOU makes up.
func (h *house) liveBlind(w way) {
	h.t.Helper()
	there := w.do(h.peer)
	h.furnish()
	for _, name := range []string{"dir", "empty", "file", "link", "other"} {
		if err := os.RemoveAll(filepath.Join(h.dir, name)); err != nil {
			h.t.Fatal(err)
		}
	}
	gone := w.do(h.peer)
	h.furnish()
	plain := func(s string) string { return madeUp.ReplaceAllString(s, "$1") }
	if there.id != gone.id || plain(there.got) != plain(gone.got) {
		h.t.Errorf("%s tells whether something is there: it hears %q, and %q where nothing is", w.name, there.got, gone.got)
	}
}

var madeUp = regexp.MustCompile(`(?m)(FILE: |bytes in ).*$`)

// announcing are operations that take rights to a change, and leave it to another one.
var announcing = []string{"ask what can be renamed", "set modes of what comes"}

// changing are rows that change the tree or not, as they are said: their handlers ask.
var changing = []string{"MDTM", "OPEN"}

// isBeside tells whether one file with what was sent has come, and nothing else has
// happened but to the time of its directory.
func isBeside(before, after []string) bool {
	var more []string
	for _, line := range after {
		if !slices.Contains(before, line) {
			more = append(more, line)
		}
	}
	return len(after) == len(before)+1 && len(more) == 2 && strings.HasPrefix(more[0], ". ") && strings.Contains(more[1], strconv.Quote(sent))
}

// hostKey is a file with a key that is quickly made.
func hostKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	var block *pem.Block
	if err == nil {
		block, err = ssh.MarshalPrivateKey(key, "")
	}
	file := filepath.Join(t.TempDir(), "key")
	if err == nil {
		err = os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// switchedOn serves all protocols with all commands.
func switchedOn(t *testing.T, c *config.Config) {
	t.Helper()
	c.SSH.HostKeys, c.SSH.SCP = []string{hostKey(t)}, true
	for i := range c.Listeners {
		c.Listeners[i].Plain, c.Listeners[i].ClearData = true, true
	}
	commands, site := ftpserver.Reference()
	for _, row := range slices.Concat(commands, site) {
		if row.By != "" && !slices.Contains(c.Commands.Allow, row.By) {
			c.Commands.Allow = append(c.Commands.Allow, row.By)
		}
	}
}

// cheapHash is that of password, of a form that takes no time.
const cheapHash = "$1$dray$mtpJP1njpby9SH/CCXwFy/"

// moveIn logs in by every protocol.
func moveIn(t *testing.T, r *Running, user, who, dir string, shapes map[string]string) *house {
	t.Helper()
	h := &house{t: t, who: who, dir: dir, shapes: shapes}
	h.peer = &peer{ftp: dial(t, r.Card.FTP[0]), ftps: in(t, r, user), sftp: overSSH(t, r, user)}
	h.peer.ftp.want("220")
	h.peer.ftp.login(user, password)
	h.peer.ftp.say("TYPE I", "200")
	h.peer.ftps.say("TYPE I", "200")
	h.peer.ftps.say("PROT C", "200")
	h.furnish()
	return h
}

// Every operation in every protocol, with every right missing, for who may only read,
// for who may only upload, and for who has no right but those that it takes.
func TestEveryOperationWithEveryMissingRight(t *testing.T) {
	all, table := ways(t), operations()
	c := site(t)
	c.Listeners = append(c.Listeners, config.DefaultListeners()[2])
	c.Listeners[2].Listen = []string{"127.0.0.1:0"}
	switchedOn(t, &c)
	var people []account.Account
	live := map[string]func(h *house){}
	join := func(a account.Account, f func(h *house)) {
		if live[a.Name] == nil {
			people = append(people, a)
			live[a.Name] = f
		}
	}
	for _, who := range strings.Fields(accounts)[1:] {
		r, err := account.ParseRights(who)
		if err != nil {
			t.Fatal(err)
		}
		name := who
		if slices.Contains(rights(), r) {
			name, r = "without "+who, account.All&^r
			// The same by path: what the account may do elsewhere counts nothing.
			join(account.Account{Name: name + " here", Rights: account.All, Paths: []account.PathRights{{Path: "/", Rights: r}}}, func(h *house) {
				for _, w := range all {
					// Where rights differ from path to path no link is followed.
					if o := table[w.operation]; o.of(who) != o.of("all") && !strings.Contains(w.name, "link") {
						h.live(w, o, o.of(who))
					}
				}
			})
		}
		join(account.Account{Name: name, Rights: r}, func(h *house) {
			for _, w := range all {
				h.live(w, table[w.operation], table[w.operation].of(who))
			}
		})
	}
	join(account.Account{Name: "blind", Rights: account.UploadOnly}, func(h *house) {
		for _, w := range all {
			o := table[w.operation].of("upload-only")
			if strings.Contains(w.operation, "directory") { // that it is one may be told
				continue
			}
			if o == forbidden || o == absent || o == beside {
				h.liveBlind(w)
			}
		}
	})
	for _, o := range table {
		r := enough(o)
		join(account.Account{Name: "only " + r.String(), Rights: r}, func(h *house) {
			for _, w := range all {
				if o := table[w.operation]; enough(o) == r {
					h.live(w, o, o.of("all"))
				}
			}
		})
	}
	people = append(people, account.Account{Name: "all", Rights: account.All})
	for i := range people {
		people[i].Hash = cheapHash
	}
	add(t, c, people...)
	r, _, _ := run(t, Setup{Config: c})
	if err := os.MkdirAll(homeOf(c, "all"), 0o755); err != nil {
		t.Fatal(err)
	}
	shapes := map[string]string{}
	if !t.Run("all", func(t *testing.T) {
		h := moveIn(t, r, "all", "who has all rights", homeOf(c, "all"), shapes)
		for _, w := range all { // the first way shows what the others have to leave, too
			o := table[w.operation]
			if _, ok := shapes[w.operation]; !ok && o.of("all") == done {
				w.do(h.peer)
				shapes[w.operation] = shape(inventory(t, h.dir))
				h.furnish()
			}
			h.live(w, o, o.of("all"))
			if quiet := o.of("read-only") == done || slices.Contains(announcing, w.operation); o.of("all") == done && quiet != (shapes[w.operation] == shape(h.clean)) {
				t.Errorf("to %s leaves\n%s", w.operation, shapes[w.operation])
			}
		}
	}) {
		return
	}
	for name, o := range table {
		if o.less != "" && shapes[name] == shapes[o.less] {
			t.Errorf("to %s leaves what to %s leaves", name, o.less)
		}
	}
	for _, row := range all {
		if o := table[row.operation]; row.changes && o.of("read-only") == done {
			t.Errorf("%s changes the tree, and a reader may %s", row.row, row.operation)
		}
	}
	t.Run("others", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(live)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				live[name](moveIn(t, r, name, "who is "+name, homeOf(c, name), shapes))
			})
		}
	})
}

// enough are the rights that an operation takes, with one to see anything: what others
// do who see nothing is another matter.
func enough(o operation) account.Rights {
	r := o.takes()
	if r&account.ReadOnly == 0 {
		r |= account.Read
	}
	return r
}

// With --read-only nobody changes anything, by any protocol.
func TestEveryOperationOfAReadOnlyServer(t *testing.T) {
	q := onLoopback(t)
	q.ReadOnly, q.SFTP = true, "127.0.0.1:0"
	s := Quick(q)
	switchedOn(t, &s.Config)
	r, _, _ := run(t, s)
	shapes := map[string]string{}
	h := moveIn(t, r, q.User, "whoever uses a read-only server", q.Dir, shapes)
	table := operations()
	for _, w := range ways(t) {
		shapes[w.operation] = shape(h.clean)
		h.live(w, table[w.operation], table[w.operation].of("read-only"))
	}
}
