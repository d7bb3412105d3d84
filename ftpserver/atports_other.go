//go:build !linux

package ftpserver

import "net/netip"

// atPorts can't be told here.
func atPorts(netip.Addr) ([]socket, bool) { return nil, false }
