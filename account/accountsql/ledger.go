package accountsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"dray/account"
	"dray/fault"
)

// A Ledger keeps the usage of all accounts in memory, exact at any moment, and
// writes it to the database behind the uploads, which never wait for that. One
// server at a time keeps the ledger of a database.
//
// Quotas are those of the accounts, read again when they are older than a second;
// what this process stores counts at once. While the database does not answer,
// accounts in use go on with what is known of them. A name that the database does
// not have (the anonymous account) has no quota, and its usage is not stored.
type Ledger struct {
	db      *DB
	lock    *os.File // nil where the file system has none
	unclean bool

	wake     chan struct{} // there is something to write
	quit     context.Context
	stop     context.CancelFunc
	done     chan struct{}
	flushing chan struct{} // held by the one who writes usage

	mu      sync.Mutex
	closed  bool
	entries map[string]*entry
	unsaved map[string]*entry
}

var _ account.Ledger = (*Ledger)(nil)

const (
	flushEvery = 250 * time.Millisecond
	limitsLast = time.Second
)

// An entry is one account. Ledger.mu guards all but name and asking.
type entry struct {
	name   string
	asking chan struct{} // held by the one who asks the database

	loaded    bool      // total is known; before that it is what was booked since
	asked     time.Time // when limits were read; zero: to be read again
	turn      int       // goes up when a query in flight may be out of date
	writing   bool      // a flush is in flight
	max       amount    // quota; 0: none
	guest     amount    // quota of a name that the database does not have
	total     amount    // settled
	unwritten amount    // of it, what the database does not have
	held      amount
	holds     int
	recounts  []*Recount
}

// An amount is what is counted. Its fields may be negative as differences.
type amount struct {
	files int
	bytes int64
}

func (a amount) plus(b amount) amount  { return amount{a.files + b.files, a.bytes + b.bytes} }
func (a amount) minus(b amount) amount { return amount{a.files - b.files, a.bytes - b.bytes} }
func (a amount) floor() amount         { return amount{max(a.files, 0), max(a.bytes, 0)} }

var (
	errClosed  = errors.New("the ledger is closed")
	errSettled = errors.New("the hold is settled already")
)

