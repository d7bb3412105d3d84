package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"dray/fault"
	"dray/sshclient"
)

// Options are how a server is reached; the zero value asks nobody, trusts what
// the system trusts, and reads no file of the user's.
type Options struct {
	Trust *Trust // nil: the authorities of the system

	// Passwords has the login, when one is needed; nil: the URL alone.
	Passwords *Passwords
	// Warn hears what somebody should know about a login; nil: nobody does.
	Warn func(text string)

	// Dial makes connections, through a proxy for example; nil: straight.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Proxied tells that connections may end at a proxy, so that their addresses are not
	// the server's.
	Proxied bool
	Network string        // "tcp", "tcp4" or "tcp6"; "": tcp
	Connect time.Duration // for each address; 0: 10 s
	Timeout time.Duration // how long an answer may take; 0: 60 s

	Parallel int // connections at most; 0: 16

	FTP FTPOptions
	SSH SSHOptions

	// Trace hears the dialogue, a line at a time, without secrets; nil: nobody does.
	Trace func(line string)
	// Debug adds what is said beside commands and replies.
	Debug bool
}

// FTPOptions are those of FTP alone.
type FTPOptions struct {
	TLS         TLSMode // TLSByScheme unless something else is asked for
	Plain       bool    // passwords may go in clear text
	Active      bool
	ActiveIP    string
	ActivePorts [2]int // 0, 0: any
	EPSV        EPSVMode
	Charset     string // of names; "": bytes as they come, UTF-8 where the server has it
	Account     string // ACCT
}

// A TLSMode says how TLS is used over FTP.
type TLSMode int

// The modes.
const (
	TLSByScheme TLSMode = iota
	TLSPrefer
	TLSRequire
	TLSImplicit
	TLSOff
)

// An EPSVMode says whether EPSV is used.
type EPSVMode int

// The modes. EPSVAuto falls back to PASV.
const (
	EPSVAuto EPSVMode = iota
	EPSVAlways
	EPSVNever
)

// SSHOptions are those of SFTP alone.
type SSHOptions struct {
	Identities []string
	Jump       string // "": as ssh_config says; "none"
	Config     string // "": ~/.ssh/config and that of the system
	NoConfig   bool
	KnownHosts []string // nil: as ssh_config says
	Pins       []string // fingerprints of host keys, in place of KnownHosts
	Insecure   bool     // any host key
	Ask        func(ctx context.Context, k sshclient.HostKey) (sshclient.Answer, error)
	Prompt     func(ctx context.Context, instruction string, prompts []sshclient.Prompt) ([]string, error)
	Home       string
	Getenv     func(string) string
}

// Open makes a tree of the account that u and o name. Nothing is connected to yet.
func Open(u URL, o Options) (Tree, error) {
	o.complete()
	if u.Scheme == SFTP {
		return &sftpTree{u: u, o: o}, nil
	}
	return openFTP(u, o)
}

// complete sets the defaults.
func (o *Options) complete() {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Connect == 0 {
		o.Connect = 10 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.Trust == nil {
		o.Trust = &Trust{}
	}
	if o.Passwords == nil {
		o.Passwords = &Passwords{}
	}
	if o.Dial == nil {
		o.Dial = (*Proxies)(nil).DialContext
	}
}

// trace tells a line of the dialogue.
func (o *Options) trace(format string, args ...any) {
	if o.Trace != nil {
		o.Trace(strings.TrimRight(fmt.Sprintf(format, args...), "\r\n"))
	}
}

// Login finds who logs in; the zero Login is nobody, which over FTP is anonymous.
func (o Options) Login(ctx context.Context, u URL) (Login, error) {
	o.complete()
	l, err := o.login(ctx, u)
	return l, ofOurs("what the login needs", err)
}

func (o *Options) login(ctx context.Context, u URL) (Login, error) {
	l, err := o.Passwords.Find(ctx, u)
	if o.Warn != nil {
		for _, w := range l.Warnings {
			o.Warn(w)
		}
	}
	return l, err
}

// ofOurs makes an error of our own files and programs one that nobody takes for the
// server's: a password file that is missing is no missing file of the server.
func ofOurs(what string, err error) error {
	if err == nil || errors.As(err, new(*fault.Error)) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.Because(err, fault.Syntax, fault.IDLocal, what, err.Error())
}
