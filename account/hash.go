package account

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yescrypt "github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

// MaxPassword is how many bytes a password has at most, as in crypt(3): the cost
// of some forms grows with the length.
const MaxPassword = 512

// What NewHash uses: about 50 ms of one processor of a small server, and 32 MiB
// while it runs. RFC 9106, 4 has more of both as its second choice; a server of
// 1 GiB would not stand that for many logins at once.
const (
	hashKiB    = 32 << 10
	hashPasses = 3
	hashSalt   = 16 // bytes
	hashSum    = 32 // bytes
)

// Bounds of imported hashes: one check of a password costs about a second and
// 256 MiB at most.
const (
	maxKiB        = 256 << 10
	maxKiBPasses  = 1 << 20 // argon2: memory times passes
	maxLanes      = 16      // argon2: each is a thread
	maxBcryptCost = 14
	maxShaRounds  = 1_000_000
)

// HashForms names what ParseHash takes, for messages.
const HashForms = "argon2id, argon2i, bcrypt ($2a$, $2b$, $2y$), yescrypt ($y$), scrypt ($7$), sha512crypt ($6$), sha256crypt ($5$), md5crypt ($1$), Apache's $apr1$"

// NewHash hashes a password with argon2id (RFC 9106) and a salt of its own, in
// PHC notation. The password has 1 to MaxPassword bytes.
func NewHash(s Secret) (Hash, error) {
	switch n := len(s.Reveal()); {
	case n == 0:
		return "", errors.New("a password is needed")
	case n > MaxPassword:
		return "", fmt.Errorf("a password has at most %d bytes, this one has %d", MaxPassword, n)
	}
	salt := make([]byte, hashSalt)
	_, _ = rand.Read(salt) // never fails (crypto/rand, Go 1.24)
	return phc(salt, argon2.IDKey([]byte(s.Reveal()), salt, hashPasses, hashKiB, 1, hashSum)), nil
}

// phc writes a hash with the parameters of NewHash.
func phc(salt, sum []byte) Hash {
	b64 := base64.RawStdEncoding.EncodeToString
	return Hash(fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, hashKiB, hashPasses, b64(salt), b64(sum)))
}

// ParseHash takes a hash that was made elsewhere, in one of HashForms. All of
// its fields are read; one that is damaged, of another form, or so dear to check
// that logins would stop the server is refused. The error says so in words for
// the administrator and has nothing of s in it.
func ParseHash(s string) (Hash, error) {
	if _, err := parse(s); err != nil {
		return "", fmt.Errorf("%w; `dray user passwd` sets a new password", err)
	}
	return Hash(s), nil
}

// Check tells whether s is the password, in time that does not depend on where
// it differs. An error says that the hash is one that ParseHash refuses.
func (h Hash) Check(s Secret) (bool, error) {
	p, err := parse(string(h))
	if err != nil {
		return false, err
	}
	password := []byte(s.Reveal())
	short := password[:min(len(password), MaxPassword)]
	right, err := p.check(short)
	return right && len(short) == len(password), err
}

// Form names the form of the hash, as "argon2id" or "sha512crypt": "none" for no
// hash, "unknown" for one that ParseHash refuses.
func (h Hash) Form() string {
	if h == "" {
		return "none"
	}
	p, err := parse(string(h))
	if err != nil {
		return "unknown"
	}
	return p.form
}

// A parsed is a hash that was read; check takes passwords of MaxPassword bytes at most.
type parsed struct {
	form  string
	check func(password []byte) (bool, error)
}

// forms are the readers of hashes by how they begin. Each is given the fields
// that its pattern found, the whole hash being the first.
var forms = []struct {
	prefix, name string
	pattern      *regexp.Regexp
	read         func(fields []string) (check func([]byte) (bool, error), err error)
}{
	{"$argon2id$", "argon2id", argonForm, readArgon},
	{"$argon2i$", "argon2i", argonForm, readArgon},
	{"$2a$", "bcrypt", bcryptForm, readBcrypt},
	{"$2b$", "bcrypt", bcryptForm, readBcrypt},
	{"$2y$", "bcrypt", bcryptForm, readBcrypt},
	{"$y$", "yescrypt", yescryptForm, readYescrypt},
	{"$7$", "scrypt", scryptForm, readScrypt},
	{"$6$", "sha512crypt", sha512Form, readSha},
	{"$5$", "sha256crypt", sha256Form, readSha},
	{"$1$", "md5crypt", md5Form, readMD5},
	{"$apr1$", "apr1", md5Form, readMD5},
}

