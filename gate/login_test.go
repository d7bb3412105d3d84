package gate

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/guard"
	"dray/vfs"
)

// Which listener asks whom for a password, and when a password that comes all
// the same is looked at.
func TestWhoIsAskedForAPassword(t *testing.T) {
	plain, strangers := &Door{Protocol: "ftp", Plain: true}, &Door{Protocol: "ftp", AnonymousPlain: true}
	tests := []struct {
		name string
		door *Door
		tls  bool
		user string
		asks bool
	}{
		{"nobody in clear text", safe, false, "anna", false},
		{"nor a name that does not exist", safe, false, "nobody", false},
		{"nor anonymous", safe, false, "anonymous", false},
		{"nor no name at all", safe, false, "", false},
		{"everybody under TLS", safe, true, "anna", true},
		{"a name that does not exist too", safe, true, "nobody", true},
		{"where clear text is allowed, anybody", plain, false, "anna", true},
		{"a name that does not exist there too", plain, false, "nobody", true},
		{"where strangers may, strangers", strangers, false, "anonymous", true},
		{"by either name", strangers, false, "FTP", true},
		{"and nobody else", strangers, false, "anna", false},
		{"there everybody under TLS", strangers, true, "anna", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			h.people.known["anna"] = account.Account{Name: "anna", Rights: account.Full}
			v := h.knock(alice, tt.door)
			if tt.tls {
				secured(v)
			}
			_, err := v.Name(t.Context(), tt.user)
			if tt.asks {
				is(t, "Name", err, 0, "")
				return
			}
			is(t, "Name", err, fault.NeedTLS, fault.IDTLSRequired)
			// A client that does not listen sends the password: it is not even
			// compared, or the answer's time would tell something.
			_, err = v.Password(t.Context(), tt.user, account.NewSecret(right))
			is(t, "Password", err, fault.NeedTLS, fault.IDTLSRequired)
			if h.people.asked != 0 {
				t.Error("the password was looked at")
			}
			if es := h.events.take(); len(es) != 0 {
				t.Errorf("events %+v; a login that was not tried is none", es)
			}
			if wait, _ := v.slot.Failed(); wait > 250*time.Millisecond {
				t.Errorf("asking without TLS was counted as a wrong login: the first wait is %v", wait)
			}
		})
	}
}

// On a listener where only strangers may come in clear text, no other account
// comes in by their name.
func TestTheStrangersNameOpensNoAccountInClearText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.known["ftp"] = account.Account{Name: "ftp", Rights: account.Full}
		v := h.knock(alice, &Door{Protocol: "ftp", AnonymousPlain: true})
		_, err := v.Password(t.Context(), "ftp", account.NewSecret(right))
		is(t, "Password in clear text", err, fault.NotLoggedIn, fault.IDAuth)
		s, err := secured(v).Password(t.Context(), "ftp", account.NewSecret(right))
		is(t, "Password under TLS", err, 0, "")
		s.Close()
	})
}

func TestALoginIsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.known["anna"] = account.Account{Name: "anna", Rights: account.Full}
		v := secured(h.knock(alice, safe))
		_, err := v.Password(t.Context(), "anna", account.NewSecret("guess"))
		is(t, "Password", err, fault.NotLoggedIn, fault.IDAuth)
		e := one[event.Login](t, h.events.take(), "anna")
		if want := (event.Login{Meta: e.Meta, TLS: true, Reason: "auth"}); e != want || e.Session != v.ID() {
			t.Errorf("event %+v, want %+v", e, want)
		}
		s, err := v.Password(t.Context(), "anna", account.NewSecret(right))
		need(t, err)
		defer s.Close()
		e = one[event.Login](t, h.events.take(), "anna")
		if want := (event.Login{Meta: e.Meta, OK: true, TLS: true}); e != want {
			t.Errorf("event %+v, want %+v", e, want)
		}
	})
}

