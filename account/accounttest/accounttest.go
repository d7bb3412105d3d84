// Package accounttest is the contracts of account.Store and account.Ledger as
// test suites. Every implementation runs them; what they ask is what the servers
// and commands rely on, and no more.
//
// What only a second process could show (a change seen by others, usage that
// survives a crash) is tested by the implementation that promises it.
package accounttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
)

// Run runs the suite of Stores. Each test asks open for an empty one of its own;
// open closes it with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) account.Store) {
	for _, test := range storeTests {
		t.Run(test.name, func(t *testing.T) {
			test.run(&shelf{T: t, Store: open(t)})
		})
	}
}

// A shelf is one test with its Store. Its helpers end the test when the Store
// does not do what the test needs to go on.
type shelf struct {
	*testing.T
	account.Store
}

func (t *shelf) put(a account.Account) {
	t.Helper()
	if err := t.Put(t.Context(), a); err != nil {
		t.Fatalf("Put(%q): %v", a.Name, err)
	}
}

// has wants the Store to have an account as it is.
func (t *shelf) has(want account.Account) {
	t.Helper()
	got, err := t.Lookup(t.Context(), want.Name)
	if err != nil {
		t.Errorf("Lookup(%q): %v", want.Name, err)
		return
	}
	same(t, got, want)
}

// lacks wants the Store to say that there is no such account.
func (t *shelf) lacks(name string) {
	t.Helper()
	got, err := t.Lookup(t.Context(), name)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lookup(%q) = %q, %v; want %v", name, got.Name, err, fs.ErrNotExist)
	}
	if !reflect.DeepEqual(got, account.Account{}) {
		t.Errorf("Lookup(%q) failed with an account: %+v", name, got)
	}
}

// all are the accounts as All gives them.
func (t *shelf) all() (accounts []account.Account) {
	t.Helper()
	for a, err := range t.All(t.Context()) {
		if err != nil {
			t.Fatalf("All: %v", err)
		}
		accounts = append(accounts, a)
	}
	return accounts
}

// lists wants All to give these names in this order.
func (t *shelf) lists(want ...string) {
	t.Helper()
	var got []string
	for _, a := range t.all() {
		got = append(got, a.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("All gives %q; want %q", got, want)
	}
}

// same compares accounts: times by moment, an empty list is none. Where want has
// no ID any will do, since the Store makes it.
func same(t testing.TB, got, want account.Account) {
	t.Helper()
	if want.ID == "" {
		got.ID = ""
	}
	if g, w := plain(got), plain(want); !reflect.DeepEqual(g, w) {
		t.Errorf("account %q came back as\n%s\nwant\n%s", want.Name, text(g), text(w))
	}
}

func plain(a account.Account) account.Account {
	if a.Expires = a.Expires.UTC(); a.Expires.IsZero() {
		a.Expires = time.Time{}
	}
	v := reflect.ValueOf(&a).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice && f.Len() == 0 {
			f.SetZero()
		}
	}
	if a.Owner != nil {
		o := *a.Owner
		if len(o.Groups) == 0 {
			o.Groups = nil
		}
		a.Owner = &o
	}
	return a
}

func text(a account.Account) string {
	owner := "none"
	if a.Owner != nil {
		owner = fmt.Sprintf("%+v", *a.Owner)
	}
	return fmt.Sprintf("%+v (hash %q, owner %s)", a, string(a.Hash), owner)
}

// Full is an account in which every field that is stored has a value of its own.
func Full(name string) account.Account {
	return account.Account{
		Name:         name,
		ID:           "of-" + name,
		Hash:         "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA",
		Disabled:     true,
		Expires:      time.Date(2031, 12, 24, 18, 30, 15, 123456789, time.FixedZone("", 3600)),
		Networks:     []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Protocols:    []string{"ftps", "sftp"},
		Certificates: []string{strings.Repeat("0f", 32), "ca"},
		Keys: []account.Key{
			{Key: "ssh-ed25519 AAAA", Comment: "anna <laptop>", From: []string{"!192.0.2.1", "192.0.2.*"}, Expires: time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC)},
			{Key: "ssh-rsa AAAB", CA: true, Principals: []string{"anna", "batch"}},
		},
		Factors:     []string{account.FactorKey, account.FactorPassword},
		Home:        `/srv/ftp/ä b"c\d<&>`,
		Mounts:      []account.Mount{{At: "/projects", Dir: "/srv/projects"}, {At: "/öffentlich", Dir: "/srv/pub\u2028lic"}},
		Rights:      account.ReadOnly | account.Link,
		Paths:       []account.PathRights{{Path: "/incoming", Rights: account.UploadOnly}, {Path: "/x", Rights: 0}},
		Owner:       &account.Owner{UID: 1<<32 - 2, GID: 100, Groups: []uint32{4, 1 << 31}, Umask: 0o27},
		MaxBytes:    1<<62 + 1,
		MaxFiles:    1<<31 - 1,
		MaxSessions: 3,
		RateDown:    1 << 53,
		RateUp:      1<<53 + 1,
		Partials:    account.PartialsListed,
		Uploads:     account.UploadsInPlace,
		Charset:     "windows-1252",
		Transcript:  true,
	}
}

