//go:build unix

package cli

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// hears is a log without a lock: synctest does not see who waits for one.
type hears func(message string)

func (h hears) Enabled(context.Context, slog.Level) bool      { return true }
func (h hears) Handle(_ context.Context, r slog.Record) error { h(r.Message); return nil }
func (h hears) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h hears) WithGroup(string) slog.Handler                 { return h }

// Whatever hangs in the end, the disk or the log itself, a second signal ends it.
func TestASecondSignalEndsAServerThatHangs(t *testing.T) {
	for _, tt := range []struct {
		name string
		when string // the log hangs too: when it is told this
		want time.Duration
	}{
		{"the disk hangs", "nothing of this kind", 0},
		{"the log hangs too", "by force", time.Second},
		{"the log hangs already", "stopping", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang, ended, exits := make(chan struct{}), make(chan error, 1), make(chan int, 2)
				told := make(chan string, 8)
				log := slog.New(hears(func(message string) {
					if told <- message; strings.Contains(message, tt.when) {
						<-hang
					}
				}))
				s := signals{make(chan os.Signal, 8), func(status int) { exits <- status }}
				go func() {
					ended <- s.stop(syscall.SIGTERM, log, time.Hour, func(context.Context) error { <-hang; return nil })
				}()
				s.c <- syscall.SIGHUP
				time.Sleep(time.Minute)
				if len(exits) > 0 {
					t.Error("one signal, and one to read the configuration, end it by force")
				}
				begin := time.Now()
				s.c <- os.Interrupt
				if status := <-exits; status != exitFailed {
					t.Errorf("exit status %d, want %d", status, exitFailed)
				}
				if took := time.Since(begin); took != tt.want {
					t.Errorf("it took %v, want %v", took, tt.want)
				}
				close(hang)
				if err := <-ended; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				close(told)
				var text string
				for line := range told {
					text += line + "\n"
				}
				if !strings.Contains(text, `stopped by force`) {
					t.Errorf("the log has %s", text)
				}
			})
		})
	}
}

// What systemd shows is one short line, whatever stands in a file.
func TestAStatusIsOneShortLine(t *testing.T) {
	for in, want := range map[string]string{
		"serving":                          "serving",
		"no such file\n      write one":    "no such file",
		"a\tb\x00c\x1b[1m\r\nMAINPID=1":    "a b c [1m ",
		"\xff\xfe":                         "\uFFFD",
		strings.Repeat("ä", 300):           strings.Repeat("ä", 200) + "…",
		"":                                 "",
		"why\nREADY=1\nSTATUS=all is well": "why",
	} {
		if got := statusLine(in); got != want {
			t.Errorf("statusLine(%q) = %q, want %q", in, got, want)
		}
	}
}

// The public address of a host without a router is one of its own.
func TestThePublicAddressIsListedOnce(t *testing.T) {
	addrs := []string{"127.0.0.1:2121", "192.0.2.7:2121", "[2001:db8::7]:2121"}
	for public, want := range map[string]string{
		"":                "127.0.0.1:2121 192.0.2.7:2121 [2001:db8::7]:2121",
		"192.0.2.7":       "192.0.2.7:2121 127.0.0.1:2121 [2001:db8::7]:2121",
		"2001:db8::7":     "[2001:db8::7]:2121 127.0.0.1:2121 192.0.2.7:2121",
		"ftp.example.net": "ftp.example.net:2121 127.0.0.1:2121 192.0.2.7:2121 [2001:db8::7]:2121",
	} {
		if got := strings.Join(withPublic(addrs, public), " "); got != want {
			t.Errorf("with %q: %s; want %s", public, got, want)
		}
	}
	if len(addrs) != 3 || addrs[1] != "192.0.2.7:2121" {
		t.Errorf("the list itself is %v now", addrs)
	}
}