// What strangers give as a password is in the events of their sessions, and
// nobody else's.
func TestEventsHaveWhatStrangersGave(t *testing.T) {
	h := newHouse(t)
	h.people.known["anonymous"] = account.Account{Name: "anonymous", Anonymous: true, Rights: account.Full}
	h.people.known["anna"] = account.Account{Name: "anna", Rights: account.Full}
	for _, tt := range []struct{ user, password, want string }{
		{"anonymous", "me@example.net", "me@example.net"},
		{"anonymous", "", ""},
		{"anonymous", strings.Repeat("x", 4000), strings.Repeat("x", 128)},
		{"anna", right, ""},
	} {
		s, err := h.knock(alice, open).Password(t.Context(), tt.user, account.NewSecret(tt.password))
		need(t, err)
		s.Transferred(event.Transfer{Path: "/a"})
		for _, e := range h.events.take() {
			switch e := e.(type) {
			case event.Login:
				if e.Given != tt.want {
					t.Errorf("%s logs in with %q", tt.user, e.Given)
				}
			case event.Transfer:
				if e.Given != tt.want {
					t.Errorf("%s transfers with %q", tt.user, e.Given)
				}
			}
		}
		s.Close()
	}
}

// try sends a wrong password and returns how long the answer took.
func try(t *testing.T, v *Visit, user string) (time.Duration, error) {
	t.Helper()
	begin := time.Now()
	s, err := v.Password(t.Context(), user, account.NewSecret("guess"))
	if s != nil {
		t.Fatal("a wrong password was taken")
	}
	return time.Since(begin), err
}

func TestWrongPasswordsWaitLongerAndTheThirdCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.known["anna"] = account.Account{Name: "anna", Rights: account.Full}
		v := secured(h.knock(alice, safe))
		waits := []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second}
		for i, want := range waits {
			kind, id := fault.NotLoggedIn, fault.IDAuth
			if i == len(waits)-1 {
				kind, id = fault.Closing, fault.IDTries
			}
			took, err := try(t, v, []string{"anna", "nobody", "anna"}[i])
			is(t, "Password", err, kind, id)
			// The scores halve every minute, so the later waits are a little less.
			if took > want || took < want*95/100 {
				t.Errorf("try %d took %v, want %v", i+1, took, want)
			}
		}
		// Another address is not delayed by it, nor by the name.
		if took, _ := try(t, secured(h.knock(bob, safe)), "anna"); took != 250*time.Millisecond {
			t.Errorf("another address waits %v for the first wrong password", took)
		}
		// The owner, from the same address, gets in at once.
		begin := time.Now()
		s, err := secured(h.knock(alice, safe)).Password(t.Context(), "anna", account.NewSecret(right))
		is(t, "the right password", err, 0, "")
		if took := time.Since(begin); took != 0 {
			t.Errorf("the right password took %v", took)
		}
		s.Close()
		// A new connection does not begin anew: that login has halved the score of
		// the address and not erased it.
		if took, _ := try(t, secured(h.knock(alice, safe)), "anna"); took < 600*time.Millisecond {
			t.Errorf("a new connection from the address of the guesses waits only %v", took)
		}
	})
}

func TestManyWrongPasswordsTurnTheAddressAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.gate.Guard = guard.New(guard.Limits{BanAfter: 4}, nil)
		for range 4 {
			v := secured(h.knock(alice, safe))
			_, _ = try(t, v, "anna")
			v.Leave()
		}
		h.events.take()
		_, err := h.gate.Knock(Peer{Remote: alice, Local: here, Door: safe})
		is(t, "Knock", err, fault.Closing, fault.IDBanned)
		if e := one[event.Refusal](t, h.events.take(), ""); e.Verb != "connect" || e.Reason != "banned" {
			t.Errorf("event %+v", e)
		}
		h.knock(bob, safe)
		time.Sleep(11 * time.Minute)
		h.knock(alice, safe)
	})
}

func TestAWaitEndsWithTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		v := secured(h.knock(alice, safe))
		gone := fault.New(fault.Closing, fault.IDShutdown)
		go func() {
			time.Sleep(100 * time.Millisecond)
			v.End(gone)
		}()
		begin := time.Now()
		_, err := v.Password(v.Context(), "anna", account.NewSecret("guess"))
		if took := time.Since(begin); took != 100*time.Millisecond || !errors.Is(err, error(gone)) {
			t.Errorf("Password = %v after %v, want the cause after 100ms", err, took)
		}
		// Leaving early buys nothing: the guess counts.
		if took, _ := try(t, secured(h.knock(alice, safe)), "anna"); took < 450*time.Millisecond {
			t.Errorf("the next guess waits only %v", took)
		}
	})
}

