package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"

	"dray/account"
	running "dray/admin"
	"dray/config"
	"dray/explain"
	"dray/fault"
	"dray/firewall"
	"dray/screen"
	"dray/vfs/osfs"
)

// HostOptions say which server of this host is looked at.
type HostOptions struct {
	Config   config.Config // with its defaults and listeners
	Problems []config.Problem
	// Ports are what the server needs of a firewall.
	Ports firewall.Ports
	// Accounts lists the accounts; nil: there are none.
	Accounts func(context.Context) ([]Account, error)
	// Build is when the program was made; zero: nobody knows.
	Build time.Time
	// Done is told of each check when it is over, with its place in the report; one call
	// at a time. nil: nobody is.
	Done func(place int, f Finding)
}

// An Account is what is looked at of one: directories, and who acts in them.
type Account struct {
	account.Account
	Home string // also when it comes from the configuration
	Made bool   // a missing home is made at the first login
}

// patience is how long the whole of it may take, with a rest for telling.
const patience = 9 * time.Second

// ExamineHost looks at what a server on this host needs: ports, rights, files, names. It
// ends within ten seconds and changes nothing: the files that it makes to see whether it
// may are removed at once.
func ExamineHost(ctx context.Context, o HostOptions) Report {
	ctx, end := context.WithTimeout(ctx, patience)
	defer end()
	return examineHost(ctx, o, here(ctx))
}

func examineHost(ctx context.Context, o HostOptions, m *machine) Report {
	r := Report{Target: "the server of this host", Began: m.now()}
	if o.Config.File != "" {
		r.Target += " by " + o.Config.File
	}
	began := time.Now()
	h := &host{o: o, c: &o.Config, m: m}
	h.meet(ctx)
	r.Findings = runAll(ctx, h, h.checks(), o.Done)
	r.Took = time.Since(began)
	return r
}

// unfinished is a check that the end of the time came upon: a file system or a name
// server hangs.
func (h *host) unfinished(_ context.Context, f Finding) Finding {
	if f.Saw != "" {
		return f
	}
	return skip("there was no time for it: a file system or a name server of this host hangs")
}

func (h *host) without(f Finding) Finding { return f }

// A machine is what is asked of this one; a test is another.
type machine struct {
	*firewall.Host

	uid         int // of this process; -1 where there are none
	exe         string
	now         func() time.Time
	link        func(name string) (string, error)
	stat        func(name string) (fs.FileInfo, error)
	lookup      func(ctx context.Context, name string) ([]netip.Addr, error)
	addrs       func() []netip.Addr // of the interfaces that are up, without the loopback
	ask         func(socket string) (running.Info, running.Watchdog, error)
	user        func(name string) (identity, error)
	try         func(ctx context.Context, dir string, who identity, write bool) error
	readable    func(ctx context.Context, file string, who identity) error
	room        func(dir string) (room, error)
	descriptors func() uint64 // that this process may open; 0: nobody knows
	clock       func() (set, known bool)
}

func here(ctx context.Context) *machine {
	m := &machine{
		Host: firewall.Here(ctx), uid: os.Geteuid(), now: time.Now, link: os.Readlink, stat: os.Stat,
		lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			ctx, end := context.WithTimeout(ctx, 4*time.Second)
			defer end()
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		},
		addrs: interfaces, ask: askAdmin, user: lookUser, try: tryDir, readable: tryFile, room: roomAt, descriptors: maxDescriptors, clock: clockSet,
	}
	m.exe, _ = os.Executable()
	return m
}

func interfaces() []netip.Addr {
	var out []netip.Addr
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
				out = append(out, ip.Unmap())
			}
		}
	}
	return out
}

// askAdmin asks the running server, which answers at once or is of no help.
func askAdmin(socket string) (running.Info, running.Watchdog, error) {
	c, err := running.Dial(socket)
	if err != nil {
		return running.Info{}, running.Watchdog{}, err
	}
	defer c.Close()
	info, err := c.Info()
	if err != nil {
		return running.Info{}, running.Watchdog{}, err
	}
	seen, err := c.Watchdog()
	return info, seen, err
}