var storeTests = []struct {
	name string
	run  func(*shelf)
}{
	{"every field survives", func(t *shelf) {
		full := Full("anna")
		for i, v := 0, reflect.ValueOf(full); i < v.NumField(); i++ {
			if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Anonymous" {
				t.Fatalf("this test stores no %s", name)
			}
		}
		t.put(full)
		t.has(full)
		for a, err := range t.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			same(t, a, full)
		}
	}},
	{"an account of nothing but a name survives", func(t *shelf) {
		t.put(account.Account{Name: "anna"})
		t.has(account.Account{Name: "anna"})
	}},
	{"each field alone survives", func(t *shelf) {
		full := reflect.ValueOf(Full("anna"))
		for i := range full.NumField() {
			a := account.Account{Name: "anna"}
			reflect.ValueOf(&a).Elem().Field(i).Set(full.Field(i))
			t.put(a)
			t.has(a)
		}
	}},
	{"rights survive in every combination", func(t *shelf) {
		for r := range account.All + 1 {
			if r&(r-1) != 0 && r%7 != 0 && r != account.All {
				continue // every single one, and enough of the rest
			}
			t.put(account.Account{Name: "anna", Rights: r})
			t.has(account.Account{Name: "anna", Rights: r})
		}
	}},
	{"Put writes the whole account", func(t *shelf) {
		t.put(Full("anna"))
		t.put(account.Account{Name: "anna", Home: "/srv/anna"})
		t.has(account.Account{Name: "anna", Home: "/srv/anna"})
		t.lists("anna")
	}},
	{"what comes out is the caller's own", func(t *shelf) {
		t.put(Full("anna"))
		for range 2 {
			a, err := t.Lookup(t.Context(), "anna")
			if err != nil {
				t.Fatal(err)
			}
			spoil(&a)
			t.has(Full("anna"))
		}
	}},
	{"what goes in stays the caller's own", func(t *shelf) {
		a := Full("anna")
		t.put(a)
		spoil(&a)
		t.has(Full("anna"))
	}},
	{"what can't be stored as it is is refused", func(t *shelf) {
		const bad = "a\xffb"
		for what, a := range map[string]account.Account{
			"no name":            {},
			"ID":                 {Name: "anna", ID: bad},
			"anonymous":          {Anonymous: true, Name: "anna"},
			"home":               {Name: "anna", Home: bad},
			"charset":            {Name: "anna", Charset: bad},
			"protocol":           {Name: "anna", Protocols: []string{"ftp", bad}},
			"certificate":        {Name: "anna", Certificates: []string{bad}},
			"place of a mount":   {Name: "anna", Mounts: []account.Mount{{At: bad, Dir: "/"}}},
			"directory of mount": {Name: "anna", Mounts: []account.Mount{{At: "/", Dir: bad}}},
			"factor":             {Name: "anna", Factors: []string{bad}},
			"comment of a key":   {Name: "anna", Keys: []account.Key{{Comment: bad}}},
			"path":               {Name: "anna", Paths: []account.PathRights{{Path: bad}}},
			"hash":               {Name: "anna", Hash: bad},
			"year 12000":         {Name: "anna", Expires: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)},
		} {
			before := account.Account{Name: "anna", Home: "/before"}
			t.put(before)
			if err := t.Put(t.Context(), a); err != nil {
				t.has(before)
			} else {
				t.has(a)
			}
			if t.Failed() {
				t.Fatalf("after Put with a bad %s", what)
			}
		}
	}},
	{"an unknown name is fs.ErrNotExist", func(t *shelf) {
		t.lacks("anna")
		t.put(Full("anna"))
		for _, name := range []string{
			"", "Anna", "ANNA", "ann", "annaa", " anna", "anna ", "anna\x00", "\x00anna", "anna\n", "ann%", "_nna", "*",
			"anna' OR '1'='1", "anonymous", "\xff", strings.Repeat("a", 100_000),
		} {
			t.lacks(name)
		}
	}},
	{"names are exact bytes", func(t *shelf) {
		names := []string{
			"anna", "Anna", "ANNA", "anna b", "anna  b", "anna.b", "anna@example.net", "ann%", "ann_", "'", `"`, `\`, "ä", "a\u0308", "Ä",
			"1", "01", "1.0", "1e0", "NULL", "用户", "\U0001F600", strings.Repeat("a", 64),
		}
		for _, name := range names {
			if wrong := account.CheckName(name); wrong != "" {
				t.Fatalf("%q: %s", name, wrong)
			}
			t.put(account.Account{Name: name, Home: "/srv/" + name})
		}
		for _, name := range names {
			t.has(account.Account{Name: name, Home: "/srv/" + name})
		}
		slices.Sort(names)
		t.lists(names...)
	}},
	{"names that no command makes are refused or exact", func(t *shelf) {
		names := []string{"\xff", "\xfe", "a\x00b", "a", "a\x00", "a\nb", "a/b", " a", "a ", "..", "�"}
		var taken []string
		for _, name := range names {
			if err := t.Put(t.Context(), account.Account{Name: name, Home: fmt.Sprintf("/%x", name)}); err == nil {
				taken = append(taken, name)
			}
		}
		for _, name := range taken {
			t.has(account.Account{Name: name, Home: fmt.Sprintf("/%x", name)})
		}
		slices.Sort(taken)
		t.lists(taken...)
	}},
	{"All of nothing is nothing", func(t *shelf) { t.lists() }},
	{"All may be stopped", func(t *shelf) {
		for i := range 10 {
			t.put(account.Account{Name: fmt.Sprint("u", i)})
		}
		for stop := range 10 {
			for range 10 { // whoever leaks something runs out of it
				n := 0
				for _, err := range t.All(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					if n++; n > stop {
						break
					}
				}
				if n != stop+1 {
					t.Fatalf("%d accounts came, want %d", n, stop+1)
				}
			}
		}
		t.put(account.Account{Name: "u9", Disabled: true})
		t.has(account.Account{Name: "u9", Disabled: true})
	}},
	{"accounts may be changed in a walk through all", func(t *shelf) {
		for i := range 20 {
			t.put(account.Account{Name: fmt.Sprintf("u%02d", i)})
		}
		n := 0
		for a, err := range t.All(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			a.Disabled = true
			t.put(a)
			t.has(a)
		}
		if n != 20 {
			t.Errorf("%d accounts came, want 20", n)
		}
		for _, a := range t.all() {
			if !a.Disabled {
				t.Errorf("%s was not changed", a.Name)
			}
		}
	}},
	{"Remove removes one account", func(t *shelf) {
		for _, name := range []string{"anna", "Anna", "otto"} {
			t.put(Full(name))
		}
		if err := t.Remove(t.Context(), "anna"); err != nil {
			t.Fatalf("Remove(anna): %v", err)
		}
		t.lacks("anna")
		t.has(Full("Anna"))
		t.lists("Anna", "otto")
		t.put(account.Account{Name: "anna"})
		t.has(account.Account{Name: "anna"})
	}},
	{"an ID stays until the account is removed", func(t *shelf) {
		id := func(name string) string {
			t.Helper()
			a, err := t.Lookup(t.Context(), name)
			if err != nil {
				t.Fatalf("Lookup(%q): %v", name, err)
			}
			for other, err := range t.All(t.Context()) {
				if err != nil || other.Name == name && other.ID != a.ID {
					t.Fatalf("All gives %s the ID %q, Lookup %q: %v", name, other.ID, a.ID, err)
				}
			}
			return a.ID
		}
		t.put(account.Account{Name: "anna"})
		t.put(account.Account{Name: "otto"})
		first, other := id("anna"), id("otto")
		if first == "" || other == "" || first == other {
			t.Errorf("anna has the ID %q, otto %q; want two", first, other)
		}
		changed, err := t.Lookup(t.Context(), "anna")
		if err != nil {
			t.Fatal(err)
		}
		changed.Home = "/new"
		for _, a := range []account.Account{changed, {Name: "anna", Disabled: true}} {
			t.put(a)
			if got := id("anna"); got != first {
				t.Errorf("a change made the ID %q to %q", first, got)
			}
		}
		if err := t.Remove(t.Context(), "anna"); err != nil {
			t.Fatal(err)
		}
		t.put(account.Account{Name: "anna"})
		if got := id("anna"); got == first || got == "" {
			t.Errorf("anna had the ID %q, and has %q after she was removed and added again", first, got)
		}
	}},
	{"Remove of nobody is fs.ErrNotExist", func(t *shelf) {
		t.put(Full("anna"))
		for _, name := range []string{"", "Anna", "otto", "%", "anna\x00"} {
			if err := t.Remove(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Remove(%q) = %v; want %v", name, err, fs.ErrNotExist)
			}
		}
		for range 2 {
			_ = t.Remove(t.Context(), "anna")
		}
		if err := t.Remove(t.Context(), "anna"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a second Remove = %v; want %v", err, fs.ErrNotExist)
		}
	}},
	{"a cancelled context ends every call", func(t *shelf) {
		t.put(Full("anna"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		canceled := func(doing string, err error) {
			t.Helper()
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s = %v; want %v", doing, err, context.Canceled)
			}
		}
		_, err := t.Lookup(ctx, "anna")
		canceled("Lookup", err)
		_, err = t.Lookup(ctx, "otto")
		canceled("Lookup of nobody", err)
		canceled("Put", t.Put(ctx, account.Account{Name: "anna"}))
		canceled("Put of a new one", t.Put(ctx, account.Account{Name: "otto"}))
		canceled("Remove", t.Remove(ctx, "anna"))
		err = nil
		for a, e := range t.All(ctx) {
			if err = e; err == nil {
				t.Errorf("All gave %q", a.Name)
			}
		}
		canceled("All", err)
		t.has(Full("anna"))
		t.lists("anna")
	}},
	{"a walk ends when its context does", func(t *shelf) {
		const accounts = 500
		for i := range accounts {
			t.put(account.Account{Name: fmt.Sprintf("u%04d", i)})
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		var err error
		for _, e := range t.All(ctx) {
			if n++; n == 1 {
				cancel()
			}
			err = e
		}
		if n >= accounts && err == nil {
			t.Errorf("%d accounts came after the context had ended", n)
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("All ended with %v; want %v", err, context.Canceled)
		}
	}},
	{"accounts are changed at once, and each is of one piece", func(t *shelf) {
		const workers, rounds = 16, 20
		version := func(name string, n int) account.Account {
			return account.Account{Name: name, Hash: account.Hash(fmt.Sprint(n)), Home: fmt.Sprint("/", n), MaxFiles: n}
		}
		t.put(version("shared", 1))
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				own := fmt.Sprint("own", w)
				for n := 1; n <= rounds; n++ {
					if err := errors.Join(t.Put(t.Context(), version(own, n)), t.Put(t.Context(), version("shared", w*rounds+n))); err != nil {
						t.Errorf("Put: %v", err)
						return
					}
					a, err := t.Lookup(t.Context(), own)
					if err != nil || a.MaxFiles != n {
						t.Errorf("Lookup(%s) right after Put %d: %d, %v", own, n, a.MaxFiles, err)
					}
					if a, err = t.Lookup(t.Context(), "shared"); err != nil || a.Home != "/"+string(a.Hash) || a.Home != fmt.Sprint("/", a.MaxFiles) {
						t.Errorf("Lookup(shared): home %s, hash %s, files %d: %v", a.Home, string(a.Hash), a.MaxFiles, err)
					}
				}
				if w%2 == 0 {
					if err := t.Remove(t.Context(), own); err != nil {
						t.Errorf("Remove(%s): %v", own, err)
					}
					if _, err := t.Lookup(t.Context(), own); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("Lookup(%s) right after Remove: %v", own, err)
					}
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				for range rounds {
					last := ""
					for a, err := range t.All(t.Context()) {
						if err != nil || a.Name <= last {
							t.Errorf("All: %q after %q, %v", a.Name, last, err)
							return
						}
						last = a.Name
					}
				}
			})
		}
		wg.Wait()
		if got, want := len(t.all()), workers/2+1; got != want {
			t.Errorf("%d accounts are left, want %d", got, want)
		}
	}},
	{"2,000 accounts", func(t *shelf) {
		const accounts = 2000
		for i := range accounts {
			a := Full(fmt.Sprintf("user%04d", (i*7919)%accounts))
			a.MaxSessions = i
			t.put(a)
		}
		got := t.all()
		if len(got) != accounts {
			t.Fatalf("All gives %d accounts, want %d", len(got), accounts)
		}
		for i, a := range got {
			if want := fmt.Sprintf("user%04d", i); a.Name != want || (a.MaxSessions*7919)%accounts != i {
				t.Fatalf("account %d is %s with %d sessions, want %s", i, a.Name, a.MaxSessions, want)
			}
			if i%50 == 0 {
				same(t, a, func() account.Account { w := Full(a.Name); w.MaxSessions = a.MaxSessions; return w }())
				t.has(a)
			}
		}
	}},
}

// spoil writes over everything that an account refers to.
func spoil(a *account.Account) {
	a.Networks[0] = netip.Prefix{}
	a.Protocols[0], a.Certificates[0], a.Factors[0] = "spoilt", "spoilt", "spoilt"
	a.Keys[0].Comment, a.Keys[0].From[0], a.Keys[1].Principals[0] = "spoilt", "spoilt", "spoilt"
	a.Mounts[0], a.Paths[0] = account.Mount{}, account.PathRights{}
	a.Owner.Groups[0] = 99
	a.Owner.UID = 99
}
