// Package doctor finds out which layer between here and a server is wrong: name,
// port, protocol, TLS, login, data connections, transfers. It uses the real clients,
// so what it sees is what users get, and names for each failure the id that the
// client names, what was seen, and what each side can do.
//
// It prints nothing and stores nothing. With Options.Write it makes one file on the
// server and removes it.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/remote"
	"dray/screen"
)

// A Verdict is what a check came to.
type Verdict int

// The verdicts, in the order of their weight.
const (
	Skipped Verdict = iota // it could not be looked at, or nobody wanted it
	OK
	Note // works, and somebody may want to know
	Warn // works here, and will fail for others or soon
	Fail
)

var verdicts = [...]string{"skip", "ok", "note", "warn", "fail"}

func (v Verdict) String() string { return verdicts[v] }

// A Finding is what one check has found.
type Finding struct {
	Check   string // the name of the check
	Verdict Verdict
	ID      fault.ID       // of package explain; "" where there is nothing to explain
	Saw     string         // the evidence in one line, without control characters
	Means   string         // the diagnosis; "" where Saw says it
	Facts   map[string]any // the evidence for programs
	Do      []explain.Step // what to do about it, the best first
	Took    time.Duration

	sure bool // it holds although the context ended meanwhile
	own  bool // what is typed against its ID does not help here
}

// A checkOf is one question about a P. It runs when all that it needs is OK, Note or Warn,
// and all that it comes after is over; of those with one name the last is meant.
type checkOf[P any] struct {
	name  string
	needs []string
	after []string
	run   func(P, context.Context) Finding
}

// A check is a question about a server that is reached.
type check = checkOf[*patient]

// Options say what is looked at, and how.
type Options struct {
	URL remote.URL
	// Open says that no scheme was given: when nobody speaks FTP there and somebody
	// speaks SSH, SFTP is looked at.
	Open   bool
	Remote remote.Options // the same as for every command

	Deep  bool // also what takes longer than ten seconds
	Write bool // also uploads: one file, which is removed again

	// Done is told of each check when it is over, with its place in the report; one call
	// at a time. nil: nobody is.
	Done func(place int, f Finding)
	// Command is the command line by which somebody looks at u with verb and the options
	// of this examination, more of them, and without those called leave. nil: the bare
	// command.
	Command func(verb string, u remote.URL, more []string, leave ...string) string
	// Near is a host that is known here and that was probably meant where a name has no
	// address, "" for none. nil: none is known.
	Near func(host string) string
	// Trace hears the dialogue, a line at a time, without secrets; nil: nobody does.
	Trace func(line string)

	times *times // nil: as Deep says
}

// A Report is what was found about one target.
type Report struct {
	Target   string    // the URL, without a password
	User     string    // who logs in, as far as it is known; "": nobody, or anonymous
	Began    time.Time // of this machine
	Took     time.Duration
	Findings []Finding // in the order of the checks: what comes first is more basic
}

// Verdict is the worst of the findings.
func (r *Report) Verdict() Verdict {
	worst := OK
	for _, f := range r.Findings {
		worst = max(worst, f.Verdict)
	}
	return worst
}

// First is the finding to begin with: the first that failed, else the first warning,
// else the first note that has an id. nil: there is nothing to say.
func (r *Report) First() *Finding {
	for v := Fail; v >= Note; v-- {
		for i, f := range r.Findings {
			if f.Verdict == v && (f.ID != "" || v > Note) {
				return &r.Findings[i]
			}
		}
	}
	return nil
}

// Examine looks at a server. It ends within ten seconds, or twenty with Write, unless
// Deep is asked for: what there is no time for is Skipped. ctx ends it earlier. What the
// login needs is asked for before the clock runs.
func Examine(ctx context.Context, o Options) Report {
	r := Report{Began: time.Now()}
	p := &patient{o: o, u: o.URL}
	defer p.close()
	if err := p.prepare(ctx); err != nil {
		r.Target = o.URL.String()
		f := failed("settings", err)
		if ctx.Err() != nil { // while somebody was asked for the password
			f = skip("interrupted")
			f.Check = "settings"
		}
		r.Findings = []Finding{f}
		if o.Done != nil {
			o.Done(0, r.Findings[0])
		}
		return r
	}
	began, asked := time.Now(), p.human.took()
	if p.times.all > 0 {
		within, end := p.human.ends(ctx, p.times.all-p.chose, errNoTime)
		defer end()
		ctx = within
	}
	var all []check
	if p.u.Scheme == remote.SFTP {
		all = sshChecks(&o)
	} else {
		all = ftpChecks(&o)
	}
	r.Findings = runAll(ctx, p, all, o.Done)
	r.Target, r.Took = p.u.String(), time.Since(began)-(p.human.took()-asked)
	r.User = p.account()
	p.suggest(r.Findings)
	return r
}

