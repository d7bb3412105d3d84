package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dray/account"
	"dray/certs"
	"dray/config"
	"dray/explain"
	"dray/fault"
	"dray/firewall"
	"dray/screen"
	"dray/vfs"
	"dray/vfs/osfs"
)

// A room is what is left on the file system of a directory.
type room struct {
	device        string
	free, total   uint64 // bytes, for others than root
	names, inodes uint64 // free and in all; 0: the file system has no fixed number
}

// errUntried says that this process may not act as somebody else.
var errUntried = errors.New("only root can try it as another user")

// openAs opens a directory as who will serve it, with what the server opens it with.
func openAs(dir string, who identity) (*osfs.Tree, error) {
	disk := osfs.NewDisk(osfs.SyncNone, nil)
	switch {
	case who.own:
		return disk.Open(dir)
	case who.UID == 0 || !osfs.CanSwitch():
		return nil, errUntried
	}
	return disk.OpenAs(dir, who.Identity)
}

// tryDir lists a directory as somebody, and with write makes, renames and removes a
// hidden file in it.
func tryDir(ctx context.Context, dir string, who identity, write bool) (err error) {
	tree, err := openAs(dir, who)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	for _, err := range tree.List(ctx, vfs.Root) {
		if err != nil {
			return err
		}
		break
	}
	if !write {
		return nil
	}
	name := ".doctor-" + strconv.FormatUint(rand.Uint64(), 36)
	from, err := vfs.Resolve(vfs.Root, name)
	if err != nil {
		return err
	}
	to, err := vfs.Resolve(vfs.Root, name+".renamed")
	if err != nil {
		return err
	}
	up, err := tree.Create(ctx, from, vfs.Create{How: vfs.New})
	if err != nil {
		return err
	}
	if _, err := up.WriteAt([]byte("dray doctor --server\n"), 0); err != nil {
		return errors.Join(err, up.Discard())
	}
	if err := up.Commit(ctx); err != nil {
		return errors.Join(err, up.Discard())
	}
	ctx = context.WithoutCancel(ctx) // what was made goes
	if err := tree.Rename(ctx, from, to, vfs.NoReplace); err != nil {
		return errors.Join(err, tree.Remove(ctx, from))
	}
	return tree.Remove(ctx, to)
}

// tryFile opens a file as somebody.
func tryFile(ctx context.Context, file string, who identity) error {
	file = resolved(file)
	tree, err := openAs(filepath.Dir(file), who)
	if err != nil {
		return err
	}
	defer tree.Close()
	p, err := vfs.Resolve(vfs.Root, filepath.Base(file))
	if err != nil {
		return errUntried
	}
	f, err := tree.Open(ctx, p)
	if err != nil {
		return err
	}
	return f.Close()
}

// descriptors compares the limit of the process with the sessions that may be.
func (h *host) descriptors(context.Context) Finding {
	limit, whose := h.m.descriptors(), "this process"
	switch n, err := strconv.ParseUint(h.unit["LimitNOFILE"], 10, 64); {
	case h.process.open > 0:
		limit, whose = h.process.open, "the server"
	case h.unit != nil && err == nil && n > 0:
		limit, whose = n, "the unit"
	}
	if limit == 0 {
		return skip("the limit is not known")
	}
	const each = 6 // as serve counts them
	able, sessions := int(min(limit/each, 10000)), h.c.Limits.Sessions
	if sessions == 0 && able >= 100 || sessions > 0 && sessions <= able {
		return fine("%s may open %d, for %d sessions", whose, limit, able).with("descriptors", limit)
	}
	want := uint64(max(sessions, 1000) * each)
	f := found(Warn, fault.IDBusy, "%s may open %d descriptors, for %d sessions of %d each", whose, limit, able, each).with("descriptors", limit).with("sessions", sessions).
		means("A session needs a descriptor for its connection, and up to five more while it transfers. Where there are none, clients are turned away, and files can't be opened.")
	if sessions > 0 {
		f.Saw += fmt.Sprintf("; limits.sessions is %d", sessions)
	}
	switch {
	case h.unit != nil:
		return f.only(admin(fmt.Sprintf("mkdir -p /etc/systemd/system/dray.service.d && printf '[Service]\\nLimitNOFILE=%d\\n' > /etc/systemd/system/dray.service.d/files.conf && systemctl daemon-reload && systemctl restart dray", want), "raise the limit of the unit:"))
	case h.running:
		return f.only(admin(fmt.Sprintf("prlimit --pid %d --nofile=%d:%d", h.info.PID, want, want), "raise the limit of the server that runs; ulimit -n before its start does it for good:"))
	}
	return f.only(admin("", "start the server with a higher limit: ulimit -n %d", want))
}

