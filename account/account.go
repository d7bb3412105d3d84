// Package account is who may log in and what they may do: users, rights, limits
// and quota, and the contracts of the places that keep them. It knows no protocol.
package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net/netip"
	"strings"
)

// A Secret is a password. It prints as [hidden]; Reveal is the only way to its
// bytes. Two Secrets can't be compared with ==.
type Secret struct {
	_ [0]func() // == would compare pointers
	// Behind a pointer, because fmt calls no methods of what stands in an
	// unexported field: it would print a string there.
	s *string
}

// NewSecret wraps a password.
func NewSecret(s string) Secret { return Secret{s: &s} }

// Reveal returns the password itself, for checks and for nothing else; "" for
// the zero Secret.
func (s Secret) Reveal() string {
	if s.s == nil {
		return ""
	}
	return *s.s
}

func (Secret) String() string             { return "[hidden]" }
func (Secret) GoString() string           { return "[hidden]" }
func (Secret) LogValue() slog.Value       { return slog.StringValue("[hidden]") }
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[hidden]")) }

// IsAnonymousName tells whether name asks for the anonymous account (RFC 1635).
func IsAnonymousName(name string) bool {
	return strings.EqualFold(name, "anonymous") || strings.EqualFold(name, "ftp")
}

// wrong is the refusal of a login; it does not say what was wrong with it.
type wrong struct{}

func (wrong) Error() string { return "no such user, or wrong password" }

// ErrWrong is returned by a Verifier for every login that it refuses.
var ErrWrong error = wrong{}

// A Directory looks accounts up, with the hashes of their passwords. An error
// that satisfies fs.ErrNotExist says that there is none of that name; any other
// that it can't be known now. Names are bytes, compared exactly.
type Directory interface {
	Lookup(ctx context.Context, name string) (Account, error)
}

// A Verifier checks a password and returns the account. It does the same work
// whether the name exists or not, and returns ErrWrong for every refusal.
//
// bar, which may be nil, tells why an account may not log in by a password now. One
// that it gives a reason for is refused after the work for a wrong password, in the
// same time: the reason is in an error that wraps ErrWrong when it was right.
type Verifier interface {
	Verify(ctx context.Context, name string, s Secret, from netip.Addr, bar Bar) (Account, error)
}

// A Bar tells why an account may not log in, "" when it may.
type Bar func(*Account) string

// why is the reason against a; nil has none.
func (b Bar) why(a *Account) string {
	if b == nil {
		return ""
	}
	return b(a)
}

// barred is the refusal of a right password.
func barred(why string) error { return fmt.Errorf("%w: %s", ErrWrong, why) }

// A Store is a Directory that can be changed.
type Store interface {
	Directory
	All(ctx context.Context) iter.Seq2[Account, error]
	// Put writes a whole account, new or not. Without an ID it has that of the
	// stored one, or a new one when there is none.
	Put(ctx context.Context, a Account) error
	// Remove removes an account and its usage; fs.ErrNotExist when there is none.
	Remove(ctx context.Context, name string) error
}

// A Ledger keeps the usage of accounts against their quota. Errors for a full
// quota are of kind fault.OverQuota.
type Ledger interface {
	// Hold reserves room for an upload that will add files files and at least
	// bytes bytes.
	Hold(ctx context.Context, account string, files int, bytes int64) (Hold, error)
	// Adjust books a change that no upload made: delete, truncate, a swept partial.
	Adjust(ctx context.Context, account string, files int, bytes int64) error
	Usage(ctx context.Context, account string) (files int, bytes int64, err error)
}

// A Hold is room that an upload has reserved.
type Hold interface {
	// More reserves bytes more, before the file grows past what is held.
	More(ctx context.Context, bytes int64) error
	// Less gives back bytes of what is held and will not be needed.
	Less(bytes int64)
	// Settle books what was really gained (negative when a larger file was
	// replaced) and frees the rest. It is the last call.
	Settle(ctx context.Context, files int, bytes int64) error
}

// One is a Verifier for a single account whose password lives in memory only,
// and, where there is one, for the anonymous account. The password is kept
// as a keyed hash under a key of this process.
type One struct {
	account   Account
	anonymous *Account
	key       [32]byte
	sum       [32]byte
	has       bool
}

// NewOne makes a One. a and anonymous may be nil: then there is no such account,
// and s counts for nothing without a.
func NewOne(a *Account, s Secret, anonymous *Account) *One {
	o := &One{anonymous: anonymous}
	_, _ = rand.Read(o.key[:]) // never fails (crypto/rand, Go 1.24)
	if a != nil {
		o.account, o.has = *a, true
	}
	o.sum = o.hash(o.account.Name, s)
	return o
}

func (o *One) hash(name string, s Secret) (sum [32]byte) {
	h := hmac.New(sha256.New, o.key[:])
	fmt.Fprintf(h, "%d:%s:%s", len(name), name, s.Reveal())
	h.Sum(sum[:0])
	return sum
}

// Verify compares name and password together, in constant time.
func (o *One) Verify(_ context.Context, name string, s Secret, _ netip.Addr, bar Bar) (Account, error) {
	sum := o.hash(name, s)
	right := hmac.Equal(sum[:], o.sum[:])
	a := &o.account
	if o.anonymous != nil && IsAnonymousName(name) {
		a = o.anonymous
	} else if !right || !o.has {
		return Account{}, ErrWrong
	}
	if why := bar.why(a); why != "" {
		return Account{}, barred(why)
	}
	return *a, nil
}

// Lookup is that of a Directory with the one account in it.
func (o *One) Lookup(_ context.Context, name string) (Account, error) {
	if !o.has || name != o.account.Name {
		return Account{}, fs.ErrNotExist
	}
	return o.account, nil
}

var (
	_ Verifier  = (*One)(nil)
	_ Directory = (*One)(nil)
)