// The patterns are those of what the programs write that make hashes. Where the
// last character of a sum has bits to spare, they are 0.
var (
	argonForm    = regexp.MustCompile(`^\$argon2(id|i)\$v=19\$m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,8})\$([+/0-9A-Za-z]+)\$([+/0-9A-Za-z]+)$`)
	bcryptForm   = regexp.MustCompile(`^\$2[aby]\$(\d\d)\$[./0-9A-Za-z]{53}$`)
	yescryptForm = regexp.MustCompile(`^\$y\$j([./0-9A-Za-j])([./0-9A-Za-j])\$[./0-9A-Za-z]{2,86}\$[./0-9A-Za-z]{42}[./0-9A-D]$`)
	scryptForm   = regexp.MustCompile(`^\$7\$([./0-9A-Za-z])([./0-9A-Za-z]{5})([./0-9A-Za-z]{5})([!-#%-9;-~]{1,64})\$([./0-9A-Za-z]{42}[./0-9A-D])$`)
	sha512Form   = regexp.MustCompile(`^\$6\$(?:rounds=(\d{1,10})\$)?[!-#%-9;-~]{0,16}\$[./0-9A-Za-z]{85}[./01]$`)
	sha256Form   = regexp.MustCompile(`^\$5\$(?:rounds=(\d{1,10})\$)?[!-#%-9;-~]{0,16}\$[./0-9A-Za-z]{42}[./0-9A-D]$`)
	md5Form      = regexp.MustCompile(`^(\$1\$|\$apr1\$)([!-#%-9;-~]{0,8})\$([./0-9A-Za-z]{21}[./01])$`)
)

// foreign are forms that are known and not taken, the first that matches.
var foreign = []struct {
	pattern *regexp.Regexp
	what    string
}{
	{regexp.MustCompile(`^$`), "there is no hash"},
	{regexp.MustCompile(`^[!*]`), "this marks a locked account and is no hash"},
	{regexp.MustCompile(`^x$`), "this says that the hash stands in /etc/shadow"},
	{regexp.MustCompile(`^\$argon2d\$`), "argon2d is not taken: its memory accesses betray the password"},
	{regexp.MustCompile(`^\$2x?\$`), "this form of bcrypt comes from a broken implementation and is not taken"},
	{regexp.MustCompile(`^\$gy\$`), "gost-yescrypt is not taken"},
	{regexp.MustCompile(`^\$md5[$,]`), "Sun's md5 is not taken"},
	{regexp.MustCompile(`^\$sha1\$`), "sha1crypt is not taken"},
	{regexp.MustCompile(`^\$3\$`), "NT hashes are not taken"},
	{regexp.MustCompile(`^\$scrypt\$`), "scrypt is taken as $7$ only"},
	{regexp.MustCompile(`^\$pbkdf2`), "PBKDF2 is not taken"},
	{regexp.MustCompile(`^\{[A-Za-z0-9.-]+\}\$`), "the scheme in braces must go: give what begins with the $"},
	{regexp.MustCompile(`^\{[A-Za-z0-9.-]+\}`), "hashes of LDAP, as {SSHA}, are not taken"},
	{regexp.MustCompile(`^[./0-9A-Za-z]{13}$`), "DES is not taken: it sees 8 characters of a password only"},
	{regexp.MustCompile(`^_[./0-9A-Za-z]{19}$`), "DES, also the extended one, is not taken"},
	{regexp.MustCompile(`^(?i:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})$`), "a bare digest without salt is not taken"},
}

// parse reads all of a hash.
func parse(s string) (parsed, error) {
	for _, f := range forms {
		if !strings.HasPrefix(s, f.prefix) {
			continue
		}
		fields := f.pattern.FindStringSubmatch(s)
		if fields == nil {
			return parsed{}, fmt.Errorf("it begins like %s and is damaged, or has parameters that are not taken", f.name)
		}
		check, err := f.read(fields)
		if err != nil {
			return parsed{}, fmt.Errorf("%s: %w", f.name, err)
		}
		return parsed{f.name, check}, nil
	}
	for _, f := range foreign {
		if f.pattern.MatchString(s) {
			return parsed{}, errors.New(f.what)
		}
	}
	return parsed{}, errors.New("it is of no form that is taken: " + HashForms)
}

// bounded reads a decimal parameter.
func bounded(what, digits string, least, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case err != nil || n < least:
		return 0, fmt.Errorf("%s %s: %d is the least", what, digits, least)
	case n > most:
		return 0, fmt.Errorf("%s %s: more than %d is not taken, each login would cost too much", what, digits, most)
	}
	return n, nil
}

func readArgon(f []string) (func([]byte) (bool, error), error) {
	lanes, err := bounded("lanes", f[4], 1, maxLanes)
	if err != nil {
		return nil, err
	}
	kib, err := bounded("memory in KiB", f[2], 8*lanes, maxKiB) // RFC 9106, 3.1
	if err != nil {
		return nil, err
	}
	passes, err := bounded("passes", f[3], 1, maxKiBPasses/kib)
	if err != nil {
		return nil, err
	}
	b64 := base64.RawStdEncoding.Strict()
	salt, err := b64.DecodeString(f[5])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return nil, errors.New("the salt is damaged, or has not 8 to 64 bytes")
	}
	sum, err := b64.DecodeString(f[6])
	if err != nil || len(sum) < 16 || len(sum) > 64 {
		return nil, errors.New("the sum is damaged, or has not 16 to 64 bytes")
	}
	key := argon2.IDKey
	if f[1] == "i" {
		key = argon2.Key
	}
	return func(password []byte) (bool, error) {
		got := key(password, salt, uint32(passes), uint32(kib), uint8(lanes), uint32(len(sum)))
		return subtle.ConstantTimeCompare(got, sum) == 1, nil
	}, nil
}