func TestAnAccountsPlaceThatIsBrokenIsNobodysFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.broken = errors.New("the database of /real/secret is gone")
		v := secured(h.knock(alice, safe))
		for range 5 {
			took, err := try(t, v, "anna")
			is(t, "Password", err, fault.Internal, fault.IDInternal)
			if took != 0 {
				t.Errorf("the peer waits %v for what is our fault", took)
			}
		}
		if e := of[event.Login](h.events.take()); len(e) != 5 || e[0].OK || e[0].Reason != "internal" {
			t.Errorf("events %+v", e)
		}
	})
}

func TestATreeThatCannotBeOpenedIsNoWrongPassword(t *testing.T) {
	h := newHouse(t)
	h.people.known["anna"] = account.Account{Name: "anna"}
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) {
		return nil, errors.New("open /real/secret: gone")
	}
	_, err := secured(h.knock(alice, safe)).Password(t.Context(), "anna", account.NewSecret(right))
	is(t, "Password", err, fault.Internal, fault.IDInternal)
	if e := one[event.Login](t, h.events.take(), "anna"); e.OK || e.Reason != "internal" {
		t.Errorf("event %+v", e)
	}
}

// A flood of connections that say nothing crowds itself out: whoever speaks
// stays and logs in.
func TestSilentConnectionsGoBeforeAnHonestLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.gate.Guard = guard.New(guard.Limits{Total: 1000, PerAddress: 1000, Pending: 20, PendingPerAddress: 20}, nil)
		h.people.known["anna"] = account.Account{Name: "anna", Rights: account.Full}
		honest := secured(h.knock(bob, safe))
		honest.Spoke()
		var silent []*Visit
		for i := range 200 {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 7)}), uint16(1024+i))
			silent = append(silent, h.knock(from, safe))
		}
		synctest.Wait()
		if err := context.Cause(honest.Context()); err != nil {
			t.Fatalf("who spoke was crowded out: %v", err)
		}
		var out int
		for _, v := range silent {
			if v.Context().Err() != nil {
				out++
				is(t, "the cause", context.Cause(v.Context()), fault.Closing, fault.IDBusy)
			}
		}
		if out != 200-20+1 {
			t.Errorf("%d silent connections were crowded out, want %d", out, 200-20+1)
		}
		s, err := honest.Password(t.Context(), "anna", account.NewSecret(right))
		need(t, err)
		defer s.Close()
		for range 50 { // logged in it is never crowded out
			h.knock(alice, safe)
		}
		synctest.Wait()
		if err := context.Cause(s.Context()); err != nil {
			t.Errorf("a session was crowded out: %v", err)
		}
	})
}

func TestTooManyConnectionsAreTurnedAwayWithTheNumbers(t *testing.T) {
	h := newHouse(t)
	h.gate.Guard = guard.New(guard.Limits{Total: 2, PerAddress: 2}, nil)
	v := h.knock(alice, safe)
	h.knock(alice, safe)
	_, err := h.gate.Knock(Peer{Remote: alice, Local: here, Door: safe})
	is(t, "Knock", err, fault.Closing, fault.IDBusy)
	if facts := fault.Of(err).Facts; len(facts) != 3 || facts[1] != 2 || facts[2] != 2 {
		t.Errorf("facts %v, want what, how many there are and how many may be", facts)
	}
	v.Leave()
	h.knock(alice, safe)
}

func TestASessionEndsWithItsVisit(t *testing.T) {
	kicked := fault.New(fault.Closing, fault.IDShutdown)
	tests := []struct {
		name string
		end  func(v *Visit, s *Session)
		want error
	}{
		{"kicked", func(v *Visit, _ *Session) { v.End(kicked) }, kicked},
		{"left", func(v *Visit, _ *Session) { v.Leave() }, context.Canceled},
		{"closed", func(_ *Visit, s *Session) { s.Close(); s.Close() }, context.Canceled},
		{"kicked, then left: the first cause stays", func(v *Visit, _ *Session) { v.End(kicked); v.Leave() }, kicked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			s := h.anna()
			if err := s.Context().Err(); err != nil {
				t.Fatal(err)
			}
			tt.end(s.visit, s)
			<-s.Context().Done()
			if got := context.Cause(s.Context()); !errors.Is(got, tt.want) {
				t.Errorf("cause %v, want %v", got, tt.want)
			}
		})
	}
}

