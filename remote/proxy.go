package remote

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"dray/account"
	"dray/fault"
)

// A DialFunc makes connections, as (*net.Dialer).DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A Proxy is a proxy that makes connections for us.
type Proxy struct {
	Kind     string // "socks5" or "http"
	Address  string // host:port
	User     string
	Password account.Secret
	HasUser  bool
}

// String is the proxy without its password.
func (p *Proxy) String() string { return p.Kind + "://" + p.Address }

// ParseProxy reads socks5://, socks5h:// or http://, with [USER:PASSWORD@] and
// host[:port]; without a port it is 1080 or 3128. Its errors have no password in them. Names are always looked up
// by the proxy.
func ParseProxy(s string) (*Proxy, error) {
	const form = "write socks5://host:1080 or http://host:3128"
	if !strings.Contains(s, "://") { // curl's habit: http without a word
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return nil, errors.New("the proxy can't be read; " + form)
	}
	p := &Proxy{}
	port := "1080"
	switch strings.ToLower(u.Scheme) {
	case "socks5", "socks5h", "socks":
		p.Kind = "socks5"
	case "http":
		p.Kind, port = "http", "3128"
	default:
		return nil, errors.New("dray knows proxies of SOCKS 5 and HTTP CONNECT; " + form)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, errors.New("the port of the proxy is no number from 1 to 65535; " + form)
	}
	host := u.Hostname()
	if host == "" || strings.ContainsAny(host, "\x00\r\n ") {
		return nil, errors.New("the proxy has no host; " + form)
	}
	p.Address = net.JoinHostPort(host, port)
	if u.User != nil {
		password, _ := u.User.Password()
		p.User, p.Password, p.HasUser = u.User.Username(), account.NewSecret(password), true
		switch {
		case strings.ContainsAny(p.User+password, "\x00\r\n"):
			return nil, errors.New("the user or the password of the proxy has a line end")
		case p.Kind == "socks5" && (len(p.User) > 255 || len(password) > 255 || p.User == ""):
			return nil, errors.New("SOCKS 5 knows users and passwords of 1 to 255 bytes")
		case p.Kind == "http" && strings.Contains(p.User, ":"):
			return nil, errors.New("the user of the proxy has a colon")
		}
	}
	return p, nil
}

// Proxies says for each address through which proxy a connection goes.
type Proxies struct {
	Proxy *Proxy // nil: none
	Not   NoProxy
	Dial  DialFunc // how connections are made; nil: (&net.Dialer{}).DialContext
}

// FindProxies takes the proxy from --proxy (flag; "none" is none at all), or for
// FTP from FTP_PROXY, or from ALL_PROXY, in small letters too, and the exceptions
// from NO_PROXY. A flag has no exceptions. An FTP_PROXY that is no kind of proxy
// that dray knows is an error.
func FindProxies(flag string, scheme Scheme, getenv func(string) string) (*Proxies, error) {
	value, from := flag, "--proxy"
	env := func(name string) bool {
		for _, n := range []string{strings.ToLower(name), name} {
			if v := getenv(n); value == "" && v != "" {
				value, from = v, n
			}
		}
		return value != ""
	}
	ps := &Proxies{}
	if flag == "" {
		if !(scheme.IsFTP() && env("FTP_PROXY")) {
			env("ALL_PROXY")
		}
		no := getenv("no_proxy")
		if no == "" {
			no = getenv("NO_PROXY")
		}
		ps.Not = ParseNoProxy(no)
	}
	if value == "" || flag == "none" {
		return ps, nil
	}
	p, err := ParseProxy(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	ps.Proxy = p
	return ps, nil
}

// For is the proxy on the way to a host; nil: none.
func (ps *Proxies) For(host string, port int) *Proxy {
	if ps == nil || ps.Proxy == nil || ps.Not.Has(host, port) {
		return nil
	}
	return ps.Proxy
}

// DialContext connects to address, through the proxy where there is one on the
// way. What the proxy has against it is a *fault.Error of fault.IDProxy.
func (ps *Proxies) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dial := (&net.Dialer{KeepAlive: -1}).DialContext // whoever wants it sets it: data connections end soon
	if ps != nil && ps.Dial != nil {
		dial = ps.Dial
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("the port of %s is no number", address)
	}
	p := ps.For(host, int(port))
	if p == nil {
		return dial(ctx, network, address)
	}
	if len(host) > 255 || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("%q is no name of a host", host)
	}
	nc, err := dial(ctx, "tcp", p.Address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, p.fault(err, "it can't be reached")
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	var through net.Conn
	if p.Kind == "socks5" {
		through, err = nc, p.socks(nc, host, int(port))
	} else {
		through, err = p.connect(nc, net.JoinHostPort(host, portText))
	}
	if !stop() && err == nil { // the deadline was moved, or will be
		err = ctx.Err()
	}
	if err == nil {
		return through, nil
	}
	_ = nc.Close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var f *fault.Error
	if errors.As(err, &f) {
		return nil, f
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, p.fault(err, "it closed the connection")
	}
	return nil, p.fault(err, "the connection to it broke off")
}

