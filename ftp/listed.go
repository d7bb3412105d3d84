package ftp

import "time"

// A Listed is one entry of a listing as another server tells it, for clients.
// Servers leave things out and round them: Known says which fields of Entry
// count, and Step how exact its Time is. A Name is what the server wrote, any
// bytes but CR, LF and NUL; it may hold "/" or be "..", so whoever makes a local
// path of it has to look at it first.
type Listed struct {
	Entry
	Known  Known
	Step   time.Duration // the unit of Time: a second, a minute, a day; 0 with no time
	Unique string        // the unique fact of MLSx, as the server wrote it (RFC 3659, 7.5.2)
}

// Known is a set of what a server told.
type Known uint8

// What may be known. Without KnownType an entry may be a file or a directory, and
// its Mode has no type bits.
const (
	KnownType  Known = 1 << iota // the type bits of Mode, and Target for a link
	KnownSize                    // Size, in bytes
	KnownTime                    // Time
	KnownMode                    // the permission bits of Mode
	KnownOwner                   // Owner and Group, as far as they are not empty
)

// Is tells whether all of k is known.
func (l *Listed) Is(k Known) bool { return l.Known&k == k }
