package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"dray/fault"
)

// headStart is how long an address has before the next is tried too (RFC 8305, 5).
const headStart = 300 * time.Millisecond

// maxAddresses are tried of a name.
const maxAddresses = 16

// connect makes the connection under SSH, directly or through a proxy of the caller.
func (o Options) connect(ctx context.Context, s *Settings) (net.Conn, error) {
	began := time.Now()
	if o.Dial != nil {
		ctx, cancel := context.WithTimeout(ctx, s.Connect)
		defer cancel()
		c, err := o.Dial(ctx, s.Family, s.address())
		if err != nil {
			return nil, unreachable(err, s, time.Since(began))
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
		}
		return c, nil
	}
	addrs, err := resolve(ctx, s)
	if err != nil {
		return nil, err
	}
	d := &net.Dialer{Timeout: s.Connect}
	if s.Bind != "" {
		ip := net.ParseIP(s.Bind)
		if ip == nil {
			return nil, fault.Because(fmt.Errorf("BindAddress %q is no address", s.Bind), fault.Syntax, fault.IDLocal, s.Bind, "no address to bind to")
		}
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	c, err := race(ctx, addrs, func(ctx context.Context, addr string) (net.Conn, error) {
		return d.DialContext(ctx, s.Family, addr)
	})
	if err != nil {
		return nil, unreachable(err, s, time.Since(began))
	}
	return c, nil
}

// resolve are the addresses of the host, the families taking turns.
func resolve(ctx context.Context, s *Settings) ([]string, error) {
	network := "ip" + strings.TrimPrefix(s.Family, "tcp")
	ctx, cancel := context.WithTimeout(ctx, s.Connect)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, s.Name)
	if err == nil && len(found) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return nil, context.Cause(ctx)
		}
		return nil, fault.Because(err, fault.Unreachable, fault.IDDNS, s.Name)
	}
	var six, four, all []string
	for _, ip := range found {
		addr := net.JoinHostPort(ip.Unmap().WithZone(ip.Zone()).String(), fmt.Sprint(s.Port))
		if ip.Unmap().Is4() {
			four = append(four, net.JoinHostPort(ip.Unmap().String(), fmt.Sprint(s.Port)))
		} else {
			six = append(six, addr)
		}
	}
	if len(found) > 0 && found[0].Unmap().Is4() { // the order of RFC 6724
		six, four = four, six
	}
	for len(six)+len(four) > 0 && len(all) < maxAddresses {
		if len(six) > 0 {
			all, six = append(all, six[0]), six[1:]
		}
		if len(four) > 0 {
			all, four = append(all, four[0]), four[1:]
		}
	}
	return all, nil
}

// race dials one address after the other with a head start, and takes the first
// that answers (RFC 8305). The error is that of the address that says most.
func race(ctx context.Context, addrs []string, dial func(context.Context, string) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		c   net.Conn
		err error
	}
	results := make(chan result)
	started, running := 0, 0
	start := func() {
		addr := addrs[started]
		started++
		running++
		go func() {
			c, err := dial(ctx, addr)
			select {
			case results <- result{c, err}:
			case <-ctx.Done():
				if c != nil {
					c.Close()
				}
			}
		}()
	}
	var errs []error
	start()
	next := time.NewTimer(headStart)
	defer next.Stop()
	for running > 0 {
		var more <-chan time.Time
		if started < len(addrs) {
			more = next.C
		}
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.c, nil
			}
			errs = append(errs, r.err)
			if started < len(addrs) {
				start()
				next.Reset(headStart)
			}
		case <-more:
			start()
			next.Reset(headStart)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return nil, telling(errs)
}

// telling is the error that says most: that a host answered, before silence.
func telling(errs []error) error {
	best, rank := errs[0], 0
	for _, err := range errs {
		r := 1
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			r = 4
		case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
			r = 2
		case timeout(err):
			r = 3
		}
		if r > rank {
			best, rank = err, r
		}
	}
	return best
}

func timeout(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// unreachable names what kept a connection from being made.
func unreachable(err error, s *Settings, took time.Duration) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if e := fault.Unreached(err, s.Name, s.Port, took); e != nil {
		return e
	}
	return fault.Because(err, fault.Unreachable, fault.IDSSHFailed, s.Name)
}

// seconds are whole, and at least one.
func seconds(d time.Duration) int { return max(1, int(math.Round(d.Seconds()))) }

// lastWords is how long a ProxyCommand may run on when its input has ended.
const lastWords = 200 * time.Millisecond

// A pipe is a connection through a ProxyCommand.
type pipe struct {
	in     io.WriteCloser
	out    io.ReadCloser
	cmd    *exec.Cmd
	errs   *tail
	once   sync.Once
	waited chan struct{}
}

// command starts a ProxyCommand in the user's shell, as OpenSSH does.
func (o Options) command(s *Settings) (net.Conn, error) {
	shell := o.env("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	cmd := exec.Command(shell, "-c", "exec "+s.Command)
	p := &pipe{cmd: cmd, errs: &tail{max: 4 << 10}, waited: make(chan struct{})}
	cmd.Stderr = p.errs
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	// A pipe of our own: Wait would close that of StdoutPipe while it is read.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = w
	own(cmd)
	if err := cmd.Start(); err != nil {
		r.Close()
		w.Close()
		return nil, fault.Because(err, fault.Unreachable, fault.IDProxy, "command", reason(err))
	}
	w.Close()
	p.in, p.out = in, r
	go func() {
		_ = cmd.Wait()
		close(p.waited)
	}()
	return p, nil
}

func (p *pipe) Read(b []byte) (int, error)  { return p.out.Read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.in.Write(b) }

// Close ends the command: one that does not end by itself when its input ends has a
// moment to say why it ended.
func (p *pipe) Close() error {
	p.once.Do(func() {
		p.in.Close()
		p.out.Close()
		go func() {
			select {
			case <-p.waited:
			case <-time.After(lastWords):
				kill(p.cmd)
			}
		}()
	})
	return nil
}

func (p *pipe) LocalAddr() net.Addr  { return pipeAddr{} }
func (p *pipe) RemoteAddr() net.Addr { return pipeAddr{} }

// Deadlines are not needed: whoever waits too long closes.
func (p *pipe) SetDeadline(time.Time) error      { return nil }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// said is what the command has printed to its standard error.
func (p *pipe) said() string {
	select {
	case <-p.waited:
	case <-time.After(2 * lastWords):
	}
	return clean(p.errs.String(), 500)
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// A tail keeps the beginning of what is written to it, and drops the rest.
type tail struct {
	mu  sync.Mutex
	max int
	b   []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b[:min(len(b), t.max-len(t.b))]...)
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