// Ledger begins to keep the usage of the accounts, until Close. It is for the
// server; commands that only look or change accounts never call it. While another
// server keeps it the error is an *Error. When the last
// server did not end by Close, every account is marked for a recount. The second
// call returns the same Ledger.
func (db *DB) Ledger(ctx context.Context) (*Ledger, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, errClosed
	}
	if db.ledger != nil {
		return db.ledger, nil
	}
	l := &Ledger{
		db: db, wake: make(chan struct{}, 1), done: make(chan struct{}), flushing: make(chan struct{}, 1),
		entries: map[string]*entry{}, unsaved: map[string]*entry{},
	}
	lock, taken, err := lockFile(db.file + "-server")
	if err != nil {
		return nil, db.explainFile(err)
	}
	if taken {
		return nil, &Error{File: db.file, What: "another server runs on them", Do: "stop that one first, or give this one a state directory of its own"}
	}
	l.lock = lock
	err = db.write(ctx, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, `SELECT value <> 0 FROM state WHERE name = 'keeping'`).Scan(&l.unclean); err != nil {
			return err
		}
		if l.unclean {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO usage (account, files, bytes, recount) SELECT name, 0, 0, 1 FROM accounts WHERE true
				ON CONFLICT (account) DO UPDATE SET recount = usage.recount + 1`); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `UPDATE state SET value = 1 WHERE name = 'keeping'`)
		return err
	})
	if err != nil {
		l.unlock()
		return nil, err
	}
	l.quit, l.stop = context.WithCancel(context.Background())
	go l.run()
	db.ledger = l
	return l, nil
}

// keeper is the ledger, nil when none was begun.
func (db *DB) keeper() *Ledger {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.ledger
}

// NeedsRecount tells whether the last server ended without Close, so that what
// it booked last may be missing. RecountWanted then names all accounts.
func (l *Ledger) NeedsRecount() bool { return l.unclean }

// Hold reserves room. files and bytes are not negative. It waits for the
// database when the account was not used for a second.
func (l *Ledger) Hold(ctx context.Context, name string, files int, bytes int64) (account.Hold, error) {
	if files < 0 || bytes < 0 {
		return nil, fmt.Errorf("hold %d files and %d bytes: less than nothing", files, bytes)
	}
	e, err := l.entry(ctx, name)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	h := &hold{l: l, e: e}
	if err := h.reserve(amount{files, bytes}); err != nil {
		return nil, err
	}
	e.holds++
	for _, r := range e.recounts { // what it writes may be measured half, and is booked at its end
		r.disturbed = true
	}
	return h, nil
}

// Adjust books a change; usage ends at 0 when it would be less. It fails only
// when ctx has ended or the ledger is closed.
func (l *Ledger) Adjust(ctx context.Context, name string, files int, bytes int64) error {
	e, err := l.entry(ctx, name)
	if e == nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	l.book(e, amount{files, bytes})
	return nil
}

// Usage is what is settled; open holds are not in it.
func (l *Ledger) Usage(ctx context.Context, name string) (files int, bytes int64, err error) {
	e, err := l.entry(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !e.loaded {
		return 0, 0, l.db.outage.now()
	}
	return e.total.files, e.total.bytes, nil
}

// Guest gives a name that the database does not have (the anonymous account) a
// quota, 0 for none, and says what it uses. That is kept in memory only.
func (l *Ledger) Guest(name string, maxFiles int, maxBytes int64, files int, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[name]
	if e == nil {
		e = &entry{name: name, asking: make(chan struct{}, 1)}
		l.entries[name] = e
	}
	e.guest = amount{maxFiles, maxBytes}
	e.max, e.total, e.loaded, e.asked = e.guest, amount{files, bytes}, true, time.Time{}
}

// entry returns the account's entry with limits of the last second. An entry
// that comes with an error could not be loaded; without one, ctx has ended or
// the ledger is closed.
func (l *Ledger) entry(ctx context.Context, name string) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return nil, errClosed
		}
		e := l.entries[name]
		if e == nil {
			e = &entry{name: name, asking: make(chan struct{}, 1)}
			l.entries[name] = e
		}
		fresh, loaded := e.fresh(), e.loaded
		l.mu.Unlock()
		if fresh || loaded && l.db.outage.now() != nil {
			return e, nil
		}
		select {
		case e.asking <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		done, err := l.load(ctx, e)
		<-e.asking
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case done || err != nil:
			return e, err
		}
		// What was booked before the entry could be loaded is being written: the
		// answer is right when that has ended.
		select {
		case l.flushing <- struct{}{}:
			<-l.flushing
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (e *entry) fresh() bool {
	return e.loaded && !e.asked.IsZero() && time.Since(e.asked) < limitsLast
}

// load asks the database for limits and usage. It tells whether the entry can be
// used now; when not, and without an error, something has happened meanwhile.
func (l *Ledger) load(ctx context.Context, e *entry) (bool, error) {
	l.mu.Lock()
	fresh, turn := e.fresh(), e.turn
	l.mu.Unlock()
	if fresh {
		return true, nil // another one has just asked
	}
	r, failed, err := l.db.row(ctx, e.name)
	return l.learn(e, turn, r, failed, err)
}

// learn takes up what DB.row has answered to a question of that turn.
func (l *Ledger) learn(e *entry, turn int, r row, failed, err error) (bool, error) {
	missing := errors.Is(err, fs.ErrNotExist)
	var a account.Account
	if err == nil {
		a, err = l.db.account(e.name, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case missing:
		e.max, e.loaded, e.asked = e.guest, true, time.Now()
		return true, nil
	case err != nil && e.loaded:
		e.asked = time.Now()
		return true, nil
	case err != nil:
		return false, err
	}
	e.max = amount{a.MaxFiles, a.MaxBytes}
	switch {
	case failed != nil && !e.loaded && e.max != (amount{}):
		return false, failed // nobody knows whether there is room
	case failed != nil:
		return true, nil
	case e.turn != turn || e.writing:
		return e.loaded, nil
	}
	e.total = amount{r.files, r.bytes}.plus(e.unwritten).floor()
	e.loaded, e.asked = true, time.Now()
	return true, nil
}

// told takes up the limits of an account that somebody has just looked up: another
// process may have changed them, and its owner logs in. A Ledger of nil has none.
func (l *Ledger) told(a account.Account) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[a.Name]; e != nil && e.loaded {
		e.max = amount{a.MaxFiles, a.MaxBytes}
	}
}

// changed makes the next Hold read the limits. A Ledger of nil has none.
func (l *Ledger) changed(name string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[name]; e != nil {
		e.asked = time.Time{}
		e.turn++
	}
}

// removed parts the open holds of an account from a later one of its name.
func (l *Ledger) removed(name string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, name)
	delete(l.unsaved, name)
}

// book counts a change. The caller holds l.mu.
func (l *Ledger) book(e *entry, d amount) {
	for _, r := range e.recounts {
		r.since = r.since.plus(d)
		r.disturbed = true
	}
	total := e.total.plus(d)
	if e.loaded {
		total = total.floor()
	}
	d = total.minus(e.total)
	e.total, e.unwritten = total, e.unwritten.plus(d)
	if d == (amount{}) || l.entries[e.name] != e { // removed meanwhile
		return
	}
	l.unsaved[e.name] = e
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run writes in the background what was booked.
func (l *Ledger) run() {
	defer close(l.done)
	var told time.Time
	for wait := flushEvery; ; {
		select {
		case <-l.wake:
		case <-l.quit.Done():
			return
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.quit.Done():
			timer.Stop()
			return
		}
		wait = flushEvery
		if err := l.flush(l.quit, nil); err != nil && l.quit.Err() == nil {
			if told.IsZero() || time.Since(told) >= time.Minute {
				told = time.Now()
				l.db.log.Error("usage can't be written; it is kept in memory", "error", err)
			}
			wait = 4 * flushEvery
			select {
			case l.wake <- struct{}{}:
			default:
			}
		}
	}
}

// flush writes what is unsaved, and what also has, in one transaction. What is
// written are differences, so that nothing is lost that another process did.
func (l *Ledger) flush(ctx context.Context, also func(*sql.Tx) error) error {
	select {
	case l.flushing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.flushing }()
	type change struct {
		e      *entry
		by     amount
		stored amount
		known  bool
	}
	var changes []*change
	l.mu.Lock()
	for _, e := range l.unsaved {
		e.writing = true
		changes = append(changes, &change{e: e, by: e.unwritten})
	}
	clear(l.unsaved)
	l.mu.Unlock()
	if len(changes) == 0 && also == nil {
		return nil
	}
	err := l.db.write(ctx, func(tx *sql.Tx) error {
		for _, c := range changes {
			stored, err := add(ctx, tx, c.e.name, c.by)
			if c.known = err == nil; err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			c.stored = stored
		}
		if also != nil {
			return also(tx)
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		e := c.e
		e.writing = false
		e.turn++
		switch {
		case l.entries[e.name] != e:
		case err != nil:
			l.unsaved[e.name] = e
		default:
			e.unwritten = e.unwritten.minus(c.by)
			if c.known && e.loaded {
				e.total = c.stored.plus(e.unwritten).floor()
			}
		}
	}
	return err
}

// add books a difference in the database and returns the sum; sql.ErrNoRows when
// there is no such account.
func add(ctx context.Context, tx *sql.Tx, name string, by amount) (sum amount, err error) {
	// Not an upsert: its row to insert would be checked first, and may be negative.
	if _, err := tx.ExecContext(ctx, `
		INSERT INTO usage (account, files, bytes) SELECT name, 0, 0 FROM accounts WHERE name = $1
		ON CONFLICT (account) DO NOTHING`, name); err != nil {
		return amount{}, err
	}
	err = tx.QueryRowContext(ctx, `
		UPDATE usage SET
			files = CASE WHEN files + $2 > 0 THEN files + $2 ELSE 0 END,
			bytes = CASE WHEN bytes + $3 > 0 THEN bytes + $3 ELSE 0 END
		WHERE account = $1 RETURNING files, bytes`, name, by.files, by.bytes).Scan(&sum.files, &sum.bytes)
	return sum, err
}

// close writes everything and says that the ledger ended cleanly. Accounts with
// holds that nobody settled are marked for a recount.
func (l *Ledger) close() error {
	defer l.unlock()
	l.stop()
	<-l.done
	l.mu.Lock()
	l.closed = true
	var open []string
	for name, e := range l.entries {
		if e.holds > 0 || len(e.recounts) > 0 {
			open = append(open, name)
		}
	}
	l.mu.Unlock()
	ctx := context.Background() // ends by itself: db.wait
	return l.flush(ctx, func(tx *sql.Tx) error {
		for _, name := range open {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO usage (account, files, bytes, recount) SELECT name, 0, 0, 1 FROM accounts WHERE name = $1
				ON CONFLICT (account) DO UPDATE SET recount = usage.recount + 1`, name); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `UPDATE state SET value = 0 WHERE name = 'keeping'`)
		return err
	})
}

