package ftpserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"dray/account"
	"dray/fault"
	"dray/ftp"
	"dray/vfs"
)

// plainModes is what is offered of modes.
const plainModes = "modes from 000 to 777, without set-uid, set-gid and sticky"

// factSite: where clients look for a line of FEAT, it is there (lftp, and
// whoever learned from ProFTPD's mod_site_misc).
func factSite() []command {
	return []command{
		{verb: "UTIME", arg: argRequired, phase: phaseIn, also: changesTree, run: (*conn).siteUTime, feat: always("SITE UTIME"), needs: account.Attributes, usage: "YYYYMMDDhhmm[ss] path", help: "set the modification time; also \"path atime mtime ctime UTC\"", rfc: "no RFC"},
		{verb: "MKDIR", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).siteMkdir, feat: always("SITE MKDIR"), needs: account.MakeDir, usage: "path", help: "make a directory and those above it", rfc: "no RFC"},
		{verb: "RMDIR", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).siteRmdir, feat: always("SITE RMDIR"), needs: account.Delete, usage: "path", help: "remove an empty directory; where RMDA is switched on, one with all that is in it", rfc: "no RFC"},
		{verb: "SYMLINK", arg: argRequired, phase: phaseIn, also: changesTree, run: (*conn).siteSymlink, feat: symlinkFeat, needs: account.Link, usage: "target link", help: "make a symbolic link; a name with a blank in double quotes", rfc: "no RFC"},
		{verb: "UMASK", arg: argOptional, phase: phaseIn, also: holdsNoName, run: (*conn).siteUmask, usage: "[022]", help: "tell or set the permission bits that new files and directories don't get", rfc: "no RFC"},
		{verb: "IDLE", arg: argOptional, phase: phaseIn, also: holdsNoName, run: (*conn).siteIdle, usage: "[seconds]", help: "tell or set how long you may be silent", rfc: "no RFC"},
		{verb: "TIME", arg: argNone, phase: phaseIn, run: (*conn).siteTime, help: "the clock of this server, in UTC", rfc: "no RFC"},
		{verb: "ALIAS", arg: argOptional, phase: phaseIn, also: holdsNoName, run: (*conn).siteAlias, help: "list the aliases of directories: there are none", rfc: "no RFC"},
		{verb: "DRAY", arg: argNone, phase: phaseIn, also: keepsPending, run: (*conn).siteDray, feat: always("SITE DRAY"), help: "what this server has seen of your own connections, as facts", rfc: "no RFC"},
	}
}

// siteForm is how a command behind SITE is written.
func (c *conn) siteForm(verb string) string {
	return "SITE " + c.server.siteRow(verb).form()
}

func (c *conn) siteUTime(ctx context.Context, arg string) (ftp.Reply, error) {
	t, name, err := ftp.ParseUTime(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, c.siteForm("UTIME")+", or SITE UTIME path atime mtime ctime UTC", "")
	}
	r, err := c.setTime(ctx, t, name)
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C200OK, "%s", r.Text), nil
}

// makeDir makes one directory, with the mode that SITE UMASK leaves.
func (c *conn) makeDir(ctx context.Context, p vfs.Path) error {
	if mode := c.modeFor(ctx, p, 0o777); mode != 0 {
		return c.session.MkdirMode(ctx, p, mode)
	}
	return c.session.Mkdir(ctx, p)
}

// modeFor is the mode of something new at p whose creator would give it full: 0,
// for the tree's own, where no SITE UMASK was said or the account may set no
// modes.
func (c *conn) modeFor(ctx context.Context, p vfs.Path, full fs.FileMode) fs.FileMode {
	if c.mask == nil || c.session.Chmodable(ctx, p) != nil {
		return 0
	}
	return full &^ c.umask()
}

// umask is that of SITE UMASK, which adds to the one of the account's owner: what
// the administrator takes away no client gives back.
func (c *conn) umask() (m fs.FileMode) {
	if o := c.session.Account().Owner; o != nil {
		m = fs.FileMode(o.Umask)
	}
	if c.mask != nil {
		m |= *c.mask
	}
	return m
}

