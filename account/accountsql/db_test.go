package accountsql

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/account/accounttest"
)

func TestStore(t *testing.T) {
	accounttest.Run(t, func(t *testing.T) account.Store { return opened(t, fresh(t), nil) })
}

// fresh is the name of a database that is not there yet.
func fresh(t testing.TB) string { return filepath.Join(t.TempDir(), "accounts.db") }

// opened is a DB that waits 20 ms for locks of others.
func opened(t testing.TB, file string, log *slog.Logger, pragmas ...string) *DB {
	t.Helper()
	db, err := open(t.Context(), file, log, options{wait: 20 * time.Millisecond, pragmas: pragmas})
	need(t, err)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return db
}

// raw is the file as another program has it open.
func raw(t testing.TB, file string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", source(file, nil)+"c") // mode=rwc
	need(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { need(t, db.Close()) })
	return db
}

func exec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, db *DB, names ...string) {
	t.Helper()
	for _, name := range names {
		need(t, db.Put(t.Context(), account.Account{Name: name, Rights: account.Full}))
	}
}

// told wants err to be an Error that says what is wrong and what to do.
func told(t testing.TB, err error, what string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || !strings.Contains(e.What, what) {
		t.Errorf("error %v; want an Error that says %q", err, what)
		return
	}
	if e.Do == "" || !filepath.IsAbs(e.File) || !strings.Contains(e.Error(), e.What) {
		t.Errorf("error %+v; want the file and what to do", e)
	}
	if errors.Is(err, fs.ErrNotExist) && !strings.Contains(what, "directory is missing") {
		t.Errorf("%v says that there is no such account", err)
	}
}

func TestTwoProcessesSeeEachOther(t *testing.T) {
	file := fresh(t)
	a, b := opened(t, file, nil), opened(t, file, nil)
	changed := func(db *DB) int64 {
		t.Helper()
		n, err := db.Changed(t.Context())
		need(t, err)
		return n
	}
	last := changed(b)
	steps := []struct {
		name string
		do   func() error
		want string // home of anna as b sees it; "-": no such account
	}{
		{"a new account", func() error { return a.Put(t.Context(), account.Account{Name: "anna", Home: "/1"}) }, "/1"},
		{"a changed one", func() error { return a.Put(t.Context(), account.Account{Name: "anna", Home: "/2"}) }, "/2"},
		{"a removed one", func() error { return a.Remove(t.Context(), "anna") }, "-"},
		{"the name again", func() error { return a.Put(t.Context(), account.Account{Name: "anna", Home: "/3"}) }, "/3"},
		{"a recount is asked for", func() error { return a.WantRecount(t.Context(), "anna") }, "/3"},
	}
	for _, step := range steps {
		need(t, step.do())
		got, err := b.Lookup(t.Context(), "anna")
		if errors.Is(err, fs.ErrNotExist) {
			got.Home, err = "-", nil
		}
		if err != nil || got.Home != step.want {
			t.Errorf("%s: the other process sees %s, %v; want %s", step.name, got.Home, err, step.want)
		}
		if n := changed(b); n <= last {
			t.Errorf("%s: Changed = %d after %d", step.name, n, last)
		} else {
			last = n
		}
		if n := changed(b); n != last {
			t.Errorf("%s: Changed = %d, then %d without a change", step.name, last, n)
		}
	}
	if err := a.Remove(t.Context(), "otto"); !errors.Is(err, fs.ErrNotExist) || changed(b) != last {
		t.Errorf("Remove of nobody = %v, Changed = %d after %d", err, changed(b), last)
	}
}

func TestManyOpenANewFileAtOnce(t *testing.T) {
	for range 5 {
		file := fresh(t)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				db, err := Open(t.Context(), file, nil)
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				err = errors.Join(db.Put(t.Context(), account.Account{Name: fmt.Sprint("u", i)}), db.Close())
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		n := 0
		for _, err := range opened(t, file, nil).All(t.Context()) {
			need(t, err)
			n++
		}
		if n != 8 {
			t.Errorf("%d accounts are there, want 8", n)
		}
	}
}

