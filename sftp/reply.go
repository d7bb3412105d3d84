package sftp

import "encoding/binary"

// A Reply is one packet of a server, as a client reads it.
type Reply struct {
	Type    Type
	ID      uint32 // not in VERSION
	Version uint32 // VERSION
	Pairs   []Pair // VERSION

	Code     Code   // STATUS
	Text     []byte // STATUS: what the server says, for people
	Language []byte // STATUS
	Handle   []byte // HANDLE
	Data     []byte // DATA; EXTENDED_REPLY: all of it
	Attrs    Attributes
	Names    []Name // NAME
}

// A Name is one entry of NAME.
type Name struct {
	Name, Long []byte
	Attrs      Attributes
}

// Parse reads a packet that Split returned. Bytes behind what the type needs are
// no error, and a STATUS may end behind its code, as those of old servers do. The
// extended attributes of names are left out.
func (p *Reply) Parse(body []byte) error {
	pairs, extended, names := p.Pairs[:0], p.Attrs.Extended[:0], p.Names[:0]
	*p = Reply{Pairs: pairs, Names: names, Attrs: Attributes{Extended: extended}}
	r := reader{b: body}
	p.Type = Type(r.byte())
	if p.Type == TypeVersion {
		p.Version = r.uint32()
		p.Pairs = r.pairs(p.Pairs)
		return r.err()
	}
	p.ID = r.uint32()
	switch p.Type {
	case TypeStatus:
		p.Code = Code(r.uint32())
		if len(r.b) > 0 {
			p.Text = r.bytes()
		}
		if len(r.b) > 0 {
			p.Language = r.bytes()
		}
	case TypeHandle:
		p.Handle = r.handle()
	case TypeData:
		p.Data = r.bytes()
	case TypeAttrs:
		r.attributes(&p.Attrs)
	case TypeName:
		r.names(p)
	case TypeExtendedReply:
		p.Data = r.rest()
	default:
		r.bad = true
	}
	return r.err()
}

func (r *reader) names(p *Reply) {
	// Each takes 12 bytes at least, so what is announced can't be more than there is.
	n := r.uint32()
	if uint64(n)*12 > uint64(len(r.b)) {
		r.bad = true
		return
	}
	for range n {
		name := Name{Name: r.bytes(), Long: r.bytes()}
		r.attributes(&name.Attrs)
		if r.bad {
			return
		}
		name.Attrs.Extended = nil
		name.Attrs.Flags &^= HasExtended
		p.Names = append(p.Names, name)
	}
}

// AppendVersion appends the answer to INIT.
func AppendVersion(b []byte, pairs []Pair) []byte {
	start, b := begin(b, TypeVersion)
	return end(appendPairs(appendUint32(b, Version), pairs), start)
}

// AppendStatus appends a STATUS. The text is for people, in English.
func AppendStatus(b []byte, id uint32, c Code, text string) []byte {
	start, b := begin(b, TypeStatus)
	b = appendUint32(appendUint32(b, id), uint32(c))
	return end(appendString(appendString(b, text), "en"), start)
}

// AppendHandle appends a HANDLE.
func AppendHandle(b []byte, id uint32, handle []byte) []byte {
	start, b := begin(b, TypeHandle)
	return end(appendString(appendUint32(b, id), handle), start)
}

// AppendAttrs appends an ATTRS.
func AppendAttrs(b []byte, id uint32, a *Attributes) []byte {
	start, b := begin(b, TypeAttrs)
	return end(a.Append(appendUint32(b, id)), start)
}

// DataHeader is how many bytes of a DATA packet come before its data.
const DataHeader = 4 + 1 + 4 + 4

// PutData writes the header of a DATA packet of n bytes into the first DataHeader
// bytes of b; the data follow it.
func PutData(b []byte, id uint32, n int) {
	binary.BigEndian.PutUint32(b, uint32(n+DataHeader-4))
	b[4] = byte(TypeData)
	binary.BigEndian.PutUint32(b[5:], id)
	binary.BigEndian.PutUint32(b[9:], uint32(n))
}

// Names is a NAME that is being written.
type Names struct {
	start, count int
}

// BeginNames appends the beginning of a NAME.
func BeginNames(b []byte, id uint32) (Names, []byte) {
	start, b := begin(b, TypeName)
	return Names{start: start}, appendUint32(appendUint32(b, id), 0)
}

// Append appends one name. Long is the line of ls -l.
func (n *Names) Append(b, name, long []byte, a *Attributes) []byte {
	n.count++
	return a.Append(appendString(appendString(b, name), long))
}

// Len is how many names there are.
func (n *Names) Len() int { return n.count }

// Bytes is how long the packet is so far, without its length.
func (n *Names) Bytes(b []byte) int { return len(b) - n.start - 4 }

// End completes the packet.
func (n *Names) End(b []byte) []byte {
	binary.BigEndian.PutUint32(b[n.start+9:], uint32(n.count))
	return end(b, n.start)
}

