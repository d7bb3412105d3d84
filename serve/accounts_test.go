package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/account/accountsql"
	"dray/config"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/osfs"
)

// site is a configuration as a file has it, in temporary directories and at free
// ports, with homes for everybody.
func site(t *testing.T) config.Config {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"state", "homes"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := config.Defaults()
	c.State, c.Sync = filepath.Join(dir, "state"), "none"
	c.Accounts.Home = filepath.Join(dir, "homes", "{name}")
	c.Limits.Exempt = loopback
	c.Listeners = config.DefaultListeners()[:2] // without SFTP, whose host keys take a while to make
	for i := range c.Listeners {
		c.Listeners[i].Listen = []string{"127.0.0.1:0"}
	}
	return c
}

// hash is that of password, made once: it is dear.
var hash = sync.OnceValues(func() (account.Hash, error) { return account.NewHash(account.NewSecret(password)) })

// stored opens the database of a configuration, as "dray user" does.
func stored(t *testing.T, c config.Config) *accountsql.DB {
	t.Helper()
	db, err := accountsql.Open(t.Context(), c.Database(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// add stores accounts with the usual password and full rights, where none are
// said.
func add(t *testing.T, c config.Config, accounts ...account.Account) {
	t.Helper()
	db := stored(t, c)
	for _, a := range accounts {
		h, err := hash()
		if err != nil {
			t.Fatal(err)
		}
		if a.Hash == "" {
			a.Hash = h
		}
		if a.Rights == 0 {
			a.Rights = account.Full
		}
		if err := db.Put(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// run serves a configuration until the test ends. The log may have no errors but
// those with one of these texts.
func run(t *testing.T, s Setup, errs ...string) (r *Running, stop func(), j *journal) {
	t.Helper()
	j = new(journal)
	r, err := Start(s, j.log())
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Errorf("Stop() = %v", err)
		}
	lines:
		for line := range strings.Lines(j.String()) {
			for _, e := range errs {
				if strings.Contains(line, e) {
					continue lines
				}
			}
			if strings.Contains(line, "level=ERROR") {
				t.Errorf("the log has an error: %s", line)
			}
		}
	})
	t.Cleanup(stop)
	return r, stop, j
}

// in is a client that has logged in over implicit TLS.
func in(t *testing.T, r *Running, user string) *client {
	t.Helper()
	k := dial(t, r.Card.FTPS[0]).under(r.Card)
	k.want("220")
	k.login(user, password)
	return k
}

// send uploads over a data connection in clear text and returns the final reply.
func (c *client) send(path string, data []byte) string {
	c.t.Helper()
	d := c.data()
	defer d.Close()
	if _, err := fmt.Fprintf(c.c, "STOR %s\r\n", path); err != nil {
		c.t.Fatal(err)
	}
	if line := c.want(""); !strings.HasPrefix(line, "1") {
		return line
	}
	_, _ = d.Write(data) // refused in the middle: the reply says why
	_ = d.Close()
	return c.want("")
}

// data opens a passive data connection.
func (c *client) data() net.Conn {
	c.t.Helper()
	_, rest, _ := strings.Cut(c.say("EPSV", "229"), "(|||")
	port, _, _ := strings.Cut(rest, "|")
	host, _, err := net.SplitHostPort(c.c.RemoteAddr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	d, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 5*time.Second)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = d.Close() })
	return d
}

func write(t *testing.T, name string, size int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
}

func homeOf(c config.Config, name string) string {
	home, _ := c.HomeOf(&account.Account{Name: name})
	return home
}

func TestAccountsOfTheDatabaseLogInToTheirHomes(t *testing.T) {
	c := site(t)
	own := t.TempDir()
	write(t, filepath.Join(own, "report.txt"), 7)
	add(t, c, account.Account{Name: "anna"}, account.Account{Name: "otto", Home: own, Rights: account.ReadOnly})
	r, _, j := run(t, Setup{Config: c})
	if r.Card.User != "" || r.Card.Dir != "" {
		t.Errorf("the card names %q and %q, where accounts are in a database", r.Card.User, r.Card.Dir)
	}

	anna := in(t, r, "anna")
	anna.say("MKD inbox", "257")
	if fi, err := os.Stat(filepath.Join(homeOf(c, "anna"), "inbox")); err != nil || !fi.IsDir() {
		t.Errorf("what anna made is not in her home: %v", err)
	}
	if fi, err := os.Stat(homeOf(c, "anna")); err != nil || fi.Mode().Perm() != 0o750 {
		t.Errorf("her home is %v, %v; want mode 0750", fi, err)
	}
	if log := j.String(); !strings.Contains(log, `msg="home made" user=anna`) {
		t.Errorf("the log does not tell of the new home:\n%s", log)
	}
	anna.say("SIZE report.txt", "550")

	otto := in(t, r, "otto")
	otto.say("SIZE report.txt", "213 7")
	otto.say("DELE report.txt", "550")
	otto.say("SIZE ../homes/anna/inbox", "550")

	wrong := dial(t, r.Card.FTPS[0]).under(r.Card)
	wrong.want("220")
	wrong.say("USER anna", "331")
	wrong.say("PASS "+password+"!", "530")
	wrong.say("USER nobody", "331")
	wrong.say("PASS "+password, "530")
}

func TestAnAccountThatIsAddedLaterLogsIn(t *testing.T) {
	c := site(t)
	r, _, _ := run(t, Setup{Config: c})
	add(t, c, account.Account{Name: "anna"})
	in(t, r, "anna").say("PWD", `257 "/"`)
}

func TestHomesThatCantBeOpened(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	write(t, file, 1)
	tests := []struct {
		name string
		set  func(c *config.Config, a *account.Account)
		log  []string // nil: the login succeeds
	}{
		{"a missing home of the configuration is made", func(*config.Config, *account.Account) {}, nil},
		{"with the directories above it", func(c *config.Config, _ *account.Account) {
			c.Accounts.Home = filepath.Join(base, "deep", "er", "{name}")
		}, nil},
		{"unless make-home is off", func(c *config.Config, _ *account.Account) { c.Accounts.MakeHome = false },
			[]string{`home of account \"anna\"`, "no such file"}},
		{"a missing home of the account's own is not made", func(_ *config.Config, a *account.Account) { a.Home = filepath.Join(base, "gone") },
			[]string{`home of account \"anna\"`, "gone", "no such file"}},
		{"a home that is a file", func(_ *config.Config, a *account.Account) { a.Home = file },
			[]string{`home of account \"anna\"`, file, "not a directory"}},
		{"a home in a file", func(c *config.Config, _ *account.Account) { c.Accounts.Home = filepath.Join(file, "{name}") },
			[]string{`home of account \"anna\"`, "not a directory"}},
		{"no home at all", func(c *config.Config, _ *account.Account) { c.Accounts.Home = "" },
			[]string{`account \"anna\" has no home`, `dray user set anna --home DIR`}},
		{"mounts without a home", func(c *config.Config, a *account.Account) {
			c.Accounts.Home, a.Mounts = "", []account.Mount{{At: "/pub", Dir: base}}
		}, nil},
		{"a mount that is missing", func(_ *config.Config, a *account.Account) {
			a.Mounts = []account.Mount{{At: "/ok", Dir: base}, {At: "/pub", Dir: filepath.Join(base, "gone")}}
		}, []string{`mount /pub of account \"anna\"`, "no such file"}},
		{"a mount that is a file", func(_ *config.Config, a *account.Account) { a.Mounts = []account.Mount{{At: "/pub", Dir: file}} },
			[]string{`mount /pub of account \"anna\"`, "not a directory"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, a := site(t), account.Account{Name: "anna"}
			tt.set(&c, &a)
			add(t, c, a)
			var errs []string
			if tt.log != nil {
				errs = []string{"the directory of the account can't be opened"}
			}
			r, _, j := run(t, Setup{Config: c}, errs...)
			k := dial(t, r.Card.FTPS[0]).under(r.Card)
			k.want("220")
			k.say("USER anna", "331")
			if tt.log == nil {
				k.say("PASS "+password, "230")
				return
			}
			got := k.say("PASS "+password, "530")
			if !strings.Contains(got, "["+string(fault.IDHome)+"]") || strings.Contains(got, base) {
				t.Errorf("the client is told %q; want %s and no path of this machine", got, fault.IDHome)
			}
			for _, want := range append(tt.log, "level=ERROR", "user=anna") {
				if !strings.Contains(j.String(), want) {
					t.Errorf("the log lacks %q:\n%s", want, j)
				}
			}
			k.say("USER anna", "331") // the connection is none the worse
		})
	}
}

// Clients open several connections at once, also the first time.
func TestAHomeIsMadeOnceForManyLogins(t *testing.T) {
	c := site(t)
	r, _, j := run(t, Setup{Config: c})
	const logins = 32
	errs := make(chan error, logins)
	begin := make(chan struct{})
	for range logins {
		go func() {
			<-begin
			tree, err := r.trees(t.Context(), account.Account{Name: "anna", Rights: account.Full})
			if err == nil {
				err = tree.Close()
			}
			errs <- err
		}()
	}
	close(begin)
	for range logins {
		if err := <-errs; err != nil {
			t.Errorf("trees() = %v", err)
		}
	}
	// Who was slower finds it made, and files in it stay.
	write(t, filepath.Join(homeOf(c, "anna"), "a"), 1)
	if err := r.makeHome(&account.Account{Name: "anna", Owner: &account.Owner{UID: 42001, GID: 42001}}, homeOf(c, "anna")); err != nil {
		t.Errorf("makeHome() of one that is there = %v", err)
	}
	if n := strings.Count(j.String(), "home made"); n != 1 {
		t.Errorf("the home was made %d times", n)
	}
}

func TestMountsStandInTheTreeWithRightsOfTheirOwn(t *testing.T) {
	c := site(t)
	pub := t.TempDir()
	write(t, filepath.Join(pub, "list.txt"), 5)
	write(t, filepath.Join(homeOf(c, "anna"), "own.txt"), 3)
	add(t, c, account.Account{
		Name: "anna", Mounts: []account.Mount{{At: "/shared/pub", Dir: pub}},
		Paths: []account.PathRights{{Path: "/shared/pub", Rights: account.ReadOnly}},
	})
	r, _, _ := run(t, Setup{Config: c})
	k := in(t, r, "anna")
	k.say("SIZE own.txt", "213 3")
	k.say("CWD /shared/pub", "250")
	k.say("SIZE list.txt", "213 5")
	k.say("DELE list.txt", "550")
	k.say("MKD new", "550")
	k.say("DELE /own.txt", "250")
	if _, err := os.Stat(filepath.Join(pub, "list.txt")); err != nil {
		t.Error(err)
	}
}

// public adds strangers with an incoming directory.
func public(t *testing.T, c *config.Config) (incoming string) {
	t.Helper()
	dir := t.TempDir()
	incoming = filepath.Join(dir, "incoming")
	if err := os.Mkdir(incoming, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "readme"), 4)
	c.Anonymous.Directory, c.Anonymous.Incoming, c.Anonymous.MaxBytes = dir, "incoming", 1000
	return incoming
}

