//go:build unix

package sftpserver

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dray/fault"
	"dray/sftp"
	"dray/vfs"
)

// Whatever kind of failure it is, the status is one of version 3 and none of success,
// and the text ends with the id.
func TestEveryKindIsAStatusWithItsID(t *testing.T) {
	for kind := range fault.Kind(fault.NumKinds) {
		c, _ := inMemory(t, 0)
		ch := &script{}
		d := &dialogue{conn: c, ctx: t.Context(), ch: &paced{Channel: ch, conn: c}, session: c.session}
		e := fault.Of(&fault.Error{Kind: kind, ID: fault.IDPerm})
		d.refuse(c.server.rows[sftp.TypeOpen], e)
		need(t, d.flush())
		got := ch.replies(t)
		if len(got) != 1 || got[0].Type != sftp.TypeStatus || got[0].Code < sftp.NoSuchFile || got[0].Code > sftp.OpUnsupported {
			t.Errorf("kind %d: %+v", kind, got)
			continue
		}
		if text := string(got[0].Text); !strings.HasSuffix(text, "["+string(e.ID)+"]") {
			t.Errorf("kind %d: %q; want it to end with [%s]", kind, text, e.ID)
		}
	}
}

// What clients hear, and that nothing of the machine is in it.
func TestRefusalsHaveTheirStatusAndTheirID(t *testing.T) {
	st := newStage(t)
	st.put("f", "content")
	st.put("g", "content")
	need(t, os.MkdirAll(filepath.Join(st.dir, "d", "inside"), 0o755))
	need(t, syscall.Mkfifo(filepath.Join(st.dir, "fifo"), 0o644))
	need(t, os.Symlink("loop", filepath.Join(st.dir, "loop")))
	need(t, os.Symlink("/etc/passwd", filepath.Join(st.dir, "out")))
	w := st.newWire()
	reading, dir := w.open("f", sftp.OpenRead), w.do(sftp.Request{Type: sftp.TypeOpendir, Path: []byte("/")}).Handle
	editing := w.open("g", sftp.OpenRead|sftp.OpenWrite)
	long := strings.Repeat("n", vfs.MaxName+1)
	open := func(path string, flags uint32) sftp.Request {
		return sftp.Request{Type: sftp.TypeOpen, Path: []byte(path), Flags: flags}
	}
	on := func(typ sftp.Type, path string) sftp.Request { return sftp.Request{Type: typ, Path: []byte(path)} }
	to := func(typ sftp.Type, from, to string) sftp.Request {
		return sftp.Request{Type: typ, Path: []byte(from), To: []byte(to)}
	}
	ext := func(name string, q sftp.Request) sftp.Request {
		q.Type, q.Extension = sftp.TypeExtended, []byte(name)
		return q
	}
	const excl = sftp.OpenWrite | sftp.OpenCreate | sftp.OpenExcl
	for name, tt := range map[string]struct {
		q    sftp.Request
		code sftp.Code
		id   fault.ID
	}{
		"OPEN of nothing":                         {open("none", sftp.OpenRead), sftp.NoSuchFile, fault.IDNotFound},
		"OPEN of nothing to write":                {open("none", sftp.OpenWrite), sftp.NoSuchFile, fault.IDNotFound},
		"OPEN in nothing":                         {open("none/f", makes), sftp.NoSuchFile, fault.IDNotFound},
		"OPEN of a directory":                     {open("d", sftp.OpenRead), sftp.Failure, fault.IDIsDir},
		"OPEN of a directory to upload":           {open("d", makes), sftp.Failure, fault.IDIsDir},
		"OPEN of a directory to change":           {open("d", sftp.OpenWrite), sftp.Failure, fault.IDIsDir},
		"OPEN of the root to upload":              {open("/", makes), sftp.Failure, fault.IDIsDir},
		"OPEN in a file":                          {open("f/x", sftp.OpenRead), sftp.NoSuchFile, fault.IDNotDir},
		"OPEN in a file to upload":                {open("f/x", makes), sftp.NoSuchFile, fault.IDNotDir},
		"OPEN of a pipe":                          {open("fifo", sftp.OpenRead), sftp.PermissionDenied, fault.IDNotRegular},
		"OPEN of a pipe to upload":                {open("fifo", makes), sftp.PermissionDenied, fault.IDNotRegular},
		"OPEN of a pipe to change":                {open("fifo", sftp.OpenWrite), sftp.PermissionDenied, fault.IDNotRegular},
		"OPEN of a link to itself":                {open("loop", sftp.OpenRead), sftp.PermissionDenied, fault.IDPerm},
		"OPEN of a link that leads out":           {open("out", sftp.OpenRead), sftp.PermissionDenied, fault.IDPerm},
		"OPEN of a link that leads out, to write": {open("out", makes), sftp.PermissionDenied, fault.IDPerm},
		"OPEN of a hidden name":                   {open(".dray-x", makes), sftp.Failure, fault.IDBadName},
		"OPEN of a long name":                     {open(long, makes), sftp.Failure, fault.IDBadName},
		"OPEN of a name with a line end":          {open("a\nb", makes), sftp.Failure, fault.IDBadName},
		"OPEN with EXCL of what is there":         {open("f", excl), sftp.Failure, fault.IDExists},
		"OPENDIR of nothing":                      {on(sftp.TypeOpendir, "none"), sftp.NoSuchFile, fault.IDNotFound},
		"OPENDIR of a file":                       {on(sftp.TypeOpendir, "f"), sftp.NoSuchFile, fault.IDNotDir},
		"STAT of nothing":                         {on(sftp.TypeStat, "none"), sftp.NoSuchFile, fault.IDNotFound},
		"LSTAT of nothing":                        {on(sftp.TypeLstat, "none"), sftp.NoSuchFile, fault.IDNotFound},
		"REALPATH in nothing":                     {on(sftp.TypeRealpath, "none/none"), sftp.NoSuchFile, fault.IDNotFound},
		"READLINK of a file":                      {on(sftp.TypeReadlink, "f"), sftp.PermissionDenied, fault.IDNotRegular},
		"READLINK of what leads out":              {on(sftp.TypeReadlink, "out"), sftp.PermissionDenied, fault.IDPerm},
		"MKDIR of what is there":                  {on(sftp.TypeMkdir, "d"), sftp.Failure, fault.IDExists},
		"MKDIR in nothing":                        {on(sftp.TypeMkdir, "none/d"), sftp.NoSuchFile, fault.IDNotFound},
		"MKDIR of a hidden name":                  {on(sftp.TypeMkdir, ".dray-x"), sftp.Failure, fault.IDBadName},
		"RMDIR of what is not empty":              {on(sftp.TypeRmdir, "d"), sftp.Failure, fault.IDNotEmpty},
		"RMDIR of a file":                         {on(sftp.TypeRmdir, "f"), sftp.NoSuchFile, fault.IDNotDir},
		"RMDIR of nothing":                        {on(sftp.TypeRmdir, "none"), sftp.NoSuchFile, fault.IDNotFound},
		"RMDIR of the root":                       {on(sftp.TypeRmdir, "/"), sftp.PermissionDenied, fault.IDPerm},
		"REMOVE of a directory":                   {on(sftp.TypeRemove, "d"), sftp.Failure, fault.IDIsDir},
		"REMOVE of nothing":                       {on(sftp.TypeRemove, "none"), sftp.NoSuchFile, fault.IDNotFound},
		"RENAME of nothing":                       {to(sftp.TypeRename, "none", "x"), sftp.NoSuchFile, fault.IDNotFound},
		"RENAME to what is there":                 {to(sftp.TypeRename, "f", "g"), sftp.Failure, fault.IDExists},
		"RENAME into nothing":                     {to(sftp.TypeRename, "f", "none/f"), sftp.NoSuchFile, fault.IDNotFound},
		"RENAME of a directory into itself":       {to(sftp.TypeRename, "d", "d/x"), sftp.Failure, fault.IDBadName},
		"RENAME of the root":                      {to(sftp.TypeRename, "/", "x"), sftp.Failure, fault.IDBadName},
		"posix-rename over a directory":           {ext(sftp.ExtPosixRename, to(0, "f", "d")), sftp.Failure, fault.IDIsDir},
		"SYMLINK that leads out":                  {to(sftp.TypeSymlink, "../../etc", "l"), sftp.PermissionDenied, fault.IDPerm},
		"SYMLINK of what is there":                {to(sftp.TypeSymlink, "f", "g"), sftp.Failure, fault.IDExists},
		"hardlink of nothing":                     {ext(sftp.ExtHardlink, to(0, "none", "l")), sftp.NoSuchFile, fault.IDNotFound},
		"hardlink to what is there":               {ext(sftp.ExtHardlink, to(0, "f", "g")), sftp.Failure, fault.IDExists},
		"hardlink of a directory":                 {ext(sftp.ExtHardlink, to(0, "d", "l")), sftp.Failure, fault.IDIsDir},
		"SETSTAT of nothing":                      {sftp.Request{Type: sftp.TypeSetstat, Path: []byte("none"), Attrs: sftp.Attributes{Flags: sftp.HasSize}}, sftp.NoSuchFile, fault.IDNotFound},
		"SETSTAT of the size of a directory":      {sftp.Request{Type: sftp.TypeSetstat, Path: []byte("d"), Attrs: sftp.Attributes{Flags: sftp.HasSize}}, sftp.Failure, fault.IDIsDir},
		"SETSTAT of the owner":                    {sftp.Request{Type: sftp.TypeSetstat, Path: []byte("f"), Attrs: sftp.Attributes{Flags: sftp.HasOwner, UID: 12345}}, sftp.PermissionDenied, fault.IDPerm},
		"SETSTAT of a size that no file has":      {sftp.Request{Type: sftp.TypeSetstat, Path: []byte("f"), Attrs: sftp.Attributes{Flags: sftp.HasSize, Size: 1 << 63}}, sftp.Failure, fault.IDUnsupported},
		"FSETSTAT of a size, opened to read":      {sftp.Request{Type: sftp.TypeFsetstat, Handle: reading, Attrs: sftp.Attributes{Flags: sftp.HasSize}}, sftp.PermissionDenied, fault.IDHandle},
		"lsetstat of a link's mode":               {ext(sftp.ExtLsetstat, sftp.Request{Path: []byte("out"), Attrs: sftp.Attributes{Flags: sftp.HasMode}}), sftp.OpUnsupported, fault.IDUnsupported},
		"WRITE of what is opened to read":         {sftp.Request{Type: sftp.TypeWrite, Handle: reading, Data: []byte("x")}, sftp.PermissionDenied, fault.IDHandle},
		"WRITE of a directory":                    {sftp.Request{Type: sftp.TypeWrite, Handle: dir, Data: []byte("x")}, sftp.Failure, fault.IDIsDir},
		"WRITE beyond what a file can have":       {sftp.Request{Type: sftp.TypeWrite, Handle: editing, Offset: 1 << 63, Data: []byte("x")}, sftp.Failure, fault.IDUnsupported},
		"READ of a directory":                     {sftp.Request{Type: sftp.TypeRead, Handle: dir, Length: 1}, sftp.Failure, fault.IDIsDir},
		"READDIR of a file":                       {sftp.Request{Type: sftp.TypeReaddir, Handle: reading}, sftp.NoSuchFile, fault.IDNotDir},
		"a handle that is none":                   {sftp.Request{Type: sftp.TypeClose, Handle: []byte("12345678")}, sftp.Failure, fault.IDHandle},
		"copy-data of a file into itself":         {ext(sftp.ExtCopyData, sftp.Request{Handle: editing, Into: editing}), sftp.OpUnsupported, fault.IDUnsupported},
		"copy-data into what is opened to read":   {ext(sftp.ExtCopyData, sftp.Request{Handle: editing, Into: reading}), sftp.PermissionDenied, fault.IDHandle},
		"copy-data into a handle that is none":    {ext(sftp.ExtCopyData, sftp.Request{Handle: editing, Into: []byte("12345678")}), sftp.Failure, fault.IDHandle},
		"statvfs of nothing":                      {ext(sftp.ExtStatvfs, on(0, "none")), sftp.NoSuchFile, fault.IDNotFound},
		"expand-path of another user":             {ext(sftp.ExtExpandPath, on(0, "~root/x")), sftp.NoSuchFile, fault.IDNotFound},
		"check-file without an algorithm":         {ext(sftp.ExtCheckName, sftp.Request{Path: []byte("f"), Algorithms: []byte("rot13")}), sftp.OpUnsupported, fault.IDUnsupported},
	} {
		p := w.do(tt.q)
		text := string(p.Text)
		if p.Type != sftp.TypeStatus || p.Code != tt.code || !strings.HasSuffix(text, " ["+string(tt.id)+"]") {
			t.Errorf("%s: status %d %q; want %d and [%s]", name, p.Code, text, tt.code, tt.id)
		}
		if strings.Contains(text, st.dir) || strings.ContainsAny(text, "\r\n\x00") {
			t.Errorf("%s: a client hears %q", name, text)
		}
	}
}
