package ftp

import (
	"strings"
	"time"
	"unicode/utf8"
)

// A stamp is a date in a line. With no step it was understood as a date, but not
// which.
type stamp struct {
	t    time.Time
	step time.Duration
	last int // the last word of it
	pad  int // blanks that may stand before the name beside the one, -1 any number
}

const dayStep = 24 * time.Hour

// dateOrder is how a server orders the numbers of a date.
type dateOrder int

const (
	orderOpen dateOrder = iota
	monthFirst
	dayFirst
	yearFirst
)

func (p *ListParser) now() time.Time {
	if p.Now.IsZero() {
		return time.Now()
	}
	return p.Now
}

func (p *ListParser) zone() *time.Location {
	if p.Zone == nil {
		return time.UTC
	}
	return p.Zone
}

// A daytime is a time of day; hour 24 is the end of the day.
type daytime struct {
	hour, minute, second int
	step                 time.Duration
}

// clock reads "9:05", "09:05:30" and "09:05:30.123", of which the part of a second
// is left out.
func clock(s string) (c daytime, ok bool) {
	if i := strings.IndexAny(s, ".,"); i > 0 && strings.Count(s[:i], ":") == 2 {
		if !isDigits(s[i+1:]) {
			return c, false
		}
		s = s[:i]
	}
	h, rest, found := strings.Cut(s, ":")
	m, sec, seconds := strings.Cut(rest, ":")
	if !found || len(m) != 2 || seconds && len(sec) != 2 {
		return c, false
	}
	var ok1, ok2, ok3 bool
	c.hour, ok1 = numeral(h, 2)
	c.minute, ok2 = numeral(m, 2)
	c.step, ok3 = time.Minute, true
	if seconds {
		c.second, ok3 = numeral(sec, 2)
		c.step = time.Second
	}
	return c, ok1 && ok2 && ok3 && c.valid()
}

func (c daytime) valid() bool {
	return c.hour < 24 && c.minute < 60 && c.second < 60 || c.hour == 24 && c.minute|c.second == 0
}

