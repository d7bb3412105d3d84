package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dray/account"
	"dray/fault"
	"dray/meter"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

// A Front is the program around a shell.
type Front interface {
	// Open makes the tree of an account; nothing needs to be connected to yet.
	Open(o Open) (remote.URL, remote.Tree, error)
	// Transfer makes a run, lets add fill it, and shows what becomes of it. Its error
	// has been told when it returns.
	Transfer(ctx context.Context, t Transfer, add func(*mirror.Run) error) error
	// Complain tells failures, with what to do about them, to w.
	Complain(w io.Writer, failures []Failure)
	// Status is the exit status that an error makes.
	Status(err error) int
	// Confirm asks a person; without one it is true.
	Confirm(ctx context.Context, question string) bool
}

// An Open is what is to be opened.
type Open struct {
	URL         string // or a stored host, or host:path
	User        string // "": of the URL
	Password    account.Secret
	HasPassword bool
	Port        int // 0: of the URL
}

// A Transfer is how a run is made and shown.
type Transfer struct {
	Verb    string
	Tree    remote.Tree
	Options mirror.Options
	Err     io.Writer // what is told
	Silent  bool      // no progress, as in the background
	// Again is the line that goes on with a transfer that was cut; nil: none.
	Again func(e mirror.Event) string
}

// A Failure is an error with what it is about.
type Failure struct {
	Where string // a URL or a path of this machine, "" when the error says it
	Err   error
}

// Failures are the error of a command that went on after the first.
type Failures []Failure

func (f Failures) Error() string {
	if len(f) == 0 {
		return "nothing failed"
	}
	return f[0].Err.Error()
}

// Unwrap returns the errors.
func (f Failures) Unwrap() []error {
	var errs []error
	for _, one := range f {
		errs = append(errs, one.Err)
	}
	return errs
}

// Options are the surroundings of a shell. Out and Err are needed, and In or Line.
type Options struct {
	Out io.Writer // what was asked for
	Err io.Writer // everything else
	// Interrupts ends the command that runs, and not the shell; nil: nothing does.
	Interrupts <-chan os.Signal
	// Terminal tells that Out is a terminal; Width is how wide.
	Terminal bool
	Width    func() int
	Verbose  bool // lines of a script are told before they run
	Home     string
	State    string // directory of the history; "": none is kept
	Getenv   func(string) string
	Version  string
	Transfer mirror.Options // of every transfer
	Limit    string         // what limits Transfer.Rate, as it was written; "": nothing does
	// Timeout is how long no byte may come of a file that is shown.
	Timeout time.Duration
}

// A Shell runs lines. One goroutine calls its methods.
type Shell struct {
	front Front
	opt   Options
	table []verb

	place    place
	previous string // the directory of before, for cd -
	set      settings

	jobs    jobs
	names   names
	line    *lineReader // nil in a script
	history []string

	child       atomic.Bool // a program of this machine has the terminal
	interrupted bool
	exit        *int
	warned      bool // of jobs that run still
}

// settings are what a command takes along: in the background it keeps those that it
// began with.
type settings struct {
	home     string // of the user, on this machine
	start    string // the directory of this machine at the begin
	local    string // and now
	silent   bool   // progress off
	parallel int
	rate     *meter.Rate
	rateText string
}

// A place is a directory of a server.
type place struct {
	conn *conn
	cwd  string // absolute as far as that is known; "": where the login leads
}

// A conn is an open tree, used by the shell and by jobs.
type conn struct {
	url  remote.URL
	tree remote.Tree
	home string // "" unknown

	mu   sync.Mutex
	refs int
}

func (c *conn) keep() {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.refs++
	}
}

// release closes the tree when nobody uses it any more.
func (c *conn) release() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.refs--
	last := c.refs == 0
	c.mu.Unlock()
	if last {
		_ = c.tree.Close()
	}
}

// New makes a shell that is connected to nothing.
func New(front Front, o Options) *Shell {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	s := &Shell{front: front, opt: o, table: verbs(), set: settings{home: o.Home, rate: o.Transfer.Rate, rateText: o.Limit}}
	if dir, err := os.Getwd(); err == nil {
		s.set.start, s.set.local = dir, dir
	}
	s.jobs.all = map[int]*job{}
	return s
}

