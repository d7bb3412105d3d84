// Package scpserver is the far side of scp's old protocol, for clients that know no
// other: what "scp -t" and "scp -f" do on a machine with a shell, inside a session of
// the gate. There is no shell here, and nothing is run.
//
// The protocol has no specification but its programs (rcp of BSD, scp of OpenSSH).
package scpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"dray/event"
	"dray/explain"
	"dray/fault"
	"dray/gate"
	"dray/meter"
	"dray/transfer"
	"dray/vfs"
)

// A Stream is the channel to the client.
type Stream interface {
	io.Reader
	io.Writer
	Tell(text string) // to the standard error of the client
}

// Limits of what a client may send.
const (
	maxRecord = 8 << 10 // bytes of a line, its end included
	maxDepth  = 64      // directories in each other
	maxNames  = 10_000  // that a pattern may stand for
	piece     = 64 << 10
)

// A scp is one run.
type scp struct {
	ctx     context.Context
	session *gate.Session
	r       *bufio.Reader
	w       io.Writer

	recursive, preserve, directory bool
	failed                         bool // something was refused; the client has been told
	slash                          bool // the target was written as a directory, and a file does not get its name
	buf                            []byte
	path                           []identity // of the directories that are being sent, each in the one before
}

// Run serves the command line of a client, "scp -t -r path", and returns the exit
// status.
func Run(ctx context.Context, s *gate.Session, command string, ch Stream) int {
	c := &scp{ctx: ctx, session: s, r: bufio.NewReaderSize(ch, maxRecord), w: ch}
	words, to, err := c.parse(command)
	if err != nil {
		ch.Tell("dray: " + err.Error() + "\r\n")
		return 1
	}
	c.buf = make([]byte, piece)
	if to {
		err = c.sink(words[0])
	} else {
		err = c.source(words)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.session.Log().Info("scp ended", "error", err)
	}
	if err != nil || c.failed {
		return 1
	}
	return 0
}

// parse reads the options. to is true for an upload.
func (c *scp) parse(command string) (paths []word, to bool, err error) {
	words, err := split(command)
	if err != nil {
		return nil, false, err
	}
	from := false
	for i, w := range words {
		switch {
		case i == 0: // scp itself
			continue
		case w.text == "--":
			paths = append(paths, words[i+1:]...)
		case strings.HasPrefix(w.text, "-") && len(w.text) > 1 && len(paths) == 0:
			for _, o := range w.text[1:] {
				switch o {
				case 't':
					to = true
				case 'f':
					from = true
				case 'r':
					c.recursive = true
				case 'p':
					c.preserve = true
				case 'd':
					c.directory = true
				case 'v', 'q', 'E': // how much is said; extended attributes of Apple's
				default:
					return nil, false, fmt.Errorf("scp has no option -%c here", o)
				}
			}
			continue
		default:
			paths = append(paths, w)
			continue
		}
		break
	}
	if from {
		if paths, err = spell(paths); err != nil {
			return nil, false, err
		}
	}
	switch {
	case to == from:
		return nil, false, errors.New("scp is offered as the far side of a copy only, with -t or -f")
	case len(paths) == 0:
		paths = []word{{text: "."}}
	case to && len(paths) > 1:
		return nil, false, errors.New("scp -t takes one path")
	}
	return paths, to, nil
}

// resolve reads a path, of which "~" is the home.
func resolve(text string) (vfs.Path, error) {
	if text == "~" || strings.HasPrefix(text, "~/") {
		text = "/" + text[1:]
	}
	return vfs.Resolve(vfs.Root, text)
}

// ok answers that all is well so far.
func (c *scp) ok() error {
	_, err := c.w.Write([]byte{0})
	return err
}

// refuse answers with what an error means. The client goes on with the next file.
func (c *scp) refuse(verb string, p vfs.Path, cause error) error {
	c.failed = true
	c.session.Refused("scp "+verb, p.String(), cause)
	_, err := io.WriteString(c.w, "\x01scp: "+explain.Sentence(fault.Of(cause))+"\n")
	return err
}