// stranger is logged in, in clear text.
func stranger(t *testing.T, r *Running) *client {
	t.Helper()
	k := dial(t, r.Card.FTP[0])
	k.want("220")
	k.login("anonymous", "me@example.net")
	return k
}

func TestStrangersReadAndLeaveFilesUpToTheirQuota(t *testing.T) {
	c := site(t)
	incoming := public(t, &c)
	r, stop, _ := run(t, Setup{Config: c})
	if !r.Card.Anonymous {
		t.Error("the card does not tell of them")
	}
	k := stranger(t, r)
	k.say("SIZE readme", "213 4")
	for path, want := range map[string]string{"new": "550", "readme": "550"} {
		if got := k.send(path, make([]byte, 1)); !strings.HasPrefix(got, want) {
			t.Errorf("STOR %s = %q, want %s", path, got, want)
		}
	}
	if got := k.send("incoming/a", make([]byte, 600)); !strings.HasPrefix(got, "226") {
		t.Errorf("600 bytes of 1000: %q", got)
	}
	k.say("RETR incoming/a", "550")
	k.say("SIZE incoming/a", "550")
	k.say("DELE incoming/a", "550")
	if got := k.send("incoming/a", make([]byte, 1)); !strings.HasPrefix(got, "226") { // beside it: nobody learns what is there
		t.Errorf("a name that is taken: %q", got)
	}
	if got := k.send("incoming/b", make([]byte, 600)); !strings.HasPrefix(got, "552") {
		t.Errorf("1200 bytes of 1000: %q, want 552", got)
	}
	if fi, err := os.Stat(filepath.Join(incoming, "a")); err != nil || fi.Size() != 600 {
		t.Errorf("what was left is %v, %v", fi, err)
	}
	if names := hiddenIn(t, incoming); len(names) > 0 {
		t.Errorf("the refused upload leaves %q", names)
	}

	// A reload neither forgets nor counts again, which could miss an upload that
	// ends meanwhile; a larger quota is one at once.
	if err := r.ledger.Adjust(t.Context(), "anonymous", 0, 99); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(Setup{Config: c}); err != nil {
		t.Fatal(err)
	}
	if files, bytes, err := r.ledger.Usage(t.Context(), "anonymous"); files != 2 || bytes != 700 || err != nil {
		t.Errorf("usage after a reload: %d files, %d bytes, %v; want 2 and 700", files, bytes, err)
	}
	c.Anonymous.MaxBytes = 1500
	if err := r.Reload(Setup{Config: c}); err != nil {
		t.Fatal(err)
	}
	if got := k.send("incoming/b", make([]byte, 600)); !strings.HasPrefix(got, "226") {
		t.Errorf("1200 bytes of 1500: %q", got)
	}

	// So does the next start.
	stop()
	r, _, _ = run(t, Setup{Config: c})
	if got := stranger(t, r).send("incoming/c", make([]byte, 600)); !strings.HasPrefix(got, "552") {
		t.Errorf("after a start 1800 bytes of 1500: %q, want 552", got)
	}
}