// siteMkdir makes what is missing of a path, as ProFTPD does. A directory that
// is there already is no error.
func (c *conn) siteMkdir(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.newName(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	var missing []vfs.Path
	for at := p; ; at = at.Dir() {
		fi, err := c.session.Finished(ctx, at)
		if err == nil && !fi.IsDir() {
			return ftp.Reply{}, fault.New(fault.NotDir, fault.IDNotDir, at.String())
		}
		if err == nil {
			break
		}
		// Who can't see anything there is told "denied" of what is missing too.
		if k := fault.KindOf(err); k != fault.NotFound && k != fault.Denied || at.IsRoot() {
			return ftp.Reply{}, err
		}
		missing = append(missing, at)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		err := c.makeDir(ctx, missing[i])
		if err != nil && fault.KindOf(err) == fault.Exists && c.directory(ctx, missing[i]) == nil {
			err = nil // somebody else was faster
		}
		if err != nil && i < len(missing)-1 {
			err = partly(err, missing[i+1].String()+" was made")
		}
		if err != nil {
			return ftp.Reply{}, err
		}
	}
	if len(missing) == 0 {
		return ftp.Replyf(ftp.C200OK, "%s is there.", ftp.Quote(p.String())), nil
	}
	return ftp.Replyf(ftp.C200OK, "%s was made.", ftp.Quote(p.String())), nil
}

// siteRmdir. ProFTPD removes what is in the directory too; here only where the
// administrator has switched that on.
func (c *conn) siteRmdir(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	if row := c.server.rows["RMDA"]; c.off(row, row.verb) {
		err = c.session.RemoveDir(ctx, p)
	} else {
		_, err = c.removeTree(ctx, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C200OK, "Removed."), nil
}

// symlinkFeat is there after the login alone: hardly anybody may make links.
func symlinkFeat(c *conn) string {
	if c.session == nil {
		return ""
	}
	return "SITE SYMLINK"
}

// siteSymlink makes a link. An absolute target is one of the tree that the
// client sees; a relative one begins at the directory of the link, as symlink(2)
// has it.
func (c *conn) siteSymlink(ctx context.Context, arg string) (ftp.Reply, error) {
	target, name, err := ftp.SplitTwo(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, c.siteForm("SYMLINK")+`, with names that have a blank in double quotes`, "")
	}
	p, err := c.newName(name)
	if err == nil {
		err = c.session.Symlink(ctx, target, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C200OK, "%s was made.", ftp.Quote(p.String())), nil
}

// siteUmask keeps what the owner of a file may do: a directory that its maker
// can't enter helps nobody.
func (c *conn) siteUmask(ctx context.Context, arg string) (ftp.Reply, error) {
	if arg == "" {
		if c.mask == nil && c.session.Account().Owner == nil {
			return ftp.Replyf(ftp.C200OK, "No umask was set: new files and directories have the modes of this server."), nil
		}
		return c.umaskIs(), nil
	}
	m, err := ftp.ParseMode(arg)
	if err == nil && m > 0o077 {
		err = ftp.ErrUnsupported
	}
	if err != nil {
		return ftp.Reply{}, argError(err, c.siteForm("UMASK"), "umasks from 000 to 077")
	}
	if err := c.session.Chmodable(ctx, c.cwd); err != nil {
		return ftp.Reply{}, err
	}
	mask := fs.FileMode(m)
	c.mask = &mask
	return c.umaskIs(), nil
}

func (c *conn) umaskIs() ftp.Reply {
	m, where := c.umask(), ", where you may set modes"
	if c.mask == nil {
		where = ", as this account has it"
	}
	return ftp.Replyf(ftp.C200OK, "The umask is %03o: new files get %03o and directories %03o%s.", m, 0o666&^m, 0o777&^m, where)
}

// siteIdle sets the idle time until the login ends.
func (c *conn) siteIdle(_ context.Context, arg string) (ftp.Reply, error) {
	if arg != "" {
		n, err := strconv.ParseUint(arg, 10, 64)
		most := uint64(c.rules.IdleMax / time.Second)
		switch {
		case errors.Is(err, strconv.ErrSyntax):
			return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, c.siteForm("IDLE"))
		case err != nil || n < 1 || n > most:
			return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, fmt.Sprintf("1 to %d seconds", most))
		}
		c.idleFor = time.Duration(n) * time.Second
	}
	return ftp.Replyf(ftp.C200OK, "After %d seconds without a command the connection ends.", int(c.idleTime()/time.Second)), nil
}

// idleTime is how long the peer may be silent.
func (c *conn) idleTime() time.Duration {
	if c.idleFor > 0 {
		return c.idleFor
	}
	return c.rules.Idle
}

func (c *conn) siteTime(context.Context, string) (ftp.Reply, error) {
	return ftp.Replyf(ftp.C211Status, "%s UTC", time.Now().UTC().Format(time.DateTime)), nil
}

func (c *conn) siteAlias(_ context.Context, arg string) (ftp.Reply, error) {
	if arg != "" {
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "none, because no aliases are defined")
	}
	return ftp.Replyf(ftp.C214Help, "No aliases are defined."), nil
}
