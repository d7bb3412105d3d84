package ftp

import (
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseFactsLine reads one line of MLSD, or of the body of MLST: facts, one blank
// and a name to which everything behind that belongs (RFC 3659, 7.2). A blank
// before the facts, facts that nobody knows, values that do not parse and any
// case are tolerated; so are blanks in the target of a link and in the names of
// owner and group, and a missing last semicolon. A line that begins with a blank
// and has no facts is a name alone. ErrSyntax is a line that is neither, is above
// 8 KiB, or has CR, LF or NUL in it.
func ParseFactsLine(line string) (Listed, error) {
	if len(line) > maxReplyLine || !NameOK(line) {
		return Listed{}, ErrSyntax
	}
	unblanked, blank := strings.CutPrefix(line, " ")
	facts, name, ok := cutFacts(unblanked)
	if !ok && blank {
		facts, name, ok = nil, unblanked, true
	}
	if !ok || name == "" {
		return Listed{}, ErrSyntax
	}
	l := Listed{Entry: Entry{Name: name}}
	var owner, group string // numbers
	for _, f := range facts {
		l.tell(f, &owner, &group)
	}
	if l.Owner == "" {
		l.Owner = owner
	}
	if l.Group == "" {
		l.Group = group
	}
	if l.Owner != "" || l.Group != "" {
		l.Known |= KnownOwner
	}
	return l, nil
}

// tell takes what one fact says. Where owner and group are numbers only, they are
// left in these.
func (l *Listed) tell(f Value, owner, group *string) {
	switch strings.ToLower(f.Name) {
	case "type":
		l.tellType(f.Value)
	case "size", "sizd":
		if n, ok := number(f.Value, math.MaxInt64); ok {
			l.Size = n
			l.Known |= KnownSize
		}
	case "modify":
		if t, step, ok := toldTime(f.Value); ok {
			l.Time, l.Step = t, step
			l.Known |= KnownTime
		}
	case "perm":
		l.Perm = f.Value
	case "unique":
		l.Unique = f.Value
	case "unix.mode": // pyftpdlib writes 0o644
		if n, err := strconv.ParseUint(strings.TrimPrefix(f.Value, "0o"), 8, 24); err == nil {
			l.Mode = l.Mode&fs.ModeType | goMode(uint32(n))
			l.Known |= KnownMode
		}
	case "unix.ownername":
		l.Owner = f.Value
	case "unix.groupname":
		l.Group = f.Value
	case "unix.uid", "unix.owner":
		if n, ok := number(f.Value, math.MaxUint32); ok {
			l.UID = uint32(n)
		}
		*owner = f.Value
	case "unix.gid", "unix.group":
		if n, ok := number(f.Value, math.MaxUint32); ok {
			l.GID = uint32(n)
		}
		*group = f.Value
	}
}

func (l *Listed) tellType(value string) {
	kind, target, _ := strings.Cut(value, ":")
	kind = strings.ToLower(kind)
	var mode fs.FileMode
	switch special, unix := strings.CutPrefix(kind, "os.unix="); {
	case kind == "file":
	case kind == "dir":
		mode = fs.ModeDir
	case kind == "cdir":
		mode, l.Kind = fs.ModeDir, KindCdir
	case kind == "pdir":
		mode, l.Kind = fs.ModeDir, KindPdir
	case !unix:
		return
	case special == "slink" || special == "symlink":
		mode, l.Target = fs.ModeSymlink, target
	case special == "fifo" || special == "pipe":
		mode = fs.ModeNamedPipe
	case special == "socket" || special == "sock":
		mode = fs.ModeSocket
	case strings.HasPrefix(special, "chr"): // the numbers of the device may follow
		mode = fs.ModeDevice | fs.ModeCharDevice
	case strings.HasPrefix(special, "blk"):
		mode = fs.ModeDevice
	default:
		return
	}
	l.Mode = l.Mode&^fs.ModeType | mode
	l.Known |= KnownType
}

// toldTime reads a time that may lack its seconds, and any number of digits of a
// fraction; what is finer than a nanosecond is cut off.
func toldTime(s string) (t time.Time, step time.Duration, ok bool) {
	whole, frac, fraction := strings.Cut(s, ".")
	if fraction && !digits(frac) {
		return time.Time{}, 0, false
	}
	switch {
	case len(whole) == len("YYYYMMDDhhmm"):
		step = time.Minute
		t, err := parseMinute(whole)
		return t, step, err == nil
	case fraction:
		frac = frac[:min(len(frac), 9)]
		whole += "." + frac
	}
	step = time.Second
	for range frac {
		step /= 10
	}
	t, err := ParseTime(whole)
	return t, step, err == nil
}

// goMode is the inverse of unixMode.
func goMode(u uint32) fs.FileMode {
	m := fs.FileMode(u & 0o777)
	if u&0o4000 != 0 {
		m |= fs.ModeSetuid
	}
	if u&0o2000 != 0 {
		m |= fs.ModeSetgid
	}
	if u&0o1000 != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// cutFacts splits a line into its facts, of which there is one at least, and the
// name.
func cutFacts(line string) (facts []Value, name string, ok bool) {
	// A semicolon stands before the blank that ends the facts. The first such blank
	// is the first one at all, unless values hold some.
	if head, name, found := strings.Cut(line, "; "); found {
		if facts, ok = splitFacts(head); ok {
			return facts, name, true
		}
	}
	head, name, found := strings.Cut(line, " ")
	if !found {
		return nil, "", false
	}
	facts, ok = splitFacts(head)
	return facts, name, ok
}

// splitFacts reads "fact=value;fact=value".
func splitFacts(s string) ([]Value, bool) {
	facts := make([]Value, 0, maxValues)
	for part := range strings.SplitSeq(s, ";") {
		f, ok := cutValue(part)
		if !ok || strings.Contains(f.Name, " ") || strings.Contains(f.Value, " ") && !mayHoldBlanks(f.Name) {
			return nil, false
		}
		facts = append(facts, f)
	}
	return facts, true
}

func mayHoldBlanks(fact string) bool {
	switch strings.ToLower(fact) {
	case "type", "unix.owner", "unix.ownername", "unix.group", "unix.groupname":
		return true
	}
	return false
}
