package ftpserver

import (
	"context"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"time"

	"dray/account"
	"dray/explain"
	"dray/fault"
	"dray/ftp"
	"dray/vfs"
)

// Limits of DSIZ.
const (
	dsizEntries = 1_000_000
	dsizNames   = 8 << 20 // bytes of names that wait to be looked into
	dsizTime    = 30 * time.Second
)

func factCommands() []command {
	return []command{
		{verb: "MFF", arg: argRequired, phase: phaseIn, also: changesTree, run: (*conn).mff, feat: mffFeat, needs: account.Attributes, usage: "modify=YYYYMMDDhhmmss;UNIX.mode=0644; path", help: "set facts, all or none", rfc: "draft-somers-ftp-mfxx"},
		{verb: "MFCT", arg: argRequired, phase: phaseIn, also: keepsPending, run: (*conn).mfct, usage: "YYYYMMDDhhmmss path", help: "set the creation time, which no file system here can", rfc: "draft-somers-ftp-mfxx"},
		{verb: "AVBL", arg: argOptional, phase: phaseIn, also: keepsPending, run: (*conn).avbl, feat: always("AVBL"), needs: account.List, usage: "[directory]", help: "bytes that may still be stored", rfc: "draft-peterson-streamlined-ftp-command-extensions, 4"},
		{verb: "DSIZ", arg: argPath, phase: phaseIn, also: keepsPending, run: (*conn).dsiz, feat: always("DSIZ"), needs: account.List, usage: "directory", help: "bytes in all files below", rfc: "draft-peterson-streamlined-ftp-command-extensions, 7"},
		{verb: "CSID", arg: argRequired, also: keepsPending | holdsNoName, run: (*conn).csid, feat: always("CSID"), usage: "Name=program;Version=1.0;", help: "say who you are, and hear who we are", rfc: "draft-peterson-streamlined-ftp-command-extensions, 6"},
		{verb: "LANG", arg: argOptional, also: keepsPending | holdsNoName, run: (*conn).lang, feat: always("LANG EN*"), usage: "[EN]", help: "the language of replies", rfc: "RFC 2640, 4.1"},
		{verb: "PRET", arg: argRequired, phase: phaseIn, also: keepsPending, run: (*conn).pret, feat: always("PRET"), by: "PRET", usage: "command path", help: "say which transfer comes next", rfc: "draft-dd-pret"},
		{verb: "RMDA", arg: argPath, phase: phaseIn, also: changesTree, run: (*conn).rmda, feat: always("RMDA"), needs: account.Delete, by: "RMDA", usage: "directory", help: "remove a directory and all that is in it", rfc: "draft-peterson-streamlined-ftp-command-extensions, 11"},
	}
}

// mffFeat has the facts that can be set here: who refuses a command means the fact
// that does the same too.
func mffFeat(c *conn) string {
	facts := ""
	if !c.off(c.server.rows["MFMT"], "MFMT") {
		facts += "modify;"
	}
	if !c.off(c.server.siteRow("CHMOD"), "SITE CHMOD") {
		facts += "UNIX.mode;"
	}
	if facts == "" {
		return ""
	}
	return "MFF " + facts
}

