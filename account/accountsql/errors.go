package accountsql

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// An Error is a database that can't be used, for whoever runs the server. It
// never goes to a peer.
type Error struct {
	File string // the database
	What string // what is wrong with it, as the rest of a sentence about it
	Do   string // what to do about it
	Err  error  // the cause, if another layer named one
}

func (e *Error) Error() string {
	if e.Err != nil {
		return "accounts in " + e.File + ": " + e.What + ": " + e.Err.Error()
	}
	return "accounts in " + e.File + ": " + e.What
}

func (e *Error) Unwrap() error { return e.Err }

// code is the primary result code of SQLite, 0 for other errors.
func code(err error) int {
	var se *sqlite.Error
	if errors.As(err, &se) {
		return se.Code() & 0xff
	}
	return 0
}

func isBusy(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
}

// explain makes an *Error of what SQLite says. Others, fs.ErrNotExist and the
// errors of contexts among them, stay as they are.
func (db *DB) explain(ctx context.Context, err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err() // what SQLite says of an interrupted statement helps nobody
	}
	e := &Error{File: db.file, Err: err}
	dir := filepath.Dir(db.file)
	switch code(err) {
	case 0:
		return err
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		e.What = "another program has locked it"
		e.Do = "`fuser -v " + db.file + "` lists who has it open; end the program that holds it"
	case sqlite3.SQLITE_FULL:
		e.What = "the disk is full"
		e.Do = "make room: `df -h " + dir + "` shows how much there is; nothing that was stored is lost"
	case sqlite3.SQLITE_NOTADB:
		e.What = "it is no database, or is damaged"
		e.Do = "name another file, or put a backup in its place"
	case sqlite3.SQLITE_CORRUPT:
		e.What = "it is damaged"
		e.Do = "put a backup in its place; what can be saved of it `sqlite3 " + db.file + " .recover` prints"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		e.What = "it can't be written"
		e.Do = "the user that dray runs as must be able to write the file and the directory " + dir
	case sqlite3.SQLITE_CANTOPEN:
		e.What = "it can't be opened"
		e.Do = "the user that dray runs as must be able to read and write the file and the directory " + dir
	case sqlite3.SQLITE_IOERR:
		e.What = "the disk can't be read or written"
		e.Do = "look at the kernel's log (`dmesg`) and at `df -h " + dir + "`"
	default:
		e.What = "it can't be used"
		e.Do = "run `sqlite3 " + db.file + " 'PRAGMA integrity_check'`"
	}
	return e
}

// explainFile is explain for what the operating system says of the file.
func (db *DB) explainFile(err error) error {
	e := &Error{File: db.file, What: "it can't be made", Err: err}
	dir := filepath.Dir(db.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.What, e.Do = "its directory is missing", "make the directory "+dir+", owned by the user that dray runs as, of mode 0700"
	case errors.Is(err, fs.ErrPermission):
		e.Do = "the user that dray runs as must be able to write the directory " + dir
	default:
		e.Do = "look at " + dir + ", or name a file in another directory"
	}
	if fi, serr := os.Stat(db.file); serr == nil && fi.IsDir() {
		e.What, e.Do = "it is a directory", "name a file in it"
	}
	return e
}

// An outage is what the last answers of the database say about the next. While
// it lasts, one caller in a second tries and the others need not wait with it.
type outage struct {
	mu      sync.Mutex
	err     error // nil: it works
	since   time.Time
	trying  bool
	told    time.Time
	toldYet bool
}

// again is how long nobody asks after a failure.
const again = time.Second

// admit returns nil to who may ask, and who then must call over; else the error
// of the outage.
func (o *outage) admit() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return nil
	}
	if o.trying || time.Since(o.since) < again {
		return o.err
	}
	o.trying = true
	return nil
}

// over ends an attempt.
func (o *outage) over(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err, o.since, o.trying = err, time.Now(), false
}

// unknown ends an attempt that has shown nothing: its caller has left.
func (o *outage) unknown() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trying = false
}

// now is the error of the outage; nil when there is none.
func (o *outage) now() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// tell tells whether it is time for a line in the log: one a minute.
func (o *outage) tell() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.toldYet && time.Since(o.told) < time.Minute {
		return false
	}
	o.told, o.toldYet = time.Now(), true
	return true
}
