package serve

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/account"
	"dray/certs"
	"dray/config"
	"dray/gate"
	"dray/scpserver"
	"dray/sftpserver"
)

// ssh loads the host keys and the CAs of users, where somebody speaks SSH.
func (g *generation) ssh() (err error) {
	c := &g.c
	if !slices.ContainsFunc(c.Listeners, func(l config.Listener) bool { return l.Protocol == gate.ProtocolSFTP }) {
		return nil
	}
	if len(c.SSH.HostKeys) == 0 {
		if g.hostKeys, err = certs.HostKeys(c.State); err != nil {
			return err
		}
	}
	for _, file := range c.SSH.HostKeys {
		k, err := certs.LoadHostKey(file)
		if err != nil {
			return err
		}
		g.hostKeys = append(g.hostKeys, k)
	}
	if c.SSH.UserCA == "" {
		return nil
	}
	keys, err := account.ReadKeys(c.SSH.UserCA)
	for i := range keys {
		g.userCAs = append(g.userCAs, keys[i].Wire())
	}
	return err
}

// sftp are the rules of a listener for SFTP.
func (g *generation) sftp(l *config.Listener, verifier account.Verifier) *sftpserver.Rules {
	c := g.c
	rules := &sftpserver.Rules{
		Door: &gate.Door{
			Name: l.Name, Protocol: l.Protocol, Networks: l.Networks, Verifier: verifier, MaxSessions: c.Limits.SessionsPerAccount, UserCAs: g.userCAs,
		},
		HostKeys: g.hostKeys, Banner: l.Banner, LoginTime: c.Limits.LoginTime, Idle: c.SSH.Idle, Stall: c.Limits.Stall,
	}
	if c.SSH.SCP {
		rules.Exec = map[string]sftpserver.Command{"scp": scp}
	}
	rules = rules.Complete()
	var old []config.Exception
	for _, e := range c.Exceptions {
		if sshLegacy(e.Allow) != nil && (e.Listener == "" || e.Listener == l.Name) {
			old = append(old, e)
		}
	}
	if len(old) > 0 {
		plain := rules
		rules.For = func(peer netip.Addr) *sftpserver.Rules { return sshExcepted(plain, old, peer, time.Now()) }
	}
	return rules
}

func scp(ctx context.Context, s *gate.Session, command string, ch sftpserver.Stream) int {
	return scpserver.Run(ctx, s, command, ch)
}

// sshLegacy is what an exception lets in over SSH, nil for one that has nothing to
// do with it.
func sshLegacy(allow string) *sftpserver.Legacy {
	switch allow {
	case "ssh-old-kex":
		return &sftpserver.Legacy{KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1, ssh.InsecureKeyExchangeDHGEXSHA1, ssh.InsecureKeyExchangeDH1SHA1}}
	case "ssh-old-ciphers":
		return &sftpserver.Legacy{
			Ciphers: []string{ssh.InsecureCipherAES128CBC, ssh.InsecureCipherTripleDESCBC},
			MACs:    []string{ssh.HMACSHA256, ssh.HMACSHA512, ssh.HMACSHA1},
		}
	case "ssh-rsa":
		return &sftpserver.Legacy{RSASHA1: true}
	}
	return nil
}

// sshExcepted is rules for one peer, with the old ways that exceptions let in for
// it now.
func sshExcepted(rules *sftpserver.Rules, exceptions []config.Exception, peer netip.Addr, now time.Time) *sftpserver.Rules {
	var all sftpserver.Legacy
	some := false
	for _, e := range exceptions {
		if e.Network.IsValid() && !e.Network.Contains(peer.Unmap().WithZone("")) || !now.Before(e.Until.End()) {
			continue
		}
		l := sshLegacy(e.Allow)
		some = true
		all.KeyExchanges = append(all.KeyExchanges, l.KeyExchanges...)
		all.Ciphers = append(all.Ciphers, l.Ciphers...)
		all.MACs = append(all.MACs, l.MACs...)
		all.RSASHA1 = all.RSASHA1 || l.RSASHA1
	}
	if !some {
		return rules
	}
	return rules.With(all)
}

// A keyFile is a Directory whose one account has the keys of a file, as it is now: a
// key that is added or taken away counts from the next login on.
type keyFile struct {
	account.Directory
	file string
	log  *slog.Logger

	mu   sync.Mutex
	seen fs.FileInfo
	keys []account.Key
}

func (k *keyFile) Lookup(ctx context.Context, name string) (account.Account, error) {
	a, err := k.Directory.Lookup(ctx, name)
	if err == nil {
		a.Keys = k.read()
	}
	return a, err
}

// read is the keys, read again when the file has changed. With a mistake in it nobody
// logs in by key: half of a list may lack what was taken away on purpose.
func (k *keyFile) read() []account.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	fi, err := os.Stat(k.file)
	if err == nil && k.seen != nil && os.SameFile(fi, k.seen) && fi.ModTime().Equal(k.seen.ModTime()) && fi.Size() == k.seen.Size() {
		return k.keys
	}
	k.seen, k.keys = fi, nil
	if err == nil {
		k.keys, err = account.ReadKeys(k.file)
	}
	if err != nil {
		k.keys = nil
		k.log.Error("no key logs in: the file of keys can't be read", "file", k.file, "error", err)
		if errors.Is(err, fs.ErrNotExist) {
			k.seen = nil
		}
	}
	return k.keys
}
