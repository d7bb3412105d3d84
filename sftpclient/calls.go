package sftpclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"dray/fault"
	"dray/sftp"
)

// A call is one request whose answer is awaited.
type call struct {
	want  sftp.Type
	done  chan struct{}
	reply sftp.Reply // a copy, set before done is closed
	into  []byte     // where DATA goes; reply.Data is what was filled of it
	err   error
}

func newCall(want sftp.Type) *call { return &call{want: want, done: make(chan struct{})} }

// take keeps the answer.
func (k *call) take(p *sftp.Reply, a asked) error {
	defer close(k.done)
	if k.err = fits(p, k.want); k.err != nil {
		return k.err
	}
	if p.Type == sftp.TypeData {
		if len(p.Data) > len(k.into) {
			k.err = errLong
			return k.err
		}
		k.reply = sftp.Reply{Type: p.Type, Data: k.into[:copy(k.into, p.Data)]}
		return nil
	}
	k.reply = kept(p)
	return nil
}

var errLong = errors.New("more data than was asked for")

// fits checks that p is what answers a request whose answer is of the type want,
// or a status that refuses.
func fits(p *sftp.Reply, want sftp.Type) error {
	if p.Type == want || p.Type == sftp.TypeStatus && p.Code != sftp.OK {
		return nil
	}
	return fmt.Errorf("an answer of type %d where %d was due", p.Type, want)
}

// kept is a copy of an answer, without what nobody asks for.
func kept(p *sftp.Reply) sftp.Reply {
	r := *p
	r.Language = nil
	r.Text = bytes.Clone(p.Text[:min(len(p.Text), maxSaid)])
	r.Handle, r.Data = bytes.Clone(p.Handle), bytes.Clone(p.Data)
	r.Pairs = nil
	for _, x := range p.Pairs {
		r.Pairs = append(r.Pairs, sftp.Pair{Name: bytes.Clone(x.Name), Data: bytes.Clone(x.Data)})
	}
	r.Attrs.Extended, r.Names = nil, nil
	r.Attrs.Flags &^= sftp.HasExtended
	if len(p.Names) > 0 { // of REALPATH and READLINK, which have one
		n := p.Names[0]
		n.Name, n.Long = bytes.Clone(n.Name), nil
		r.Names = []sftp.Name{n}
	}
	return r
}

// await waits for k. When ctx ends first, the answer goes to left.
func (c *Client) await(ctx context.Context, id uint32, k *call, left asker) (p *sftp.Reply, gone bool, err error) {
	select {
	case <-k.done:
	default:
		select {
		case <-k.done:
		case <-ctx.Done():
			if c.leave(id, left) {
				return nil, true, context.Cause(ctx)
			}
			<-k.done
		case <-c.dead:
			select {
			case <-k.done: // the last that came
			default:
				return nil, false, c.err
			}
		}
	}
	if k.err != nil {
		return nil, false, c.bad(k.err)
	}
	return &k.reply, false, nil
}

// do asks and waits for an answer of the type want. A status is an error, unless it
// is OK and wanted. path is what errors say it was about.
func (c *Client) do(ctx context.Context, q *sftp.Request, want sftp.Type, path string) (*sftp.Reply, error) {
	return c.patiently(ctx, q, want, path, usual)
}

func (c *Client) patiently(ctx context.Context, q *sftp.Request, want sftp.Type, path string, how patience) (*sftp.Reply, error) {
	if err := c.ready(ctx, q); err != nil {
		return nil, err
	}
	began := c.now()
	p, err := c.begun(q, want, how).answer(ctx, path)
	if err == nil && how == usual {
		c.sample(c.now() - began)
	}
	return p, err
}

// A pending is a request whose answer is awaited later.
type pending struct {
	c   *Client
	q   sftp.Request
	id  uint32
	k   *call
	err error // it could not be asked
}

// begun asks for something whose answer is of the type want.
func (c *Client) begun(q *sftp.Request, want sftp.Type, how patience) *pending {
	p := &pending{c: c, q: *q, k: newCall(want)}
	p.id, p.err = c.ask(q, asked{by: p.k, patience: how})
	return p
}

// answer waits for it, once. A status is an error, unless it is OK and wanted. path is
// what errors say it was about.
func (p *pending) answer(ctx context.Context, path string) (*sftp.Reply, error) {
	if p.err != nil {
		return nil, p.err
	}
	r, _, err := p.c.await(ctx, p.id, p.k, nobody{})
	if err != nil {
		return nil, err
	}
	if r.Type == sftp.TypeStatus && r.Code != sftp.OK {
		return nil, p.c.refused(&p.q, path, r)
	}
	return r, nil
}