// numeral reads one to max digits.
func numeral(s string, max int) (int, bool) {
	if len(s) > max || !isDigits(s) {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

// year reads four digits.
func year(s string) (int, bool) {
	if len(s) != 4 {
		return 0, false
	}
	return numeral(s, 4)
}

// shortYear reads a year of two digits, of three as servers write it that count
// from 1900, or of four.
func shortYear(s string) (int, bool) {
	n, ok := numeral(s, 4)
	switch len(s) {
	case 2:
		if n < 70 {
			return 2000 + n, ok
		}
		return 1900 + n, ok
	case 3:
		return 1900 + n, ok && n >= 100
	case 4:
		return n, ok
	}
	return 0, false
}

// at is a moment of the server's clock; ok is false when there is no such day.
func at(year, month, day int, c daytime, loc *time.Location) (time.Time, bool) {
	if month < 1 || month > 12 || day < 1 || day > 31 {
		return time.Time{}, false
	}
	if time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, c.hour, c.minute, c.second, 0, loc), true
}

// recent is the last such moment that has passed, or will have in a day: clocks
// and zones differ. It is how "ls" wants a time without a year to be read.
func (p *ListParser) recent(month, day int, c daytime) (time.Time, bool) {
	loc := p.zone()
	limit := p.now().Add(dayStep)
	y := limit.In(loc).Year()
	for back := range 9 { // the 29th of February may be eight years away
		if t, ok := at(y-back, month, day, c, loc); ok && !t.After(limit) {
			return t, true
		}
	}
	return time.Time{}, false
}

// dateParts splits "a-b-c", with "-", "/" or ".".
func dateParts(s string) (a, b, c string, sep byte, ok bool) {
	i := strings.IndexAny(s, "-/.")
	if i < 1 {
		return
	}
	sep = s[i]
	a, s = s[:i], s[i+1:]
	b, c, ok = strings.Cut(s, string(sep))
	return a, b, c, sep, ok && b != "" && c != ""
}

// numericDate reads a date of three numbers. The order is that of the year, where
// that has four digits or can be nothing else, and else that of the dot (day
// first), and else the month comes first unless a line of the listing has shown
// that it does not.
func (p *ListParser) numericDate(s string) (y, m, d int, ok bool) {
	a, b, c, sep, ok := dateParts(s)
	if !ok {
		return
	}
	n1, ok1 := numeral(a, 4)
	n2, ok2 := numeral(b, 2)
	if !ok1 || !ok2 {
		return 0, 0, 0, false
	}
	if len(a) == 4 {
		d, ok = numeral(c, 2)
		return n1, n2, d, ok
	}
	if y, ok = shortYear(c); !ok || len(a) > 2 {
		return 0, 0, 0, false
	}
	switch {
	case n1 > 12 && n2 <= 12:
		p.order = dayFirst
	case n2 > 12 && n1 <= 12:
		p.order = monthFirst
	}
	if sep == '.' || p.order == dayFirst && n2 <= 12 {
		return y, n2, n1, true
	}
	return y, n1, n2, true
}

// dateByName reads "2-JUL-2003" and "Feb-28-1998". Month 0 is a word that may be
// a month of a language that is not known here.
func dateByName(s string) (y, m, d int, ok bool) {
	a, b, c, sep, ok := dateParts(s)
	if !ok || sep != '-' {
		return 0, 0, 0, false
	}
	if !startsWithDigit(a) {
		a, b = b, a
		if monthOf(b) == 0 {
			return 0, 0, 0, false
		}
	}
	d, ok1 := numeral(a, 2)
	y, ok2 := shortYear(c)
	if !ok1 || !ok2 || !wordy(b) {
		return 0, 0, 0, false
	}
	return y, monthOf(b), d, true
}

// wordy tells whether s may be the name of a month.
func wordy(s string) bool {
	s = strings.TrimRight(s, ".,")
	if s == "" || len(s) > 24 {
		return false
	}
	for i := range len(s) {
		if b := s[i] | 0x20; s[i] < 0x80 && (b < 'a' || b > 'z') {
			return false
		}
	}
	return true
}

// monthOf reads the name of a month, short or long, in the languages that servers
// were seen to speak; 0 is none. Bytes that are not UTF-8 are Latin-1. Names that
// mean different months in two of these languages are left out.
func monthOf(word string) int {
	word = strings.TrimRight(word, ".,")
	if len(word) < 3 || len(word) > 24 || startsWithDigit(word) {
		return 0
	}
	if i := strings.Index(months, word); len(word) == 3 && i >= 0 && i%3 == 0 {
		return i/3 + 1 // nearly always
	}
	if !utf8.ValidString(word) {
		runes := make([]rune, len(word))
		for i := range len(word) {
			runes[i] = rune(word[i])
		}
		word = string(runes)
	}
	switch strings.ToLower(word) {
	case "jan", "january", "januar", "janv", "janvier", "ene", "enero", "gen", "gennaio", "janeiro", "januari", "янв", "января", "январь", "sty", "oca", "led", "jän", "jänner":
		return 1
	case "feb", "february", "februar", "fév", "fev", "févr", "fevr", "février", "febrero", "febbraio", "fevereiro", "februari", "фев", "февр", "февраля", "февраль", "lut", "febr", "şub", "úno":
		return 2
	case "mar", "march", "mrz", "mär", "märz", "mars", "marzo", "março", "mrt", "maart", "мар", "март", "марта", "márc", "bře":
		return 3
	case "apr", "april", "avr", "avril", "abr", "abril", "aprile", "апр", "апреля", "апрель", "kwi", "ápr", "nis", "dub":
		return 4
	case "may", "mai", "mayo", "mag", "maggio", "maio", "mei", "май", "мая", "maj", "máj", "kvě":
		return 5
	case "jun", "june", "juni", "juin", "junio", "giu", "giugno", "junho", "июн", "июнь", "июня", "cze", "jún", "haz":
		return 6
	case "jul", "july", "juli", "juil", "juillet", "julio", "lug", "luglio", "julho", "июл", "июль", "июля", "lip", "júl", "tem":
		return 7
	case "aug", "august", "aoû", "août", "aou", "aout", "ago", "agosto", "augustus", "авг", "августа", "август", "sie", "augusti", "ağu":
		return 8
	case "sep", "sept", "september", "septembre", "septiembre", "set", "settembre", "setembro", "сен", "сент", "сентября", "сентябрь", "wrz", "szept", "eyl":
		return 9
	case "oct", "october", "okt", "oktober", "octobre", "octubre", "ott", "ottobre", "out", "outubro", "окт", "октября", "октябрь", "paź", "eki":
		return 10
	case "nov", "november", "novembre", "noviembre", "novembro", "ноя", "нояб", "ноября", "ноябрь", "kas":
		return 11
	case "dec", "december", "dez", "dezember", "déc", "décembre", "decembre", "dic", "diciembre", "dicembre", "dezembro", "des", "дек", "декабря", "декабрь", "gru", "ara", "pro":
		return 12
	}
	return 0
}

// marked reads digits with the sign for year, month or day behind them, as
// Japanese, Korean and Chinese servers write dates, in whatever code.
func marked(s string) (n int, mark, ok bool) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, ok = numeral(s[:i], 4)
	rest := s[i:]
	return n, rest != "", ok && len(rest) <= 4 && (rest == "" || rest[0] >= 0x80)
}

