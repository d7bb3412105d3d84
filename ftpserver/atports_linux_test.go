package ftpserver

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"dray/ftp"
)

// tableLine is a line of the kernel's table.
func tableLine(local, remote, state string, inode int) string {
	word := func(s string) string {
		a := netip.MustParseAddrPort(s)
		b := a.Addr().AsSlice()
		for i := 0; i < len(b); i += 4 {
			binary.BigEndian.PutUint32(b[i:], binary.NativeEndian.Uint32(b[i:]))
		}
		return fmt.Sprintf("%s:%04X", strings.ToUpper(hex.EncodeToString(b)), a.Port())
	}
	return fmt.Sprintf("   1: %s %s %s 00000000:00000000 00:00000000 00000000  0  0 %d 1 0000000000000000 100 0 0 10 0\n", word(local), word(remote), state, inode)
}

func TestReadTable(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		name, text string
		local      string
		want       []socket
	}{
		{"a SYN", tableLine("192.0.2.1:50001", "198.51.100.7:4000", "03", 0), "192.0.2.1", []socket{{50001, at("198.51.100.7:4000"), false}}},
		{"a whole connection", tableLine("192.0.2.1:50001", "198.51.100.7:4000", "01", 0), "192.0.2.1", []socket{{50001, at("198.51.100.7:4000"), true}}},
		{"one that the client has closed", tableLine("192.0.2.1:50001", "198.51.100.7:4000", "08", 0), "192.0.2.1", []socket{{50001, at("198.51.100.7:4000"), true}}},
		{"IPv6", tableLine("[2001:db8::1]:50001", "[2001:db8::7]:4000", "03", 0), "2001:db8::1", []socket{{50001, at("[2001:db8::7]:4000"), false}}},
		{"one that somebody has accepted", tableLine("192.0.2.1:50001", "198.51.100.7:4000", "01", 12345), "192.0.2.1", nil},
		{"a listener", tableLine("192.0.2.1:50001", "0.0.0.0:0", "0A", 1), "192.0.2.1", nil},
		{"one in TIME_WAIT", tableLine("192.0.2.1:50001", "198.51.100.7:4000", "06", 0), "192.0.2.1", nil},
		{"another address", tableLine("192.0.2.2:50001", "198.51.100.7:4000", "03", 0), "192.0.2.1", nil},
		{"no table", "nothing here\n1 2 3 03 5 6 7 8 9 0\n", "192.0.2.1", nil},
	} {
		got, err := readTable(strings.NewReader(head+c.text), netip.MustParseAddr(c.local))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

// The client's own connection is told before a stranger's, and a whole one before half
// of one.
func TestWhatIsSeenAtAPort(t *testing.T) {
	client, at := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddrPort
	own, stranger := at("198.51.100.7:4000"), at("198.51.100.8:4000")
	for _, c := range []struct {
		name  string
		found []socket
		seen  ftp.Seen
		from  netip.AddrPort
	}{
		{"nothing", nil, ftp.SeenNothing, netip.AddrPort{}},
		{"another port", []socket{{2, own, true}}, ftp.SeenNothing, netip.AddrPort{}},
		{"a SYN", []socket{{1, own, false}}, ftp.SeenSYN, own},
		{"a stranger", []socket{{1, stranger, true}}, ftp.SeenWhole, stranger},
		{"a stranger's connection and the client's SYN", []socket{{1, stranger, true}, {1, own, false}}, ftp.SeenSYN, own},
		{"both", []socket{{1, own, true}, {1, own, false}, {1, stranger, true}}, ftp.SeenWhole, own},
	} {
		a := attempt{at: at("192.0.2.1:1")}
		a.see(c.found, client)
		a.see(nil, client) // it has gone, and was seen
		if seenWords[a.seen] != c.seen || a.from != c.from {
			t.Errorf("%s: %s from %v; want %s from %v", c.name, seenWords[a.seen], a.from, c.seen, c.from)
		}
	}
}