// status is answer where only that counts.
func (p *pending) status(ctx context.Context, path string) error {
	_, err := p.answer(ctx, path)
	return err
}

// ready refuses what need not be asked.
func (c *Client) ready(ctx context.Context, q *sftp.Request) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, p := range [...][]byte{q.Path, q.To} {
		if len(p) > maxPath || bytes.IndexByte(p, 0) >= 0 {
			return fault.New(fault.BadName, fault.IDBadName, bounded(string(p)))
		}
	}
	return nil
}

// lacks is the error of a request that needs an extension.
func (c *Client) lacks(what, ext string) error {
	return fault.New(fault.Unsupported, fault.IDUnsupported, what+" ("+ext+")")
}

// named is the one name that answers REALPATH and its like.
func (c *Client) named(p *sftp.Reply, err error) (string, error) {
	if err != nil {
		return "", err
	}
	if len(p.Names) == 0 {
		return "", c.bad(errors.New("a NAME without a name"))
	}
	return string(p.Names[0].Name), nil
}

// Realpath is an absolute path without "." and "..", and with some servers without
// links. Of "" or "." it is where the session begins.
func (c *Client) Realpath(ctx context.Context, path string) (string, error) {
	return c.named(c.do(ctx, &sftp.Request{Type: sftp.TypeRealpath, Path: []byte(path)}, sftp.TypeName, path))
}

// Home is the directory in which the session begins.
func (c *Client) Home(ctx context.Context) (string, error) {
	if c.home == nil {
		return c.Realpath(ctx, ".")
	}
	select {
	case <-c.home.known:
		return c.home.path, c.home.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Expand resolves a path that begins with ~ or ~user, where the server can do that;
// where it can't, "~" and "~/…" by where the session begins.
func (c *Client) Expand(ctx context.Context, path string) (string, error) {
	if c.Has(sftp.ExtExpandPath) {
		q := &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtExpandPath), Path: []byte(path)}
		return c.named(c.do(ctx, q, sftp.TypeName, path))
	}
	rest, ok := strings.CutPrefix(path, "~")
	switch {
	case !ok:
		return c.Realpath(ctx, path)
	case rest == "":
		return c.Home(ctx)
	case rest[0] == '/':
		home, err := c.Home(ctx)
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(home, "/") + rest, nil
	case c.Has(sftp.ExtHomeDirectory):
		user, rest, slash := strings.Cut(rest, "/")
		q := &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtHomeDirectory), Path: []byte(user)}
		home, err := c.named(c.do(ctx, q, sftp.TypeName, "~"+user))
		if err == nil && slash {
			home = strings.TrimSuffix(home, "/") + "/" + rest
		}
		return home, err
	}
	return "", c.lacks("~user", sftp.ExtExpandPath)
}

func (c *Client) attrs(ctx context.Context, q *sftp.Request, path string) (sftp.Attributes, error) {
	p, err := c.do(ctx, q, sftp.TypeAttrs, path)
	if err != nil {
		return sftp.Attributes{}, err
	}
	return p.Attrs, nil
}

// Stat follows links.
func (c *Client) Stat(ctx context.Context, path string) (sftp.Attributes, error) {
	return c.attrs(ctx, &sftp.Request{Type: sftp.TypeStat, Path: []byte(path)}, path)
}

// Lstat does not follow the last one.
func (c *Client) Lstat(ctx context.Context, path string) (sftp.Attributes, error) {
	return c.attrs(ctx, &sftp.Request{Type: sftp.TypeLstat, Path: []byte(path)}, path)
}

func (c *Client) status(ctx context.Context, q *sftp.Request, path string) error {
	_, err := c.do(ctx, q, sftp.TypeStatus, path)
	return err
}

// Setstat changes the attributes that a has, of what a link leads to.
func (c *Client) Setstat(ctx context.Context, path string, a *sftp.Attributes) error {
	return c.status(ctx, &sftp.Request{Type: sftp.TypeSetstat, Path: []byte(path), Attrs: *a}, path)
}

