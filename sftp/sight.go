package sftp

import (
	"net/netip"
	"strings"
)

// ExtSight asks a server of dray what it has seen of the connection that asks. It is no
// document's. The request has no fields; the answer is one string, see ParseSight.
const ExtSight = "sight@dray"

// A Sight is what the answer to ExtSight tells.
type Sight struct {
	Peer, Local netip.AddrPort // the ends of the connection, as the server has them

	Kex, HostKey  string // algorithms that were agreed on (RFC 4253, 7.1)
	Up, UpMAC     string // cipher of what the client sends, and its MAC; "" where the cipher has its own
	Down, DownMAC string // of what the server sends
	Auth          string // how the login was made: methods of RFC 4252 in their order, commas between
}

const (
	maxSight     = 8 << 10
	maxSightWord = 128
)

func (s *Sight) words() [7]struct {
	name string
	at   *string
} {
	return [...]struct {
		name string
		at   *string
	}{
		{"kex", &s.Kex}, {"host-key", &s.HostKey}, {"up", &s.Up}, {"up-mac", &s.UpMAC}, {"down", &s.Down}, {"down-mac", &s.DownMAC}, {"auth", &s.Auth},
	}
}

// Format writes s as lines of name=value. The first one is the version.
func (s *Sight) Format() string {
	var b strings.Builder
	b.WriteString("v=1\n")
	for _, end := range s.ends() {
		if end.at.IsValid() {
			b.WriteString(end.name + "=" + netip.AddrPortFrom(end.at.Addr().Unmap().WithZone(""), end.at.Port()).String() + "\n")
		}
	}
	for _, w := range s.words() {
		if *w.at != "" {
			b.WriteString(w.name + "=" + *w.at + "\n")
		}
	}
	return b.String()
}

func (s *Sight) ends() [2]struct {
	name string
	at   *netip.AddrPort
} {
	return [...]struct {
		name string
		at   *netip.AddrPort
	}{{"peer", &s.Peer}, {"local", &s.Local}}
}

// AppendSight appends the answer to ExtSight.
func AppendSight(b []byte, id uint32, s *Sight) []byte {
	start, b := begin(b, TypeExtendedReply)
	return end(appendString(appendUint32(b, id), s.Format()), start)
}

// ParseSight reads the Data of an answer to ExtSight. Lines of other names are left out:
// a later server has more to tell. ErrMalformed where the version is another one, and for
// values that are none.
func ParseSight(data []byte) (Sight, error) {
	r := reader{b: data}
	text := r.string()
	if r.bad || len(text) > maxSight {
		return Sight{}, ErrMalformed
	}
	var s Sight
	known := false
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if name == "v" {
			if known = value == "1"; !known {
				return Sight{}, ErrMalformed
			}
		}
		for _, end := range s.ends() {
			if name == end.name {
				a, err := netip.ParseAddrPort(value)
				if err != nil || len(value) > maxSightWord {
					return Sight{}, ErrMalformed
				}
				*end.at = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
			}
		}
		for _, w := range s.words() {
			if name == w.name {
				if len(value) > maxSightWord || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
					return Sight{}, ErrMalformed
				}
				*w.at = value
			}
		}
	}
	if !known {
		return Sight{}, ErrMalformed
	}
	return s, nil
}
