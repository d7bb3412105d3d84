package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dray/fault"
)

// A book is a Directory of accounts by name.
type book map[string]Account

func (b book) Lookup(_ context.Context, name string) (Account, error) {
	a, ok := b[name]
	if !ok {
		return Account{}, fmt.Errorf("lookup: %w", fs.ErrNotExist)
	}
	return a, nil
}

// A desk is a Checker whose hashes are the password with a "#" before it, and
// which counts the checks.
type desk struct {
	*Checker
	book   book
	checks []Hash
	took   time.Duration // of one check
}

func newDesk(anonymous ...*Account) *desk {
	d := &desk{book: book{
		"anna":   {Name: "anna", Hash: "#" + password},
		"otto":   {Name: "otto"},
		"broken": {Name: "broken", Hash: "?"},
	}, took: work}
	d.Checker = NewChecker(d.book, NewQueue(1), nil)
	for _, a := range anonymous {
		d.Checker = d.With(a)
	}
	d.check = func(h Hash, s Secret) (bool, error) {
		d.checks = append(d.checks, h)
		if h == "?" {
			return false, errors.New("damaged")
		}
		time.Sleep(d.took)
		return string(h) == "#"+s.Reveal(), nil
	}
	return d
}

// try logs in and wants an account or an error, and that so many checks were made.
func (d *desk) try(t *testing.T, name, password string, wantErr error, checks int) {
	t.Helper()
	before := len(d.checks)
	a, err := d.Verify(t.Context(), name, NewSecret(password), ada, nil)
	if !errors.Is(err, wantErr) || (err == nil) != (a.Name != "") {
		t.Errorf("Verify(%q) = %q, %v; want %v", name, a.Name, err, wantErr)
	}
	if got := len(d.checks) - before; got != checks {
		t.Errorf("Verify(%q) did %d checks, want %d", name, got, checks)
	}
}

func TestAllRefusalsDoTheSameWork(t *testing.T) {
	for _, tt := range []struct {
		name, user string
		dummy      bool
	}{
		{"a wrong password", "anna", false},
		{"an unknown name", "nobody", true},
		{"a name in other letters", "Anna", true},
		{"a name with a blank", "anna ", true},
		{"no name", "", true},
		{"an account without a hash", "otto", true},
		{"anonymous, where there is none", "anonymous", true},
		{"ftp, where there is none", "FTP", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				begun := time.Now()
				d.try(t, tt.user, "guess", ErrWrong, 1)
				if took := time.Since(begun); took != refusalGrain {
					t.Errorf("it took %v, want %v", took, refusalGrain)
				}
				if (d.checks[0] == d.dummy) != tt.dummy {
					t.Errorf("the hash was the dummy: %v, want %v", !tt.dummy, tt.dummy)
				}
				if _, err := d.Verify(t.Context(), tt.user, NewSecret("guess"), ada, nil); err != ErrWrong {
					t.Errorf("the refusal is %v, want ErrWrong and nothing else", err)
				}
				if len(d.right) != 0 {
					t.Error("a wrong password is remembered")
				}
			})
		})
	}
}

func TestRefusalsTakeAsLongForCheapHashesAsForDearOnes(t *testing.T) {
	for _, took := range []time.Duration{0, time.Microsecond, 3 * time.Millisecond, work, refusalGrain - 1} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk()
			d.took = took
			begun := time.Now()
			d.try(t, "anna", "guess", ErrWrong, 1)
			if took := time.Since(begun); took != refusalGrain {
				t.Errorf("it took %v, want %v", took, refusalGrain)
			}
		})
	}
}

func TestARightPasswordIsAnsweredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		begun := time.Now()
		d.try(t, "anna", password, nil, 1)
		if took := time.Since(begun); took != work {
			t.Errorf("it took %v, want %v", took, work)
		}
	})
}