// state looks at the directory of what must survive a start.
func (h *host) state(ctx context.Context) Finding {
	if h.c.State == "" {
		return skip("no directory is named")
	}
	err := h.m.try(ctx, h.c.State, h.who, true)
	if errors.Is(err, fs.ErrNotExist) {
		return fine("%s is made at the first start", h.c.State)
	}
	return h.directory("state", place{dir: h.c.State, who: h.who, write: true}, err)
}

// A place is a directory that somebody uses.
type place struct {
	account string
	dir     string
	who     identity
	write   bool
	made    bool   // when it is missing
	missing string // what is to be made in dir; "": nothing is
}

func (p place) key() string { return fmt.Sprint(p.dir, p.who.UID, p.write, p.made) }

// list lists the accounts once.
func (h *host) list(ctx context.Context) ([]Account, error) {
	h.accountsOnce.Do(func() {
		if h.o.Accounts != nil {
			h.accounts, h.accountsErr = h.o.Accounts(ctx)
		}
	})
	return h.accounts, h.accountsErr
}

// places are the directories of all accounts that may log in, each once.
func (h *host) places(accounts []Account) []place {
	var out []place
	seen := map[string]bool{}
	add := func(p place) {
		if p.dir != "" && !seen[p.key()] {
			seen[p.key()] = true
			out = append(out, p)
		}
	}
	for _, a := range accounts {
		if a.Disabled {
			continue
		}
		who := h.who
		if o := a.Owner; o != nil {
			who = identity{name: nameOf(o.UID), Identity: osfs.Identity{UID: o.UID, GID: o.GID, Groups: o.Groups}}
			who.own = h.m.uid > 0 && o.UID == uint32(h.m.uid)
		}
		write := a.AnyRights()&account.Write != 0
		add(place{account: a.Name, dir: a.Home, who: who, write: write, made: a.Made})
		for _, m := range a.Mounts {
			add(place{account: a.Name, dir: m.Dir, who: who, write: write})
		}
	}
	if an := h.c.Anonymous; an.Directory != "" {
		add(place{account: "anonymous", dir: an.Directory, who: h.who})
		if an.Incoming != "" {
			add(place{account: "anonymous", dir: filepath.Join(an.Directory, an.Incoming), who: h.who, write: true})
		}
	}
	return out
}

// homes tries the directories of the accounts.
func (h *host) homes(ctx context.Context) Finding {
	accounts, err := h.list(ctx)
	if err != nil && h.m.uid > 0 {
		return skip("this user may not read the accounts").only(h.asRoot("ask as root:"))
	}
	if err != nil {
		return plain(Warn, "the accounts can't be read: %v", err).only(admin("dray user ls"+h.config(), "see what it says:"))
	}
	places := h.places(accounts)
	if h.c.File == "" {
		return skip("dray serve DIR has one account, and no home but DIR")
	}
	if len(places) == 0 {
		return skip("there are no accounts yet").only(admin("dray user add NAME"+h.config(), "add the first:"))
	}
	var bad []Finding
	tried, untried := 0, 0
	for _, a := range accounts {
		if a.Owner != nil && !a.Disabled && h.c.User != "" && !h.c.Accounts.Owners && a.Owner.UID != h.who.UID {
			bad = append(bad, found(Fail, fault.IDHome, "%s has an owner, uid %d, and the server may not act as anybody but %s: its login is refused", a.Name, a.Owner.UID, h.who.name).
				only(admin("", "let it, owners = true under [accounts] in %s, and restart the server; or take the owner away: dray user set %s --owner none", orDefault(h.c.File), firewall.Quote(a.Name))))
		}
	}
	for _, p := range places {
		if ctx.Err() != nil {
			break
		}
		if why := h.c.Exposes(p.dir); why != "" {
			bad = append(bad, found(Fail, fault.IDHome, "%s of %s %s: its login is refused, for clients could fetch it", p.dir, p.account, why).
				only(admin("", "give the account a directory of its own: dray user set %s --home DIR", p.account)))
			continue
		}
		err := h.m.try(ctx, p.dir, p.who, p.write)
		if p.made && errors.Is(err, fs.ErrNotExist) {
			above := filepath.Dir(p.dir)
			for above != filepath.Dir(above) {
				if _, err := h.m.stat(above); err == nil {
					break
				}
				above = filepath.Dir(above)
			}
			p.missing, p.dir, p.who = p.dir, above, h.who
			err = h.m.try(ctx, above, h.who, true)
		}
		if errors.Is(err, errUntried) {
			untried++
			continue
		}
		tried++
		if f := h.directory(p.account, p, err); f.Verdict != OK {
			bad = append(bad, f)
		}
	}
	switch {
	case len(bad) > 0:
		f := bad[0]
		for _, other := range bad[1:] {
			if other.Verdict > f.Verdict {
				f = other
			}
		}
		if len(bad) > 1 {
			var all []string
			saw := f.Saw
			for i, one := range bad {
				all = append(all, one.Saw)
				if one.Saw != saw && i < 3 {
					f.Saw += "; " + one.Saw
				}
			}
			if len(bad) > 3 {
				f.Saw += fmt.Sprintf("; %d in all, and --json has each", len(bad))
			}
			f = f.with("all", all)
		}
		return f
	case tried+untried < len(places):
		return plain(Note, "%d of %d directories can be used; for the others was no time", tried, len(places))
	case tried == 0:
		return skip("%d directories: %v", untried, errUntried).only(h.asRoot("ask as root:"))
	}
	return fine("%d of %d directories of accounts tried, and they can be used", tried, len(places)).with("directories", tried)
}

// directory is the finding for a place that was tried.
func (h *host) directory(whose string, p place, err error) Finding {
	dir := firewall.Quote(p.dir)
	owner := fmt.Sprintf("%d:%d", p.who.UID, p.who.GID)
	if p.who.name != "" && p.who.name != "this user" {
		owner = p.who.name
		if p.who.GID != 0 {
			owner = fmt.Sprintf("%s:%d", p.who.name, p.who.GID)
		}
	}
	var barred *osfs.HomeError
	kind := fault.KindOf(err)
	switch {
	case err == nil:
		return fine("%s can be used as %s", p.dir, p.who.name)
	case errors.Is(err, errUntried):
		return skip("%s: %v", p.dir, err).only(h.asRoot("ask as root:"))
	case kind == fault.NotFound:
		return found(Fail, fault.IDHome, "%s of %s is missing", p.dir, whose).with("directory", p.dir).
			only(admin(fmt.Sprintf("install -d -o %s -g %d -m 750 %s", p.who.name, p.who.GID, dir), "make it:"))
	case kind == fault.NotDir:
		return found(Fail, fault.IDHome, "%s of %s is no directory", p.dir, whose).with("directory", p.dir)
	case kind == fault.NoSpace || kind == fault.OverQuota:
		return found(Fail, fault.IDNoSpace, "%s of %s: nothing can be written: %v", p.dir, whose, screen.Line(explainCause(err))).with("directory", p.dir)
	case errors.Is(err, syscall.EROFS):
		return found(Fail, fault.IDReadOnly, "%s of %s is on a file system that is mounted to be read only", p.dir, whose).with("directory", p.dir).
			means("Nothing can be written there, by anybody. A file system is also made read-only by the kernel after an error of its disk: dmesg tells.").
			only(admin("mount -o remount,rw "+dir, "when it is meant to be written to:"))
	case errors.As(err, &barred) && barred.Dir != filepath.Clean(p.dir):
		return found(Fail, fault.IDHome, "%s of %s: %s may not enter %s, which is above it", p.dir, whose, p.who.name, barred.Dir).with("directory", barred.Dir).
			only(admin("chmod a+x "+firewall.Quote(barred.Dir), "let everybody pass through it, without listing it:"))
	case kind == fault.Denied:
		what := "read"
		if p.write {
			what = "write in"
		}
		step := admin(fmt.Sprintf("chown %s %s && chmod u+rwx %s", owner, dir, dir), "give it to who serves it; with what is in it: chown -R")
		if p.missing != "" {
			f := found(Fail, fault.IDPerm, "%s of %s is missing, and %s may not make it: it may not write in %s", p.missing, whose, p.who.name, p.dir)
			return f.with("directory", p.missing).with("user", p.who.name).
				only(admin(fmt.Sprintf("install -d -o %s -g %d -m 750 %s", p.who.name, p.who.GID, firewall.Quote(p.missing)), "make it:"), step)
		}
		return found(Fail, fault.IDPerm, "%s of %s: %s may not %s it", p.dir, whose, p.who.name, what).with("directory", p.dir).with("user", p.who.name).only(step)
	}
	return plain(Fail, "%s of %s can't be used as %s: %v", p.dir, whose, p.who.name, screen.Line(err.Error())).with("directory", p.dir)
}