func (l *Ledger) unlock() {
	if l.lock != nil {
		_ = l.lock.Close()
	}
}

// A hold is room of an account. Ledger.mu guards it.
type hold struct {
	l    *Ledger
	e    *entry
	held amount
	done bool
}

// reserve is called under Ledger.mu.
func (h *hold) reserve(a amount) error {
	e := h.e
	used := e.total.plus(e.held)
	if e.max.bytes > 0 && a.bytes > 0 && a.bytes > e.max.bytes-used.bytes {
		// Without what the hold has itself: an upload that is refused gives it back.
		return fault.New(fault.OverQuota, fault.IDQuota, size(used.bytes-h.held.bytes), size(e.max.bytes))
	}
	if e.max.files > 0 && a.files > 0 && a.files > e.max.files-used.files {
		return fault.New(fault.OverQuota, fault.IDQuota, files(used.files), files(e.max.files))
	}
	if a.bytes > math.MaxInt64-max(used.bytes, 0) || a.files > math.MaxInt-max(used.files, 0) {
		return fmt.Errorf("hold %d files and %d bytes: more than can be counted", a.files, a.bytes)
	}
	e.held, h.held = e.held.plus(a), h.held.plus(a)
	return nil
}

func (h *hold) More(ctx context.Context, bytes int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if bytes < 0 {
		return fmt.Errorf("hold %d bytes more: less than nothing", bytes)
	}
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	if h.done {
		return errSettled
	}
	return h.reserve(amount{0, bytes})
}

