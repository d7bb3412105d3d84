package gate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/meter"
	"dray/vfs"
)

// come logs in without ending the session at the end of the test.
func (h *house) come(d *Door, user string) (*Session, error) {
	h.t.Helper()
	return h.knock(alice, d).Password(h.t.Context(), user, account.NewSecret(right))
}

func TestAnAccountHasSomeSessionsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name       string
		own, doors int
		want       int // 0: any number
	}{
		{"no limit", 0, 0, 0},
		{"its own", 3, 0, 3},
		{"that of the door", 0, 2, 2},
		{"its own, below that of the door", 1, 5, 1},
		{"its own, above that of the door", 4, 2, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.people.known["anna"] = account.Account{Name: "anna", MaxSessions: tt.own}
				h.people.known["bob"] = account.Account{Name: "bob", MaxSessions: 1}
				door := &Door{Protocol: "ftp", Plain: true, MaxSessions: tt.doors}
				var all []*Session
				n := tt.want
				if n == 0 {
					n = 20
				}
				for range n {
					s, err := h.come(door, "anna")
					need(t, err)
					all = append(all, s)
				}
				if got := h.gate.Sessions("anna"); got != n {
					t.Errorf("Sessions = %d, want %d", got, n)
				}
				if tt.want > 0 {
					for range 5 { // it costs no penalty
						v := h.knock(alice, door)
						h.events.take()
						begin := time.Now()
						_, err := v.Password(t.Context(), "anna", account.NewSecret(right))
						is(t, "one more", err, fault.Closing, fault.IDBusy)
						if facts := fmt.Sprint(fault.Of(err).Facts); facts != fmt.Sprintf("[sessions of this account %d %d]", tt.want, tt.want) {
							t.Errorf("facts %s; want what, how many there are and how many may be", facts)
						}
						if e := one[event.Login](t, h.events.take(), "anna"); e.OK || e.Reason != "busy" || time.Since(begin) != 0 {
							t.Errorf("event %+v after %v", e, time.Since(begin))
						}
					}
				}
				other, err := h.come(door, "bob")
				is(t, "another account", err, 0, "")
				other.Close()
				// Each that ends makes room for one.
				all[0].Close()
				all[0].Close()
				s, err := h.come(door, "anna")
				is(t, "in the place of one that ended", err, 0, "")
				if tt.want > 0 {
					_, err = h.come(door, "anna")
					is(t, "one more than that", err, fault.Closing, fault.IDBusy)
				}
				for _, s := range append(all, s) {
					s.Close()
				}
				if n := h.gate.Sessions("anna"); n != 0 || len(h.gate.live.accounts) != 0 {
					t.Errorf("%d sessions and %d accounts are left", n, len(h.gate.live.accounts))
				}
			})
		})
	}
}

// A session counts until its tree is closed, not until its end was asked for.
func TestASessionThatWasEndedStillCountsUntilItIsClosed(t *testing.T) {
	h := newHouse(t)
	s := h.login(account.Account{Name: "anna", MaxSessions: 1})
	s.End(fault.New(fault.Closing, fault.IDShutdown))
	_, err := h.come(open, "anna")
	is(t, "a second one", err, fault.Closing, fault.IDBusy)
	s.Close()
	s, err = h.come(open, "anna")
	need(t, err)
	s.Close()
}

func TestALimitHoldsForLoginsAtOnce(t *testing.T) {
	const most = 5
	h := newHouse(t)
	h.people.known["anna"] = account.Account{Name: "anna", MaxSessions: most}
	h.gate.Trees = func(_ context.Context, a account.Account) (vfs.FS, error) {
		if h.gate.Sessions(a.Name) > most {
			t.Error("a tree was opened for a session too many")
		}
		return h.tree, nil
	}
	var wg sync.WaitGroup
	sessions := make(chan *Session, 50)
	for range 50 {
		v := h.knock(alice, open)
		wg.Go(func() {
			s, err := v.Password(context.Background(), "anna", account.NewSecret(right))
			if err == nil {
				sessions <- s
				return
			}
			is(t, "Password", err, fault.Closing, fault.IDBusy)
		})
	}
	wg.Wait()
	close(sessions)
	if len(sessions) != most {
		t.Errorf("%d sessions came in, want %d", len(sessions), most)
	}
	for s := range sessions {
		s.Close()
	}
	if h.gate.Sessions("anna") != 0 {
		t.Error("some are left")
	}
}

// moved is how much several meters let through until the end of ctx, each.
func moved(ctx context.Context, meters ...meter.Meter) []int64 {
	out := make([]int64, len(meters))
	var wg sync.WaitGroup
	for i, m := range meters {
		wg.Go(func() {
			for {
				n, err := m.Take(ctx, 256<<10)
				if err != nil {
					return
				}
				m.Done(n, n)
				out[i] += n
			}
		})
	}
	wg.Wait()
	return out
}

