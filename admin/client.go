package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// A Client asks a running server. It is for one goroutine at a time.
type Client struct {
	nc net.Conn
	r  *bufio.Reader
}

// Dial connects to the socket at path. fs.ErrNotExist where there is none,
// fs.ErrPermission where this user may not, ErrSilent where nobody answers.
func Dial(path string) (*Client, error) {
	nc, err := net.DialTimeout("unix", path, patience)
	if gone(err) {
		return nil, fmt.Errorf("%s: %w", path, ErrSilent)
	}
	if err != nil {
		return nil, err
	}
	return &Client{nc: nc, r: bufio.NewReaderSize(nc, 64<<10)}, nil
}

// ErrSilent is the error of a socket that a dead server has left.
var ErrSilent = errors.New("nobody answers there")

// Close ends the connection.
func (c *Client) Close() error { return c.nc.Close() }

// Info asks what server runs.
func (c *Client) Info() (Info, error) {
	a, err := c.ask("info")
	if err == nil && a.Info == nil {
		err = errEmpty
	}
	if err != nil {
		return Info{}, err
	}
	return *a.Info, nil
}

// Sessions asks who is logged in. more is how many sessions are left out.
func (c *Client) Sessions() (all []Session, more int, err error) {
	a, err := c.ask("sessions")
	return a.Sessions, a.More, err
}

// Watchdog asks what was seen of data connections.
func (c *Client) Watchdog() (Watchdog, error) {
	a, err := c.ask("watchdog")
	if err == nil && a.Watchdog == nil {
		err = errEmpty
	}
	if err != nil {
		return Watchdog{}, err
	}
	return *a.Watchdog, nil
}

var errEmpty = errors.New("the answer has not what was asked for")

// A RefusedError is what the server says that it does not answer.
type RefusedError struct{ Text string }

func (e *RefusedError) Error() string { return e.Text }

func (c *Client) ask(what string) (answer, error) {
	line, err := json.Marshal(request{V: Version, Do: what})
	if err != nil {
		return answer{}, err
	}
	_ = c.nc.SetDeadline(time.Now().Add(patience))
	if _, err := c.nc.Write(append(line, '\n')); err != nil {
		return answer{}, fmt.Errorf("ask the server for %s: %w", what, err)
	}
	got, err := readLine(c.r, maxAnswer)
	if err != nil {
		return answer{}, fmt.Errorf("read the server's answer about %s: %w", what, err)
	}
	var a answer
	switch err := json.Unmarshal(got, &a); {
	case err != nil:
		return answer{}, fmt.Errorf("the server's answer about %s is no JSON: %w", what, err)
	case !a.OK:
		return answer{}, &RefusedError{a.Error}
	case a.V != Version:
		return answer{}, fmt.Errorf("the server answers in version %d, and this program speaks %d", a.V, Version)
	}
	return a, nil
}