func TestNamesOfFiles(t *testing.T) {
	names := []string{"a b.db", "a#b.db", "100%25.db", "ä'.db", "-"}
	if runtime.GOOS != "windows" { // which has no such names
		names = append(names, "a?b=c&d.db", `ä'".db`, "file:x.db", ":memory:")
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			put(t, opened(t, name, nil), "anna") // relative
			if _, err := opened(t, filepath.Join(dir, name), nil).Lookup(t.Context(), "anna"); err != nil {
				t.Error(err)
			}
			if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Size() == 0 {
				t.Errorf("the file is not where it was named: %v", err)
			}
		})
	}
}

func TestTheFileIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	private := func(file string) {
		t.Helper()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			fi, err := os.Stat(file + suffix)
			need(t, err)
			if fi.Mode().Perm() != 0o600 {
				t.Errorf("accounts.db%s has the mode %v", suffix, fi.Mode().Perm())
			}
		}
	}
	file := fresh(t)
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	first := opened(t, file, log)
	put(t, first, "anna")
	private(file)
	if lines.Len() > 0 {
		t.Errorf("a new file is worth the lines %s", &lines)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		need(t, os.Chmod(file+suffix, 0o644))
	}
	put(t, opened(t, file, log), "otto")
	private(file)
	if got := strings.Count(lines.String(), "others could read"); got != 3 {
		t.Errorf("%d lines in the log, want one for each file:\n%s", got, &lines)
	}
}

func TestFilesThatAreNoDatabaseOfOurs(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, file string)
		what string
	}{
		{"text", func(t *testing.T, file string) {
			need(t, os.WriteFile(file, bytes.Repeat([]byte("anna:x:1000\n"), 1000), 0o600))
		}, "no database"},
		{"a damaged header", func(t *testing.T, file string) {
			need(t, must(Open(t.Context(), file, nil)).Close())
			b := must(os.ReadFile(file))
			copy(b, "SQLITE")
			need(t, os.WriteFile(file, b, 0o600))
		}, "no database"},
		{"a damaged schema", func(t *testing.T, file string) {
			need(t, must(Open(t.Context(), file, nil)).Close())
			b := must(os.ReadFile(file))
			for i := 100; i < 4096; i++ {
				b[i] = 0xa5
			}
			need(t, os.WriteFile(file, b, 0o600))
		}, "damaged"},
		{"another program's database", func(t *testing.T, file string) {
			exec(t, raw(t, file), `CREATE TABLE accounts (name TEXT)`)
		}, "another program"},
		{"a newer dray's", func(t *testing.T, file string) {
			db := raw(t, file)
			exec(t, db, string(must(os.ReadFile("testdata/v1.sql"))))
			exec(t, db, `INSERT INTO dray_schema (version_id, is_applied) VALUES (2, 1)`)
			exec(t, db, `ALTER TABLE accounts RENAME COLUMN settings TO options`)
		}, "newer dray"},
		{"a directory", func(t *testing.T, file string) { need(t, os.Mkdir(file, 0o700)) }, "is a directory"},
		{"a directory that is missing", func(t *testing.T, file string) { need(t, os.Remove(filepath.Dir(file))) }, "directory is missing"},
		{"a directory that is a file", func(t *testing.T, file string) {
			need(t, os.Remove(filepath.Dir(file)))
			need(t, os.WriteFile(filepath.Dir(file), nil, 0o600))
		}, "can't be made"},
		{"a directory that can't be written", func(t *testing.T, file string) {
			switch {
			case runtime.GOOS == "windows":
				t.Skip("Windows has no permission bits")
			case os.Geteuid() == 0: // modes don't stop root; in /sys the kernel does
				need(t, os.Remove(filepath.Dir(file)))
				need(t, os.Symlink("/sys/kernel", filepath.Dir(file)))
			default:
				need(t, os.Chmod(filepath.Dir(file), 0o500))
			}
		}, "can't be made"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "d", "accounts.db")
			need(t, os.Mkdir(filepath.Dir(file), 0o700))
			tt.make(t, file)
			before := contents(t, dir)
			db, err := Open(t.Context(), file, nil)
			if err == nil {
				t.Fatal("Open took it", db.Close())
			}
			told(t, err, tt.what)
			if after := contents(t, dir); !reflect.DeepEqual(after, before) {
				t.Error("the refusal has changed something")
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// contents are all files below dir, with their modes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	m := map[string]string{}
	need(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err == nil && fi.Mode().IsRegular() {
			var b []byte
			b, err = os.ReadFile(name)
			m[name] = fi.Mode().String() + string(b)
		} else if err == nil {
			m[name] = fi.Mode().String()
		}
		return err
	}))
	return m
}

