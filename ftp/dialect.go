package ftp

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// A ListParser reads the lines of LIST in whatever dialect the server speaks; no
// document says what the lines look like (RFC 959, 4.1.3). The first line that
// is understood decides the dialect. Each later line is read in that dialect, and
// in the others when it does not fit, because some servers mix them. A parser is
// for one listing, and for one goroutine. It needs time in proportion to the
// length of a line, and no memory of those that it has read.
//
// What counts is told by Known. A size in blocks or rounded ("33.5k", VMS, CMS)
// is in Size without KnownSize, for people to look at. A date that may be
// read in two ways is no KnownTime.
type ListParser struct {
	Now  time.Time      // what times without a year are near to; zero: time.Now
	Zone *time.Location // of the server's clock, which most lines do not tell; nil: UTC

	known  dialect
	half   string // the first half of a VMS entry
	unread int
	first  string // the first line of those
	order  dateOrder
}

const (
	maxListLine  = 8 << 10 // bytes; a longer line is not understood
	maxListWords = 40      // the words of a line that are looked at; the name is not split
	maxShown     = 200     // bytes of the line that Unread shows
)

// A verdict is what a dialect makes of a line.
type verdict int

const (
	foreign verdict = iota // not in this dialect
	silent                 // no entry: the first half of one, the directory itself
	entry
)

// A dialect is a form of listing. While none is known they are tried in this
// order; those with the clearest marks come first.
type dialect int

const (
	noDialect dialect = iota
	inEPLF
	inUnix
	inNetware
	inDOS
	inCE
	inVMS
	inOS400
	inMVS
	inPDS
	inVM
	inNonstop
	inOS2
	inVxworks
	inNortel
	numDialects
)

var dialectNames = [numDialects]string{
	inEPLF: "eplf", inUnix: "unix", inNetware: "netware", inDOS: "dos", inCE: "ce", inVMS: "vms",
	inOS400: "os400", inMVS: "mvs", inPDS: "pds", inVM: "vm", inNonstop: "nonstop", inOS2: "os2",
	inVxworks: "vxworks", inNortel: "nortel",
}

// read reads a line in one dialect.
func (p *ListParser) read(d dialect, line string) (Listed, verdict) {
	switch d {
	case inEPLF:
		return p.eplf(line)
	case inUnix:
		return p.unix(line)
	case inNetware:
		return p.netware(line)
	case inDOS:
		return p.dos(line)
	case inCE:
		return p.ce(line)
	case inVMS:
		return p.vms(line)
	case inOS400:
		return p.os400(line)
	case inMVS:
		return p.mvs(line)
	case inPDS:
		return p.pds(line)
	case inVM:
		return p.vm(line)
	case inNonstop:
		return p.nonstop(line)
	case inOS2:
		return p.os2(line)
	case inVxworks:
		return p.vxworks(line)
	case inNortel:
		return p.nortel(line)
	}
	return Listed{}, foreign
}

// Line reads one line, with or without its end. ok is false when there is no
// entry to show: the line is a header, a sum, blank, the first half of an entry,
// "." or "..", or it was not understood, which Unread counts. A Name that comes
// back is not empty, holds no CR, LF or NUL and is what the server wrote, but for
// three dialects: a directory of VMS has lost its ".DIR;1" (files keep their
// ";version", several of which may be listed), file name and file type of
// CMS are joined by a dot, as its server wants them back, and a slash that only
// marks a directory is gone.
func (p *ListParser) Line(line string) (l Listed, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if len(line) > maxListLine || !NameOK(line) {
		p.missed(p.half)
		p.half = ""
		p.missed(line)
		return Listed{}, false
	}
	if strings.Trim(line, " \t") == "" {
		return Listed{}, false
	}
	v := foreign
	if half := p.half; half != "" {
		p.half = ""
		w := new(words)
		w.split(line)
		if l, v = p.vmsRest(half, w, 0); v == foreign {
			p.missed(half)
		} else {
			p.known = inVMS
		}
	}
	if v == foreign {
		l, v = p.entry(line)
	}
	switch {
	case v == foreign:
		if !p.header(line) {
			p.missed(line)
		}
	case v == entry && l.Name != "." && l.Name != "..":
		return l, true
	}
	return Listed{}, false
}