// Lsetstat changes those of a link itself; kind Unsupported where the server can't.
func (c *Client) Lsetstat(ctx context.Context, path string, a *sftp.Attributes) error {
	if !c.Has(sftp.ExtLsetstat) {
		return c.lacks("attributes of a link", sftp.ExtLsetstat)
	}
	return c.status(ctx, &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtLsetstat), Path: []byte(path), Attrs: *a}, path)
}

// Mkdir makes a directory; mode 0 leaves its permissions to the server.
func (c *Client) Mkdir(ctx context.Context, path string, mode uint32) error {
	q := &sftp.Request{Type: sftp.TypeMkdir, Path: []byte(path)}
	if mode != 0 {
		q.Attrs.Mode, q.Attrs.Flags = mode&0o7777, sftp.HasMode
	}
	return c.status(ctx, q, path)
}

// RemoveDir removes an empty directory.
func (c *Client) RemoveDir(ctx context.Context, path string) error {
	return c.status(ctx, &sftp.Request{Type: sftp.TypeRmdir, Path: []byte(path)}, path)
}

// Remove removes what is no directory: a link, and not what it leads to.
func (c *Client) Remove(ctx context.Context, path string) error {
	return c.status(ctx, &sftp.Request{Type: sftp.TypeRemove, Path: []byte(path)}, path)
}

// Rename replaces what has the new name, where the server can (posix-rename); else
// it is RenameNew.
func (c *Client) Rename(ctx context.Context, from, to string) error {
	if !c.Has(sftp.ExtPosixRename) {
		return c.RenameNew(ctx, from, to)
	}
	return c.renamed(c.status(ctx, &sftp.Request{
		Type: sftp.TypeExtended, Extension: []byte(sftp.ExtPosixRename), Path: []byte(from), To: []byte(to),
	}, from), to)
}

// RenameNew is plain RENAME: where the new name is taken it fails, but for servers
// that replace in spite of the draft (filexfer-02, 6.5), of which SFTPGo is one.
func (c *Client) RenameNew(ctx context.Context, from, to string) error {
	return c.renamed(c.status(ctx, &sftp.Request{Type: sftp.TypeRename, Path: []byte(from), To: []byte(to)}, from), to)
}

// renamed makes an error about a name that is taken one about the new name.
func (c *Client) renamed(err error, to string) error {
	var e *fault.Error
	if errors.As(err, &e) && (e.Kind == fault.Exists || e.Kind == fault.NotEmpty || e.Kind == fault.IsDir) && len(e.Facts) > 0 {
		own := *e
		own.Facts = []any{to}
		return &own
	}
	return err
}

// Readlink tells where a link leads.
func (c *Client) Readlink(ctx context.Context, path string) (string, error) {
	return c.named(c.do(ctx, &sftp.Request{Type: sftp.TypeReadlink, Path: []byte(path)}, sftp.TypeName, path))
}

// Symlink makes link lead to target. The arguments are sent in the order of OpenSSH,
// which all servers of today have, and not in that of the draft.
func (c *Client) Symlink(ctx context.Context, target, link string) error {
	return c.status(ctx, &sftp.Request{Type: sftp.TypeSymlink, Path: []byte(target), To: []byte(link)}, link)
}

// Hardlink gives a file a second name; kind Unsupported where the server can't.
func (c *Client) Hardlink(ctx context.Context, path, name string) error {
	if !c.Has(sftp.ExtHardlink) {
		return c.lacks("hard links", sftp.ExtHardlink)
	}
	return c.renamed(c.status(ctx, &sftp.Request{
		Type: sftp.TypeExtended, Extension: []byte(sftp.ExtHardlink), Path: []byte(path), To: []byte(name),
	}, path), name)
}

// Space tells how full the file system at path is; kind Unsupported where the server
// can't.
func (c *Client) Space(ctx context.Context, path string) (f sftp.FileSystem, err error) {
	if !c.Has(sftp.ExtStatvfs) {
		return f, c.lacks("the space of a file system", sftp.ExtStatvfs)
	}
	p, err := c.do(ctx, &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtStatvfs), Path: []byte(path)}, sftp.TypeExtendedReply, path)
	if err != nil {
		return f, err
	}
	if f, err = sftp.ParseFileSystem(p.Data); err != nil {
		return f, c.bad(err)
	}
	return f, nil
}