// mff sets facts of a file. All of them are read and checked before the first is
// set (draft-somers-ftp-mfxx, 5.1).
func (c *conn) mff(ctx context.Context, arg string) (ftp.Reply, error) {
	form := c.server.rows["MFF"].form()
	facts, name, err := ftp.ParseMFF(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, form, "")
	}
	var modify *time.Time
	var mode *fs.FileMode
	on := mffFeat(c)
	for _, f := range facts {
		switch {
		case strings.EqualFold(f.Name, "modify") && modify == nil:
			t, err := ftp.ParseTime(f.Value)
			if err != nil {
				return ftp.Reply{}, argError(err, form, "")
			}
			if err := settable(t); err != nil {
				return ftp.Reply{}, err
			}
			modify = &t
		case strings.EqualFold(f.Name, "UNIX.mode") && mode == nil:
			m, err := ftp.ParseMode(f.Value)
			if err != nil {
				return ftp.Reply{}, argError(err, form, plainModes)
			}
			fm := fs.FileMode(m)
			mode = &fm
		case strings.EqualFold(f.Name, "modify"), strings.EqualFold(f.Name, "UNIX.mode"):
			return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, form+", each fact once")
		default:
			return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "modify and UNIX.mode")
		}
	}
	if modify != nil && !strings.Contains(on, "modify;") || mode != nil && !strings.Contains(on, "UNIX.mode;") {
		return ftp.Reply{}, fault.New(fault.NotBuilt, fault.IDNotBuilt, switchedOff)
	}
	p, err := c.resolve(name)
	if err != nil {
		return ftp.Reply{}, err
	}
	if mode != nil { // the right is that of the time too
		if err := c.session.Chmodable(ctx, p); err != nil {
			return ftp.Reply{}, err
		}
		if err := c.session.Chmod(ctx, p, *mode); err != nil {
			return ftp.Reply{}, err
		}
	}
	if modify != nil {
		if err := c.session.SetTime(ctx, p, *modify); err != nil {
			if mode != nil {
				err = partly(err, fmt.Sprintf("the mode of %s is %03o", p, *mode))
			}
			return ftp.Reply{}, err
		}
	}
	var said strings.Builder
	if modify != nil {
		said.WriteString("Modify=" + c.timeOf(ctx, p, *modify) + ";")
	}
	if mode != nil {
		fmt.Fprintf(&said, "UNIX.mode=%04o;", *mode)
	}
	return ftp.Replyf(ftp.C213File, "%s %s", &said, p), nil
}

// partly is an error behind which something was done already.
func partly(err error, done string) error {
	e := fault.Of(err)
	sentence, _, _ := strings.Cut(explain.Sentence(e), " ["+string(e.ID)+"]")
	return fault.Because(err, e.Kind, fault.IDPartly, done, sentence)
}

// mfct: no tree sets a time of creation, and no kernel that we run on does.
func (c *conn) mfct(_ context.Context, arg string) (ftp.Reply, error) {
	when, name, _ := strings.Cut(arg, " ")
	if _, err := ftp.ParseTime(when); err != nil || name == "" {
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, c.server.rows["MFCT"].form())
	}
	return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "MFMT, for the modification time; times of creation can't be set")
}

func (c *conn) avbl(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	n, err := c.session.Available(ctx, p)
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C213File, "%d", n), nil
}

func (c *conn) dsiz(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	if c.session.Blind(p) { // a sum of nothing would be a lie
		_, err = c.session.Stat(ctx, p)
	} else {
		err = c.directory(ctx, p)
	}
	if err != nil {
		return ftp.Reply{}, err
	}
	var sum int64
	err = c.long(ctx, func(ctx context.Context) error {
		tooLong := fault.New(fault.Denied, fault.IDTooLarge, p.String(), fmt.Sprintf("more than %d seconds", int(dsizTime/time.Second)))
		ctx, cancel := context.WithTimeoutCause(ctx, dsizTime, tooLong)
		defer cancel()
		sum, err = c.sizeBelow(ctx, p)
		return err
	})
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C213File, "%d", sum), nil
}

// directory tells whether p is one.
func (c *conn) directory(ctx context.Context, p vfs.Path) error {
	fi, err := c.session.Finished(ctx, p)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fault.New(fault.NotDir, fault.IDNotDir, p.String())
	}
	return nil
}