// allowed wants several meters to let through a rate together, within 5 % of
// what ten seconds allow.
func allowed(t *testing.T, doing string, rate int64, meters ...meter.Meter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var sum int64
	got := moved(ctx, meters...)
	for _, n := range got {
		sum += n
	}
	if want := float64(10 * rate); math.Abs(float64(sum)-want) > want/20 {
		t.Errorf("%s: %d bytes in 10 s, want %.0f", doing, sum, want)
	}
	for i, n := range got {
		if fair := float64(sum) / float64(len(got)); math.Abs(float64(n)-fair) > fair/5 {
			t.Errorf("%s: meter %d has let %d bytes through, a fair share is %.0f", doing, i, n, fair)
		}
	}
}

// up is the meter of an upload of the session.
func up(t *testing.T, s *Session, name string) meter.Meter {
	t.Helper()
	u, err := s.Create(t.Context(), at(t, name), vfs.Create{})
	need(t, err)
	t.Cleanup(func() { _ = u.up.Discard() })
	return u.Meter()
}

func TestAllSessionsOfAnAccountShareItsRates(t *testing.T) {
	const down, upload = 1_000_000, 300_000
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a := account.Account{Name: "anna", Rights: account.Full, RateDown: down, RateUp: upload}
		one, two := h.login(a), h.login(a)
		other := h.login(account.Account{Name: "bob", Rights: account.Full, RateDown: 2 * down})
		allowed(t, "one session sends", down, one.Down())
		allowed(t, "two send", down, one.Down(), two.Down())
		allowed(t, "sixteen transfers of two", down, append(repeat(8, one.Down()), repeat(8, two.Down())...)...)
		allowed(t, "two receive", upload, up(t, one, "/1"), up(t, two, "/2"))
		allowed(t, "another account", 2*down, other.Down())
		one.Close()
		allowed(t, "one that stays", down, two.Down())
	})
}

func repeat(n int, m meter.Meter) (all []meter.Meter) {
	for range n {
		all = append(all, m)
	}
	return all
}

// Sending takes nothing from receiving, nor one account from another.
func TestRatesOfBothWaysAreTheirOwn(t *testing.T) {
	const rate = 100_000
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		s := h.login(account.Account{Name: "anna", Rights: account.Full, RateDown: rate, RateUp: rate})
		allowed(t, "both ways at once", 2*rate, s.Down(), up(t, s, "/1"))
	})
}

func TestNoRateIsNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newHouse(t).login(account.Account{Name: "anna", Rights: account.Full})
		begin := time.Now()
		for range 1000 {
			for _, m := range []meter.Meter{s.Down(), s.up} {
				if n, err := m.Take(t.Context(), 1<<30); n != 1<<30 || err != nil {
					t.Fatalf("Take = %d, %v", n, err)
				}
				m.Done(1<<30, 1<<30)
			}
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// A rate that was changed holds from the next login on, and then for the sessions
// that there are too: two rates for one account would add up.
func TestAChangedRateActsOnTheNextLogin(t *testing.T) {
	const slow, fast = 50_000, 400_000
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		a := account.Account{Name: "anna", Rights: account.Full, RateDown: slow}
		one := h.login(a)
		a.RateDown = fast
		h.people.known["anna"] = a
		allowed(t, "changed, and nobody has logged in", slow, one.Down())
		two := h.login(a)
		allowed(t, "the first after the second login", fast, one.Down())
		allowed(t, "both", fast, one.Down(), two.Down())
		a.RateDown = slow
		three := h.login(a)
		allowed(t, "all three, slow again", slow, one.Down(), two.Down(), three.Down())
	})
}

// Who is looked up again, and what becomes of their sessions.
func TestRefreshEndsTheSessionsOfAccountsThatAreOff(t *testing.T) {
	h, r := newVault(t)
	for _, name := range []string{"removed", "disabled", "expired", "soon", "changed", "same"} {
		r.known[name] = account.Account{Name: name, ID: "of " + name, Rights: account.Full}
	}
	sessions := map[string][]*Session{}
	for name, a := range r.known {
		sessions[name] = []*Session{h.login(a), h.login(a)}
	}
	sessions["anonymous"] = []*Session{h.login(account.Account{Name: "anonymous", Anonymous: true})}
	sessions["guest"] = []*Session{h.login(account.Account{Name: "guest", Anonymous: true})}
	closed := h.login(r.known["removed"])
	closed.Close()

	h.gate.Refresh(t.Context())
	for name, all := range sessions {
		for _, s := range all {
			if err := context.Cause(s.Context()); err != nil {
				t.Errorf("nothing has changed, and a session of %s has ended: %v", name, err)
			}
		}
	}

	delete(r.known, "removed")
	r.known["disabled"] = account.Account{Name: "disabled", ID: "of disabled", Disabled: true}
	r.known["expired"] = account.Account{Name: "expired", ID: "of expired", Expires: noon}
	r.known["soon"] = account.Account{Name: "soon", ID: "of soon", Expires: noon.Add(1)}
	r.known["changed"] = account.Account{Name: "changed", ID: "of changed", Networks: prefixes("10.0.0.0/8"), Protocols: []string{"sftp"}, MaxSessions: 1}
	h.events.take()
	h.gate.Refresh(t.Context())
	for name, all := range sessions {
		for _, s := range all {
			cause := context.Cause(s.Context())
			switch name {
			case "removed", "disabled", "expired":
				is(t, name, cause, fault.Closing, fault.IDAccountOff)
				if facts := fmt.Sprint(fault.Of(cause).Facts); facts != "["+name+"]" {
					t.Errorf("%s: facts %s", name, facts)
				}
				// The connection stays to say so: only the session ends.
				if err := context.Cause(s.visit.Context()); err != nil {
					t.Errorf("%s: the visit has ended: %v", name, err)
				}
			default:
				if cause != nil {
					t.Errorf("a session of %s has ended: %v", name, cause)
				}
			}
		}
	}
	if cause := context.Cause(closed.Context()); !errors.Is(cause, context.Canceled) {
		t.Errorf("a session that was over has ended again: %v", cause)
	}
}

