// Package admin is the local socket of a running server, both ends: what its
// administrator may ask, and the answers. It is spoken on one machine, by root and
// by the user that the server runs as, and by nobody else.
//
// A request is one line of JSON, and so is its answer:
//
//	{"v":1,"do":"sessions"}
//	{"v":1,"ok":true,"sessions":[…]}
//
// A client may ask several, one behind the other. It knows no protocol of file
// transfer and keeps no state; what it tells comes from a Source.
package admin

import (
	"time"
)

// Version is that of requests and answers.
const Version = 1

// Limits of both ends.
const (
	maxRequest = 64 << 10
	maxAnswer  = 16 << 20
	maxConns   = 16
	// patience is how long a line may take on its way, and how long the server
	// waits for the next request.
	patience = 10 * time.Second
	// MaxSessions is how many sessions an answer has.
	MaxSessions = 10_000
)

// A Source is what a server tells of itself. It is safe for concurrent use.
type Source interface {
	Info() Info
	Sessions() []Session
	Watchdog() Watchdog
}

// An Info is what a server runs.
type Info struct {
	Version      string        `json:"version"`
	PID          int           `json:"pid"`
	Started      time.Time     `json:"started"`
	Config       string        `json:"config,omitempty"` // file; "": dray serve DIR
	Directory    string        `json:"directory,omitempty"`
	Sessions     int           `json:"sessions"`
	Listeners    []Listener    `json:"listeners"`
	Public       string        `json:"public,omitempty"` // as the configuration has it
	Told         string        `json:"told,omitempty"`   // what PASV tells clients elsewhere; "": the address that they have reached
	Certificates []Certificate `json:"certificates"`
}

// A Listener is an address at which the server answers.
type Listener struct {
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Address  string `json:"address"`
	Passive  string `json:"passive,omitempty"` // range
	Plain    bool   `json:"plain"`             // passwords may come in clear text
}

// A Certificate is one that clients are shown.
type Certificate struct {
	Names      []string  `json:"names"`
	Until      time.Time `json:"until"`
	SHA256     string    `json:"sha256"`
	SelfSigned bool      `json:"self_signed"`
}

// A Session is one login.
type Session struct {
	ID       string    `json:"id"`
	Protocol string    `json:"protocol"`
	Listener string    `json:"listener"`
	User     string    `json:"user"`
	Peer     string    `json:"peer"`
	Local    string    `json:"local"`
	Since    time.Time `json:"since"`
	Secure   string    `json:"secure,omitempty"` // "TLS 1.3", "SSH"; "" in clear text
	Tasks    []Task    `json:"tasks,omitempty"`  // what it does right now; none: it rests
}

// A Task is a transfer, or a listing.
type Task struct {
	What  string    `json:"what"` // download, upload, listing
	Path  string    `json:"path"`
	Bytes int64     `json:"bytes"`
	Size  int64     `json:"size"` // -1: nobody knows
	Since time.Time `json:"since"`
	Rate  int64     `json:"rate"` // bytes a second, since it began
}

// A Watchdog is what the server has seen of data connections since it started.
type Watchdog struct {
	Findings []Finding `json:"findings"`
	Networks []Network `json:"networks"`
	Pools    []Pool    `json:"pools"`
	// HighPort counts active connections that did not come from the port that
	// firewalls expect.
	HighPort int `json:"high_port"`
}

// A Finding is something that keeps clients from transferring. The log has it under
// the same id, and "dray explain ID" says more.
type Finding struct {
	ID      string    `json:"id"`
	Network string    `json:"network,omitempty"`
	Text    string    `json:"text"`
	Times   int       `json:"times"`
	Last    time.Time `json:"last"`
}

// A Network is one of clients, and its data connections.
type Network struct {
	Network  string     `json:"network"`
	Offered  int        `json:"offered"`   // passive: ports that were told
	Came     int        `json:"came"`      // connections that came
	Missed   int        `json:"missed"`    // offers that nobody came to
	HalfOpen int        `json:"half_open"` // of these those to which a SYN came
	Last     *time.Time `json:"last_missed,omitempty"`
	At       string     `json:"last_told,omitempty"` // the address and port that were missed
	Private  bool       `json:"private"`             // a private address was told, and the clients' is public
	Active   int        `json:"active"`              // active: connections that stood
	Failed   int        `json:"active_failed"`       // and those that did not
	NoReuse  int        `json:"tls_not_reused"`      // refused because they resumed no TLS session
}

// A Pool is a passive range.
type Pool struct {
	Range     string     `json:"range"`
	Size      int        `json:"size"`
	Held      int        `json:"held"`
	Exhausted int        `json:"exhausted"` // how often a client got no port
	Last      *time.Time `json:"last_exhausted,omitempty"`
}

// request is a line of a client.
type request struct {
	V  int    `json:"v"`
	Do string `json:"do"`
}

// answer is a line of the server.
type answer struct {
	V        int       `json:"v"`
	OK       bool      `json:"ok"`
	Error    string    `json:"error,omitempty"`
	Info     *Info     `json:"info,omitempty"`
	Sessions []Session `json:"sessions,omitempty"`
	More     int       `json:"more,omitempty"` // sessions that are left out
	Watchdog *Watchdog `json:"watchdog,omitempty"`
}
