package ftp

import (
	"io/fs"
	"strings"
)

// unix reads the lines of "ls -l" and of the many servers that write like it.
// The columns of inode, blocks, links, owner and group may be missing, names of
// owners may hold blanks, and the date may be in any form of stampAt. The name is
// all that follows one blank behind the date.
func (p *ListParser) unix(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	m := 0 // the word with the mode
	for m < 2 && isDigits(w.word(m)) {
		m++ // inode, blocks
	}
	links, ok := l.setMode(w.word(m))
	if !ok {
		return l, foreign
	}
	if l.Known&KnownMode == 0 {
		return p.unknowable(w, m, l)
	}
	s, size, ok := p.findStamp(w, m)
	if !ok {
		return p.undated(w, m, l)
	}
	name := cutBlanks(w.after(s.last), s.pad)
	l.setTime(s)
	l.setLsSize(w, size)
	l.setOwners(w, m+1, size, links)
	l.setName(name)
	return l, entry
}

// findStamp looks for the date and for the word of the size before it, the first
// that there are. The places where "ls" itself has them go before all others, so
// that no name of an owner can be taken for a date.
func (p *ListParser) findStamp(w *words, m int) (s stamp, size int, ok bool) {
	if isDigits(w.word(m+1)) && isDigits(w.word(m+4)) {
		if s, ok := p.stampAt(w, m+5, false); ok {
			return s, m + 4, true
		}
	}
	for i := m + 2; i < w.n; i++ {
		if sizeWord(w.word(i - 1)) {
			if s, ok := p.stampAt(w, i, false); ok {
				return s, i - 1, true
			}
		}
	}
	for i := m + 2; i < w.n; i++ {
		if sizeWord(w.word(i - 1)) {
			if s, ok := p.bare(w, i); ok {
				return s, i - 1, true
			}
			if s, ok := p.stampAt(w, i, true); ok { // a month of another language
				return s, i - 1, true
			}
		}
	}
	for i := m + 2; i < w.n; i++ { // a group that has grown into the size
		if prev := w.word(i - 1); startsWithDigit(prev[len(prev)-1:]) {
			if s, ok := p.stampAt(w, i, false); ok {
				return s, i - 1, true
			}
		}
	}
	return stamp{}, 0, false
}

// sizeWord tells whether a word may be the size: "1234", "33.5k", "9,730" or the
// minor number of a device.
func sizeWord(s string) bool {
	if !startsWithDigit(s) {
		return false
	}
	switch s[len(s)-1] | 0x20 {
	case 'b', 'k', 'm', 'g', 't', 'p':
		s = s[:len(s)-1]
	}
	return strings.Trim(s, "0123456789,.") == "" && startsWithDigit(s[len(s)-1:])
}

func (l *Listed) setLsSize(w *words, i int) {
	word := w.word(i)
	if l.Mode&fs.ModeDevice != 0 {
		return // major and minor number
	}
	if n, ok := grouped(word); ok {
		l.setSize(n)
		return
	}
	if n, ok := rounded(word); ok {
		l.Size = n
	}
}

// rounded reads "33.5k" and "2KB".
func rounded(s string) (int64, bool) {
	if n := len(s); n > 2 && s[n-1]|0x20 == 'b' && !startsWithDigit(s[n-2:]) {
		s = s[:n-1]
	}
	shift := 0
	if s != "" {
		switch s[len(s)-1] | 0x20 {
		case 'k':
			shift = 10
		case 'm':
			shift = 20
		case 'g':
			shift = 30
		case 't':
			shift = 40
		case 'b':
		default:
			return 0, false
		}
		s = s[:len(s)-1]
	}
	whole, part, _ := strings.Cut(s, ".")
	n, ok := numeral(whole, 6)
	if !ok || part != "" && !isDigits(part) {
		return 0, false
	}
	size := int64(n) << shift
	if part != "" {
		size += int64(part[0]-'0') << shift / 10
	}
	return size, true
}

// setOwners reads what stands between the mode and the size. Names with blanks
// are taken where the columns tell owner from group, and else none.
func (l *Listed) setOwners(w *words, i, size int, glued bool) {
	switch {
	case l.Mode&fs.ModeDevice != 0 && strings.HasSuffix(w.word(size-1), ","):
		size-- // the major number
	case size > i && !sizeWord(w.word(size)):
		return // the group has grown into the size
	}
	first := i
	if !glued && i < size && isDigits(w.word(i)) {
		i++
	}
	if size-i == 3 && strings.Count(w.word(size-1), ":") >= 2 {
		size-- // a context of SELinux
	}
	switch n := size - i; {
	case n <= 0:
	case n == 1 && first < i && l.isFork(w, first):
		// NetPresenz: resource fork, data fork, both
		if !zero(w.word(first)) {
			l.Known &^= KnownSize
		}
	case n == 1 && (first == i && w.word(i) == "folder" || isDigits(w.word(i)) && len(w.word(i)) > 10):
	case n == 1:
		l.setOwner(w.word(i), "")
	case n == 2:
		l.setOwner(w.word(i), w.word(i+1))
	default:
		cut := 0
		for k := i + 1; k < size; k++ {
			if w.gap(k) > 1 {
				if cut > 0 {
					return
				}
				cut = k
			}
		}
		if cut > 0 {
			l.setOwner(w.line[w.at[i][0]:w.at[cut-1][1]], w.line[w.at[cut][0]:w.at[size-1][1]])
		}
	}
}

