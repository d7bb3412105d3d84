package account

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

const password = "correct horse 9"

// holder is any struct that has a password, as configurations do.
type holder struct {
	Name     string
	Password Secret
	hidden   Secret
}

func TestASecretNeverPrints(t *testing.T) {
	s := NewSecret(password)
	h := holder{Name: "anna", Password: s, hidden: s}
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%t", "%20v", "%T"}
	for _, v := range []any{s, &s, h, &h, []Secret{s}, map[string]Secret{"a": s}, []any{s}, fmt.Errorf("login: %v", s)} {
		for _, verb := range verbs {
			leaks(t, fmt.Sprintf("%s of %T", verb, v), fmt.Sprintf(verb, v))
		}
		leaks(t, fmt.Sprintf("Sprint of %T", v), fmt.Sprint(v))
		b, err := json.Marshal(v)
		if err != nil {
			t.Errorf("json.Marshal(%T): %v", v, err)
		}
		leaks(t, fmt.Sprintf("JSON of %T", v), string(b))
		for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(handler(&b)).Info("login", "value", v, slog.Group("in", "value", v))
			leaks(t, fmt.Sprintf("slog %s of %T", name, v), b.String())
		}
	}
}

// leaks looks for the password in any form that fmt has.
func leaks(t *testing.T, what, text string) {
	t.Helper()
	for _, form := range []string{password, "horse", fmt.Sprintf("%x", password), fmt.Sprintf("%X", password),
		fmt.Sprintf("% x", password), fmt.Sprintf("%d", []byte(password)), fmt.Sprintf("%q", password)} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the password: %s", what, text)
		}
	}
}

func TestASecretSaysThatItIsHidden(t *testing.T) {
	s := NewSecret(password)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, s); got != "[hidden]" {
			t.Errorf("%s = %s, want [hidden]", verb, got)
		}
	}
	if s.String() != "[hidden]" || s.GoString() != "[hidden]" {
		t.Errorf("String, GoString = %s, %s; want [hidden]", s.String(), s.GoString())
	}
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("login", "password", s)
	if !strings.Contains(b.String(), `"password":"[hidden]"`) {
		t.Errorf("slog wrote %s", b.String())
	}
}

func TestRevealIsTheWayToAPassword(t *testing.T) {
	if got := NewSecret(password).Reveal(); got != password {
		t.Errorf("Reveal() = %q, want %q", got, password)
	}
	if got := (Secret{}).Reveal(); got != "" {
		t.Errorf("Reveal() of the zero Secret = %q, want nothing", got)
	}
}

func TestRights(t *testing.T) {
	single := []Rights{List, Read, Write, Overwrite, Delete, Rename, MakeDir, Attributes}
	var all Rights
	for _, r := range single {
		if all&r != 0 {
			t.Errorf("right %b is in another one", r)
		}
		all |= r
		if !Full.Has(r) {
			t.Errorf("Full lacks %b", r)
		}
		if got, want := ReadOnly.Has(r), r == List || r == Read; got != want {
			t.Errorf("ReadOnly has %b: %v, want %v", r, got, want)
		}
		if (Full &^ r).Has(Full) {
			t.Errorf("Full without %b is said to be Full", r)
		}
		if Rights(0).Has(r) {
			t.Errorf("no rights have %b", r)
		}
	}
	if all != Full {
		t.Errorf("Full = %b, all rights = %b", Full, all)
	}
}

