package gate

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"dray/event"
	"dray/vfs"
)

// A Login is a session as the administrator sees it.
type Login struct {
	ID, User       string
	Protocol, Door string
	Remote, Local  netip.AddrPort
	Since          time.Time
	Secure         string // "TLS 1.3", "SSH", "" in clear text
	Tasks          []Task // what it does right now, the oldest first
}

// A Task is a transfer or a listing that runs.
type Task struct {
	Direction event.Direction
	Path      string
	Bytes     int64 // moved so far
	Size      int64 // that are to be moved; -1: nobody knows
	Since     time.Time
}

// tasks are those of a session. Its zero value is ready.
type tasks struct {
	mu  sync.Mutex
	all []*running
}

// A running task tells how far it is.
type running struct {
	Task
	moved func() int64
}

// Begin tells what the session does until end is called, once. moved is asked from any
// goroutine; nil: nobody counts.
func (s *Session) Begin(d event.Direction, p vfs.Path, size int64, moved func() int64) (end func()) {
	t := &running{Task{Direction: d, Path: p.String(), Size: size, Since: s.gate.now()}, moved}
	s.doing.mu.Lock()
	s.doing.all = append(s.doing.all, t)
	s.doing.mu.Unlock()
	return func() {
		s.doing.mu.Lock()
		defer s.doing.mu.Unlock()
		s.doing.all = slices.DeleteFunc(s.doing.all, func(o *running) bool { return o == t })
		if len(s.doing.all) == 0 { // an idle session holds nothing
			s.doing.all = nil
		}
	}
}

func (s *Session) login() Login {
	v := s.visit
	l := Login{
		ID: v.id, User: s.account.Name, Protocol: v.peer.Door.Protocol, Door: v.peer.Door.Name,
		Remote: v.peer.Remote, Local: v.peer.Local, Since: s.since, Secure: v.secure(),
	}
	s.doing.mu.Lock()
	defer s.doing.mu.Unlock()
	for _, t := range s.doing.all {
		if t.moved != nil {
			t.Bytes = t.moved()
		}
		l.Tasks = append(l.Tasks, t.Task)
	}
	return l
}

// secure names what protects the connection.
func (v *Visit) secure() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.peer.Door.Protocol == ProtocolSFTP:
		return "SSH"
	case v.tls:
		return tls.VersionName(v.version)
	}
	return ""
}

// Logins are the sessions that there are, the oldest first.
func (g *Gate) Logins() []Login {
	var all []Login
	for _, name := range g.live.names() {
		for _, s := range g.live.of(name) {
			all = append(all, s.login())
		}
	}
	slices.SortFunc(all, func(a, b Login) int {
		if c := a.Since.Compare(b.Since); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}