func TestAnOldDatabaseIsBroughtUpToDate(t *testing.T) {
	file := fresh(t)
	old := raw(t, file)
	exec(t, old, string(must(os.ReadFile("testdata/v1.sql"))))
	need(t, old.Close())
	db := opened(t, file, nil)
	v, err := db.version(t.Context())
	if err != nil || v != schema {
		t.Errorf("the schema is %d, %v; want %d", v, err, schema)
	}
	got, err := db.Lookup(t.Context(), "anna")
	need(t, err)
	want := account.Account{
		Name: "anna", Hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA", Expires: got.Expires,
		Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Home: "/srv/ftp/anna",
		Mounts: []account.Mount{{At: "/projects", Dir: "/srv/projects"}}, Rights: account.ReadOnly | account.Link,
		Paths:    []account.PathRights{{Path: "/incoming", Rights: account.UploadOnly}},
		Owner:    &account.Owner{UID: 1001, GID: 100, Groups: []uint32{4}, Umask: 0o27},
		MaxBytes: 1 << 20, MaxFiles: 10,
	}
	if !reflect.DeepEqual(got, want) || !got.Expires.Equal(time.Date(2031, 12, 24, 17, 30, 15, 0, time.UTC)) {
		t.Errorf("anna came as %+v; want %+v", got, want)
	}
	if u, err := db.Usage(t.Context(), "anna"); err != nil || u != (Usage{Files: 3, Bytes: 4096}) {
		t.Errorf("Usage = %+v, %v", u, err)
	}
	l, err := db.Ledger(t.Context())
	need(t, err)
	if l.NeedsRecount() {
		t.Error("a database that was closed cleanly needs a recount")
	}
	put(t, db, "anna", "new")
}

// The queries of this package run on the last of the embedded steps.
func TestTheSchemaIsThatOfTheSteps(t *testing.T) {
	steps, err := migrations.ReadDir("migrations/sqlite")
	need(t, err)
	if len(steps) != schema || !strings.HasPrefix(steps[schema-1].Name(), fmt.Sprintf("%05d_", schema)) {
		t.Errorf("the schema is %d, the steps are %v", schema, steps)
	}
	if fi, err := os.Stat(fmt.Sprintf("testdata/v%d.sql", schema)); err != nil || fi.Size() == 0 {
		t.Errorf("there is no database of schema %d to upgrade from: %v", schema, err)
	}
}

// SQLite lets others read while one program writes, so only changes are refused.
func TestALockedDatabase(t *testing.T) {
	file := fresh(t)
	db := opened(t, file, nil)
	put(t, db, "anna", "otto")
	other := raw(t, file)
	exec(t, other, `BEGIN EXCLUSIVE`)
	told(t, db.Put(t.Context(), account.Account{Name: "anna", Disabled: true}), "locked")
	told(t, db.Put(t.Context(), account.Account{Name: "new"}), "locked")
	told(t, db.Remove(t.Context(), "anna"), "locked")
	for _, name := range []string{"anna", "otto"} {
		if a, err := db.Lookup(t.Context(), name); err != nil || a.Disabled {
			t.Errorf("Lookup(%s) = %+v, %v", name, a, err)
		}
	}
	if _, err := db.Lookup(t.Context(), "new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lookup of nobody = %v", err)
	}
	opened(t, file, nil) // a second process
	exec(t, other, `ROLLBACK`)
	put(t, db, "anna", "new")
}

