package gate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/guard"
	"dray/vfs"
)

// noon is the time by the gate's clock, far from that of the machine.
var noon = time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)

func prefixes(all ...string) (nets []netip.Prefix) {
	for _, s := range all {
		nets = append(nets, netip.MustParsePrefix(s))
	}
	return nets
}

// An outcome is all that a peer can learn from one login, and what is said of it
// in the records.
type outcome struct {
	kind  fault.Kind
	id    fault.ID
	facts string
	took  time.Duration
	event event.Login
}

// knockAndTry logs in on a new connection and leaves at once.
func (h *house) knockAndTry(from netip.AddrPort, d *Door, user, password string) outcome {
	h.t.Helper()
	v := h.knock(from, d)
	defer v.Leave()
	return h.try(v, user, password)
}

func (h *house) try(v *Visit, user, password string) outcome {
	h.t.Helper()
	h.events.take()
	begin := time.Now()
	s, err := v.Password(h.t.Context(), user, account.NewSecret(password))
	o := outcome{took: time.Since(begin), event: one[event.Login](h.t, h.events.take(), user)}
	if err == nil {
		s.Close()
		o.event.Meta = event.Meta{}
		return o
	}
	e := fault.Of(err)
	o.kind, o.id, o.facts = e.Kind, e.ID, strings.TrimSpace(fmt.Sprintln(e.Facts...))
	o.event.Meta = event.Meta{}
	return o
}

var wrongPassword = outcome{
	kind: fault.NotLoggedIn, id: fault.IDAuth, took: time.Second + 250*time.Millisecond, event: event.Login{Reason: "auth"},
}

// Who may log in when, from where and by what: each rule with what it answers to
// the right password. What may be told to nobody is answered as a wrong one.
func TestTheRulesOfALogin(t *testing.T) {
	in := outcome{event: event.Login{OK: true}}
	off := func(why string) outcome {
		return outcome{kind: fault.NotLoggedIn, id: fault.IDAccountOff, facts: why, event: event.Login{Reason: "account-off"}}
	}
	tests := []struct {
		name string
		a    account.Account
		want outcome
	}{
		{"an account without rules", account.Account{}, in},
		{"disabled", account.Account{Disabled: true}, off("disabled")},
		{"expired a moment ago", account.Account{Expires: noon.Add(-1)}, off("expired")},
		{"expires now", account.Account{Expires: noon}, off("expired")},
		{"expires in a moment", account.Account{Expires: noon.Add(1)}, in},
		{"disabled before it expires", account.Account{Disabled: true, Expires: noon}, off("disabled")},
		{"from its network", account.Account{Networks: prefixes("10.0.0.0/8", "198.51.100.0/24")}, in},
		{"from another network", account.Account{Networks: prefixes("10.0.0.0/8", "203.0.113.0/24")}, wrongPassword},
		{"from a network of the other family", account.Account{Networks: prefixes("::/0")}, wrongPassword},
		{"by its protocol", account.Account{Protocols: []string{"sftp", "ftp"}}, in},
		{"by another protocol", account.Account{Protocols: []string{"sftp", "ftps"}}, outcome{
			kind: fault.NotLoggedIn, id: fault.IDProtocol, facts: "ftp sftp, ftps", event: event.Login{Reason: "protocol-off"},
		}},
		{"from its network by its protocol", account.Account{Networks: prefixes("198.51.100.7/32"), Protocols: []string{"ftp"}}, in},
		{"from another network by another protocol", account.Account{Networks: prefixes("10.0.0.0/8"), Protocols: []string{"sftp"}}, wrongPassword},
		{"disabled, from another network", account.Account{Networks: prefixes("10.0.0.0/8"), Disabled: true}, wrongPassword},
		{"disabled, by another protocol", account.Account{Protocols: []string{"sftp"}, Disabled: true}, off("disabled")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.people.slow = true
				h.gate.Now = func() time.Time { return noon }
				tt.a.Name, tt.a.Rights = "anna", account.Full
				h.people.known["anna"] = tt.a
				if got := h.knockAndTry(alice, open, "anna", right); got != tt.want {
					t.Errorf("the right password: %+v\nwant %+v", got, tt.want)
				}
				// Whoever does not know it learns nothing of the rules.
				want := wrongPassword
				if tt.want == wrongPassword { // the second one
					want.took += 250 * time.Millisecond
				}
				got := h.knockAndTry(alice, open, "anna", "guess")
				if near := got.took - want.took; near > 0 || near < -want.took/20 {
					t.Errorf("a wrong password takes %v, want %v", got.took, want.took)
				}
				if got.took = want.took; got != want {
					t.Errorf("a wrong password: %+v\nwant %+v", got, want)
				}
				if n := h.gate.Sessions("anna"); n != 0 {
					t.Errorf("%d sessions are left", n)
				}
			})
		})
	}
}