// The dummy must be as dear as what NewHash makes, and open for nobody.
func TestTheDummyIsARealHash(t *testing.T) {
	c := NewChecker(book{}, NewQueue(1), nil)
	h, err := NewHash(NewSecret(password))
	if err != nil {
		t.Fatal(err)
	}
	params := h[:strings.LastIndex(form(string(h)), "$")]
	if !strings.HasPrefix(string(c.dummy), string(params)) || len(c.dummy) != len(h) {
		t.Errorf("the dummy is %q, a hash is %q", string(c.dummy), string(h))
	}
	if ok, err := c.dummy.Check(NewSecret(password)); ok || err != nil {
		t.Errorf("Check of the dummy = %v, %v", ok, err)
	}
	if c.dummy == NewChecker(book{}, NewQueue(1), nil).dummy {
		t.Error("two Checkers have the same dummy")
	}
	// Even if somebody found its password.
	c.check = func(Hash, Secret) (bool, error) { return true, nil }
	if _, err := c.Verify(t.Context(), "nobody", NewSecret(password), ada, nil); err != ErrWrong {
		t.Errorf("Verify with the password of the dummy: %v", err)
	}
	if len(c.right) != 0 {
		t.Error("it is remembered")
	}
}

func TestRealHashesOpenAccounts(t *testing.T) {
	b := book{}
	for i, v := range vectors {
		name := fmt.Sprint("user", i)
		b[name] = Account{Name: name, Hash: Hash(v.hash), Home: "/srv/" + name}
	}
	c := NewChecker(b, NewQueue(1), nil)
	for i, v := range vectors {
		name := fmt.Sprint("user", i)
		a, err := c.Verify(t.Context(), name, NewSecret(v.password), ada, nil)
		if err != nil || a.Name != name || a.Home != "/srv/"+name || string(a.Hash) != v.hash {
			t.Errorf("Verify with %s: %q, %v", form(v.hash), a.Name, err)
		}
	}
}

func TestTheAnonymousAccountNeedsNoWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(&Account{Name: "anonymous", Anonymous: true})
		full := make(chan struct{})
		go func() { _ = d.queue.Do(t.Context(), ada, func() { <-full }) }()
		synctest.Wait()
		for _, name := range []string{"anonymous", "ftp", "FTP"} {
			d.try(t, name, "me@example.net", nil, 0)
		}
		close(full)
		d.try(t, "nobody", "me@example.net", ErrWrong, 1)
	})
}

func TestASuccessIsRememberedForFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.try(t, "anna", password, nil, 1)
		for range 4 { // hits do not make it last longer
			time.Sleep(cacheLife/4 - time.Second)
			d.try(t, "anna", password, nil, 0)
		}
		time.Sleep(4 * time.Second)
		d.try(t, "anna", password, nil, 1)
	})
}

// A reload may bring another anonymous account.
func TestTheAnonymousAccountIsExchangedAndNothingForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		before := d.Checker
		d.try(t, "anna", password, nil, 1)
		d.Checker = before.With(&Account{Name: "anonymous", Anonymous: true})
		d.try(t, "anna", password, nil, 0)
		d.try(t, "ftp", "me@example.net", nil, 0)
		d.book["anna"] = Account{Name: "anna", Hash: "#new"}
		d.try(t, "anna", password, ErrWrong, 1)
		d.try(t, "anna", "new", nil, 1)
		d.Checker = before // which still serves those who came before the reload
		d.try(t, "anna", "new", nil, 0)
		d.try(t, "ftp", "me@example.net", ErrWrong, 1)
	})
}

func TestAHitTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.try(t, "anna", password, nil, 1)
		full := make(chan struct{})
		go func() { _ = d.queue.Do(t.Context(), otto, func() { <-full }) }()
		synctest.Wait()
		d.try(t, "anna", password, nil, 0)
		close(full)
	})
}

