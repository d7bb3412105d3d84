package ftpserver

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// maxTable is how many bytes of the kernel's table of connections are read: some
// 50,000 connections.
const maxTable = 8 << 20

// The states of connections that wait to be accepted (proc_net_tcp.txt of Linux,
// include/net/tcp_states.h).
const (
	stateEstablished = "01"
	stateSYN         = "03"
	stateCloseWait   = "08"
)

// atPorts are the connections to an address of ours that nobody has accepted; false
// where that can't be told.
func atPorts(local netip.Addr) ([]socket, bool) {
	name := "/proc/self/net/tcp6"
	if local.Is4() {
		name = "/proc/self/net/tcp"
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	left := &io.LimitedReader{R: f, N: maxTable}
	found, err := readTable(left, local.WithZone(""))
	return found, err == nil && left.N > 0
}

// readTable reads the table as proc(5) has it.
func readTable(r io.Reader, local netip.Addr) (found []socket, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		// Without an inode: nobody has accepted it.
		if len(f) < 10 || f[9] != "0" || f[3] != stateEstablished && f[3] != stateSYN && f[3] != stateCloseWait {
			continue
		}
		to, ok := parseEnd(f[1])
		from, ok2 := parseEnd(f[2])
		if ok && ok2 && to.Addr() == local {
			found = append(found, socket{to.Port(), from, f[3] != stateSYN})
		}
	}
	return found, lines.Err()
}

// parseEnd reads an address as the kernel prints it: words of 32 bits in its own
// order of bytes, and the port.
func parseEnd(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), ok
}