func (p *Proxy) fault(err error, what string) error {
	return fault.Because(err, fault.Unreachable, fault.IDProxy, p.Address, what)
}

// socksReplies are the sentences of RFC 1928, 6.
var socksReplies = []string{
	1: "general failure", 2: "its rules do not allow it", 3: "the network can't be reached", 4: "the host can't be reached",
	5: "the connection was refused", 6: "the time ran out", 7: "it does not make connections", 8: "it does not know this kind of address",
}

// socks asks for a connection (RFC 1928, RFC 1929). It reads not a byte more
// than the answers have, so nc is the connection.
func (p *Proxy) socks(nc net.Conn, host string, port int) error {
	methods := []byte{5, 1, 0}
	if p.HasUser {
		methods = []byte{5, 2, 0, 2}
	}
	var b [2 + 255]byte
	if err := exchange(nc, methods, b[:2]); err != nil {
		return err
	}
	switch {
	case b[0] != 5:
		return p.fault(nil, "it does not speak SOCKS 5")
	case b[1] == 2 && p.HasUser:
		password := p.Password.Reveal()
		login := slices.Concat([]byte{1, byte(len(p.User))}, []byte(p.User), []byte{byte(len(password))}, []byte(password))
		if err := exchange(nc, login, b[:2]); err != nil {
			return err
		}
		if b[0] != 1 || b[1] != 0 {
			return p.fault(nil, "it rejected user and password")
		}
	case b[1] == 0xff && !p.HasUser:
		return p.fault(nil, "it wants a user and a password: socks5://user:password@host:port")
	case b[1] != 0:
		return p.fault(nil, "it wants a login of a kind that dray does not know")
	}
	request := []byte{5, 1, 0}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		request = append(request, map[bool]byte{true: 1, false: 4}[addr.Is4()])
		request = append(request, addr.WithZone("").AsSlice()...)
	} else {
		request = append(request, 3, byte(len(host)))
		request = append(request, host...)
	}
	request = append(request, byte(port>>8), byte(port))
	if err := exchange(nc, request, b[:4]); err != nil {
		return err
	}
	if b[0] != 5 {
		return p.fault(nil, "it does not speak SOCKS 5")
	}
	if code := int(b[1]); code != 0 {
		what := fmt.Sprintf("failure %d", code)
		if code < len(socksReplies) {
			what = socksReplies[code]
		}
		return p.fault(nil, what)
	}
	rest := 2 // the port
	switch b[3] {
	case 1:
		rest += 4
	case 4:
		rest += 16
	case 3:
		if _, err := io.ReadFull(nc, b[:1]); err != nil {
			return err
		}
		rest += int(b[0])
	default:
		return p.fault(nil, "it does not speak SOCKS 5")
	}
	_, err := io.ReadFull(nc, b[:rest])
	return err
}

// exchange writes a question and reads all of the answer.
func exchange(nc net.Conn, question, answer []byte) error {
	if _, err := nc.Write(question); err != nil {
		return err
	}
	_, err := io.ReadFull(nc, answer)
	return err
}

// maxConnectReply is for the whole header of an answer to CONNECT.
const maxConnectReply = 16 << 10