// A backup program may keep readers out too.
func TestADatabaseThatCantBeRead(t *testing.T) {
	file := fresh(t)
	db := opened(t, file, nil)
	put(t, db, "anna", "otto")
	_, err := db.Lookup(t.Context(), "anna")
	need(t, err)
	db.sql.SetMaxIdleConns(-1) // lets go of the file
	other := raw(t, file)
	exec(t, other, `PRAGMA locking_mode = EXCLUSIVE`)
	exec(t, other, `BEGIN EXCLUSIVE`)
	if a, err := db.Lookup(t.Context(), "anna"); err != nil || a.Name != "anna" || a.Rights != account.Full {
		t.Errorf("Lookup of a known account = %+v, %v", a, err)
	}
	for _, name := range []string{"otto", "nobody"} {
		a, err := db.Lookup(t.Context(), name)
		told(t, err, "locked")
		if !reflect.DeepEqual(a, account.Account{}) {
			t.Errorf("Lookup(%s) failed with %+v", name, a)
		}
	}
	for _, err := range db.All(t.Context()) {
		told(t, err, "locked")
	}
	_, err = open(t.Context(), file, nil, options{wait: 20 * time.Millisecond})
	told(t, err, "locked")
	exec(t, other, `ROLLBACK`)
	need(t, other.Close())
	put(t, db, "new") // also shows that it works again
	if _, err := db.Lookup(t.Context(), "otto"); err != nil {
		t.Errorf("Lookup when the lock is gone: %v", err)
	}
}

func TestALockThatEndsInTimeIsWaitedFor(t *testing.T) {
	file := fresh(t)
	need(t, opened(t, file, nil).Close())
	db, err := Open(t.Context(), file, nil) // waits 5 s
	need(t, err)
	defer func() { need(t, db.Close()) }()
	other := raw(t, file)
	exec(t, other, `BEGIN EXCLUSIVE`)
	done := make(chan error)
	go func() { done <- db.Put(t.Context(), account.Account{Name: "anna"}) }()
	select {
	case err := <-done:
		t.Errorf("Put past a lock: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	exec(t, other, `COMMIT`)
	need(t, <-done)
	exec(t, other, `BEGIN EXCLUSIVE`)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- db.Put(ctx, account.Account{Name: "anna"}) }()
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Put with a context that ended in the wait = %v", err)
	}
	exec(t, other, `COMMIT`)
}

// away takes the accounts from under every process, as damage would; the
// function that it returns puts them back.
func away(t *testing.T, file string) (back func()) {
	t.Helper()
	other := raw(t, file)
	exec(t, other, `ALTER TABLE accounts RENAME TO away`)
	return func() {
		t.Helper()
		exec(t, other, `ALTER TABLE away RENAME TO accounts`)
		need(t, other.Close())
	}
}

func TestKnownAccountsGoOnInAnOutage(t *testing.T) {
	var lines bytes.Buffer
	file := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		db := opened(t, file, slog.New(slog.NewTextHandler(&lines, nil)))
		full := accounttest.Full("anna")
		need(t, db.Put(t.Context(), full))
		put(t, db, "bert", "carl", "dora", "emil")
		for _, name := range []string{"anna", "bert", "carl"} {
			if _, err := db.Lookup(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		put(t, db, "bert") // what was known of it may be out of date
		need(t, db.Remove(t.Context(), "carl"))
		back := away(t, file)
		for minute := range 3 {
			for range 50 {
				a, err := db.Lookup(t.Context(), "anna")
				if err != nil || string(a.Hash) != string(full.Hash) || !reflect.DeepEqual(a.Owner, full.Owner) {
					t.Fatalf("Lookup of a known account = %+v, %v", a, err)
				}
				a.Owner.UID = 0 // the caller's own
				for _, name := range []string{"bert", "carl", "dora", "nobody"} {
					if _, err := db.Lookup(t.Context(), name); err == nil || errors.Is(err, fs.ErrNotExist) {
						t.Fatalf("Lookup(%s) = %v; want an error that leaves open whether there is one", name, err)
					}
				}
				time.Sleep(1200 * time.Millisecond)
			}
			if got := strings.Count(lines.String(), "\n"); got != minute+1 {
				t.Errorf("%d lines in the log after %d minutes:\n%s", got, minute+1, &lines)
			}
		}
		back()
		time.Sleep(again)
		for name, want := range map[string]bool{"anna": true, "bert": true, "dora": true, "carl": false, "nobody": false} {
			if _, err := db.Lookup(t.Context(), name); (err == nil) != want || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Lookup(%s) after the outage: %v", name, err)
			}
		}
		if strings.Contains(lines.String(), string(full.Hash)) {
			t.Error("the log shows a hash")
		}
		need(t, db.Close())
	})
}

