package sftp

import (
	"io/fs"
	"time"
)

// Which attributes there are (draft-ietf-secsh-filexfer-02, 5).
const (
	HasSize     uint32 = 0x00000001
	HasOwner    uint32 = 0x00000002 // UID and GID
	HasMode     uint32 = 0x00000004
	HasTimes    uint32 = 0x00000008 // ATime and MTime
	HasExtended uint32 = 0x80000000
)

// Bits of Attributes.Mode that tell the kind of file, as st_mode has them.
const (
	modeKind    = 0o170000
	modeSocket  = 0o140000
	modeLink    = 0o120000
	modeRegular = 0o100000
	modeBlock   = 0o060000
	modeDir     = 0o040000
	modeChar    = 0o020000
	modeFIFO    = 0o010000
	modeSetuid  = 0o4000
	modeSetgid  = 0o2000
	modeSticky  = 0o1000
)

// Attributes are what is known of a file, or to be changed. Flags says which of
// the fields count. Times are seconds since 1970, without a sign: they end in 2106.
type Attributes struct {
	Flags        uint32
	Size         uint64
	UID, GID     uint32
	Mode         uint32 // as st_mode: kind of file and permission bits
	ATime, MTime uint32
	Extended     []Pair
}

// A Pair is an extended attribute, or an extension that INIT or VERSION names.
type Pair struct{ Name, Data []byte }

// Has tells whether all of the given attributes are there.
func (a *Attributes) Has(flags uint32) bool { return a.Flags&flags == flags }

// FileMode is Mode as package fs has it.
func (a *Attributes) FileMode() fs.FileMode {
	m := fs.FileMode(a.Mode & 0o777)
	switch a.Mode & modeKind {
	case modeDir:
		m |= fs.ModeDir
	case modeLink:
		m |= fs.ModeSymlink
	case modeFIFO:
		m |= fs.ModeNamedPipe
	case modeSocket:
		m |= fs.ModeSocket
	case modeChar:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case modeBlock:
		m |= fs.ModeDevice
	case modeRegular, 0:
	default:
		m |= fs.ModeIrregular
	}
	if a.Mode&modeSetuid != 0 {
		m |= fs.ModeSetuid
	}
	if a.Mode&modeSetgid != 0 {
		m |= fs.ModeSetgid
	}
	if a.Mode&modeSticky != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// SetMode sets Mode from one of package fs.
func (a *Attributes) SetMode(m fs.FileMode) {
	mode := uint32(m.Perm())
	switch {
	case m&fs.ModeDir != 0:
		mode |= modeDir
	case m&fs.ModeSymlink != 0:
		mode |= modeLink
	case m&fs.ModeNamedPipe != 0:
		mode |= modeFIFO
	case m&fs.ModeSocket != 0:
		mode |= modeSocket
	case m&fs.ModeCharDevice != 0:
		mode |= modeChar
	case m&fs.ModeDevice != 0:
		mode |= modeBlock
	case m.IsRegular():
		mode |= modeRegular
	}
	if m&fs.ModeSetuid != 0 {
		mode |= modeSetuid
	}
	if m&fs.ModeSetgid != 0 {
		mode |= modeSetgid
	}
	if m&fs.ModeSticky != 0 {
		mode |= modeSticky
	}
	a.Mode, a.Flags = mode, a.Flags|HasMode
}

// SetTimes sets both times. What is before 1970 or behind 2106 becomes the
// nearest that can be told.
func (a *Attributes) SetTimes(atime, mtime time.Time) {
	a.ATime, a.MTime, a.Flags = seconds(atime), seconds(mtime), a.Flags|HasTimes
}

func seconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), 1<<32-1))
}

// ModTime is MTime as a time.
func (a *Attributes) ModTime() time.Time { return time.Unix(int64(a.MTime), 0) }

// attributes reads a; what it held before is gone.
func (r *reader) attributes(a *Attributes) {
	*a = Attributes{Flags: r.uint32(), Extended: a.Extended[:0]}
	if a.Flags&HasSize != 0 {
		a.Size = r.uint64()
	}
	if a.Flags&HasOwner != 0 {
		a.UID, a.GID = r.uint32(), r.uint32()
	}
	if a.Flags&HasMode != 0 {
		a.Mode = r.uint32()
	}
	if a.Flags&HasTimes != 0 {
		a.ATime, a.MTime = r.uint32(), r.uint32()
	}
	if a.Flags&HasExtended != 0 {
		n := r.uint32()
		if n > MaxPairs {
			r.bad = true
			return
		}
		for range n {
			a.Extended = append(a.Extended, Pair{r.bytes(), r.bytes()})
		}
	}
}

// Append appends a as the wire has it.
func (a *Attributes) Append(b []byte) []byte {
	b = appendUint32(b, a.Flags)
	if a.Flags&HasSize != 0 {
		b = appendUint64(b, a.Size)
	}
	if a.Flags&HasOwner != 0 {
		b = appendUint32(appendUint32(b, a.UID), a.GID)
	}
	if a.Flags&HasMode != 0 {
		b = appendUint32(b, a.Mode)
	}
	if a.Flags&HasTimes != 0 {
		b = appendUint32(appendUint32(b, a.ATime), a.MTime)
	}
	if a.Flags&HasExtended != 0 {
		b = appendUint32(b, uint32(len(a.Extended)))
		for _, p := range a.Extended {
			b = appendString(appendString(b, p.Name), p.Data)
		}
	}
	return b
}
