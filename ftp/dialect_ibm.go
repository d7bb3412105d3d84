package ftp

import (
	"io/fs"
	"strings"
	"time"
)

// mvs reads data sets of z/OS, "Volume Unit Referred Ext Used Recfm Lrecl BlkSz
// Dsorg Dsname". Partitioned ones (PO) and pseudo directories are directories.
// Sizes are in tracks and the date is that of the last use, so neither is known.
// Where the data set is migrated or archived its type is not known either.
func (p *ListParser) mvs(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	if w.n < 2 {
		return l, foreign
	}
	l.Name = w.word(w.n - 1)
	has := func(from int, words ...string) bool {
		for i, word := range words {
			if w.word(from+i) != word {
				return false
			}
		}
		return w.n == from+len(words)+1
	}
	switch {
	case has(0, "Pseudo", "Directory"):
		l.setType(fs.ModeDir)
		return l, entry
	case has(0, "Migrated"), has(0, "User", "catalog", "connector"), has(1, "Not", "Mounted"),
		has(1, "Not", "Direct", "Access", "Device"), has(1, "Error", "determining", "attributes"):
		return l, entry
	case w.n == 3 && volume(w.word(0)) && w.word(1) == "Tape":
		l.setType(0)
		return l, entry
	}
	kind, known, ok := dsorg(w.word(w.n - 2))
	if !ok {
		return l, foreign
	}
	if known {
		l.setType(kind)
	}
	switch {
	case w.n == 2: // a cluster or a group: nothing but what it is
		return l, verdictIf(p.known == inMVS || w.at[0][0] > 40)
	case !volume(w.word(0)) || !unit(w.word(1)):
		return l, foreign
	case w.n == 4: // VSAM
		return l, entry
	}
	a, b, c, sep, ok := dateParts(w.word(2))
	dated := ok && sep == '/' && isDigits(a) && isDigits(b) && isDigits(c) || w.word(2) == "**NONE**"
	return l, verdictIf(dated && w.n >= 7 && w.n <= 10)
}

func verdictIf(ok bool) verdict {
	if ok {
		return entry
	}
	return foreign
}

func volume(s string) bool { return s != "" && len(s) <= 6 }

func unit(s string) bool { return startsWithDigit(s) && len(s) >= 4 && len(s) <= 8 || s == "Tape" }

// dsorg is the organization of a data set. A generation group is a name for
// several, and neither file nor directory.
func dsorg(s string) (kind fs.FileMode, known, ok bool) {
	switch s {
	case "PO", "PO-E", "POU", "LIB":
		return fs.ModeDir, true, true
	case "PS", "PS-E", "PS-L", "PSU", "DA", "DAU", "IS", "ISU", "VS", "VSAM", "HFS", "ZFS", "U":
		return 0, true, true
	case "GDG", "PATH", "ALIAS", "AIX", "NONE", "**":
		return 0, false, true
	}
	return 0, false, false
}

// pds reads members of a partitioned data set: "NAME 01.03 2002/09/12 2002/10/11
// 09:37 11 11 0 USER" with statistics, the name alone without, and the modules of
// a load library, "NAME 005128 000209 01 FO 24 24". Sizes are in records, or
// those of a module in memory, so they are not known.
func (p *ListParser) pds(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	l.setType(0)
	l.Name = w.word(0)
	if !member(l.Name) {
		return l, foreign
	}
	if w.n == 1 {
		return l, verdictIf(p.known == inPDS)
	}
	if version, mod, ok := strings.Cut(w.word(1), "."); ok && len(version) == 2 && isDigits(version) && len(mod) == 2 && isDigits(mod) {
		_, ok1 := slashDate(w.word(2))
		day, ok2 := slashDate(w.word(3))
		c, ok3 := clock(w.word(4))
		if !ok1 || !ok2 || !ok3 || w.n < 8 || w.n > 9 {
			return l, foreign
		}
		s := stamp{step: c.step}
		if s.t, ok = at(day[0], day[1], day[2], c, p.zone()); !ok {
			return l, foreign
		}
		l.setTime(s)
		return l, entry
	}
	size, ttr := w.word(1), w.word(2)
	mode := w.word(w.n - 1)
	return l, verdictIf(len(size) >= 6 && len(size) <= 8 && isHex(size) && len(ttr) == 6 && isHex(ttr) && w.n >= 6 && w.n <= 16 &&
		(mode == "24" || mode == "31" || mode == "64" || mode == "ANY"))
}