// sizeBelow adds up the regular files below top, whose names it counts, so a
// file with two names counts twice. It follows no links. One directory that
// can't be listed makes it fail: a sum without it would be wrong.
func (c *conn) sizeBelow(ctx context.Context, top vfs.Path) (sum int64, err error) {
	tooLarge := func(n int, what string) error {
		return fault.New(fault.Denied, fault.IDTooLarge, top.String(), fmt.Sprintf("more than %d %s", n, what))
	}
	// Depth first, and only names are kept: a tree of long paths would else be
	// many times as large here as on the disk.
	type level struct {
		dir   vfs.Path
		below []string
	}
	entries, kept := 0, 0
	look := func(dir vfs.Path) (l level, err error) {
		l.dir = dir
		if err := c.session.Listable(ctx, dir); err != nil {
			return l, err
		}
		for fi, err := range c.session.List(ctx, dir) {
			if ended := context.Cause(ctx); ended != nil {
				return l, ended
			}
			if err != nil {
				if dir != top && fault.KindOf(err) == fault.NotFound {
					break // removed meanwhile
				}
				return l, err
			}
			if entries++; entries > dsizEntries {
				return l, tooLarge(dsizEntries, "entries")
			}
			switch {
			case fi.Mode().IsRegular():
				sum += fi.Size()
			case fi.IsDir():
				name := strings.Clone(fi.Name())
				if kept += len(name) + 16; kept > dsizNames {
					return l, tooLarge(dsizNames>>20, "MiB of names of directories beside each other")
				}
				l.below = append(l.below, name)
			}
		}
		return l, nil
	}
	l, err := look(top)
	for levels := []level{l}; err == nil && len(levels) > 0; {
		at := &levels[len(levels)-1]
		if len(at.below) == 0 {
			levels = levels[:len(levels)-1]
			continue
		}
		name := at.below[len(at.below)-1]
		at.below = at.below[:len(at.below)-1]
		kept -= len(name) + 16
		sub, jerr := at.dir.Join(name)
		if jerr != nil {
			return 0, jerr
		}
		if l, err = look(sub); len(l.below) > 0 {
			levels = append(levels, l)
		}
	}
	if err != nil {
		return 0, err
	}
	return sum, context.Cause(ctx)
}

// csid takes the name and version of the client for the log, and tells ours.
func (c *conn) csid(_ context.Context, arg string) (ftp.Reply, error) {
	values, err := ftp.ParseCSID(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, c.server.rows["CSID"].form(), "")
	}
	var name, version string
	for _, v := range values {
		switch {
		case strings.EqualFold(v.Name, "Name"):
			name = v.Value
		case strings.EqualFold(v.Name, "Version"):
			version = v.Value
		}
	}
	c.client = strings.TrimSpace(name + " " + version)
	if len(c.client) > 128 {
		c.client = c.client[:128]
	}
	if c.session != nil && c.client != "" { // a login would have logged it
		c.log.Info("client", "name", c.client)
	}
	return ftp.Replyf(ftp.C200OK, "Name=dray;Version=%s;", buildVersion()), nil
}

// buildVersion is the version of this program without a 'v', "development" for
// one that was built from a working copy.
func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "development"
}

// lang: all sentences are English. No argument asks for the default language,
// which it is (RFC 2640, 4.1).
func (c *conn) lang(_ context.Context, arg string) (ftp.Reply, error) {
	tag, err := ftp.ParseLang(arg)
	if err != nil {
		return ftp.Reply{}, argError(err, c.server.rows["LANG"].form(), "")
	}
	if tag != "" && tag != "EN" {
		return ftp.Reply{}, fault.New(fault.Unsupported, fault.IDUnsupported, "LANG EN")
	}
	return ftp.Replyf(ftp.C200OK, "Replies are in English."), nil
}

// pret: a server of several machines chooses one by it. There is nothing to
// choose here.
func (c *conn) pret(_ context.Context, arg string) (ftp.Reply, error) {
	verb, name, _ := strings.Cut(arg, " ")
	row := c.server.rows[strings.ToUpper(verb)]
	if row == nil || row.also&opensData == 0 || row.arg == argPath && name == "" {
		return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, c.server.rows["PRET"].form()+", with the command of a transfer or listing")
	}
	return ftp.Replyf(ftp.C200OK, "Go on with PASV or EPSV, then %s.", row.verb), nil
}