// A client behind a dual stack socket has an IPv6 address in which the IPv4 one
// stands.
func TestMappedAddressesAreOfTheirIPv4Network(t *testing.T) {
	h := newHouse(t)
	a := account.Account{Name: "anna", Rights: account.Full, Networks: prefixes("198.51.100.0/24")}
	h.people.known["anna"] = a
	mapped := netip.MustParseAddrPort("[::ffff:198.51.100.7]:40000")
	door := &Door{
		Protocol: "ftp", Networks: a.Networks,
		Exceptions: []Exception{{Network: a.Networks[0], Until: time.Now().Add(time.Hour)}},
	}
	v := h.knock(mapped, door)
	_, err := v.Name(t.Context(), "anna")
	is(t, "Name", err, 0, "")
	s, err := v.Password(t.Context(), "anna", account.NewSecret(right))
	need(t, err)
	s.Close()
}

// A right password from where it may not come counts as a guess, up to the last
// try and the ban.
func TestAPasswordFromAForeignNetworkCountsAsAGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.slow = true
		h.gate.Guard = guard.New(guard.Limits{BanAfter: 3}, nil)
		h.people.known["anna"] = account.Account{Name: "anna", Networks: prefixes("10.0.0.0/8")}
		v := h.knock(alice, open)
		for i := range 3 {
			want := []fault.ID{fault.IDAuth, fault.IDAuth, fault.IDTries}[i]
			if o := h.try(v, "anna", right); o.id != want {
				t.Errorf("try %d: %+v, want %s", i+1, o, want)
			}
		}
		_, err := h.gate.Knock(Peer{Remote: alice, Local: here, Door: open})
		is(t, "Knock", err, fault.Closing, fault.IDBanned)
	})
}

// What is told of an account that is off takes the right password, and costs
// nothing.
func TestAnAccountThatIsOffCostsNoPenalty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.slow = true
		h.people.known["anna"] = account.Account{Name: "anna", Disabled: true}
		h.people.known["bob"] = account.Account{Name: "bob", Protocols: []string{"sftp"}}
		v := h.knock(alice, open)
		for range 10 {
			if o := h.try(v, "anna", right); o.id != fault.IDAccountOff || o.took != 0 {
				t.Errorf("disabled: %+v", o)
			}
			if o := h.try(v, "bob", right); o.id != fault.IDProtocol || o.took != 0 {
				t.Errorf("by another protocol: %+v", o)
			}
		}
		if o := h.try(v, "anna", "guess"); o.took != time.Second+250*time.Millisecond {
			t.Errorf("the first guess: %+v", o)
		}
	})
}

// From the network of an exception every name is asked for a password, because
// asking only some would tell who they are. Only the password tells.
func TestExceptionsForClearText(t *testing.T) {
	near, far := prefixes("198.51.100.0/24")[0], prefixes("203.0.113.0/24")[0]
	later := noon.Add(time.Hour)
	asked, needTLS := true, false
	tests := []struct {
		name       string
		exceptions []Exception
		asks       bool
		in         []string // who of anna and bob comes in
	}{
		{"none", nil, needTLS, nil},
		{"for one account", []Exception{{"anna", near, later}}, asked, []string{"anna"}},
		{"for all", []Exception{{"", near, later}}, asked, []string{"anna", "bob"}},
		{"for an account that there is none of", []Exception{{"nobody", near, later}}, asked, nil},
		{"for two", []Exception{{"anna", near, later}, {"bob", near, later}}, asked, []string{"anna", "bob"}},
		{"from another network", []Exception{{"anna", far, later}, {"", far, later}}, needTLS, nil},
		{"for one from another network, for the other from here", []Exception{{"anna", far, later}, {"bob", near, later}}, asked, []string{"bob"}},
		{"that has ended", []Exception{{"anna", near, noon}, {"", near, noon.Add(-time.Hour)}}, needTLS, nil},
		{"in its last moment", []Exception{{"anna", near, noon.Add(1)}}, asked, []string{"anna"}},
		{"for one that has ended, for the other not", []Exception{{"anna", near, noon}, {"bob", near, later}}, asked, []string{"bob"}},
		{"a name in other letters is another name", []Exception{{"ANNA", near, later}}, asked, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, user := range []string{"anna", "bob", "nobody"} {
					h := newHouse(t)
					h.people.slow = true
					h.gate.Now = func() time.Time { return noon }
					h.people.known["anna"] = account.Account{Name: "anna"}
					h.people.known["bob"] = account.Account{Name: "bob"}
					door := &Door{Protocol: "ftp", Exceptions: tt.exceptions}
					v := h.knock(alice, door)
					ask, err := v.Name(t.Context(), user)
					if !tt.asks {
						is(t, "Name", err, fault.NeedTLS, fault.IDTLSRequired)
						_, err = v.Password(t.Context(), user, account.NewSecret(right))
						is(t, "Password", err, fault.NeedTLS, fault.IDTLSRequired)
						if h.people.asked != 0 {
							t.Error("the password was looked at")
						}
					} else {
						is(t, "Name of "+user, err, 0, "")
						if ask != AskPassword {
							t.Errorf("%s is asked for %v", user, ask)
						}
						want := wrongPassword
						for _, name := range tt.in {
							if name == user {
								want = outcome{event: event.Login{OK: true}}
							}
						}
						if got := h.try(v, user, right); got != want {
							t.Errorf("%s: %+v\nwant %+v", user, got, want)
						}
					}
					// Under TLS nobody needs an exception.
					if user != "nobody" {
						if o := h.try(secured(h.knock(alice, door)), user, right); !o.event.OK || o.took != 0 {
							t.Errorf("%s under TLS: %+v", user, o)
						}
					}
				}
			})
		})
	}
}

