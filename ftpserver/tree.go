package ftpserver

import (
	"context"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"dray/account"
	"dray/fault"
	"dray/ftp"
	"dray/vfs"
)

func (c *conn) pwd(context.Context, string) (ftp.Reply, error) {
	return ftp.Replyf(ftp.C257Path, "%s is the current directory.", ftp.Quote(c.cwd.String())), nil
}

func (c *conn) cwdCmd(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	if err := c.session.Enter(ctx, p); err != nil {
		return ftp.Reply{}, err
	}
	c.cwd = p
	return ftp.Replyf(ftp.C250OK, "%s is the current directory.", ftp.Quote(p.String())), nil
}

// cdup: RFC 959 has 200 in its text and 250 in its table; all servers say 250.
func (c *conn) cdup(ctx context.Context, _ string) (ftp.Reply, error) { return c.cwdCmd(ctx, "..") }

func (c *conn) mkd(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.newName(arg)
	if err == nil {
		err = c.makeDir(ctx, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	// The whole path, quoted (RFC 959, appendix II): clients go on with it.
	return ftp.Replyf(ftp.C257Path, "%s was made.", ftp.Quote(p.String())), nil
}

// newName is resolve for a name that the command would make. Control characters
// in it would be a line of their own in somebody's listing.
func (c *conn) newName(arg string) (vfs.Path, error) {
	for i := range len(arg) {
		if arg[i] < ' ' || arg[i] == 0x7f {
			return vfs.Path{}, fault.New(fault.BadName, fault.IDBadName, "it contains a control character")
		}
	}
	return c.resolve(arg)
}

func (c *conn) rmd(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err == nil {
		err = c.session.RemoveDir(ctx, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C250OK, "Removed."), nil
}

func (c *conn) dele(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err == nil {
		err = c.session.Remove(ctx, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C250OK, "Deleted."), nil
}

func (c *conn) rnfr(ctx context.Context, arg string) (ftp.Reply, error) {
	c.pending.named = false
	p, err := c.resolve(arg)
	if err == nil {
		err = c.session.Renamable(ctx, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	c.pending.rename, c.pending.named = p, true
	return ftp.Replyf(ftp.C350Pending, "Ready for RNTO."), nil
}

func (c *conn) rnto(ctx context.Context, arg string) (ftp.Reply, error) {
	if !c.pending.named {
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDSequence, "RNFR")
	}
	p, err := c.newName(arg)
	if err == nil {
		err = c.session.Rename(ctx, c.pending.rename, p, vfs.Overwrite)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C250OK, "Renamed."), nil
}

func (c *conn) typeCmd(_ context.Context, arg string) (ftp.Reply, error) {
	text, err := ftp.ParseType(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, "TYPE A or TYPE I", "TYPE A, TYPE I and TYPE L 8")
	}
	c.text = text
	if text {
		return ftp.Replyf(ftp.C200OK, "Text: line ends are converted."), nil
	}
	return ftp.Replyf(ftp.C200OK, "Binary."), nil
}

// argError is what a parser of package ftp returned, with what stands in its
// sentence.
func argError(err error, form, offered string) error {
	if err == ftp.ErrUnsupported {
		return fault.Because(err, fault.Unsupported, fault.IDUnsupported, offered)
	}
	return fault.Because(err, fault.Syntax, fault.IDSyntax, form)
}

func (c *conn) stru(_ context.Context, arg string) (ftp.Reply, error) {
	switch strings.ToUpper(arg) {
	case "F":
		return ftp.Replyf(ftp.C200OK, "Structure: file."), nil
	case "R", "P": // RFC 1123, 4.1.2.2 wants records only from record systems
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "STRU F")
	}
	return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "STRU F")
}

func (c *conn) mode(_ context.Context, arg string) (ftp.Reply, error) {
	switch strings.ToUpper(arg) {
	case "S":
		c.deflate.on = false
		return ftp.Replyf(ftp.C200OK, "Mode: stream."), nil
	case "Z":
		return c.modeZ()
	case "B", "C":
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "MODE S and MODE Z")
	}
	return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "MODE S or MODE Z")
}

