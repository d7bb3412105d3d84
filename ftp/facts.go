package ftp

import (
	"io/fs"
	"strconv"
	"strings"
)

// Facts is a set of facts of MLST and MLSD (RFC 3659, 7.5).
type Facts uint32

// The facts, in the order in which they are written.
const (
	FactType   Facts = 1 << iota // type
	FactSize                     // size
	FactModify                   // modify
	FactPerm                     // perm
	FactUnique                   // unique
	FactMode                     // UNIX.mode
	FactUID                      // UNIX.uid
	FactGID                      // UNIX.gid
	FactOwner                    // UNIX.ownername
	FactGroup                    // UNIX.groupname

	AllFacts     = FactGroup<<1 - 1
	DefaultFacts = FactType | FactSize | FactModify | FactPerm | FactUnique
)

var factNames = [...]string{"type", "size", "modify", "perm", "unique",
	"UNIX.mode", "UNIX.uid", "UNIX.gid", "UNIX.ownername", "UNIX.groupname"}

// ParseFacts reads the argument of OPTS MLST, "type;size;". Case does not
// matter, and facts that nobody knows are no error (RFC 3659, 7.9).
func ParseFacts(arg string) Facts {
	var f Facts
	for name := range strings.SplitSeq(arg, ";") {
		for i, known := range factNames {
			if strings.EqualFold(name, known) {
				f |= 1 << i
			}
		}
	}
	return f
}

// String is what OPTS MLST answers with: "type;size;", in the order of writing.
func (f Facts) String() string {
	var b strings.Builder
	for i, name := range factNames {
		if f&(1<<i) != 0 {
			b.WriteString(name + ";")
		}
	}
	return b.String()
}

// FeatFacts is what FEAT says after MLST: all facts, those in on with a star
// (RFC 3659, 7.8).
func FeatFacts(on Facts) string {
	var b strings.Builder
	for i, name := range factNames {
		b.WriteString(name)
		if on&(1<<i) != 0 {
			b.WriteByte('*')
		}
		b.WriteByte(';')
	}
	return b.String()
}

// AppendFacts appends one entry of MLST or MLSD without an end of line:
// "fact=value;" for the facts of f that e has, a space and the name. Directories
// have no size. The type of a symbolic link is OS.unix=slink:target, without the
// target where it is unknown or would break the line for a client that splits it
// at the first space or semicolon. The caller leaves out names that are not
// NameOK; should one come, its CR, LF and NUL become '?'.
func AppendFacts(dst []byte, f Facts, e Entry) []byte {
	if f&FactType != 0 {
		dst = append(dst, "type="...)
		dst = append(appendType(dst, &e), ';')
	}
	if f&FactSize != 0 && !e.isDir() {
		dst = append(dst, "size="...)
		dst = append(strconv.AppendInt(dst, max(e.Size, 0), 10), ';')
	}
	if f&FactModify != 0 && !e.Time.IsZero() {
		dst = append(dst, "modify="...)
		dst = append(appendTime(dst, e.Time), ';')
	}
	if f&FactPerm != 0 {
		dst = append(dst, "perm="...)
		dst = append(appendWord(dst, e.Perm), ';')
	}
	if f&FactUnique != 0 && e.Dev|e.Ino != 0 {
		dst = append(dst, "unique="...)
		dst = append(strconv.AppendUint(dst, e.Dev, 16), '.')
		dst = append(strconv.AppendUint(dst, e.Ino, 16), ';')
	}
	if f&FactMode != 0 {
		dst = append(dst, "UNIX.mode="...)
		for m, shift := unixMode(e.Mode), 9; shift >= 0; shift -= 3 {
			dst = append(dst, '0'+byte(m>>shift&7))
		}
		dst = append(dst, ';')
	}
	if f&FactUID != 0 {
		dst = append(dst, "UNIX.uid="...)
		dst = append(strconv.AppendUint(dst, uint64(e.UID), 10), ';')
	}
	if f&FactGID != 0 {
		dst = append(dst, "UNIX.gid="...)
		dst = append(strconv.AppendUint(dst, uint64(e.GID), 10), ';')
	}
	if f&FactOwner != 0 && e.Owner != "" {
		dst = append(dst, "UNIX.ownername="...)
		dst = append(appendWord(dst, e.Owner), ';')
	}
	if f&FactGroup != 0 && e.Group != "" {
		dst = append(dst, "UNIX.groupname="...)
		dst = append(appendWord(dst, e.Group), ';')
	}
	dst = append(dst, ' ')
	return appendOneLine(dst, e.Name)
}

func appendType(dst []byte, e *Entry) []byte {
	switch {
	case e.Kind == KindCdir:
		return append(dst, "cdir"...)
	case e.Kind == KindPdir:
		return append(dst, "pdir"...)
	case e.Mode.IsDir():
		return append(dst, "dir"...)
	case e.Mode&fs.ModeSymlink != 0:
		dst = append(dst, "OS.unix=slink"...)
		if factValue(e.Target) {
			dst = append(append(dst, ':'), e.Target...)
		}
		return dst
	case e.Mode&fs.ModeNamedPipe != 0:
		return append(dst, "OS.unix=fifo"...)
	case e.Mode&fs.ModeSocket != 0:
		return append(dst, "OS.unix=socket"...)
	case e.Mode&fs.ModeCharDevice != 0:
		return append(dst, "OS.unix=chr"...)
	case e.Mode&fs.ModeDevice != 0:
		return append(dst, "OS.unix=blk"...)
	}
	return append(dst, "file"...)
}

// factValue tells whether s may stand in a fact as it is. RFC 3659, 7.2 has
// ASCII only; we let other bytes pass, because names are bytes everywhere else.
func factValue(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == ';' {
			return false
		}
	}
	return s != ""
}

// unixMode is the lowest twelve bits of a mode as Unix numbers them.
func unixMode(m fs.FileMode) uint32 {
	u := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		u |= 0o4000
	}
	if m&fs.ModeSetgid != 0 {
		u |= 0o2000
	}
	if m&fs.ModeSticky != 0 {
		u |= 0o1000
	}
	return u
}
