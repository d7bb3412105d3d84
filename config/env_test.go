package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	public, empty := write("public", "ftp.example.net\r\nnot this\n"), write("empty", "\n")
	for _, tt := range []struct {
		name, text string
		env        []string
		show       string // a line of what is shown, with its origin
		want       string // the problems
	}{
		{"a value", "", []string{"DRAY_LIMITS_LOGIN_TIME=5s"}, `login-time = "5s"  # DRAY_LIMITS_LOGIN_TIME`, ""},
		{"the environment wins", "limits.idle = \"3m\"", []string{"DRAY_LIMITS_IDLE=5m"}, `idle = "5m"  # DRAY_LIMITS_IDLE`, ""},
		{"what it wins over is checked all the same", "limits.idle = 3", []string{"DRAY_LIMITS_IDLE=5m"}, `idle = "5m"  # DRAY_LIMITS_IDLE`, `t:1: limits.idle: 3 is a number, where a duration is needed; write it with its unit, in quotes: "3s"`},
		{"the last of two counts", "", []string{"DRAY_SYNC=commit", "DRAY_SYNC=none"}, `sync = "none"  # DRAY_SYNC`, ""},
		{"a value with equal signs", "", []string{"DRAY_MESSAGES_WELCOME=a=b"}, `welcome = "a=b"  # DRAY_MESSAGES_WELCOME`, ""},
		{"an empty text is a text", "", []string{"DRAY_MESSAGES_GOODBYE="}, `goodbye = ""  # DRAY_MESSAGES_GOODBYE`, ""},
		{"an empty duration is none", "", []string{"DRAY_LIMITS_IDLE="}, `idle = "10m"`, `DRAY_LIMITS_IDLE: "" is no duration; write a duration such as "30s", "10m" or "168h" (a week)`},
		{"a switch", "", []string{"DRAY_ACCOUNTS_MAKE_HOME=no"}, `make-home = false  # DRAY_ACCOUNTS_MAKE_HOME`, ""},
		{"a switch that is none", "", []string{"DRAY_ACCOUNTS_MAKE_HOME=never"}, `make-home = true`, `DRAY_ACCOUNTS_MAKE_HOME: "never" is neither true nor false; write true or false`},
		{"a number", "", []string{"DRAY_LIMITS_TRIES=5"}, `tries = 5  # DRAY_LIMITS_TRIES`, ""},
		{"a number in words", "", []string{"DRAY_LIMITS_BAN_AFTER=off"}, `ban-after = -1  # DRAY_LIMITS_BAN_AFTER`, ""},
		{"a number that is none", "", []string{"DRAY_LIMITS_TRIES=0x5"}, `tries = 3`, `DRAY_LIMITS_TRIES: "0x5" is no number that can be used; write tries = 3`},
		{"a list", "", []string{"DRAY_LIMITS_EXEMPT=192.0.2.0/24, 2001:db8::1"}, `exempt = ["192.0.2.0/24", "2001:db8::1/128"]  # DRAY_LIMITS_EXEMPT`, ""},
		{"an empty list", "commands.deny = [\"STOR\"]", []string{"DRAY_COMMANDS_DENY="}, `#deny = []  # DRAY_COMMANDS_DENY`, ""},
		{"a list with a mistake", "", []string{"DRAY_LIMITS_EXEMPT=192.0.2.0/24,all"}, `#exempt = []`, `DRAY_LIMITS_EXEMPT: "192.0.2.0/24,all" has an element that is no network: "all"; write a network such as "192.0.2.0/24" or "2001:db8::/32", or one address`},
		{"a key of a table in a list", "[[listener]]\n[[listener]]\nprotocol = \"ftps\"", []string{"DRAY_LISTENER_1_ACTIVE_PORT=0"}, `active-port = 0  # DRAY_LISTENER_1_ACTIVE_PORT`, ""},
		{"tables that the file does not have, in any order", "", []string{"DRAY_LISTENER_1_PROTOCOL=ftps", "DRAY_LISTENER_0_LISTEN=:2121,[::1]:21"}, `listen = [":2121", "[::1]:21"]  # DRAY_LISTENER_0_LISTEN`, ""},
		{"the first of a file without any", "", []string{"DRAY_LISTENER_0_PLAIN=yes"}, `plain = true  # DRAY_LISTENER_0_PLAIN`, ""},
		{"the second of a file without any", "", []string{"DRAY_LISTENER_1_LISTEN=:2990"}, `listen = [":2990"]  # DRAY_LISTENER_1_LISTEN`, ""},
		{"more than ten of them", "", strings.Fields("DRAY_LISTENER_10_NAME=k DRAY_LISTENER_9_NAME=j DRAY_LISTENER_8_NAME=i DRAY_LISTENER_7_NAME=h DRAY_LISTENER_6_NAME=g DRAY_LISTENER_5_NAME=f DRAY_LISTENER_4_NAME=e DRAY_LISTENER_3_NAME=d DRAY_LISTENER_2_NAME=c DRAY_LISTENER_1_NAME=b DRAY_LISTENER_0_NAME=a"), `name = "k"  # DRAY_LISTENER_10_NAME`, ""},
		{"a gap", "[[listener]]", []string{"DRAY_LISTENER_2_PLAIN=1"}, "", "DRAY_LISTENER_2_PLAIN: would leave a gap: there are 1 of listener so far; number them from 0; the next is 1"},
		{"a table that is not complete", "", []string{"DRAY_TLS_CERTIFICATE_0_KEY=k.pem"}, `key = "k.pem"  # DRAY_TLS_CERTIFICATE_0_KEY`, `DRAY_TLS_CERTIFICATE_0_FILE: is missing; set it, as in the file file = "/etc/dray/cert.pem"`},
		{"a table in a table", "", []string{"DRAY_TLS_CERTIFICATE_0_FILE=c.pem"}, `file = "c.pem"  # DRAY_TLS_CERTIFICATE_0_FILE`, ""},

		{"a value from a file", "", []string{"DRAY_PUBLIC_FILE=" + public}, `public = "ftp.example.net"  # DRAY_PUBLIC_FILE, from ` + public, ""},
		{"a key that is called file", "", []string{"DRAY_LOG_FILE=/var/log/dray"}, `file = "/var/log/dray"  # DRAY_LOG_FILE`, ""},
		{"a key that is called file, from a file", "", []string{"DRAY_LOG_FILE_FILE=" + public}, `file = "ftp.example.net"  # DRAY_LOG_FILE_FILE, from ` + public, ""},
		{"a value and a file with one", "", []string{"DRAY_PUBLIC=a", "DRAY_PUBLIC_FILE=" + public}, `public = "a"  # DRAY_PUBLIC`, "DRAY_PUBLIC_FILE: is set together with DRAY_PUBLIC; set one of them"},
		{"an empty file", "", []string{"DRAY_PUBLIC_FILE=" + empty}, `#public = ""`, `DRAY_PUBLIC_FILE: the file "` + empty + `", which has the value, can't be read: its first line is empty; name a file whose first line is the value`},

		{"the variables of others", "", []string{"DRAY_PASSWORD=x", "DRAY_BINARY=x", "DRAY_LONG=1", "DRAY_CONFIG=x", "HOME=/", "DRAYTON=1", "DRAY_LIMITS"}, "", ""},
		{"a misspelled one", "", []string{"DRAY_LIMITS_IDEL=5m"}, "", "warning: DRAY_LIMITS_IDEL: stands for no key; write DRAY_LIMITS_IDLE"},
		{"a misspelled one in a list", "", []string{"DRAY_LISTENER_0_PLANE=1"}, "", "warning: DRAY_LISTENER_0_PLANE: stands for no key; write DRAY_LISTENER_0_PLAIN"},
		{"one with a strange index", "", []string{"DRAY_LISTENER_00_PLAIN=1"}, "", "warning: DRAY_LISTENER_00_PLAIN: stands for no key; write DRAY_LISTENER_0_PLAIN"},
		{"one that resembles nothing", "", []string{"DRAY_=1"}, "", "warning: DRAY_: stands for no key; unset it; dray config example lists all keys"},
		{"the name of a table", "", []string{"DRAY_LIMITS=1"}, "", "warning: DRAY_LIMITS: stands for no key; unset it; dray config example lists all keys"},
		{"a table that the file has as a value", "limits = 3", []string{"DRAY_LIMITS_IDLE=5m"}, `idle = "10m"`, "t:1: limits: 3 is a number, where a table is needed; write [limits] and its keys below"},
		{"bytes that are no UTF-8", "", []string{"DRAY_MESSAGES_BANNER=\xff"}, `banner = "dray ready."`, `DRAY_MESSAGES_BANNER: "\xff" is not UTF-8; write it in UTF-8`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := Parse("t", []byte(tt.text), tt.env)
			if got := strings.TrimSpace(lines(problems)); got != tt.want {
				t.Errorf("problems\n%s\nwant\n%s", got, tt.want)
			}
			if shown := show(c, today); !strings.Contains(shown, "\n"+tt.show+"\n") {
				t.Errorf("%s\nlacks the line %s", shown, tt.show)
			}
		})
	}
}