// connect asks for a connection (RFC 9110, 9.3.6).
func (p *Proxy) connect(nc net.Conn, address string) (net.Conn, error) {
	request := "CONNECT " + address + " HTTP/1.1\r\nHost: " + address + "\r\n"
	if p.HasUser {
		request += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.User+":"+p.Password.Reveal())) + "\r\n"
	}
	if _, err := io.WriteString(nc, request+"\r\n"); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(nc, 4096)
	code, text, err := readConnectReply(r)
	switch {
	case errors.Is(err, errNoHTTP):
		return nil, p.fault(err, "it does not speak HTTP")
	case err != nil:
		return nil, err
	case code == 407 && !p.HasUser:
		return nil, p.fault(nil, "it wants a user and a password: http://user:password@host:port")
	case code == 407:
		return nil, p.fault(nil, "it rejected user and password")
	case code < 200 || code > 299:
		return nil, p.fault(nil, strings.TrimSpace(fmt.Sprintf("%d %s", code, text)))
	}
	if n := r.Buffered(); n > 0 { // a server that speaks first
		early, _ := r.Peek(n)
		return &earlyConn{Conn: nc, early: slices.Clone(early)}, nil
	}
	return nc, nil
}

var errNoHTTP = errors.New("no answer of HTTP, or one that is too long")

// readConnectReply reads the header of an answer up to its empty line, and no
// more than maxConnectReply bytes of it. Text is one clean line.
func readConnectReply(r *bufio.Reader) (code int, text string, err error) {
	left := maxConnectReply
	line := func() (string, error) {
		var b []byte
		for {
			part, err := r.ReadSlice('\n')
			b = append(b, part...)
			if left -= len(part); left < 0 {
				return "", errNoHTTP
			}
			if err == nil {
				return strings.TrimRight(string(b), "\r\n"), nil
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return "", err
			}
		}
	}
	first, err := line()
	if err != nil {
		return 0, "", err
	}
	version, rest, _ := strings.Cut(first, " ")
	number, text, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	n, bad := strconv.ParseUint(number, 10, 16)
	if !strings.HasPrefix(version, "HTTP/1.") || len(number) != 3 || bad != nil || n < 100 {
		return 0, "", errNoHTTP
	}
	for {
		header, err := line()
		if err != nil {
			return 0, "", err
		}
		if header == "" {
			return int(n), clean(strings.TrimSpace(text)), nil
		}
	}
}

// An earlyConn is a connection of which some bytes were read already.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		if c.early = c.early[n:]; len(c.early) == 0 {
			c.early = nil
		}
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite ends what we send, where the connection can.
func (c *earlyConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

var _ net.Conn = (*earlyConn)(nil)

// NoProxy are the hosts that are reached without the proxy.
type NoProxy struct {
	all   bool
	nets  []netip.Prefix
	names []noProxyName
}

type noProxyName struct {
	name string // without a dot before it
	port string // "": any
	addr bool   // it is an address: nothing is below it
	only bool   // hosts below the name, not the name itself
}

const maxNoProxy = 1000

// ParseNoProxy reads a list with commas or spaces between: * for all, addresses,
// networks (192.0.2.0/24), names that stand for the hosts below them too, each
// name or address with :port or without. What it can't read it leaves out.
func ParseNoProxy(s string) NoProxy {
	var n NoProxy
	for i, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if i == maxNoProxy {
			break
		}
		if word == "*" {
			n.all = true
			continue
		}
		if prefix, err := netip.ParsePrefix(word); err == nil {
			n.nets = append(n.nets, prefix.Masked())
			continue
		}
		name := noProxyName{name: word}
		if _, err := netip.ParseAddr(word); err != nil {
			if host, port, err := net.SplitHostPort(word); err == nil {
				name.name, name.port = host, port
			}
		}
		name.name = strings.Trim(name.name, "[]")
		if addr, err := netip.ParseAddr(name.name); err == nil {
			name.name, name.addr = addr.Unmap().String(), true
		} else {
			rest, star := strings.CutPrefix(name.name, "*")
			name.name = lower(strings.Trim(rest, "."))
			name.only = star
		}
		if name.name != "" {
			n.names = append(n.names, name)
		}
	}
	return n
}

// Has tells whether the host is reached without the proxy. No name is looked up.
func (n NoProxy) Has(host string, port int) bool {
	if n.all {
		return true
	}
	host = lower(strings.TrimSuffix(host, "."))
	bare, _, _ := strings.Cut(host, "%")
	addr, err := netip.ParseAddr(bare)
	if err == nil {
		addr = addr.Unmap()
		host = addr.String()
		if slices.ContainsFunc(n.nets, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return true
		}
	}
	return slices.ContainsFunc(n.names, func(one noProxyName) bool {
		if one.port != "" && one.port != strconv.Itoa(port) {
			return false
		}
		return host == one.name && !one.only || !one.addr && strings.HasSuffix(host, "."+one.name)
	})
}
