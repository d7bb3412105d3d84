package explain

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"dray/fault"
)

// faultIDs reads the constants of type ID from the source of package fault.
func faultIDs(t *testing.T) []fault.ID {
	t.Helper()
	files, err := filepath.Glob("../fault/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var ids []fault.ID
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			gd, ok := d.(*ast.GenDecl)
			if !ok || gd.Tok != token.CONST {
				continue
			}
			for _, spec := range gd.Specs {
				vs := spec.(*ast.ValueSpec)
				if id, ok := vs.Type.(*ast.Ident); !ok || id.Name != "ID" {
					continue
				}
				for i, v := range vs.Values {
					lit, ok := v.(*ast.BasicLit)
					if !ok || lit.Kind != token.STRING {
						t.Fatalf("%s is not a string literal", vs.Names[i].Name)
					}
					s, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, fault.ID(s))
				}
			}
		}
	}
	if len(ids) == 0 {
		t.Fatal("no constants of type ID in package fault")
	}
	return ids
}

func TestEachIDHasExactlyOneEntry(t *testing.T) {
	ids := faultIDs(t)
	entries := map[fault.ID]int{}
	for _, e := range All() {
		entries[e.ID]++
		if !slices.Contains(ids, e.ID) {
			t.Errorf("%q has an entry and is no constant of package fault", e.ID)
		}
	}
	for _, id := range ids {
		if n := entries[id]; n != 1 {
			t.Errorf("%q has %d entries; want 1", id, n)
		}
		if e, ok := For(id); !ok || e.ID != id {
			t.Errorf("For(%q) = %q, %v", id, e.ID, ok)
		}
	}
	if _, ok := For("no-such-id"); ok {
		t.Error("For finds an id that does not exist")
	}
}

func TestVerbsMatchTheFacts(t *testing.T) {
	for _, e := range All() {
		if n := strings.Count(e.Peer, "%v"); n != len(e.Facts) || n != strings.Count(e.Peer, "%") {
			t.Errorf("%s: %d verbs for %d facts %q: %q", e.ID, n, len(e.Facts), e.Facts, e.Peer)
		}
		if (e.bare != "") != (len(e.Facts) > 0) {
			t.Errorf("%s: a sentence without facts is there exactly when there are facts; %d facts, %q", e.ID, len(e.Facts), e.bare)
		}
		if strings.Contains(e.bare, "%") {
			t.Errorf("%s: verbs in the sentence without facts: %q", e.ID, e.bare)
		}
		for _, f := range e.Facts {
			if f == "" {
				t.Errorf("%s: a fact without a name", e.ID)
			}
		}
	}
}

// of tells whether an id is one of a list of entries.
func of(list []Entry, id fault.ID) bool {
	return slices.ContainsFunc(list, func(e Entry) bool { return e.ID == id })
}

// toldAs is the id that a server's sentence about e ends with.
func toldAs(e Entry) fault.ID {
	if e.Peer == "" {
		return fault.IDInternal
	}
	return e.ID
}

func TestEachLineOfAClientHasAnEntry(t *testing.T) {
	for id := range here {
		if e, ok := For(id); !ok || e.Here == "" {
			t.Errorf("%s: a line without an entry: %+v", id, e)
		}
	}
}

func TestVerbsOfALineMatchItsFacts(t *testing.T) {
	for _, e := range All() {
		if n := strings.Count(e.Here, "%v"); n != len(e.HereFacts) || n != strings.Count(e.Here, "%") {
			t.Errorf("%s: %d verbs for %d facts %q: %q", e.ID, n, len(e.HereFacts), e.HereFacts, e.Here)
		}
		if (e.hereBare != "") != (len(e.HereFacts) > 0) {
			t.Errorf("%s: a line without facts is there exactly when there are facts; %d facts, %q", e.ID, len(e.HereFacts), e.hereBare)
		}
		if strings.Contains(e.hereBare, "%") {
			t.Errorf("%s: verbs in the line without facts: %q", e.ID, e.hereBare)
		}
		if slices.Contains(e.HereFacts, "") {
			t.Errorf("%s: a fact without a name", e.ID)
		}
	}
}

