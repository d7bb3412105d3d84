package shell

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"dray/fault"
	"dray/screen"
)

// maxJobs is how many commands run in the background at once.
const maxJobs = 8

// A job is a command in the background.
type job struct {
	n      int
	text   string
	began  time.Time
	cancel context.CancelCauseFunc
	out    jobOutput
	done   chan struct{}
	conn   *conn
	err    error // when done is closed, as what follows
	status int
	ended  bool // by kill
}

// jobs are those of a shell. The goroutines of jobs take no lock of it.
type jobs struct {
	all  map[int]*job
	last int
	// failed is the status of the first that failed, for the end of a script.
	failed int
}

// begin starts a command in the background.
func (js *jobs) begin(ctx context.Context, s *Shell, c *call, cmd Command) error {
	js.report(s)
	if len(js.all) >= maxJobs {
		return misuse("%d commands run in the background already\njobs shows them, wait waits for one", maxJobs)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	js.last++
	if len(js.all) == 0 {
		js.last = 1
	}
	j := &job{n: js.last, text: masked(cmd.Text), began: time.Now(), cancel: cancel, done: make(chan struct{}), conn: s.place.conn}
	j.conn.keep()
	js.all[j.n] = j
	c.ctx, c.job, c.out, c.err = ctx, j, &j.out, &j.out
	go func() {
		defer close(j.done)
		defer cancel(nil)
		defer j.conn.release()
		err := ended(ctx, c.do())
		j.ended = ctx.Err() != nil
		if j.err = err; err != nil {
			s.complain(&j.out, err)
			j.status = s.status(err)
		}
	}()
	fmt.Fprintf(s.opt.Err, "[%d] %s\n", j.n, screen.Line(j.text))
	return nil
}

// sorted are the jobs by their numbers.
func (js *jobs) sorted() []*job {
	var all []*job
	for _, j := range js.all {
		all = append(all, j)
	}
	slices.SortFunc(all, func(a, b *job) int { return a.n - b.n })
	return all
}

func (j *job) over() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// report tells of jobs that are over, with what they have written.
func (js *jobs) report(s *Shell) {
	for _, j := range js.sorted() {
		if j.over() {
			js.settle(s, j)
		}
	}
}

// settle tells what became of a job and forgets it.
func (js *jobs) settle(s *Shell, j *job) {
	delete(js.all, j.n)
	state := "done"
	if j.err != nil {
		state = "failed"
		if j.ended {
			state = "ended"
		}
		if js.failed == 0 {
			js.failed = j.status
		}
	}
	fmt.Fprintf(s.opt.Err, "[%d] %s  %s\n", j.n, state, screen.Line(j.text))
	j.out.pass(s.opt.Err)
}

// one is the job of a number, or the last one.
func (js *jobs) one(args []Word) (*job, error) {
	if len(args) == 0 {
		all := js.sorted()
		if len(all) == 0 {
			return nil, misuse("nothing runs in the background")
		}
		return all[len(all)-1], nil
	}
	n, err := strconv.Atoi(trimPercent(args[0].Text))
	if err != nil || js.all[n] == nil {
		return nil, misuse("there is no job %s\njobs shows them", screen.Line(args[0].Text))
	}
	return js.all[n], nil
}

func trimPercent(s string) string {
	if len(s) > 1 && s[0] == '%' {
		return s[1:]
	}
	return s
}

// end ends all jobs, and waits for that.
func (js *jobs) end() {
	for _, j := range js.all {
		j.cancel(fault.New(fault.Canceled, fault.IDInterrupted))
	}
	for _, j := range js.all {
		<-j.done
	}
	clear(js.all)
}

// wait waits for all jobs and returns the status of the first that failed.
func (js *jobs) wait(ctx context.Context, s *Shell) int {
	s.inFront(ctx, func(ctx context.Context) {
		for _, j := range js.sorted() {
			select {
			case <-j.done:
				js.settle(s, j)
			case <-ctx.Done():
				if js.failed == 0 {
					js.failed = s.front.Status(context.Cause(ctx))
				}
				return
			}
		}
	})
	return js.failed
}

// A jobOutput keeps the end of what a job writes, until somebody wants to see it.
type jobOutput struct {
	mu   sync.Mutex
	kept []byte
	left bool
	to   io.Writer
}

const maxOutput = 64 << 10

func (o *jobOutput) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to != nil {
		return o.to.Write(b)
	}
	o.kept = append(o.kept, b...)
	if over := len(o.kept) - maxOutput; over > 0 {
		o.kept, o.left = append(o.kept[:0], o.kept[over:]...), true
	}
	return len(b), nil
}

// pass hands over what was written, and from now on what is; nil keeps it again.
func (o *jobOutput) pass(w io.Writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to = w; w == nil || len(o.kept) == 0 {
		return
	}
	if o.left {
		fmt.Fprintln(w, "(the begin is left out)")
	}
	_, _ = w.Write(o.kept)
	o.kept, o.left = nil, false
}

func (c *call) listJobs() error {
	for _, j := range c.sh.jobs.sorted() {
		if j.over() {
			c.sh.jobs.settle(c.sh, j)
			continue
		}
		fmt.Fprintf(c.out, "[%d] running %s  %s\n", j.n, screen.Duration(time.Since(j.began)), screen.Line(j.text))
	}
	return nil
}

// foreground shows a job until it is over; an interrupt ends it.
func (c *call) foreground() error {
	js := &c.sh.jobs
	j, err := js.one(c.args)
	if err != nil {
		return err
	}
	j.out.pass(c.sh.opt.Err)
	select {
	case <-j.done:
	case <-c.ctx.Done():
		j.cancel(context.Cause(c.ctx))
		<-j.done
	}
	return c.settled(j)
}

// waitJobs waits for one job, or for all; an interrupt ends only that.
func (c *call) waitJobs() error {
	js := &c.sh.jobs
	all := js.sorted()
	if len(c.args) > 0 && c.args[0].Text != "all" {
		j, err := js.one(c.args)
		if err != nil {
			return err
		}
		all = []*job{j}
	}
	var failed error
	for _, j := range all {
		select {
		case <-j.done:
			if err := c.settled(j); err != nil && failed == nil {
				failed = err
			}
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
	}
	return failed
}

// A Told is a failure that has been told already.
type Told struct{ Err error }

func (t *Told) Error() string { return t.Err.Error() }

// Unwrap returns it.
func (t *Told) Unwrap() error { return t.Err }

// settled forgets a job whose end somebody has waited for, and is its error.
func (c *call) settled(j *job) error {
	before := c.sh.jobs.failed
	c.sh.jobs.settle(c.sh, j)
	c.sh.jobs.failed = before
	if j.err != nil {
		return &Told{j.err}
	}
	return nil
}

func (c *call) kill() error {
	js := &c.sh.jobs
	if len(c.args) == 1 && c.args[0].Text == "all" {
		for _, j := range js.all {
			j.cancel(fault.New(fault.Canceled, fault.IDInterrupted))
		}
		for _, j := range js.sorted() {
			<-j.done
			js.settle(c.sh, j)
		}
		return nil
	}
	for _, w := range c.args {
		j, err := js.one([]Word{w})
		if err != nil {
			return err
		}
		j.cancel(fault.New(fault.Canceled, fault.IDInterrupted))
		<-j.done
		failed := js.failed
		js.settle(c.sh, j)
		js.failed = failed
	}
	return nil
}