// Strangers have no secret, so a door may let them in as they are; everybody else
// still needs TLS there.
func TestStrangersInClearText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.slow = true
		for _, name := range []string{"anonymous", "ftp"} {
			h.people.known[name] = account.Account{Name: name, Anonymous: true, Rights: account.ReadOnly}
		}
		strangers := &Door{Protocol: "ftp", AnonymousPlain: true}
		for _, tt := range []struct {
			door *Door
			user string
			in   bool
		}{{strangers, "anonymous", true}, {strangers, "ftp", true}, {open, "anonymous", true}, {safe, "anonymous", false}} {
			v := h.knock(alice, tt.door)
			_, err := v.Name(t.Context(), tt.user)
			if !tt.in {
				is(t, "Name", err, fault.NeedTLS, fault.IDTLSRequired)
				continue
			}
			need(t, err)
			s, err := v.Password(t.Context(), tt.user, account.NewSecret("guest@example.net"))
			need(t, err)
			if e := of[event.Login](h.events.take()); len(e) != 1 || !e[0].OK || e[0].TLS {
				t.Errorf("events %+v", e)
			}
			if !s.Account().Anonymous {
				t.Error("it is no anonymous account")
			}
			s.Close()
			v.Leave()
		}
	})
}

func TestADoorMayHaveItsOwnVerifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.slow = true
		h.people.known["anna"] = account.Account{Name: "anna"}
		own := &people{known: map[string]account.Account{"bob": {Name: "bob"}}}
		door := &Door{Protocol: "ftp", Plain: true, Verifier: own}
		for _, tt := range []struct {
			door *Door
			user string
			in   bool
		}{{door, "bob", true}, {door, "anna", false}, {open, "anna", true}, {open, "bob", false}} {
			if o := h.knockAndTry(alice, tt.door, tt.user, right); o.event.OK != tt.in {
				t.Errorf("%s at the door with verifier %v: %+v", tt.user, tt.door.Verifier != nil, o)
			}
		}
		if own.asked != 2 || h.people.asked != 2 {
			t.Errorf("the door's was asked %d times, the gate's %d; want 2 each", own.asked, h.people.asked)
		}
	})
}

// Who is not in the networks of a door is turned away before anything is booked
// for it.
func TestADoorForSomeNetworks(t *testing.T) {
	h := newHouse(t)
	h.gate.Guard = guard.New(guard.Limits{Total: 1, PerAddress: 1}, nil)
	door := &Door{Name: "inside", Protocol: "ftp", Networks: prefixes("203.0.113.0/24", "2001:db8::/32")}
	for range 20 {
		v, err := h.gate.Knock(Peer{Remote: alice, Local: here, Door: door})
		is(t, "Knock", err, fault.Closing, fault.IDNetwork)
		if v != nil {
			t.Fatal("a visit came with the error")
		}
		if e := one[event.Refusal](t, h.events.take(), ""); e.Verb != "connect" || e.Reason != "network-off" {
			t.Errorf("event %+v", e)
		}
	}
	v := h.knock(bob, door) // the one place that there is
	v.Leave()
	h.knock(netip.MustParseAddrPort("[2001:db8::7%eth0]:1234"), door).Leave()
	h.knock(alice, open).Leave() // another door
}

