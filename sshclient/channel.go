package sshclient

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"dray/fault"
)

// maxStderr is how much is kept of what a server prints beside a subsystem.
const maxStderr = 16 << 10

// statusWait is how long the status of a program may come after its last byte.
const statusWait = 250 * time.Millisecond

// A Channel is a subsystem. Its Read and Write end with the reason when the
// connection ends; io.EOF is the end that the server has made.
type Channel struct {
	ssh.Channel
	conn *Conn
	errs *tail
	once sync.Once
	err  error

	gone    chan struct{} // closed when the server has no more to say of the program
	mu      sync.Mutex
	status  string
	refused error // why there is no subsystem
}

// Subsystem opens a subsystem, "sftp" most of the time. The first of a connection is
// asked for without waiting for the answer.
// Where the server does not have it, Read and Write give a fault, no-sftp.
func (c *Conn) Subsystem(ctx context.Context, name string) (*Channel, error) {
	type result struct {
		ch  *Channel
		err error
	}
	done := make(chan result, 1)
	go func() {
		ch, err := c.subsystem(name)
		select {
		case <-ctx.Done():
			if ch != nil {
				ch.Close()
			}
		default:
		}
		done <- result{ch, err}
	}()
	select {
	case r := <-done:
		var known *fault.Error
		if r.err != nil && !errors.As(r.err, &known) { // package ssh says only that the channel is none
			if c.wire.failed() != nil {
				<-c.ended
			}
			r.err = fault.Because(r.err, fault.Unreachable, fault.IDLost, c.s.Name)
		}
		if r.err != nil && c.Err() != nil {
			return nil, c.Err()
		}
		return r.ch, r.err
	case <-ctx.Done():
		go func() { // whoever comes late is closed
			if r := <-done; r.ch != nil {
				r.ch.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func (c *Conn) subsystem(name string) (*Channel, error) {
	raw, reqs, err := c.client.OpenChannel("session", nil)
	if err != nil {
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) {
			return nil, fault.Because(&errTurned{clean(refused.Message, 200)}, fault.Busy, fault.IDServerSaysNo, "to open a session")
		}
		return nil, err
	}
	ch := &Channel{Channel: raw, conn: c, errs: &tail{max: maxStderr}, gone: make(chan struct{})}
	var both sync.WaitGroup
	both.Go(func() { ch.requests(reqs) })
	both.Go(func() { _, _ = io.Copy(ch.errs, raw.Stderr()) })
	go func() {
		both.Wait()
		close(ch.gone)
	}()
	// What the subsystem will read may be written before its answer is there, which saves
	// a round trip, and not before it was asked for: dropbear throws that away. As long
	// as there was no other channel, nothing else is written now.
	answered := make(chan struct{})
	var sent <-chan struct{}
	if !c.opened.Swap(true) {
		sent = c.wire.sends()
	}
	go func() {
		defer close(answered)
		ch.ask(name)
	}()
	select {
	case <-sent:
	case <-answered:
	}
	return ch, nil
}

// ask asks for a subsystem. A refusal ends the channel, and Read and Write tell it.
func (ch *Channel) ask(name string) {
	ok, err := ch.Channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{name}))
	if err == nil && !ok {
		err = errors.New("the server refused the subsystem " + name)
	}
	if err != nil {
		ch.mu.Lock()
		ch.refused = fault.Because(err, fault.Unsupported, fault.IDNoSFTP, ch.conn.s.Name)
		ch.mu.Unlock()
		ch.Channel.Close()
		return
	}
	ch.conn.o.trace("subsystem", name)
}

// requests takes what the server says of the end of the program (RFC 4254, 6.10).
func (ch *Channel) requests(reqs <-chan *ssh.Request) {
	for r := range reqs {
		var status struct{ N uint32 }
		var signal struct {
			Name string
			Core bool
			Text string
			Lang string
		}
		ch.mu.Lock()
		switch {
		case r.Type == "exit-status" && ssh.Unmarshal(r.Payload, &status) == nil:
			ch.status = strconv.Itoa(int(status.N))
		case r.Type == "exit-signal" && ssh.Unmarshal(r.Payload, &signal) == nil:
			ch.status = clean("signal "+signal.Name, 100)
		}
		ch.mu.Unlock()
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}

// Status is how the program at the server ended: a number, "signal NAME", or "" when
// it is not known. It is meant for the time after Read has ended, and waits a little.
func (ch *Channel) Status() string {
	ch.settle()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.status
}

// Printed is what the server has printed to the standard error of the subsystem, up
// to a limit, as one clean line. It waits a little, as Status does.
func (ch *Channel) Printed() string {
	ch.settle()
	return clean(ch.errs.String(), 1000)
}

// settle waits until the server has said all there is to say of the program.
func (ch *Channel) settle() {
	select {
	case <-ch.gone:
	case <-time.After(statusWait):
	}
}

func (ch *Channel) Read(p []byte) (int, error) {
	n, err := ch.Channel.Read(p)
	return n, ch.why(err)
}

func (ch *Channel) Write(p []byte) (int, error) {
	n, err := ch.Channel.Write(p)
	return n, ch.why(err)
}

// why is the end of the connection, if that is what ended the channel.
func (ch *Channel) why(err error) error {
	if err == nil {
		return nil
	}
	if cause := ch.conn.Err(); cause != nil {
		return cause
	}
	if ch.conn.wire.failed() != nil { // the end has come, and watch has not seen it yet
		<-ch.conn.ended
		return ch.conn.Err()
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.refused != nil {
		return ch.refused
	}
	return err
}

// Close ends the channel, and leaves the connection.
func (ch *Channel) Close() error {
	ch.once.Do(func() { ch.err = ch.Channel.Close() })
	return ch.err
}
