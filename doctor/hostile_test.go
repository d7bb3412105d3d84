package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/remote"
)

// evil is text that would steer a terminal or turn what follows around.
const evil = "\x1b]0;owned\a\x1b[2J\x9b31m\u202egnp.exe\u2066\x00\x7f"

// Whatever a server says, what is told is clean, short and without the password, and the
// end comes in time: examine looks for all of that.
func TestHostileServers(t *testing.T) {
	endless := func(c *talk, line string) {
		for c.say(line) {
		}
	}
	for name, at := range map[string]func(c *talk, verb, arg string) bool{
		"control characters in every reply": func(c *talk, verb, arg string) bool {
			switch verb {
			case "greeting":
				return c.say("220 " + evil)
			case "FEAT":
				return c.say("211-"+evil, " MLST "+evil, " "+evil, " AUTH TLS"+evil, "211 "+evil)
			case "PASS":
				return c.say("230-"+evil, "230 "+evil)
			case "PASV", "EPSV", "SITE", "MLST":
				return c.say("502 " + evil)
			}
			return false
		},
		"control characters in a refusal": says("USER", "530-"+evil, "530 "+evil),
		"the password again":              says("PASS", "530 Wrong password: "+marker+" of alice"),
		"the password in the welcome":     says("PASS", "230-Hello "+marker, "230 in"),
		"the password as a feature": func(c *talk, verb, _ string) bool {
			return verb == "FEAT" && c.say("211-Features", " "+marker, "211 End")
		},
		"long greeting":     says("greeting", "220 "+strings.Repeat("x", 4<<10)),
		"too long greeting": says("greeting", "220 "+strings.Repeat("x", 100<<10)),
		"greeting without end": func(c *talk, verb, _ string) bool {
			if verb == "greeting" {
				endless(c, "220-and so on")
			}
			return false
		},
		"features without end": func(c *talk, verb, _ string) bool {
			if verb == "FEAT" {
				endless(c, "211- and so on")
			}
			return false
		},
		"preliminary replies without end": func(c *talk, verb, _ string) bool {
			if verb == "PASS" {
				endless(c, "150 wait")
			}
			return false
		},
		"a listing without end": func(c *talk, verb, _ string) bool {
			if verb != "MLSD" && verb != "LIST" {
				return false
			}
			c.say("150 here it comes")
			d := c.accept()
			for {
				if _, err := fmt.Fprintf(d, "type=file;size=1;modify=20240102030405; %s\r\n", evil); err != nil {
					_ = d.Close()
					return c.say("426 cut")
				}
			}
		},
		"a download that never ends": func(c *talk, verb, _ string) bool {
			if verb != "RETR" {
				return false
			}
			c.say("150 here it comes")
			d := c.accept()
			for {
				if _, err := d.Write(make([]byte, 1<<16)); err != nil {
					_ = d.Close()
					return c.say("426 cut")
				}
			}
		},
		"names that steer": func(c *talk, verb, _ string) bool {
			switch verb {
			case "MLSD", "LIST":
				c.send("type=file;size=5;modify=20240102030405; " + strings.ReplaceAll(evil, "\x00", "") + "\r\n")
				return true
			case "RETR":
				c.say("150 here it comes")
				_ = c.accept()
				c.silent()
			}
			return false
		},
		"sizes that lie": func(c *talk, verb, _ string) bool {
			if verb == "MLSD" || verb == "LIST" {
				c.send("type=file;size=9223372036854775807; a.txt\r\ntype=file;size=-1; b.bin\r\n")
				return true
			}
			return false
		},
		"ports that are none": func(c *talk, verb, _ string) bool {
			return verb == "EPSV" && c.say("229 (|||99999|)") || verb == "PASV" && c.say("227 (999,0,0,1,999,999)")
		},
		"port 0":             func(c *talk, verb, _ string) bool { return verb == "EPSV" && c.say("229 (|||0|)") },
		"two replies to one": func(c *talk, verb, _ string) bool { return verb == "TYPE" && c.say("200 ok", "230 in", "226 done") },
		"no reply at all":    func(c *talk, verb, _ string) bool { return verb != "greeting" && verb != "accept" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.at = at
			o := f.options()
			o.Write = name != "names that steer" && name != "a listing without end"
			r := f.examine(t.Context(), o)
			for _, found := range r.Findings {
				if len(found.Saw) > 2000 {
					t.Errorf("%s is told in %d bytes", found.Check, len(found.Saw))
				}
			}
			if left := f.left(); len(left) > 0 && name != "no reply at all" {
				t.Errorf("%q is left", left)
			}
		})
	}
}

// A certificate has text of strangers too.
func TestHostileCertificate(t *testing.T) {
	f := newFake(t)
	f.cert = issue(t, nil, func(c *x509.Certificate) {
		c.Subject.CommonName, c.Subject.Organization = "\x1b[2J\a", []string{"\x1b]0;owned\a\u202e"}
		c.DNSNames = []string{"a\x1b[2J\x07.example.net", "b"}
	})
	o := f.options()
	f.examine(t.Context(), o)
	o = f.options()
	o.Remote.Trust = &remote.Trust{}
	f.examine(t.Context(), o)
}

// Two examinations in one process know nothing of each other.
func TestTwoAtOnce(t *testing.T) {
	var both sync.WaitGroup
	for i := range 2 {
		f := newFake(t)
		f.greeting = fmt.Sprintf("220 server %d", i)
		both.Go(func() {
			r := f.examine(t.Context(), f.options())
			wants(t, r, "control", OK, "", fmt.Sprintf("server %d", i))
			wants(t, r, "download", OK, "", "a.txt")
		})
	}
	both.Wait()
}

// A context that ends at any time ends the examination at once, without a verdict
// against the server.
func TestInterrupted(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, step := range []string{"accept", "greeting", "FEAT", "AUTH", "USER", "PASS", "TYPE", "MLSD", "EPSV", "PASV", "EPRT", "RETR"} {
			t.Run(fmt.Sprintf("%s, TLS %v", step, secure), func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				if secure {
					f.cert = issue(t, nil, nil)
				}
				ctx, cancel := context.WithCancel(t.Context())
				var once sync.Once
				var at time.Time
				f.at = func(c *talk, verb, _ string) bool {
					if verb == step {
						once.Do(func() { at = time.Now(); cancel() })
						c.silent()
					}
					return false
				}
				o := f.options()
				o.times = &unhurried
				r := f.examine(ctx, o)
				if ctx.Err() != nil && time.Since(at) > 5*time.Second {
					t.Errorf("it went on for %v", time.Since(at))
				}
				if r.Verdict() == Fail {
					t.Errorf("somebody is to blame:\n%s", asText(r))
				}
			})
		}
	}
}