// A variable for one of the usual listeners leaves the other as it is.
func TestAVariableTakesNoListenerAway(t *testing.T) {
	for _, tt := range []struct{ text, env, want string }{
		{"", "DRAY_LISTENER_0_PLAIN=yes", "ftp ftp [:21] true, ftps ftps [:990] false, sftp sftp [] false"},
		{"listener = []", "DRAY_LISTENER_0_LISTEN=:2121", "ftp ftp [:2121] false, ftps ftps [:990] false, sftp sftp [] false"},
		{"", "DRAY_LISTENER_1_LISTEN=:2990", "ftp ftp [:21] false, ftps ftps [:2990] false, sftp sftp [] false"},
		{"", "DRAY_LISTENER_2_LISTEN=:2222", "ftp ftp [:21] false, ftps ftps [:990] false, sftp sftp [:2222] false"},
		{"", "DRAY_LISTENER_3_LISTEN=:2121", "ftp ftp [:21] false, ftps ftps [:990] false, sftp sftp [] false, ftp-2121 ftp [:2121] false"},
		{"[[listener]]", "DRAY_LISTENER_0_PLAIN=yes", "ftp ftp [:21] true"},
	} {
		c, problems := Parse("t", []byte(tt.text), []string{tt.env})
		var got []string
		for _, l := range c.Listeners {
			got = append(got, fmt.Sprint(l.Name, " ", l.Protocol, " ", l.Listen, " ", l.Plain))
		}
		if len(problems) > 0 || strings.Join(got, ", ") != tt.want {
			t.Errorf("%q with %s: %s, %v; want %s", tt.text, tt.env, strings.Join(got, ", "), problems, tt.want)
		}
	}
}

// A problem of the whole names the variable that set the key.
func TestCheckNamesVariables(t *testing.T) {
	c, problems := Parse("t", []byte("[[listener]]"), []string{"DRAY_LISTENER_1_NAME=b", "DRAY_LISTENER_1_LISTEN=:21", "DRAY_EXCEPTION_0_ALLOW=plain",
		"DRAY_EXCEPTION_0_REASON=x", "DRAY_EXCEPTION_0_UNTIL=2027-06-30"})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	says(t, c.Check(Outside{Now: today}), `DRAY_LISTENER_1_LISTEN: ":21" is taken by`, "DRAY_EXCEPTION_0_NETWORK: is missing")
}