// Sight is what the server has seen of this connection (sight@dray). Kind Unsupported
// where it does not tell.
func (c *Client) Sight(ctx context.Context) (s sftp.Sight, err error) {
	if !c.Has(sftp.ExtSight) {
		return s, c.lacks("what the server has seen of a connection", sftp.ExtSight)
	}
	p, err := c.do(ctx, &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtSight)}, sftp.TypeExtendedReply, "")
	if err != nil {
		return s, err
	}
	if s, err = sftp.ParseSight(p.Data); err != nil {
		return s, c.bad(err)
	}
	return s, nil
}

// Owners are the names of users and groups by their numbers, "" for one without a
// name; kind Unsupported where the server can't tell.
func (c *Client) Owners(ctx context.Context, uids, gids []uint32) (users, groups []string, err error) {
	if !c.Has(sftp.ExtUsersGroups) {
		return nil, nil, c.lacks("names of owners", sftp.ExtUsersGroups)
	}
	q := &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtUsersGroups), UIDs: numbers(uids), GIDs: numbers(gids)}
	p, err := c.do(ctx, q, sftp.TypeExtendedReply, "")
	if err != nil {
		return nil, nil, err
	}
	users, groups, err = sftp.ParseOwners(p.Data)
	if err == nil && (len(users) != len(uids) || len(groups) != len(gids)) {
		err = fmt.Errorf("%d names for %d numbers", len(users)+len(groups), len(uids)+len(gids))
	}
	if err != nil {
		return nil, nil, c.bad(err)
	}
	return users, groups, nil
}

func numbers(ids []uint32) []byte {
	b := []byte{}
	for _, id := range ids {
		b = append(b, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	}
	return b
}

// A Range is a part of a file to be summed up. Size 0 is all that follows, and Block
// 0 one checksum over all of it; else there is one for each block.
type Range struct {
	Offset, Size int64
	Block        uint32
}

// Sums are checksums that a server made: those of the blocks one behind the other.
type Sums struct {
	Algorithm string
	Bytes     []byte
}

// HasSums tells whether the server announced checksums.
func (c *Client) HasSums() bool {
	return c.Has(sftp.ExtCheckName) || c.Has(sftp.ExtCheckHandle) || c.Has(sftp.ExtCheck)
}

// CheckFile asks for checksums of a file by the first of the algorithms, as
// "sha256", that the server has. It may take as long as the server needs to read
// it. Kind Unsupported where the server can't.
func (c *Client) CheckFile(ctx context.Context, path string, r Range, algorithms ...string) (Sums, error) {
	if !c.HasSums() {
		return Sums{}, c.lacks("checksums", sftp.ExtCheck)
	}
	// A server that announces "check-file" alone has by the draft both requests, and
	// with paramiko that of this name, which takes a handle.
	if c.Has(sftp.ExtCheckName) || !c.Has(sftp.ExtCheckHandle) {
		q := &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(sftp.ExtCheckName), Path: []byte(path)}
		s, err := c.check(ctx, q, path, r, algorithms)
		var said *StatusError
		if !errors.As(err, &said) || said.Code != sftp.OpUnsupported || c.Has(sftp.ExtCheckName) {
			return s, err
		}
	}
	f, err := c.Open(ctx, path, sftp.OpenRead, nil)
	if err != nil {
		return Sums{}, err
	}
	defer f.leave()
	return f.Check(ctx, r, algorithms...)
}

// Check is CheckFile of an open file.
func (f *File) Check(ctx context.Context, r Range, algorithms ...string) (Sums, error) {
	ext := sftp.ExtCheckHandle
	switch {
	case f.c.Has(sftp.ExtCheckHandle):
	case f.c.HasSums():
		ext = sftp.ExtCheck
	default:
		return Sums{}, f.c.lacks("checksums", sftp.ExtCheckHandle)
	}
	q := &sftp.Request{Type: sftp.TypeExtended, Extension: []byte(ext), Handle: f.handle}
	return f.c.check(ctx, q, f.path, r, algorithms)
}

func (c *Client) check(ctx context.Context, q *sftp.Request, path string, r Range, algorithms []string) (s Sums, err error) {
	q.Algorithms, q.Offset, q.Size, q.Block = []byte(strings.Join(algorithms, ",")), uint64(r.Offset), uint64(r.Size), r.Block
	p, err := c.patiently(ctx, q, sftp.TypeExtendedReply, path, endless)
	if err != nil {
		return s, err
	}
	if s.Algorithm, s.Bytes, err = q.ParseSums(p.Data); err != nil {
		return s, c.bad(err)
	}
	return s, nil
}
