package cli

import (
	"net"
	"slices"
	"strings"

	"dray/fault"
	"dray/remote"
	"dray/spelling"
	"dray/sshclient"
)

// near is a host that is stored or trusted here and that host was probably meant to be;
// "" for none.
func (c *client) near(host string) string {
	var known []string
	if c.hosts != nil {
		for _, h := range c.hosts.List() {
			known = append(known, h.Name)
			if u, err := h.Place(); err == nil {
				known = append(known, u.Host)
			}
		}
	}
	certs, _, _ := remote.NewCertStore(c.dirs.CertsFile()).List()
	for _, cert := range certs {
		if host, _, err := net.SplitHostPort(cert.Address); err == nil {
			known = append(known, host)
		}
	}
	if so, err := c.sshOptions(remote.URL{Scheme: remote.SFTP, Host: host}); err == nil {
		if s, err := sshclient.Read(so); err == nil {
			known = append(known, sshclient.KnownNames(s.KnownHosts)...)
		}
	}
	return spelling.Nearest(host, slices.DeleteFunc(known, func(name string) bool { return strings.EqualFold(name, host) }))
}

// advice is what to do about an error of a command, the host that was meant first.
func (c *client) advice(err error) []advised {
	rows := advice(err)
	e := fault.Of(err)
	if e.ID != fault.IDDNS || len(e.Facts) == 0 {
		return rows
	}
	host, _ := e.Facts[0].(string)
	if near := c.near(host); near != "" {
		at := slices.IndexFunc(rows, func(row advised) bool { return row.side != "cause" })
		rows = slices.Insert(rows, at, advised{side: "you", text: "Did you mean " + near + "? You have been there before."})
	}
	return rows
}
