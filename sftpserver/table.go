package sftpserver

import (
	"dray/sftp"
)

// A request is one row of the table: all that is to know of a request but its
// code. The loop checks the row; handlers check nothing that a row can say.
type request struct {
	typ     sftp.Type
	ext     string // the name of an extension, "" for none
	version string // with which the extension is announced; "": not announced
	handle  bool   // it names an open handle, which the loop finds
	changes bool   // it changes the tree
	run     func(d *dialogue, q *sftp.Request) error
	verb    string // for the log and the reference
	help    string
}

// name is the verb, or the name of the extension.
func (r *request) name() string {
	if r.ext != "" {
		return r.ext
	}
	return r.verb
}

func requests() []request { // a function: VERSION reads the table
	return []request{
		{typ: sftp.TypeOpen, run: (*dialogue).open, verb: "OPEN", help: "open a file to read or write it"},
		{typ: sftp.TypeClose, handle: true, run: (*dialogue).close, verb: "CLOSE", help: "close a handle; an upload is published"},
		{typ: sftp.TypeRead, handle: true, run: (*dialogue).read, verb: "READ", help: "read at an offset"},
		{typ: sftp.TypeWrite, handle: true, changes: true, run: (*dialogue).write, verb: "WRITE", help: "write at an offset"},
		{typ: sftp.TypeLstat, run: (*dialogue).lstat, verb: "LSTAT", help: "attributes of a name, a link itself"},
		{typ: sftp.TypeFstat, handle: true, run: (*dialogue).fstat, verb: "FSTAT", help: "attributes of an open file"},
		{typ: sftp.TypeSetstat, changes: true, run: (*dialogue).setstat, verb: "SETSTAT", help: "set length, mode, times"},
		{typ: sftp.TypeFsetstat, handle: true, changes: true, run: (*dialogue).fsetstat, verb: "FSETSTAT", help: "SETSTAT of an open file"},
		{typ: sftp.TypeOpendir, run: (*dialogue).opendir, verb: "OPENDIR", help: "open a directory to list it"},
		{typ: sftp.TypeReaddir, handle: true, run: (*dialogue).readdir, verb: "READDIR", help: "the next names of a directory"},
		{typ: sftp.TypeRemove, changes: true, run: (*dialogue).remove, verb: "REMOVE", help: "remove a file"},
		{typ: sftp.TypeMkdir, changes: true, run: (*dialogue).mkdir, verb: "MKDIR", help: "make a directory"},
		{typ: sftp.TypeRmdir, changes: true, run: (*dialogue).rmdir, verb: "RMDIR", help: "remove an empty directory"},
		{typ: sftp.TypeRealpath, run: (*dialogue).realpath, verb: "REALPATH", help: "a path in its plain form"},
		{typ: sftp.TypeStat, run: (*dialogue).stat, verb: "STAT", help: "attributes, links followed"},
		{typ: sftp.TypeRename, changes: true, run: (*dialogue).rename, verb: "RENAME", help: "rename; a name that is taken stays"},
		{typ: sftp.TypeReadlink, run: (*dialogue).readlink, verb: "READLINK", help: "where a link leads"},
		{typ: sftp.TypeSymlink, changes: true, run: (*dialogue).symlink, verb: "SYMLINK", help: "make a symbolic link"},

		{ext: sftp.ExtPosixRename, version: "1", changes: true, run: (*dialogue).posixRename, help: "rename, replacing what has the name"},
		{ext: sftp.ExtStatvfs, version: "2", run: (*dialogue).statvfs, help: "room on the file system of a path"},
		{ext: sftp.ExtFstatvfs, version: "2", handle: true, run: (*dialogue).fstatvfs, help: "room on the file system of an open file"},
		{ext: sftp.ExtHardlink, version: "1", changes: true, run: (*dialogue).hardlink, help: "give a file another name, by right"},
		{ext: sftp.ExtLsetstat, version: "1", changes: true, run: (*dialogue).lsetstat, help: "SETSTAT of a link itself"},
		{ext: sftp.ExtFsync, version: "1", handle: true, changes: true, run: (*dialogue).fsync, help: "make what was written durable; an upload is published and goes on in place"},
		{ext: sftp.ExtLimits, version: "1", run: (*dialogue).limits, help: "lengths of packets, number of handles"},
		{ext: sftp.ExtExpandPath, version: "1", run: (*dialogue).expandPath, help: "a path with ~ in its plain form"},
		{ext: sftp.ExtCopyData, version: "1", handle: true, changes: true, run: (*dialogue).copyData, help: "copy from one open file to another"},
		{ext: sftp.ExtCheck, version: sumNames(), handle: true, run: (*dialogue).checkHandle, help: "checksums of an open file"},
		{ext: sftp.ExtCheckHandle, handle: true, run: (*dialogue).checkHandle, help: "checksums of an open file"},
		{ext: sftp.ExtCheckName, run: (*dialogue).checkName, help: "checksums of a file"},
		{ext: sftp.ExtHomeDirectory, version: "1", run: (*dialogue).homeDirectory, help: "the home of a user"},
		{ext: sftp.ExtUsersGroups, version: "1", run: (*dialogue).usersGroups, help: "names of users and groups, which are not told"},
		{ext: sftp.ExtSight, version: "1", run: (*dialogue).sight, help: "what this server has seen of your own connection, as facts"},
	}
}

// extensions is what VERSION announces.
func extensions() []sftp.Pair {
	var all []sftp.Pair
	for _, row := range requests() {
		if row.version != "" {
			all = append(all, sftp.Pair{Name: []byte(row.ext), Data: []byte(row.version)})
		}
	}
	return all
}

// row is that of a request, nil when it is not known.
func (s *Server) row(q *sftp.Request) *request {
	if q.Type == sftp.TypeExtended {
		return s.exts[string(q.Extension)]
	}
	return s.rows[q.Type]
}