// A locked file makes each query wait: one waits, the others are answered.
func TestOneCallerAtATimeTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outage
		broken := errors.New("broken")
		admits := func(when string, want error) {
			t.Helper()
			if err := o.admit(); err != want {
				t.Errorf("%s: admit = %v, want %v", when, err, want)
			}
		}
		admits("before anything has failed", nil)
		admits("beside another", nil)
		o.over(broken)
		admits("right after a failure", broken)
		time.Sleep(again)
		admits("a second later", nil)
		admits("while that one tries", broken)
		time.Sleep(again)
		admits("while that one still tries", broken)
		o.unknown()
		admits("when it has given up", nil)
		o.over(broken)
		admits("when it has failed again", broken)
		time.Sleep(again)
		admits("a second later", nil)
		o.over(nil)
		admits("when it works again", nil)
		if o.now() != nil {
			t.Errorf("an outage is left: %v", o.now())
		}
	})
}

// A query that began before a change must not be what is remembered after it.
func TestOldAnswersAreNotRemembered(t *testing.T) {
	var m memory
	seen := m.changes()
	m.forget("anna")
	m.add("anna", row{hash: "old"}, seen)
	if r, ok := m.get("anna"); ok {
		t.Errorf("remembered %+v", r)
	}
	m.add("anna", row{hash: "new"}, m.changes())
	if r, ok := m.get("anna"); !ok || r.hash != "new" {
		t.Errorf("get = %+v, %v", r, ok)
	}
	m.drop("anna")
	if r, ok := m.get("anna"); ok {
		t.Errorf("remembered %+v after it was not found", r)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var m memory
	for i := range 3 * remembered {
		m.add(fmt.Sprint(i), row{}, m.changes())
	}
	if len(m.rows) != remembered {
		t.Errorf("%d accounts are remembered, want %d", len(m.rows), remembered)
	}
	if _, ok := m.get(fmt.Sprint(3*remembered - 1)); !ok {
		t.Error("the last one is not remembered")
	}
}

func TestAFullDisk(t *testing.T) {
	file := fresh(t)
	put(t, opened(t, file, nil), "anna", "otto")
	db := opened(t, file, nil, "max_page_count(30)")
	large := account.Account{Name: "anna", Home: "/" + strings.Repeat("x", 1<<20)}
	for range 3 {
		told(t, db.Put(t.Context(), large), "disk is full")
		large.Name = "new"
	}
	for _, name := range []string{"anna", "otto"} {
		if a, err := db.Lookup(t.Context(), name); err != nil || a.Home != "" || a.Rights != account.Full {
			t.Errorf("Lookup(%s) = %+v, %v", name, a.Rights, err)
		}
	}
	if _, err := db.Lookup(t.Context(), "new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the account that did not fit: %v", err)
	}
	put(t, db, "small") // there is room for little things
	need(t, db.Remove(t.Context(), "otto"))
}

func TestADatabaseThatCantBeWritten(t *testing.T) {
	file := fresh(t)
	put(t, opened(t, file, nil), "anna")
	db := opened(t, file, nil, "query_only(1)")
	told(t, db.Put(t.Context(), account.Account{Name: "anna", Disabled: true}), "can't be written")
	_, err := db.Ledger(t.Context())
	told(t, err, "can't be written")
	if a, err := db.Lookup(t.Context(), "anna"); err != nil || a.Disabled {
		t.Errorf("Lookup = %+v, %v", a, err)
	}
}