func TestLinesOfClientsAreShortASCIIAndBeginSmall(t *testing.T) {
	const limit = 200
	for _, e := range All() {
		for _, s := range []string{e.Here, e.hereBare} {
			if s == "" {
				continue
			}
			if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
				t.Errorf("%s: a character outside of printable ASCII at %d: %q", e.ID, i, s)
			}
			if first := s[0]; !strings.HasPrefix(s, "%v") && (first < 'a' || first > 'z') {
				t.Errorf("%s: no small letter at the beginning: %q", e.ID, s)
			}
			if strings.HasSuffix(s, ".") || strings.TrimSpace(s) != s || len(s) > limit {
				t.Errorf("%s: a full stop, blanks around, or more than %d bytes: %q", e.ID, limit, s)
			}
			if strings.Contains(s, "["+string(e.ID)+"]") {
				t.Errorf("%s: the id stands in the line: %q", e.ID, s)
			}
		}
	}
}

func TestPeerSentencesAreOneShortASCIILine(t *testing.T) {
	const limit = 220
	for _, e := range All() {
		for _, s := range []string{e.Peer, e.bare} {
			if s == "" && (s == e.bare || !of(servers, e.ID)) {
				continue
			}
			if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
				t.Errorf("%s: a character outside of printable ASCII at %d: %q", e.ID, i, s)
			}
			if !strings.HasSuffix(s, ".") {
				t.Errorf("%s: no full stop: %q", e.ID, s)
			}
			if len(s) > limit {
				t.Errorf("%s: %d bytes, at most %d: %q", e.ID, len(s), limit, s)
			}
			if strings.Contains(s, "["+string(e.ID)+"]") || strings.TrimSpace(s) != s {
				t.Errorf("%s: the id, or blanks around: %q", e.ID, s)
			}
		}
	}
}

func TestEachEntrySaysWhatItMeansAndWhoCanFixIt(t *testing.T) {
	for _, e := range All() {
		if e.Means == "" || e.Confirm == "" {
			t.Errorf("%s: an empty text: %+v", e.ID, e)
		}
		if (e.Peer == "") == of(servers, e.ID) || (e.Operator == "") != of(clients, e.ID) {
			t.Errorf("%s: a server says what is not for it to say, or not what it has to say: %+v", e.ID, e)
		}
		if e.Here == "" && of(clients, e.ID) {
			t.Errorf("%s: no client says it", e.ID)
		}
		if len(e.Dialects) == 0 && of(elsewhere, e.ID) {
			t.Errorf("%s: no words of other programs", e.ID)
		}
		if e.You == "" && e.Admin == "" {
			t.Errorf("%s: nobody can do anything", e.ID)
		}
	}
}

// texts is everything that an entry says.
func (en Entry) texts() []string {
	return slices.Concat([]string{en.Peer, en.bare, en.Means, en.Operator, en.Confirm, en.You, en.Admin}, en.Facts, en.Dialects)
}

// What is typed stands between backquotes; that commands and options of the
// program in it exist is a test of package cli, which has them.
func TestBackquotesStandInPairs(t *testing.T) {
	for _, e := range All() {
		for _, s := range e.texts() {
			if strings.Count(s, "`")%2 != 0 {
				t.Errorf("%s: a backquote without its partner: %q", e.ID, s)
			}
		}
		if strings.Contains(e.bare, "`") || strings.Contains(e.bare, "--") {
			t.Errorf("%s: something to type in the sentence without facts: %q", e.ID, e.bare)
		}
	}
}

