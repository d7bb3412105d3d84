package sftpserver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/explain"
	"dray/fault"
)

// channel takes or refuses a channel that the client opens. Nothing but sessions
// is offered: no forwarding in either direction, no agent.
func (c *conn) channel(nc ssh.NewChannel) {
	switch {
	case nc.ChannelType() != "session":
		c.log.Info("channel refused", "type", clean(nc.ChannelType()))
		_ = nc.Reject(ssh.Prohibited, "only sftp and scp are offered here")
		return
	case c.channels.Add(1) > maxChannels:
		c.channels.Add(-1)
		_ = nc.Reject(ssh.ResourceShortage, fmt.Sprintf("at most %d channels at once", maxChannels))
		return
	}
	accepted, requests, err := nc.Accept()
	if err != nil {
		c.channels.Add(-1)
		return
	}
	c.wire.programs.Add(1)
	c.wire.look()
	ch := &paced{Channel: accepted, conn: c}
	c.wg.Go(func() {
		defer c.channels.Add(-1)
		defer c.wire.look()
		defer c.wire.programs.Add(-1)
		defer c.server.loop.Caught("channel", c.visit.Peer().Remote)
		defer ch.Close()
		c.mu.Lock()
		c.open[ch] = struct{}{}
		c.mu.Unlock()
		defer func() {
			c.mu.Lock()
			delete(c.open, ch)
			c.mu.Unlock()
		}()
		c.sessionChannel(ch, requests)
	})
}

// sessionChannel serves the requests of a channel, one of which may begin a
// program (RFC 4254, 6.5). Those that come while it runs are refused.
func (c *conn) sessionChannel(ch *paced, requests <-chan *ssh.Request) {
	deaf := false // what was told was not taken
	for req := range requests {
		run, held, why := c.program(ch, req)
		if run == nil {
			if why != "" && !deaf {
				deaf = !c.tell(ch, why)
				c.pause(readTime)
			}
			_ = req.Reply(false, nil)
			continue
		}
		_ = req.Reply(true, nil)
		done := make(chan struct{})
		go c.beside("requests of a channel", func() {
			defer close(done)
			for req := range requests { // they must be taken, or the whole connection waits
				_ = req.Reply(false, nil)
			}
		})
		if held {
			c.opened()
			defer c.closed() // its status has arrived then: it may be all that a stop waits for
		}
		status := c.answered(run)
		_, _ = ch.SendRequest("exit-status", false, binary.BigEndian.AppendUint32(nil, uint32(status)))
		_ = ch.Close()
		<-done
		return
	}
}

// answered is the status of a program that was run.
func (c *conn) answered(run func() int) int {
	c.silence.running.Add(1)
	defer c.silence.spoke()
	defer c.silence.running.Add(-1)
	return run()
}

// readTime is how long a refusal comes behind its sentence. OpenSSH's ssh ends at once
// when it hears of the refusal, and does not print what it has not printed by then.
const readTime = 30 * time.Millisecond

// pause waits, unless the connection ends.
func (c *conn) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.visit.Context().Done():
	}
}

// program is what a request begins, nil when it is refused; held says that a stop waits
// for its end, why is for the client, where there is more to say.
func (c *conn) program(ch *paced, req *ssh.Request) (run func() int, held bool, why string) {
	ctx := c.session.Context()
	switch req.Type {
	case "subsystem":
		if name, ok := text(req.Payload); ok && name == "sftp" {
			return func() int { return c.sftp(ctx, ch) }, false, ""
		}
		return nil, false, "this subsystem is not offered; sftp is"
	case "exec":
		line, ok := text(req.Payload)
		word, _, _ := strings.Cut(strings.TrimLeft(line, " "), " ")
		if run := c.rules.Exec[word]; ok && run != nil {
			return func() int { return run(ctx, c.session, line, ch) }, true, ""
		}
		c.log.Info("command refused", "command", clean(word))
		return nil, false, "commands are not run here; sftp and scp are offered"
	case "shell":
		return nil, false, "there is no shell here; use sftp"
	case "env", "pty-req", "window-change", "signal", "eow@openssh.com":
	default:
		c.log.Debug("request refused", "type", clean(req.Type))
	}
	return nil, false, ""
}

// text is the only string of a payload.
func text(payload []byte) (string, bool) {
	var p struct{ S string }
	if ssh.Unmarshal(payload, &p) != nil {
		return "", false
	}
	return p.S, true
}