// Close ends the jobs and closes the connections.
func (s *Shell) Close() {
	s.jobs.end()
	s.place.conn.release()
	s.place = place{}
}

// Open connects to a server, as the verb open does. The error was not told. An
// interrupt ends it.
func (s *Shell) Open(ctx context.Context, o Open) (err error) {
	s.inFront(ctx, func(ctx context.Context) { err = ended(ctx, s.open(ctx, o)) })
	return err
}

func (s *Shell) open(ctx context.Context, o Open) error {
	u, tree, err := s.front.Open(o)
	if err != nil {
		return err
	}
	c := &conn{url: u, tree: tree, refs: 1}
	if _, err = tree.Traits(ctx); err == nil {
		if h, ok := tree.(remote.Homed); ok {
			c.home, err = h.Home(ctx)
		}
	}
	if err != nil {
		c.release()
		return err
	}
	p := place{conn: c, cwd: c.home}
	if u.Path != "" {
		p.cwd = p.resolve(u.Path)
		if err := p.check(ctx, p.cwd); err != nil {
			c.release()
			return err
		}
	}
	s.place.conn.release()
	s.place, s.previous = p, p.cwd
	return nil
}

// check wants a directory.
func (p place) check(ctx context.Context, dir string) error {
	e, err := p.conn.tree.Stat(ctx, at(dir))
	switch {
	case err == nil && !e.Mode.IsDir() && e.Is(knownType):
		return fault.New(fault.NotDir, fault.IDNotDir, p.url(dir))
	case err == nil:
		return nil
	}
	for _, listed := range p.conn.tree.List(ctx, at(dir)) { // a server that tells of no directory itself
		if listed != nil {
			return err
		}
		break
	}
	return nil
}

// Complain tells a failure of a verb or of Open.
func (s *Shell) Complain(err error) { s.complain(s.opt.Err, err) }

func (s *Shell) complain(w io.Writer, err error) {
	if many, ok := err.(Failures); ok {
		s.front.Complain(w, many)
		return
	}
	s.front.Complain(w, []Failure{{Err: err}})
}

// status is the exit status of an error: of several the one that they share.
func (s *Shell) status(err error) int {
	if err == nil {
		return 0
	}
	if told, ok := err.(*Told); ok {
		return s.status(told.Err)
	}
	many, ok := err.(Failures)
	if !ok || len(many) == 0 {
		return s.front.Status(err)
	}
	status := s.front.Status(many[0].Err)
	for _, f := range many[1:] {
		if s.front.Status(f.Err) != status {
			return 1
		}
	}
	return status
}

// Script runs the lines of r until the first failure, and returns its status. A line
// that begins with - may fail; @ keeps it from being told.
func (s *Shell) Script(ctx context.Context, r io.Reader) int {
	defer s.Close()
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 4096), maxLine)
	for ctx.Err() == nil && in.Scan() {
		if status, over := s.scriptLine(ctx, in.Text()); over {
			return status
		}
	}
	if err := in.Err(); err != nil {
		err = fault.Because(err, fault.KindOf(err), fault.IDLocal, "the script", err.Error())
		s.Complain(err)
		return s.status(err)
	}
	if ctx.Err() != nil {
		return s.front.Status(context.Cause(ctx))
	}
	return s.jobs.wait(ctx, s)
}

// scriptLine runs one line; over tells that it is the last.
func (s *Shell) scriptLine(ctx context.Context, line string) (status int, over bool) {
	line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
	mayFail, mute := false, false
	for line != "" && (line[0] == '-' || line[0] == '@') {
		mayFail, mute = mayFail || line[0] == '-', mute || line[0] == '@'
		line = strings.TrimLeft(line[1:], " \t")
	}
	if s.opt.Verbose && !mute && line != "" {
		fmt.Fprintln(s.opt.Err, "dray> "+screen.Line(masked(line)))
	}
	status = s.Do(ctx, line)
	s.jobs.report(s)
	switch {
	case s.exit != nil:
		return s.leave(ctx), true
	case s.interrupted || ctx.Err() != nil:
		if status == 0 {
			status = s.front.Status(interruption(ctx))
		}
		return status, true
	case status != 0 && !mayFail:
		return status, true
	}
	return 0, false
}