// slashDate reads "2002/09/12" and, of old servers, "97/09/12".
func slashDate(s string) (ymd [3]int, ok bool) {
	a, b, c, sep, ok := dateParts(s)
	y, ok1 := shortYear(a)
	m, ok2 := numeral(b, 2)
	d, ok3 := numeral(c, 2)
	return [3]int{y, m, d}, ok && sep == '/' && ok1 && ok2 && ok3
}

// member tells whether s may be the name of a member.
func member(s string) bool {
	for i := range len(s) {
		if b := s[i]; (b < '0' || b > '9') && (b|0x20 < 'a' || b|0x20 > 'z') && strings.IndexByte("$#@{", b) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= 8
}

func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789ABCDEF") == "" }

// os400 reads "OWNER  4019 04/03/18 18:58:16 *STMF      name" of IBM i, with
// nothing but owner, type and name for members. How a date is ordered is a setting
// there: with dots the day is first, with dashes the year, and with slashes a time
// is known when there is one reading of it that is not in the future, or a line
// before has shown the order.
func (p *ListParser) os400(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	t := 1
	for t < 5 && (len(w.word(t)) < 3 || w.word(t)[0] != '*') {
		t++
	}
	kind := w.word(t)
	if t == 2 || t == 5 || len(kind) > 11 || strings.Trim(kind[1:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return l, foreign
	}
	if t == 1 && kind != "*MEM" && p.known != inOS400 {
		return l, foreign
	}
	if t > 1 {
		n, ok := bytesOf(w.word(t - 3))
		c, ok2 := clock(strings.NewReplacer(".", ":", ",", ":").Replace(w.word(t - 1)))
		if !ok || !ok2 || c.step != time.Second {
			return l, foreign
		}
		s, ok := p.jobDate(w.word(t-2), c)
		if !ok {
			return l, foreign
		}
		l.setSize(n)
		l.setTime(s)
	}
	if t != 3 {
		l.setOwner(w.word(0), "")
	}
	switch kind {
	case "*DIR", "*DDIR", "*LIB", "*FLR":
		l.setType(fs.ModeDir)
	case "*SYMLNK":
		l.setType(fs.ModeSymlink)
	case "*FIFO":
		l.setType(fs.ModeNamedPipe)
	case "*SOCKET":
		l.setType(fs.ModeSocket)
	case "*CHRSF":
		l.setType(fs.ModeDevice | fs.ModeCharDevice)
	case "*BLKSF":
		l.setType(fs.ModeDevice)
	default: // a physical file (*FILE) can be retrieved, its first member comes
		l.setType(0)
	}
	l.Name = w.after(t)
	if fill := 10 - len(kind); fill > 0 { // the type fills ten columns, or none
		if cut := cutBlanks(l.Name, fill); len(l.Name)-len(cut) == fill {
			l.Name = cut
		} else {
			l.Name = cutBlanks(l.Name, -1)
		}
	}
	if n := len(l.Name); n > 1 && l.Name[n-1] == '/' {
		l.Name = l.Name[:n-1]
	}
	return l, entry
}

// jobDate reads a date in the format of a job of IBM i.
func (p *ListParser) jobDate(s string, c daytime) (stamp, bool) {
	a, b, y, sep, ok := dateParts(s)
	if !ok {
		return stamp{}, strings.Trim(s, "0123456789/-.,") == "" && len(s) <= 10 // a Julian one
	}
	n := [3]string{a, b, y}
	read := func(order dateOrder) (t time.Time, ok bool) {
		i := [...][3]int{monthFirst: {2, 0, 1}, dayFirst: {2, 1, 0}, yearFirst: {0, 1, 2}}[order]
		year, ok1 := shortYear(n[i[0]])
		month, ok2 := numeral(n[i[1]], 2)
		day, ok3 := numeral(n[i[2]], 2)
		if !ok1 || !ok2 || !ok3 {
			return t, false
		}
		t, ok = at(year, month, day, c, p.zone())
		return t, ok && !t.After(p.now().Add(dayStep))
	}
	order := p.order
	switch sep {
	case '.':
		order = dayFirst
	case '-':
		order = yearFirst
	}
	if order != orderOpen {
		if t, ok := read(order); ok {
			return stamp{t: t, step: c.step}, true
		}
	}
	var found time.Time
	one, same := orderOpen, true
	for _, order := range [...]dateOrder{monthFirst, dayFirst, yearFirst} {
		t, ok := read(order)
		switch {
		case !ok:
		case found.IsZero():
			found, one = t, order
		default:
			same = same && t.Equal(found)
			one = orderOpen
		}
	}
	switch {
	case found.IsZero():
		return stamp{}, false
	case !same:
		return stamp{}, true
	}
	if one != orderOpen {
		p.order = one
	}
	return stamp{t: found, step: c.step}, true
}

// vm reads the files of CMS, "NAME TYPE V 65 107 2 2005-10-04 15:28:42 060191",
// with or without the mode of the disk, and of the byte file system,
// "05/20/2000 13:38:19 F 1 65758 'name'". The records of CMS are no bytes, so
// sizes are known of the byte file system only.
func (p *ListParser) vm(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	if startsWithDigit(w.word(0)) && (w.word(2) == "F" || w.word(2) == "D") && w.n >= 6 {
		return p.vmBytes(w)
	}
	i := 1 // the word with the format
	for i < 4 && w.word(i) != "F" && w.word(i) != "V" && w.word(i) != "DIR" {
		i++
	}
	if i == 4 || w.n < i+6 || w.n > i+8 {
		return l, foreign
	}
	parts := i
	if parts > 1 && diskMode(w.word(i-1)) && (parts == 3 || w.word(i) == "DIR") {
		parts--
	}
	c, ok := clock(w.word(i + 5))
	if !ok {
		return l, foreign
	}
	y, m, d, ok := p.vmDate(w.word(i + 4))
	if !ok {
		return l, foreign
	}
	s := stamp{step: c.step}
	if s.t, ok = at(y, m, d, c, p.zone()); !ok {
		return l, foreign
	}
	if w.word(i) == "DIR" {
		if parts != 1 || w.word(i+1) != "-" || w.word(i+2) != "-" {
			return l, foreign
		}
		l.setType(fs.ModeDir)
		l.Name = w.word(0)
	} else {
		length, ok1 := numeral(w.word(i+1), 9)
		records, ok2 := numeral(w.word(i+2), 9)
		if parts != 2 || !ok1 || !ok2 || !isDigits(w.word(i+3)) {
			return l, foreign
		}
		l.setType(0)
		l.Size = int64(length) * int64(records)
		l.Name = w.word(0) + "." + w.word(1)
	}
	l.setTime(s)
	if owner := w.word(i + 6); owner != "-" {
		l.setOwner(owner, "")
	}
	return l, entry
}

// vmDate reads a date with dashes, or with slashes and the month first.
func (p *ListParser) vmDate(s string) (y, m, d int, ok bool) {
	order := p.order
	y, m, d, ok = p.numericDate(s)
	p.order = order
	return y, m, d, ok
}

// diskMode is a letter and a digit, "A1".
func diskMode(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= '0' && s[1] <= '6'
}

func (p *ListParser) vmBytes(w *words) (l Listed, v verdict) {
	y, m, d, ok1 := p.vmDate(w.word(0))
	c, ok2 := clock(w.word(1))
	s := stamp{step: c.step}
	var ok bool
	if s.t, ok = at(y, m, d, c, p.zone()); !ok || !ok1 || !ok2 {
		return l, foreign
	}
	name := w.trimmed(4)
	if n := len(name); n < 3 || name[0] != '\'' || name[n-1] != '\'' {
		return l, foreign
	}
	if w.word(2) == "D" {
		l.setType(fs.ModeDir)
	} else {
		n, ok := bytesOf(w.word(4))
		if !ok {
			return l, foreign
		}
		l.setType(0)
		l.setSize(n)
	}
	l.setTime(s)
	l.Name = name[1 : len(name)-1]
	return l, entry
}