func zero(s string) bool { return strings.Trim(s, "0") == "" }

func (l *Listed) isFork(w *words, i int) bool {
	a, ok1 := bytesOf(w.word(i))
	b, ok2 := bytesOf(w.word(i + 1))
	return ok1 && ok2 && a >= 0 && b >= 0 && l.Size >= a && l.Size-a == b
}

func (l *Listed) setName(name string) {
	switch {
	case l.Mode&fs.ModeSymlink != 0:
		l.setLink(name)
	case l.Mode.IsDir() && len(name) > 1 && name[len(name)-1] == '/': // ls -F
		l.Name = name[:len(name)-1]
	default:
		l.Name = name
	}
}

// unknowable is what "ls" writes of what it can't look at:
// "d????????? ? ? ? ?            ? name".
func (p *ListParser) unknowable(w *words, m int, l Listed) (Listed, verdict) {
	for i := m + 1; i <= m+5; i++ {
		if w.word(i) != "?" {
			return l, foreign
		}
	}
	l.setName(w.after(m + 5))
	return l, entry
}

// undated reads a line without any date: mode, links, owner, group, size and a
// name of one word.
func (p *ListParser) undated(w *words, m int, l Listed) (Listed, verdict) {
	if w.n != m+6 || !isDigits(w.word(m+1)) || !isDigits(w.word(m+4)) {
		return l, foreign
	}
	l.setLsSize(w, m+4)
	l.setOwner(w.word(m+2), w.word(m+3))
	l.setName(w.after(m + 4))
	return l, entry
}

// setMode reads the ten letters of a mode and the sign of access lists or SELinux
// behind them, into which the number of links may have grown; glued tells that.
// A mode of question marks is not known.
func (l *Listed) setMode(s string) (glued, ok bool) {
	if len(s) < 10 {
		return false, false
	}
	rest := s[10:]
	if rest != "" && strings.IndexByte("+.@-", rest[0]) >= 0 {
		rest = rest[1:]
	}
	if rest != "" && !isDigits(rest) {
		return false, false
	}
	switch s[0] {
	case '-', 'f':
		l.setType(0)
	case 'd':
		l.setType(fs.ModeDir)
	case 'l':
		l.setType(fs.ModeSymlink)
	case 'p':
		l.setType(fs.ModeNamedPipe)
	case 's':
		l.setType(fs.ModeSocket)
	case 'b':
		l.setType(fs.ModeDevice)
	case 'c':
		l.setType(fs.ModeDevice | fs.ModeCharDevice)
	case 'D', 'n', 'P', 'w', 'C': // doors, network files, ports, whiteouts
		l.setType(fs.ModeIrregular)
	case '?':
	default:
		return false, false
	}
	if s[1:10] == "?????????" {
		return false, rest == ""
	}
	if l.Known&KnownType == 0 {
		return false, false
	}
	for i, b := range []byte(s[1:10]) {
		bit := fs.FileMode(1) << (8 - i)
		special := [3]fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}[i/3]
		switch {
		case b == '-':
		case b == "rwx"[i%3]:
			l.Mode |= bit
		case i%3 == 2 && (b == 's' && i < 8 || b == 't' && i == 8):
			l.Mode |= bit | special
		case i%3 == 2 && (b == 'S' && i < 8 || b == 'T' && i == 8):
			l.Mode |= special
		case i == 5 && (b == 'l' || b == 'L'): // mandatory locks of System V
			l.Mode |= special
		default:
			return false, false
		}
	}
	l.Known |= KnownMode
	return rest != "", true
}

// netware reads "d [RWCEAFMS] owner 512 Jan 16 18:53 login". The letters are
// rights of the one who asks, no mode.
func (p *ListParser) netware(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	kind, rights := w.word(0), w.word(1)
	owner, pad := 2, 0
	if len(kind) > 2 && kind[1] == '[' { // d[RWCEAFMS]
		kind, rights, owner, pad = kind[:1], kind[1:], 1, -1
	}
	if kind != "d" && kind != "-" || len(rights) < 3 || rights[0] != '[' || rights[len(rights)-1] != ']' ||
		strings.Trim(rights, "[]-SRWCEAFMDOPIK") != "" {
		return l, foreign
	}
	if kind == "d" {
		l.setType(fs.ModeDir)
	} else {
		l.setType(0)
	}
	for i := owner + 1; i < w.n; i++ {
		if !isDigits(w.word(i - 1)) {
			continue
		}
		s, ok := p.stampAt(w, i, false)
		if !ok {
			s, ok = p.stampAt(w, i, true)
		}
		if !ok {
			continue
		}
		if i-1 > owner {
			l.setOwner(w.line[w.at[owner][0]:w.at[i-2][1]], "")
		}
		n, _ := bytesOf(w.word(i - 1))
		l.setSize(n)
		l.setTime(s)
		l.Name = w.after(s.last)
		if strings.HasPrefix(l.Name, "   ") { // old servers fill a column before the name
			pad = -1
		}
		l.Name = cutBlanks(l.Name, pad)
		return l, entry
	}
	return l, foreign
}
