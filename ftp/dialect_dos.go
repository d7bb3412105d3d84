package ftp

import (
	"io/fs"
	"strings"
)

// dos reads the lines of IIS and of others that write like DIR of DOS:
// "04-27-00  12:09PM       <DIR>          name".
func (p *ListParser) dos(line string) (Listed, verdict) {
	l, wide, v := p.dosLine(line)
	if wide {
		v = foreign
	}
	return l, v
}

// ce reads the lines of Windows CE: as dos, with times of 24 hours or wider
// columns.
func (p *ListParser) ce(line string) (Listed, verdict) {
	l, wide, v := p.dosLine(line)
	if !wide {
		v = foreign
	}
	return l, v
}

func (p *ListParser) dosLine(line string) (l Listed, wide bool, v verdict) {
	w := new(words)
	w.split(line)
	if !startsWithDigit(w.word(0)) {
		return l, false, foreign
	}
	order := p.order
	y, m, d, ok := p.numericDate(w.word(0))
	if !ok {
		return l, false, foreign
	}
	c, half, last, ok := dosClock(w)
	if !ok || w.n < last+3 {
		p.order = order
		return l, false, foreign
	}
	s := stamp{step: c.step}
	if s.t, ok = at(y, m, d, c, p.zone()); !ok {
		p.order = order
		return l, false, foreign
	}
	l.setTime(s)
	what := w.word(last + 1)
	gap := w.gap(last + 1)
	name := w.after(last + 1)
	column := len(line) - len(name)
	short := len(w.word(0)) == 8
	switch kind, tag := dosTags(what); {
	case tag:
		l.setType(kind)
		fill := 14 - len(what) // the column of "<DIR>" and ten blanks, less the one that is cut
		if len(name)-len(cutBlanks(name, -1)) > max(fill, 0) && gap != 7 && gap != 4 {
			fill = -1 // columns of another width
		}
		wide = short && (!half || gap == 10)
		name = cutBlanks(name, fill)
		if kind == fs.ModeSymlink {
			l.setLink(name)
			if i := strings.Index(name, " ["); l.Target == "" && i > 0 && strings.HasSuffix(name, "]") {
				l.Name, l.Target = name[:i], name[i+2:len(name)-1]
			}
		} else {
			l.Name = name
		}
	default:
		n, ok := grouped(what)
		if !ok {
			p.order = order
			return l, false, foreign
		}
		l.setType(0)
		l.setSize(n)
		l.Name = name
		if short { // the size stands left of where IIS writes it, and the name where it belongs
			l.Name = cutBlanks(name, max(len(w.word(0))+31-column, 0))
		}
		wide = short && (!half || column >= 48 && len(what) <= 12)
	}
	return l, wide, entry
}

func dosTags(s string) (kind fs.FileMode, ok bool) {
	switch strings.ToUpper(s) {
	case "<DIR>":
		return fs.ModeDir, true
	case "<JUNCTION>", "<SYMLINKD>", "<SYMLINK>":
		return fs.ModeSymlink, true
	}
	return 0, false
}

// dosClock reads the time in the second word, and the AM or PM at its end or in
// the third.
func dosClock(w *words) (c daytime, half bool, last int, ok bool) {
	word, last := w.word(1), 1
	if next := w.word(2); strings.EqualFold(next, "AM") || strings.EqualFold(next, "PM") {
		word += next
		last = 2
	}
	var pm bool
	if n := len(word); n > 2 && word[n-1]|0x20 == 'm' {
		switch word[n-2] | 0x20 {
		case 'a':
		case 'p':
			pm = true
		default:
			return c, false, 0, false
		}
		half = true
		word = word[:n-2]
	}
	c, ok = clock(word)
	if !ok || half && (c.hour < 1 || c.hour > 12) {
		return c, half, last, false
	}
	if half {
		c.hour %= 12
		if pm {
			c.hour += 12
		}
	}
	return c, half, last, true
}

// os2 reads "     0           DIR   12-30-97   12:32  name".
func (p *ListParser) os2(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	n, ok := bytesOf(w.word(0))
	if !ok {
		return l, foreign
	}
	l.setSize(n)
	l.setType(0)
	i := 1
	for ; i < 5; i++ {
		word := w.word(i)
		if word == "DIR" {
			l.Mode |= fs.ModeDir
		} else if word == "" || strings.Trim(word, "RHSAV") != "" {
			break
		}
	}
	order := p.order
	y, m, d, ok1 := p.numericDate(w.word(i))
	c, ok2 := clock(w.word(i + 1))
	if !ok1 || !ok2 || w.n < i+3 {
		p.order = order
		return l, foreign
	}
	s := stamp{step: c.step}
	if s.t, ok = at(y, m, d, c, p.zone()); !ok {
		p.order = order
		return l, foreign
	}
	l.setTime(s)
	l.Name = cutBlanks(w.after(i+1), 1)
	return l, entry
}

// vxworks reads "   2048    Feb-28-1998  05:23:30   name   <DIR>".
func (p *ListParser) vxworks(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	n, ok := bytesOf(w.word(0))
	y, m, d, ok1 := dateByName(w.word(1))
	c, ok2 := clock(w.word(2))
	if !ok || !ok1 || !ok2 || m == 0 || startsWithDigit(w.word(1)) || w.n < 4 {
		return l, foreign
	}
	s := stamp{step: c.step}
	if s.t, ok = at(y, m, d, c, p.zone()); !ok {
		return l, foreign
	}
	l.setTime(s)
	l.setSize(n)
	name, dir := strings.CutSuffix(w.trimmed(2), "<DIR>")
	if dir {
		l.setType(fs.ModeDir)
	} else {
		l.setType(0)
	}
	l.Name = strings.TrimRight(name, " \t")
	return l, entry
}

// nortel reads what the wfFtp routers write:
// "startup.cfg   2116  03/06/03  Thur.    07:38:50".
func (p *ListParser) nortel(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	n, ok := bytesOf(w.word(1))
	if w.n != 5 || !ok || !wordy(w.word(3)) {
		return l, foreign
	}
	order := p.order
	y, m, d, ok1 := p.numericDate(w.word(2))
	c, ok2 := clock(w.word(4))
	s := stamp{step: c.step}
	if s.t, ok = at(y, m, d, c, p.zone()); !ok || !ok1 || !ok2 {
		p.order = order
		return l, foreign
	}
	l.setTime(s)
	l.setSize(n)
	l.setType(0)
	l.Name = w.word(0)
	return l, entry
}
