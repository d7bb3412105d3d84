//go:build linux

package interop

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A climate is what a server that is well may have around it.
type climate struct {
	name string
	how  layout
	ipv6 bool   // the server has an address of each family, and is asked over IPv6 first
	tls  string // the only version that it speaks; "": those that it has
}

var climates = []climate{
	{name: "as it is"},
	{name: "IPv6 too", ipv6: true},
	{name: "TLS 1.2", tls: "1.2"},
	{name: "TLS 1.3", tls: "1.3"},
	{name: "far away", how: far},
}

// wellIn is how long dray doctor takes at most where nothing is wrong, and from far away,
// where most of it is round trips; an upload goes twice, by each version of TLS.
func (c climate) wellIn(write bool) time.Duration {
	switch {
	case c.how != far:
		return 5 * time.Second
	case write:
		return 15 * time.Second
	}
	return 6 * time.Second
}

// Nothing is wrong with servers that are well: no failure and no warning, in five
// seconds, also with an upload, whatever the version of TLS; and none from far away.
// Nothing else runs meanwhile, because of the seconds.
func TestLabHealthy(t *testing.T) {
	needsLab(t)
	cas := newCAs(t)
	servers := []struct {
		name  string
		stage func(s *scene, c climate)
		urls  []string
	}{
		{"vsftpd", func(s *scene, c climate) {
			lines := []string{"require_ssl_reuse=YES"}
			if c.ipv6 {
				lines = append(lines, "listen=NO", "listen_ipv6=YES")
			}
			s.openSSL(c.tls)
			s.vsftpd(21, lines...)
		}, []string{atFTP}},
		{"ProFTPD", func(s *scene, c climate) {
			var lines []string
			if c.ipv6 {
				lines = append(lines, "UseIPv6 on", "DefaultAddress "+serverAddress+" "+serverIPv6)
			}
			if c.tls != "" {
				lines = append(lines, "TLSProtocol TLSv"+c.tls)
			}
			s.proftpd(21, lines...)
		}, []string{atFTP}},
		{"Pure-FTPd", func(s *scene, c climate) {
			var args []string
			if c.ipv6 {
				args = append(args, "-S", "21")
			}
			s.openSSL(c.tls)
			s.pureftpd(21, args...)
		}, []string{atFTP}},
		{"OpenSSH", func(s *scene, _ climate) { s.sftpBeside() }, []string{atSFTP + "~/"}},
		{"dray", func(s *scene, c climate) {
			sections := ""
			if c.tls == "1.3" {
				sections = "[tls]\nmin-version = \"1.3\"\n"
			}
			s.dray("", sections)
			s.knows(22)
		}, []string{atFTP, atFTPS, atSFTP}},
	}
	places := make(chan struct{}, sideBySide)
	var wg sync.WaitGroup
	for _, h := range servers {
		for _, c := range climates {
			if h.name == "OpenSSH" && c.tls != "" {
				continue
			}
			places <- struct{}{}
			wg.Go(func() {
				defer func() { <-places }()
				t.Run(h.name+"/"+c.name, func(t *testing.T) {
					s := newScene(t, cas, c.how)
					const ca = "/etc/laboratory.pem"
					s.client.write(ca, string(cas.root.pem()))
					s.client.write("/etc/ssl/certs/ca-certificates.crt", "")
					if c.ipv6 {
						s.client.add("/etc/hosts", serverIPv6+" "+serverName+"\n")
					}
					h.stage(s, c)
					var asking sync.WaitGroup
					defer asking.Wait()
					for _, url := range h.urls {
						args := []string{url}
						if !strings.HasPrefix(url, "sftp") {
							args = append(args, "--ca", ca)
						}
						if h.name == "dray" && c.tls == "1.2" {
							args = append(args, "--tls-max", "1.2") // no setting has a server of ours do without 1.3
						}
						asking.Go(func() {
							s.well(c, args...)
							s.well(c, append(args, "--write")...)
						})
					}
				})
			})
		}
	}
	wg.Wait()
}

// well checks that the doctor finds nothing.
func (s *scene) well(c climate, args ...string) {
	s.t.Helper()
	d := s.doctor("", 30*time.Second, args...)
	write := slices.Contains(args, "--write")
	alarm := d.status != 0 || d.took > c.wellIn(write)
	for _, check := range d.Checks {
		wrong := check.Status == "fail" || check.Status == "warn"
		switch {
		case check.Check == "tls" && c.tls != "":
			wrong = wrong || !strings.Contains(check.Saw, "TLS "+c.tls)
		case check.Check == "families" && c.ipv6, check.Check == "upload" && write:
			wrong = wrong || check.Status != "ok"
		}
		alarm = alarm || wrong
	}
	if alarm {
		s.t.Errorf("dray doctor %s: a false alarm, or more than %v: %v", strings.Join(args, " "), c.wellIn(write), d)
	}
	s.t.Logf("dray doctor %s: first %q after %.1f s", strings.Join(args, " "), d.First, d.took.Seconds())
}

// openSSL lets servers with OpenSSL speak one version of TLS only; "": all of theirs.
func (s *scene) openSSL(version string) {
	s.t.Helper()
	if version == "" {
		return
	}
	s.server.write("/etc/ssl/openssl.cnf", fmt.Sprintf("openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\nMinProtocol = TLSv%[1]s\nMaxProtocol = TLSv%[1]s\n", version))
}
