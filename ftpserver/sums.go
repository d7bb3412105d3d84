package ftpserver

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"strings"

	"dray/account"
	"dray/fault"
	"dray/ftp"
	"dray/transfer"
	"dray/vfs"
)

// sums is what was said about checksums; zero values are the defaults.
type sums struct {
	algorithm int // of HASH, in algorithms
}

// An algorithm has the name that the IANA registry of hash functions gives it,
// where it is in there.
type algorithm struct {
	name string
	make func() hash.Hash
}

var algorithms = []algorithm{
	{"SHA-256", sha256.New}, {"SHA-512", sha512.New}, {"SHA-1", sha1.New}, {"MD5", md5.New},
	{"CRC32", func() hash.Hash { return crc32.NewIEEE() }},
}

// The drafts, as the rows name them.
const (
	hashDraft = "draft-bryan-ftpext-hash"
	rangDraft = "draft-bryan-ftp-range"
	md5Draft  = "draft-twine-ftpmd5"
)

func sumCommands() []command {
	rows := []command{
		{verb: "HASH", arg: argPath, phase: phaseIn, run: (*conn).hash, feat: hashFeat, needs: account.Read, usage: "path", help: "checksum of a file", rfc: hashDraft},
		{verb: "RANG", arg: argRequired, phase: phaseIn, also: keepsPending | holdsNoName, run: (*conn).rang, feat: always("RANG STREAM"), usage: "start end", help: "the next command is about these bytes, both counted in", rfc: rangDraft},
		{verb: "MD5", arg: argPath, phase: phaseIn, run: (*conn).md5, feat: always("MD5"), needs: account.Read, usage: "path", help: "checksum of a file", rfc: md5Draft},
		{verb: "MMD5", arg: argPath, phase: phaseIn, run: (*conn).mmd5, usage: "path, path", help: "checksums of files", rfc: md5Draft},
	}
	for _, x := range []struct{ verb, algorithm string }{
		{"XCRC", "CRC32"}, {"XMD5", "MD5"}, {"XSHA", "SHA-1"}, {"XSHA1", "SHA-1"}, {"XSHA256", "SHA-256"}, {"XSHA512", "SHA-512"},
	} {
		feat := always(x.verb)
		a, _ := algorithmOf(x.algorithm)
		rows = append(rows, command{
			verb: x.verb, arg: argPath, phase: phaseIn, feat: feat, needs: account.Read,
			run:   func(c *conn, ctx context.Context, arg string) (ftp.Reply, error) { return c.xsum(ctx, a, arg) },
			usage: `path [start end]`, help: x.algorithm + " of a file or a part, without the byte at its end", rfc: "no RFC",
		})
	}
	return rows
}

// algorithmOf finds one by its name, in any case.
func algorithmOf(name string) (int, bool) {
	for i, a := range algorithms {
		if strings.EqualFold(a.name, name) {
			return i, true
		}
	}
	return 0, false
}

func algorithmNames() []string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = a.name
	}
	return names
}

// hashFeat lists the algorithms; a star marks the current one.
func hashFeat(c *conn) string {
	names := algorithmNames()
	names[c.sums.algorithm] += "*"
	return "HASH " + strings.Join(names, ";")
}

// optsHash tells the algorithm of HASH, or chooses another one.
func (c *conn) optsHash(arg string) (ftp.Reply, error) {
	if c.off(c.server.rows["HASH"], "HASH") {
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, switchedOff)
	}
	if arg != "" {
		i, ok := algorithmOf(arg)
		if !ok { // hash draft, 3.5: 501
			return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "OPTS HASH "+strings.Join(algorithmNames(), " | "))
		}
		c.sums.algorithm = i
	}
	return ftp.Replyf(ftp.C200OK, "%s", algorithms[c.sums.algorithm].name), nil
}

// rang keeps a range for the next command. A wrong one takes back what was said
// before (range draft, 3).
func (c *conn) rang(_ context.Context, arg string) (ftp.Reply, error) {
	r, err := ftp.ParseRang(arg)
	c.pending.span = r
	if err != nil {
		return ftp.Reply{}, argError(err, "RANG start end, the start not above the end, or RANG 1 0 for the whole file", "")
	}
	if r == (ftp.Range{}) {
		return ftp.Replyf(ftp.C350Pending, "The next command is about the whole file."), nil
	}
	if r.End == math.MaxInt64 { // which may stand for one byte more
		return ftp.Replyf(ftp.C350Pending, "The next command is about bytes %d to the end.", r.Start), nil
	}
	return ftp.Replyf(ftp.C350Pending, "The next command is about bytes %d to %d.", r.Start, r.End-1), nil
}

// hash: RANG's end may be above that of the file, as it may for RETR (range draft,
// 4.3); the reply says what was hashed. Departures from the hash draft: what is no
// file and what may not be read is 550, as everywhere here (3.5: 552, 553), and
// since no bytes are no range there, an empty file is "0-0".
func (c *conn) hash(ctx context.Context, arg string) (ftp.Reply, error) {
	f, p, err := c.summable(ctx, []ftp.Part{{Path: arg, Whole: true}})
	if err != nil {
		return ftp.Reply{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return ftp.Reply{}, err
	}
	size := fi.Size()
	start, end := int64(0), size
	if r := c.pending.span; r != (ftp.Range{}) {
		if start, end = r.Start, min(r.End, size); start >= end {
			return ftp.Reply{}, fault.New(fault.Syntax, fault.IDRange, size)
		}
	}
	a := algorithms[c.sums.algorithm]
	sum, err := c.sum(ctx, a, f, p, start, end)
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C213File, "%s %d-%d %x %s", a.name, start, max(end-1, 0), sum, arg), nil
}

