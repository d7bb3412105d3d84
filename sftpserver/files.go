package sftpserver

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"time"

	"dray/account"
	"dray/event"
	"dray/fault"
	"dray/gate"
	"dray/sftp"
	"dray/vfs"
)

// open begins what the flags ask for (draft-ietf-secsh-filexfer-02, 6.3). What
// makes a file, or throws away what one holds, is written beside the name and
// published by CLOSE; what changes a part of a finished file is written where it
// is; EXCL makes the name at once, because clients use it as a lock.
func (d *dialogue) open(q *sftp.Request) error {
	p, err := d.resolveFile(q.Path)
	if err != nil {
		return err
	}
	flags := q.Flags
	h := &handle{writes: flags&(sftp.OpenWrite|sftp.OpenAppend) != 0, appends: flags&sftp.OpenAppend != 0}
	h.reads = flags&sftp.OpenRead != 0 || !h.writes
	switch {
	case d.handles.open == maxHandles: // before anything is made
		return fault.New(fault.Busy, fault.IDBusy, "open handles", d.handles.open, maxHandles)
	case (h.writes || flags&(sftp.OpenTrunc|sftp.OpenCreate) != 0) && d.readOnly():
		return fault.New(fault.Denied, fault.IDReadOnly)
	}
	if h.file, err = d.file(p, q, h); err != nil {
		return err
	}
	return d.add(h)
}

// file is what an OPEN opens.
func (d *dialogue) file(p vfs.Path, q *sftp.Request, h *handle) (*file, error) {
	const makes, empties, only = sftp.OpenCreate, sftp.OpenTrunc, sftp.OpenExcl
	flags := q.Flags
	f := &file{path: p, begun: time.Now()}
	newest := d.newest[p]
	var err error
	switch {
	case flags&makes != 0 && flags&only != 0:
		if newest != nil && !newest.unlinked {
			return nil, fault.New(fault.Exists, fault.IDExists, p.String())
		}
		if !d.session.RightsIn(p.Dir(), p.Base()).Has(account.List) { // where nothing is to be told it may get a name of its own
			return d.beside(f, h, vfs.Create{How: vfs.New, Mode: d.mode(&q.Attrs)})
		}
		f.edit, err = d.session.Make(d.ctx, p, d.mode(&q.Attrs))
		return f, err
	case flags&makes != 0 && flags&empties != 0:
		return d.beside(f, h, vfs.Create{How: vfs.Replace, Mode: d.mode(&q.Attrs)})
	case newest != nil && !newest.unlinked:
		if flags&empties != 0 {
			if err := newest.up.Truncate(d.ctx, 0); err != nil {
				return nil, err
			}
		}
		return newest, nil
	case !h.writes && flags&(makes|empties) == 0:
		return d.reading(f)
	case !h.writes && flags&empties == 0: // made when it is missing, and only read
		if r, err := d.reading(f); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return r, err
		}
	}
	_, err = d.session.Finished(d.ctx, p)
	if d.session.Blind(p) && flags&makes != 0 {
		err = fs.ErrNotExist // nobody may tell
	}
	switch {
	case err == nil:
		// OpenSSH's scp opens so what it replaces, and so does who changes a part of it: the
		// first byte that is written tells.
		f.fresh = flags == sftp.OpenWrite|makes && d.session.Account().Uploads != account.UploadsInPlace
		if f.edit, err = d.session.Edit(d.ctx, p); err == nil && flags&empties != 0 {
			d.settle()
			if err = f.edit.Truncate(d.ctx, 0); err != nil {
				err = errors.Join(err, f.edit.Close(d.ctx, err))
			}
		}
		return f, err
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if part, perr := d.session.Partial(d.ctx, p); perr == nil && flags&empties == 0 {
		return d.beside(f, h, vfs.Create{How: vfs.Resume, Offset: part.Size()})
	}
	if flags&makes == 0 {
		return nil, err
	}
	return d.beside(f, h, vfs.Create{How: vfs.Replace, Mode: d.mode(&q.Attrs)})
}