// A subject is what is looked at: a server from outside, or the host that it runs on.
type subject interface {
	unfinished(ctx context.Context, f Finding) Finding // f of a check that the end of ctx came upon
	without(f Finding) Finding                         // f as it may be told
}

// runAll asks all questions, each as soon as it may begin. done is told of each that is
// over, one call at a time; nil: nobody is.
func runAll[P subject](ctx context.Context, p P, all []checkOf[P], done func(place int, f Finding)) []Finding {
	findings := make([]Finding, len(all))
	over := make([]chan struct{}, len(all))
	at := make(map[string]int, len(all))
	for i, c := range all {
		over[i], at[c.name] = make(chan struct{}), i
	}
	var telling sync.Mutex
	var running sync.WaitGroup
	for i, c := range all {
		running.Go(func() {
			f := Finding{Verdict: Skipped}
			defer func() {
				f.Check = c.name
				findings[i] = f
				close(over[i])
				if done != nil {
					telling.Lock()
					defer telling.Unlock()
					done(i, f)
				}
			}()
			for _, name := range append(append([]string{}, c.needs...), c.after...) {
				<-over[at[name]]
			}
			for _, name := range c.needs {
				if v := findings[at[name]].Verdict; v == Fail || v == Skipped {
					f.Saw = "needs " + name
					return
				}
			}
			began := time.Now()
			if ctx.Err() == nil {
				f = c.run(p, ctx)
			}
			if ctx.Err() != nil && f.Verdict != OK && !f.sure {
				f = p.unfinished(ctx, f)
			}
			f.Took = time.Since(began)
			f = p.without(f)
		})
	}
	running.Wait()
	return findings
}

// errNoTime ends an examination.
var errNoTime = errors.New("there was no time")

// unfinished is a check that the end of ctx came upon: whatever it has found may be its
// doing.
func (p *patient) unfinished(ctx context.Context, _ Finding) Finding {
	if !errors.Is(context.Cause(ctx), errNoTime) {
		return skip("interrupted")
	}
	f := skip("there was no time for it: the server is slow, or far away")
	f.Do = []explain.Step{you(p.command("doctor", p.u, []string{"--deep"}), "take the time that it needs:")}
	return f
}

// failed is the finding for an error of the clients.
func failed(name string, err error) Finding {
	f := of(Fail, err)
	f.Check = name
	return f
}

// of makes a finding of an error of the clients: in their words.
func of(v Verdict, err error) Finding {
	e := fault.Of(err)
	f := Finding{Verdict: v, ID: e.ID, Saw: screen.Line(explain.Line(e)), Facts: map[string]any{}}
	if e.ID == fault.IDInternal {
		f.Saw = screen.Line(explain.Cause(err))
	}
	if said := screen.Line(explain.Said(err)); said != "" {
		f.Saw += ": " + said
		f.Facts["server"] = said
	} else if cause := screen.Line(explain.Cause(err)); cause != "" && e.ID != fault.IDInternal {
		f.Facts["cause"] = cause
	}
	if entry, ok := explain.For(e.ID); ok {
		f.Means = strings.ReplaceAll(entry.Means, "`", "")
	}
	for _, s := range explain.Steps(e) {
		s.Text, s.Run = screen.Line(s.Text), screen.Line(s.Run)
		f.Do = append(f.Do, s)
	}
	return f
}

// found is a finding of this package's own about id, of which saw is the evidence.
func found(v Verdict, id fault.ID, saw string, args ...any) Finding {
	f := of(v, fault.New(fault.Internal, id))
	f.Saw = screen.Line(fmt.Sprintf(saw, args...))
	return f
}

// fine is a finding without a fault.
func fine(saw string, args ...any) Finding {
	return Finding{Verdict: OK, Saw: screen.Line(fmt.Sprintf(saw, args...)), Facts: map[string]any{}}
}

// skip is a check that there was no use for.
func skip(why string, args ...any) Finding {
	return Finding{Verdict: Skipped, Saw: fmt.Sprintf(why, args...)}
}

// first puts steps before those of the entry.
func (f Finding) first(steps ...explain.Step) Finding {
	f.Do = append(steps, f.Do...)
	return f
}

// with adds a fact for programs.
func (f Finding) with(name string, value any) Finding {
	if f.Facts == nil {
		f.Facts = map[string]any{}
	}
	f.Facts[name] = value
	return f
}

func you(run, text string, args ...any) explain.Step {
	return explain.Step{Side: explain.You, Text: fmt.Sprintf(text, args...), Run: run}
}

func admin(run, text string, args ...any) explain.Step {
	return explain.Step{Side: explain.Admin, Text: fmt.Sprintf(text, args...), Run: run}
}

func millis(d time.Duration) string {
	if d < time.Millisecond {
		return "under 1 ms"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
