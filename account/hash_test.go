package account

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// long has more than the 64 bytes of one block, and bytes above ASCII.
const long = "grüß dich, sehr lange Passphrase mit mehr als vierundsechzig Bytes darin 0123456789"

// vectors are what other programs have made of passwords: libxcrypt, OpenSSL,
// PHP and the reference implementation of argon2.
var vectors = []struct{ form, password, hash string }{
	{"argon2id", "correct horse", "$argon2id$v=19$m=64,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$5jdMIzWoFbzSOl6k3wai9uU3f8LD+HmGXQgo1uhHQPI"},
	{"argon2id", "correct horse", "$argon2id$v=19$m=256,t=1,p=4$c2FsdHNhbHQ$70m1UJK4W3uuQmtVrLTE2Q"},
	{"argon2i", "correct horse", "$argon2i$v=19$m=64,t=3,p=1$c2FsdHNhbHRzYWx0c2FsdA$GRBsh7FJTTzsMpetv5Ux3q9Z9pPGILRq87T8vglu9II"},
	{"bcrypt", "correct horse", "$2a$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"},
	{"bcrypt", "correct horse", "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"},
	{"bcrypt", "correct horse", "$2y$04$cWRZ6FHmtxIIoatkRqvnTuMvqPuS0ZgftdI0fr77gZzYleW7G/Z4C"},
	{"bcrypt", long, "$2b$05$abcdefghijklmnopqrstuueIf95s1.oP0AzwrnMeYz64ZD2DTueLu"},
	{"yescrypt", "correct horse", "$y$j75$abcdefghijkl$pG0KXbHxpjIKguh3BCfALSHrI366WlMzNka7nozr8.8"},
	{"yescrypt", "correct horse", "$y$j9T$abcdefghijkl$mgJuY4gMXijl7wcJZVq47c5gOPi/i3xTgQt/6zXaLs/"},
	{"scrypt", "correct horse", "$7$96..../....abcdefgh$ynJn6696OyAUkZq1boK.7FJwodfEBxKtLJPMfj6NUm4"},
	{"sha512crypt", "correct horse", "$6$abcdefgh$yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/GV3A8SkFxEPY0T56CcilGrHKLffBsp6dLMG."},
	{"sha512crypt", "correct horse", "$6$rounds=5000$abcdefgh$yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/GV3A8SkFxEPY0T56CcilGrHKLffBsp6dLMG."},
	{"sha512crypt", "correct horse", "$6$rounds=12345$abcdefghijklmnop$2s4qTBla5CvvhpxrG.zN2ZqheQTen1JfvAOE4NpCddgldVrFGd3I57NDChUz3oGeqCtHAmZGzvJqF0kAApoIj0"},
	{"sha512crypt", "correct horse", "$6$$6LUofpTKYGJWmsxkYcfhDE9wD283B.yVCb5N1sauapb401RaE4WCRGITJhyCTMm1Vn0P9o4AW6q0BRXpOJZc9."},
	{"sha512crypt", long, "$6$abcdefgh$XVKVobPFAsEtejEY8R35bAN/7X3TRgzb4mDZvP8W6R8ukWjunSST.Nrjitucy1ep/.xMQrctbNtZt./9o7lSJ."},
	{"sha512crypt", "", "$6$abcdefgh$v7sYNA18/BerGOYQLppYLyjH4yJilp8kqe/ef3KYMK9hOIdzH1yzcmP74Ay.m51y1jP3QqxM7Jl75S4CxDhBq."},
	{"sha256crypt", "correct horse", "$5$abcdefgh$ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB"},
	{"sha256crypt", "correct horse", "$5$rounds=1000$abcdefghijklmnop$sMH/aXVPoABuMIam8Brfej2trWzGTpr5d2WuYZNwEmA"},
	{"md5crypt", "correct horse", "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80"},
	{"md5crypt", "correct horse", "$1$ab$.ThsTrbyIbEahEdE8LNwj1"},
	{"md5crypt", "correct horse", "$1$$IfI/mw4YSCwcQoW.D.DSu1"},
	{"md5crypt", long, "$1$abcdefgh$EVdrFF5t8sXlLXi5FCWWo0"},
	{"apr1", "correct horse", "$apr1$abcdefgh$sIQmFnT1CuEXAsyjuXjUX/"},
}

