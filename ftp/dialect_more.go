package ftp

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// eplf reads the "easily parsed LIST format" of D. J. Bernstein,
// "+i8388621.48594,m825718503,r,s280,\tname". What may be retrieved is a file,
// what may be changed to a directory; what is neither is not known.
func (p *ListParser) eplf(line string) (l Listed, v verdict) {
	facts, name, ok := strings.Cut(line, "\t")
	if !ok || facts[:min(1, len(facts))] != "+" {
		return l, foreign
	}
	for fact := range strings.SplitSeq(facts[1:], ",") {
		switch {
		case fact == "/":
			l.setType(fs.ModeDir)
		case fact == "r" && l.Known&KnownType == 0:
			l.setType(0)
		case strings.HasPrefix(fact, "s"):
			n, _ := bytesOf(fact[1:])
			l.setSize(n)
		case strings.HasPrefix(fact, "m"):
			if n, err := strconv.ParseInt(fact[1:], 10, 64); err == nil && n > -1<<36 && n < 1<<37 {
				l.setTime(stamp{t: time.Unix(n, 0).UTC(), step: time.Second})
			}
		case strings.HasPrefix(fact, "up"):
			if n, err := strconv.ParseUint(fact[2:], 8, 32); err == nil && n <= 0o7777 {
				l.Mode |= fs.FileMode(n & 0o777)
				for i, bit := range [...]fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
					if n>>(9+i)&1 != 0 {
						l.Mode |= bit
					}
				}
				l.Known |= KnownMode
			}
		}
	}
	l.Name = name
	return l, entry
}

// vms reads "NAME.EXT;3   2/8   7-JAN-2000 10:30:13.64 [GROUP,OWNER] (RWED,RWED,RE,)",
// with the fields behind the name in any order, or on the next line where the
// name is long. Sizes are blocks of 512 bytes, so they are not known to the byte.
// The master directory lists itself as 000000.DIR;1, which is no entry.
func (p *ListParser) vms(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	if !vmsName(w.word(0)) {
		return l, foreign
	}
	if w.n == 1 {
		p.half = strings.Clone(w.word(0))
		return l, silent
	}
	return p.vmsRest(w.word(0), w, 1)
}

// vmsRest reads the fields behind a name, from the word at i on.
func (p *ListParser) vmsRest(name string, w *words, i int) (l Listed, v verdict) {
	if name[0] == '[' { // [VMSSERV.FILES]ALARM.DIR;1
		name = name[strings.IndexByte(name, ']')+1:]
	}
	if !l.vmsFields(p, w, i) {
		return l, foreign
	}
	l.Name = name
	const dir = ".DIR;1"
	if n := len(name) - len(dir); n > 0 && strings.EqualFold(name[n:], dir) {
		l.setType(fs.ModeDir)
		l.Name = name[:n]
		if l.Name == "000000" {
			return l, silent
		}
	} else {
		l.setType(0)
	}
	return l, entry
}

// vmsName tells whether a word ends in a version.
func vmsName(s string) bool {
	i := strings.LastIndexByte(s, ';')
	if i < 1 || !isDigits(s[i+1:]) || s[0] == '<' {
		return false
	}
	return s[0] != '[' || strings.IndexByte(s, ']') > 0 && strings.IndexByte(s, ']') < i-1
}

func (l *Listed) vmsFields(p *ListParser, w *words, i int) bool {
	if word := w.word(i); strings.HasPrefix(word, "<%") || strings.HasPrefix(word, "%") {
		return strings.Contains(word, "-") // the server may not look at it: only the name is known
	}
	var y, m, d int
	var dated bool
	var c daytime
	c.step = dayStep
	for ; i < w.n; i++ {
		word := w.word(i)
		if y2, m2, d2, ok := dateByName(word); ok && !dated {
			y, m, d, dated = y2, m2, d2, true
			if c2, ok := clock(w.word(i + 1)); ok {
				c = c2
				i++
			}
			continue
		}
		switch {
		case word[0] == '[':
			from := i
			for i < w.n-1 && !strings.HasSuffix(w.word(i), "]") && w.word(i + 1)[0] != '(' {
				i++
			}
			l.vmsOwner(w.line[w.at[from][0]:w.at[i][1]])
		case word[0] == '(':
			from := i
			for i < w.n-1 && !strings.HasSuffix(w.word(i), ")") {
				i++
			}
			l.vmsProtection(w.line[w.at[from][0]:w.at[i][1]])
		case startsWithDigit(word) && l.Size == 0:
			used, _, _ := strings.Cut(word, "/")
			if n, ok := bytesOf(used); ok && n >= 0 && n < 1<<53 {
				l.Size = 512 * n
			} else if n, ok := rounded(word); ok {
				l.Size = n
			} else {
				return false
			}
		case wordy(word) && l.Known&KnownOwner == 0:
			l.setOwner(word, "")
		default:
			return false
		}
	}
	if !dated {
		return false
	}
	if m > 0 {
		s := stamp{step: c.step}
		var ok bool
		if s.t, ok = at(y, m, d, c, p.zone()); !ok {
			return false
		}
		l.setTime(s)
	}
	return true
}

func (l *Listed) vmsOwner(s string) {
	s = strings.Trim(s, "[] \t")
	if group, owner, both := strings.Cut(s, ","); both {
		l.setOwner(strings.Trim(owner, " \t"), strings.Trim(group, " \t"))
	} else {
		l.setOwner(s, "")
	}
}

// vmsProtection reads "(RWED,RWED,RE,)": system, owner, group and world. Execute
// is x; delete has no bit.
func (l *Listed) vmsProtection(s string) {
	classes := strings.Split(strings.Trim(s, "()"), ",")
	if len(classes) != 4 || strings.Trim(s, "(),RWED \t") != "" {
		return
	}
	for i, class := range classes[1:] {
		for k, letter := range "RWE" {
			if strings.ContainsRune(class, letter) {
				l.Mode |= 1 << (8 - 3*i - k)
			}
		}
	}
	l.Known |= KnownMode
}

// nonstop reads the lines of Guardian:
// `NAME   101   2522 27-Aug-02 13:57:10 155,106 "nnnn"`.
func (p *ListParser) nonstop(line string) (l Listed, v verdict) {
	w := new(words)
	w.split(line)
	i := 1
	if word := w.word(1); word == "O" || word == "C" || word == "?" { // open, corrupt
		i = 2
	}
	n, ok := bytesOf(w.word(i + 1))
	y, m, d, ok1 := dateByName(w.word(i + 2))
	c, ok2 := clock(w.word(i + 3))
	security := w.word(w.n - 1)
	if !isDigits(strings.TrimRight(w.word(i), "+PLA")) || !ok || !ok1 || !ok2 || m == 0 || w.n < i+6 || w.n > i+7 ||
		len(security) < 4 || security[0] != '"' && security[0] != '*' {
		return l, foreign
	}
	s := stamp{step: c.step}
	if s.t, ok = at(y, m, d, c, p.zone()); !ok {
		return l, foreign
	}
	group, owner, ok := strings.Cut(w.line[w.at[i+4][0]:w.at[w.n-2][1]], ",")
	owner = strings.Trim(owner, " \t")
	if !ok || !isDigits(group) || !isDigits(owner) {
		return l, foreign
	}
	l.setTime(s)
	l.setSize(n)
	l.setOwner(owner, group)
	l.setType(0) // Guardian has no directories below a subvolume
	l.Name = w.word(0)
	return l, entry
}
