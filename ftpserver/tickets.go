package ftpserver

import (
	"bytes"
	"container/list"
	"crypto/tls"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Session tickets carry the id of the control connection that they come from
// (crypto/tls: SessionState.Extra), so that a data connection can be tied to the
// login it serves. They are issued before the login, so the id is looked up when
// the ticket comes back.

const (
	ticketMark  = "dray control "
	ticketLife  = 6 * time.Hour // how long after its end a control connection vouches for its tickets
	maxTickets  = 65536         // control connections remembered after their end
	extensionPS = 41            // pre_shared_key, RFC 8446, 4.2.11
)

// tickets remembers who logged in on which control connection.
type tickets struct {
	mu    sync.Mutex
	ids   map[string]*voucher
	order *list.List // of the ids whose login is over, each once, the first to have ended first
	now   func() time.Time
}

type voucher struct {
	account string
	addr    netip.Addr
	until   time.Time     // zero while the login stands
	place   *list.Element // in tickets.order; nil while the login stands
}

func newTickets() *tickets {
	return &tickets{ids: map[string]*voucher{}, order: list.New(), now: time.Now}
}

// loggedIn books a login, in place of an older one of the same connection: a place
// for each would let one client push out all the others by logging in again and
// again.
func (t *tickets) loggedIn(id, account string, addr netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if v := t.ids[id]; v != nil && v.place != nil {
		t.order.Remove(v.place)
	}
	t.ids[id] = &voucher{account: account, addr: addr}
}

// ended books the end of a control connection, or of its login.
func (t *tickets) ended(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.ids[id]
	if v == nil || v.place != nil {
		return
	}
	now := t.now()
	v.until = now.Add(ticketLife)
	v.place = t.order.PushBack(id)
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		oldest := e.Value.(string)
		if t.order.Len() <= maxTickets && now.Before(t.ids[oldest].until) {
			break
		}
		delete(t.ids, oldest)
		t.order.Remove(e)
	}
}

// vouches tells whether a ticket of control connection id counts for a data
// connection of this account from this address.
func (t *tickets) vouches(id, account string, addr netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.ids[id]
	return v != nil && v.account == account && v.addr == addr && (v.until.IsZero() || t.now().Before(v.until))
}

// controlTLS is base for one control connection: its tickets carry id.
func controlTLS(base *tls.Config, id string) *tls.Config {
	cfg := base.Clone()
	cfg.WrapSession = wrapSession(cfg, id)
	return cfg
}

func wrapSession(cfg *tls.Config, id string) func(tls.ConnectionState, *tls.SessionState) ([]byte, error) {
	return func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		ss.Extra = slices.DeleteFunc(ss.Extra, func(b []byte) bool { return bytes.HasPrefix(b, []byte(ticketMark)) })
		ss.Extra = append(ss.Extra, []byte(ticketMark+id))
		return cfg.EncryptTicket(cs, ss)
	}
}

// dataTLS is base for one data connection. Only a ticket that vouches says yes
// to is taken; any other is ignored, which makes a full handshake. For one that can't
// be read vouches is asked about "".
//
// On an upload no new ticket goes out under TLS 1.3: a client that only writes
// never reads it, closes, and the kernel's reset takes the tail of its file
// along. Downloads hand one out when the client offered one, because some
// clients use each ticket once. crypto/tls has one switch for taking and
// issuing, so each connection gets a config of its own, and the switch is thrown
// between the two.
func dataTLS(base *tls.Config, id string, policy DataSession, upload bool, vouches func(id string) bool) *tls.Config {
	outer := base.Clone()
	outer.ClientAuth = tls.NoClientCert
	outer.DynamicRecordSizingDisabled = true // the first records too are for bulk
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		cfg := outer.Clone()
		cfg.GetConfigForClient = nil
		tls13 := slices.Contains(hello.SupportedVersions, tls.VersionTLS13) && cfg.MaxVersion != tls.VersionTLS12
		if policy == SessionOff || tls13 && !slices.Contains(hello.Extensions, extensionPS) {
			cfg.SessionTicketsDisabled = true
			return cfg, nil
		}
		if tls13 {
			cfg.CurvePreferences = forResumed(cfg.CurvePreferences, hello.SupportedCurves)
		}
		cfg.WrapSession = wrapSession(cfg, id)
		cfg.UnwrapSession = func(identity []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
			if upload && tls13 {
				cfg.SessionTicketsDisabled = true // asked again when tickets would be issued
			}
			ss, err := outer.DecryptTicket(identity, cs) // cfg has no keys without tickets
			if err != nil || ss == nil {
				if len(identity) > 0 { // crypto/tls asks about no ticket too
					vouches("")
				}
				return nil, nil
			}
			for _, extra := range ss.Extra {
				if from, ok := bytes.CutPrefix(extra, []byte(ticketMark)); ok && vouches(string(from)) {
					// A session with a client's certificate is only resumed by who
					// would ask for one; once it is taken, nobody is asked.
					cfg.ClientAuth = base.ClientAuth
					return ss, nil
				}
			}
			return nil, nil
		}
		return cfg, nil
	}
	return outer
}

// forResumed are the groups for a connection that offers a ticket: without the
// post-quantum ones where the client has X25519. The keys of a resumed session come
// from the new exchange and from the secret of the control connection (RFC 8446,
// 7.1), which was agreed on with such a group: whoever breaks X25519 later still
// lacks that. A group more would be a quarter of the work for a small file.
func forResumed(groups, offered []tls.CurveID) []tls.CurveID {
	if !slices.Contains(offered, tls.X25519) {
		return groups
	}
	if groups == nil {
		return []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}
	}
	classical := slices.DeleteFunc(slices.Clone(groups), func(g tls.CurveID) bool {
		return g == tls.X25519MLKEM768 || g == tls.SecP256r1MLKEM768 || g == tls.SecP384r1MLKEM1024
	})
	if !slices.Contains(classical, tls.X25519) {
		return groups
	}
	return classical
}
