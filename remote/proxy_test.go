package remote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"dray/fault"
)

func TestParseProxy(t *testing.T) {
	for in, want := range map[string]string{
		"socks5://h":                                             "socks5://h:1080",
		"socks5h://u:" + "p%40@h:9":                              "socks5://h:9",
		"http://[::1]:3128":                                      "http://[::1]:3128",
		"h:8080":                                                 "http://h:8080",
		"HTTP://alice:" + "x" + "@proxy/":                        "http://proxy:3128",
		"socks5://u:" + marker + "@h:1":                          "socks5://h:1",
		"https://u:" + marker + "@h":                             "!SOCKS 5 and HTTP CONNECT",
		"ftp://u:" + marker + "@h":                               "!SOCKS 5 and HTTP CONNECT",
		"http://u:" + marker + "@h:x":                            "!can't be read",
		"http://u:" + marker + "@h:0":                            "!the port",
		"http://u:" + marker + "@":                               "!",
		"socks5://u%0a:" + marker + "@h":                         "!line end",
		"http://u%3ax:" + marker + "@h":                          "!colon",
		"socks5://u:" + marker + strings.Repeat("x", 256) + "@h": "!255",
		"": "!",
	} {
		p, err := ParseProxy(in)
		if bad, ok := strings.CutPrefix(want, "!"); ok {
			if err == nil || !strings.Contains(err.Error(), bad) || strings.Contains(err.Error(), marker) {
				t.Errorf("ParseProxy(%q): %v", in, err)
			}
			continue
		}
		if err != nil || p.String() != want || strings.Contains(fmt.Sprintf("%+v %#v", p, *p), marker) {
			t.Errorf("ParseProxy(%q) = %v, %v", in, p, err)
		}
	}
}

func TestFindProxies(t *testing.T) {
	tests := []struct {
		name, flag string
		scheme     Scheme
		env        map[string]string
		host, want string
	}{
		{"none", "", FTP, nil, "h", ""},
		{"the flag is first", "socks5://a", FTP, map[string]string{"ALL_PROXY": "http://b", "NO_PROXY": "*"}, "h", "socks5://a:1080"},
		{"FTP has a variable", "", FTPS, map[string]string{"ALL_PROXY": "http://b", "FTP_PROXY": "http://c"}, "h", "http://c:3128"},
		{"of FTP alone", "", SFTP, map[string]string{"ALL_PROXY": "http://b", "FTP_PROXY": "http://c"}, "h", "http://b:3128"},
		{"small letters win", "", SFTP, map[string]string{"ALL_PROXY": "http://b", "all_proxy": "socks5h://d"}, "h", "socks5://d:1080"},
		{"exceptions", "", FTP, map[string]string{"ALL_PROXY": "http://b", "NO_PROXY": "example.net"}, "ftp.example.net", ""},
		{"the flag switches off", "none", FTP, map[string]string{"ALL_PROXY": "http://b"}, "h", ""},
	}
	for _, tt := range tests {
		ps, err := FindProxies(tt.flag, tt.scheme, func(k string) string { return tt.env[k] })
		got := ""
		if p := ps.For(tt.host, 21); p != nil {
			got = p.String()
		}
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v", tt.name, got, err)
		}
	}
	_, err := FindProxies("", FTP, func(k string) string { return map[string]string{"FTP_PROXY": "ftp://u:" + marker + "@x"}[k] })
	if err == nil || !strings.HasPrefix(err.Error(), "FTP_PROXY: ") || strings.Contains(err.Error(), marker) {
		t.Error(err)
	}
}

func TestNoProxy(t *testing.T) {
	n := ParseNoProxy("localhost, .example.net 192.0.2.0/24,2001:db8::/32, [::1]:990,10.0.0.1:21,*.only.test,port.test:22, 198.51.100.7,ba[d")
	for _, tt := range []struct {
		host string
		port int
		want bool
	}{
		{"localhost", 21, true}, {"LOCALHOST.", 21, true}, {"notlocalhost", 21, false}, {"example.net", 21, true}, {"ftp.Example.net", 21, true},
		{"badexample.net", 21, false}, {"192.0.2.9", 21, true}, {"::ffff:192.0.2.9", 21, true}, {"192.0.3.9", 21, false}, {"2001:db8::1%eth0", 21, true},
		{"::1", 990, true}, {"::1", 21, false}, {"10.0.0.1", 21, true}, {"10.0.0.1", 22, false}, {"a.only.test", 21, true}, {"only.test", 21, false},
		{"port.test", 22, true}, {"x.port.test", 21, false}, {"198.51.100.7", 1, true}, {"1.198.51.100.7", 1, false},
	} {
		if got := n.Has(tt.host, tt.port); got != tt.want {
			t.Errorf("%s port %d: %v", tt.host, tt.port, got)
		}
	}
	if !ParseNoProxy("a,*").Has("x", 1) || ParseNoProxy("").Has("x", 1) {
		t.Error("* is all")
	}
}

