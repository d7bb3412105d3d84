// Package accountsql keeps accounts and their usage in an SQLite database: one
// file, made on first use. It is the account.Store of the server and of the
// commands that change accounts while it runs, and the account.Ledger of the
// server alone.
//
// It checks no passwords and knows nothing of homes: it stores what it is given.
// What a command commits, every process sees with its next query.
package accountsql

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"dray/account"
)

// A DB is a database of accounts. It is safe for concurrent use.
//
// Accounts that were looked up once are remembered, and served when the database
// can't answer, so that a locked or damaged file keeps nobody out who came in
// before. Every Lookup asks the database first, but for one second after it has
// failed.
type DB struct {
	file string // absolute
	log  *slog.Logger
	wait time.Duration // for a lock of another program

	sql      *sql.DB
	selected *sql.Stmt
	writing  chan struct{} // held by the one writer: SQLite has no queue, only retries
	known    memory
	outage   outage

	mu     sync.Mutex
	ledger *Ledger
	closed bool
}

var _ account.Store = (*DB)(nil)

// busy is how long a call waits for a lock of another program.
const busy = 5 * time.Second

// options are what tests change.
type options struct {
	wait    time.Duration
	pragmas []string
}

// Open opens a database, making the file (mode 0600) and bringing an older
// schema up to date. An existing file that others can read is made private, and
// the log says so. The directory must exist. Errors are of type *Error, but for
// those of ctx. A log of nil is silent.
func Open(ctx context.Context, file string, log *slog.Logger) (*DB, error) {
	return open(ctx, file, log, options{wait: busy})
}

func open(ctx context.Context, file string, log *slog.Logger, opt options) (*DB, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	db := &DB{file: file, log: log, wait: opt.wait, writing: make(chan struct{}, 1)}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// SQLite gives what it makes beside the file, the log of changes, the mode of
	// the file. No descriptor of an existing file is opened here: closing it would
	// take the locks of every SQLite connection in this process (POSIX).
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if fi, serr := os.Stat(file); err != nil && !errors.Is(err, fs.ErrExist) || serr == nil && fi.IsDir() {
		return nil, db.explainFile(err)
	}
	if db.sql, err = sql.Open("sqlite", source(file, opt.pragmas)); err != nil {
		return nil, db.explain(ctx, err)
	}
	db.sql.SetMaxOpenConns(8)
	db.sql.SetMaxIdleConns(8)
	if err := db.prepare(ctx); err != nil {
		_ = db.sql.Close()
		return nil, err
	}
	return db, nil
}

// source is the address of the file for the driver.
//
// synchronous=FULL, also for usage: an account that was stored, or a password
// that was changed, must survive a power failure, and usage is written in the
// background, where a flush of the disk costs no upload anything.
//
// SQLite's own wait for locks is off: it sleeps without looking at the context.
func source(file string, pragmas []string) string {
	q := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}}
	q["_pragma"] = append([]string{"busy_timeout(0)", "foreign_keys(1)", "synchronous(FULL)"}, pragmas...)
	path := filepath.ToSlash(file)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	return "file://" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// prepare checks the file, then touches it.
func (db *DB) prepare(ctx context.Context) error {
	steps := []func() error{
		func() error { _, err := db.checkVersion(ctx); return err },
		func() error { db.tighten(); return nil },
		// Readers and the writer don't wait for each other.
		func() error { _, err := db.sql.ExecContext(ctx, `PRAGMA journal_mode = WAL`); return err },
		func() error { return db.migrate(ctx) },
		func() (err error) {
			db.selected, err = db.sql.PrepareContext(ctx, `
				SELECT a.hash, a.settings, COALESCE(u.files, 0), COALESCE(u.bytes, 0)
				FROM accounts a LEFT JOIN usage u ON u.account = a.name WHERE a.name = $1`)
			return err
		},
	}
	for _, step := range steps {
		if err := db.explain(ctx, db.patiently(ctx, step)); err != nil {
			return err
		}
	}
	return nil
}