// An identity is a user of this machine.
type identity struct {
	name string
	osfs.Identity
	own bool // that of this process
}

func lookUser(name string) (identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return identity{}, err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	id := identity{name: name, Identity: osfs.Identity{UID: uint32(uid), GID: uint32(gid)}}
	id.Groups = []uint32{id.GID} // a server that root starts keeps no others
	return id, errors.Join(err1, err2)
}

// nameOf is the name of a user, or its number.
func nameOf(uid uint32) string {
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		return u.Username
	}
	return strconv.FormatUint(uint64(uid), 10)
}

// A host is one examination.
type host struct {
	o HostOptions
	c *config.Config
	m *machine

	running bool // the server answers
	why     error
	info    running.Info
	seen    running.Watchdog
	process process
	unit    map[string]string // what systemd says of the service dray; nil: it knows none
	who     identity          // as whom the server acts

	accountsOnce sync.Once
	accounts     []Account
	accountsErr  error
	socketsOnce  sync.Once
	sockets      []socket
	ownersOnce   sync.Once
	owners       map[string]int // inode of a socket to process
}

// A process is what /proc tells of the server.
type process struct {
	id   identity
	caps uint64 // in effect
	open uint64 // descriptors that it may open
}

// meet asks who serves, or would.
func (h *host) meet(ctx context.Context) {
	type answer struct {
		info running.Info
		seen running.Watchdog
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		var a answer
		a.info, a.seen, a.err = h.m.ask(h.c.AdminSocket())
		got <- a
	}()
	if h.m.GOOS == "linux" {
		h.unit = h.service()
	}
	select {
	case a := <-got:
		h.info, h.seen, h.why, h.running = a.info, a.seen, a.err, a.err == nil
	case <-time.After(2 * time.Second):
		h.why = errors.New("it takes longer than 2 s to answer")
	case <-ctx.Done():
		h.why = ctx.Err()
	}
	if h.running {
		h.process = h.read(strconv.Itoa(h.info.PID))
	}
	h.who = h.serving()
}

// service is what systemd knows of the unit dray.
func (h *host) service() map[string]string {
	out, err := h.m.Run("systemctl", "show", "dray.service", "--property=LoadState,ActiveState,User,AmbientCapabilities,LimitNOFILE")
	if err != nil {
		return nil
	}
	unit := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		unit[key] = value
	}
	if unit["LoadState"] != "loaded" {
		return nil
	}
	return unit
}

// read is what /proc tells of a process, named by its number or as "self".
func (h *host) read(pid string) process {
	var p process
	b, err := h.m.Read("/proc/" + pid + "/status")
	if err != nil {
		return p
	}
	number := func(s string, base int) uint64 {
		n, _ := strconv.ParseUint(s, base, 64)
		return n
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		switch {
		case key == "Uid" && len(f) > 1:
			p.id.UID = uint32(number(f[1], 10))
			p.id.name = nameOf(p.id.UID)
		case key == "Gid" && len(f) > 1:
			p.id.GID = uint32(number(f[1], 10))
		case key == "Groups":
			for _, g := range f {
				p.id.Groups = append(p.id.Groups, uint32(number(g, 10)))
			}
		case key == "CapEff" && len(f) > 0:
			p.caps = number(f[0], 16)
		}
	}
	if b, err := h.m.Read("/proc/" + pid + "/limits"); err == nil {
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "Max open files"); ok && len(strings.Fields(rest)) > 0 {
				p.open = number(strings.Fields(rest)[0], 10)
			}
		}
	}
	return p
}

