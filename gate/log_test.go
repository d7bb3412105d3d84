package gate

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/transfer"
	"dray/vfs"
)

// logged is what the gate has logged, a message and its attributes a line.
func (h *house) logged() func() string {
	var log bytes.Buffer
	h.gate.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			switch a.Key {
			case slog.TimeKey, slog.LevelKey, "session", "user", "peer", "took":
				return slog.Attr{}
			}
			return a
		},
	}))
	return func() string {
		defer log.Reset()
		return log.String()
	}
}

// Who reads the log saw error=<nil>, facts=[expired] and road="".
func TestLogLinesOfRefusalsAreReadableAndHaveNothingEmpty(t *testing.T) {
	h := newHouse(t)
	log := h.logged()
	a := account.Account{Name: "anna", Rights: account.Full, MaxSessions: 1}
	s := h.login(a)
	logs := func(want string) {
		t.Helper()
		if got := log(); got != want+"\n" {
			t.Errorf("the log has\n%swant\n%s", got, want)
		}
	}
	log()
	s.Refused("PASV", "", fault.New(fault.Sequence, fault.IDEpsvOnly))
	logs(`msg=refused verb=PASV reason=epsv-only`)
	s.Refused("SIZE", "b", fault.Because(errors.New("no entry"), fault.NotFound, fault.IDNotFound, "/a/b"))
	logs(`msg=refused verb=SIZE arg=b reason=not-found facts="path: /a/b" error="no entry"`)
	s.Refused("SIZE", "x\r\ny", fault.New(fault.NotFound, fault.IDNotFound, "/x\r\ny"))
	logs(`msg=refused verb=SIZE arg="x\r\ny" reason=not-found facts="path: /x??y"`)

	_, err := h.knock(alice, open).Password(t.Context(), "anna", account.NewSecret(right))
	is(t, "a second session", err, fault.Closing, fault.IDBusy)
	logs(`msg="login refused" reason=busy facts="what: sessions of this account, used: 1, limit: 1"`)
	a.Expires = time.Unix(1, 0)
	h.people.known["anna"] = a
	_, err = h.knock(alice, open).Password(t.Context(), "anna", account.NewSecret(right))
	is(t, "an expired account", err, fault.NotLoggedIn, fault.IDAccountOff)
	logs(`msg="login refused" reason=account-off facts="why: expired"`)

	up, err := s.Create(t.Context(), at(t, "/a"), vfs.Create{})
	need(t, err)
	is(t, "Cut", up.Cut(t.Context(), transfer.Report{}, fault.New(fault.NoData, fault.IDDataBlocked)), fault.NoData, fault.IDDataBlocked)
	logs(`msg="upload cut" path=/a bytes=0 reason=data-blocked kept=0 error=data-blocked`)
	s.Transferred(event.Transfer{Direction: event.Listing, Path: "/", Reason: "data-blocked"})
	logs(`msg="listing cut" path=/ bytes=0 reason=data-blocked`)

	shut := *open
	shut.Networks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	_, err = h.gate.Knock(Peer{Remote: bob, Local: here, Door: &shut})
	is(t, "a peer from elsewhere", err, fault.Closing, fault.IDNetwork)
	logs(`msg="turned away" door=test reason=network-off`)
	if got := log(); strings.Contains(got, right) {
		t.Errorf("the log has a password:\n%s", got)
	}
}

// A line about a login says how it came: over TLS, in clear text, or over SSH, which
// is neither.
func TestLoginsSayHowTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		log := h.logged()
		h.people.known["anna"] = account.Account{Name: "anna", Rights: account.Full}
		for _, tt := range []struct {
			v    *Visit
			want string
		}{{h.knock(alice, open), "tls=false"}, {secured(h.knock(bob, safe)), "tls=true"}, {h.knock(alice, ssh22), "protocol=sftp"}} {
			_, err := tt.v.Password(t.Context(), "anna", account.NewSecret("guess"))
			is(t, "a wrong password", err, fault.NotLoggedIn, fault.IDAuth)
			s, err := tt.v.Password(t.Context(), "anna", account.NewSecret(right))
			need(t, err)
			s.Close()
			if got, want := log(), `msg="login failed" `+tt.want+` error="no such user, or wrong password"`+"\nmsg=login "+tt.want+"\n"; got != want {
				t.Errorf("the log has\n%swant\n%s", got, want)
			}
		}
	})
}

func TestLinesHaveTheirSessionAndUserFirst(t *testing.T) {
	for _, tt := range []struct {
		name string
		line func(log *slog.Logger)
		want string
	}{
		{"a line", func(l *slog.Logger) { l.Info("m", "k", 1) }, `msg=m session=s user=u k=1`},
		{"more attributes than a record holds in place", func(l *slog.Logger) { l.Info("m", "a", 1, "b", 2, "c", 3, "d", 4, "e", 5, "f", 6) },
			`msg=m session=s user=u a=1 b=2 c=3 d=4 e=5 f=6`},
		{"With", func(l *slog.Logger) { l.With("x", 1).Info("m", "k", 2) }, `msg=m session=s user=u x=1 k=2`},
		{"a group", func(l *slog.Logger) { l.WithGroup("g").Info("m", "k", 2) }, `msg=m session=s user=u g.k=2`},
		{"a group below With", func(l *slog.Logger) { l.With("x", 1).WithGroup("g").Info("m", "k", 2) }, `msg=m session=s user=u x=1 g.k=2`},
		{"a level that is off", func(l *slog.Logger) { l.Debug("m") }, ``},
		{"the user in place of nobody", func(l *slog.Logger) { tagged(l, "s", "other").Info("m") }, `msg=m session=s user=other`},
	} {
		var b bytes.Buffer
		base := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}}))
		tt.line(tagged(tagged(base, "s", ""), "s", "u"))
		if got := strings.TrimSuffix(b.String(), "\n"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