// tighten takes the file and what SQLite keeps beside it from group and others.
func (db *DB) tighten() {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		name := db.file + suffix
		fi, err := os.Stat(name)
		if err != nil || fi.Mode().Perm()&0o077 == 0 {
			continue
		}
		if err := os.Chmod(name, 0o600); err != nil {
			db.log.Error("others can read the database of accounts", "file", name, "mode", fi.Mode().Perm().String(), "error", err)
			continue
		}
		db.log.Warn("others could read the database of accounts; it is private now", "file", name, "mode", fi.Mode().Perm().String())
	}
}

// patiently runs f again while another program has locked the file, for as long
// as the DB waits and ctx lives.
func (db *DB) patiently(ctx context.Context, f func() error) error {
	end := time.Now().Add(db.wait)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := f()
		if err == nil || !isBusy(err) || !time.Now().Add(pause).Before(end) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// read runs a query, unless the last ones have failed a moment ago.
func (db *DB) read(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.outage.admit(); err != nil {
		return err
	}
	err := db.patiently(ctx, f)
	switch {
	case err == nil || errors.Is(err, sql.ErrNoRows):
		db.outage.over(nil)
		return err
	case ctx.Err() != nil:
		db.outage.unknown()
		return ctx.Err()
	}
	err = db.explain(ctx, err)
	db.outage.over(err)
	return err
}

// write runs f in a transaction, one at a time, again when the file was locked.
func (db *DB) write(ctx context.Context, f func(*sql.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case db.writing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-db.writing }()
	err := db.patiently(ctx, func() error {
		tx, err := db.sql.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := f(tx); err != nil {
			_ = tx.Rollback()
			return err
		}
		return tx.Commit()
	})
	if err == nil {
		db.outage.over(nil)
	}
	return db.explain(ctx, err)
}

// Close writes what the ledger still has and closes the database. An error says
// that usage was not written; the next server then recounts.
func (db *DB) Close() error {
	db.mu.Lock()
	closed, l := db.closed, db.ledger
	db.closed = true
	db.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if l != nil {
		err = l.close()
	}
	return errors.Join(err, db.selected.Close(), db.sql.Close())
}

// Lookup returns an account. Fields of its settings that this dray does not know
// are passed over; Put keeps them.
func (db *DB) Lookup(ctx context.Context, name string) (account.Account, error) {
	r, failed, err := db.row(ctx, name)
	if err != nil {
		return account.Account{}, err
	}
	a, err := db.account(name, r)
	if err == nil && failed == nil {
		db.keeper().told(a)
	}
	return a, err
}

// A row is what the database has of one account.
type row struct {
	hash     string
	settings string
	files    int
	bytes    int64
}

// row asks the database. When it can't answer, and name is known, the row is
// what was known, without usage, and failed the reason.
func (db *DB) row(ctx context.Context, name string) (r row, failed, err error) {
	seen := db.known.changes()
	err = db.read(ctx, func() error {
		return db.selected.QueryRowContext(ctx, name).Scan(&r.hash, &r.settings, &r.files, &r.bytes)
	})
	switch {
	case err == nil:
		db.known.add(name, r, seen)
		return r, nil, nil
	case errors.Is(err, sql.ErrNoRows):
		db.known.drop(name)
		return row{}, nil, notFound(name)
	case ctx.Err() != nil:
		return row{}, nil, ctx.Err()
	}
	r, ok := db.known.get(name)
	if !ok {
		return row{}, nil, err
	}
	if db.outage.tell() {
		db.log.Error("the database of accounts does not answer; those who were here before go on", "error", err)
	}
	return r, err, nil
}

func notFound(name string) error { return fmt.Errorf("account %q: %w", name, fs.ErrNotExist) }

// account reads a row.
func (db *DB) account(name string, r row) (account.Account, error) {
	var a account.Account
	if err := json.Unmarshal([]byte(r.settings), &a); err != nil {
		return account.Account{}, db.unreadable(name, err)
	}
	a.Name, a.Hash = name, account.Hash(r.hash)
	return a, nil
}

func (db *DB) unreadable(name string, err error) error {
	return &Error{
		File: db.file, What: fmt.Sprintf("the settings of account %q can't be read", name),
		Do: "remove the account and add it again, or put a backup of the database in place", Err: err,
	}
}

// All returns the accounts in the order of the bytes of their names. An account
// whose settings can't be read comes as its name with an error, and the rest
// follow; after any other error nothing does.
func (db *DB) All(ctx context.Context) iter.Seq2[account.Account, error] {
	return func(yield func(account.Account, error) bool) {
		// By pages, so that no connection is held while the caller works.
		const page = 200
		type named struct {
			name string
			row
		}
		for last, more := "", true; more; {
			var batch []named
			err := db.read(ctx, func() error {
				batch = batch[:0]
				rows, err := db.sql.QueryContext(ctx, `SELECT name, hash, settings FROM accounts WHERE name > $1 ORDER BY name LIMIT $2`, last, page)
				if err != nil {
					return err
				}
				defer func() { _ = rows.Close() }()
				for rows.Next() {
					var n named
					if err := rows.Scan(&n.name, &n.hash, &n.settings); err != nil {
						return err
					}
					batch = append(batch, n)
				}
				return rows.Err()
			})
			if err != nil {
				yield(account.Account{}, err)
				return
			}
			for _, n := range batch {
				last = n.name
				a, err := db.account(n.name, n.row)
				a.Name = n.name
				if !yield(a, err) {
					return
				}
			}
			more = len(batch) == page
		}
	}
}

// Put writes a whole account. It refuses what can't be stored as it is: no name,
// the anonymous account, text that is not UTF-8. Settings that a newer dray has
// stored under names that this one does not know stay. An account that was stored
// before there were IDs has none until it is removed: with a new one its sessions
// would end.
func (db *DB) Put(ctx context.Context, a account.Account) error {
	if err := storable(a); err != nil {
		return fmt.Errorf("store account %q: %w", a.Name, err)
	}
	settings, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("store account %q: %w", a.Name, err)
	}
	// Also after an error: a commit may have happened that nobody heard of.
	defer func() {
		db.known.forget(a.Name)
		db.keeper().changed(a.Name)
	}()
	return db.write(ctx, func(tx *sql.Tx) error {
		var old string
		err := tx.QueryRowContext(ctx, `SELECT settings FROM accounts WHERE name = $1`, a.Name).Scan(&old)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			old = `{"id":"` + rand.Text() + `"}`
		case err != nil:
			return err
		}
		merged, err := merge(settings, []byte(old))
		if err != nil {
			return db.unreadable(a.Name, err)
		}
		if _, err := tx.ExecContext(ctx, `
			INSERT INTO accounts (name, hash, settings, changed) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, settings = excluded.settings, changed = excluded.changed`,
			a.Name, string(a.Hash), string(merged), time.Now().Unix()); err != nil {
			return err
		}
		return count(ctx, tx)
	})
}

