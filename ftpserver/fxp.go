package ftpserver

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strings"

	"dray/fault"
	"dray/ftp"
)

// Copies from server to server (FXP), where the listener allows them: one server
// gets PASV, the other PORT with what the first one told, and the data never
// reach the client.
//
// What is lost by switching it on: a logged-in client can send this server to
// any address that the client itself could reach and any port of 1024 and above,
// with the bytes of a file for it (the bounce attack, RFC 2577, 3), and at a
// passive port whoever comes first is taken for the other server. Under TLS a
// stranger is only let in where the client has said that a server will come
// (SSCN ON, CPSV), and neither server proves to the other who it is: that needs
// the certificates of both to be known, for which the protocol has no word.

// An fxp is what the client has chosen. A new login begins with the zero value.
type fxp struct {
	sscn bool // this side is TLS client on data connections
}

func fxpCommands() []command {
	return []command{
		{verb: "SSCN", arg: argOptional, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).sscn, feat: withTLS("SSCN"), by: "FXP", usage: "[ON | OFF]", help: "be TLS client on data connections, for copies between servers", rfc: "no RFC"},
		{verb: "CPSV", arg: argNone, phase: phaseIn, also: keepsPending, run: (*conn).cpsv, feat: withTLS("CPSV"), by: "FXP", help: "PASV, with this side as TLS client", rfc: "no RFC"},
	}
}

func (c *conn) allows(word string) bool { return slices.Contains(c.rules.Allow, word) }

// sscn answers with the words that RaidenFTPD gave it.
func (c *conn) sscn(_ context.Context, arg string) (ftp.Reply, error) {
	if c.rules.TLS == nil || !c.tlsOn && !c.cleared {
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDTLSMissing)
	}
	switch strings.ToUpper(arg) {
	case "":
	case "ON":
		c.fxp.sscn = true
	case "OFF":
		c.fxp.sscn = false
	default:
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "SSCN ON or SSCN OFF")
	}
	if c.fxp.sscn {
		return ftp.Replyf(ftp.C200OK, "SSCN:CLIENT METHOD"), nil
	}
	return ftp.Replyf(ftp.C200OK, "SSCN:SERVER METHOD"), nil
}

func (c *conn) cpsv(ctx context.Context, _ string) (ftp.Reply, error) {
	if !c.prot {
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDSequence, "PROT P")
	}
	r, err := c.pasv(ctx, "")
	if err == nil {
		c.data.client = true
	}
	return r, err
}

// asClient tells whether this side is TLS client on the next data connection.
func (c *conn) asClient() bool { return c.fxp.sscn || c.data.client }

// mayCome tells whether a peer that is not the client may take a passive data
// connection. In clear text nothing tells a server from a stranger.
func (c *conn) mayCome() bool { return c.allows("FXP") && (!c.prot || c.asClient()) }

// noServer says why a foreign address can't be that of another server, "" when
// it may be: the client must be able to reach it too, so one that only this
// server can reach is no target.
func (c *conn) noServer(a netip.Addr) string {
	a = a.Unmap()
	switch {
	case a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "it is not that of one host"
	case (a.IsLoopback() || a.IsLinkLocalUnicast()) && !c.remote().IsLoopback(), local(a) && !local(c.remote()):
		return "it can't be reached from where you are"
	case !c.remote().IsLoopback() && (a == c.local() || thisHost(a)):
		return "it is this server's own" // that way leads around its packet filter
	}
	return ""
}

// thisHost tells whether a is an address of this machine.
func thisHost(a netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(addrs, func(i net.Addr) bool {
		p, err := netip.ParsePrefix(i.String())
		return err == nil && p.Addr().Unmap() == a
	})
}

// peerTLS is base for a data connection on which this side is TLS client.
func peerTLS(base *tls.Config) *tls.Config {
	return &tls.Config{
		MinVersion: base.MinVersion, MaxVersion: base.MaxVersion, CipherSuites: base.CipherSuites,
		CurvePreferences: base.CurvePreferences, Rand: base.Rand, Time: base.Time,
		DynamicRecordSizingDisabled: true,
		// The other server is known by nothing but an address that the client
		// told, or by having come; its certificate is for a name that nobody has
		// said. What is left is secrecy against those who only listen.
		InsecureSkipVerify: true,
	}
}
