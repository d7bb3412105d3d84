package ftpclient

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"dray/fault"
)

// A Memory is what was learnt about one host, for all connections to it. The zero
// Memory knows nothing. It is safe for concurrent use.
type Memory struct {
	mu          sync.Mutex
	epsv        known
	eprt        known
	listAll     known // LIST -a
	openingSize known // 150 has "(n bytes)"
	calm        known // a transfer was done one command at a time
	serial      bool  // commands are never sent before the reply to the last one
	noAhead     bool  // no port is asked for in advance
	noKeepalive bool
	open        int
	limit       int
	zone        *time.Location
	told        netip.Addr
	notes       []*fault.Error
}

// known is what is known of a yes or no.
type known int8

const (
	unknown known = iota
	yes
	no
)

func (m *Memory) get(k *known) known {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *k
}

func (m *Memory) set(k *known, v known) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*k = v
}

func (m *Memory) isSet(b *bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *b
}

func (m *Memory) mark(b *bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*b = true
}

// Limit is how many connections were open when the host refused one more, 0 when
// it never did.
func (m *Memory) Limit() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.limit
}

// Open is how many connections are logged in.
func (m *Memory) Open() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

func (m *Memory) entered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
}

func (m *Memory) left() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open--
}

// full takes a refusal of one more connection.
func (m *Memory) full() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open > 0 && (m.limit == 0 || m.open < m.limit) {
		m.limit = m.open
	}
}

// Notes are what a caller may want to warn about: things that are wrong at the
// server and did not keep us from our work. Each comes once.
func (m *Memory) Notes() []*fault.Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.notes)
}

// SetEPSV settles before the first transfer whether EPSV is used: always, without
// PASV where it fails, or never.
func (m *Memory) SetEPSV(use bool) {
	if use {
		m.set(&m.epsv, yes)
	} else {
		m.set(&m.epsv, no)
	}
}

// misled notes that PASV named an address that was not used.
func (m *Memory) misled(told netip.Addr) (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.told == told {
		return false
	}
	m.told = told
	if len(m.notes) < 16 {
		m.notes = append(m.notes, fault.New(fault.NoData, fault.IDPasvAddress, told.String()))
	}
	return true
}

// Zone is that of the clock in listings of LIST, nil while it is not known.
func (m *Memory) Zone() *time.Location {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.zone
}

// SetZone says what Zone is.
func (m *Memory) SetZone(zone *time.Location) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.zone = zone
}
