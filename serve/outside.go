package serve

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strings"

	"dray/certs"
	"dray/config"
	"dray/ftpserver"
	"dray/vfs/osfs"
)

// Outside is what the check of a configuration needs of others: certificates, the
// commands there are, and what this machine says.
func Outside() config.Outside {
	hostKey := func(file string) error {
		_, err := certs.LoadHostKey(file)
		return err
	}
	return config.Outside{Certificate: checkCertificate, HostKey: hostKey, Commands: ftpserver.Commands(), User: checkUser, Writable: writable}
}

// Lacks says what this system keeps from every server, "" for nothing.
func Lacks() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	tree, err := osfs.NewDisk(osfs.SyncNone, nil).Open("/")
	if err != nil {
		return "" // whoever opens what is served says why
	}
	defer tree.Close()
	if !errors.Is(tree.Straight(), errors.ErrUnsupported) {
		return ""
	}
	return "openat2 is missing, which Linux has since 5.6, or a filter forbids it, as RestrictSUIDSGID of systemd does: " +
		"deep trees are slow, and accounts with an owner, or with rights per path, can't log in"
}

// checkUser tells what is wrong with a user that a server which root starts becomes.
func checkUser(name string) *config.Problem {
	u, err := user.Lookup(name)
	p := config.Problem{Warning: os.Geteuid() != 0} // for others than root it has no effect
	switch {
	case err != nil:
		p.What = fmt.Sprintf("this machine has no user %q", name)
		p.Do = "make it, with useradd --system --user-group --no-create-home --shell /usr/sbin/nologin " + name
	case u.Uid == "0":
		p.What, p.Do = fmt.Sprintf("%q is root", name), "name a user without privileges"
	default:
		return nil
	}
	return &p
}

func checkCertificate(file, key string) (func(string) bool, []config.Problem) {
	cert, err := certs.Load(file, key)
	var wrong []config.Problem
	if err != nil {
		p := config.Problem{What: err.Error(), Do: "name a pair that belongs together and is in force"}
		var ce *certs.Error
		if errors.As(err, &ce) {
			p = config.Problem{What: ce.File + ": " + ce.Text, Do: ce.Do}
			if ce.File == key && key != file {
				p.Field = "key"
			}
		}
		wrong = append(wrong, p)
	}
	if cert == nil {
		return nil, wrong
	}
	for _, p := range cert.Problems() { // what is wrong, a colon, and what to do
		w := config.Problem{What: p, Do: "have another one made", Warning: true}
		if i := strings.LastIndex(p, ": "); i >= 0 {
			w.What, w.Do = p[:i], p[i+2:]
		}
		if strings.HasPrefix(p, "the key ") {
			w.Field = "key"
		}
		wrong = append(wrong, w)
	}
	return func(host string) bool { return cert.Leaf.VerifyHostname(host) == nil }, wrong
}