// Command runs one line and returns its status, after the jobs that it has begun.
func (s *Shell) Command(ctx context.Context, line string) int {
	defer s.Close()
	status := 0
	for one := range strings.Lines(line) {
		if status = s.Do(ctx, one); status != 0 || s.exit != nil {
			break
		}
	}
	if s.exit != nil {
		status = *s.exit
	}
	s.exit = &status
	return s.leave(ctx)
}

// leave waits for the jobs of a script that is over, and returns its status.
func (s *Shell) leave(ctx context.Context) int {
	waited := s.jobs.wait(ctx, s)
	if *s.exit == 0 {
		return waited
	}
	return *s.exit
}

// Do runs a line, tells what failed and returns the status of the last command.
func (s *Shell) Do(ctx context.Context, line string) int {
	s.interrupted = false
	commands, err := Parse(line)
	if err != nil {
		s.Complain(err)
		return s.status(err)
	}
	status := 0
	for _, c := range commands {
		if c.Join == And && status != 0 || c.Join == Or && status == 0 {
			continue
		}
		if s.exit != nil || s.interrupted || ctx.Err() != nil {
			break
		}
		status = s.run(ctx, c)
	}
	return status
}

// run runs one command.
func (s *Shell) run(ctx context.Context, c Command) int {
	call, err := s.prepare(c)
	if err == nil && c.Background {
		err = s.jobs.begin(ctx, s, call, c)
		if err == nil {
			return 0
		}
	} else if err == nil {
		call.out, call.err = s.opt.Out, s.opt.Err
		s.inFront(ctx, func(ctx context.Context) {
			call.ctx = ctx
			err = call.do()
			err = ended(ctx, err)
		})
		if call.verb.changes {
			s.names.forget()
		}
	}
	if err != nil {
		s.Complain(err)
	}
	return s.status(err)
}

// ended is the error of a command that an interrupt has ended: that, unless it was told.
func ended(ctx context.Context, err error) error {
	var told *Told
	if err == nil || ctx.Err() == nil || errors.As(err, &told) {
		return err
	}
	return context.Cause(ctx)
}

// prepare finds the verb of a command and reads its options.
func (s *Shell) prepare(c Command) (*call, error) {
	if c.IsProgram {
		c.Words = []Word{{Text: "!"}, {Text: c.Program}}
	}
	v, err := s.find(c.Words[0].Text)
	if err != nil {
		return nil, err
	}
	call := &call{sh: s, verb: v, place: s.place, set: s.set}
	if err := call.options(c.Words[1:]); err != nil {
		return nil, err
	}
	if v.online && s.place.conn == nil {
		return nil, misuse("%s needs a server: open one first\nfor example: open sftp://alice@example.net", v.name)
	}
	if c.Background && v.alone {
		return nil, misuse("%s does not run in the background", v.name)
	}
	return call, nil
}

