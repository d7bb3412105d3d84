package serve

import (
	"net"
	"strings"
	"testing"

	"dray/ftpserver"
	"dray/gate"
)

// Where a server may not bind port 20 its data come from any port, and to let out
// port 20 would help nobody.
func TestTheCardNamesNoPortThatDataDoNotComeFrom(t *testing.T) {
	at := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2121}
	rules := func(port uint16) *rules {
		return &rules{ftp: &ftpserver.Rules{Door: &gate.Door{}, Ports: ftpserver.NewPorts(31000, 31009), ActivePort: port}}
	}
	for _, tt := range []struct {
		name    string
		mayBind func(uint16) bool
		want    string
	}{
		{"any port", func(uint16) bool { return true }, "20, 989, 2020"},
		{"high ports", func(port uint16) bool { return port >= 1024 }, "2020"},
		{"none", func(uint16) bool { return false }, ""},
	} {
		var card Card
		for _, port := range []uint16{20, 989, 2020, 20, 0} {
			card.add(rules(port), at, tt.mayBind)
		}
		if got := strings.Join(card.Active, ", "); got != tt.want {
			t.Errorf("who may bind %s has data from %q; want %q", tt.name, got, tt.want)
		}
	}
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if port := uint16(l.LocalAddr().(*net.UDPAddr).Port); !mayBind(port) || !mayBind(0) {
		t.Error("a high port may be bound by everybody, also where it is taken")
	}
}