// answer reads what the client says to what it was sent: zero, or one or two and a
// line about an error, of which the second kind is the end.
func (c *scp) answer() (refused bool, err error) {
	b, err := c.r.ReadByte()
	if err != nil || b == 0 {
		return false, err
	}
	line, err := c.line()
	if err == nil && b != 1 {
		err = fmt.Errorf("the client ended it: %.200q", line)
	}
	c.failed = true
	return true, err
}

// line is the rest of a line without its end.
func (c *scp) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		err = errors.New("a record is too long")
	}
	return strings.TrimSuffix(string(b), "\n"), err
}

// A record is one of the client's lines.
type record struct {
	kind         byte // 'C' file, 'D' directory, 'E' its end, 'T' times
	mode         fs.FileMode
	size         int64
	name         string
	mtime, atime time.Time
}

var errRecord = errors.New("a record does not parse")

func parseRecord(line string) (r record, err error) {
	if line == "" {
		return r, errRecord
	}
	r.kind = line[0]
	switch rest := line[1:]; r.kind {
	case 'E':
		if rest != "" {
			err = errRecord
		}
	case 'T':
		var n [4]int64
		parts := strings.Split(rest, " ")
		if len(parts) != 4 {
			return r, errRecord
		}
		for i, p := range parts {
			if n[i], err = strconv.ParseInt(p, 10, 64); err != nil || n[i] < 0 || n[i] > 1<<40 {
				return r, errRecord
			}
		}
		r.mtime, r.atime = time.Unix(n[0], n[1]*1000), time.Unix(n[2], n[3]*1000)
	case 'C', 'D':
		parts := strings.SplitN(rest, " ", 3)
		if len(parts) != 3 {
			return r, errRecord
		}
		mode, merr := strconv.ParseUint(parts[0], 8, 16)
		size, serr := strconv.ParseInt(parts[1], 10, 64)
		r.mode, r.size, r.name = fs.FileMode(mode&0o777), size, parts[2]
		if merr != nil || serr != nil || size < 0 || r.name == "" || r.name == "." || r.name == ".." || strings.Contains(r.name, "/") {
			err = errRecord
		}
	default:
		err = errRecord
	}
	return r, err
}

// sink takes what a client sends.
func (c *scp) sink(target word) error {
	p, err := resolve(target.text)
	if err != nil {
		return c.refuse("-t", vfs.Root, err)
	}
	inside := c.session.Enter(c.ctx, p) == nil
	c.slash = vfs.MeansDir(target.text)
	if c.directory && !inside {
		return c.refuse("-t", p, fault.New(fault.NotDir, fault.IDNotDir, p.String()))
	}
	if err := c.ok(); err != nil {
		return err
	}
	return c.receive(p, inside, 0)
}

// receive takes the records of one directory, or all of them at the top, where inside
// tells whether at is a directory that files go into, or the name of the one file.
func (c *scp) receive(at vfs.Path, inside bool, depth int) error {
	var times record
	for {
		first, err := c.r.Peek(1)
		if err != nil {
			if err == io.EOF && depth == 0 {
				return nil
			}
			return err
		}
		if first[0] <= 2 { // the client tells of an error of its own, and goes on
			if _, err := c.answer(); err != nil {
				return err
			}
			continue
		}
		line, err := c.line()
		if err != nil {
			return err
		}
		rec, err := parseRecord(line)
		if err != nil {
			_, _ = io.WriteString(c.w, "\x02scp: "+err.Error()+"\n")
			return fmt.Errorf("%w: %.100q", err, line)
		}
		switch rec.kind {
		case 'T':
			times = rec
			if err := c.ok(); err != nil {
				return err
			}
			continue
		case 'E':
			if depth == 0 {
				return errRecord
			}
			return c.ok()
		}
		to := at
		if inside {
			to, err = at.Join(rec.name)
		}
		if err == nil && rec.kind == 'C' && !inside && c.slash {
			err = fault.New(fault.NotDir, fault.IDNotDir, at.String())
		}
		switch {
		case rec.kind == 'C':
			err = c.receiveFile(to, rec, times, err)
		case err != nil || !c.recursive || depth == maxDepth:
			_, _ = io.WriteString(c.w, "\x02scp: a directory can't be taken here\n")
			return fmt.Errorf("a directory can't be taken: %w", errors.Join(err, errRecord))
		default:
			err = c.receiveDir(to, rec, times, depth)
		}
		if err != nil {
			return err
		}
		times = record{}
	}
}