func TestSentence(t *testing.T) {
	const notFound = "No such file or directory. Check the name; upper and lower case count."
	long := "/" + strings.Repeat("a", 3000) + "/" + strings.Repeat("é", 500) + "/end"
	tests := []struct {
		name string
		in   *fault.Error
		want string
	}{
		{"the facts are filled in and the id stands at the end",
			fault.New(fault.NoData, fault.IDDataBlocked, "198.51.100.7:41007", 20),
			"Nobody connected to 198.51.100.7:41007, which this server offered, within 20 s: a firewall or NAT is in the way. Try active mode, or ask the administrator to open the passive range. [data-blocked]"},
		{"a sentence without facts",
			fault.New(fault.NotLoggedIn, fault.IDLogin),
			"Please log in first, with USER and PASS. [login-first]"},
		{"quota names both figures",
			fault.New(fault.OverQuota, fault.IDQuota, "9.8", "10 GB"),
			"Quota exceeded: 9.8 of 10 GB used. Delete what is no longer needed, or ask the administrator for more. [quota]"},
		{"the families of RFC 2428 stand in parentheses",
			fault.New(fault.WrongFamily, fault.IDFamily, "1,2"),
			"Network protocol not supported, use (1,2): 1 is IPv4, 2 is IPv6. [wrong-family]"},
		{"a missing fact leaves a sentence that does without",
			fault.New(fault.NotFound, fault.IDNotFound),
			notFound + " [not-found]"},
		{"one of two facts is not enough",
			fault.New(fault.OverQuota, fault.IDQuota, "9.8"),
			"Quota exceeded. Delete what is no longer needed, or ask the administrator for more. [quota]"},
		{"an empty fact is a missing one",
			fault.New(fault.BadName, fault.IDBadName, " "),
			"This name is not allowed. Choose another. [bad-name]"},
		{"a nil fact is a missing one",
			fault.New(fault.BadName, fault.IDBadName, nil),
			"This name is not allowed. Choose another. [bad-name]"},
		{"an error with only a kind reads well",
			fault.Of(&fs.PathError{Op: "openat", Path: "/srv/real/path", Err: fs.ErrNotExist}),
			notFound + " [not-found]"},
		{"surplus facts are dropped",
			fault.New(fault.NotFound, fault.IDNotFound, "/a", "/b", 7),
			"/a: " + notFound + " [not-found]"},
		{"surplus facts where none is needed are dropped",
			fault.New(fault.NotLoggedIn, fault.IDLogin, "x"),
			"Please log in first, with USER and PASS. [login-first]"},
		{"the text of an error never reaches the peer",
			fault.New(fault.NoData, fault.IDTLSData, errors.New("open /srv/real/path")),
			"The TLS handshake on the data connection failed. Check that your program encrypts data connections (PROT P) with TLS 1.2 or 1.3. [tls-data]"},
		{"the cause never reaches the peer",
			fault.Because(errors.New("open /srv/real/path"), fault.NotFound, fault.IDNotFound, "/a"),
			"/a: " + notFound + " [not-found]"},
		{"an unknown id is told as internal",
			fault.New(fault.Denied, "no-such-id", "x"),
			"The server failed at this and logged why. Try again; if it fails again, tell the administrator the time and what you did. [internal]"},
		{"no error at all is told as internal",
			nil,
			"The server failed at this and logged why. Try again; if it fails again, tell the administrator the time and what you did. [internal]"},
		{"line ends and control characters in a fact are replaced",
			fault.New(fault.NotFound, fault.IDNotFound, "/a\r\n220 b\x00\x1b[2J\u0085\u2028\u202e"),
			"/a??220 b??[2J???: " + notFound + " [not-found]"},
		{"a byte that is not UTF-8 is replaced, letters beyond ASCII are kept",
			fault.New(fault.NotFound, fault.IDNotFound, "/z\xfcrich/Zürich"),
			"/z?rich/Zürich: " + notFound + " [not-found]"},
		{"verbs in a fact stay what they are",
			fault.New(fault.NotFound, fault.IDNotFound, "/100%d%!v"),
			"/100%d%!v: " + notFound + " [not-found]"},
		{"a long fact loses its middle",
			fault.New(fault.NotFound, fault.IDNotFound, long),
			"/" + strings.Repeat("a", 253) + "..." + strings.Repeat("é", 125) + "/end: " + notFound + " [not-found]"},
		{"a fact that hides itself stays hidden",
			fault.New(fault.NotFound, fault.IDNotFound, hidden{}),
			"[hidden]: " + notFound + " [not-found]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Sentence(tt.in); got != tt.want {
				t.Errorf("Sentence(%+v)\n got %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestFactsForTheLog(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   *fault.Error
		want string
	}{
		{"each has its name", fault.New(fault.OverQuota, fault.IDQuota, "9.8 MiB", "10 MiB"), "used: 9.8 MiB, limit: 10 MiB"},
		{"no facts", fault.New(fault.NotLoggedIn, fault.IDLogin), ""},
		{"fewer than there are names", fault.New(fault.OverQuota, fault.IDQuota, "9.8 MiB"), "used: 9.8 MiB"},
		{"an empty one is left out", fault.New(fault.OverQuota, fault.IDQuota, "", 7), "limit: 7"},
		{"surplus ones are dropped", fault.New(fault.NotFound, fault.IDNotFound, "/a", "/b"), "path: /a"},
		{"an id that is none", fault.New(fault.Denied, "no-such-id", "x"), ""},
		{"line ends are replaced", fault.New(fault.NotFound, fault.IDNotFound, "/a\r\nlevel=ERROR"), "path: /a??level=ERROR"},
		{"the text of an error is none", fault.New(fault.NoData, fault.IDTLSData, errors.New("open /srv/real/path")), ""},
		{"what hides itself stays hidden", fault.New(fault.NotFound, fault.IDNotFound, hidden{}), "path: [hidden]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Facts(tt.in); got != tt.want {
				t.Errorf("Facts(%+v) = %q; want %q", tt.in, got, tt.want)
			}
		})
	}
}

