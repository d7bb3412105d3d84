package sftp

// A Request is one packet of a client. Type says which of the fields it has, and
// with TypeExtended the name of the extension in Extension does. A Request may be
// used again for the next packet; its slices point into the packet.
type Request struct {
	Type      Type
	ID        uint32 // not in INIT
	Version   uint32 // INIT
	Pairs     []Pair // INIT
	Extension []byte // EXTENDED

	Path   []byte // all that name one; the old name of RENAME, the file of a hard link, what READLINK and REALPATH ask for; of SYMLINK where the link leads
	To     []byte // RENAME, posix-rename, hardlink: the new name; SYMLINK: the link
	Handle []byte // all that have one; of copy-data where it reads
	Into   []byte // copy-data: the handle where it writes

	Flags  uint32 // OPEN
	Attrs  Attributes
	Offset uint64 // READ, WRITE, copy-data, check-file
	Length uint32 // READ
	Data   []byte // WRITE; EXTENDED of a name that is not known here: all of it

	Size       uint64 // copy-data, check-file: how much, 0 for all that follows
	At         uint64 // copy-data: where it writes
	Algorithms []byte // check-file: names with commas between
	Block      uint32 // check-file: bytes for each sum, 0 for one over all
	UIDs, GIDs []byte // users-groups-by-id: 4 bytes each
}

// Parse reads a packet that Split returned. SYMLINK is read in the order of
// OpenSSH, where the link leads first; see SwapLink. Bytes behind what the type
// needs are no error. ErrMalformed leaves Type and ID as far as they were read, so
// that it can be answered.
func (q *Request) Parse(body []byte) error {
	pairs, extended := q.Pairs[:0], q.Attrs.Extended[:0]
	*q = Request{Pairs: pairs, Attrs: Attributes{Extended: extended}}
	r := reader{b: body}
	q.Type = Type(r.byte())
	if q.Type == TypeInit {
		q.Version = r.uint32()
		q.Pairs = r.pairs(q.Pairs)
		return r.err()
	}
	q.ID = r.uint32()
	switch q.Type {
	case TypeOpen:
		q.Path, q.Flags = r.bytes(), r.uint32()
		r.attributes(&q.Attrs)
	case TypeClose, TypeFstat, TypeReaddir:
		q.Handle = r.handle()
	case TypeRead:
		q.Handle, q.Offset, q.Length = r.handle(), r.uint64(), r.uint32()
	case TypeWrite:
		q.Handle, q.Offset, q.Data = r.handle(), r.uint64(), r.bytes()
	case TypeLstat, TypeStat, TypeOpendir, TypeRemove, TypeRmdir, TypeRealpath, TypeReadlink:
		q.Path = r.bytes()
	case TypeSetstat, TypeMkdir:
		q.Path = r.bytes()
		r.attributes(&q.Attrs)
	case TypeFsetstat:
		q.Handle = r.handle()
		r.attributes(&q.Attrs)
	case TypeRename, TypeSymlink:
		q.Path, q.To = r.bytes(), r.bytes()
	case TypeExtended:
		q.Extension = r.bytes()
		q.extension(&r)
	default:
		q.Data = r.rest()
	}
	return r.err()
}

func (q *Request) extension(r *reader) {
	switch string(q.Extension) {
	case ExtPosixRename, ExtHardlink:
		q.Path, q.To = r.bytes(), r.bytes()
	case ExtStatvfs, ExtExpandPath, ExtHomeDirectory:
		q.Path = r.bytes()
	case ExtFstatvfs, ExtFsync:
		q.Handle = r.handle()
	case ExtLsetstat:
		q.Path = r.bytes()
		r.attributes(&q.Attrs)
	case ExtLimits, ExtSight:
	case ExtCopyData:
		q.Handle, q.Offset, q.Size = r.handle(), r.uint64(), r.uint64()
		q.Into, q.At = r.handle(), r.uint64()
	case ExtUsersGroups:
		q.UIDs, q.GIDs = r.bytes(), r.bytes()
		r.bad = r.bad || len(q.UIDs)%4 != 0 || len(q.GIDs)%4 != 0
	case ExtCheckName:
		q.Path = r.bytes()
		q.check(r)
	case ExtCheckHandle, ExtCheck:
		q.Handle = r.handle()
		q.check(r)
	default:
		q.Data = r.rest()
	}
}