// receiveDir makes a directory, unless it is there, and takes what belongs into it.
// A new one has the mode of the record less what the umask takes away, with -p that of
// the record; its owner may write there until it is filled.
func (c *scp) receiveDir(p vfs.Path, rec, times record, depth int) error {
	var now, want fs.FileMode // permissions of a new directory, 0 where they stay
	if err := c.session.Enter(c.ctx, p); err != nil {
		if err := c.session.Mkdir(c.ctx, p); err != nil {
			_ = c.refuse("-t", p, err)
			return err // the client sends what is in it whatever we say
		}
		if fi, err := c.session.Finished(c.ctx, p); err == nil {
			now = fi.Mode().Perm()
			want = now & rec.mode
			if filled := now & (rec.mode | 0o700); filled != now {
				c.dress(func() error { return c.session.Chmod(c.ctx, p, filled) })
				now = filled
			}
		}
	}
	if err := c.ok(); err != nil {
		return err
	}
	if err := c.receive(p, true, depth+1); err != nil {
		return err
	}
	switch {
	case c.preserve:
		c.dress(func() error { return c.session.Chmod(c.ctx, p, rec.mode) })
	case want != now:
		c.dress(func() error { return c.session.Chmod(c.ctx, p, want) })
	}
	if times.kind == 'T' {
		c.dress(func() error { return c.session.SetTime(c.ctx, p, times.mtime) })
	}
	return nil
}

// dress sets modes and times. Without the right to it the copy is as all are.
func (c *scp) dress(f func() error) {
	if err := f(); err != nil {
		c.session.Log().Debug("scp keeps less", "error", err)
	}
}

// receiveFile takes one file. What is refused, with the sentence why, is read to its
// end all the same: the client does not stop sending.
func (c *scp) receiveFile(p vfs.Path, rec, times record, why error) error {
	begun := time.Now()
	var up *gate.Upload
	if why == nil {
		up, why = c.session.Create(c.ctx, p, vfs.Create{How: vfs.Replace, Expect: rec.size, Mode: c.mode(rec.mode)})
	}
	if why != nil {
		return c.refuse("-t", p, why) // before the bytes: the client skips the file
	}
	ended := false
	defer func() {
		if !ended { // a panic: the name must not stay taken
			_ = up.Cut(c.ctx, up.Report(time.Since(begun)), fault.New(fault.Internal, fault.IDInternal))
		}
	}()
	cut := func(why error) error {
		ended = true
		return up.Cut(c.ctx, up.Report(time.Since(begun)), why)
	}
	if err := c.ok(); err != nil {
		return cut(fault.Because(err, fault.Cut, fault.IDUploadCut))
	}
	for off := int64(0); off < rec.size; {
		n, err := io.ReadFull(c.r, c.buf[:min(piece, rec.size-off)])
		if err != nil {
			return cut(fault.Because(err, fault.Cut, fault.IDUploadCut))
		}
		if why == nil {
			if werr := up.Write(c.ctx, c.buf[:n], off); werr != nil {
				why = cut(werr)
			}
		}
		off += int64(n)
	}
	refused, err := c.answer() // whether the client could read all of it
	switch {
	case err != nil && why == nil:
		return cut(fault.Because(err, fault.Cut, fault.IDUploadCut))
	case err != nil:
		return err
	case refused && why == nil:
		why = cut(fault.New(fault.Cut, fault.IDUploadCut))
	case why == nil:
		if c.preserve {
			c.dress(func() error { return up.Chmod(rec.mode) })
		}
		if times.kind == 'T' {
			c.dress(func() error { return up.SetTime(times.mtime) })
		}
		ended = true
		why = up.Commit(c.ctx, up.Report(time.Since(begun)), nil)
	}
	if why != nil {
		return c.refuse("-t", p, why)
	}
	return c.ok()
}