func TestWhosePartialsAreKept(t *testing.T) {
	tests := []struct {
		name string
		a    Account
		want string
	}{
		{"of whoever reads and writes", Account{Name: "anna", Rights: Full}, "anna"},
		{"reading and writing is enough", Account{Name: "anna", Rights: Read | Write}, "anna"},
		{"not of strangers", Account{Name: "anonymous", Rights: Full, Anonymous: true}, ""},
		{"not of those who only drop files", Account{Name: "drop", Rights: Write | List}, ""},
		{"not of readers", Account{Name: "anna", Rights: ReadOnly}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.Keeps(); got != tt.want {
				t.Errorf("Keeps() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTheNamesOfTheAnonymousAccount(t *testing.T) {
	for name, want := range map[string]bool{
		"anonymous": true, "Anonymous": true, "ftp": true, "FTP": true,
		"": false, "anonymous ": false, "ftpuser": false, "root": false,
	} {
		if got := IsAnonymousName(name); got != want {
			t.Errorf("IsAnonymousName(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestOne(t *testing.T) {
	anna := &Account{Name: "anna", Rights: Full}
	strangers := &Account{Name: "anonymous", Rights: ReadOnly, Anonymous: true}
	tests := []struct {
		name      string
		a, anon   *Account
		user      string
		password  string
		want      string // the account that comes in; "" for nobody
		wantWrong bool
	}{
		{"the right password", anna, nil, "anna", password, "anna", false},
		{"a wrong one", anna, nil, "anna", "guess", "", true},
		{"none", anna, nil, "anna", "", "", true},
		{"the beginning of it", anna, nil, "anna", password[:5], "", true},
		{"more than it", anna, nil, "anna", password + "x", "", true},
		{"another user with it", anna, nil, "otto", password, "", true},
		{"case counts in a name", anna, nil, "Anna", password, "", true},
		{"name and password moved against each other", anna, nil, "ann", "a" + password, "", true},
		{"no name", anna, nil, "", password, "", true},
		{"anonymous where it is off", anna, nil, "anonymous", "me@example.net", "", true},
		{"anonymous where it is on, with any password", anna, strangers, "anonymous", "me@example.net", "anonymous", false},
		{"ftp is anonymous", anna, strangers, "FTP", "", "anonymous", false},
		{"anonymous beside it does not open the account", anna, strangers, "anna", "me@example.net", "", true},
		{"the account beside anonymous", anna, strangers, "anna", password, "anna", false},
		{"no account, and its password", nil, strangers, "", password, "", true},
		{"no account, anonymous", nil, strangers, "anonymous", "", "anonymous", false},
		{"nobody at all", nil, nil, "", "", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := NewOne(tt.a, NewSecret(password), tt.anon)
			got, err := o.Verify(t.Context(), tt.user, NewSecret(tt.password), netip.Addr{}, nil)
			if got.Name != tt.want || errors.Is(err, ErrWrong) != tt.wantWrong {
				t.Errorf("Verify(%q) = %q, %v; want %q", tt.user, got.Name, err, tt.want)
			}
			if err != nil && !reflect.DeepEqual(got, Account{}) {
				t.Errorf("a refusal came with the account %+v", got)
			}
		})
	}
}

// Time can't be measured in a test; work can. A name that does not exist, one
// that does, and a right password all cost the same allocations. The race
// detector empties pools by chance, so a few may differ; an answer without the
// hash would save all of them.
func TestOneDoesTheSameWorkForEveryName(t *testing.T) {
	o := NewOne(&Account{Name: "anna", Rights: Full}, NewSecret(password), &Account{Name: "anonymous", Anonymous: true})
	work := func(user, guess string) float64 {
		s := NewSecret(guess)
		return testing.AllocsPerRun(50, func() { _, _ = o.Verify(t.Context(), user, s, netip.Addr{}, nil) })
	}
	want := work("anna", "a guess of 15 b")
	if want < 5 {
		t.Fatalf("a refusal costs %v allocations: this test sees nothing", want)
	}
	for _, tt := range []struct{ user, guess string }{
		{"otto", "a guess of 15 b"}, {"ann4", "a guess of 15 b"}, {"anonymous", "a guess of 15 b"}, {"anna", password}, {"otto", password},
	} {
		if got := work(tt.user, tt.guess); got < want-2 || got > want+2 {
			t.Errorf("%q costs %v allocations, a refusal %v", tt.user, got, want)
		}
	}
}

// What One keeps must not be the password, nor be good in another process.
func TestOneKeepsNoPassword(t *testing.T) {
	a := &Account{Name: "anna", Rights: Full}
	x, y := NewOne(a, NewSecret(password), nil), NewOne(a, NewSecret(password), nil)
	leaks(t, "One", fmt.Sprintf("%+v %#v", x, x))
	if x.sum == y.sum {
		t.Error("two processes keep the same hash of one password")
	}
	a.Rights = 0
	if got, err := x.Verify(t.Context(), "anna", NewSecret(password), netip.Addr{}, nil); err != nil || got.Rights != Full {
		t.Errorf("One shares the account with its maker: %+v, %v", got, err)
	}
}

func TestARefusalDoesNotSayWhatWasWrong(t *testing.T) {
	o := NewOne(&Account{Name: "anna"}, NewSecret(password), nil)
	_, wrongName := o.Verify(t.Context(), "otto", NewSecret(password), netip.Addr{}, nil)
	_, wrongPassword := o.Verify(t.Context(), "anna", NewSecret("guess"), netip.Addr{}, nil)
	if wrongName != wrongPassword || wrongName.Error() != ErrWrong.Error() {
		t.Errorf("a wrong name is told as %v, a wrong password as %v", wrongName, wrongPassword)
	}
}