// AppendName appends a NAME of one, the answer to REALPATH and READLINK.
func AppendName(b []byte, id uint32, name string, a *Attributes) []byte {
	n, b := BeginNames(b, id)
	return n.End(n.Append(b, []byte(name), []byte(name), a))
}

// A FileSystem is what statvfs@openssh.com answers (OpenSSH, PROTOCOL, 4.3).
// Sizes of files are in units of Fragment bytes.
type FileSystem struct {
	BlockSize, Fragment     uint64
	Blocks, Free, Available uint64
	Files, FilesFree        uint64
	FilesAvailable          uint64
	ID, Flags, NameMax      uint64
}

func (f *FileSystem) fields() [11]*uint64 {
	return [...]*uint64{&f.BlockSize, &f.Fragment, &f.Blocks, &f.Free, &f.Available,
		&f.Files, &f.FilesFree, &f.FilesAvailable, &f.ID, &f.Flags, &f.NameMax}
}

// AppendFileSystem appends the answer to statvfs and fstatvfs.
func AppendFileSystem(b []byte, id uint32, f FileSystem) []byte {
	return appendNumbers(b, id, f.fields())
}

// ParseFileSystem reads the Data of an answer to statvfs.
func ParseFileSystem(data []byte) (f FileSystem, err error) {
	return f, parseNumbers(data, f.fields())
}

// Limits is what limits@openssh.com answers, in bytes; 0 is unlimited.
type Limits struct{ Packet, Read, Write, Handles uint64 }

func (l *Limits) fields() [4]*uint64 { return [...]*uint64{&l.Packet, &l.Read, &l.Write, &l.Handles} }

// AppendLimits appends the answer to limits@openssh.com.
func AppendLimits(b []byte, id uint32, l Limits) []byte {
	return appendNumbers(b, id, l.fields())
}

// ParseLimits reads the Data of an answer to limits@openssh.com.
func ParseLimits(data []byte) (l Limits, err error) {
	return l, parseNumbers(data, l.fields())
}

func appendNumbers[F [4]*uint64 | [11]*uint64](b []byte, id uint32, fields F) []byte {
	start, b := begin(b, TypeExtendedReply)
	b = appendUint32(b, id)
	for i := range len(fields) {
		b = appendUint64(b, *fields[i])
	}
	return end(b, start)
}

func parseNumbers[F [4]*uint64 | [11]*uint64](data []byte, fields F) error {
	r := reader{b: data}
	for i := range len(fields) {
		*fields[i] = r.uint64()
	}
	return r.err()
}

// AppendOwners appends the answer to users-groups-by-id@openssh.com: a name for
// each id that was asked for, empty where there is none.
func AppendOwners(b []byte, id uint32, users, groups []string) []byte {
	start, b := begin(b, TypeExtendedReply)
	b = appendUint32(b, id)
	for _, names := range [...][]string{users, groups} {
		size := 0
		for _, name := range names {
			size += 4 + len(name)
		}
		b = appendUint32(b, uint32(size))
		for _, name := range names {
			b = appendString(b, name)
		}
	}
	return end(b, start)
}

// ParseOwners reads the Data of an answer to users-groups-by-id@openssh.com.
func ParseOwners(data []byte) (users, groups []string, err error) {
	r := reader{b: data}
	for _, into := range [...]*[]string{&users, &groups} {
		names := reader{b: r.bytes()}
		for len(names.b) > 0 && !names.bad {
			*into = append(*into, names.string())
		}
		r.bad = r.bad || names.bad
	}
	return users, groups, r.err()
}

// NumberAt is the i-th id of Request.UIDs or GIDs.
func NumberAt(ids []byte, i int) uint32 { return binary.BigEndian.Uint32(ids[4*i:]) }

// AppendSums appends the answer to a check-file: the name of the algorithm and the
// sums one behind the other (draft-ietf-secsh-filexfer-extensions-00, 3). Under the
// name ExtCheck that name comes first, as paramiko has it; under the two others
// WinSCP would take it for the algorithm.
func (q *Request) AppendSums(b []byte, algorithm string, sums []byte) []byte {
	start, b := begin(b, TypeExtendedReply)
	b = appendUint32(b, q.ID)
	if string(q.Extension) == ExtCheck {
		b = appendString(b, ExtCheck)
	}
	b = appendString(b, algorithm)
	return end(append(b, sums...), start)
}

// ParseSums reads the Data of the answer to q, a check-file. The name of the
// extension in front of it, which some servers send, is taken off.
func (q *Request) ParseSums(data []byte) (algorithm string, sums []byte, err error) {
	r := reader{b: data}
	algorithm = r.string()
	if algorithm == ExtCheck {
		algorithm = r.string()
	}
	sums = r.rest()
	return algorithm, sums, r.err()
}