// reading opens a finished file, or the account's partial where there is none.
func (d *dialogue) reading(f *file) (_ *file, err error) {
	f.read, err = d.session.Open(d.ctx, f.path)
	if err != nil && errors.Is(err, fs.ErrNotExist) {
		if part, perr := d.session.OpenPartial(d.ctx, f.path); perr == nil {
			f.read, err = part, nil
		}
	}
	if err != nil {
		return f, err
	}
	f.finished = d.session.Begin(event.Download, f.path, -1, f.moved)
	f.ready, _ = f.read.(vfs.Ready)
	return f, nil
}

// beside begins an upload.
func (d *dialogue) beside(f *file, h *handle, how vfs.Create) (_ *file, err error) {
	if f.up, err = d.session.Create(d.ctx, f.path, how); err != nil {
		return nil, err
	}
	d.shows(f, h)
	return f, nil
}

// mode are the permission bits of a new file, less what the umask takes away; 0 for
// what the tree gives.
func (d *dialogue) mode(a *sftp.Attributes) fs.FileMode {
	acc := d.session.Account()
	if !a.Has(sftp.HasMode) {
		return 0
	}
	return a.FileMode().Perm() &^ acc.Umask()
}

func (d *dialogue) read(q *sftp.Request) error {
	h := d.h
	switch {
	case h.file == nil:
		return fault.New(fault.IsDir, fault.IDIsDir, h.dir.path.String())
	case !h.reads:
		return fault.Because(errHandle, fault.Denied, fault.IDHandle)
	case q.Offset > math.MaxInt64-sftp.MaxData:
		return io.EOF
	}
	n := int(min(q.Length, sftp.MaxData))
	if n > 0 {
		if err := d.session.Sends(d.ctx, n, d.flush); err != nil {
			return err
		}
	}
	if err := d.room(sftp.DataHeader + n); err != nil {
		return err
	}
	at := len(d.out)
	buf := d.out[at+sftp.DataHeader : at+sftp.DataHeader+n]
	got, err := d.readAt(h.file, buf, int64(q.Offset))
	switch {
	case err == errAway:
		d.said = true
		return nil
	case got > 0 || n == 0:
	case err == nil || err == io.EOF:
		h.file.ended()
		return io.EOF
	default:
		return err
	}
	d.say(d.out[:at+sftp.DataHeader+got])
	sftp.PutData(d.out[at:], q.ID, got)
	h.file.delivered(int64(q.Offset), got)
	return nil
}

func (f *file) readAt(b []byte, off int64) (int, error) {
	switch {
	case f.up != nil:
		return f.up.ReadAt(b, off)
	case f.edit != nil:
		return f.edit.ReadAt(b, off)
	case f.read != nil:
		return f.read.ReadAt(b, off)
	}
	return 0, f.gone()
}

// gone is the answer to requests for an upload that was cut.
func (f *file) gone() error {
	if f.failed != nil {
		return f.failed
	}
	return fault.New(fault.Internal, fault.IDInternal)
}

func (d *dialogue) write(q *sftp.Request) error {
	h := d.h
	switch {
	case h.file == nil:
		return fault.New(fault.IsDir, fault.IDIsDir, h.dir.path.String())
	case !h.writes:
		return fault.Because(errHandle, fault.Denied, fault.IDHandle)
	case q.Offset > math.MaxInt64:
		return gate.ErrTooLarge()
	}
	return d.writeTo(h, q.Data, int64(q.Offset))
}

func (d *dialogue) writeTo(h *handle, b []byte, off int64) error {
	if err := d.begin(h, off); err != nil {
		return err
	}
	switch f := h.file; {
	case f.edit != nil && h.appends:
		return f.edit.Append(d.ctx, b)
	case f.edit != nil:
		return f.edit.Write(d.ctx, b, off)
	case f.up == nil:
		return f.gone()
	case h.appends:
		fi, err := f.up.Stat()
		if err != nil {
			return err
		}
		return d.wrote(f, f.up.Write(d.ctx, b, fi.Size()))
	default:
		return d.wrote(f, f.up.Write(d.ctx, b, off))
	}
}

