// Package event is what happened, as typed values: logins, transfers, refusals
// and findings of the watchdog. Events are the record; logs are for reading.
// Secrets are never part of one.
package event

import (
	"context"
	"net/netip"
	"time"
)

// A Meta is what every event says: when, on which control connection, from whom.
type Meta struct {
	Time     time.Time
	Session  string // the id of the control connection, the same in every log line
	Protocol string // "ftp", "ftps", "sftp"; what comes over the last is encrypted by SSH, and never under TLS
	Remote   netip.AddrPort
	User     string // "" before a login

	Anonymous bool   // User is that of strangers
	Given     string // what a stranger gave as a password, by custom a mail address; 128 bytes at most
}

// A Login is one attempt to log in.
type Login struct {
	Meta
	OK     bool
	TLS    bool
	Reason string // the id of the refusal, "" when OK
}

// A Direction is which way a transfer went, as the client says it.
type Direction string

// The directions.
const (
	Download Direction = "download"
	Upload   Direction = "upload"
	Listing  Direction = "listing"
)

// A Transfer is one transfer that ended. Whole says that all of it arrived and,
// for an upload, that it is published.
type Transfer struct {
	Meta
	Direction Direction
	Path      string // as the client knows it
	Bytes     int64
	Took      time.Duration
	Road      string
	TLS       bool
	Resumed   bool
	Text      bool // TYPE A
	Whole     bool
	Reason    string // the id of what cut it, "" when whole
}

// A Refusal is a request that was answered with an error.
type Refusal struct {
	Meta
	Verb   string
	Path   string
	Reason string // the id
}

// A Change is a change of the tree that is no transfer: delete, rename, mkdir,
// rmdir, times, mode.
type Change struct {
	Meta
	Verb string
	Path string
	To   string // the new name of a rename
}

// A Sink takes events. It must not block for long: it is called on the way of
// the request.
type Sink interface {
	Event(ctx context.Context, e any)
}

// Discard is a Sink that drops everything.
var Discard Sink = discard{}

type discard struct{}

func (discard) Event(context.Context, any) {}
