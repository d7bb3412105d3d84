// Package explain says what every refusal means: to the peer in one sentence, to
// the operator in the log, and at length to whoever asks, with a way to confirm
// it by hand and the fix for each side. Server, client and doctor print the same
// entry, keyed by fault.ID.
//
// It is data and one function that fills it. It decides nothing, knows no reply
// codes and opens nothing.
package explain

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"dray/fault"
)

// An Entry is all there is to say about one id. Texts between backquotes are
// commands to type; words in capitals in them are to be replaced.
type Entry struct {
	ID fault.ID

	// Facts names the values that Peer needs, in the order of its %v verbs and
	// of fault.Error.Facts.
	Facts []string

	// Peer is for the other end of the connection: what, why, what to do next.
	// One line of ASCII that makes sense behind a reply code, without the id.
	// Use Sentence to fill it. "" where no server of ours says this.
	Peer string

	// Here is what a client of ours says to whoever runs it: the first line of a
	// message, lower case, without a full stop and the id. HereFacts names its
	// values, as Facts does those of Peer. Use Line to fill it. "" where no
	// client of ours meets this.
	HereFacts []string
	Here      string

	Means    string   // for whoever asks about the id
	Operator string   // for the log and whoever runs the server: what it is, what to look at; "" for what only a client meets
	Confirm  string   // how to see it by hand with common tools
	You      string   // the fix at the client; "" when there is none
	Admin    string   // the fix at the server; "" when there is none
	Dialects []string // how other servers say it, as far as it was observed

	bare     string // Peer for when the facts are not at hand; "" when Peer has none
	hereBare string // Here likewise
}

// maxFact bounds one fact in a sentence, in bytes: a path may have 4096, and
// peers with small line buffers must still see the words around it.
const maxFact = 512

// table has every entry.
var table = func() []Entry {
	all := slices.Concat(servers, clients, elsewhere)
	for i := range all {
		if h, ok := here[all[i].ID]; ok {
			all[i].HereFacts, all[i].Here, all[i].hereBare = h.facts, h.line, h.bare
		}
	}
	return all
}()

var index = func() map[fault.ID]int {
	m := make(map[fault.ID]int, len(table))
	for i, e := range table {
		m[e.ID] = i
	}
	return m
}()

// Short is the first sentence of what e means, without its full stop.
func (e Entry) Short() string {
	first, _, _ := strings.Cut(e.Means, ". ")
	return strings.TrimSuffix(first, ".")
}

// For returns the entry of id, false when there is none. The slices in it are
// shared and must not be changed.
func For(id fault.ID) (Entry, bool) {
	i, ok := index[id]
	if !ok {
		return Entry{}, false
	}
	return table[i], true
}

// All returns every entry, related ones beside each other. The slices in the
// entries are shared and must not be changed.
func All() []Entry { return slices.Clone(table) }

// Sentence is what the peer is told about e: the sentence of its id with the
// facts filled in, then the id in brackets. It is one line of valid UTF-8
// without control characters, whatever the facts hold: '?' stands for a control
// character, for one that turns the direction of writing, and for a byte that is
// not UTF-8; a fact above 512 bytes loses its middle. When a fact is missing or
// empty the sentence does without all of them; surplus facts are dropped. A fact
// that is an error counts as missing, because the texts of errors are for the
// log only. An unknown id, or a nil e, is told as internal.
func Sentence(e *fault.Error) string {
	var en Entry
	var facts []any
	ok := false
	if e != nil {
		facts = e.Facts
		en, ok = For(e.ID)
	}
	if !ok || en.Peer == "" {
		en = table[index[fault.IDInternal]]
	}
	return fill(en.Peer, en.bare, en.Facts, facts) + " [" + string(en.ID) + "]"
}

// Read is the way back from a Sentence: the id at its end, and the facts as they
// stand in it, nil where it does without. It reads what a server of ours has said, so
// that a client has its figures; false for any other text.
func Read(sentence string) (id fault.ID, facts []string, ok bool) {
	text, tail, found := cutLast(strings.TrimSpace(sentence), " [")
	if !found || !strings.HasSuffix(tail, "]") {
		return "", nil, false
	}
	en, known := For(fault.ID(strings.TrimSuffix(tail, "]")))
	switch {
	case !known || en.Peer == "":
		return "", nil, false
	case text == en.bare || len(en.Facts) == 0 && text == en.Peer:
		return en.ID, nil, true
	}
	parts := strings.Split(en.Peer, "%v")
	rest, begins := strings.CutPrefix(text, parts[0])
	if !begins || len(parts) == 1 {
		return "", nil, false
	}
	for i, part := range parts[1:] {
		var fact string
		if i == len(parts)-2 { // the last one reaches to the end of the sentence
			fact, found = strings.CutSuffix(rest, part)
		} else {
			fact, rest, found = strings.Cut(rest, part)
		}
		if !found {
			return "", nil, false
		}
		facts = append(facts, fact)
	}
	return en.ID, facts, true
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Line is what a client of ours says of e, which it met or made: see Entry.Here.
// It is one clean line as a Sentence is, without the id. An id that no client
// should meet is told by what it means.
func Line(e *fault.Error) string {
	if e == nil {
		return "nothing is wrong"
	}
	en, ok := For(e.ID)
	switch {
	case !ok:
		return "something went wrong that has no name (" + text(string(e.ID)) + ")"
	case en.Here == "" && en.Peer == "":
		return en.Short()
	case en.Here == "":
		return strings.TrimSuffix(fill(en.Peer, en.bare, en.Facts, nil), ".")
	}
	return fill(en.Here, en.hereBare, en.HereFacts, e.Facts)
}

// Facts are the facts of e as one line for the log, "name: value, name: value",
// each clean and bounded as in a Sentence; "" when there is none to show.
func Facts(e *fault.Error) string {
	en, _ := For(e.ID)
	var line []string
	for i, name := range en.Facts[:min(len(en.Facts), len(e.Facts))] {
		if s := text(e.Facts[i]); s != "" {
			line = append(line, name+": "+s)
		}
	}
	return strings.Join(line, ", ")
}

// fill puts facts, which have names, into a sentence; bare is it without them.
func fill(sentence, bare string, names []string, facts []any) string {
	if len(names) == 0 {
		return sentence
	}
	if len(facts) < len(names) {
		return bare
	}
	clean := make([]any, len(names))
	for i := range clean {
		s := text(facts[i])
		if s == "" {
			return bare
		}
		clean[i] = s
	}
	return fmt.Sprintf(sentence, clean...)
}

// text is a fact as it may stand in a line for a peer or a terminal; "" when
// there is nothing to show.
func text(fact any) string {
	if _, isErr := fact.(error); fact == nil || isErr {
		return ""
	}
	s := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return '?'
		}
		return r
	}, fmt.Sprint(fact))
	if strings.TrimSpace(s) == "" {
		return ""
	}
	if len(s) <= maxFact {
		return s
	}
	const half = (maxFact - len("...")) / 2
	return strings.ToValidUTF8(s[:half], "") + "..." + strings.ToValidUTF8(s[len(s)-half:], "")
}