func (p *ListParser) entry(line string) (Listed, verdict) {
	if l, v := p.in(p.known, line); v != foreign {
		return l, v
	}
	for d := noDialect + 1; d < numDialects; d++ {
		if d == p.known {
			continue
		}
		if l, v := p.in(d, line); v != foreign {
			if p.known == noDialect && v == entry {
				p.known = d
			}
			return l, v
		}
	}
	return Listed{}, foreign
}

func (p *ListParser) in(d dialect, line string) (Listed, verdict) {
	l, v := p.read(d, line)
	if v == entry && (l.Name == "" || l.Size < 0) {
		v = foreign
	}
	if v != entry {
		l = Listed{}
	}
	return l, v
}

func (p *ListParser) missed(line string) {
	if line == "" {
		return
	}
	p.unread++
	if p.first == "" {
		p.first = strings.Clone(line[:min(len(line), maxShown)])
	}
}

// Unread tells how many lines no dialect knows, so that a client can say so
// instead of showing an empty directory, and the first of them, cut after 200
// bytes. Often it is a message: "ls: permission denied".
func (p *ListParser) Unread() (lines int, first string) {
	if p.half == "" {
		return p.unread, p.first
	}
	if p.unread == 0 {
		first = p.half[:min(len(p.half), maxShown)]
	} else {
		first = p.first
	}
	return p.unread + 1, first
}

// Dialect is the dialect that the first line or a header has told: "unix", "dos", "ce",
// "eplf", "netware", "vms", "os400", "mvs" (data sets), "pds" (their members),
// "vm", "nonstop", "os2", "vxworks", "nortel"; "" before.
func (p *ListParser) Dialect() string { return dialectNames[p.known] }

// header tells whether a line that is no entry is one of those that stand around
// entries.
func (p *ListParser) header(line string) bool {
	w := new(words)
	w.split(line)
	head := func(words ...string) bool {
		for i, word := range words {
			if !strings.EqualFold(w.word(i), word) {
				return false
			}
		}
		return true
	}
	switch {
	case w.n >= 2 && w.n <= 4 && sum(w.word(0)) && startsWithDigit(w.word(1)): // ls
		return true
	case head("total", "of"), head("grand", "total", "of"): // VMS
		return true
	case head("Directory") && strings.HasSuffix(w.word(1), "]"),
		w.n == 1 && strings.Contains(line, ":[") && strings.HasSuffix(w.word(0), "]"):
		p.known = inVMS
		return true
	case head("Volume") && strings.EqualFold(w.word(w.n-1), "Dsname"):
		p.known = inMVS
		return true
	case head("Name", "VV.MM"), head("Name", "Size", "TTR"):
		p.known = inPDS
		return true
	case head("File", "Code", "EOF"):
		p.known = inNonstop
		return true
	case head("size", "date", "time", "name"):
		p.known = inVxworks
		return true
	case head("Filename", "FileType"):
		p.known = inVM
		return true
	case head("value", "="): // the shell of VxWorks
		return true
	case head("Volume", "in", "drive"), head("Volume", "Serial", "Number"), head("Directory", "of"), // DIR of DOS
		head(w.word(0), "File(s)"), head(w.word(0), "Dir(s)"):
		return true
	}
	return strings.Trim(line, "-= \t") == ""
}

// sum is the word that "ls" puts before the sum of blocks.
func sum(word string) bool {
	switch strings.TrimRight(strings.ToLower(word), ":") {
	case "total", "insgesamt", "gesamt", "summe", "totale", "totaal", "razem", "summa", "celkem",
		"celkom", "toplam", "összesen", "итого", "всего", "合計", "合计", "总计", "总用量", "總計", "합계":
		return true
	}
	return false
}

