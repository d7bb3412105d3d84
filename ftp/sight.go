package ftp

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Sight is what a server of dray has seen of the connections of the one who asks:
// the reply to SITE DRAY, which is no document's. Both ends speak it, so that a client
// can tell a drop before the server from one behind it.
type Sight struct {
	Peer, Local netip.AddrPort // the ends of the control connection, as the server has them
	TLS         string         // the version on the control connection, as "1.3"; "" in clear text
	Resumed     bool           // it went on with an older TLS session
	Attempts    []Attempt      // the last data connections, the oldest first
}

// MaxAttempts is how many attempts a Sight has.
const MaxAttempts = 8

// An Attempt is one data connection that was set up, and what has become of it.
type Attempt struct {
	Verb string // PASV, EPSV: the client was to come; PORT, EPRT: the server was to go
	// At is where: what PASV told, the server's own address and the port that EPSV told, or
	// the address that PORT or EPRT named.
	At      netip.AddrPort
	Ago     time.Duration // since it was set up
	Outcome Outcome
	After   time.Duration // from the set-up to the outcome; of one that waits 0
	// From is the other end of the connection, as the server sees it: the client's behind
	// NAT, or the server's own of an active one. Of a client that has not come, where a SYN
	// or a connection at the port comes from.
	From     netip.AddrPort
	Seen     Seen           // at the port of a passive one, while or when nobody had come
	Stranger netip.AddrPort // the last peer whose connection was refused, because it was not the client's address

	TLS     string // the version on the data connection; "" in clear text, or when there was no handshake
	Resumed bool   // it went on with a session of the ticket
	Ticket  Ticket // what the client offered in the handshake
	ID      string // of the failure, when no transfer over it was whole
}

// Passive tells whether the client was to come.
func (a *Attempt) Passive() bool { return strings.HasSuffix(a.Verb, "SV") }

// An Outcome is what became of an Attempt.
type Outcome string

// The outcomes.
const (
	Waiting     Outcome = "waiting"     // no transfer has asked for it yet
	Came        Outcome = "came"        // the connection stood
	Nobody      Outcome = "nobody"      // none came in the time, or no answer did
	Refused     Outcome = "refused"     // the client's end refused it
	Unreachable Outcome = "unreachable" // no route
	Dropped     Outcome = "dropped"     // given up before a transfer asked for it
)

// Seen is what the server's kernel has at a port.
type Seen string

// What there may be at a port. A SYN alone means that the answer to it does not reach
// the client.
const (
	SeenUnknown Seen = ""
	SeenNothing Seen = "nothing"
	SeenSYN     Seen = "syn"
	SeenWhole   Seen = "connection"
)

// A Ticket is what a client offered to resume, in the handshake of a data connection.
type Ticket string

// What may be offered.
const (
	TicketNone       Ticket = ""
	TicketOwn        Ticket = "own"        // of this control connection
	TicketAccount    Ticket = "account"    // of another one of the account
	TicketForeign    Ticket = "foreign"    // of somebody else
	TicketUnreadable Ticket = "unreadable" // of another server, or too old
)

const (
	maxSightLines = 64
	maxSightLine  = 1024
	maxSightWord  = 64
	maxSightTime  = int64(365 * 24 * time.Hour / time.Millisecond)
)

// Format writes s as lines of facts, name=value with blanks between. The first line is
// the version.
func (s *Sight) Format() []string {
	lines := []string{"v=1", "peer=" + sightAddr(s.Peer), "local=" + sightAddr(s.Local), "tls=" + or(s.TLS, "none"), "resumed=" + yesNo(s.Resumed)}
	for _, a := range s.Attempts {
		lines = append(lines, a.format())
	}
	return lines
}