// through dials an address by way of a proxy that serve plays.
func through(t *testing.T, ctx context.Context, proxy, address string, serve func(net.Conn)) (net.Conn, error) {
	t.Helper()
	addr := serveOnce(t, serve)
	p, err := ParseProxy(strings.ReplaceAll(proxy, "PROXY", addr.String()))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := (&Proxies{Proxy: p}).DialContext(ctx, "tcp", address)
	if err == nil {
		t.Cleanup(func() { _ = nc.Close() })
	}
	return nc, err
}

// expect reads what a client has to send, and answers.
func expect(t *testing.T, nc net.Conn, want, answer string) {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
		t.Errorf("the proxy reads %q, %v; want %q", got, err, want)
	}
	_, _ = nc.Write([]byte(answer))
}

func TestSOCKS(t *testing.T) {
	tests := []struct{ name, proxy, address, request string }{
		{"the proxy looks the name up", "socks5://PROXY", "ftp.example.net:21", "\x05\x01\x00\x03\x0fftp.example.net\x00\x15"},
		{"IPv4", "socks5h://PROXY", "192.0.2.1:65535", "\x05\x01\x00\x01\xc0\x00\x02\x01\xff\xff"},
		{"IPv6", "socks5h://PROXY", "[2001:db8::1]:990", "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x03\xde"},
	}
	for _, tt := range tests {
		for _, bound := range []string{"\x01\x01\x02\x03\x04\x05\x06", "\x03\x01a\x00\x01", "\x04" + strings.Repeat("x", 18)} {
			t.Run(tt.name, func(t *testing.T) {
				nc, err := through(t, t.Context(), tt.proxy, tt.address, func(nc net.Conn) {
					expect(t, nc, "\x05\x01\x00", "\x05\x00")
					expect(t, nc, tt.request, "\x05\x00\x00"+bound+"220 hello\r\n")
				})
				if err != nil {
					t.Fatal(err)
				}
				if b, _ := io.ReadAll(nc); string(b) != "220 hello\r\n" {
					t.Errorf("read %q", b)
				}
			})
		}
	}
	t.Run("with a password", func(t *testing.T) {
		_, err := through(t, t.Context(), "socks5://alice:"+marker+"@PROXY", "h:21", func(nc net.Conn) {
			expect(t, nc, "\x05\x02\x00\x02", "\x05\x02")
			expect(t, nc, "\x01\x05alice\x09"+marker, "\x01\x00")
			expect(t, nc, "\x05\x01\x00\x03\x01h\x00\x15", "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestConnect(t *testing.T) {
	nc, err := through(t, t.Context(), "http://alice:"+marker+"@PROXY", "[2001:db8::1]:21", func(nc net.Conn) {
		expect(t, nc, "CONNECT [2001:db8::1]:21 HTTP/1.1\r\nHost: [2001:db8::1]:21\r\nProxy-Authorization: Basic "+
			base64.StdEncoding.EncodeToString([]byte("alice:"+marker))+"\r\n\r\n", "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n220 he")
		time.Sleep(10 * time.Millisecond)
		_, _ = nc.Write([]byte("llo\r\n"))
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(nc); string(b) != "220 hello\r\n" {
		t.Errorf("a server that speaks first is heard as %q", b)
	}
}

func TestWhatAProxySaysIsKept(t *testing.T) {
	reply := func(s string) func(net.Conn) {
		return func(nc net.Conn) {
			_, _ = nc.Read(make([]byte, 1000))
			for part := range strings.SplitSeq(s, "<>") {
				_, _ = nc.Write([]byte(part))
				_, _ = nc.Read(make([]byte, 1000))
			}
		}
	}
	tests := []struct {
		name, proxy string
		serve       func(net.Conn)
		want        string
	}{
		{"no way", "http://u:" + marker + "@PROXY", reply("HTTP/1.1 403 For\x1bbidden\r\n\r\n"), `403 For\x1bbidden`},
		{"a login", "http://PROXY", reply("HTTP/1.0 407 x\r\nA: b\r\n\r\n"), "it wants a user and a password"},
		{"a wrong login", "http://u:" + marker + "@PROXY", reply("HTTP/1.0 407 " + marker[:1] + "\r\n\r\n"), "it rejected user and password"},
		{"another protocol", "http://PROXY", reply("220 ftp\r\n\r\n"), "it does not speak HTTP"},
		{"a header without an end", "http://PROXY", reply("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 5000)), "it does not speak HTTP"},
		{"a line without an end", "http://PROXY", reply(strings.Repeat("H", 50000)), "it does not speak HTTP"},
		{"the end", "http://PROXY", func(net.Conn) {}, "it"},
		{"the end in the middle", "http://PROXY", func(nc net.Conn) { expect(t, nc, "CONNECT h:21 HTTP/1.1\r\nHost: h:21\r\n\r\n", "HTTP/1.1 200 OK\r\n") }, "it closed the connection"},
		{"no SOCKS", "socks5://PROXY", reply("HTTP/1.1 400"), "it does not speak SOCKS 5"},
		{"no method", "socks5://PROXY", reply("\x05\xff"), "it wants a user and a password"},
		{"no method with a password", "socks5://u:" + marker + "@PROXY", reply("\x05\xff"), "a login of a kind"},
		{"a method that was not offered", "socks5://PROXY", reply("\x05\x02"), "a login of a kind"},
		{"a wrong password", "socks5://u:" + marker + "@PROXY", reply("\x05\x02<>\x01\x01"), "it rejected user and password"},
		{"refused", "socks5://PROXY", reply("\x05\x00<>\x05\x05\x00\x01"), "the connection was refused"},
		{"another failure", "socks5://PROXY", reply("\x05\x00<>\x05\x63\x00\x01"), "failure 99"},
		{"an address of no kind", "socks5://PROXY", reply("\x05\x00<>\x05\x00\x00\x07"), "it does not speak SOCKS 5"},
		{"another version", "socks5://PROXY", reply("\x05\x00<>\x04\x00\x00\x01"), "it does not speak SOCKS 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := through(t, t.Context(), tt.proxy, "h:21", tt.serve)
			var f *fault.Error
			if !errors.As(err, &f) || f.ID != fault.IDProxy || len(f.Facts) != 2 {
				t.Fatal(err)
			}
			if what := fmt.Sprint(f.Facts[1]); !strings.Contains(what, tt.want) {
				t.Errorf("it says %q, want %q", what, tt.want)
			}
			if all := facts(f) + fmt.Sprintf("%v %+v", err, f); strings.Contains(all, marker) {
				t.Errorf("the password is in %s", all)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		p, _ := ParseProxy("http://" + l.Addr().String())
		if _, err = (&Proxies{Proxy: p}).DialContext(t.Context(), "tcp", "h:21"); idOf(err) != fault.IDProxy {
			t.Error(err)
		}
	})
}

func TestAProxyThatIsSilentEndsWithTheContext(t *testing.T) {
	for _, proxy := range []string{"http://PROXY", "socks5://PROXY"} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(30*time.Millisecond, cancel)
		began := time.Now()
		_, err := through(t, ctx, proxy, "h:21", func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
		if !errors.Is(err, context.Canceled) || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v", proxy, err)
		}
	}
}

func TestAnAddressCannotWriteHeaders(t *testing.T) {
	p, _ := ParseProxy("http://127.0.0.1:1")
	for _, address := range []string{"a\r\nX: y:21", "a b:21", strings.Repeat("a", 300) + ":21", "h:x", "h"} {
		_, err := (&Proxies{Proxy: p}).DialContext(t.Context(), "tcp", address)
		if err == nil || idOf(err) == fault.IDProxy {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestWithoutAProxyTheConnectionIsPlain(t *testing.T) {
	addr := serveOnce(t, func(nc net.Conn) { _, _ = nc.Write([]byte("x")) })
	p, _ := ParseProxy("http://127.0.0.1:1")
	for _, ps := range []*Proxies{nil, {}, {Proxy: p, Not: ParseNoProxy("127.0.0.0/8")}} {
		if ps.For("127.0.0.1", addr.Port) != nil {
			t.Error("a proxy")
		}
	}
	nc, err := (&Proxies{}).DialContext(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(addr.Port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	if _, ok := nc.(*net.TCPConn); !ok {
		t.Errorf("a %T", nc)
	}
}

// Whatever a proxy answers, no more than the header is taken, and the sentence
// is one line.
func FuzzConnectReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nA: b\r\n\r\n220 hello\r\n"))
	f.Add([]byte("HTTP/1.0 407\n\nx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), 4096)
		code, text, err := readConnectReply(r)
		if err != nil {
			return
		}
		if code < 100 || code > 999 || strings.ContainsAny(text, "\r\n\x00\x1b") {
			t.Fatalf("%q: %d %q", b, code, text)
		}
		rest, _ := io.ReadAll(r)
		head := b[:len(b)-len(rest)]
		if !bytes.HasSuffix(b, rest) || len(head) > maxConnectReply || !bytes.HasSuffix(head, []byte("\n")) {
			t.Fatalf("%q: %q is left", b, rest)
		}
	})
}
