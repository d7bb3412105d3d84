package sftpserver

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"dray/fault"
	"dray/sftp"
	"dray/transfer"
	"dray/vfs"
)

// algorithms are the checksums of check-file
// (draft-ietf-secsh-filexfer-extensions-00, 3).
var algorithms = []struct {
	name string
	make func() hash.Hash
}{
	{"sha256", sha256.New}, {"sha512", sha512.New}, {"sha384", sha512.New384}, {"sha224", sha256.New224}, {"sha1", sha1.New}, {"md5", md5.New},
	{"crc32", func() hash.Hash { return crc32.NewIEEE() }},
}

// sumNames are the names between commas, as paramiko announces them.
func sumNames() string {
	var names []string
	for _, a := range algorithms {
		names = append(names, a.name)
	}
	return strings.Join(names, ",")
}

const (
	// minBlock is the least that a checksum of its own is made of.
	minBlock = 256
	// sumPiece is how many bytes are read before whoever waits has a turn: a small
	// file must not wait for the end of a large one.
	sumPiece = 64 << 20
)

func (d *dialogue) checkName(q *sftp.Request) error {
	p, err := d.resolve(q.Path)
	if err != nil {
		return err
	}
	if f := d.here(p); f != nil {
		return d.check(q, &summed{f, d.info})
	}
	f, err := d.session.Open(d.ctx, p)
	if err != nil {
		return err
	}
	defer f.Close()
	return d.check(q, f)
}

func (d *dialogue) checkHandle(q *sftp.Request) error {
	switch {
	case d.h.file == nil:
		return fault.New(fault.IsDir, fault.IDIsDir, d.h.dir.path.String())
	case !d.h.reads:
		return fault.Because(errHandle, fault.Denied, fault.IDHandle)
	}
	return d.check(q, &summed{d.h.file, d.info})
}

// summed is an open file as one that is read.
type summed struct {
	*file
	info func(*handle) (fs.FileInfo, error)
}

func (s *summed) ReadAt(b []byte, off int64) (int, error) { return s.readAt(b, off) }
func (s *summed) Stat() (fs.FileInfo, error)              { return s.info(&handle{file: s.file}) }
func (s *summed) Close() error                            { return nil }

// check answers with the checksums that are asked for: one of all, or one of each
// block. Of no bytes there is one too: that of nothing.
func (d *dialogue) check(q *sftp.Request, f vfs.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	size := uint64(max(fi.Size(), 0))
	length := size - min(q.Offset, size)
	if q.Size > 0 {
		length = min(length, q.Size)
	}
	block := uint64(q.Block)
	switch {
	case q.Offset > size:
		return fault.New(fault.BadOffset, fault.IDRange, size)
	case q.Block > 0 && q.Block < minBlock:
		return fault.New(fault.Unsupported, fault.IDUnsupported, "blocks of 256 bytes and more, or 0 for one checksum of all")
	case q.Block == 0:
		block = max(length, 1)
	}
	for name := range strings.SplitSeq(string(q.Algorithms), ",") {
		for _, a := range algorithms {
			if !strings.EqualFold(name, a.name) {
				continue
			}
			sums := make([]byte, 0, 64)
			count := max((length+block-1)/block, 1)
			if count > sftp.MaxData/uint64(a.make().Size()) {
				return fault.New(fault.Unsupported, fault.IDUnsupported, "larger blocks, so that the answer fits into a packet")
			}
			for i := range count {
				from := q.Offset + i*block
				h := a.make()
				if err := d.sum(h, f, int64(from), int64(min(block, length-i*block))); err != nil {
					return err
				}
				sums = h.Sum(sums)
			}
			if err := d.room(len(sums) + 256); err != nil {
				return err
			}
			d.say(q.AppendSums(d.out, a.name, sums))
			return nil
		}
	}
	return fault.New(fault.Unsupported, fault.IDUnsupported, sumNames())
}

// sum reads n bytes when it is this client's turn: on the whole server as many are
// read at once for checksums as there are processors.
func (d *dialogue) sum(h hash.Hash, f vfs.File, from, n int64) (err error) {
	for at := from; at < from+n; at += sumPiece {
		missed := d.conn.server.sums.Do(d.ctx, d.conn.visit.Peer().Remote.Addr(), func() {
			err = transfer.Sum(d.ctx, h, f, at, min(sumPiece, from+n-at))
		})
		switch {
		case missed != nil:
			return missed
		case err == io.ErrUnexpectedEOF:
			return fault.Because(err, fault.Busy, fault.IDInUse, "the file")
		case err != nil:
			return err
		}
	}
	return nil
}