// closing counts how often a tree is closed.
type closing struct {
	vfs.FS
	times *int
}

func (c closing) Close() error { *c.times++; return c.FS.Close() }

func TestEachSessionClosesItsTreeOnce(t *testing.T) {
	h := newHouse(t)
	times := 0
	h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return closing{h.tree, &times}, nil }
	s := h.anna()
	s.Close()
	s.Close()
	if times != 1 {
		t.Errorf("the tree was closed %d times", times)
	}
}

func TestEveryVisitHasANameOfItsOwn(t *testing.T) {
	h := newHouse(t)
	known := map[string]bool{}
	for range 100 {
		v := h.knock(alice, safe)
		if id := v.ID(); known[id] || len(id) != 8 {
			t.Fatalf("id %q", id)
		}
		known[v.ID()] = true
		if v.Peer().Remote != alice || v.Peer().Door != safe {
			t.Errorf("Peer = %+v", v.Peer())
		}
	}
}

func TestRefusalsAndDownloadsAreEvents(t *testing.T) {
	h := newHouse(t)
	s := h.anna()
	s.Refused("DELE", "/a", fault.New(fault.Denied, fault.IDPerm, "delete /a"))
	if e := one[event.Refusal](t, h.events.take(), "anna"); e.Verb != "DELE" || e.Path != "/a" || e.Reason != "perm" {
		t.Errorf("event %+v", e)
	}
	s.Transferred(event.Transfer{Direction: event.Download, Path: "/a", Bytes: 7, Whole: true})
	if e := one[event.Transfer](t, h.events.take(), "anna"); e.Bytes != 7 || !e.Whole || e.TLS {
		t.Errorf("event %+v", e)
	}
	secured(s.visit)
	s.Transferred(event.Transfer{Direction: event.Listing, Path: "/"})
	if e := one[event.Transfer](t, h.events.take(), "anna"); !e.TLS {
		t.Errorf("event %+v; want one under TLS", e)
	}
}

// What ends a connection may be called after an upload; a download is not cut as one.
func TestADownloadIsNotCutAsAnUpload(t *testing.T) {
	h := newHouse(t)
	s := h.anna()
	for dir, want := range map[event.Direction]fault.ID{
		event.Download: fault.IDDataLost, event.Listing: fault.IDDataLost, event.Upload: fault.IDUploadCut,
	} {
		s.Transferred(event.Transfer{Direction: dir, Path: "/a", Reason: string(fault.IDUploadCut)})
		if e := one[event.Transfer](t, h.events.take(), "anna"); e.Reason != string(want) {
			t.Errorf("%s: %+v; want the reason %s", dir, e, want)
		}
	}
}

func TestOnlyTheEndOfTheSessionThatIsWakesTheConnection(t *testing.T) {
	h := newHouse(t)
	first := h.anna()
	v := first.visit
	woken := 0
	v.OnEnd(func() { woken++ })
	first.Close()
	second, err := v.Password(t.Context(), "anna", account.NewSecret(right))
	if err != nil {
		t.Fatal(err)
	}
	kicked := fault.New(fault.Closing, fault.IDAccountOff, "removed")
	first.End(kicked) // by somebody who had it from before it was closed
	if woken != 0 || second.Context().Err() != nil || v.Context().Err() != nil {
		t.Errorf("woken %d times, the next session %v, the connection %v", woken, second.Context().Err(), v.Context().Err())
	}
	second.End(kicked)
	if woken != 1 || context.Cause(second.Context()) != error(kicked) || v.Context().Err() != nil {
		t.Errorf("woken %d times, the session %v, the connection %v", woken, context.Cause(second.Context()), v.Context().Err())
	}
	v.End(kicked)
	if woken != 2 || context.Cause(v.Context()) != error(kicked) {
		t.Errorf("woken %d times, the connection %v", woken, context.Cause(v.Context()))
	}
	late := 0
	v.OnEnd(func() { late++ })
	if late != 1 {
		t.Errorf("who asks after the end is told %d times", late)
	}
}