// clean is what a peer has called something, for the log.
func clean(s string) string { return fmt.Sprintf("%.64q", s) }

// tell writes a line to the standard error of the client's program, and says whether it
// was taken soon. Package ssh waits for room in the window, which a client may never
// give; who takes the requests of a channel must not wait with it, or nobody reads the
// connection any more, and its end is not seen.
func (c *conn) tell(ch *paced, text string) bool {
	said := make(chan struct{})
	go c.beside("words", func() {
		defer close(said)
		_, _ = io.WriteString(ch.Channel.Stderr(), "dray: "+text+"\r\n")
	})
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case <-said:
		return true
	case <-t.C:
		return false
	}
}

// farewell tells the client why its session ends, where it was ended here.
func (c *conn) farewell(ch *paced) {
	if cause := fault.Of(context.Cause(c.session.Context())); cause.Kind == fault.Closing {
		c.tell(ch, explain.Sentence(cause))
	}
}

// asked answers what is asked of the connection, until it ends: channels are opened,
// host keys are proved, all else is refused, which is an answer to
// keepalive@openssh.com too.
func (c *conn) asked(channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	var proved map[string]bool
	for channels != nil || requests != nil {
		select {
		case nc, ok := <-channels:
			if !ok {
				channels = nil
				continue
			}
			c.channel(nc)
		case req, ok := <-requests:
			switch {
			case !ok:
				requests = nil
			case req.Type == proveHostKeys:
				if proved == nil {
					proved = map[string]bool{}
				}
				proof, ok := c.prove(req.Payload, proved)
				_ = req.Reply(ok, proof)
			default:
				_ = req.Reply(false, nil)
			}
		}
	}
}

// Host key rotation (OpenSSH, PROTOCOL, 2.5).
const (
	hostKeys      = "hostkeys-00@openssh.com"
	proveHostKeys = "hostkeys-prove-00@openssh.com"
)

// announceHostKeys tells the client all host keys, so that it learns new ones while
// it still trusts an old one.
func (c *conn) announceHostKeys() {
	var all []byte
	for _, k := range c.rules.HostKeys {
		all = append(all, ssh.Marshal(struct{ Key []byte }{k.PublicKey().Marshal()})...)
	}
	_, _, _ = c.ssh.SendRequest(hostKeys, false, all)
}

// prove signs for each key that is asked for, once for each on a connection: a
// signature costs more than its question. A repetition ends it.
func (c *conn) prove(payload []byte, proved map[string]bool) (proof []byte, ok bool) {
	for len(payload) > 0 {
		var p struct {
			Key  []byte
			Rest []byte `ssh:"rest"`
		}
		if ssh.Unmarshal(payload, &p) != nil {
			return nil, false
		}
		payload = p.Rest
		if proved[string(p.Key)] {
			return nil, false
		}
		sig := c.sign(p.Key)
		if sig == nil {
			return nil, false
		}
		proved[string(p.Key)] = true
		proof = append(proof, ssh.Marshal(struct{ Sig []byte }{sig})...)
	}
	return proof, len(proof) > 0
}

func (c *conn) sign(key []byte) []byte {
	for _, k := range c.rules.HostKeys {
		if string(k.PublicKey().Marshal()) != string(key) {
			continue
		}
		data := ssh.Marshal(struct {
			What         string
			Session, Key []byte
		}{proveHostKeys, c.ssh.SessionID(), key})
		sig, err := c.signed(k, data)
		if err != nil {
			c.log.Error("a host key can't sign", "error", err)
			return nil
		}
		return ssh.Marshal(sig)
	}
	return nil
}

// signed is a signature as the key exchange of this connection had it, which is
// what OpenSSH wants of RSA keys.
func (c *conn) signed(k ssh.Signer, data []byte) (*ssh.Signature, error) {
	if s, ok := k.(ssh.AlgorithmSigner); ok && k.PublicKey().Type() == ssh.KeyAlgoRSA {
		algorithm := ssh.KeyAlgoRSASHA512
		if m, ok := c.ssh.Conn.(ssh.AlgorithmsConnMetadata); ok && m.Algorithms().HostKey == ssh.KeyAlgoRSASHA256 {
			algorithm = ssh.KeyAlgoRSASHA256
		}
		return s.SignWithAlgorithm(rand.Reader, data, algorithm)
	}
	return k.Sign(rand.Reader, data)
}
