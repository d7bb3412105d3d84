-- +goose Up

-- Names are bytes, compared exactly. Settings are the JSON of account.Account.
CREATE TABLE accounts (
    name     TEXT    NOT NULL PRIMARY KEY COLLATE BINARY,
    hash     TEXT    NOT NULL,
    settings TEXT    NOT NULL,
    changed  INTEGER NOT NULL -- seconds since 1970
) STRICT;

-- What the files of an account take. Recount above 0: it is to be measured again.
CREATE TABLE usage (
    account TEXT    NOT NULL PRIMARY KEY COLLATE BINARY REFERENCES accounts (name) ON DELETE CASCADE,
    files   INTEGER NOT NULL CHECK (files >= 0),
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),
    recount INTEGER NOT NULL DEFAULT 0
) STRICT;

-- changes: goes up with every change of an account.
-- keeping: 1 while a server keeps usage in its memory.
CREATE TABLE state (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

INSERT INTO state (name, value) VALUES ('changes', 0), ('keeping', 0);