// Less gives back no more than is held.
func (h *hold) Less(bytes int64) {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	if h.done {
		return
	}
	bytes = max(0, min(bytes, h.held.bytes))
	h.held.bytes -= bytes
	h.e.held.bytes -= bytes
}

// Settle books even when ctx has ended: what is on the disk is there.
func (h *hold) Settle(_ context.Context, files int, bytes int64) error {
	h.l.mu.Lock()
	defer h.l.mu.Unlock()
	if h.done {
		return errSettled
	}
	h.done = true
	h.e.holds--
	h.e.held = h.e.held.minus(h.held)
	if h.l.closed {
		return errClosed // Close has marked the account for a recount
	}
	h.l.book(h.e, amount{files, bytes})
	return nil
}

// size and files write an amount for people.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if f /= 1024; f < 1024 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, unit)
}

func files(n int) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// A Recount measures an account anew while uploads go on: what is booked between
// BeginRecount and Done is added to what was measured. It ends by Done or Cancel.
type Recount struct {
	l         *Ledger
	e         *entry
	mark      int64
	since     amount
	disturbed bool
	ended     bool
}

// BeginRecount is called before the files are looked at. fs.ErrNotExist: there
// is no such account.
func (l *Ledger) BeginRecount(ctx context.Context, name string) (*Recount, error) {
	e, err := l.entry(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &Recount{l: l, e: e}
	err = l.db.read(ctx, func() error {
		return l.db.sql.QueryRowContext(ctx, `
			SELECT COALESCE(u.recount, 0) FROM accounts a LEFT JOIN usage u ON u.account = a.name
			WHERE a.name = $1`, name).Scan(&r.mark)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	r.disturbed = e.holds > 0
	e.recounts = append(e.recounts, r)
	return r, nil
}

// Disturbed tells whether anything was booked since BeginRecount, or an upload ran
// in that time. A file that came or went before the walk reached it is then counted
// twice, and one that is being written half: who wants to be exact cancels and
// begins again.
func (r *Recount) Disturbed() bool {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	return r.disturbed
}

// Done sets the usage to what was measured and what was booked since, in memory
// and in the database, and takes the mark off that asked for it. After an error
// nothing has changed and Done may be called again.
func (r *Recount) Done(ctx context.Context, files int, bytes int64) error {
	l, e := r.l, r.e
	select {
	case l.flushing <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-l.flushing }()
	l.mu.Lock()
	if r.ended || l.closed {
		l.mu.Unlock()
		return errors.New("the recount has ended already")
	}
	if l.entries[e.name] != e {
		l.mu.Unlock()
		return notFound(e.name) // also when there is a new one of that name
	}
	truth := amount{files, bytes}.plus(r.since).floor()
	written := e.unwritten
	e.writing = true
	l.mu.Unlock()
	err := l.db.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO usage (account, files, bytes) SELECT name, $2, $3 FROM accounts WHERE name = $1
			ON CONFLICT (account) DO UPDATE SET files = excluded.files, bytes = excluded.bytes,
				recount = CASE WHEN usage.recount = $4 THEN 0 ELSE usage.recount END`,
			e.name, truth.files, truth.bytes, r.mark)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, notFound(e.name))
		}
		return nil
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	e.writing = false
	e.turn++
	if err != nil {
		return err
	}
	e.unwritten = e.unwritten.minus(written)
	e.total, e.loaded = truth.plus(e.unwritten).floor(), true
	r.end()
	return nil
}

// Cancel ends a recount without a result; the mark that asked for it stays. After
// Done it does nothing.
func (r *Recount) Cancel() {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	r.end()
}

func (r *Recount) end() {
	r.ended = true
	r.e.recounts = slices.DeleteFunc(r.e.recounts, func(o *Recount) bool { return o == r })
}

// RecountWanted names the accounts that were marked for a recount and are not
// being recounted now, in order of name. The mark goes with Recount.Done.
func (l *Ledger) RecountWanted(ctx context.Context) ([]string, error) {
	var names []string
	err := l.db.read(ctx, func() error {
		names = nil
		rows, err := l.db.sql.QueryContext(ctx, `SELECT account FROM usage WHERE recount > 0 ORDER BY account`)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return err
			}
			names = append(names, name)
		}
		return rows.Err()
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(names, func(name string) bool {
		e := l.entries[name]
		return e != nil && len(e.recounts) > 0
	}), err
}