// inFront runs f, which an interrupt ends.
func (s *Shell) inFront(ctx context.Context, f func(ctx context.Context)) {
	for s.line != nil && len(s.opt.Interrupts) > 0 {
		<-s.opt.Interrupts // it came when nothing ran
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over, gone := make(chan struct{}), make(chan struct{})
	hit := false
	go func() {
		defer close(gone)
		for {
			select {
			case <-s.opt.Interrupts:
				child := s.child.Load()
				hit = hit || !child || s.line == nil // a script does not go on either
				if !child {
					cancel(fault.New(fault.Canceled, fault.IDInterrupted))
				}
			case <-over:
				return
			}
		}
	}()
	f(ctx)
	close(over)
	<-gone
	s.interrupted = s.interrupted || hit
}

func interruption(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fault.New(fault.Canceled, fault.IDInterrupted)
}

// find is the row of a verb: its name, another name, or the begin of one alone.
func (s *Shell) find(word string) (*verb, error) {
	var like []*verb
	for i := range s.table {
		v := &s.table[i]
		if v.is(word) {
			return v, nil
		}
		if word != "" && strings.HasPrefix(v.name, word) {
			like = append(like, v)
		}
	}
	switch len(like) {
	case 0:
		return nil, misuse("there is no command %q\nhelp shows the commands", screen.Line(word))
	case 1:
		return like[0], nil
	}
	var all []string
	for _, v := range like {
		all = append(all, v.name)
	}
	return nil, misuse("%q may be %s", screen.Line(word), strings.Join(all, ", "))
}

// A call is one command that runs.
type call struct {
	ctx      context.Context
	sh       *Shell
	verb     *verb
	place    place // where it began, whatever cd does meanwhile
	set      settings
	job      *job // nil in front
	out, err io.Writer
	given    map[string][]string // options, by their name in the table
	args     []Word
	failed   Failures
}

func (c *call) do() error {
	err := c.verb.run(c)
	if len(c.failed) == 0 {
		return err
	}
	if err != nil {
		c.failed = append(c.failed, Failure{"", err})
	}
	return c.failed
}

const maxFailures = 1000

// fail notes a failure after which the command goes on.
func (c *call) fail(where string, err error) {
	if len(c.failed) < maxFailures {
		c.failed = append(c.failed, Failure{where, err})
	}
}

// has tells whether an option was given; value is its last value.
func (c *call) has(name string) bool { return len(c.given[name]) > 0 }

func (c *call) value(name string) string {
	if v := c.given[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// options takes the options out of the words.
func (c *call) options(words []Word) error {
	c.given = map[string][]string{}
	v := c.verb
	if v.raw {
		c.args = words
		return c.count()
	}
	for i := 0; i < len(words); i++ {
		w := words[i].Text
		switch {
		case w == "--":
			c.args = append(c.args, words[i+1:]...)
			return c.count()
		case strings.HasPrefix(w, "--"):
			name, value, has := strings.Cut(w[2:], "=")
			o := v.option(func(o *option) bool { return o.long == name })
			switch {
			case o == nil:
				return c.noOption("--" + name) // without the value, which may be secret
			case o.arg == "" && has:
				return misuse("--%s of %s takes no value", name, v.name)
			case o.arg != "" && !has:
				if i++; i == len(words) {
					return misuse("--%s of %s needs its %s", name, v.name, o.arg)
				}
				value = words[i].Text
			}
			c.given[o.long] = append(c.given[o.long], value)
		case len(w) > 1 && w[0] == '-':
			for j := 1; j < len(w); j++ {
				o := v.option(func(o *option) bool { return o.short == w[j] })
				if o == nil {
					return c.noOption("-" + string(rune(w[j])))
				}
				value := ""
				if o.arg != "" {
					if value = w[j+1:]; value == "" {
						if i++; i == len(words) {
							return misuse("-%c of %s needs its %s", w[j], v.name, o.arg)
						}
						value = words[i].Text
					}
					j = len(w)
				}
				c.given[o.long] = append(c.given[o.long], value)
			}
		default:
			c.args = append(c.args, words[i])
		}
	}
	return c.count()
}

func (c *call) noOption(w string) error {
	return misuse("%s has no option %s\nhelp %[1]s shows what it has; write -- in front of a name that begins with -", c.verb.name, screen.Line(w))
}

// count wants as many arguments as the row says.
func (c *call) count() error {
	v := c.verb
	if len(c.args) < v.min || v.max >= 0 && len(c.args) > v.max {
		return misuse("usage: %s", v.usage)
	}
	return nil
}

// width is how many letters a line of the terminal has.
func (s *Shell) width() int {
	if s.opt.Width != nil {
		if w := s.opt.Width(); w > 0 {
			return w
		}
	}
	return 80
}

// here is a path of this machine, as lcd has it; the directory of the begin is left
// away.
func (s *settings) here(name string) string {
	if name == "~" || strings.HasPrefix(name, "~/") {
		name = filepath.Join(s.home, strings.TrimPrefix(name, "~"))
	}
	if s.local == s.start || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.local, name)
}