func (q *Request) check(r *reader) {
	q.Algorithms, q.Offset, q.Size, q.Block = r.bytes(), r.uint64(), r.uint64(), r.uint32()
}

// SwapLink makes a SYMLINK that was written as the draft has it, the link first,
// one in the order of OpenSSH.
func (q *Request) SwapLink() { q.Path, q.To = q.To, q.Path }

// pairs are all that is left.
func (r *reader) pairs(into []Pair) []Pair {
	for len(r.b) > 0 && !r.bad {
		if len(into) == MaxPairs {
			r.bad = true
			break
		}
		into = append(into, Pair{r.bytes(), r.bytes()})
	}
	return into
}

// Append appends the packet with its length.
func (q *Request) Append(b []byte) []byte {
	start, b := begin(b, q.Type)
	if q.Type == TypeInit {
		return end(appendPairs(appendUint32(b, q.Version), q.Pairs), start)
	}
	b = appendUint32(b, q.ID)
	switch q.Type {
	case TypeOpen:
		b = appendUint32(appendString(b, q.Path), q.Flags)
		b = q.Attrs.Append(b)
	case TypeClose, TypeFstat, TypeReaddir:
		b = appendString(b, q.Handle)
	case TypeRead:
		b = appendUint32(appendUint64(appendString(b, q.Handle), q.Offset), q.Length)
	case TypeWrite:
		b = appendString(appendUint64(appendString(b, q.Handle), q.Offset), q.Data)
	case TypeLstat, TypeStat, TypeOpendir, TypeRemove, TypeRmdir, TypeRealpath, TypeReadlink:
		b = appendString(b, q.Path)
	case TypeSetstat, TypeMkdir:
		b = q.Attrs.Append(appendString(b, q.Path))
	case TypeFsetstat:
		b = q.Attrs.Append(appendString(b, q.Handle))
	case TypeRename, TypeSymlink:
		b = appendString(appendString(b, q.Path), q.To)
	case TypeExtended:
		b = q.appendExtension(appendString(b, q.Extension))
	default:
		b = append(b, q.Data...)
	}
	return end(b, start)
}

func (q *Request) appendExtension(b []byte) []byte {
	switch string(q.Extension) {
	case ExtPosixRename, ExtHardlink:
		return appendString(appendString(b, q.Path), q.To)
	case ExtStatvfs, ExtExpandPath, ExtHomeDirectory:
		return appendString(b, q.Path)
	case ExtFstatvfs, ExtFsync:
		return appendString(b, q.Handle)
	case ExtLsetstat:
		return q.Attrs.Append(appendString(b, q.Path))
	case ExtLimits, ExtSight:
		return b
	case ExtCopyData:
		b = appendUint64(appendUint64(appendString(b, q.Handle), q.Offset), q.Size)
		return appendUint64(appendString(b, q.Into), q.At)
	case ExtUsersGroups:
		return appendString(appendString(b, q.UIDs), q.GIDs)
	case ExtCheckName:
		return q.appendCheck(appendString(b, q.Path))
	case ExtCheckHandle, ExtCheck:
		return q.appendCheck(appendString(b, q.Handle))
	}
	return append(b, q.Data...)
}

func (q *Request) appendCheck(b []byte) []byte {
	b = appendUint64(appendUint64(appendString(b, q.Algorithms), q.Offset), q.Size)
	return appendUint32(b, q.Block)
}

func appendPairs(b []byte, pairs []Pair) []byte {
	for _, p := range pairs {
		b = appendString(appendString(b, p.Name), p.Data)
	}
	return b
}