func TestStrangersHaveASettingForEach(t *testing.T) {
	c := site(t)
	public(t, &c)
	c.Anonymous.MaxSessions, c.Anonymous.Plain = 1, false
	r, _, _ := run(t, Setup{Config: c})
	k := dial(t, r.Card.FTP[0])
	k.want("220")
	k.say("USER anonymous", "5") // under TLS only
	first := dial(t, r.Card.FTPS[0]).under(r.Card)
	first.want("220")
	first.login("ftp", "-")
	second := dial(t, r.Card.FTPS[0]).under(r.Card)
	second.want("220")
	second.say("USER anonymous", "331")
	if got := second.say("PASS x", "421"); !strings.Contains(got, "1 of 1") {
		t.Errorf("a second one is told %q", got)
	}

	c.Anonymous = config.Anonymous{}
	if err := r.Reload(Setup{Config: c}); err != nil {
		t.Fatal(err)
	}
	first.say("NOOP", "200") // who is in stays
	gone := dial(t, r.Card.FTPS[0]).under(r.Card)
	gone.want("220")
	gone.say("USER anonymous", "331")
	gone.say("PASS x", "530")
}

func TestSessionsOfAccountsThatMayNoLongerEnd(t *testing.T) {
	c := site(t)
	for name, change := range map[string]func(db *accountsql.DB, a account.Account) error{
		"removed":  func(db *accountsql.DB, a account.Account) error { return db.Remove(t.Context(), a.Name) },
		"disabled": func(db *accountsql.DB, a account.Account) error { a.Disabled = true; return db.Put(t.Context(), a) },
		"expired": func(db *accountsql.DB, a account.Account) error {
			a.Expires = time.Now().Add(-time.Minute)
			return db.Put(t.Context(), a)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.State = t.TempDir()
			add(t, c, account.Account{Name: "anna"}, account.Account{Name: "otto"})
			r, _, j := run(t, Setup{Config: c})
			anna, otto := in(t, r, "anna"), in(t, r, "otto")
			r.gate.Refresh(t.Context())
			anna.say("NOOP", "200")

			db := stored(t, c)
			a, err := db.Lookup(t.Context(), "anna")
			if err := errors.Join(err, change(db, a), db.Close()); err != nil {
				t.Fatal(err)
			}
			r.gate.Refresh(t.Context()) // which the server does every 10 s
			if got := anna.want("421"); !strings.Contains(got, "[account-off]") {
				t.Errorf("the goodbye is %q", got)
			}
			otto.say("NOOP", "200")
			if !strings.Contains(j.String(), "session ended: the account is "+name) {
				t.Errorf("the log does not say why:\n%s", j)
			}
			again := dial(t, r.Card.FTPS[0]).under(r.Card)
			again.want("220")
			again.say("USER anna", "331")
			again.say("PASS "+password, "530")
		})
	}
	if lookAgainEvery > 30*time.Second {
		t.Errorf("accounts are looked up every %v, sessions must end within 30 s", lookAgainEvery)
	}
}

