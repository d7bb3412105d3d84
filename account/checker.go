package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"
	"time"
)

const (
	cacheLife = 5 * time.Minute
	cacheMost = 10_000 // entries

	// Refusals come at multiples of this after the work has begun, so that they
	// take as long for a hash that is cheap to check as for a name that is unknown.
	refusalGrain = time.Second
)

// A Checker is a Verifier over the accounts of a Directory. It checks passwords
// and nothing else: whether the account may be used now, from there and by that
// protocol, is for its caller. Refusals take the same time and the same turns
// whatever their reason. Passwords that were right are known for five minutes
// under a key of this process, for clients that log in again for each file; those
// that were refused all the same are not, and no refusal is any sooner for it.
type Checker struct {
	directory Directory
	queue     *Queue
	now       func() time.Time
	anonymous *Account
	dummy     Hash // that nobody has; dear as those of NewHash
	check     func(Hash, Secret) (bool, error)
	*recent
}

// recent are the passwords that were right a short while ago. Each counts for its
// name and hash alone, so it doesn't matter which Checker has found it right.
type recent struct {
	key [32]byte

	mu    sync.Mutex
	right map[string]success // by name
}

// A success is a password that was right.
type success struct {
	sum   [32]byte // of name, password and hash
	until time.Time
}

// NewChecker makes a Checker whose work q runs. now is the clock, nil for
// time.Now.
func NewChecker(d Directory, q *Queue, now func() time.Time) *Checker {
	if now == nil {
		now = time.Now
	}
	c := &Checker{directory: d, queue: q, now: now, check: Hash.Check, recent: &recent{right: map[string]success{}}}
	var b [hashSalt + hashSum]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	c.dummy = phc(b[:hashSalt], b[hashSalt:])
	_, _ = rand.Read(c.key[:])
	return c
}

// With is a Checker beside c that has this anonymous account, nil for none: its
// names log in with any password, without work. What one of the two knows to be
// right the other knows too.
func (c *Checker) With(anonymous *Account) *Checker {
	other := *c
	other.anonymous = anonymous
	return &other
}

// Verify checks a password. The error is, or wraps, ErrWrong for every refusal:
// with its reason for an account whose stored hash is damaged. Any other is the
// directory's, as it came, the cause of ctx, or that of a Queue with too many
// waiting, which is of kind fault.Closing.
func (c *Checker) Verify(ctx context.Context, name string, s Secret, from netip.Addr, bar Bar) (Account, error) {
	a, failed := c.lookup(ctx, name)
	why := ""
	if failed == nil {
		why = bar.why(&a)
	}
	if a.Anonymous && why == "" {
		return a, nil
	}
	hash, known := a.Hash, failed == nil && a.Hash != ""
	if !known {
		hash = c.dummy
	}
	sum := c.sum(name, s, hash)
	// Before anything is done: a right password that is barred must stand in the queue
	// and be hashed as a wrong one is, each time.
	remembered := func() bool { return why == "" && c.cached(name, sum) }
	if remembered() {
		return a, nil
	}
	var right bool
	var damaged error
	var begun time.Time
	err := c.queue.Do(ctx, from, func() {
		begun = time.Now()
		if right = remembered(); right { // another login of this client has done it
			return
		}
		if right, damaged = c.check(hash, s); damaged != nil {
			_, _ = c.check(c.dummy, s)
		}
		if right = right && known; right && why == "" {
			c.keep(name, sum)
		}
	})
	switch {
	case err != nil:
		return Account{}, err
	case right && why == "":
		return a, nil
	}
	if err := awaitRefusal(ctx, begun); err != nil {
		return Account{}, err
	}
	switch {
	case failed != nil && !errors.Is(failed, fs.ErrNotExist):
		return Account{}, failed
	case damaged != nil:
		return Account{}, fmt.Errorf("%w: the stored hash can't be used: %w", ErrWrong, damaged)
	case right || a.Anonymous:
		return Account{}, barred(why)
	}
	return Account{}, ErrWrong
}

// lookup finds the account of exactly that name, or the anonymous one.
func (c *Checker) lookup(ctx context.Context, name string) (Account, error) {
	if IsAnonymousName(name) {
		if c.anonymous == nil {
			return Account{}, fs.ErrNotExist
		}
		return *c.anonymous, nil
	}
	a, err := c.directory.Lookup(ctx, name)
	if err == nil && a.Name != name {
		err = fs.ErrNotExist
	}
	if err != nil {
		return Account{}, err
	}
	return a, nil
}

// awaitRefusal waits until a refusal may go out, by when its work began: so they
// take the same time whatever their reason. The error is the cause of ctx.
func awaitRefusal(ctx context.Context, begun time.Time) error {
	timer := time.NewTimer(refusalGrain - time.Since(begun)%refusalGrain)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *Checker) sum(name string, s Secret, h Hash) (sum [32]byte) {
	m := hmac.New(sha256.New, c.key[:])
	fmt.Fprintf(m, "%d:%s%d:%s%s", len(name), name, len(h), string(h), s.Reveal())
	m.Sum(sum[:0])
	return sum
}

// cached tells whether this password was right for this name and hash a short
// while ago.
func (c *Checker) cached(name string, sum [32]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was, ok := c.right[name]
	if ok && !c.now().Before(was.until) {
		delete(c.right, name)
		return false
	}
	return ok && hmac.Equal(was.sum[:], sum[:])
}

// keep remembers a password that was right.
func (c *Checker) keep(name string, sum [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.right[name]; !ok && len(c.right) >= cacheMost {
		for other := range c.right { // any: it costs its owner one check
			delete(c.right, other)
			break
		}
	}
	c.right[name] = success{sum, c.now().Add(cacheLife)}
}

var _ Verifier = (*Checker)(nil)