// xsum is XCRC and its kin. They tell no range in their reply, so one that does
// not fit is never made to.
func (c *conn) xsum(ctx context.Context, algorithm int, arg string) (ftp.Reply, error) {
	sum, err := c.sumOf(ctx, algorithms[algorithm], ftp.ParseParts(arg))
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C250OK, "%s", sum), nil
}

func (c *conn) md5(ctx context.Context, arg string) (ftp.Reply, error) {
	i, _ := algorithmOf("MD5")
	sum, err := c.sumOf(ctx, algorithms[i], ftp.ParseParts(arg))
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C251Hash, "%s %s", arg, sum), nil
}

// maxSums is how many files one MMD5 may name.
const maxSums = 16

// mmd5 answers for all files or for none.
func (c *conn) mmd5(ctx context.Context, arg string) (ftp.Reply, error) {
	names, err := ftp.ParseList(arg)
	if err == nil && len(names) > maxSums {
		err = ftp.ErrSyntax
	}
	if err != nil {
		return ftp.Reply{}, argError(err, fmt.Sprintf("MMD5 path, path, with at most %d paths", maxSums), "")
	}
	i, _ := algorithmOf("MD5")
	for at, name := range names {
		sum, err := c.sumOf(ctx, algorithms[i], []ftp.Part{{Path: name, Whole: true}})
		if err != nil {
			return ftp.Reply{}, err
		}
		if strings.ContainsAny(name, `, "`) {
			name = ftp.Quote(name)
		}
		names[at] = name + " " + sum
	}
	return ftp.Replyf(ftp.C252Hashes, "%s", strings.Join(names, ", ")), nil
}

// sumOf is the checksum of the first reading of an argument that names a file,
// in capital hexadecimal digits as these commands have it.
func (c *conn) sumOf(ctx context.Context, a algorithm, parts []ftp.Part) (string, error) {
	f, p, err := c.summable(ctx, parts)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	size := fi.Size()
	start, end := p.Start, p.End
	if p.Whole {
		start, end = 0, size
		if r := c.pending.span; r != (ftp.Range{}) {
			start, end = r.Start, r.End
		}
	}
	if start > end || end > size || start == end && size > 0 {
		return "", fault.New(fault.Syntax, fault.IDRange, size)
	}
	sum, err := c.sum(ctx, a, f, p, start, end)
	return strings.ToUpper(hex.EncodeToString(sum)), err
}

// summable opens the file that the first reading names for which there is one.
// When there is none, the error is that of the last, where a range was taken off.
func (c *conn) summable(ctx context.Context, parts []ftp.Part) (f vfs.File, part ftp.Part, err error) {
	for _, part = range parts {
		var p vfs.Path
		if p, err = c.resolve(part.Path); err == nil {
			f, err = c.session.Open(ctx, p)
		}
		if k := fault.KindOf(err); err == nil || k != fault.NotFound && k != fault.NotDir && k != fault.BadName {
			return f, part, err
		}
	}
	return nil, part, err
}

// sumPiece is how many bytes of a file are read before whoever waits has a turn: a
// small file must not wait for the end of a large one.
const sumPiece = 64 << 20

// sum reads the bytes from start up to end.
func (c *conn) sum(ctx context.Context, a algorithm, f vfs.File, part ftp.Part, start, end int64) ([]byte, error) {
	h := a.make()
	err := c.long(ctx, func(ctx context.Context) error {
		for at := start; at < end; at += sumPiece {
			if err := c.turn(ctx, func() error { return transfer.Sum(ctx, h, f, at, min(sumPiece, end-at)) }); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.Because(err, fault.Busy, fault.IDInUse, part.Path)
	}
	return h.Sum(nil), err
}

// turn runs f when it is this client's turn: on the whole server as many run at
// once as there are processors. Kind Busy when too many wait, or when the turn does
// not come within the time that the client may be silent.
func (c *conn) turn(ctx context.Context, f func() error) error {
	wait, cancel := context.WithTimeout(ctx, c.idleTime())
	defer cancel()
	var err error
	missed := c.server.sums.Do(wait, c.remote(), func() { err = f() })
	switch {
	case missed == nil:
		return err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	n := runtime.GOMAXPROCS(0)
	return fault.Because(missed, fault.Busy, fault.IDBusy, "checksums at once", n, n)
}

// long runs what may take minutes and has no data connection, so that ABOR, the
// loss of the client and the end of the session end it. Nothing is answered
// meanwhile: the first reply that comes is for the command itself.
func (c *conn) long(ctx context.Context, f func(context.Context) error) error {
	err := c.during(ctx, nil, f)
	c.aborted = err != nil && fault.Of(err).ID == fault.IDAborted
	return err
}