// size: exact bytes also in TYPE A. Departure from RFC 3659, 4, which wants the
// transfer size: clients ask before TYPE I, and a number that they can't use
// breaks less than an error.
func (c *conn) size(ctx context.Context, arg string) (ftp.Reply, error) {
	fi, _, err := c.regular(ctx, arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C213File, "%d", fi.Size()), nil
}

func (c *conn) regular(ctx context.Context, arg string) (fs.FileInfo, vfs.Path, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return nil, p, err
	}
	fi, err := c.session.Stat(ctx, p)
	switch {
	case err != nil:
		return nil, p, err
	case fi.IsDir():
		return nil, p, fault.New(fault.IsDir, fault.IDIsDir, p.String())
	case !fi.Mode().IsRegular():
		return nil, p, fault.New(fault.Denied, fault.IDNotRegular, p.String())
	}
	return fi, p, nil
}

// mdtm. Departure from RFC 3659, 3: directories are answered too; clients ask.
// "MDTM time path" sets the time, as several clients want it, unless a file is
// really named so.
func (c *conn) mdtm(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	fi, err := c.session.Stat(ctx, p)
	if err != nil {
		if when, name, ok := strings.Cut(arg, " "); ok && name != "" {
			if t, terr := ftp.ParseTime(when); terr == nil {
				if c.off(c.server.rows["MFMT"], "MFMT") {
					return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, switchedOff)
				}
				return c.setTime(ctx, t, name)
			}
		}
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C213File, "%s", ftp.FormatTime(wholeSeconds(fi.ModTime()))), nil
}

// wholeSeconds: fractions are legal (RFC 3659, 2.3), and enough clients stumble.
func wholeSeconds(t time.Time) time.Time { return time.Unix(t.Unix(), 0) }

func (c *conn) mfmt(ctx context.Context, arg string) (ftp.Reply, error) {
	when, name, _ := strings.Cut(arg, " ")
	t, err := ftp.ParseTime(when)
	if err != nil || name == "" {
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "MFMT YYYYMMDDhhmmss path")
	}
	return c.setTime(ctx, t, name)
}

// settable refuses what file systems can't keep: those of today begin in December
// 1901, and trees take the zero time for none.
func settable(t time.Time) error {
	if t.Year() < 1902 {
		return fault.New(fault.Unsupported, fault.IDUnsupported, "times from 1902 on")
	}
	return nil
}

func (c *conn) setTime(ctx context.Context, t time.Time, name string) (ftp.Reply, error) {
	if err := settable(t); err != nil {
		return ftp.Reply{}, err
	}
	p, err := c.resolve(name)
	if err == nil {
		err = c.session.SetTime(ctx, p, t)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C213File, "Modify=%s; %s", c.timeOf(ctx, p, t), p), nil
}

// timeOf is the time that p has now, where the account can see it: a file system
// may keep less than was asked for.
func (c *conn) timeOf(ctx context.Context, p vfs.Path, asked time.Time) string {
	if fi, err := c.session.Stat(ctx, p); err == nil {
		asked = fi.ModTime()
	}
	return ftp.FormatTime(wholeSeconds(asked))
}

func (c *conn) chmod(ctx context.Context, arg string) (ftp.Reply, error) {
	digits, name, _ := strings.Cut(arg, " ")
	mode, err := strconv.ParseUint(digits, 8, 16)
	if err != nil || name == "" {
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "SITE CHMOD 644 path")
	}
	if mode > 0o777 {
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, plainModes)
	}
	p, err := c.resolve(name)
	if err == nil {
		err = c.session.Chmod(ctx, p, fs.FileMode(mode))
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C200OK, "Mode is %03o.", mode), nil
}

// perm is the perm fact of an entry (RFC 3659, 7.5.5), by the account's rights.
func perm(r account.Rights, isDir bool) string {
	var b []byte
	add := func(letter byte, need account.Rights) {
		if r.Has(need) {
			b = append(b, letter)
		}
	}
	if isDir {
		add('c', account.Write)
		add('d', account.Delete)
		if r != 0 {
			b = append(b, 'e')
		}
		add('f', account.Rename)
		add('l', account.List)
		add('m', account.MakeDir)
		add('p', account.Delete)
		return string(b)
	}
	add('a', account.Overwrite)
	add('d', account.Delete)
	add('f', account.Rename)
	add('r', account.Read)
	add('w', account.Overwrite)
	return string(b)
}
