package sftpclient

import (
	"fmt"
	"strings"

	"dray/sftp"
)

// A Trace sees what goes to and fro, a line for each packet, without the contents
// of files. Its functions are called one at a time each, in the order of the
// packets, must return soon and must not use the Client. nil: nobody looks.
type Trace struct {
	Sent, Got func(line string)
}

func (t *Trace) sent(q *sftp.Request) {
	if t.Sent != nil {
		t.Sent(requestLine(q))
	}
}

func (t *Trace) got(p *sftp.Reply) {
	if t.Got != nil {
		t.Got(replyLine(p))
	}
}

// verbs are the requests as the draft and people call them.
var verbs = map[sftp.Type][2]string{
	sftp.TypeInit: {"INIT", "begin"}, sftp.TypeOpen: {"OPEN", "open"}, sftp.TypeClose: {"CLOSE", "close"},
	sftp.TypeRead: {"READ", "read"}, sftp.TypeWrite: {"WRITE", "write"}, sftp.TypeLstat: {"LSTAT", "look at"},
	sftp.TypeFstat: {"FSTAT", "look at"}, sftp.TypeSetstat: {"SETSTAT", "change the attributes of"},
	sftp.TypeFsetstat: {"FSETSTAT", "change the attributes of"}, sftp.TypeOpendir: {"OPENDIR", "list"},
	sftp.TypeReaddir: {"READDIR", "list"}, sftp.TypeRemove: {"REMOVE", "delete"}, sftp.TypeMkdir: {"MKDIR", "make the directory"},
	sftp.TypeRmdir: {"RMDIR", "delete the directory"}, sftp.TypeRealpath: {"REALPATH", "resolve"}, sftp.TypeStat: {"STAT", "look at"},
	sftp.TypeRename: {"RENAME", "rename"}, sftp.TypeReadlink: {"READLINK", "read the link"}, sftp.TypeSymlink: {"SYMLINK", "make the link"},
}

// extVerbs are those of the extensions.
var extVerbs = map[string]string{
	sftp.ExtPosixRename: "rename", sftp.ExtStatvfs: "tell the space at", sftp.ExtFstatvfs: "tell the space at", sftp.ExtHardlink: "link",
	sftp.ExtFsync: "write to disk", sftp.ExtLsetstat: "change the attributes of", sftp.ExtLimits: "tell its limits",
	sftp.ExtExpandPath: "resolve", sftp.ExtCopyData: "copy", extCopyFile: "copy", sftp.ExtHomeDirectory: "tell the home of", sftp.ExtUsersGroups: "tell the names of owners",
	sftp.ExtCheckName: "sum up", sftp.ExtCheckHandle: "sum up", sftp.ExtCheck: "sum up",
}

// wire is what the draft calls a request, and plain what people do.
func wire(q *sftp.Request) string {
	if q.Type == sftp.TypeExtended {
		return clean(string(q.Extension))
	}
	return verbs[q.Type][0]
}

func plain(q *sftp.Request) string {
	if q.Type == sftp.TypeExtended {
		return extVerbs[string(q.Extension)]
	}
	return verbs[q.Type][1]
}

var openFlags = []string{"read", "write", "append", "create", "trunc", "excl"}

func requestLine(q *sftp.Request) string {
	var b strings.Builder
	b.WriteString(wire(q))
	if q.Type == sftp.TypeInit {
		fmt.Fprintf(&b, " version %d", q.Version)
		return b.String()
	}
	fmt.Fprintf(&b, " %d", q.ID)
	if len(q.Handle) > 0 {
		fmt.Fprintf(&b, " handle %x", q.Handle)
	}
	if q.Path != nil {
		fmt.Fprintf(&b, " %q", q.Path)
	}
	if q.To != nil {
		fmt.Fprintf(&b, " %q", q.To)
	}
	switch q.Type {
	case sftp.TypeOpen:
		for i, name := range openFlags {
			if q.Flags>>i&1 != 0 {
				b.WriteString(" " + name)
			}
		}
	case sftp.TypeRead:
		fmt.Fprintf(&b, " at %d, %d bytes", q.Offset, q.Length)
	case sftp.TypeWrite:
		fmt.Fprintf(&b, " at %d, %d bytes", q.Offset, len(q.Data))
	case sftp.TypeExtended:
		if len(q.Into) > 0 {
			fmt.Fprintf(&b, " at %d, %d bytes into %x at %d", q.Offset, q.Size, q.Into, q.At)
		}
		if len(q.Algorithms) > 0 {
			fmt.Fprintf(&b, " %q at %d, %d bytes, blocks of %d", q.Algorithms, q.Offset, q.Size, q.Block)
		}
	}
	attrsLine(&b, &q.Attrs)
	return b.String()
}

func attrsLine(b *strings.Builder, a *sftp.Attributes) {
	if a.Has(sftp.HasSize) {
		fmt.Fprintf(b, " size %d", a.Size)
	}
	if a.Has(sftp.HasOwner) {
		fmt.Fprintf(b, " owner %d:%d", a.UID, a.GID)
	}
	if a.Has(sftp.HasMode) {
		fmt.Fprintf(b, " mode %o", a.Mode)
	}
	if a.Has(sftp.HasTimes) {
		fmt.Fprintf(b, " time %d", a.MTime)
	}
}

func replyLine(p *sftp.Reply) string {
	var b strings.Builder
	switch p.Type {
	case sftp.TypeVersion:
		fmt.Fprintf(&b, "VERSION %d", p.Version)
		for _, x := range p.Pairs {
			fmt.Fprintf(&b, " %s=%s", clean(string(x.Name)), clean(string(x.Data)))
		}
	case sftp.TypeStatus:
		fmt.Fprintf(&b, "STATUS %d %s", p.ID, codeName(p.Code))
		if len(p.Text) > 0 {
			fmt.Fprintf(&b, " %q", bounded(string(p.Text)))
		}
	case sftp.TypeHandle:
		fmt.Fprintf(&b, "HANDLE %d %x", p.ID, p.Handle)
	case sftp.TypeData:
		fmt.Fprintf(&b, "DATA %d %d bytes", p.ID, len(p.Data))
	case sftp.TypeName:
		fmt.Fprintf(&b, "NAME %d %d names", p.ID, len(p.Names))
		if len(p.Names) == 1 {
			fmt.Fprintf(&b, " %q", bounded(string(p.Names[0].Name)))
		}
	case sftp.TypeAttrs:
		fmt.Fprintf(&b, "ATTRS %d", p.ID)
		attrsLine(&b, &p.Attrs)
	default:
		fmt.Fprintf(&b, "EXTENDED_REPLY %d %d bytes", p.ID, len(p.Data))
	}
	return b.String()
}
