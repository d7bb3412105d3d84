package ftpclient

import (
	"crypto/tls"

	"dray/ftp"
	"dray/transfer"
)

// A Trace is told what happens on a connection, as httptrace is. Any function may
// be nil. They are called one after another, may be called from a goroutine of
// the connection, and must not call its methods. The arguments of PASS and ACCT
// are "***".
type Trace struct {
	Connected func(addr string)                    // the control connection is there
	Command   func(line string)                    // before it is written
	Reply     func(r ftp.Reply)                    // as it came
	TLS       func(s Step, cs tls.ConnectionState) // a handshake is done
	Data      func(addr string)                    // a data connection is there, this is its other end
	Road      func(verb string, r transfer.Report) // a transfer ended, whole or not
	Note      func(text string)                    // a decision: what is tried next, and why
}

// A Step says which connection a handshake was on.
type Step string

// The connections.
const (
	StepControl Step = "control"
	StepData    Step = "data"
)

func (t *Trace) connected(addr string) {
	if t != nil && t.Connected != nil {
		t.Connected(addr)
	}
}

func (t *Trace) command(c ftp.Command) {
	if t != nil && t.Command != nil {
		t.Command(c.String())
	}
}

func (t *Trace) reply(r ftp.Reply) {
	if t != nil && t.Reply != nil {
		t.Reply(r)
	}
}

func (t *Trace) tls(s Step, cs tls.ConnectionState) {
	if t != nil && t.TLS != nil {
		t.TLS(s, cs)
	}
}

func (t *Trace) data(addr string) {
	if t != nil && t.Data != nil {
		t.Data(addr)
	}
}

func (t *Trace) road(verb string, r transfer.Report) {
	if t != nil && t.Road != nil {
		t.Road(verb, r)
	}
}

func (t *Trace) note(text string) {
	if t != nil && t.Note != nil {
		t.Note(text)
	}
}
