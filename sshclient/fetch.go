package sshclient

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"

	"golang.org/x/crypto/ssh"

	"dray/fault"
)

// errSeen ends a connection whose host key is all that was wanted.
var errSeen = errors.New("the host key was seen")

// Fetch asks a server for its host keys without logging in, as ssh-keyscan does: one
// connection for each kind of key that is still missing. What a key is worth is for
// the caller to say: nobody has vouched for it. Jump hosts are logged in to.
func Fetch(ctx context.Context, o Options) ([]ssh.PublicKey, error) {
	o.tracing = new(sync.Mutex)
	s, err := Read(o)
	if err != nil {
		return nil, err
	}
	p := newPatience(s.Connect * 7 / 2)
	var below *Conn
	if hops := s.Hops; len(hops) > 0 && !hops[len(hops)-1].is(s) {
		if below, err = o.through(ctx, s, hops, p, 0); err != nil {
			return nil, err
		}
		defer below.Close()
	}
	var keys []ssh.PublicKey
	want := slices.Clone(s.algorithms.hostKeys)
	for len(want) > 0 {
		key, err := o.look(ctx, s, p, below, want)
		var none *ssh.AlgorithmNegotiationError
		if errors.As(err, &none) && len(keys) > 0 {
			break // it has no others
		}
		if err != nil && len(keys) > 0 && ctx.Err() == nil {
			o.trace("host key", "no more: "+err.Error())
			break
		}
		if err != nil {
			return nil, err
		}
		if c, ok := key.(*ssh.Certificate); ok {
			key = c.Key
		}
		keys = append(keys, key)
		want = slices.DeleteFunc(want, func(a string) bool {
			return a == key.Type() || key.Type() == ssh.KeyAlgoRSA && (a == ssh.KeyAlgoRSASHA256 || a == ssh.KeyAlgoRSASHA512)
		})
	}
	return keys, nil
}

// look makes one connection and sees the key.
func (o Options) look(ctx context.Context, s *Settings, p *patience, below *Conn, algos []string) (ssh.PublicKey, error) {
	raw, err := o.open(ctx, s, p, below)
	if err != nil {
		return nil, err
	}
	w := newWire(raw, func(string) { p.next("the key exchange", s.Connect) })
	defer w.Close()
	defer context.AfterFunc(ctx, func() { w.Close() })()
	p.enter("the version of the server", s.Connect, func() { w.Close() })
	defer p.hold()
	var seen ssh.PublicKey
	_, _, _, err = ssh.NewClientConn(w, s.address(), &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: s.algorithms.kex, Ciphers: s.algorithms.ciphers, MACs: s.algorithms.macs},
		User:              s.User,
		ClientVersion:     clientVersion,
		HostKeyAlgorithms: algos,
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			seen = key
			return errSeen
		},
	})
	if seen != nil {
		return seen, nil
	}
	if err == nil { // can't be: the callback refuses
		return nil, fault.New(fault.Unreachable, fault.IDSSHFailed, s.Name)
	}
	lg := &login{s: s, wire: w}
	return nil, o.explain(ctx, err, nil, s, p, lg, raw)
}
