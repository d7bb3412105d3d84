package ftpclient

import (
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"dray/fault"
	"dray/ftp"
)

const dirMode = fs.ModeDir

// about sends a command about one path and wants a reply below 300.
func (c *Conn) about(ctx context.Context, verb, before, path string) (ftp.Reply, error) {
	w, err := c.wire(path)
	if err != nil {
		return ftp.Reply{}, err
	}
	step := cmd(verb, before+w)
	r, err := c.do(ctx, step.Verb, step.Arg)
	if err == nil && r.Code >= 300 {
		err = c.refused(step, r, path)
	}
	return r, err
}

func (c *Conn) change(ctx context.Context, verb, before, path string) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	_, err := c.about(ctx, verb, before, path)
	return c.settled(ctx, err, verb, path)
}

// Mkdir makes a directory.
func (c *Conn) Mkdir(ctx context.Context, path string) error { return c.change(ctx, "MKD", "", path) }

// RemoveDir removes an empty directory.
func (c *Conn) RemoveDir(ctx context.Context, path string) error {
	return c.change(ctx, "RMD", "", path)
}

// Remove removes a file.
func (c *Conn) Remove(ctx context.Context, path string) error { return c.change(ctx, "DELE", "", path) }

// Rename gives a file or directory another name. What servers do about a name that
// is taken differs: most replace a file.
func (c *Conn) Rename(ctx context.Context, from, to string) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	wire, err := c.wire(to)
	if err != nil {
		return err
	}
	r, err := c.about(ctx, "RNFR", "", from)
	if r.Code != ftp.C350Pending {
		if err == nil {
			err = c.refused(cmd("RNFR", from), r, from)
		}
		return c.settled(ctx, err, "RNFR", from)
	}
	step := cmd("RNTO", wire)
	if r, err = c.do(ctx, step.Verb, step.Arg); err == nil && r.Code >= 300 {
		err = c.refused(step, r, to)
	}
	return c.settled(ctx, err, "RNTO", to)
}

// Chmod sets the permission bits of a file, by SITE CHMOD.
func (c *Conn) Chmod(ctx context.Context, path string, mode fs.FileMode) error {
	bits := uint32(mode.Perm())
	for _, b := range []struct {
		has fs.FileMode
		bit uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if mode&b.has != 0 {
			bits |= b.bit
		}
	}
	return c.change(ctx, "SITE", fmt.Sprintf("CHMOD %03o ", bits), path)
}

// SetTime sets the time of the last change of a file: by MFMT, else by MDTM with a
// time or by SITE UTIME where the server is known to have them. Unsupported is a
// server that can't.
func (c *Conn) SetTime(ctx context.Context, path string, t time.Time) error {
	if verb, arg, ok := c.timeCommand(t); ok {
		return c.change(ctx, verb, arg, path)
	}
	return noTime()
}

// Size is the size of a file in bytes, by SIZE.
func (c *Conn) Size(ctx context.Context, path string) (int64, error) {
	if err := c.enter(); err != nil {
		return 0, err
	}
	defer c.leave()
	if err := c.binary(ctx); err != nil {
		return 0, err
	}
	r, err := c.about(ctx, "SIZE", "", path)
	if err != nil {
		return 0, c.settled(ctx, err, "SIZE", path)
	}
	n, perr := parseSize(r)
	if perr != nil {
		return 0, c.odd("SIZE", r)
	}
	return n, nil
}

func parseSize(r ftp.Reply) (int64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(r.Text), 10, 63)
	return int64(n), err
}

// odd is a reply that says yes and can't be read.
func (c *Conn) odd(verb string, r ftp.Reply) error {
	return fault.Because(c.replyError(cmd(verb, ""), r), fault.Unsupported, fault.IDUnsupported, verb)
}

// binary is TYPE I: some servers refuse SIZE otherwise, and it is what we mean.
func (c *Conn) binary(ctx context.Context) error {
	if c.text == 'I' {
		return nil
	}
	r, err := c.do(ctx, "TYPE", "I")
	if err == nil && r.Code >= 300 {
		err = c.refused(cmd("TYPE", "I"), r, "")
	}
	if err == nil {
		c.text = 'I'
	}
	return err
}