// Who logged in to an account that was removed has no business in the one that
// has its name now, however quickly that came.
func TestAnAccountThatWasAddedAgainHasNoneOfTheOldSessions(t *testing.T) {
	for _, tt := range []struct{ name, old, renewed string }{
		{"with IDs", "1", "2"},
		{"the old one was stored before there were IDs", "", "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, r := newVault(t)
			old := h.login(account.Account{Name: "anna", ID: tt.old, Rights: account.Full})
			a := account.Account{Name: "anna", ID: tt.renewed, Rights: account.Full}
			r.known["anna"] = a
			renewed := h.login(a)
			h.gate.Refresh(t.Context())
			cause := context.Cause(old.Context())
			is(t, "a session of the old account", cause, fault.Closing, fault.IDAccountOff)
			if facts := fmt.Sprint(fault.Of(cause).Facts); facts != "[removed]" {
				t.Errorf("facts %s", facts)
			}
			if err := context.Cause(renewed.Context()); err != nil {
				t.Errorf("a session of the new account has ended: %v", err)
			}
		})
	}
}

// asks is a Directory.
type asks func(name string) (account.Account, error)

func (a asks) Lookup(_ context.Context, name string) (account.Account, error) { return a(name) }

// What Refresh is told may be over when the answer comes.
func TestWhoLogsInWhileRefreshAsksStays(t *testing.T) {
	h, _ := newVault(t)
	h.login(account.Account{Name: "anna", ID: "1"})
	var renewed *Session
	h.gate.Directory = asks(func(name string) (account.Account, error) {
		renewed = h.login(account.Account{Name: name, ID: "2"})
		return account.Account{Name: name, ID: "1"}, nil
	})
	h.gate.Refresh(t.Context())
	if err := context.Cause(renewed.Context()); err != nil {
		t.Errorf("a session that came meanwhile has ended: %v", err)
	}
}

// Each account is asked about once, however many sessions it has.
func TestRefreshAsksOnceAboutEachAccount(t *testing.T) {
	h, r := newVault(t, account.Account{Name: "anna"}, account.Account{Name: "bob"})
	for range 10 {
		h.login(r.known["anna"])
	}
	h.login(r.known["bob"])
	h.gate.Refresh(t.Context())
	if fmt.Sprint(r.asked) != "[anna bob]" {
		t.Errorf("asked for %v", r.asked)
	}
}

func TestWhenAccountsCanNotBeLookedUpNobodyIsSentAway(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(h *house, r *register)
	}{
		{"the database is locked", func(_ *house, r *register) { r.broken = errors.New("database is locked") }},
		{"it does not answer in time", func(_ *house, r *register) { r.broken = context.DeadlineExceeded }},
		{"there is none", func(h *house, _ *register) { h.gate.Directory = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, r := newVault(t, account.Account{Name: "anna"})
			s := h.login(r.known["anna"])
			delete(r.known, "anna")
			tt.set(h, r)
			h.gate.Refresh(t.Context())
			if err := context.Cause(s.Context()); err != nil {
				t.Fatalf("the session has ended: %v", err)
			}
			h.gate.Directory, r.broken = r, nil
			h.gate.Refresh(t.Context())
			is(t, "when it answers again", context.Cause(s.Context()), fault.Closing, fault.IDAccountOff)
		})
	}
}

// Logins, ends and refreshes at once: in the end nobody is booked.
func TestSessionsComeAndGoAtOnce(t *testing.T) {
	h, _ := newVault(t, account.Account{Name: "anna", MaxSessions: 4}, account.Account{Name: "bob"})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				v, err := h.gate.Knock(Peer{Remote: alice, Local: here, Door: open})
				if err != nil {
					t.Error(err)
					return
				}
				s, err := v.Password(t.Context(), []string{"anna", "bob"}[i%2], account.NewSecret(right))
				switch {
				case err == nil:
					s.Close()
				case fault.Of(err).ID != fault.IDBusy:
					t.Error(err)
				}
				v.Leave()
			}
		})
	}
	wg.Go(func() {
		for range 50 {
			h.gate.Refresh(t.Context())
		}
	})
	wg.Wait()
	if len(h.gate.live.accounts) != 0 {
		t.Errorf("%d accounts are booked", len(h.gate.live.accounts))
	}
}
