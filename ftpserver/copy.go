package ftpserver

import (
	"context"
	"fmt"
	"strings"

	"dray/account"
	"dray/fault"
	"dray/ftp"
	"dray/gate"
	"dray/vfs"
)

// copySwitch is the word of Rules.Allow for copies inside the tree.
const copySwitch = "COPY"

func copyCommands() []command {
	return []command{
		{verb: "COMB", arg: argRequired, phase: phaseIn, also: changesTree, run: (*conn).comb, feat: always("COMB"), needs: account.Read | account.Write, usage: `"target" "part" "part"`, help: "put the parts behind the target and delete them", rfc: "draft-peterson-streamlined-ftp-command-extensions"},
	}
}

func copySite() []command {
	return []command{
		{verb: "CPFR", arg: argPath, phase: phaseIn, also: keepsPending, run: (*conn).cpfr, by: copySwitch, usage: "path", help: "copy this", rfc: "no RFC"},
		{verb: "CPTO", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).cpto, by: copySwitch, usage: "path", help: "to that", rfc: "no RFC"},
		{verb: "COPY", arg: argRequired, phase: phaseIn, also: changesTree, run: (*conn).copy, feat: always("SITE COPY"), needs: account.Read | account.Write, by: copySwitch, usage: "from to", help: "copy a file or directory", rfc: "no RFC"},
	}
}

// keeps tells whether what one command left for a later one outlives this row.
// SITE is judged by its sub-command.
func (c *conn) keeps(row *command, arg string) bool {
	if row.verb == "SITE" {
		name, _, _ := strings.Cut(arg, " ")
		if sub := c.server.siteRow(name); sub != nil {
			row = sub
		}
	}
	return row.also&keepsPending != 0
}

// maxParts is how many files one COMB may name, each once: a line of 4 KiB must not
// make a file that is a thousand times as large as any.
const maxParts = 100

// comb combines files. Nothing says how its names are written but that they
// stand in quotes.
func (c *conn) comb(ctx context.Context, arg string) (ftp.Reply, error) {
	names, err := ftp.ParseNames(arg)
	if err == nil && (len(names) < 2 || len(names) > 1+maxParts) {
		err = ftp.ErrSyntax
	}
	if err != nil {
		return ftp.Reply{}, argError(err, fmt.Sprintf(`COMB "target" "part" "part", with at most %d parts`, maxParts), "")
	}
	target, err := c.newName(names[0])
	if err != nil {
		return ftp.Reply{}, err
	}
	parts := make([]vfs.Path, len(names)-1)
	twice := map[vfs.Path]bool{}
	for i, name := range names[1:] {
		if parts[i], err = c.resolve(name); err != nil {
			return ftp.Reply{}, err
		}
		if twice[parts[i]] {
			return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "COMB with each part once")
		}
		twice[parts[i]] = true
	}
	var done gate.Copied
	err = c.long(ctx, func(ctx context.Context) error {
		var err error
		done, err = c.session.Combine(ctx, target, parts)
		return err
	})
	if err != nil {
		return ftp.Reply{}, err
	}
	if done.Kept > 0 {
		return ftp.Replyf(ftp.C250OK, "%d bytes were added, and %d of %d parts can't be deleted.", done.Bytes, done.Kept, len(parts)), nil
	}
	return ftp.Replyf(ftp.C250OK, "%d bytes were added.", done.Bytes), nil
}

func (c *conn) cpfr(ctx context.Context, arg string) (ftp.Reply, error) {
	c.pending.copying = false
	p, err := c.resolve(arg)
	if err == nil {
		err = c.session.Copyable(ctx, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	c.pending.copy, c.pending.copying = p, true
	return ftp.Replyf(ftp.C350Pending, "Ready for SITE CPTO."), nil
}

func (c *conn) cpto(ctx context.Context, arg string) (ftp.Reply, error) {
	if !c.pending.copying {
		return ftp.Reply{}, fault.New(fault.Sequence, fault.IDSequence, "SITE CPFR")
	}
	return c.copyTo(ctx, c.pending.copy, arg, ftp.C250OK)
}

func (c *conn) copy(ctx context.Context, arg string) (ftp.Reply, error) {
	names, err := ftp.ParseNames(arg)
	if err == nil && len(names) != 2 {
		err = ftp.ErrSyntax
	}
	if err != nil {
		return ftp.Reply{}, argError(err, "SITE COPY from to, names with blanks in quotes", "")
	}
	from, err := c.resolve(names[0])
	if err != nil {
		return ftp.Reply{}, err
	}
	return c.copyTo(ctx, from, names[1], ftp.C200OK)
}

func (c *conn) copyTo(ctx context.Context, from vfs.Path, arg string, code ftp.Code) (ftp.Reply, error) {
	to, err := c.newName(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	if row := c.server.rows["MKD"]; c.off(row, row.verb) && c.directory(ctx, from) == nil {
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, "making directories is switched off here")
	}
	var done gate.Copied
	err = c.long(ctx, func(ctx context.Context) error {
		var err error
		done, err = c.session.Copy(ctx, from, to)
		return err
	})
	if err != nil {
		return ftp.Reply{}, err
	}
	left := ""
	if done.LeftOut > 0 {
		left = fmt.Sprintf(" %d links and special files were left out.", done.LeftOut)
	}
	return ftp.Replyf(code, "Copied: files %d, directories %d, bytes %d.%s", done.Files, done.Dirs, done.Bytes, left), nil
}
