package mirror

import (
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"
)

// block is the unit of the checksums in a note.
const block = 4 << 20

// maxNote bounds a note that is read: 8 TiB of blocks.
const maxNote = 32 << 20

// A note tells what an unfinished file is the beginning of. It stands beside the
// file, or, for an upload, in the state directory. Version 1 is of a file that has its
// first bytes and no others, 2 of one with holes: who knows only the first takes the
// second for no note, and begins again.
type note struct {
	Version int           `json:"v"`
	Source  string        `json:"source"` // URL or absolute path
	Target  string        `json:"target,omitempty"`
	Size    int64         `json:"size"` // of the source; -1 unknown
	Time    time.Time     `json:"mtime,omitzero"`
	Step    time.Duration `json:"step,omitempty"`   // how exact Time is, in nanoseconds; 0: as it is written
	Unique  string        `json:"unique,omitempty"` // as the server told it
	Bytes   int64         `json:"bytes"`            // how many of the first bytes are there for sure
	Blocks  []uint32      `json:"blocks"`           // CRC-32C of each block of 4 MiB, the last one of what is left of Bytes
	Ranges  []extent      `json:"ranges,omitempty"` // what is there behind the first hole; version 2
}

// An extent is some bytes of a file, with their checksums as a note has them.
type extent struct {
	From   int64    `json:"from"`
	Bytes  int64    `json:"bytes"`
	Blocks []uint32 `json:"blocks"`
}

// maxRanges bounds the ranges of a note, and with them the parts that a file is fetched in.
const maxRanges = 256

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sums are the checksums of the first n bytes of f.
func sums(f io.ReaderAt, n int64) ([]uint32, error) {
	var out []uint32
	buf := make([]byte, 256<<10)
	for at := int64(0); at < n; {
		var sum uint32
		for end := min(at+block, n); at < end; {
			m, err := f.ReadAt(buf[:min(int64(len(buf)), end-at)], at)
			sum = crc32.Update(sum, castagnoli, buf[:m])
			at += int64(m)
			if err != nil && at < end {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return nil, err
			}
		}
		out = append(out, sum)
	}
	return out, nil
}

// known tells whether the note is of a version that is understood.
func (n *note) known() bool { return n.Version == 1 || n.Version == 2 }

// proven is how many of the first bytes of f are as the note has them.
func (n *note) proven(f io.ReaderAt, size int64) int64 {
	if !n.known() {
		return 0
	}
	return extent{0, n.Bytes, n.Blocks}.proven(f, size)
}

// ranges are those behind the first hole, as far as they are proven, and end before
// most.
func (n *note) ranges(f io.ReaderAt, size, most int64) []extent {
	var out []extent
	for _, e := range n.Ranges {
		if e.From+e.Bytes > most {
			return nil
		}
		if e.Bytes = e.proven(f, size); e.Bytes > 0 {
			e.Blocks = e.Blocks[:(e.Bytes+block-1)/block]
			out = append(out, e)
		}
	}
	return out
}

// proven is how many of the first bytes of the extent are as it has them. size is that
// of f.
func (e extent) proven(f io.ReaderAt, size int64) int64 {
	if e.From < 0 || e.Bytes < 0 || e.Bytes > math.MaxInt64-block-e.From || int64(len(e.Blocks)) != (e.Bytes+block-1)/block {
		return 0
	}
	for i := range e.Blocks {
		from := int64(i) * block
		to := min(from+block, e.Bytes)
		if e.From+to > size {
			return from
		}
		sum, err := sums(io.NewSectionReader(f, e.From+from, to-from), to-from)
		if err != nil || len(sum) != 1 || sum[0] != e.Blocks[i] {
			return from
		}
	}
	return e.Bytes
}

// ordered tells whether the ranges stand one behind the other, behind the first bytes.
func (n *note) ordered() bool {
	end := n.Bytes
	for _, e := range n.Ranges {
		if e.From < end || e.Bytes <= 0 || e.Bytes > math.MaxInt64-e.From {
			return false
		}
		end = e.From + e.Bytes
	}
	return len(n.Ranges) <= maxRanges && (n.Version == 2 || len(n.Ranges) == 0)
}

// same tells whether the note is of this version of the source. Times are compared
// as far as the coarser of them tells.
func (n *note) same(source string, size int64, mtime time.Time, step time.Duration, unique string) bool {
	if !n.known() || n.Source != source || n.Size != size || size < 0 {
		return false
	}
	if n.Unique != "" && unique != "" && n.Unique != unique {
		return false
	}
	if n.Time.IsZero() || mtime.IsZero() {
		return n.Time.IsZero() == mtime.IsZero()
	}
	d := n.Time.Sub(mtime).Abs()
	return d == 0 || d < max(n.Step, step)
}

// A shelf is where notes are kept: a directory, by name.
type shelf interface {
	ReadFile(name string) ([]byte, error)
	WriteFile(name string, b []byte, perm fs.FileMode) error
	Rename(from, to string) error
	Remove(name string) error
}

// readNote reads the note of a name. there tells that something has that name, ok
// that it is a note.
func readNote(s shelf, name string) (n note, ok, there bool) {
	b, err := s.ReadFile(name)
	if err != nil {
		return note{}, false, !errors.Is(err, fs.ErrNotExist)
	}
	if len(b) > maxNote || json.Unmarshal(b, &n) != nil || !n.known() || n.Bytes < 0 || !n.ordered() {
		return note{}, false, true
	}
	return n, true, true
}

// writeNote replaces the note of a name at once. Its version is 1 unless it says
// another.
func writeNote(s shelf, name string, n note) error {
	n.Version = max(n.Version, 1)
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := s.WriteFile(name+"~", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return s.Rename(name+"~", name)
}

// dirShelf keeps notes in a directory that it makes when it is needed.
type dirShelf string

func (d dirShelf) ReadFile(name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(string(d), name))
}

func (d dirShelf) WriteFile(name string, b []byte, perm fs.FileMode) error {
	err := os.WriteFile(filepath.Join(string(d), name), b, perm)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(string(d), 0o700); err != nil {
			return err
		}
		err = os.WriteFile(filepath.Join(string(d), name), b, perm)
	}
	return err
}

func (d dirShelf) Rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d dirShelf) Remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }
