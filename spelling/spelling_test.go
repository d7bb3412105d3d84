package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	words := []string{"idle", "idle-max", "tries", "sessions-per-address", "file", "key"}
	for in, want := range map[string]string{
		"idel": "idle", "idlemax": "idle-max", "idle_max": "idle-max", "IDLE": "idle", "sessions_per_adress": "sessions-per-address",
		"try": "", "trie": "tries", "flie": "file", "keys": "key", "ky": "key", "k": "", "": "", "zzzz": "", "idle-maximum": "",
	} {
		if got := Nearest(in, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// A distance is the same both ways, zero for equal words alone, and never more than three.
func FuzzDistance(f *testing.F) {
	f.Add("ftp.example.com", "ftp.exmaple.com")
	f.Add("", "ab")
	f.Fuzz(func(t *testing.T, a, b string) {
		d := Distance(a, b)
		if back := Distance(b, a); d != back || (d == 0) != (a == b) || d < 0 || d > 3 {
			t.Errorf("Distance(%q, %q) = %d, and back %d", a, b, d, back)
		}
		if d := Distance(a, a+"x"); d != 1 {
			t.Errorf("one letter more is %d", d)
		}
		if word := Nearest(a, []string{b}); word != "" && Distance(strings.ToLower(strings.ReplaceAll(a, "_", "-")), strings.ToLower(strings.ReplaceAll(b, "_", "-"))) > 2 {
			t.Errorf("%q is said to be near %q", b, a)
		}
	})
}
