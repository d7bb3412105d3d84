package ftpserver

import (
	"context"
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"time"

	"dray/fault"
	"dray/ftp"
)

// An attempt is what a connection keeps of one that ftp.Attempt tells: eight of them
// are less than 1 KiB.
type attempt struct {
	at, from netip.AddrPort
	stranger netip.AddrPort
	id       fault.ID
	began    int64 // milliseconds of Unix time
	after    int32 // milliseconds
	tls      uint16
	resumed  bool
	way      way
	outcome  outcome
	seen     seen
	ticket   ticket
}

// The words of ftp.Attempt in a byte each.
type (
	way     uint8
	outcome uint8
	seen    uint8
	ticket  uint8
)

const (
	byPASV way = iota
	byEPSV
	byPORT
	byEPRT
)

const (
	waiting outcome = iota
	came
	nobody
	refused
	unreachable
)

const (
	seenUnknown seen = iota
	seenNothing
	seenSYN
	seenWhole
)

const (
	ticketNone ticket = iota
	ticketOwn
	ticketAccount
	ticketForeign
	ticketUnreadable
)

var (
	wayWords     = [...]string{"PASV", "EPSV", "PORT", "EPRT"}
	outcomeWords = [...]ftp.Outcome{ftp.Waiting, ftp.Came, ftp.Nobody, ftp.Refused, ftp.Unreachable}
	seenWords    = [...]ftp.Seen{ftp.SeenUnknown, ftp.SeenNothing, ftp.SeenSYN, ftp.SeenWhole}
	ticketWords  = [...]ftp.Ticket{ftp.TicketNone, ftp.TicketOwn, ftp.TicketAccount, ftp.TicketForeign, ftp.TicketUnreadable}
)

// attempts are the last ones of a connection. They belong to the command loop, and
// have no memory before the first.
type attempts struct {
	last []attempt
	gone int // how many are kept no more
}

// add keeps an attempt and returns its number.
func (s *attempts) add(w way, at netip.AddrPort) int {
	if len(s.last) == ftp.MaxAttempts {
		s.last = slices.Delete(s.last, 0, 1)
		s.gone++
	}
	s.last = append(s.last, attempt{way: w, at: at, began: time.Now().UnixMilli()})
	return s.gone + len(s.last) - 1
}

// nth is the attempt of that number; one that nobody asks about when it is kept no more.
func (s *attempts) nth(n int) *attempt {
	if n -= s.gone; n < 0 || n >= len(s.last) {
		return new(attempt)
	}
	return &s.last[n]
}

// ends notes the outcome.
func (a *attempt) ends(as outcome, from netip.AddrPort) {
	a.outcome, a.from = as, from
	a.after = int32(min(max(time.Now().UnixMilli()-a.began, 1), 1<<31-1))
}

// useless notes why no transfer over it was whole.
func (a *attempt) useless(err error) {
	if err != nil {
		a.id = fault.Of(err).ID
	}
}

// attempt is that of the data connection which is being opened.
func (c *conn) attempt() *attempt {
	if c.data.passive != nil {
		return c.attempts.nth(c.data.passive.n)
	}
	return c.attempts.nth(c.data.n)
}

// planned tells whether a transfer can still ask for the attempt of that number.
func (d *dataPlan) planned(n int) bool {
	mine := func(r *reservation) bool { return r != nil && r.n == n && !r.closed.Load() }
	return mine(d.passive) || slices.ContainsFunc(d.later, mine) || d.active.IsValid() && d.n == n
}

// siteDray tells what was seen of the client's own connections.
func (c *conn) siteDray(context.Context, string) (ftp.Reply, error) {
	s := ftp.Sight{Peer: c.visit.Peer().Remote, Local: c.visit.Peer().Local}
	if t, ok := c.nc.(*tls.Conn); ok {
		cs := t.ConnectionState()
		s.TLS, s.Resumed = tlsWord(cs.Version), cs.DidResume
	}
	var pending []*attempt
	now := time.Now().UnixMilli()
	for i := range c.attempts.last {
		if a := &c.attempts.last[i]; a.outcome == waiting && a.passive() && c.data.planned(c.attempts.gone+i) {
			pending = append(pending, a)
		}
	}
	c.look(pending)
	for i, a := range c.attempts.last {
		told := ftp.Attempt{
			Verb: wayWords[a.way], At: a.at, Ago: time.Duration(now-a.began) * time.Millisecond,
			Outcome: outcomeWords[a.outcome], After: time.Duration(a.after) * time.Millisecond, From: a.from,
			Seen: seenWords[a.seen], Stranger: a.stranger, TLS: tlsWord(a.tls), Resumed: a.resumed, Ticket: ticketWords[a.ticket], ID: string(a.id),
		}
		if a.outcome == waiting && !c.data.planned(c.attempts.gone+i) {
			told.Outcome = ftp.Dropped
		}
		s.Attempts = append(s.Attempts, told)
	}
	return ftp.Reply{Code: ftp.C211Status, Text: "What this server has seen of your connections:", Body: s.Format()}, nil
}

func (a *attempt) passive() bool { return a.way == byPASV || a.way == byEPSV }

// look asks the kernel what there is at the ports of attempts to which nobody has
// come. One connection looks at a time: the kernel's table may be long.
func (c *conn) look(pending []*attempt) {
	if len(pending) == 0 {
		return
	}
	c.server.looking.Lock()
	defer c.server.looking.Unlock()
	found, ok := atPorts(c.local())
	for _, a := range pending {
		if ok {
			a.see(found, c.remote().WithZone(""))
		}
	}
}

// A socket is one that waits to be accepted.
type socket struct {
	port  uint16 // ours
	from  netip.AddrPort
	whole bool // else a SYN has come and no more
}

// see notes the best of what was found at the port: a whole connection before half of
// one, the client's before a stranger's. Where there is nothing any more, what was
// seen before stays.
func (a *attempt) see(found []socket, client netip.Addr) {
	a.seen = max(a.seen, seenNothing)
	best := -1
	for _, s := range found {
		if s.port != a.at.Port() {
			continue
		}
		worth := 0
		if s.whole {
			worth++
		}
		if s.from.Addr() == client {
			worth += 2
		}
		if worth <= best {
			continue
		}
		best, a.from, a.seen = worth, s.from, seenSYN
		if s.whole {
			a.seen = seenWhole
		}
	}
}

// tlsWord is a version of TLS as ftp.Sight has it, "" for 0.
func tlsWord(version uint16) string {
	if version == 0 {
		return ""
	}
	return strings.TrimPrefix(tls.VersionName(version), "TLS ")
}
