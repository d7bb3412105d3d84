package mirror

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"strings"

	"dray/ftp"
)

// What an Entry may tell.
const (
	typed = ftp.KnownType
	sized = ftp.KnownSize
	timed = ftp.KnownTime
	moded = ftp.KnownMode
)

// hashes are the algorithms that both sides may have, by the names of Tree.Sum.
var hashes = map[string]func() hash.Hash{
	"sha512": sha512.New,
	"sha256": sha256.New,
	"sha1":   sha1.New,
	"md5":    md5.New,
	"crc32":  func() hash.Hash { return crc32.NewIEEE() },
}

// Sums are the algorithms that can be computed here, the strongest first.
func Sums() []string { return []string{"sha512", "sha256", "sha1", "md5", "crc32"} }

// SumReader is the checksum of what r holds, in lower-case hexadecimal digits.
func SumReader(algorithm string, r io.Reader) (string, error) {
	make := hashes[strings.ToLower(algorithm)]
	if make == nil {
		return "", errors.New("there is no checksum " + algorithm)
	}
	h := make()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make256k()); err != nil {
		return "", err
	}
	return hexSum(h.Sum(nil)), nil
}

func make256k() []byte { return make([]byte, 256<<10) }

func fileSum(algorithm string, f io.ReaderAt, n int64) (string, error) {
	return SumReader(algorithm, io.NewSectionReader(f, 0, n))
}

// A Summer takes the bytes of a download in any order, and sums them.
type Summer struct {
	*Ordered
	h hash.Hash
}

// NewSummer returns nil for an algorithm that is not known.
func NewSummer(algorithm string) *Summer {
	make := hashes[strings.ToLower(algorithm)]
	if make == nil {
		return nil
	}
	h := make()
	return &Summer{InOrder(h), h}
}

// Sum is that of all bytes, which must have come.
func (s *Summer) Sum() (string, error) {
	if err := s.End(); err != nil {
		return "", err
	}
	return hexSum(s.h.Sum(nil)), nil
}
