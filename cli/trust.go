package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"dray/certs"
	"dray/fault"
	"dray/remote"
	"dray/screen"
	"dray/sshclient"
)

func trustCommand() *cobra.Command {
	c := &client{}
	var replace, remove, list bool
	cmd := &cobra.Command{
		Use:   "trust HOST [FINGERPRINT]",
		Short: "trust the host key or the certificate of a server",
		Long: `Store the SSH host key of a server in known_hosts, or its TLS certificate in the
trusted_certs of dray, so that later connections know it again. HOST is a name, a
name:port, [name]:port, or a URL; where it is no URL, what answers there decides.

With FINGERPRINT (SHA256:… as the other side shows it) the key is stored when it has
that one, and nothing is asked. Without, the key is shown and asked about. What is
stored already and differs is only replaced with --replace.`,
		Example: `  dray trust example.net SHA256:rFWnhfVzCjrBu3OlIWDHKqAHSTGcRkbIbXiCAWXfU1Q
  dray trust ftp.example.net:21
  dray trust --ls
  dray trust --rm example.net`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case list && len(args) <= 1:
			case list:
				return usagef("trust --ls takes one host, or none")
			case remove && len(args) != 1:
				return usagef("trust --rm takes a host\n      for example: dray trust --rm example.net")
			case remove && replace:
				return usagef("--rm and --replace do not go together")
			case len(args) == 0 || len(args) > 2:
				return usagef("trust takes a host, and a fingerprint if it is known\n      for example: dray trust ftp.example.net SHA256:rFWnhfVzCjrBu3OlIWDHKqAHSTGcRkbIbXiCAWXfU1Q")
			}
			return nil
		},
	}
	c.flags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVar(&replace, "replace", false, "replace what is stored for the host")
	f.BoolVar(&remove, "rm", false, "forget what is stored for the host")
	f.BoolVar(&list, "ls", false, "list what is stored")
	for _, hidden := range notTrust {
		_ = f.MarkHidden(hidden)
	}
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		if err := c.refuse("means nothing to trust, which logs in nowhere and takes what the server shows", notTrust...); err != nil {
			return err
		}
		if list || remove {
			if err := c.refuse("is for a connection, and what is stored needs none", "jump", "proxy", "ipv4", "ipv6"); err != nil {
				return err
			}
		}
		if list {
			if len(args) == 0 {
				if err := c.refuse("is for a host, which is not there", "port"); err != nil {
					return err
				}
			}
			return c.listTrust(args)
		}
		if err := c.refuse("is for trust --ls", "json", "jsonl"); err != nil {
			return err
		}
		places, err := c.places(args[0])
		if err != nil {
			return err
		}
		if remove {
			return c.forget(places, args[0])
		}
		if c.given("jump") { // nothing else than SSH goes through one
			if places = slices.DeleteFunc(places, func(u remote.URL) bool { return u.Scheme != remote.SFTP }); len(places) == 0 {
				return usagef("--jump is for SFTP, and %s is a place of FTP\n      leave it away; --proxy is for both", args[0])
			}
		}
		want := ""
		if len(args) == 2 {
			p, err := certs.ParseFingerprint(args[1])
			if err != nil {
				return usagef("%v", err)
			}
			want = p.String()
		}
		return c.trustOne(ctx, places, want, replace)
	})
	return cmd
}

// notTrust are common options that are about more than the first bytes of a connection.
var notTrust = []string{"user", "password-file", "password-cmd", "ask-password", "no-netrc", "tls", "tls-min", "tls-max", "ca", "client-cert", "client-key", "trust", "insecure", "ssl-reqd", "plain",
	"active", "passive", "epsv", "active-ports", "active-ip", "charset", "progress"}

// places are where the host of an argument may answer, the likeliest first.
func (c *client) places(arg string) ([]remote.URL, error) {
	if c.port < 0 || c.port > 65535 {
		return nil, usagef("--port: %d is no port; ports are 1 to 65535", c.port)
	}
	if strings.Contains(arg, "://") {
		u, err := c.parse(arg)
		if err != nil {
			return nil, err
		}
		return []remote.URL{u}, nil
	}
	if h, ok := c.hosts.Get(strings.TrimSuffix(arg, ":")); ok {
		u, err := h.Place()
		if err != nil {
			return nil, usagef("%v", err)
		}
		if c.port != 0 {
			u.Port = c.port
		}
		return []remote.URL{u}, nil
	}
	if strings.Contains(arg, "@") { // what stands before it may be a password
		return nil, usagef("a user has no part in a host key: write a name, a name:port or a URL")
	}
	host, port := strings.Trim(arg, "[]"), 0
	if h, p, err := net.SplitHostPort(arg); err == nil {
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n > 65535 {
			return nil, usagef("%q is no port; ports are 1 to 65535", p)
		}
		host, port = h, n
	}
	if host == "" || strings.ContainsAny(host, "/ ") {
		return nil, usagef("%q is no host; write a name, a name:port or a URL", arg)
	}
	if c.port != 0 {
		port = c.port
	}
	host = strings.ToLower(host)
	at := func(s remote.Scheme) remote.URL { return remote.URL{Scheme: s, Host: host, Port: port} }
	switch port {
	case 0, 22:
		return []remote.URL{at(remote.SFTP), at(remote.FTPTLS), at(remote.FTPS)}, nil
	case 990:
		return []remote.URL{at(remote.FTPS), at(remote.FTPTLS), at(remote.SFTP)}, nil
	case 21:
		return []remote.URL{at(remote.FTPTLS), at(remote.FTPS), at(remote.SFTP)}, nil
	}
	return []remote.URL{at(remote.SFTP), at(remote.FTPTLS), at(remote.FTPS)}, nil
}

func (c *client) sshOptions(u remote.URL) (sshclient.Options, error) {
	o, err := c.options(u)
	if err != nil {
		return sshclient.Options{}, err
	}
	so := sshclient.Options{Host: u.Host, Port: u.Port, Jump: o.SSH.Jump, Config: c.sshConfig, NoConfig: c.noSSH, Identities: o.SSH.Identities,
		Dial: o.Dial, Connect: c.connect, Home: c.dirs.Home, Ask: o.SSH.Ask, Prompt: o.SSH.Prompt}
	if o.Network != "tcp" {
		so.Family = o.Network
	}
	if s, err := sshclient.Read(so); err == nil && s.Command != "" && !o.Proxied { // only a proxy is used in its place
		so.Dial = nil
	}
	return so, nil
}

// An offered key is what a server shows of itself.
type offered struct {
	u     remote.URL
	print string // SHA256:…
	also  string // another form of the fingerprint, that of the whole certificate
	text  string // for people
	key   ssh.PublicKey
	chain []*x509.Certificate
}

// offers asks a server for what it shows of itself.
func (c *client) offers(ctx context.Context, u remote.URL) ([]offered, error) {
	if u.Scheme == remote.SFTP {
		so, err := c.sshOptions(u)
		if err != nil {
			return nil, err
		}
		keys, err := sshclient.Fetch(ctx, so)
		if err != nil {
			return nil, err
		}
		var out []offered
		for _, k := range keys {
			out = append(out, offered{u: u, print: ssh.FingerprintSHA256(k), text: k.Type() + " " + ssh.FingerprintSHA256(k), key: k})
		}
		return out, nil
	}
	o, err := c.options(u)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*c.connect)
	defer cancel()
	chain, err := remote.Fetch(ctx, u, func(ctx context.Context, _, addr string) (net.Conn, error) { return o.Dial(ctx, o.Network, addr) })
	if err != nil {
		return nil, err
	}
	leaf := chain[0]
	return []offered{{u: u, print: certs.KeyPrint(leaf).String(), also: certs.CertPrint(leaf).String(), chain: chain,
		text: fmt.Sprintf("certificate for %s, valid %s to %s, %s", screen.Line(strings.Join(append(leaf.DNSNames, leaf.Subject.CommonName), " ")),
			leaf.NotBefore.Format("2 Jan 2006"), leaf.NotAfter.Format("2 Jan 2006"), certs.KeyPrint(leaf))}}, nil
}

func (c *client) trustOne(ctx context.Context, places []remote.URL, want string, replace bool) error {
	var first error
	var shown []string
	for _, u := range places {
		found, err := c.offers(ctx, u)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if first == nil {
				first = err
			}
			continue
		}
		for _, o := range found {
			if want != "" && want != o.print && want != o.also {
				shown = append(shown, o.text)
				continue
			}
			if want == "" {
				if c.tty == nil {
					fmt.Fprintf(c.stdout, "%s  %s\n", u.Address(), o.text)
					shown = append(shown, o.text)
					continue
				}
				ok, err := c.tty.confirm(ctx, fmt.Sprintf("%s shows\n  %s\nTrust it?", screen.Line(u.Address()), o.text))
				if err != nil {
					return err
				}
				if !ok {
					return &exitError{exitTrust, "nothing was stored"}
				}
			}
			return c.remember(o, replace)
		}
		if len(found) > 0 && want == "" {
			break // one protocol is enough to be shown
		}
	}
	switch {
	case want == "" && len(shown) > 0:
		return &exitError{exitTrust, "nothing was stored: nobody can be asked\n      compare the fingerprint, then add it to the command"}
	case len(shown) > 0:
		return &exitError{exitTrust, fmt.Sprintf("%s has not the fingerprint %s, but\n      %s\n      nothing was stored; ask the administrator which one is right", places[0].Host, want, strings.Join(shown, "\n      "))}
	}
	return first
}

