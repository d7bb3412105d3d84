package record

import (
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"dray/event"
)

func TestXferlogLines(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*event.Transfer)
		want   string
	}{
		{"over SFTP", func(t *event.Transfer) { t.Protocol = "sftp" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i r anna sftp 0 * c"},
		{"over FTP with TLS at once", func(t *event.Transfer) { t.Protocol = "ftps" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i r anna ftp 0 * c"},
		{"an upload", func(*event.Transfer) {},
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i r anna ftp 0 * c"},
		{"a download", func(e *event.Transfer) { e.Direction = event.Download },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ o r anna ftp 0 * c"},
		{"a cut upload", func(e *event.Transfer) { e.Whole, e.Reason = false, "upload-cut" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i r anna ftp 0 * i"},
		{"a text file", func(e *event.Transfer) { e.Text = true },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a a _ i r anna ftp 0 * c"},
		{"a stranger", func(e *event.Transfer) { e.Anonymous, e.User, e.Direction = true, "anonymous", event.Download },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ o a ? ftp 0 * c"},
		{"a stranger who says who it is", func(e *event.Transfer) { e.Anonymous, e.User, e.Given = true, "anonymous", "me@example.net" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i a me@example.net ftp 0 * c"},
		{"a stranger who would write a line", func(e *event.Transfer) { e.Anonymous, e.User, e.Given = true, "anonymous", "a b\tc\nd\u2028e\xff" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i a a_b?c?d?e? ftp 0 * c"},
		{"what a user gives is in no line", func(e *event.Transfer) { e.Given = "secret" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i r anna ftp 0 * c"},
		{"a day of one digit", func(e *event.Transfer) { e.Time = time.Date(2026, 3, 5, 1, 2, 3, 0, time.Local) },
			"Thu Mar  5 01:02:03 2026 1 203.0.113.5 7 /a b _ i r anna ftp 0 * c"},
		{"the time of another place", func(e *event.Transfer) { e.Time = e.Time.In(time.FixedZone("", 5*3600)) },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i r anna ftp 0 * c"},
		{"seconds are rounded", func(e *event.Transfer) { e.Took, e.Bytes = 89*time.Second+600*time.Millisecond, 1<<40 },
			"Fri Nov 20 11:29:40 2026 90 203.0.113.5 1099511627776 /a b _ i r anna ftp 0 * c"},
		{"IPv6", func(e *event.Transfer) { e.Remote = netip.MustParseAddrPort("[fe80::1%eth0]:5") },
			"Fri Nov 20 11:29:40 2026 1 fe80::1 7 /a b _ i r anna ftp 0 * c"},
		{"IPv4 in IPv6", func(e *event.Transfer) { e.Remote = netip.MustParseAddrPort("[::ffff:192.0.2.1]:5") },
			"Fri Nov 20 11:29:40 2026 1 192.0.2.1 7 /a b _ i r anna ftp 0 * c"},
		{"no address", func(e *event.Transfer) { e.Remote = netip.AddrPort{} },
			"Fri Nov 20 11:29:40 2026 1 ? 7 /a b _ i r anna ftp 0 * c"},
		{"spaces", func(e *event.Transfer) { e.Path, e.User = "/a directory/with space", "anna b" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a_directory/with_space b _ i r anna_b ftp 0 * c"},
		{"letters of the world stay", func(e *event.Transfer) { e.Path = "/grüße 世界 🙂.dat" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /grüße_世界_🙂.dat b _ i r anna ftp 0 * c"},
		{"what ends a line", func(e *event.Transfer) { e.Path = "/a\nb\rc\x00d\te\x0bf\x7fg" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a?b?c?d?e?f?g b _ i r anna ftp 0 * c"},
		{"what ends a line in Unicode", func(e *event.Transfer) { e.Path = "/a\u0085b\u2028c\u2029d\u00a0e\u3000f\u202eg" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a?b?c?d?e?f?g b _ i r anna ftp 0 * c"},
		{"bytes that are no UTF-8", func(e *event.Transfer) { e.Path = "/gr\xfc\xdfe \x85\xa0" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /gr??e_?? b _ i r anna ftp 0 * c"},
		{"a user without a name", func(e *event.Transfer) { e.User = "" },
			"Fri Nov 20 11:29:40 2026 1 203.0.113.5 7 /a b _ i r ? ftp 0 * c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := upload("/a")
			tt.change(&e)
			got := string(appendXferlog(nil, e))
			if got != tt.want+"\n" {
				t.Errorf("got  %q\nwant %q", got, tt.want+"\n")
			}
			if tt.name != "no address" && !xferlogLine.MatchString(strings.TrimSuffix(got, "\n")) {
				t.Errorf("%q doesn't match %s", got, xferlogLine)
			}
		})
	}
}

func TestAuthLines(t *testing.T) {
	for _, tt := range []struct{ name, user, want string }{
		{"a name", "anna", "anna"},
		{"no name", "", "?"},
		{"a space", "anna b", "anna_b"},
		{"the end of the name, and another address", `x] FAIL LOGIN: Client "198.51.100.1"`, "x?_FAIL_LOGIN:_Client_?198.51.100.1?"},
		{"another line", "x\nFri Nov 20 11:29:40 2026 [pid 1] [y] FAIL LOGIN: Client \"198.51.100.1\"",
			"x?Fri_Nov_20_11:29:40_2026_?pid_1?_?y?_FAIL_LOGIN:_Client_?198.51.100.1?"},
		{"another line in Unicode", "x\u2028y\u0085z", "x?y?z"},
		{"no UTF-8", "\xff\xfe", "??"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "Fri Nov 20 11:29:40 2026 [pid " + strconv.Itoa(os.Getpid()) + "] [" + tt.want + "] FAIL LOGIN: Client \"203.0.113.5\"\n"
			if got := string(appendAuth(nil, failure(tt.user))); got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// Whatever the names are, a line is one line of UTF-8, has its fields where they
// belong, and the address is the peer's.
func FuzzNamesForgeNoLine(f *testing.F) {
	f.Add("/a b", "anna")
	f.Add("/a\nFri", `x] FAIL LOGIN: Client "198.51.100.1"`)
	f.Add("\xff\u2028", "\x00\r\n")
	address := regexp.MustCompile(`Client "([^"]*)"`)
	f.Fuzz(func(t *testing.T, name, user string) {
		e := upload(name)
		e.User = user
		line := string(appendXferlog(nil, e))
		if fields := strings.Fields(line); len(fields) != 18 || fields[6] != "203.0.113.5" || fields[12] != "r" {
			t.Errorf("%q has %d fields; want 18 in their places", line, len(fields))
		}
		if !xferlogLine.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("%q doesn't match %s", line, xferlogLine)
		}
		auth := string(appendAuth(nil, failure(user)))
		if !authLine.MatchString(strings.TrimSuffix(auth, "\n")) {
			t.Errorf("%q doesn't match %s", auth, authLine)
		}
		if all := address.FindAllStringSubmatch(auth, -1); len(all) != 1 || all[0][1] != "203.0.113.5" {
			t.Errorf("%q names %q; want the one address", auth, all)
		}
		for _, l := range []string{line, auth} {
			if !utf8.ValidString(l) || strings.Count(l, "\n") != 1 {
				t.Errorf("%q is no line of UTF-8", l)
			}
		}
	})
}