// count says to Changed that something has changed.
func count(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `UPDATE state SET value = value + 1 WHERE name = 'changes'`)
	return err
}

// storable tells why an account would not come back as it is.
func storable(a account.Account) error {
	switch {
	case a.Name == "":
		return errors.New("it has no name")
	case a.Anonymous:
		return errors.New("the anonymous account is not stored")
	}
	text := append([]string{a.ID, a.Home, a.Charset}, a.Protocols...)
	text = append(append(text, a.Certificates...), a.Factors...)
	for _, k := range a.Keys {
		text = append(append(append(text, k.Key, k.Comment), k.From...), k.Principals...)
	}
	for _, m := range a.Mounts {
		text = append(text, m.At, m.Dir)
	}
	for _, p := range a.Paths {
		text = append(text, p.Path)
	}
	for _, s := range text {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%q is not UTF-8", s) // JSON would replace the bytes
		}
	}
	return nil
}

// merge adds to the settings what old has under names that account.Account does
// not have, and its ID where they have none. It refuses old settings that it does
// not understand inside a name that it does: they would be lost.
func merge(settings, old []byte) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(old, &all); err != nil {
		return nil, err
	}
	kept, known := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for name, value := range all {
		if names[name] {
			known[name] = value
		}
		if !names[name] || name == "id" {
			kept[name] = value
		}
	}
	b, err := json.Marshal(known)
	if err != nil {
		return nil, err
	}
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(new(account.Account)); err != nil {
		return nil, err
	}
	if len(kept) == 0 {
		return settings, nil
	}
	if err := json.Unmarshal(settings, &kept); err != nil {
		return nil, err
	}
	return json.Marshal(kept)
}