// ModTime is the time of the last change, by MDTM.
func (c *Conn) ModTime(ctx context.Context, path string) (time.Time, error) {
	if err := c.enter(); err != nil {
		return time.Time{}, err
	}
	defer c.leave()
	r, err := c.about(ctx, "MDTM", "", path)
	if err != nil {
		return time.Time{}, c.settled(ctx, err, "MDTM", path)
	}
	t, perr := ftp.ParseTime(strings.TrimSpace(r.Text))
	if perr != nil {
		return time.Time{}, c.odd("MDTM", r)
	}
	return t, nil
}

// Stat is what the server tells of path: by MLST, else by SIZE and MDTM, and by
// CWD for a directory, else by the listing of the directory that it is in. The
// Name is the last one of path.
func (c *Conn) Stat(ctx context.Context, path string) (ftp.Listed, error) {
	if err := c.enter(); err != nil {
		return ftp.Listed{}, err
	}
	defer c.leave()
	_, name := split(path)
	if c.facts659() {
		r, err := c.about(ctx, "MLST", "", path)
		if err == nil && len(r.Body) > 0 {
			l, perr := ftp.ParseFactsLine(r.Body[0])
			switch {
			case perr != nil:
				err = c.odd("MLST", r)
			case !c.linkItself(l):
				l.Name, l.Target, l.Kind = name, c.names.decode(l.Target), ftp.KindAuto
				return l, nil
			}
		} else if err == nil {
			err = c.odd("MLST", r)
		}
		if err != nil && (fault.KindOf(err) != fault.Unsupported || c.lost() != nil) {
			return ftp.Listed{}, c.settled(ctx, err, "MLST", path)
		}
	}
	l := ftp.Listed{Entry: ftp.Entry{Name: name}}
	if name == "" {
		l.Mode, l.Known = dirMode, ftp.KnownType
		return l, nil
	}
	if err := c.binary(ctx); err != nil {
		return l, err
	}
	w, err := c.wire(path)
	if err != nil {
		return l, err
	}
	// SIZE of a directory is refused nearly everywhere, so what has one is a file.
	commands := []ftp.Command{cmd("SIZE", w), cmd("MDTM", w)}
	home := ""
	if c.far && c.together() { // all that may have to be asked, in one round trip
		if home, err = c.pwd(ctx); err == nil {
			commands = append(commands, cmd("CWD", w), cmd("CWD", home))
		} else if c.lost() != nil {
			return l, err
		}
	}
	replies, err := c.batch(ctx, commands...)
	if err != nil {
		return l, err
	}
	entered := len(replies) > 2 && replies[2].Code < 300
	if entered && replies[3].Code >= 300 { // names would be those of another directory
		return l, c.lose(c.refused(commands[3], replies[3], home))
	}
	if t, err := ftp.ParseTime(strings.TrimSpace(replies[1].Text)); err == nil && replies[1].Code == ftp.C213File {
		l.Time, l.Step = t, time.Second
		l.Known |= ftp.KnownTime
	}
	if n, err := parseSize(replies[0]); err == nil && replies[0].Code == ftp.C213File {
		l.Size = n
		l.Known |= ftp.KnownSize | ftp.KnownType
		if c.kind == kindOther { // some tell the size of a directory too
			if back, err := c.into(ctx, path, w); err == nil {
				l.Mode, l.Known = dirMode, l.Known&^ftp.KnownSize
				l.Size = 0
				return l, back(ctx)
			} else if c.lost() != nil {
				return l, err
			}
		}
		return l, nil
	}
	if entered {
		l.Mode, l.Known = dirMode, l.Known|ftp.KnownType
		return l, nil
	}
	if len(commands) == 2 {
		if back, err := c.into(ctx, path, w); err == nil {
			l.Mode = dirMode
			l.Known |= ftp.KnownType
			return l, back(ctx)
		} else if c.lost() != nil {
			return l, err
		}
	}
	return c.listName(ctx, path)
}

// linkItself tells whether an answer to MLST is about a link and not about what it leads
// to, as those of Pure-FTPd and ProFTPD are, which calls it a file: its size is not the
// one that a download has. SIZE and CWD follow links.
func (c *Conn) linkItself(l ftp.Listed) bool {
	link := l.Mode&fs.ModeSymlink != 0
	return l.Is(ftp.KnownType) && (link || c.kind == kindProFTPD && l.Is(ftp.KnownMode) && l.Mode == 0o777)
}