// form is how a vector is named in messages.
func form(hash string) string { return hash[:strings.LastIndexByte(hash, '$')] }

func TestHashesOfOtherProgramsAreChecked(t *testing.T) {
	for _, v := range vectors {
		t.Run(form(v.hash), func(t *testing.T) {
			h, err := ParseHash(v.hash)
			if err != nil || string(h) != v.hash {
				t.Fatalf("ParseHash = %q, %v", string(h), err)
			}
			if h.Form() != v.form {
				t.Errorf("Form() = %q, want %q", h.Form(), v.form)
			}
			for _, p := range []struct {
				password string
				want     bool
			}{{v.password, true}, {"x" + v.password, false}, {v.password[:len(v.password)/2] + "X", false}} {
				if got, err := h.Check(NewSecret(p.password)); got != p.want || err != nil {
					t.Errorf("Check(%q) = %v, %v; want %v", p.password, got, err, p.want)
				}
			}
		})
	}
}

func TestANewHashIsCheckedAndSalted(t *testing.T) {
	s := NewSecret("correct horse")
	a, err := NewHash(s)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewHash(s)
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Error("two hashes of one password are the same")
	}
	if !strings.HasPrefix(string(a), "$argon2id$v=19$m=32768,t=3,p=1$") || a.Form() != "argon2id" {
		t.Errorf("the hash is %q, form %s", string(a), a.Form())
	}
	if h, err := ParseHash(string(a)); h != a || err != nil {
		t.Errorf("ParseHash of it: %v", err)
	}
	if ok, err := a.Check(s); !ok || err != nil {
		t.Errorf("Check = %v, %v", ok, err)
	}
	if ok, err := a.Check(NewSecret("correct horse ")); ok || err != nil {
		t.Errorf("Check of another = %v, %v", ok, err)
	}
}

func TestPasswordsOfNoUse(t *testing.T) {
	for _, p := range []string{"", strings.Repeat("x", MaxPassword+1)} {
		if h, err := NewHash(NewSecret(p)); h != "" || err == nil {
			t.Errorf("a password of %d bytes is hashed", len(p))
		}
	}
	if _, err := NewHash(NewSecret(strings.Repeat("x", MaxPassword))); err != nil {
		t.Errorf("a password of %d bytes: %v", MaxPassword, err)
	}
}

// One byte more than is hashed must not be the same password.
func TestAPasswordThatIsTooLongIsWrong(t *testing.T) {
	p := strings.Repeat("x", MaxPassword)
	h := Hash("$1$abcdefgh$" + string(md5crypt("$1$", "abcdefgh", []byte(p))))
	for password, want := range map[string]bool{p: true, p + "x": false} {
		if ok, err := h.Check(NewSecret(password)); ok != want || err != nil {
			t.Errorf("Check of %d bytes = %v, %v; want %v", len(password), ok, err, want)
		}
	}
}

const (
	salt22 = "abcdefghijklmnopqrstuu"
	sum31  = "HNbAKRhpaujgo33bRWs.NLUTJO3lOy2"
	sum43  = "ruMep1ijHnJPZbETDNiumskxcX3kN4lzZd5VlsqE7eB"
	sum86  = "yIZAF3gQPvtKZO/9qOJKffAKKbtS3ef3qmwyugk4uWVjX8YZf/GV3A8SkFxEPY0T56CcilGrHKLffBsp6dLMG."
	sum32  = "5jdMIzWoFbzSOl6k3wai9uU3f8LD+HmGXQgo1uhHQPI"
)