// words are the first words of a line, split at blanks and tabs. They are kept on
// the stack.
type words struct {
	line string
	n    int
	at   [maxListWords][2]int
}

func (w *words) split(line string) {
	w.line = line
	for i := 0; i < len(line) && w.n < maxListWords; {
		for i < len(line) && blank(line[i]) {
			i++
		}
		start := i
		for i < len(line) && !blank(line[i]) {
			i++
		}
		if i > start {
			w.at[w.n] = [2]int{start, i}
			w.n++
		}
	}
}

func blank(b byte) bool { return b == ' ' || b == '\t' }

// word is the word at i, "" where there is none.
func (w *words) word(i int) string {
	if i < 0 || i >= w.n {
		return ""
	}
	return w.line[w.at[i][0]:w.at[i][1]]
}

// after is what stands behind the word at i and one blank.
func (w *words) after(i int) string {
	if i < 0 || i >= w.n {
		return ""
	}
	rest := w.line[w.at[i][1]:]
	if rest != "" {
		rest = rest[1:]
	}
	return rest
}

// trimmed is after without any blanks around it.
func (w *words) trimmed(i int) string { return strings.Trim(w.after(i), " \t") }

// gap counts the blanks before the word at i, which is not the first.
func (w *words) gap(i int) int { return w.at[i][0] - w.at[i-1][1] }

// cutBlanks cuts at most n blanks from the beginning, all when n is negative.
func cutBlanks(s string, n int) string {
	for n != 0 && s != "" && blank(s[0]) {
		s = s[1:]
		n--
	}
	return s
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// bytesOf reads a size; one that no int64 holds is none, and -1 comes with it.
func bytesOf(s string) (n int64, digits bool) {
	if !isDigits(s) {
		return -1, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1, true
	}
	return n, true
}

// grouped reads a size that may have a separator before each three digits.
func grouped(s string) (int64, bool) {
	if isDigits(s) {
		n, ok := bytesOf(s)
		return n, ok
	}
	var sep byte
	plain := make([]byte, 0, 24)
	run := 0
	for i := range len(s) {
		switch b := s[i]; {
		case b >= '0' && b <= '9':
			plain = append(plain, b)
			run++
		case b == ',' || b == '.' || b == '\'':
			if sep == 0 && (run == 0 || run > 3) || sep != 0 && (run != 3 || b != sep) {
				return -1, false
			}
			sep, run = b, 0
		default:
			return -1, false
		}
		if len(plain) > 20 {
			return -1, false
		}
	}
	if run != 3 {
		return -1, false
	}
	return bytesOf(string(plain))
}

func (l *Listed) setSize(n int64) {
	if n >= 0 {
		l.Size = n
		l.Known |= KnownSize
	}
}

func (l *Listed) setTime(s stamp) {
	if s.step > 0 {
		l.Time, l.Step = s.t, s.step
		l.Known |= KnownTime
	}
}

func (l *Listed) setOwner(owner, group string) {
	l.Owner, l.Group = owner, group
	if owner != "" || group != "" {
		l.Known |= KnownOwner
	}
}

func (l *Listed) setType(kind fs.FileMode) {
	l.Mode |= kind
	l.Known |= KnownType
}

// setLink takes a name with "name -> target" apart. Where the arrow is there more
// than once, the size decides, which is the length of the target on most systems,
// and else the first arrow.
func (l *Listed) setLink(name string) {
	const arrow = " -> "
	l.Name, l.Target = name, ""
	first := -1
	for at := 1; at < len(name); {
		i := strings.Index(name[at:], arrow)
		if i < 0 {
			break
		}
		at += i
		if first < 0 {
			first = at
		}
		if int64(len(name)-at-len(arrow)) == l.Size {
			first = at
			break
		}
		at++
	}
	if first > 0 {
		l.Name, l.Target = name[:first], name[first+len(arrow):]
	}
}