func explainCause(err error) string {
	if cause := explain.Cause(err); cause != "" {
		return cause
	}
	return err.Error()
}

// Below these a disk is nearly full.
const (
	littleRoom  = 1 << 30
	littleParts = 20 // one part of so many: 5 %
)

// space looks at the disks of all directories.
func (h *host) space(ctx context.Context) Finding {
	dirs := []string{h.c.State}
	if accounts, err := h.list(ctx); err == nil {
		for _, p := range h.places(accounts) {
			dirs = append(dirs, p.dir)
		}
	}
	seenDevices := map[string]bool{}
	var worst *Finding
	said := []string{}
	for _, dir := range dirs {
		r, err := h.m.room(dir)
		if err != nil || ctx.Err() != nil || seenDevices[r.device] {
			continue // what is missing, others say
		}
		seenDevices[r.device] = true
		f := roomLeft(dir, r)
		said = append(said, f.Saw)
		if f.Verdict > OK && (worst == nil || f.Verdict > worst.Verdict) {
			worst = &f
		}
	}
	switch {
	case worst != nil:
		return worst.with("disks", said)
	case len(said) == 0:
		return skip("no directory is there yet")
	}
	return fine("%s", strings.Join(said, "; "))
}

func roomLeft(dir string, r room) Finding {
	saw := fmt.Sprintf("%s: %s of %s free", dir, screen.Size(int64(min(r.free, 1<<62))), screen.Size(int64(min(r.total, 1<<62))))
	names := fmt.Sprintf("%s: %d of %d names (inodes) free", dir, r.names, r.inodes)
	step := admin("df -h "+firewall.Quote(dir)+"; df -i "+firewall.Quote(dir), "make room, or move the tree to a larger disk; what takes it: du -xsh DIR/*")
	switch {
	case r.free == 0 && r.total > 0:
		return found(Fail, fault.IDNoSpace, "%s", saw).only(step)
	case r.inodes > 0 && r.names == 0:
		return found(Fail, fault.IDNoSpace, "%s", names).only(step)
	case r.inodes > 0 && r.names < r.inodes/littleParts:
		return found(Warn, fault.IDNoSpace, "%s", names).only(step)
	case r.total > 0 && (r.free < r.total/littleParts || r.free < littleRoom):
		return found(Warn, fault.IDNoSpace, "%s", saw).only(step)
	}
	return fine("%s", saw)
}

// When a certificate that ends is told, and how loudly.
const (
	day       = 24 * time.Hour
	noteAfter = 21 * day
	warnAfter = 7 * day
	failAfter = 1 * day
)