// serving is as whom the server acts: the one that runs, or the one that would.
func (h *host) serving() identity {
	own := identity{name: "this user", own: true}
	if h.m.uid >= 0 {
		own.UID, own.name = uint32(h.m.uid), nameOf(uint32(h.m.uid))
	}
	who := own
	usual := h.m.uid == 0 || h.c.File == drayConf // others may serve by a file of their own
	switch {
	case h.process.id.name != "":
		who = h.process.id
	case usual && h.unit["User"] != "" && h.unit["User"] != "root":
		if id, err := h.m.user(h.unit["User"]); err == nil {
			who = id
		}
	case h.c.User != "":
		if id, err := h.m.user(h.c.User); err == nil { // else the configuration has a problem
			who = id
		}
	}
	who.own = h.m.uid >= 0 && who.UID == uint32(h.m.uid)
	return who
}

// checks are the questions, the more basic first.
func (h *host) checks() []checkOf[*host] {
	var all []checkOf[*host]
	add := func(name string, run func(*host, context.Context) Finding) {
		all = append(all, checkOf[*host]{name: name, run: bounded(run)})
	}
	told := func(name string, findings []Finding) {
		for _, f := range findings {
			add(name, func(*host, context.Context) Finding { return f })
		}
	}
	told("config", h.configured())
	add("clock", (*host).clock)
	add("container", (*host).container)
	add("low ports", (*host).lowPorts)
	for _, l := range h.c.Listeners {
		at := l.Listen
		if len(at) == 0 {
			at = []string{""}
		}
		for _, a := range at {
			add(portName(l, a), func(h *host, _ context.Context) Finding { return h.port(l, a) })
		}
	}
	add("descriptors", (*host).descriptors)
	add("state", (*host).state)
	add("space", (*host).space)
	add("homes", (*host).homes)
	if h.speaks("ftp", "ftps") {
		for _, pair := range h.c.TLS.Certificates {
			add("certificate", func(h *host, ctx context.Context) Finding { return h.certificate(ctx, pair) })
		}
		if len(h.c.TLS.Certificates) == 0 {
			add("certificate", (*host).selfSigned)
		}
	}
	if h.speaks("sftp") {
		add("host keys", (*host).hostKeys)
	}
	for _, r := range h.ranges() {
		add("range", func(h *host, _ context.Context) Finding { return h.rangeSize(r) })
		add("ephemeral", func(h *host, _ context.Context) Finding { return h.ephemeral(r) })
		add("range ports", func(h *host, _ context.Context) Finding { return h.rangeTaken(r) })
	}
	add("firewall", (*host).firewall)
	if h.speaks("ftp", "ftps") {
		add("public", (*host).public)
	}
	told("watchdog", h.watchdog())
	return all
}

// bounded is run without waiting for it when ctx is over: a file system may hang.
func bounded(run func(*host, context.Context) Finding) func(*host, context.Context) Finding {
	return func(h *host, ctx context.Context) Finding {
		got := make(chan Finding, 1)
		go func() { got <- run(h, ctx) }()
		select {
		case f := <-got:
			return f
		case <-ctx.Done():
			return plain(Warn, "no answer: a file system, a program or a name server hangs")
		}
	}
}

// plain is a finding of this package's own for which there is no id.
func plain(v Verdict, saw string, args ...any) Finding {
	f := fine(saw, args...)
	f.Verdict = v
	return f
}

// means gives a finding another diagnosis than that of its id.
func (f Finding) means(text string, args ...any) Finding {
	f.Means = fmt.Sprintf(text, args...)
	return f
}

// only puts steps in the place of those of the id.
func (f Finding) only(steps ...explain.Step) Finding {
	f.Do = steps
	return f
}

// unseen tells that a server may run that does not answer this user.
func (h *host) unseen() bool {
	return !h.running && !errors.Is(h.why, fs.ErrNotExist) && !errors.Is(h.why, running.ErrSilent)
}

// speaks tells whether a listener has one of the protocols.
func (h *host) speaks(protocols ...string) bool {
	for _, l := range h.c.Listeners {
		for _, p := range protocols {
			if l.Protocol == p {
				return true
			}
		}
	}
	return false
}

// linux is a finding for other systems, which are not asked.
func (h *host) linux() (Finding, bool) {
	if h.m.GOOS != "linux" {
		return skip("looked at on Linux only"), false
	}
	return Finding{}, true
}

