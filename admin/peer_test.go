//go:build linux || darwin

package admin

import (
	"net"
	"os"
	"testing"
)

func TestOnlyRootAndTheServersUserMayAsk(t *testing.T) {
	path := place(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if uid, ok := peerUID(nc.(*net.UnixConn)); !ok || uid != os.Geteuid() || !allowed(nc) {
		t.Errorf("the peer is %d, %v, allowed %v; this is %d", uid, ok, allowed(nc), os.Geteuid())
	}
	if !may(0) || !may(os.Geteuid()) || may(os.Geteuid()+1) {
		t.Error("others may ask, or these may not")
	}
	one, other := net.Pipe()
	defer one.Close()
	defer other.Close()
	if allowed(one) {
		t.Error("what is no socket of this machine is allowed")
	}
}
