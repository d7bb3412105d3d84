-- A database as schema 1 left it: two accounts, one with usage, ended cleanly.
PRAGMA foreign_keys = OFF;
BEGIN;
CREATE TABLE dray_schema (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    version_id INTEGER NOT NULL,
    is_applied INTEGER NOT NULL,
    tstamp TIMESTAMP DEFAULT (datetime('now'))
);
INSERT INTO dray_schema VALUES (1, 0, 1, '2026-03-01 10:00:00'), (2, 1, 1, '2026-03-01 10:00:00');
CREATE TABLE accounts (
    name     TEXT    NOT NULL PRIMARY KEY COLLATE BINARY,
    hash     TEXT    NOT NULL,
    settings TEXT    NOT NULL,
    changed  INTEGER NOT NULL
) STRICT;
INSERT INTO accounts VALUES
    ('anna', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA',
     '{"expires":"2031-12-24T18:30:15+01:00","networks":["192.0.2.0/24"],"home":"/srv/ftp/anna","mounts":[{"at":"/projects","dir":"/srv/projects"}],"rights":"read-only,link","paths":[{"path":"/incoming","rights":"upload-only"}],"owner":{"uid":1001,"gid":100,"groups":[4],"umask":23},"max-bytes":1048576,"max-files":10}',
     1772359200),
    ('otto', '', '{"rights":"full"}', 1772359200);
CREATE TABLE usage (
    account TEXT    NOT NULL PRIMARY KEY COLLATE BINARY REFERENCES accounts (name) ON DELETE CASCADE,
    files   INTEGER NOT NULL CHECK (files >= 0),
    bytes   INTEGER NOT NULL CHECK (bytes >= 0),
    recount INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO usage VALUES ('anna', 3, 4096, 0);
CREATE TABLE state (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES ('changes', 2), ('keeping', 0);
COMMIT;