// killed makes a state as a server leaves it that was killed: its database as it
// is in the middle, with nothing closed.
func killed(t *testing.T, c config.Config) string {
	t.Helper()
	db := stored(t, c)
	if _, err := db.Ledger(t.Context()); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	left, err := filepath.Glob(c.Database() + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "-shm") { // memory of the dead process
			continue
		}
		if err := os.WriteFile(filepath.Join(state, filepath.Base(name)), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

func TestAfterAKillEveryAccountIsCountedAgain(t *testing.T) {
	c := site(t)
	mounted := t.TempDir()
	write(t, filepath.Join(homeOf(c, "anna"), "sub", "a"), 1000)
	write(t, filepath.Join(homeOf(c, "anna"), "b"), 234)
	write(t, filepath.Join(mounted, "c"), 50)
	add(t, c,
		account.Account{Name: "anna", MaxBytes: 2000},
		account.Account{Name: "never", MaxBytes: 2000}, // has not logged in yet
		account.Account{Name: "otto", Mounts: []account.Mount{{At: "/m", Dir: mounted}}},
	)
	c.State = killed(t, c)
	c.Listeners[0].Plain = true
	r, stop, j := run(t, Setup{Config: c})
	want := map[string]string{"anna": "2 files, 1234 bytes", "never": "0 files, 0 bytes", "otto": "1 files, 50 bytes"}
	got := map[string]string{}
	for name := range want {
		files, bytes, err := r.ledger.Usage(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		got[name] = fmt.Sprintf("%d files, %d bytes", files, bytes)
	}
	if !maps.Equal(got, want) {
		t.Errorf("usage is %v, want %v", got, want)
	}
	if n := strings.Count(j.String(), "account counted again"); n != 3 {
		t.Errorf("%d accounts were counted again, want 3", n)
	}
	k := dial(t, r.Card.FTP[0])
	k.want("220")
	k.login("anna", password)
	if got := k.send("d", make([]byte, 1000)); !strings.HasPrefix(got, "552") {
		t.Errorf("1000 bytes more with 766 left: %q, want 552", got)
	}
	stop()

	_, _, j = run(t, Setup{Config: c})
	if strings.Contains(j.String(), "account counted again") {
		t.Errorf("after a clean end they are counted again:\n%s", j)
	}
}

// counting is a Running that only counts, and has nobody who does so beside the
// test.
func counting(t *testing.T, c config.Config) (*Running, *journal) {
	t.Helper()
	j := new(journal)
	r := &Running{log: j.log(), ctx: t.Context(), notBefore: map[string]time.Time{}, db: stored(t, c), disk: osfs.NewDisk(osfs.SyncNone, nil)}
	var err error
	if r.ledger, err = r.db.Ledger(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.now.Store(&generation{c: c})
	return r, j
}

func TestACountThatFailsWaitsForItsNextTry(t *testing.T) {
	c := site(t)
	home := filepath.Join(t.TempDir(), "home")
	add(t, c, account.Account{Name: "anna", Home: home}, account.Account{Name: "otto"})
	r, j := counting(t, c)
	for _, name := range []string{"anna", "otto"} {
		if err := r.db.WantRecount(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	failures := func() int { return strings.Count(j.String(), "an account can't be counted again") }
	for range 3 {
		r.recount()
	}
	if failures() != 1 || !strings.Contains(j.String(), "user=anna") || !strings.Contains(j.String(), "no such file") {
		t.Fatalf("a count that fails is told %d times:\n%s", failures(), j)
	}
	if n := strings.Count(j.String(), "account counted again"); n != 1 {
		t.Errorf("the others are counted %d times, want once", n)
	}
	if left := time.Until(r.notBefore["anna"]); left < recountAgain-time.Minute || left > recountAgain {
		t.Errorf("the next try is in %v, want %v", left, recountAgain)
	}

	write(t, filepath.Join(home, "a"), 9)
	r.recount()
	if _, bytes, _ := r.ledger.Usage(t.Context(), "anna"); bytes != 0 {
		t.Error("it was counted before its time")
	}
	r.notBefore["anna"] = time.Now().Add(-time.Second)
	r.recount()
	if files, bytes, err := r.ledger.Usage(t.Context(), "anna"); files != 1 || bytes != 9 || err != nil || failures() != 1 {
		t.Errorf("after its time: %d files, %d bytes, %v, %d failures", files, bytes, err, failures())
	}
	if names, err := r.ledger.RecountWanted(t.Context()); len(names) > 0 || err != nil {
		t.Errorf("still marked: %q, %v", names, err)
	}
	if len(r.notBefore) > 0 {
		t.Errorf("still waiting: %v", r.notBefore)
	}
}

// The partials of each account are swept in its own tree and by its own name, and
// what they took is given back.
func TestPartialsThatAreTooOldGo(t *testing.T) {
	for _, tt := range []struct {
		name  string
		age   time.Duration // limits.partials
		stays bool
	}{
		{"after the time of the configuration", time.Nanosecond, false},
		{"not before", time.Hour, true},
		{"without one not at once", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := site(t)
			c.Limits.Partials = tt.age
			add(t, c, account.Account{Name: "anna"})
			r, _ := counting(t, c)
			home := homeOf(c, "anna")
			if err := os.Mkdir(home, 0o755); err != nil {
				t.Fatal(err)
			}
			tree, err := r.disk.Open(home)
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			p, err := vfs.Resolve(vfs.Root, "/scan.pdf")
			if err != nil {
				t.Fatal(err)
			}
			up, err := tree.Create(t.Context(), p, vfs.Create{Owner: "anna"})
			if err != nil {
				t.Fatal(err)
			}
			const size = 10_000
			if _, err := up.WriteAt(make([]byte, size), 0); err != nil {
				t.Fatal(err)
			}
			if err := up.Cut(); err != nil {
				t.Fatal(err)
			}
			if err := r.ledger.Adjust(t.Context(), "anna", 1, size-vfs.CutTail); err != nil {
				t.Fatal(err)
			}
			r.sweepOnce()
			r.recount() // what was freed is counted, not guessed
			_, err = tree.Partial(t.Context(), p, "anna")
			files, bytes, uerr := r.ledger.Usage(t.Context(), "anna")
			if tt.stays && (err != nil || files != 1) || !tt.stays && (!errors.Is(err, fs.ErrNotExist) || files != 0 || bytes != 0) || uerr != nil {
				t.Errorf("the partial: %v; usage %d files, %d bytes, %v", err, files, bytes, uerr)
			}
		})
	}
}

func TestADatabaseThatCantBeOpenedStartsNothing(t *testing.T) {
	c := site(t)
	c.Accounts.Database = filepath.Join(c.State, "gone", "accounts.db")
	r, err := Start(Setup{Config: c}, slog.New(slog.DiscardHandler))
	if err == nil {
		_ = r.Stop(t.Context())
		t.Fatal("Start() = nil")
	}
	if !strings.Contains(err.Error(), c.Accounts.Database) {
		t.Errorf("Start() = %v; want the file in it", err)
	}
}
