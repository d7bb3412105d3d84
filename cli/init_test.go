package cli

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"dray/config"
)

// Each port is tried by itself, and the high ones too.
func TestInitConfiguresThePortsThatCanBeHad(t *testing.T) {
	const taken = "is in use by another program (ss -ltnp names it)"
	in := func(ports ...int) map[int]error {
		m := map[int]error{}
		for _, p := range ports {
			m[p] = &net.OpError{Op: "listen", Err: syscall.EADDRINUSE}
		}
		return m
	}
	for _, tt := range []struct {
		name   string
		refuse map[int]error
		want   string // ports; "" for no listener, which are the standard ones
		said   []string
	}{
		{"all are free", nil, "", nil},
		{"990 is busy", in(990), "ftp:21 ftps:2990", []string{"port 990 " + taken + ": 2990 is configured"}},
		{"21 is busy", in(21), "ftp:2121 ftps:990", []string{"port 21 " + taken + ": 2121 is configured"}},
		{"a high one is busy that is not needed", in(2121), "", nil},
		{"990 and 2990 are busy", in(990, 2990), "ftp:21 ftps:2990",
			[]string{"port 990 " + taken + ": 2990 is configured", "port 2990 " + taken + ": write a free port under [[listener]] before the server starts"}},
		{"low ones may not be bound", map[int]error{21: syscall.EACCES, 990: syscall.EACCES}, "ftp:2121 ftps:2990",
			[]string{"port 21 needs the capability CAP_NET_BIND_SERVICE or root: 2121 is configured", "port 990 needs the capability CAP_NET_BIND_SERVICE or root: 2990 is configured"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ls, said := listeners(func(port int) error { return tt.refuse[port] })
			var got []string
			for _, l := range ls {
				got = append(got, fmt.Sprint(l.Protocol, strings.Join(l.Listen, ",")))
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("listeners %q, want %q", text, tt.want)
			}
			if want := strings.Join(tt.said, "\n"); said != want {
				t.Errorf("said:\n%s\nwant:\n%s", said, want)
			}
			c := config.Defaults()
			c.Listeners = ls
			if read, problems := config.Parse("dray.toml", []byte(config.Commented(c)), nil); len(problems) > 0 || len(read.Listeners) != len(ls) {
				t.Errorf("%d listeners come back from the file, and %v", len(read.Listeners), problems)
			}
		})
	}
}