// mode are the permission bits of a new file, less what the umask takes away.
func (c *scp) mode(m fs.FileMode) fs.FileMode {
	a := c.session.Account()
	return m &^ a.Umask()
}

// source sends what a client asks for.
func (c *scp) source(words []word) error {
	if _, err := c.answer(); err != nil {
		return err
	}
	for _, w := range words {
		paths, err := c.expand(w)
		if err != nil {
			if err := c.refuse("-f", vfs.Root, err); err != nil {
				return err
			}
			continue
		}
		for _, p := range paths {
			if err := c.send(p, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// expand is what a word stands for: the name itself where there is one, else all that
// fit the pattern.
func (c *scp) expand(w word) ([]vfs.Path, error) {
	p, err := resolve(w.text)
	if err != nil || !w.pattern() {
		return []vfs.Path{p}, err
	}
	if _, err := c.session.Stat(c.ctx, p); err == nil {
		return []vfs.Path{p}, nil
	}
	found := []vfs.Path{vfs.Root}
	for part := range strings.SplitSeq(p.Rel(), "/") {
		var next []vfs.Path
		for _, dir := range found {
			if !strings.ContainsAny(part, "*?[") {
				if at, err := dir.Join(part); err == nil {
					if _, err := c.session.Lstat(c.ctx, at); err == nil {
						next = append(next, at)
					}
				}
				continue
			}
			for fi, err := range c.session.List(c.ctx, dir) {
				if err != nil {
					break // no directory, or none to be listed
				}
				name := strings.Clone(fi.Name())
				if ok, merr := path.Match(part, name); merr != nil || !ok || name[0] == '.' && part[0] != '.' {
					continue
				}
				if at, err := dir.Join(name); err == nil {
					next = append(next, at)
				}
				if len(next) > maxNames {
					return nil, fault.New(fault.Denied, fault.IDGlob)
				}
			}
		}
		found = next
	}
	if len(found) == 0 {
		return nil, fault.New(fault.NotFound, fault.IDNotFound, p.String())
	}
	return found, nil
}

// send sends a file, or with -r a directory with all that is in it. An error is that
// of the stream; what is refused is told.
func (c *scp) send(p vfs.Path, depth int) error {
	fi, err := c.session.Finished(c.ctx, p)
	switch {
	case err == nil && fi.IsDir() && !c.recursive:
		err = fault.New(fault.IsDir, fault.IDIsDir, p.String())
	case err == nil && fi.IsDir() && depth == maxDepth:
		err = fault.New(fault.Denied, fault.IDTooLarge, p.String(), fmt.Sprintf("there are %d directories above it", maxDepth))
	case err == nil && fi.IsDir() && c.above(fi):
		err = fault.New(fault.Denied, fault.IDTooLarge, p.String(), "a link leads back to a directory above it")
	case err == nil && fi.IsDir():
		at := vfs.AttrOf(fi)
		c.path = append(c.path, identity{at.Dev, at.Ino})
		err := c.sendDir(p, fi, depth)
		c.path = c.path[:len(c.path)-1]
		return err
	}
	if err != nil {
		return c.refuse("-f", p, err)
	}
	return c.sendFile(p)
}

// An identity tells two names of one directory; not every directory has any.
type identity struct{ dev, ino uint64 }

// above tells whether a directory is one of those on the way down to it. Two links that
// lead back would stand for more directories than anybody can count.
func (c *scp) above(fi fs.FileInfo) bool {
	at := vfs.AttrOf(fi)
	return at.Ino != 0 && slices.Contains(c.path, identity{at.Dev, at.Ino})
}

// announce sends a record, with the times before it where they are wanted; false when
// the client does not want what comes.
func (c *scp) announce(kind string, fi fs.FileInfo, name string, size int64) (bool, error) {
	if c.preserve {
		t := max(fi.ModTime().Unix(), 0)
		if _, err := fmt.Fprintf(c.w, "T%d 0 %d 0\n", t, t); err != nil {
			return false, err
		}
		if refused, err := c.answer(); err != nil || refused {
			return false, err
		}
	}
	if _, err := fmt.Fprintf(c.w, "%s%04o %d %s\n", kind, fi.Mode().Perm(), size, name); err != nil {
		return false, err
	}
	refused, err := c.answer()
	return !refused, err
}

// nameOf is the name that a client sees; of the root there is none.
func nameOf(p vfs.Path) string {
	if p.IsRoot() {
		return "files"
	}
	return p.Base()
}

func (c *scp) sendDir(p vfs.Path, fi fs.FileInfo, depth int) error {
	if strings.ContainsAny(p.Base(), "\r\n") {
		return nil
	}
	if wanted, err := c.announce("D", fi, nameOf(p), 0); err != nil || !wanted {
		return err
	}
	var names []string
	for fi, err := range c.session.List(c.ctx, p) {
		if err != nil {
			if err := c.refuse("-f", p, err); err != nil {
				return err
			}
			break
		}
		names = append(names, strings.Clone(fi.Name()))
	}
	for _, name := range names {
		at, err := p.Join(name)
		if err != nil { // a name that nobody could ask for
			continue
		}
		if err := c.send(at, depth+1); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(c.w, "E\n"); err != nil {
		return err
	}
	_, err := c.answer()
	return err
}

func (c *scp) sendFile(p vfs.Path) error {
	f, err := c.session.Open(c.ctx, p)
	if err != nil {
		return c.refuse("-f", p, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return c.refuse("-f", p, err)
	}
	size := fi.Size()
	if wanted, err := c.announce("C", fi, nameOf(p), size); err != nil || !wanted {
		return err
	}
	var count meter.Counter
	defer c.session.Begin(event.Download, p, size, count.Bytes)()
	begun, off, why := time.Now(), int64(0), error(nil)
	for off < size && why == nil {
		var n int64
		if n, why = c.session.Down().Take(c.ctx, min(piece, size-off)); why != nil {
			break
		}
		m, rerr := f.ReadAt(c.buf[:n], off)
		c.session.Down().Done(n, int64(m))
		if m == 0 { // it has become shorter, or the disk fails
			why = fault.Because(rerr, fault.Busy, fault.IDInUse, p.String())
			break
		}
		if _, err := c.w.Write(c.buf[:m]); err != nil {
			c.sent(p, off, begun, c.lost(err))
			return err
		}
		off += int64(m)
		count.Done(0, int64(m))
	}
	if why != nil {
		// The client waits for as many bytes as it was promised, and then for the word
		// whether they are right.
		c.sent(p, off, begun, why)
		clear(c.buf)
		for off < size {
			n, err := c.w.Write(c.buf[:min(piece, size-off)])
			if err != nil {
				return err
			}
			off += int64(n)
		}
		if err := c.refuse("-f", p, why); err != nil {
			return err
		}
		_, err := c.answer()
		return err
	}
	if err := c.ok(); err != nil {
		return err
	}
	refused, err := c.answer()
	if refused || err != nil {
		why = c.lost(err)
	}
	c.sent(p, off, begun, why)
	return err
}

// lost is why a download has ended whose client takes no more.
func (c *scp) lost(err error) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return fault.Because(err, fault.Cut, fault.IDDataLost)
}

func (c *scp) sent(p vfs.Path, n int64, begun time.Time, err error) {
	t := event.Transfer{
		Direction: event.Download, Path: p.String(), Bytes: n, Took: time.Since(begun), Road: string(transfer.RoadPackets), Whole: err == nil,
	}
	if err != nil {
		t.Reason = string(fault.Of(err).ID)
	}
	c.session.Transferred(t)
}