// Pwd is the current directory.
func (c *Conn) Pwd(ctx context.Context) (string, error) {
	if err := c.enter(); err != nil {
		return "", err
	}
	defer c.leave()
	w, err := c.pwd(ctx)
	return c.names.decode(w), err
}

// pwd is the current directory as the server writes it.
func (c *Conn) pwd(ctx context.Context) (string, error) {
	if c.cwd != "" {
		return c.cwd, nil
	}
	r, err := c.do(ctx, "PWD", "")
	if err != nil {
		return "", err
	}
	err = c.tookDir(r)
	return c.cwd, err
}

// tookDir keeps the directory that a reply to PWD tells.
func (c *Conn) tookDir(r ftp.Reply) error {
	if r.Code != ftp.C257Path {
		return c.refused(cmd("PWD", ""), r, "")
	}
	p, err := ftp.ParseQuoted(r.Text)
	if err != nil || p == "" || !ftp.NameOK(p) {
		return c.odd("PWD", r)
	}
	c.cwd = p
	return nil
}

// Cwd changes the current directory.
func (c *Conn) Cwd(ctx context.Context, path string) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	c.cwd = ""
	_, err := c.about(ctx, "CWD", "", path)
	return c.settled(ctx, err, "CWD", path)
}

// Noop asks the server whether it is there.
func (c *Conn) Noop(ctx context.Context) error {
	_, err := c.simple(ctx, "NOOP", "")
	return err
}

// Space is how many bytes there is room for in a directory, by AVBL.
func (c *Conn) Space(ctx context.Context, dir string) (int64, error) {
	if err := c.enter(); err != nil {
		return 0, err
	}
	defer c.leave()
	if !c.feat.Has("AVBL") {
		return 0, fault.New(fault.Unsupported, fault.IDUnsupported, "AVBL")
	}
	r, err := c.about(ctx, "AVBL", "", dir)
	if err != nil {
		return 0, err
	}
	n, perr := parseSize(r)
	if perr != nil {
		return 0, c.odd("AVBL", r)
	}
	return n, nil
}

// Hashes are the algorithms that Hash can ask this server for, in the words of
// HASH, "SHA-256".
func (c *Conn) Hashes() []string {
	all := slices.Clone(c.feat.Hashes())
	for _, a := range oldHashes {
		if c.feat.Has(a.verb) && !slices.Contains(all, a.name) {
			all = append(all, a.name)
		}
	}
	return all
}

// oldHashes are the commands that hash with one algorithm each.
var oldHashes = []struct {
	name, verb string
	digits     int
}{
	{"SHA-512", "XSHA512", 128}, {"SHA-256", "XSHA256", 64}, {"SHA-1", "XSHA1", 40}, {"SHA-1", "XSHA", 40},
	{"MD5", "XMD5", 32}, {"CRC32", "XCRC", 8},
}

// Hash is the checksum of the bytes of a file from the one at from up to, and
// without, the one at to; to below 0 is the end of the file. It is done by the
// server and may take as long as reading the file there.
func (c *Conn) Hash(ctx context.Context, path, algorithm string, from, to int64) ([]byte, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.leave()
	w, err := c.wire(path)
	if err != nil {
		return nil, err
	}
	part := from > 0 || to >= 0
	if part && to >= 0 && to <= from {
		return nil, fault.New(fault.BadOffset, fault.IDUnsupported, "the checksum of no bytes")
	}
	algorithm = strings.ToUpper(algorithm)
	if slices.Contains(c.feat.Hashes(), algorithm) && (!part || c.feat.Has("RANG") && to >= 0) {
		return c.hashNew(ctx, w, path, algorithm, from, to, part)
	}
	for _, a := range oldHashes {
		if a.name != algorithm || !c.feat.Has(a.verb) || part && to < 0 {
			continue
		}
		arg := w
		if part {
			arg = fmt.Sprintf("%s %d %d", ftp.Quote(w), from, to)
		} else if strings.ContainsAny(w, ` "`) {
			arg = ftp.Quote(w)
		}
		step := cmd(a.verb, arg)
		r, err := c.slow(ctx, step)
		if err != nil {
			return nil, err
		}
		if r.Code >= 300 {
			return nil, c.settled(ctx, c.refused(step, r, path), step.Verb, path)
		}
		return c.sum(step.Verb, r, a.digits)
	}
	return nil, fault.New(fault.Unsupported, fault.IDUnsupported, algorithm+" of a file")
}