func TestHashesThatAreRefused(t *testing.T) {
	tests := []struct{ name, hash, want string }{
		{"nothing", "", "no hash"},
		{"a locked account", "!", "locked"},
		{"a locked account with its hash", "!$6$abcdefgh$" + sum86, "locked"},
		{"an account without a password", "*", "locked"},
		{"a reference to the shadow file", "x", "/etc/shadow"},
		{"a plain password", "correct horse", "no form"},
		{"DES", "abhfCpXqd4GrI", "DES"},
		{"extended DES", "_J9..rasmDiLRGIlI80c", "DES"},
		{"a bare MD5", "5f4dcc3b5aa765d61d8327deb882cf99", "bare digest"},
		{"a bare SHA-256 in capitals", strings.Repeat("0A", 32), "bare digest"},
		{"LDAP", "{SSHA}awc/Cj0kafyFd5d8fGn07xoHBJJzYWx0c2FsdA==", "LDAP"},
		{"a scheme before a form that is taken", "{CRYPT}$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80", "begins with the $"},
		{"argon2d", "$argon2d$v=19$m=64,t=3,p=1$c2FsdHNhbHRzYWx0c2FsdA$Kb2t7aHQ2hLThd04YTR6xODgZIEBrxflQkkgvfjH5Sc", "argon2d"},
		{"the broken bcrypt", "$2x$05$" + salt22 + sum31, "broken"},
		{"gost-yescrypt", "$gy$j9T$abcdefghijkl$Y.WiLJ4cWVh1PFY4lz5YCtIffrDehkODLqXBiY7.uI9", "gost"},
		{"Sun's md5", "$md5$abcdefgh$$A8TL8sY7.pGvXG33VEUpT0", "Sun"},
		{"sha1crypt", "$sha1$1000$abcdefgh$LpGT5uib.TPY6JU14eMS/Z58xRQB", "sha1crypt"},
		{"an NT hash", "$3$$cfc43211ba8dc470832267827cac1407", "NT"},
		{"scrypt of another notation", "$scrypt$ln=4,r=8,p=1$c2FsdA$c2FsdA", "$7$"},
		{"PBKDF2", "$pbkdf2-sha256$1000$c2FsdA$c2FsdA", "PBKDF2"},
		{"a form of tomorrow", "$new$abc$def", "no form"},

		{"argon2 with too much memory", "$argon2id$v=19$m=262145,t=1,p=1$c2FsdHNhbHQ$" + sum32, "memory in KiB 262145"},
		{"argon2 with too many passes", "$argon2id$v=19$m=262144,t=5,p=1$c2FsdHNhbHQ$" + sum32, "passes 5"},
		{"argon2 with passes beyond all bounds", "$argon2i$v=19$m=64,t=4294967297,p=1$c2FsdHNhbHQ$" + sum32, "passes 4294967297"},
		{"argon2 with too many lanes", "$argon2id$v=19$m=4096,t=1,p=257$c2FsdHNhbHQ$" + sum32, "lanes 257"},
		{"argon2 without passes", "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$" + sum32, "passes 0"},
		{"argon2 without lanes", "$argon2id$v=19$m=64,t=1,p=0$c2FsdHNhbHQ$" + sum32, "lanes 0"},
		{"argon2 with less memory than its lanes need", "$argon2id$v=19$m=31,t=1,p=4$c2FsdHNhbHQ$" + sum32, "memory in KiB 31"},
		{"argon2 of the old version", "$argon2id$m=64,t=1,p=1$c2FsdHNhbHQ$" + sum32, "damaged"},
		{"argon2 with a short salt", "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$" + sum32, "salt"},
		{"argon2 with bits to spare that are not 0", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHR$" + sum32, "salt"},
		{"argon2 with a short sum", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$c2FsdHNhbHQ", "sum"},
		{"argon2 with a line end", "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$" + sum32 + "\n", "damaged"},
		{"bcrypt that takes too long", "$2b$15$" + salt22 + sum31, "cost 15"},
		{"bcrypt of no cost", "$2b$03$" + salt22 + sum31, "cost 03"},
		{"bcrypt that is cut", "$2b$05$" + salt22 + sum31[1:], "damaged"},
		{"bcrypt with a sign in its cost", "$2b$+5$" + salt22 + sum31, "damaged"},
		{"sha512crypt that takes too long", "$6$rounds=1000001$abc$" + sum86, "rounds 1000001"},
		{"sha512crypt of fewer rounds than there can be", "$6$rounds=999$abc$" + sum86, "rounds 999"},
		{"sha512crypt with the sum of sha256crypt", "$6$abc$" + sum43, "damaged"},
		{"sha512crypt with a bit too many", "$6$abc$" + sum86[:85] + "2", "damaged"},
		{"sha512crypt with a line end in its salt", "$6$a\nc$" + sum86, "damaged"},
		{"sha256crypt with a salt that is too long", "$5$abcdefghijklmnopq$" + sum43, "damaged"},
		{"md5crypt with a salt that is too long", "$1$abcdefghi$y6iHhJNbuC0xpbk0w9pm80", "damaged"},
		{"md5crypt with more behind it", "$1$abcdefgh$y6iHhJNbuC0xpbk0w9pm80:1000", "damaged"},
		{"yescrypt with parameters more", "$y$jD5.7$LdJMENpBABJJ3hIHjB1Bi.$Pe82t1LuZHcEXAAtvnY3KO0cfk9LycqfKN9wNerRzU9", "damaged"},
		{"yescrypt with too much memory", "$y$jFT$abcdefghijkl$" + sum43, "memory"},
		{"yescrypt with a damaged salt", "$y$j75$abcdefghijklz$" + sum43, "salt"},
		{"scrypt with too much memory", "$7$HU..../....abcdefgh$" + sum43, "memory"},
		{"scrypt with parameters beyond all bounds", "$7$zzzzzzzzzzzabcdefgh$" + sum43, "memory"},
		{"scrypt without parameters", "$7$...........abcdefgh$" + sum43, "parameters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := ParseHash(tt.hash)
			if err == nil || h != "" {
				t.Fatalf("ParseHash(%q) takes it", tt.hash)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "dray user passwd") {
				t.Errorf("the error is %q, want %q and what to do", err, tt.want)
			}
			if len(tt.hash) > 1 && strings.Contains(err.Error(), tt.hash) {
				t.Errorf("the error shows the hash: %v", err)
			}
			if ok, err := Hash(tt.hash).Check(NewSecret("correct horse")); ok || err == nil {
				t.Errorf("Check = %v, %v; want an error", ok, err)
			}
			want := "unknown"
			if tt.hash == "" {
				want = "none"
			}
			if got := Hash(tt.hash).Form(); got != want {
				t.Errorf("Form() = %q, want %q", got, want)
			}
		})
	}
}

// Whatever is imported, a check of it ends soon, and says no to a password that
// nobody can have chosen.
func FuzzParseHash(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.hash)
	}
	f.Add("$2b$14$" + salt22 + sum31)
	guess := NewSecret("\x00 nobody's \xff")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHash(s)
		if err != nil {
			if h != "" {
				t.Errorf("ParseHash(%q) = %q with %v", s, string(h), err)
			}
			return
		}
		if string(h) != s || h.Form() == "unknown" || h.Form() == "none" {
			t.Fatalf("ParseHash(%q) = %q, form %s", s, string(h), h.Form())
		}
		if dear.MatchString(s) { // the bounds are tested above; here is no time for them
			return
		}
		if ok, err := h.Check(guess); ok || err != nil {
			t.Errorf("Check against %q = %v, %v", s, ok, err)
		}
	})
}

func TestTheBoundsAreTakenThemselves(t *testing.T) {
	for _, hash := range []string{
		"$argon2id$v=19$m=262144,t=4,p=1$c2FsdHNhbHQ$" + sum32,
		"$argon2id$v=19$m=65536,t=3,p=16$c2FsdHNhbHQ$" + sum32,
		"$2b$14$" + salt22 + sum31,
		"$6$rounds=1000000$abc$" + sum86,
		"$5$rounds=1000$abc$" + sum43,
		"$y$jDT$abcdefghijkl$" + sum43,
		"$7$EU..../....abcdefgh$" + sum43,
	} {
		if _, err := ParseHash(hash); err != nil {
			t.Errorf("%s: %v", form(hash), err)
		}
	}
}

func TestAHashNeverPrints(t *testing.T) {
	h := Hash(vectors[0].hash)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, h); got != "[hidden]" {
			t.Errorf("%s = %s", verb, got)
		}
	}
	if err := errors.Join(fmt.Errorf("hash %v", h)); strings.Contains(err.Error(), "argon2") {
		t.Errorf("an error shows it: %v", err)
	}
}

// dear are hashes that take long to check.
var dear = regexp.MustCompile(`^\$(argon2|2|y|7|5\$rounds|6\$rounds)`)