// hidden formats itself, as secrets do.
type hidden struct{}

func (hidden) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[hidden]")) }

func TestLine(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   *fault.Error
		want string
	}{
		{"facts are filled in", fault.New(fault.NotLoggedIn, fault.IDAuth, "ftp.example.net", "alice"), `ftp.example.net rejected the login for "alice"`},
		{"a fact too few", fault.New(fault.NotLoggedIn, fault.IDAuth, "ftp.example.net"), "the server rejected the login"},
		{"an empty fact", fault.New(fault.NotLoggedIn, fault.IDAuth, "", "alice"), "the server rejected the login"},
		{"surplus facts are dropped", fault.New(fault.Canceled, fault.IDInterrupted, "x"), "interrupted"},
		{"a number", fault.New(fault.Unreachable, fault.IDRefused, "h", 21), "h answers, but nothing listens on port 21"},
		{"the cause is not shown", fault.Because(errors.New("secret"), fault.NotFound, fault.IDNotFound, "/a"), "/a: no such file or directory"},
		{"what a server wrote is cleaned", fault.New(fault.NotFound, fault.IDNotFound, "/a\x1b[2J\r\n\u202e\xff"), "/a?[2J????: no such file or directory"},
		{"verbs in a fact stay what they are", fault.New(fault.NotFound, fault.IDNotFound, "100%d"), "100%d: no such file or directory"},
		{"what no program of ours says", fault.New(fault.Internal, fault.IDWritableRoot), "vsftpd locks users into their home directory and refuses to do so when they can write to the home itself, since version 2.3.5"},
		{"what no client should meet", fault.New(fault.Busy, fault.IDTries, "x"), "Too many failed logins on this connection. Check the name and the password, then connect again"},
		{"an id that is none", fault.New(fault.Denied, "no-such-id\n", "x"), "something went wrong that has no name (no-such-id?)"},
		{"no error at all", nil, "nothing is wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Line(tt.in); got != tt.want {
				t.Errorf("Line(%+v)\n got %q\nwant %q", tt.in, got, tt.want)
			}
		})
	}
}

// Whatever the number of facts, no trace of an unfilled verb is left.
func TestLineReadsWellWithAnyNumberOfFacts(t *testing.T) {
	for _, e := range All() {
		for n := range len(e.HereFacts) + 3 {
			facts := make([]any, n)
			for i := range facts {
				facts[i] = "fact" + strconv.Itoa(i)
			}
			s := Line(fault.New(fault.Internal, e.ID, facts...))
			if s == "" || strings.HasSuffix(s, ".") || strings.Contains(s, "%") || strings.Contains(s, "EXTRA") || strings.Contains(s, "fact"+strconv.Itoa(len(e.HereFacts))) {
				t.Errorf("%s with %d facts: %q", e.ID, n, s)
			}
			if n >= len(e.HereFacts) {
				for i := range e.HereFacts {
					if !strings.Contains(s, "fact"+strconv.Itoa(i)) {
						t.Errorf("%s with %d facts lacks fact %d: %q", e.ID, n, i, s)
					}
				}
			}
		}
	}
}

// A server says nothing of what only a client meets, or another program.
func TestSentenceOfWhatNoServerSaysIsThatOfInternal(t *testing.T) {
	for _, e := range slices.Concat(clients, elsewhere) {
		if s := Sentence(fault.New(fault.Internal, e.ID, "x")); !strings.HasPrefix(s, "The server failed at this") {
			t.Errorf("%s: %q", e.ID, s)
		}
	}
}