// begin is ahead of what is written to a file.
func (d *dialogue) begin(h *handle, off int64) error {
	f := h.file
	if f.edit != nil {
		d.settle()
	}
	if !f.fresh {
		return nil
	}
	if f.fresh = false; off > 0 {
		return nil
	}
	return d.over(h)
}

// wrote ends an upload with its first write that fails: what comes behind a piece that
// is missing makes no file. The answer says what is kept.
func (d *dialogue) wrote(f *file, err error) error {
	if err != nil {
		return d.discard(f, err)
	}
	return nil
}

// over makes a finished file that is open to be changed an upload that goes over it, so
// that it survives when that is cut. Where no upload can be made it is changed where it is.
func (d *dialogue) over(h *handle) error {
	f := h.file
	up, err := d.session.Create(d.ctx, f.path, vfs.Create{How: vfs.Replace})
	if err != nil {
		if fault.KindOf(err) == fault.Denied {
			return nil
		}
		return d.notOver(h, err)
	}
	if err := up.Over(f.edit); err != nil {
		return d.notOver(h, errors.Join(err, up.Drop(d.ctx)))
	}
	f.edit, f.up = nil, up
	d.shows(f, h)
	return nil
}

// notOver ends what a file was opened for: the writes behind that which was to begin the
// upload must not go into the file in its place.
func (d *dialogue) notOver(h *handle, err error) error {
	f := h.file
	err = errors.Join(err, f.edit.Close(d.ctx, err))
	f.edit, f.failed, h.creator = nil, err, true
	return err
}

// shows makes an upload of h what requests see under its name.
func (d *dialogue) shows(f *file, h *handle) {
	h.creator = true
	if d.newest == nil {
		d.newest = map[vfs.Path]*file{}
	}
	d.newest[f.path] = f
}

func (d *dialogue) fstat(q *sftp.Request) error {
	fi, err := d.info(d.h)
	if err != nil {
		return err
	}
	d.attrs(fi)
	return nil
}

// info tells about what a handle has open.
func (d *dialogue) info(h *handle) (fs.FileInfo, error) {
	switch f := h.file; {
	case f == nil:
		return d.session.Finished(d.ctx, h.dir.path)
	case f.up != nil:
		return f.up.Stat()
	case f.edit != nil:
		return f.edit.Stat()
	case f.read != nil:
		return f.read.Stat()
	default:
		return nil, f.gone()
	}
}

// changer is what SETSTAT changes: an upload, or a file.
type changer interface {
	setSize(size int64) error
	chmod(mode fs.FileMode) error
	setTime(mtime time.Time) error
	stat() (fs.FileInfo, error)
}

func (d *dialogue) fsetstat(q *sftp.Request) error {
	h := d.h
	if h.file == nil {
		return d.change(&named{d, h.dir.path}, &q.Attrs)
	}
	if q.Attrs.Has(sftp.HasSize) && !h.writes {
		return fault.Because(errHandle, fault.Denied, fault.IDHandle)
	}
	if h.file.fresh && q.Attrs.Has(sftp.HasSize) {
		if h.file.fresh = false; q.Attrs.Size == 0 {
			if err := d.over(h); err != nil {
				return err
			}
		}
	}
	return d.change(&opened{d, h.file}, &q.Attrs)
}

// opened is an open file as a changer.
type opened struct {
	d *dialogue
	f *file
}

func (o *opened) setSize(size int64) error {
	switch {
	case o.f.up != nil:
		return o.f.up.Truncate(o.d.ctx, size)
	case o.f.edit != nil:
		return o.f.edit.Truncate(o.d.ctx, size)
	}
	return o.f.gone()
}