// names are the settings of an account.Account as JSON has them.
var names = func() map[string]bool {
	m := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[account.Account]()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
			m[name] = true
		}
	}
	return m
}()

// Remove removes an account and its usage.
func (db *DB) Remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer db.known.forget(name) // also after an error, as in Put
	l := db.keeper()
	if l != nil {
		// Usage that is being written would go to a later account of the name.
		select {
		case l.flushing <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		defer func() { <-l.flushing }()
	}
	err := db.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `DELETE FROM accounts WHERE name = $1`, name) // and its usage, by the schema
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, notFound(name))
		}
		return count(ctx, tx)
	})
	if err == nil {
		l.removed(name)
	} else {
		l.changed(name)
	}
	return err
}

// Changed is a number that goes up when any process stores or removes an account
// or asks for a recount. It costs one short query.
func (db *DB) Changed(ctx context.Context) (int64, error) {
	var n int64
	err := db.read(ctx, func() error {
		return db.sql.QueryRowContext(ctx, `SELECT value FROM state WHERE name = 'changes'`).Scan(&n)
	})
	return n, err
}

// Usage is what the database knows of an account's files; the server may be a
// quarter of a second ahead of it.
type Usage struct {
	Files   int
	Bytes   int64
	Recount bool // a recount was asked for and is not done
}

// Usage returns the usage of an account; fs.ErrNotExist when there is no such
// account.
func (db *DB) Usage(ctx context.Context, name string) (Usage, error) {
	var u Usage
	err := db.read(ctx, func() error {
		return db.sql.QueryRowContext(ctx, `
			SELECT COALESCE(u.files, 0), COALESCE(u.bytes, 0), COALESCE(u.recount, 0) > 0
			FROM accounts a LEFT JOIN usage u ON u.account = a.name WHERE a.name = $1`, name).Scan(&u.Files, &u.Bytes, &u.Recount)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return Usage{}, notFound(name)
	}
	return u, err
}

// WantRecount asks the server that runs on this database, or the next one, to
// measure what an account uses.
func (db *DB) WantRecount(ctx context.Context, name string) error {
	return db.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO usage (account, files, bytes, recount) SELECT name, 0, 0, 1 FROM accounts WHERE name = $1
			ON CONFLICT (account) DO UPDATE SET recount = usage.recount + 1`, name)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, notFound(name))
		}
		return count(ctx, tx)
	})
}

// memory is the accounts that were looked up, for when the database fails.
type memory struct {
	mu   sync.Mutex
	rows map[string]row
	gone int64 // goes up when something is forgotten
}

// remembered is how many accounts are remembered, about 1 KiB each.
const remembered = 10_000

// changes is to be taken before the query whose result is added.
func (m *memory) changes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone
}

// add remembers a row, unless something was forgotten while it was asked for: it
// may be older than that.
func (m *memory) add(name string, r row, seen int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone != seen {
		return
	}
	if m.rows == nil {
		m.rows = map[string]row{}
	}
	if _, ok := m.rows[name]; !ok && len(m.rows) >= remembered {
		for other := range m.rows { // any
			delete(m.rows, other)
			break
		}
	}
	m.rows[name] = r
}

// forget is for an account that was changed here.
func (m *memory) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, name)
	m.gone++
}

// drop is for a name that was not found. Strangers who guess names don't keep
// others from being remembered.
func (m *memory) drop(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, name)
}

func (m *memory) get(name string) (row, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rows[name]
	return r, ok
}