// Why an account's tree can't be opened is told where it is a sentence for the
// peer, and kept where it is not.
func TestErrorsOfTheAccountsDirectory(t *testing.T) {
	missing := fault.New(fault.Internal, fault.IDHome)
	for _, tt := range []struct {
		name string
		err  error
		kind fault.Kind
		id   fault.ID
	}{
		{"a refusal is passed on", missing, fault.Internal, fault.IDHome},
		{"also a wrapped one", fmt.Errorf("open the home: %w", missing), fault.Internal, fault.IDHome},
		{"with its kind", fault.New(fault.Closing, fault.IDBusy, "homes", 1, 1), fault.Closing, fault.IDBusy},
		{"anything else is ours", errors.New("open /real/secret: gone"), fault.Internal, fault.IDInternal},
		{"a missing directory too", &fs.PathError{Op: "open", Path: "/real/secret", Err: fs.ErrNotExist}, fault.Internal, fault.IDInternal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.people.slow = true
				h.people.known["anna"] = account.Account{Name: "anna", MaxSessions: 1}
				h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return nil, tt.err }
				v := h.knock(alice, open)
				for range 3 { // the place of the session is free again each time
					o := h.try(v, "anna", right)
					if o.kind != tt.kind || o.id != tt.id || o.took != 0 || o.event.OK || o.event.Reason != string(tt.id) {
						t.Errorf("Password: %+v", o)
					}
				}
				h.gate.Trees = func(context.Context, account.Account) (vfs.FS, error) { return h.tree, nil }
				if o := h.try(v, "anna", right); !o.event.OK {
					t.Errorf("when it can be opened: %+v", o)
				}
				if o := h.try(v, "anna", "guess"); o.took != time.Second+250*time.Millisecond {
					t.Errorf("it was counted as a guess: the first wait is %v", o.took)
				}
			})
		})
	}
}

// Too many logins that wait for their turn are no guesses.
func TestAFullQueueOfLoginsCostsNoPenalty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.people.slow = true
		h.people.broken = fault.New(fault.Closing, fault.IDBusy, "logins that wait from your address", 64, 64)
		v := h.knock(alice, open)
		want := outcome{
			kind: fault.Closing, id: fault.IDBusy, facts: "logins that wait from your address 64 64", event: event.Login{Reason: "busy"},
		}
		for range 10 {
			if got := h.try(v, "anna", right); got != want {
				t.Errorf("Password: %+v\nwant %+v", got, want)
			}
		}
		h.people.broken = nil
		if o := h.try(v, "anna", "guess"); o != wrongPassword {
			t.Errorf("the first guess: %+v", o)
		}
	})
}

// patient is a Verifier that waits for its context, as one does that stands in a queue.
type patient struct{}

func (patient) Verify(ctx context.Context, _ string, _ account.Secret, _ netip.Addr, _ account.Bar) (account.Account, error) {
	<-ctx.Done()
	return account.Account{}, context.Cause(ctx)
}

// A login that its connection did not live to see was not refused.
func TestALoginEndsWithItsConnection(t *testing.T) {
	for _, cause := range []error{
		fault.New(fault.Closing, fault.IDShutdown), fault.New(fault.Closing, fault.IDBusy, "connections", 1, 1), context.Canceled,
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.people.slow = true
			h.gate.Verifier = patient{}
			v := h.knock(alice, open)
			go v.End(cause)
			_, err := v.Password(v.Context(), "anna", account.NewSecret(right))
			if !errors.Is(err, cause) {
				t.Errorf("Password = %v, want %v", err, cause)
			}
			if es := h.events.take(); len(es) != 0 {
				t.Errorf("events %+v, want none", es)
			}
			if wait, _ := v.slot.Failed(); wait > 250*time.Millisecond {
				t.Errorf("it was counted as a guess: the first wait is %v", wait)
			}
		})
	}
}

// register is a Directory.
type register struct {
	mu     sync.Mutex
	known  map[string]account.Account
	broken error
	asked  []string
}

func (r *register) Lookup(_ context.Context, name string) (account.Account, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, name)
	if r.broken != nil {
		return account.Account{}, r.broken
	}
	a, ok := r.known[name]
	if !ok {
		return account.Account{}, fmt.Errorf("look up %q: %w", name, fs.ErrNotExist)
	}
	return a, nil
}

// The account of a session is the one of its login, whatever the place where
// accounts are kept does with it afterwards.
func TestASessionKeepsTheAccountOfItsLogin(t *testing.T) {
	h := newHouse(t)
	a := account.Account{Name: "anna", Rights: account.ReadOnly, MaxBytes: 7}
	s := h.login(a)
	h.people.known["anna"] = account.Account{Name: "anna", Rights: account.Full}
	if got := s.Account(); !reflect.DeepEqual(got, a) {
		t.Errorf("Account() = %+v, want %+v", got, a)
	}
	is(t, "Mkdir", s.Mkdir(t.Context(), at(t, "/d")), fault.Denied, fault.IDReadOnly)
}