// stampAt reads the date that begins with the word at i, in a form that has
// something beside numbers in it. With any, a word that is no known month counts
// as one, and the time is not known.
func (p *ListParser) stampAt(w *words, i int, any bool) (stamp, bool) {
	first, second := w.word(i), w.word(i+1)
	if first == "" || second == "" {
		return stamp{}, false
	}
	month := monthOf(first)
	if month == 0 && any && wordy(first) {
		month = -1
	}
	if month != 0 { // Jan 25 00:17, Oct 08, 2002 09:47
		if day, ok := numeral(strings.TrimRight(second, ".,"), 2); ok {
			return p.tail(w, i+2, month, day, strings.HasSuffix(second, ","))
		}
		return stamp{}, false
	}
	if !startsWithDigit(first) {
		return stamp{}, false
	}
	if day, ok := numeral(strings.TrimRight(first, "."), 2); ok { // 25 Jan 00:17, 2. Okt. 2003, 26. Juli, 20:10
		month := monthOf(second)
		if month == 0 && any && wordy(second) {
			month = -1
		}
		if month != 0 {
			return p.tail(w, i+2, month, day, false)
		}
	}
	if s, ok := p.eastern(w, i); ok {
		return s, true
	}
	return p.joined(w, i)
}

// tail reads what comes behind month and day: a year, a time, or both.
func (p *ListParser) tail(w *words, i, month, day int, both bool) (stamp, bool) {
	if day < 1 || day > 31 {
		return stamp{}, false
	}
	s := stamp{last: i, step: dayStep}
	var ok bool
	if y, isYear := year(strings.TrimRight(w.word(i), ".,")); isYear {
		var c daytime
		if both {
			if c2, isClock := clock(w.word(i + 1)); isClock {
				c, s.step, s.last = c2, c2.step, i+1
			}
		}
		if month < 0 {
			return stamp{last: s.last}, true
		}
		s.t, ok = at(y, month, day, c, p.zone())
		return s, ok
	}
	c, isClock := clock(w.word(i))
	if !isClock {
		return stamp{}, false
	}
	s.step = c.step
	if c.step == time.Second && w.n > i+2 { // Mar  3 04:49:59 2003 (ls -T)
		if y, isYear := year(w.word(i + 1)); isYear {
			s.last++
			if month < 0 {
				return stamp{last: s.last}, true
			}
			s.t, ok = at(y, month, day, c, p.zone())
			return s, ok
		}
	}
	if month < 0 {
		return stamp{last: s.last}, true
	}
	s.t, ok = p.recent(month, day, c)
	return s, ok
}