// reload is the command after which the server has another configuration; "" where none
// runs.
func (h *host) reload() string {
	switch {
	case h.unit["ActiveState"] == "active":
		return "systemctl reload dray"
	case h.running && h.info.Config != "":
		return fmt.Sprintf("kill -HUP %d", h.info.PID)
	}
	return ""
}

// then is a command, and the reload behind it.
func (h *host) then(run string) string {
	if again := h.reload(); again != "" {
		return run + " && " + again
	}
	return run
}

// asRoot is the step that looks again with all rights.
func (h *host) asRoot(text string) explain.Step {
	return admin("sudo dray doctor --server"+h.config(), "%s", text)
}

// set is the step that gives a key of the configuration another value; of keys outside of
// all tables it is a command.
func (h *host) set(text, key, value string) explain.Step {
	line := key + " = " + value
	if h.c.File == "" {
		return admin("", "%s %s in the configuration; dray init writes one", text, line)
	}
	return admin(h.then(heading(firewall.Quote(h.c.File), key+" *=", line)), "%s", text)
}

// configured is what is wrong with the configuration, a finding each.
func (h *host) configured() []Finding {
	if h.c.File == "" {
		f := plain(Note, "there is no configuration: looked at what dray serve DIR takes")
		return []Finding{f.only(admin("dray init", "write one, with the first account:"))}
	}
	var out []Finding
	for _, p := range h.o.Problems {
		v := Fail
		if p.Warning {
			v = Warn
		}
		place := ""
		if p.Line > 0 {
			place = fmt.Sprintf("%s:%d: ", p.File, p.Line)
		}
		f := plain(v, "%s%s: %s", place, p.Field, p.What).with("key", p.Field)
		if v == Fail {
			f = f.means("With a mistake in its configuration the server does not start, and one that runs takes nothing of it at a reload.")
		}
		out = append(out, f.only(admin("", "%s", screen.Line(p.Do))))
	}
	if len(out) == 0 {
		out = append(out, fine("%s: no mistakes", h.c.File))
	}
	return out
}

// watchdog is what the running server has seen, a finding each.
func (h *host) watchdog() []Finding {
	start := "dray serve --config " + firewall.Quote(h.c.File)
	switch {
	case h.unit != nil:
		start = "systemctl start dray"
	case h.c.File == "":
		start = "dray serve DIR"
	}
	switch {
	case errors.Is(h.why, fs.ErrPermission):
		return []Finding{plain(Note, "the server at %s does not answer this user", h.c.AdminSocket()).
			only(h.asRoot("ask as root, or as the user that it runs as:"))}
	case errors.Is(h.why, fs.ErrNotExist), errors.Is(h.why, running.ErrSilent):
		return []Finding{plain(Note, "no server runs by this configuration, as none answers at %s: nothing has been seen of clients", h.c.AdminSocket()).only(admin(start, "start it:"))}
	case h.why != nil:
		return []Finding{plain(Warn, "the server at %s can't be asked: %v", h.c.AdminSocket(), h.why)}
	}
	var out []Finding
	for _, f := range h.seen.Findings {
		from := ""
		if f.Network != "" {
			from = f.Network + ": "
		}
		times := ""
		if f.Times > 1 {
			times = fmt.Sprintf("%d times, ", f.Times)
		}
		one := found(Warn, fault.ID(f.ID), "%s%s (%slast %s)", from, f.Text, times, f.Last.Format("2006-01-02 15:04:05")).
			with("network", f.Network).with("times", f.Times).with("last", f.Last)
		if f.ID == string(fault.IDDataBlocked) {
			one = one.first(admin("dray doctor HOST", "look from where the clients are:"))
		}
		out = append(out, one)
	}
	if len(out) == 0 {
		out = append(out, fine("the server (pid %d, since %s) has seen no data connection fail for a reason of its own", h.info.PID, h.info.Started.Format("2006-01-02 15:04")))
	}
	return out
}
