package accountsql

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"

	"github.com/pressly/goose/v3"
)

// The schema, as numbered steps. Each engine has a folder of its own; the
// queries are the same for all.
//
//go:embed migrations
var migrations embed.FS

// schema is the version of the schema that this package reads and writes.
const schema = 1

// versions is the table of the steps that were taken. Its name tells our files
// from those of other programs.
const versions = "dray_schema"

// version is that of the schema in the file; 0 for an empty one. It only reads.
func (db *DB) version(ctx context.Context) (int64, error) {
	rows, err := db.sql.QueryContext(ctx, `SELECT name FROM sqlite_master WHERE type = 'table'`)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var tables []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return 0, err
		}
		tables = append(tables, name)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	switch {
	case len(tables) == 0:
		return 0, nil
	case !slices.Contains(tables, versions):
		return 0, &Error{
			File: db.file, What: "it is the database of another program",
			Do: "name another file for the accounts",
		}
	}
	var v sql.NullInt64
	err = db.sql.QueryRowContext(ctx, `SELECT MAX(version_id) FROM `+versions+` WHERE is_applied <> 0`).Scan(&v)
	return v.Int64, err
}

// checkVersion refuses a schema above ours before anything is written.
func (db *DB) checkVersion(ctx context.Context) (int64, error) {
	v, err := db.version(ctx)
	if err == nil && v > schema {
		err = &Error{
			File: db.file, What: fmt.Sprintf("it was written by a newer dray (schema %d, this one knows %d)", v, schema),
			Do: "install that version again, or name another file; nothing in this one was changed",
		}
	}
	return v, err
}

// migrate brings the file to our schema.
func (db *DB) migrate(ctx context.Context) error {
	if v, err := db.checkVersion(ctx); err != nil || v == schema {
		return err
	}
	steps, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.sql, steps,
		goose.WithTableName(versions), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	if _, err = p.Up(ctx); err != nil {
		// Another process may have taken the same step at the same moment.
		if v, verr := db.version(ctx); verr == nil && v == schema {
			return nil
		}
	}
	return err
}