func readBcrypt(f []string) (func([]byte) (bool, error), error) {
	if _, err := bounded("cost", f[1], uint64(bcrypt.MinCost), maxBcryptCost); err != nil {
		return nil, err
	}
	return func(password []byte) (bool, error) {
		err := bcrypt.CompareHashAndPassword([]byte(f[0]), password)
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return false, nil
		}
		return err == nil, err
	}, nil
}

func readYescrypt(f []string) (func([]byte) (bool, error), error) {
	logN, r := value64(f[1])+1, value64(f[2])+1
	if logN < 10 || logN > 18 || r > 32 {
		return nil, errors.New("its parameters are not taken")
	}
	if err := memory(logN, uint64(r), 1); err != nil {
		return nil, err
	}
	d, err := yescrypt.DecodeVariant(yescrypt.VariantYescrypt)(f[0])
	if err != nil || d.Encode() != f[0] { // it takes a damaged salt for none
		return nil, errors.New("the salt is damaged")
	}
	return d.MatchBytesAdvanced, nil
}

func readScrypt(f []string) (func([]byte) (bool, error), error) {
	logN, r, p := value64(f[1]), value64(f[2]), value64(f[3])
	if logN == 0 || r == 0 || p == 0 {
		return nil, errors.New("its parameters are not taken")
	}
	if err := memory(logN, uint64(r), uint64(p)); err != nil {
		return nil, err
	}
	return func(password []byte) (bool, error) {
		sum, err := scrypt.Key(password, []byte(f[4]), 1<<logN, r, p, 32)
		return subtle.ConstantTimeCompare(encode64(sum), []byte(f[5])) == 1, err
	}, nil
}

// memory bounds what scrypt and yescrypt use, and their time with it.
func memory(logN int, r, p uint64) error {
	if r*p > 1<<20 || 128*r*p<<min(logN, 32) > maxKiB<<10 {
		return fmt.Errorf("it needs more than %d MiB of memory and is not taken, each login would cost too much", maxKiB>>10)
	}
	return nil
}

func readSha(f []string) (func([]byte) (bool, error), error) {
	if f[1] != "" {
		if _, err := bounded("rounds", f[1], 1000, maxShaRounds); err != nil {
			return nil, err
		}
	}
	d, err := shacrypt.Decode(f[0])
	if err != nil {
		return nil, errors.New("it is damaged")
	}
	return d.MatchBytesAdvanced, nil
}

func readMD5(f []string) (func([]byte) (bool, error), error) {
	return func(password []byte) (bool, error) {
		sum := md5crypt(f[1], f[2], password)
		return subtle.ConstantTimeCompare(sum, []byte(f[3])) == 1, nil
	}, nil
}

// md5crypt is the sum of $1$ and of $apr1$, which differ in the magic only.
func md5crypt(magic, salt string, password []byte) []byte {
	h := md5.New()
	write := func(parts ...[]byte) {
		for _, p := range parts {
			h.Write(p)
		}
	}
	write(password, []byte(salt), password)
	inner := h.Sum(nil)
	h.Reset()
	write(password, []byte(magic), []byte(salt))
	for n := len(password); n > 0; n -= md5.Size {
		write(inner[:min(n, md5.Size)])
	}
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			write([]byte{0})
		} else {
			write(password[:1])
		}
	}
	sum := h.Sum(nil)
	for i := range 1000 {
		h.Reset()
		first, last := sum, password
		if i%2 == 1 {
			first, last = last, first
		}
		write(first)
		if i%3 != 0 {
			write([]byte(salt))
		}
		if i%7 != 0 {
			write(password)
		}
		write(last)
		sum = h.Sum(nil)
	}
	var out []byte
	for i := range 5 {
		last := i + 12
		if last == 16 {
			last = 5
		}
		out = append(out, encode64([]byte{sum[last], sum[i+6], sum[i]})...)
	}
	return append(out, encode64(sum[11:12])...)
}

// alphabet64 is that of crypt(3), in which the low bits come first.
const alphabet64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func encode64(b []byte) (out []byte) {
	for group := range slices.Chunk(b, 3) {
		var v uint32
		for i, c := range group {
			v |= uint32(c) << (8 * i)
		}
		for range len(group) + 1 {
			out = append(out, alphabet64[v&63])
			v >>= 6
		}
	}
	return out
}

// value64 is the number that digits are, at most five of them.
func value64(digits string) (n int) {
	for i := range len(digits) {
		n |= strings.IndexByte(alphabet64, digits[i]) << (6 * i)
	}
	return n
}