func TestSettingsOfANewerDray(t *testing.T) {
	tests := []struct {
		name     string
		settings string
		kept     []string // after Put of an account with the home /new
		refused  bool
	}{
		{"a field more", `{"rights":"full","home":"/old","color":"blue"}`, []string{`"color":"blue"`, `"home":"/new"`}, false},
		{"fields of every sort", `{"a":{"b":[1,{"c":null}]},"d":12345678901234567890,"rights":"full"}`,
			[]string{`"a":{"b":[1,{"c":null}]}`, `"d":12345678901234567890`}, false},
		{"a field that goes", `{"rights":"full","disabled":true}`, []string{`{"home":"/new","rights":"read-only"}`}, false},
		{"a field more inside another", `{"rights":"full","mounts":[{"at":"/a","dir":"/b","mode":"ro"}]}`, nil, true},
		{"another sort of value", `{"rights":["list","read"]}`, nil, true},
		{"no JSON", `rights=full`, nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := fresh(t)
			db := opened(t, file, nil)
			put(t, db, "anna")
			other := raw(t, file)
			exec(t, other, `UPDATE accounts SET settings = $1`, tt.settings)
			err := db.Put(t.Context(), account.Account{Name: "anna", Home: "/new", Rights: account.ReadOnly})
			var now string
			need(t, other.QueryRowContext(t.Context(), `SELECT settings FROM accounts`).Scan(&now))
			if tt.refused {
				told(t, err, `settings of account "anna"`)
				if now != tt.settings {
					t.Errorf("the settings are %s; want %s", now, tt.settings)
				}
				return
			}
			need(t, err)
			for _, want := range tt.kept {
				if !strings.Contains(now, want) {
					t.Errorf("the settings are %s; want %s in them", now, want)
				}
			}
			a, err := db.Lookup(t.Context(), "anna")
			if err != nil || a.Home != "/new" || a.Rights != account.ReadOnly || a.Disabled {
				t.Errorf("Lookup = %+v, %v", a, err)
			}
		})
	}
}

func TestOneUnreadableAccountHidesNoOther(t *testing.T) {
	file := fresh(t)
	db := opened(t, file, nil)
	put(t, db, "anna", "bert", "carl")
	exec(t, raw(t, file), `UPDATE accounts SET settings = '{' WHERE name = 'bert'`)
	_, err := db.Lookup(t.Context(), "bert")
	told(t, err, "can't be read")
	var got []string
	for a, err := range db.All(t.Context()) {
		if (err != nil) != (a.Name == "bert") {
			t.Errorf("%s: %v", a.Name, err)
		}
		got = append(got, a.Name)
	}
	if !slices.Equal(got, []string{"anna", "bert", "carl"}) {
		t.Errorf("All gives %q", got)
	}
	if _, err := db.Lookup(t.Context(), "anna"); err != nil {
		t.Errorf("Lookup(anna): %v", err)
	}
	need(t, db.Remove(t.Context(), "bert"))
}

func TestAfterClose(t *testing.T) {
	db := opened(t, fresh(t), nil)
	put(t, db, "anna")
	l, err := db.Ledger(t.Context())
	need(t, err)
	need(t, db.Close())
	need(t, db.Close())
	if _, err := db.Lookup(t.Context(), "anna"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lookup = %v", err)
	}
	if err := db.Put(t.Context(), account.Account{Name: "anna"}); err == nil {
		t.Error("Put was taken")
	}
	if _, err := l.Hold(t.Context(), "anna", 1, 1); err == nil {
		t.Error("Hold was taken")
	}
	if err := l.Adjust(t.Context(), "anna", 1, 1); err == nil {
		t.Error("Adjust was taken")
	}
	if _, err := db.Ledger(t.Context()); err == nil {
		t.Error("a ledger of a closed database")
	}
}

// Root can write everywhere, so what others hear is asked for by itself.
func TestWhatIsSaidOfADirectoryThatCantBeWritten(t *testing.T) {
	file := fresh(t)
	err := (&DB{file: file}).explainFile(&fs.PathError{Op: "open", Path: file, Err: fs.ErrPermission})
	var e *Error
	if !errors.As(err, &e) || e.What != "it can't be made" || !strings.Contains(e.Do, filepath.Dir(file)) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("explainFile() = %#v", err)
	}
}