func (a *Attempt) format() string {
	line := "data=" + a.Verb + " at=" + sightAddr(a.At) + " ago=" + millis(a.Ago) + " outcome=" + string(a.Outcome)
	add := func(name, value string) {
		if value != "" {
			line += " " + name + "=" + value
		}
	}
	if a.After > 0 {
		add("after", millis(a.After))
	}
	if a.From.IsValid() {
		add("from", sightAddr(a.From))
	}
	add("seen", string(a.Seen))
	if a.Stranger.IsValid() {
		add("stranger", sightAddr(a.Stranger))
	}
	add("tls", a.TLS)
	if a.TLS != "" {
		add("resumed", yesNo(a.Resumed))
	}
	add("ticket", string(a.Ticket))
	add("id", a.ID)
	return line
}

// ParseSight reads the lines between the first and the last of a reply to SITE DRAY.
// Facts with other names and lines that begin with one are left out: a later server
// has more to tell. ErrSyntax where the version is another one, and for values that
// are none.
func ParseSight(lines []string) (Sight, error) {
	var s Sight
	known := false
	for _, line := range lines[:min(len(lines), maxSightLines)] {
		if len(line) > maxSightLine {
			return Sight{}, ErrSyntax
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		name, value, _ := strings.Cut(words[0], "=")
		ok := true
		switch name {
		case "v":
			known, ok = true, value == "1"
		case "peer":
			s.Peer, ok = parseSightAddr(value)
		case "local":
			s.Local, ok = parseSightAddr(value)
		case "tls":
			s.TLS, ok = sightWord(value)
			if s.TLS == "none" {
				s.TLS = ""
			}
		case "resumed":
			s.Resumed, ok = parseYesNo(value)
		case "data":
			var a Attempt
			if a, ok = parseAttempt(words); ok {
				s.Attempts = append(s.Attempts, a)
			}
		}
		if !ok {
			return Sight{}, ErrSyntax
		}
	}
	if !known || len(s.Attempts) > MaxAttempts {
		return Sight{}, ErrSyntax
	}
	return s, nil
}

func parseAttempt(words []string) (a Attempt, ok bool) {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		ok := true
		var text string
		switch name {
		case "data":
			a.Verb, ok = sightWord(value)
		case "at":
			a.At, ok = parseSightAddr(value)
		case "ago":
			a.Ago, ok = parseMillis(value)
		case "outcome":
			text, ok = sightWord(value)
			a.Outcome = Outcome(text)
		case "after":
			a.After, ok = parseMillis(value)
		case "from":
			a.From, ok = parseSightAddr(value)
		case "seen":
			text, ok = sightWord(value)
			a.Seen = Seen(text)
		case "stranger":
			a.Stranger, ok = parseSightAddr(value)
		case "tls":
			a.TLS, ok = sightWord(value)
		case "resumed":
			a.Resumed, ok = parseYesNo(value)
		case "ticket":
			text, ok = sightWord(value)
			a.Ticket = Ticket(text)
		case "id":
			a.ID, ok = sightWord(value)
		}
		if !ok {
			return Attempt{}, false
		}
	}
	a.Resumed = a.Resumed && a.TLS != ""
	return a, a.Verb != "" && a.Outcome != ""
}

// sightWord is a value of letters, digits and what stands between them.
func sightWord(s string) (string, bool) {
	good := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._", r)
	}
	return s, s != "" && len(s) <= maxSightWord && !slices.ContainsFunc([]rune(s), func(r rune) bool { return !good(r) })
}

// sightAddr is an address without its zone, which means nothing elsewhere.
func sightAddr(a netip.AddrPort) string {
	if !a.IsValid() {
		return "unknown"
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()).String()
}

func parseSightAddr(s string) (netip.AddrPort, bool) {
	if s == "unknown" {
		return netip.AddrPort{}, true
	}
	if len(s) > maxSightWord {
		return netip.AddrPort{}, false
	}
	a, err := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()), err == nil
}

func millis(d time.Duration) string {
	return strconv.FormatInt(min(max(d.Milliseconds(), 0), maxSightTime), 10)
}

func parseMillis(s string) (time.Duration, bool) {
	n, ok := number(s, maxSightTime)
	return time.Duration(n) * time.Millisecond, ok
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func parseYesNo(s string) (yes, ok bool) { return s == "yes", s == "yes" || s == "no" }

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