// certificate looks at one pair of files.
func (h *host) certificate(ctx context.Context, pair config.Certificate) Finding {
	key := pair.Key
	if key == "" {
		key = pair.File
	}
	c, err := certs.Load(pair.File, pair.Key)
	var ce *certs.Error
	if err != nil && (c == nil || !errors.As(err, &ce)) {
		return h.unusable(pair.File, err)
	}
	until := c.Leaf.NotAfter.Sub(h.m.now())
	date := c.Leaf.NotAfter.Local().Format("2006-01-02 15:04")
	renew := []explain.Step{admin("certbot renew", "renew it, where certbot made it; else have another one issued")}
	if again := h.reload(); again != "" {
		renew = append(renew, admin(again, "then let the server load it:"))
	}
	about := func(f Finding) Finding {
		return f.with("file", pair.File).with("until", c.Leaf.NotAfter).with("names", c.Leaf.DNSNames)
	}
	f := about(fine("%s: for %s, until %s", pair.File, names(c), date))
	switch {
	case h.m.now().Before(c.Leaf.NotBefore):
		return about(found(Fail, fault.IDExpired, "%s: valid from %s on, and the clock of this host says %s", pair.File, c.Leaf.NotBefore.Local().Format("2006-01-02 15:04"), h.m.now().Format("2006-01-02 15:04"))).
			only(admin("timedatectl set-ntp true", "set the clock, which most likely is wrong:"))
	case until <= 0:
		return about(found(Fail, fault.IDExpired, "%s: expired at %s", pair.File, date)).only(renew...)
	case until <= failAfter:
		f = about(found(Fail, fault.IDExpired, "%s: expires at %s, within a day", pair.File, date)).only(renew...)
	case until <= warnAfter:
		f = about(found(Warn, fault.IDExpired, "%s: expires at %s, in %d days", pair.File, date, int(until/day))).only(renew...)
	case until <= noteAfter:
		f = about(found(Note, fault.IDExpired, "%s: expires at %s, in %d days", pair.File, date, int(until/day))).only(renew...)
	}
	if f.Verdict >= Note {
		f = f.means("Until then all is well. Afterwards every client that checks certificates refuses the connection.")
	}
	for _, other := range h.flaws(ctx, c, pair, key) {
		if other.Verdict > f.Verdict {
			f = about(other)
		}
	}
	return f
}

// flaws are what is wrong with a certificate that is in force.
func (h *host) flaws(ctx context.Context, c *certs.Certificate, pair config.Certificate, key string) []Finding {
	var out []Finding
	if err := h.m.readable(ctx, key, h.who); fault.KindOf(err) == fault.Denied && err != nil {
		f := found(Fail, fault.IDPerm, "%s: %s, as whom the server runs, may not read it", key, h.who.name).
			means("A server that starts as this user has no certificate, and does not start.")
		closed := h.closed(key)
		var commands []string
		for _, dir := range closed {
			commands = append(commands, fmt.Sprintf("chgrp %d %s && chmod g+x %s", h.who.GID, firewall.Quote(dir), firewall.Quote(dir)))
		}
		text := "let the group of the server read it:"
		if len(closed) > 0 {
			f.Saw += ", nor pass through " + strings.Join(closed, " and ")
			text = "let the group of the server pass through what is above it, and read it:"
		}
		real := resolved(key)
		commands = append(commands, fmt.Sprintf("chgrp %d %s && chmod g+r %s", h.who.GID, firewall.Quote(real), firewall.Quote(real)))
		out = append(out, f.only(admin(h.then(strings.Join(commands, " && ")), "%s", text)))
	}
	for _, p := range c.Problems() { // what is wrong, a colon, and what to do
		what, do := p, ""
		if i := strings.LastIndex(p, ": "); i >= 0 {
			what, do = p[:i], p[i+2:]
		}
		switch {
		case strings.HasPrefix(p, "the key "):
			out = append(out, found(Warn, fault.IDKeyExposed, "%s", what).with("key", key).only(admin("chmod o= "+firewall.Quote(key), "close it:"),
				admin("", "have another one made, if others than administrators are users of this host")))
		case strings.HasPrefix(p, "the file has no certificate of its issuer"):
			out = append(out, found(Warn, fault.IDIncomplete, "%s: %s", pair.File, what))
		default:
			out = append(out, plain(Warn, "%s: %s", pair.File, what).only(admin("", "%s", do)))
		}
	}
	if name := h.c.Public; name != "" && len(h.c.TLS.Certificates) == 1 && c.Leaf.VerifyHostname(name) != nil {
		out = append(out, found(Warn, fault.IDCertName, "%s: it is for %s, and clients that dial %s refuse it", pair.File, names(c), name))
	}
	if h.running && len(h.info.Certificates) > 0 {
		served := false
		for _, s := range h.info.Certificates {
			served = served || s.SHA256 == c.Hex()
		}
		if !served {
			f := plain(Warn, "%s: the server that runs shows clients another certificate", pair.File).means("The file was renewed since the server has read it.")
			out = append(out, f.only(admin(h.reload(), "let it load the file:")))
		}
	}
	return out
}