// remember stores what a server shows.
func (c *client) remember(o offered, replace bool) error {
	port := o.u.PortNumber()
	if o.chain != nil {
		store := remote.NewCertStore(c.dirs.CertsFile())
		key := certs.KeyPrint(o.chain[0])
		if old, ok := store.Find(o.u.Host, port); ok && old.Key != key && !replace {
			return &exitError{exitTrust, fmt.Sprintf("another certificate is stored for %s since %s: %s\n      ask the administrator whether it was replaced; then add --replace", o.u.Address(), old.Day(), old.Key)}
		}
		if err := store.Remember(o.u.Host, port, key); err != nil {
			return fmt.Errorf("%s: %w", c.dirs.CertsFile(), err)
		}
		c.say("%s: stored in %s: %s", o.u.Address(), c.dirs.CertsFile(), key)
		return nil
	}
	so, err := c.sshOptions(o.u)
	if err != nil {
		return err
	}
	s, err := sshclient.Read(so)
	if err != nil {
		return err
	}
	name, port := s.Name, s.Port
	if s.KeyAlias != "" {
		name = s.KeyAlias
	}
	if len(s.KnownHosts) == 0 {
		return usagef("ssh_config names no known_hosts file for %s", o.u.Host)
	}
	known, err := sshclient.Known(s.KnownHosts, name, port)
	if err != nil {
		return err
	}
	for _, k := range known {
		if k.Marker == "" && k.Key.Type() == o.key.Type() && string(k.Key.Marshal()) != string(o.key.Marshal()) {
			if !replace {
				return &exitError{exitTrust, fmt.Sprintf("another key is stored for %s in %s: %s\n      ask the administrator whether it was replaced; then add --replace", sshclient.HostName(name, port), k.Where(), k.Fingerprint())}
			}
			if _, err := sshclient.Forget(k.File, name, port); err != nil {
				return err
			}
		}
	}
	if err := sshclient.Remember(s.KnownHosts[0], name, port, o.key, sshclient.Remembering{Hash: s.HashNames}); err != nil {
		return err
	}
	c.say("%s: stored in %s: %s", sshclient.HostName(name, port), s.KnownHosts[0], o.text)
	return nil
}

func (c *client) say(format string, args ...any) {
	if !c.quiet {
		fmt.Fprintf(c.stdout, format+"\n", args...)
	}
}

func (c *client) forget(places []remote.URL, arg string) error {
	gone := 0
	store := remote.NewCertStore(c.dirs.CertsFile())
	for _, u := range places {
		if u.Scheme != remote.SFTP {
			found, err := store.Forget(u.Host, u.PortNumber())
			if err != nil {
				return err
			}
			if found {
				gone++
				c.say("forgotten: the certificate of %s", u.Address())
			}
			continue
		}
		so, err := c.sshOptions(u)
		if err != nil {
			return err
		}
		s, err := sshclient.Read(so)
		if err != nil {
			return err
		}
		for _, file := range s.KnownHosts {
			keys, err := sshclient.Forget(file, s.Name, s.Port)
			if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
				return err
			}
			for _, k := range keys {
				gone++
				c.say("forgotten: %s in %s", k.Fingerprint(), k.File)
			}
		}
	}
	if gone == 0 {
		return fault.New(fault.NotFound, fault.IDNotFound, "what is stored for "+arg)
	}
	return nil
}

// listTrust lists certificates, and host keys of one host.
func (c *client) listTrust(args []string) error {
	store := remote.NewCertStore(c.dirs.CertsFile())
	certs, damaged, err := store.List()
	if err != nil {
		return err
	}
	for _, d := range damaged {
		c.warn("%s", screen.Line(d))
	}
	type row struct {
		Kind  string `json:"kind"`
		Host  string `json:"host"`
		Key   string `json:"key"`
		Since string `json:"since,omitempty"`
		Where string `json:"where"`
	}
	rows := []row{}
	var wanted []remote.URL
	if len(args) == 1 {
		if wanted, err = c.places(args[0]); err != nil {
			return err
		}
	}
	for _, cert := range certs {
		match := wanted == nil
		for _, u := range wanted {
			match = match || u.Scheme != remote.SFTP && cert.Address == u.Address()
		}
		if match {
			rows = append(rows, row{"certificate", cert.Address, cert.Key.String(), cert.Since.Format(time.DateOnly), c.dirs.CertsFile()})
		}
	}
	for _, u := range wanted {
		if u.Scheme != remote.SFTP {
			continue
		}
		so, err := c.sshOptions(u)
		if err != nil {
			return err
		}
		s, err := sshclient.Read(so)
		if err != nil {
			return err
		}
		keys, err := sshclient.Known(s.KnownHosts, s.Name, s.Port)
		if err != nil {
			return err
		}
		for _, k := range keys {
			rows = append(rows, row{"host key", sshclient.HostName(s.Name, s.Port), k.Fingerprint(), "", k.Where()})
		}
	}
	if c.asJSON {
		c.jsonLine(rows)
		return nil
	}
	for _, r := range rows {
		if c.asJSONL {
			c.jsonLine(r)
			continue
		}
		fmt.Fprintf(c.stdout, "%-12s %s  %s  %s  %s\n", r.Kind, screen.Line(r.Host), screen.Line(r.Key), r.Since, screen.Line(r.Where))
	}
	return nil
}