// eastern reads "6月 3日 2003年", "8月 17 20:10", "2005년 1월 6일".
func (p *ListParser) eastern(w *words, i int) (stamp, bool) {
	a, mark1, ok1 := marked(w.word(i))
	b, mark2, ok2 := marked(w.word(i + 1))
	if !ok1 || !ok2 {
		return stamp{}, false
	}
	if a > 31 { // the year is first
		d, _, ok := marked(w.word(i + 2))
		if !mark2 || !ok {
			return stamp{}, false
		}
		s := stamp{last: i + 2, step: dayStep}
		s.t, ok = at(a, b, d, daytime{}, p.zone())
		return s, ok
	}
	if !mark1 || a > 12 {
		return stamp{}, false
	}
	third := w.word(i + 2)
	s := stamp{last: i + 2, step: dayStep}
	if c, ok := clock(third); ok {
		s.step = c.step
		s.t, ok = p.recent(a, b, c)
		return s, ok
	}
	y, _, ok := marked(third)
	if !ok || y < 1000 {
		return stamp{}, false
	}
	s.t, ok = at(y, a, b, daytime{}, p.zone())
	return s, ok
}

// joined reads dates whose numbers are joined: "2019-03-04 12:33:44.5 +0100",
// "1999/10/12 17:12", "24-04-2003 17:12", "01-jun-99", "09-26 13:45".
func (p *ListParser) joined(w *words, i int) (stamp, bool) {
	word := strings.TrimRight(w.word(i), ",")
	next := w.word(i + 1)
	c, timed := clock(next)
	loc := p.zone()
	s := stamp{last: i, step: dayStep, pad: -1}
	if timed {
		s.last, s.step, s.pad = i+1, c.step, 0
	} else {
		c = daytime{}
	}
	if m, d, ok := strings.Cut(word, "-"); ok && len(m) == 2 && len(d) == 2 { // 09-26 13:45, 09-26 2000
		month, ok1 := numeral(m, 2)
		day, ok2 := numeral(d, 2)
		if !ok1 || !ok2 {
			return stamp{}, false
		}
		if timed {
			s.t, ok = p.recent(month, day, c)
			return s, ok
		}
		y, ok := year(next)
		if !ok {
			return stamp{}, false
		}
		s.last, s.pad = i+1, 0
		s.t, ok = at(y, month, day, c, loc)
		return s, ok
	}
	y, m, d, ok := dateByName(word)
	if ok && m == 0 {
		return stamp{}, false
	}
	if !ok {
		// A year of two digits would be no more than a guess here.
		a, _, last, sep, three := dateParts(word)
		if !three || len(a) != 4 && len(last) != 4 {
			return stamp{}, false
		}
		order := p.order
		if y, m, d, ok = p.numericDate(word); !ok || m < 1 || m > 12 || d < 1 || d > 31 {
			p.order = order
			return stamp{}, false
		}
		if len(a) != 4 && sep != '.' && p.order == orderOpen && m != d {
			return stamp{last: s.last, pad: s.pad}, true // 03-04-2003 may be in March or in April
		}
	}
	if s.step == time.Second {
		if offset, ok := zoneOffset(w.word(i + 2)); ok { // ls --full-time
			loc = time.FixedZone("", offset)
			s.last = i + 2
		}
	}
	if !timed && len(word) == 10 && word[4] == '-' {
		s.pad = 1 // ls --time-style=iso writes one blank more
	}
	s.t, ok = at(y, m, d, c, loc)
	return s, ok
}

// zoneOffset reads "+0100" into seconds.
func zoneOffset(s string) (int, bool) {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	h, ok1 := numeral(s[1:3], 2)
	m, ok2 := numeral(s[3:], 2)
	if !ok1 || !ok2 || h > 23 || m > 59 {
		return 0, false
	}
	offset := 3600*h + 60*m
	if s[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// bare reads "3 29 03:26", a date of nothing but numbers.
func (p *ListParser) bare(w *words, i int) (stamp, bool) {
	month, ok1 := numeral(w.word(i), 2)
	day, ok2 := numeral(w.word(i+1), 2)
	if !ok1 || !ok2 || month < 1 || month > 12 {
		return stamp{}, false
	}
	return p.tail(w, i+2, month, day, false)
}