// closed are the directories above a file, and above what it leads to, that the server
// may not pass through, the highest first.
func (h *host) closed(file string) []string {
	var out []string
	for _, name := range []string{file, resolved(file)} {
		var above []string
		for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
			above = append(above, dir)
			if dir == filepath.Dir(dir) {
				break
			}
		}
		for _, dir := range slices.Backward(above) {
			if info, err := os.Stat(dir); err == nil && !passes(info, h.who) && !slices.Contains(out, dir) {
				out = append(out, dir)
			}
		}
	}
	return out
}

func resolved(file string) string {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		return real
	}
	return file
}

func names(c *certs.Certificate) string {
	all := append([]string{}, c.Leaf.DNSNames...)
	for _, ip := range c.Leaf.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name"
	}
	return strings.Join(all, ", ")
}

// unusable is the finding for a certificate or key that the server can't use.
func (h *host) unusable(file string, err error) Finding {
	var ce *certs.Error
	if !errors.As(err, &ce) {
		return plain(Fail, "%s: %v", file, err)
	}
	f := plain(Fail, "%s: %s", ce.File, ce.Text)
	switch ce.Why {
	case certs.Unreadable:
		f = found(Skipped, fault.IDPerm, "%s can't be read by this user", ce.File).only(h.asRoot("ask as root:"))
		if h.who.own {
			f.Verdict = Fail
		}
		return f
	case certs.Exposed:
		f = found(Fail, fault.IDKeyExposed, "%s: %s", ce.File, ce.Text)
		return f.only(admin("chmod 600 "+firewall.Quote(ce.File), "close it:"), admin("", "have another one made, if somebody may have read it"))
	}
	return f.means("With it the server does not start, or goes on with the one before.").only(admin("", "%s", ce.Do))
}

// selfSigned looks at the certificate that the server makes for itself.
func (h *host) selfSigned(context.Context) Finding {
	file := filepath.Join(h.c.State, certs.SelfSignedFile)
	note := func(saw string, args ...any) Finding {
		return found(Note, fault.IDSelfSigned, saw, args...).
			means("Clients can't know the server by a certificate that it made itself, and ask their users whether to trust it. Programs that ask nobody refuse it.").
			only(admin("", "name one of a public CA under [[tls.certificate]] in %s, or tell users the fingerprint", orDefault(h.c.File)))
	}
	c, err := certs.Load(file, "")
	var ce *certs.Error
	switch errors.As(err, &ce); {
	case err == nil:
	case ce != nil && ce.Why == certs.NoFile:
		return note("none is configured: the server makes one at its first start")
	case ce != nil && ce.Why == certs.Unreadable:
		return note("none is configured: the server makes one itself")
	case ce != nil && ce.Why == certs.Expired:
		return note("%s has expired, and the next start replaces it", file)
	default:
		return h.unusable(file, err)
	}
	for _, p := range c.Problems() {
		if strings.HasPrefix(p, "the key ") {
			return found(Warn, fault.IDKeyExposed, "the key %s is open to everybody on this machine", file).only(admin("chmod 600 "+firewall.Quote(file), "close it:"))
		}
	}
	return note("the server made it itself, for %s; SHA-256 %s, that of its key %s", names(c), c.SHA256(), c.KeySHA256())
}

// hostKeys looks at the keys of SSH.
func (h *host) hostKeys(ctx context.Context) Finding {
	files, own := h.c.SSH.HostKeys, false
	if len(files) == 0 {
		own = true
		for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
			files = append(files, filepath.Join(h.c.State, "ssh_host_"+kind+"_key"))
		}
	}
	there := 0
	for _, file := range files {
		_, err := certs.LoadHostKey(file)
		if own && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return h.unusable(file, err)
		}
		there++
		if err := h.m.readable(ctx, file, h.who); err != nil && fault.KindOf(err) == fault.Denied {
			return found(Fail, fault.IDPerm, "%s: %s, as whom the server runs, may not read it", file, h.who.name).
				means("A server that starts as this user has no host key, and does not start.").
				only(admin(h.then(fmt.Sprintf("chown %d %s", h.who.UID, firewall.Quote(file))), "give it to the user of the server, who alone may read it:"))
		}
	}
	if there == 0 {
		return fine("they are made at the first start, and kept in %s", h.c.State)
	}
	return fine("%d keys, which the server alone may read", there)
}