// slow is do for a command that reads a file.
func (c *Conn) slow(ctx context.Context, step ftp.Command) (ftp.Reply, error) {
	if err := c.say(ctx, step); err != nil {
		return ftp.Reply{}, err
	}
	return c.finalIn(ctx, c.opt.Slow)
}

// hashNew is HASH (draft-bryan-ftpext-hash), with RANG for a part.
func (c *Conn) hashNew(ctx context.Context, wire, path, algorithm string, from, to int64, part bool) ([]byte, error) {
	if c.hash == "" && c.feat.Hashes()[0] == algorithm && strings.Contains(c.feat.Arg("HASH"), "*") {
		c.hash = algorithm
	}
	if c.hash != algorithm {
		step := cmd("OPTS", "HASH "+algorithm)
		r, err := c.do(ctx, step.Verb, step.Arg)
		if err != nil {
			return nil, err
		}
		if r.Code >= 300 {
			return nil, c.refused(step, r, "")
		}
		c.hash = algorithm
	}
	if part {
		step := cmd("RANG", fmt.Sprintf("%d %d", from, to-1)) // the last byte belongs to it
		r, err := c.do(ctx, step.Verb, step.Arg)
		if err != nil {
			return nil, err
		}
		if r.Code != ftp.C350Pending {
			return nil, c.refused(step, r, path)
		}
	}
	step := cmd("HASH", wire)
	r, err := c.slow(ctx, step)
	if err != nil {
		return nil, err
	}
	if r.Code >= 300 {
		return nil, c.settled(ctx, c.refused(step, r, path), step.Verb, path)
	}
	// "SHA-256 0-49 hash name": the range tells what was hashed.
	for _, line := range r.All() {
		words := strings.Fields(line)
		if len(words) < 3 || !strings.EqualFold(words[0], algorithm) {
			continue
		}
		first, last, ok := strings.Cut(words[1], "-")
		a, aerr := strconv.ParseInt(first, 10, 64)
		b, berr := strconv.ParseInt(last, 10, 64)
		if !ok || aerr != nil || berr != nil || a != from || part && b != to-1 {
			return nil, c.odd("HASH", r)
		}
		if sum, err := hex.DecodeString(words[2]); err == nil && len(sum) > 0 {
			return sum, nil
		}
	}
	return nil, c.odd("HASH", r)
}

// sum finds a checksum of so many digits in a reply.
func (c *Conn) sum(verb string, r ftp.Reply, digits int) ([]byte, error) {
	for _, line := range r.All() {
		for _, word := range strings.Fields(line) {
			if word = strings.Trim(word, `"'.,`); verb == "XCRC" && len(word) < digits && len(word) > 0 {
				word = strings.Repeat("0", digits-len(word)) + word
			}
			if len(word) != digits {
				continue
			}
			if b, err := hex.DecodeString(word); err == nil {
				return b, nil
			}
		}
	}
	return nil, c.odd(verb, r)
}

// unquotable are the commands that Quote does not send: they need a data
// connection, or change what this connection is.
var unquotable = []string{"RETR", "STOR", "STOU", "APPE", "LIST", "NLST", "MLSD", "PORT", "EPRT", "PASV", "EPSV", "LPRT", "LPSV",
	"AUTH", "CCC", "REIN", "MODE", "STRU", "PROT", "USER", "PASS", "ACCT", "REST", "ABOR", "QUIT"}

// Quote sends a command as it is written and returns the reply, whatever that
// says. Commands with data, and those that change what the connection is, are
// refused.
func (c *Conn) Quote(ctx context.Context, line string) (ftp.Reply, error) {
	verb, arg, _ := strings.Cut(line, " ")
	if slices.Contains(unquotable, strings.ToUpper(verb)) {
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, strings.ToUpper(verb)+" by hand")
	}
	if err := c.enter(); err != nil {
		return ftp.Reply{}, err
	}
	defer c.leave()
	arg, err := c.wire(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	c.text, c.cwd, c.hash = 0, "", "?"
	return c.do(ctx, verb, arg)
}