func (o *opened) chmod(mode fs.FileMode) error {
	switch {
	case o.f.up != nil:
		return o.f.up.Chmod(mode)
	case o.f.edit != nil:
		return o.f.edit.Chmod(mode)
	case o.f.read != nil:
		return o.d.session.Chmod(o.d.ctx, o.f.path, mode)
	}
	return o.f.gone()
}

func (o *opened) setTime(mtime time.Time) error {
	switch {
	case o.f.up != nil:
		return o.f.up.SetTime(mtime)
	case o.f.edit != nil:
		return o.f.edit.SetTime(mtime)
	case o.f.read != nil:
		return o.d.session.SetTime(o.d.ctx, o.f.path, mtime)
	}
	return o.f.gone()
}

func (o *opened) stat() (fs.FileInfo, error) { return o.d.info(&handle{file: o.f}) }

// fsync makes what was written durable. An upload is published by it: the client has
// said that it wants what is there to stay.
func (d *dialogue) fsync(*sftp.Request) error {
	f := d.h.file
	switch {
	case f == nil:
		return nil // of a directory: every change of names is durable when it is answered
	case f.up != nil && !f.unlinked:
		return d.publish(f, true)
	case f.edit != nil:
		return f.edit.Sync(d.ctx)
	case f.read != nil || f.up != nil:
		return nil
	}
	return f.gone()
}

// copyBytes is how much copyData moves at a time, and what has room or is not written.
const copyBytes = 1 << 20

// copyData copies between two open files (draft-ietf-secsh-filexfer-extensions-00, 7).
func (d *dialogue) copyData(q *sftp.Request) error {
	from, to := d.h, d.handles.find(q.Into)
	switch {
	case to == nil:
		return fault.Because(errHandle, fault.Sequence, fault.IDHandle)
	case from.file == nil || to.file == nil:
		return fault.New(fault.IsDir, fault.IDIsDir, "/")
	case !from.reads, !to.writes:
		return fault.Because(errHandle, fault.Denied, fault.IDHandle)
	case from.file == to.file || q.Offset > math.MaxInt64 || q.At > math.MaxInt64 || q.Size > math.MaxInt64:
		return fault.New(fault.Unsupported, fault.IDUnsupported, "copy-data between two files, within 2^63 bytes")
	}
	in, out, left := int64(q.Offset), int64(q.At), int64(q.Size)
	if q.Size == 0 { // to the end, where it is now: both may be one file
		fi, err := d.info(from)
		if err != nil {
			return err
		}
		left = fi.Size() - in
	}
	for left > 0 {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		n, err := d.copyPiece(to, from, in, out, min(left, copyBytes))
		if n == 0 || err != nil {
			return err
		}
		in, out, left = in+n, out+n, left-n
	}
	return nil
}

// copyPiece copies what there is of n bytes.
func (d *dialogue) copyPiece(to, from *handle, in, out, n int64) (int64, error) {
	fi, err := d.info(from)
	if err != nil {
		return 0, err
	}
	if n = min(n, fi.Size()-in); n <= 0 {
		return 0, nil
	}
	if to.appends { // behind what there is by then, and not at out
		b := make([]byte, n)
		got, err := from.file.readAt(b, in)
		if got == 0 && err != io.EOF {
			return 0, err
		}
		return int64(got), d.writeTo(to, b[:got], out)
	}
	if err := d.begin(to, out); err != nil {
		return 0, err
	}
	var src vfs.File = &summed{from.file, d.info}
	if from.file.read != nil { // which the kernel may copy
		src = from.file.read
	}
	switch f := to.file; {
	case f.edit != nil:
		return f.edit.Copy(d.ctx, src, in, out, n)
	case f.up != nil:
		n, err := f.up.Copy(d.ctx, src, in, out, n)
		return n, d.wrote(f, err)
	default:
		return 0, f.gone()
	}
}

func (d *dialogue) fstatvfs(*sftp.Request) error {
	if f := d.h.file; f != nil {
		return d.space(f.path.Dir())
	}
	return d.space(d.h.dir.path)
}