func TestWhatMissesTheCache(t *testing.T) {
	tests := []struct {
		name     string
		change   func(d *desk)
		password string
		want     error
		after    int // checks of the old password then
	}{
		{"a wrong password", func(*desk) {}, "guess", ErrWrong, 0},
		{"the beginning of the right one", func(*desk) {}, password[:5], ErrWrong, 0},
		{"a changed hash", func(d *desk) { d.book["anna"] = Account{Name: "anna", Hash: "#new"} }, password, ErrWrong, 1},
		{"a changed hash, with its password", func(d *desk) { d.book["anna"] = Account{Name: "anna", Hash: "#new"} }, "new", nil, 1},
		{"an account that has lost its hash", func(d *desk) { d.book["anna"] = Account{Name: "anna"} }, password, ErrWrong, 1},
		{"an account that is gone", func(d *desk) { delete(d.book, "anna") }, password, ErrWrong, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				d.try(t, "anna", password, nil, 1)
				tt.change(d)
				d.try(t, "anna", tt.password, tt.want, 1)
				d.try(t, "anna", tt.password, tt.want, map[bool]int{true: 0, false: 1}[tt.want == nil])
				want := ErrWrong
				if tt.after == 0 {
					want = nil
				}
				d.try(t, "anna", password, want, tt.after)
			})
		})
	}
}

func TestTheSameHashForTwoNamesIsCheckedForEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.book["ann"] = Account{Name: "ann", Hash: "#" + password}
		d.try(t, "anna", password, nil, 1)
		d.try(t, "ann", password, nil, 1)
		d.try(t, "ann", "a"+password, ErrWrong, 1)
	})
}

// What else changed in the account holds at once.
func TestAHitReturnsTheAccountAsItIsNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.try(t, "anna", password, nil, 1)
		d.book["anna"] = Account{Name: "anna", Hash: "#" + password, Disabled: true}
		if a, err := d.Verify(t.Context(), "anna", NewSecret(password), ada, nil); err != nil || !a.Disabled {
			t.Errorf("Verify = %+v, %v; want it disabled", a, err)
		}
		if len(d.checks) != 1 {
			t.Errorf("%d checks, want 1", len(d.checks))
		}
	})
}

func TestLoginsOfOneClientAtOnceShareOneCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := d.Verify(t.Context(), "anna", NewSecret(password), ada, nil); err != nil {
					t.Errorf("Verify: %v", err)
				}
			})
		}
		wg.Wait()
		if len(d.checks) != 1 {
			t.Errorf("%d checks, want 1", len(d.checks))
		}
	})
}

// Under load the right password that is refused all the same was told by its time:
// it was remembered, and passed by all that waited.
func TestARightPasswordThatIsBarredTakesAsLongAsAWrongOneUnderLoad(t *testing.T) {
	elsewhere := func(*Account) string { return "not from here" }
	nobody := func(*Account) string { return "" }
	took := func(t *testing.T, name, secret string, remembered Bar) (time.Duration, error) {
		d := newDesk(&Account{Name: "anonymous", Anonymous: true})
		d.took = refusalGrain / 4
		for range 2 { // from where it is allowed, or from where it is not
			_, _ = d.Verify(t.Context(), name, NewSecret(secret), otto, remembered)
		}
		var crowd sync.WaitGroup
		for range 40 {
			crowd.Go(func() { _, _ = d.Verify(t.Context(), "anna", NewSecret("guess"), ada, nil) })
		}
		synctest.Wait()
		before, begun := len(d.checks), time.Now()
		a, err := d.Verify(t.Context(), name, NewSecret(secret), ada, elsewhere)
		if a.Name != "" || !errors.Is(err, ErrWrong) || len(d.checks) == before {
			t.Errorf("%s: Verify = %q, %v after %d checks", name, a.Name, err, len(d.checks)-before)
		}
		since := time.Since(begun)
		crowd.Wait()
		return since, err
	}
	synctest.Test(t, func(t *testing.T) {
		want, err := took(t, "anna", "guess", nobody)
		if err != ErrWrong || want < 10*refusalGrain {
			t.Fatalf("a wrong password: %v after %v", err, want)
		}
		for _, tt := range []struct {
			name, user string
			remembered Bar
		}{
			{"remembered from where it is allowed", "anna", nobody},
			{"tried before from where it is not", "anna", elsewhere},
			{"anonymous", "anonymous", elsewhere},
		} {
			got, err := took(t, tt.user, password, tt.remembered)
			if got != want || !strings.Contains(err.Error(), "not from here") {
				t.Errorf("%s: %v after %v; a wrong password takes %v", tt.name, err, got, want)
			}
		}
	})
}

func TestWhatIsBarredForOneIsNotForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		begun := time.Now()
		if _, err := d.Verify(t.Context(), "anna", NewSecret(password), ada, func(*Account) string { return "no" }); !errors.Is(err, ErrWrong) || time.Since(begun) != refusalGrain || len(d.right) != 0 {
			t.Errorf("Verify: %v after %v, and %d are remembered", err, time.Since(begun), len(d.right))
		}
		d.try(t, "anna", password, nil, 1)
		begun = time.Now()
		if _, err := d.Verify(t.Context(), "anna", NewSecret(password), ada, func(a *Account) string { return a.Home }); err != nil || time.Since(begun) != 0 {
			t.Errorf("remembered and allowed: %v after %v", err, time.Since(begun))
		}
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.took = 0
		for i := range cacheMost + 100 {
			name := fmt.Sprint("user", i)
			d.book[name] = Account{Name: name, Hash: "#" + password}
			d.try(t, name, password, nil, 1)
			d.try(t, name, password, nil, 0)
		}
		if len(d.right) != cacheMost {
			t.Errorf("%d are remembered, want %d", len(d.right), cacheMost)
		}
	})
}

// A fallible is a Directory that fails.
type fallible struct{ err error }

func (f fallible) Lookup(context.Context, string) (Account, error) {
	return Account{Name: "anna", Hash: "#" + password}, f.err
}

func TestAnErrorOfTheDirectoryComesAfterTheSameWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		locked := errors.New("database is locked")
		d.directory = fallible{locked}
		begun := time.Now()
		a, err := d.Verify(t.Context(), "anna", NewSecret(password), ada, nil)
		if err != locked || a.Name != "" {
			t.Errorf("Verify = %q, %v; want the error as it is", a.Name, err)
		}
		if len(d.checks) != 1 || d.checks[0] != d.dummy || time.Since(begun) != refusalGrain {
			t.Errorf("%d checks in %v", len(d.checks), time.Since(begun))
		}
	})
}

// A directory that does not care for case must not make two names of one.
func TestAnAccountOfAnotherNameIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.directory = fallible{}
		d.try(t, "anna", password, nil, 1)
		d.try(t, "ANNA", password, ErrWrong, 1)
	})
}

func TestADamagedHashIsAWrongPasswordWithAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		begun := time.Now()
		d.try(t, "broken", password, ErrWrong, 2)
		if d.checks[1] != d.dummy || time.Since(begun) != refusalGrain {
			t.Errorf("it was refused after %v without the same work", time.Since(begun))
		}
		if _, err := d.Verify(t.Context(), "broken", NewSecret(password), ada, nil); !strings.Contains(err.Error(), "damaged") {
			t.Errorf("the reason is missing: %v", err)
		}
	})
}

func TestABusyQueueAndAnEndedContextAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		var wg sync.WaitGroup
		for range 1 + waitAddress {
			wg.Go(func() {
				if _, err := d.Verify(t.Context(), "nobody", NewSecret(password), ada, nil); err != ErrWrong {
					t.Errorf("Verify: %v", err)
				}
			})
		}
		synctest.Wait()
		_, err := d.Verify(t.Context(), "anna", NewSecret(password), ada, nil)
		isBusy(t, err, "logins that wait from your address")
		if errors.Is(err, ErrWrong) || fault.KindOf(err) != fault.Closing {
			t.Errorf("busy is told as %v", err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(work/2, func() { cancel(gone) })
		if _, err := d.Verify(ctx, "anna", NewSecret(password), otto, nil); !errors.Is(err, gone) {
			t.Errorf("Verify: %v, want the cause", err)
		}
		wg.Wait()
	})
}

func TestAContextEndsTheWaitOfARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(2*work, func() { cancel(gone) })
		begun := time.Now()
		if _, err := d.Verify(ctx, "anna", NewSecret("guess"), ada, nil); !errors.Is(err, gone) || time.Since(begun) != 2*work {
			t.Errorf("Verify: %v after %v, want the cause after %v", err, time.Since(begun), 2*work)
		}
	})
}