// Whatever the number of facts, no trace of an unfilled verb is left.
func TestSentenceReadsWellWithAnyNumberOfFacts(t *testing.T) {
	for _, e := range All() {
		for n := range len(e.Facts) + 3 {
			facts := make([]any, n)
			for i := range facts {
				facts[i] = "fact" + strconv.Itoa(i)
			}
			s := Sentence(fault.New(fault.Internal, e.ID, facts...))
			if strings.Contains(s, "%") || strings.Contains(s, "EXTRA") || strings.Contains(s, "fact"+strconv.Itoa(len(e.Facts))) {
				t.Errorf("%s with %d facts: %q", e.ID, n, s)
			}
			if !strings.HasSuffix(s, ". ["+string(toldAs(e))+"]") {
				t.Errorf("%s with %d facts does not end in a full stop and the id: %q", e.ID, n, s)
			}
			if n >= len(e.Facts) {
				for i := range e.Facts {
					if !strings.Contains(s, "fact"+strconv.Itoa(i)) {
						t.Errorf("%s with %d facts lacks fact %d: %q", e.ID, n, i, s)
					}
				}
			}
		}
	}
}

func TestAllIsACopyOfTheTable(t *testing.T) {
	All()[0].Peer = "changed"
	if e := All()[0]; e.Peer == "changed" {
		t.Error("a change to what All returned changed the table")
	}
}

// A sentence, and a line of a client, stays one line of bounded length, whatever a fact holds.
func FuzzSentence(f *testing.F) {
	f.Add(0, "/a\r\n220 b", "x")
	f.Add(7, "\xff\xfe", strings.Repeat("ü", 400))
	f.Add(50, "", "%!v(MISSING)")
	f.Fuzz(func(t *testing.T, n int, a, b string) {
		all := All()
		e := all[int(uint(n)%uint(len(all)))]
		s := Sentence(fault.New(fault.Internal, e.ID, a, b, a))
		if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			t.Errorf("%s: not one clean line: %q", e.ID, s)
		}
		if !strings.HasSuffix(s, ". ["+string(toldAs(e))+"]") {
			t.Errorf("%s: does not end in the id: %q", e.ID, s)
		}
		if most := 220 + len(e.Facts)*maxFact + len(toldAs(e)) + 3; len(s) > most {
			t.Errorf("%s: %d bytes; at most %d", e.ID, len(s), most)
		}
		line := Line(fault.New(fault.Internal, e.ID, a, b, a, b))
		if !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl) || line == "" {
			t.Errorf("%s: not one clean line: %q", e.ID, line)
		}
		if most := 220 + len(e.HereFacts)*maxFact; len(line) > most {
			t.Errorf("%s: %d bytes; at most %d", e.ID, len(line), most)
		}
	})
}

// What was said is read back, with any facts that do not look like the sentence itself.
func TestASentenceIsReadBack(t *testing.T) {
	for _, e := range All() {
		if e.Peer == "" {
			continue
		}
		facts, want := make([]any, len(e.Facts)), make([]string, len(e.Facts))
		for i := range facts {
			want[i] = "fact" + strconv.Itoa(i)
			facts[i] = want[i]
		}
		id, got, ok := Read(Sentence(fault.New(fault.Internal, e.ID, facts...)))
		if !ok || id != e.ID || !slices.Equal(got, want) && len(want) > 0 {
			t.Errorf("%s: read as %q %q %v", e.ID, id, got, ok)
		}
		if id, got, ok := Read(Sentence(fault.New(fault.Internal, e.ID))); !ok || id != e.ID || got != nil {
			t.Errorf("%s without facts: read as %q %q %v", e.ID, id, got, ok)
		}
	}
	for _, other := range []string{"", "[quota]", "Quota exceeded. [no-such-id]", "Disk full [quota]", "x [dns]", "/a: No such thing. [not-found]"} {
		if id, facts, ok := Read(other); ok {
			t.Errorf("%q is read as %q %q", other, id, facts)
		}
	}
}

// Whatever a server says, what is read is in it.
func FuzzRead(f *testing.F) {
	for _, e := range All() {
		f.Add(Sentence(fault.New(fault.Internal, e.ID, "a", "b", "c")))
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, facts, ok := Read(s)
		if !ok && (id != "" || facts != nil) {
			t.Errorf("%q %q of what was not read", id, facts)
		}
		for _, fact := range facts {
			if !strings.Contains(s, fact) {
				t.Errorf("%q is not in %q", fact, s)
			}
		}
	})
}