func (c *conn) rmda(ctx context.Context, arg string) (ftp.Reply, error) {
	p, err := c.resolve(arg)
	if err != nil {
		return ftp.Reply{}, err
	}
	n, err := c.removeTree(ctx, p)
	if err != nil {
		return ftp.Reply{}, err
	}
	return ftp.Replyf(ftp.C250OK, "Removed, with %d entries in it.", n-1), nil
}

// removeTree removes a directory and all below it, as DELE and RMD do one by
// one, beside a reader that hears ABOR. It stops at the first failure. n is what
// it has removed.
func (c *conn) removeTree(ctx context.Context, top vfs.Path) (n int, err error) {
	if top.IsRoot() {
		return 0, fault.New(fault.Denied, fault.IDPerm, "remove /")
	}
	fi, err := c.session.Lstat(ctx, top)
	if err != nil {
		return 0, err
	}
	if !fi.IsDir() { // a link to one either: RMD wouldn't
		return 0, fault.New(fault.NotDir, fault.IDNotDir, top.String())
	}
	if err := c.session.MayRemoveAll(ctx, top); err != nil {
		return 0, err
	}
	// Nothing in it goes when it can't go itself, as a mount point.
	if err = c.session.RemoveDir(ctx, top); err == nil || fault.KindOf(err) != fault.NotEmpty {
		return 1, err
	}
	r := &remover{c: c}
	err = c.long(ctx, func(ctx context.Context) error { return r.dir(ctx, top) })
	if err != nil && r.n > 0 {
		err = partly(err, fmt.Sprintf("removed below %s: %d", top, r.n))
	}
	return r.n, err
}

// A remover counts what it has removed.
type remover struct {
	c *conn
	n int
}

// How many names of one directory are held at a time: directories are held at
// each level.
const (
	removeNames = 1000
	removeDirs  = 32
)

// dir removes a directory. It reads the names in pieces and starts again at the
// beginning after each, because a listing need not survive a removal.
func (r *remover) dir(ctx context.Context, p vfs.Path) error {
	for stuck := 0; ; {
		names, dirs, err := r.some(ctx, p)
		if err != nil {
			return err
		}
		if len(names)+len(dirs) == 0 {
			if err = r.c.session.RemoveDir(ctx, p); err == nil {
				r.n++
			}
			return err
		}
		before := r.n
		var gone error
		for _, at := range names {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			switch err := r.c.session.Remove(ctx, at); {
			case err == nil:
				r.n++
			case fault.KindOf(err) == fault.NotFound:
				gone = err // somebody else was faster
			default:
				return err
			}
		}
		for _, at := range dirs {
			switch err := r.dir(ctx, at); {
			case err == nil:
			case fault.KindOf(err) == fault.NotFound:
				gone = err
			default:
				return err
			}
		}
		if stuck++; r.n > before {
			stuck = 0
		} else if stuck == 3 { // it is listed, and it is not there
			return gone
		}
	}
}

// some returns the first entries of a directory.
func (r *remover) some(ctx context.Context, p vfs.Path) (names, dirs []vfs.Path, err error) {
	if err := r.c.session.Listable(ctx, p); err != nil {
		return nil, nil, err
	}
	for fi, err := range r.c.session.List(ctx, p) {
		if ended := context.Cause(ctx); ended != nil {
			return nil, nil, ended
		}
		if err != nil {
			return nil, nil, err
		}
		at, err := p.Join(strings.Clone(fi.Name()))
		if err != nil {
			return nil, nil, err
		}
		if fi.IsDir() {
			dirs = append(dirs, at)
		} else {
			names = append(names, at)
		}
		if len(names) == removeNames || len(dirs) == removeDirs {
			break
		}
	}
	return names, dirs, nil
}
