package mirror

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"dray/fault"
	"dray/meter"
	"dray/remote"
)

// Suffix is what the names of unfinished files end with, on both sides.
const Suffix = ".dray-part"

// Resume says when the beginning of a file that is there already is gone on with.
type Resume int

// The ways. What is gone on with has to prove that it belongs to the source: by the
// note beside it and its own checksums, or by a checksum that the server makes.
// ResumeAuto looks at unfinished files of ours, ResumeVerify at those without a note
// and under the final name too, as other programs leave them: only a checksum of the
// server's proves those. ResumeForce takes any for what it seems to be, ResumeNever
// begins again.
const (
	ResumeAuto Resume = iota
	ResumeVerify
	ResumeForce
	ResumeNever
)

// Verify says how a file that was transferred is looked at.
type Verify int

// The ways. Sizes are always compared. VerifyHash compares checksums, by reading
// the file back where the server makes none.
const (
	VerifyAuto Verify = iota
	VerifySize
	VerifyHash
	VerifyNone
)

// Conflict says what happens where the target has a file of the name.
type Conflict int

// The ways. Newer replaces a file that is older than the source.
const (
	Replace Conflict = iota
	Skip
	Newer
)

// RetryOn says after which failures a transfer is tried again.
type RetryOn int

// The ways. Transient are failures that may be over in a moment: a lost
// connection, a busy server.
const (
	RetryTransient RetryOn = iota
	RetryAny
	RetryNone
)

// Options are how transfers are made; the zero value is the careful usual case,
// without a second try.
type Options struct {
	Parallel  int // transfers at once; 0: as many as are worth while
	Resume    Resume
	Verify    Verify
	Algorithm string // of VerifyHash; "": the strongest that the server has, else sha256
	Conflict  Conflict
	InPlace   bool   // write to the final name at once
	Suffix    string // "": Suffix
	NoTimes   bool
	NoModes   bool
	Text      bool          // TYPE A
	Follow    bool          // transfer what symbolic links lead to, in place of the links
	FailFast  bool          // the first failure ends the run
	DryRun    bool          // nothing is changed on either side; Planned tells what would be done
	Idle      time.Duration // how long no byte may move; 0: for ever

	Retry    int           // how many times a transfer is tried again
	RetryFor time.Duration // since its first failure; 0: no limit
	RetryOn  RetryOn

	Rate     *meter.Rate // of all transfers together; nil: none
	FileRate int64       // bytes a second, of each file; 0: no limit
	// Segments is over how many connections one large file is fetched from a server whose
	// connections carry one transfer each; 0: as many as prove worth while. As long as it
	// is not whole it has holes then: one that is written in place never is divided.
	Segments  int
	divisions divisions

	State string // directory for notes about uploads that were cut; "": none are kept

	// Tell hears what happens, from any goroutine, one at a time.
	Tell func(Event)
}

// What an Event is about.
type What string

// The kinds of event. Their names are part of the output for programs.
const (
	Planned  What = "plan"     // a file was found that is to be transferred; in a dry run a link too, and Why says where it leads
	Started  What = "start"    // its first byte is on the way
	Again    What = "retry"    // it failed and is tried again after Wait
	Finished What = "done"     // it is whole at the target
	Skipped  What = "skip"     // it needs no transfer; Why says why
	Failed   What = "error"    // it will not be tried again
	Made     What = "mkdir"    // a directory was made
	Linked   What = "link"     // a symbolic link was made; Why says where it leads
	Noted    What = "note"     // something that whoever asked should know; Why says what
	Deleted  What = "delete"   // a name at the target is gone
	Kept     What = "resuming" // the first From bytes were there already
)

// An Event is something that happened to one transfer. From and To are paths or
// URLs without a password, as they were asked for.
type Event struct {
	What  What
	ID    int64 // of the transfer, from 1
	From  string
	To    string
	Size  int64         // -1 unknown
	Bytes int64         // that moved
	Begin int64         // where it went on
	Took  time.Duration // of the transfer
	Try   int           // the failed one, from 1
	Wait  time.Duration // until the next
	Why   string
	Err   error
	// Resumable tells of an error after which the next run goes on where this one ended.
	Resumable bool
}

// A Run is a number of transfers with one tree. Add them, then Wait.
type Run struct {
	opt  Options
	tree remote.Tree
	ctx  context.Context
	end  context.CancelCauseFunc

	mu      sync.Mutex
	cond    sync.Cond
	queue   []*job
	running int
	lent    int // connections that transfers have besides their first
	adding  bool
	lastID  int64
	active  map[int64]*job
	claimed map[string]string // sources, by the targets that somebody named
	sum     Summary
	dirs    made

	tell sync.Mutex
	done chan struct{}

	moved meter.Counter // bytes of all transfers
}

// A Summary is what became of a run.
type Summary struct {
	Found, Done, Skipped, Failed int
	Deleted                      int
	Left                         int   // of those found, not begun before the run ended
	Bytes                        int64 // that moved
	Size                         int64 // of what was found, as far as it is known
	Settled                      int64 // bytes of files that need no more of them: done, skipped, begun before
	Took                         time.Duration
	Errors                       []Event // at most maxErrors
	Resumable                    bool    // at least one of them
}

// maxErrors bounds what a Summary keeps.
const maxErrors = 1000

// maxQueue is how many transfers wait before Add does.
const maxQueue = 4096

// A job is one transfer.
type job struct {
	id       int64
	from, to string // for people
	size     int64  // -1 unknown
	run      func(ctx context.Context, j *job) error
	try      int // from 1
	began    time.Time
	moved    meter.Counter
	base     atomic.Int64 // how much of the file is there without what has moved
	begin    int64        // where it went on at first
	left     bool         // something to go on with was left
	once     sync.Once
	rate     meter.Meter // made once; nil: no limit
}

// goOn says that what moves now goes behind the first at bytes.
func (j *job) goOn(at int64) { j.base.Store(at - j.moved.Bytes()) }

// at is how much of the file is there.
func (j *job) at() int64 { return j.base.Load() + j.moved.Bytes() }

// NewRun begins a run. Its end is Wait.
func NewRun(ctx context.Context, tree remote.Tree, opt Options) *Run {
	if opt.Suffix == "" {
		opt.Suffix = Suffix
	}
	r := &Run{opt: opt, tree: tree, adding: true, active: map[int64]*job{}, claimed: map[string]string{}, done: make(chan struct{})}
	r.cond.L = &r.mu
	r.ctx, r.end = context.WithCancelCause(ctx)
	context.AfterFunc(r.ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cond.Broadcast()
	})
	go r.dispatch()
	return r
}

// Wait is called when all has been added. It returns when all is over.
func (r *Run) Wait() Summary {
	r.mu.Lock()
	r.adding = false
	r.cond.Broadcast()
	r.mu.Unlock()
	<-r.done
	r.end(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.summary()
}

func (r *Run) summary() Summary {
	s := r.sum
	s.Bytes = r.moved.Bytes()
	return s
}

// resized takes over the size of a transfer that is known now.
func (r *Run) resized(j *job, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sum.Size += max(size, 0) - max(j.size, 0)
	j.size = size
}

// add queues a transfer, and waits while too many are queued.
func (r *Run) add(j *job) {
	r.mu.Lock()
	for len(r.queue) >= maxQueue && r.ctx.Err() == nil {
		r.cond.Wait()
	}
	r.sum.Found++
	r.sum.Size += max(j.size, 0)
	if r.ctx.Err() != nil {
		r.sum.Left++
		r.mu.Unlock()
		return
	}
	r.lastID++
	j.id = r.lastID
	r.mu.Unlock()
	if !r.opt.DryRun { // else it is told when it is certain
		r.say(Event{What: Planned, ID: j.id, From: j.from, To: j.to, Size: j.size})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		r.sum.Left++
		return
	}
	r.queue = append(r.queue, j)
	r.cond.Broadcast()
}

func (r *Run) say(e Event) {
	if r.opt.Tell == nil {
		return
	}
	r.tell.Lock()
	defer r.tell.Unlock()
	r.opt.Tell(e)
}

// Note tells whoever listens something that is no transfer.
func (r *Run) Note(from, why string, err error) {
	r.say(Event{What: Noted, From: from, Why: why, Err: err, Size: -1})
}

// Fail counts a failure that is of no transfer: a directory that can't be listed.
func (r *Run) Fail(from, to string, err error) {
	e := Event{What: Failed, From: from, To: to, Size: -1, Err: err}
	r.mu.Lock()
	r.sum.Failed++
	r.keep(e)
	r.mu.Unlock()
	r.say(e)
	if r.opt.FailFast || Fatal(err) {
		r.end(err)
	}
}

func (r *Run) keep(e Event) {
	r.sum.Resumable = r.sum.Resumable || e.Resumable
	if len(r.sum.Errors) < maxErrors {
		r.sum.Errors = append(r.sum.Errors, e)
	}
}

// claims takes a target for a source, and tells and counts it when another one has it.
func (r *Run) claims(from, to string) bool {
	r.mu.Lock()
	other, taken := r.claimed[to]
	if !taken {
		r.claimed[to] = from
	}
	r.mu.Unlock()
	switch {
	case !taken:
		return true
	case other == from:
		r.Skip(from, to, -1, "it was named before")
	default:
		r.Fail(from, to, fault.New(fault.Exists, fault.IDNameClash, from, other))
	}
	return false
}

// Skip counts a file that needs no transfer.
func (r *Run) Skip(from, to string, size int64, why string) {
	r.mu.Lock()
	r.sum.Skipped++
	r.mu.Unlock()
	r.say(Event{What: Skipped, From: from, To: to, Size: size, Why: why})
}

// dispatch starts transfers, as many at once as the tree thinks right.
func (r *Run) dispatch() {
	defer close(r.done)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		r.mu.Lock()
		for {
			if r.ctx.Err() != nil {
				r.sum.Left += len(r.queue)
				r.queue = nil
				r.mu.Unlock()
				return
			}
			if len(r.queue) > 0 && r.running+r.lent < r.width() {
				break
			}
			if len(r.queue) == 0 && !r.adding && r.running == 0 {
				r.mu.Unlock()
				return
			}
			r.cond.Wait()
		}
		j := r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		r.running++
		j.began = time.Now()
		r.active[j.id] = j
		r.cond.Broadcast()
		r.mu.Unlock()
		all.Go(func() {
			r.try(j)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.running--
			delete(r.active, j.id)
			r.cond.Broadcast()
		})
	}
}

func (r *Run) width() int {
	n := max(r.tree.Width(len(r.queue)+r.running+r.lent), 1) // also told to a tree whose width is settled
	if r.opt.Parallel > 0 {
		return r.opt.Parallel
	}
	return n
}

// try makes one transfer, again and again where that may help.
func (r *Run) try(j *job) {
	if !r.opt.DryRun {
		r.say(Event{What: Started, ID: j.id, From: j.from, To: j.to, Size: j.size})
	}
	var failing time.Time
	for try := 1; ; try++ {
		j.try = try
		err := j.run(r.ctx, j)
		if err == nil && r.opt.DryRun {
			r.say(Event{What: Planned, ID: j.id, From: j.from, To: j.to, Size: j.size})
			return
		}
		if err == nil || errors.Is(err, errSkipped) {
			r.settle(j, err)
			return
		}
		if failing.IsZero() {
			failing = time.Now()
		}
		wait := backOff(try)
		if busy(err) {
			r.tree.Refused()
		}
		// A server that was there a moment ago and refuses now is perhaps started anew.
		gone := try > 1 && r.opt.RetryOn == RetryTransient && fault.Of(err).ID == fault.IDRefused
		if r.ctx.Err() != nil || try > r.opt.Retry || !r.again(err) && !gone ||
			r.opt.RetryFor > 0 && time.Since(failing)+wait > r.opt.RetryFor {
			r.fail(j, try, err)
			return
		}
		r.say(Event{What: Again, ID: j.id, From: j.from, To: j.to, Size: j.size, Bytes: j.moved.Bytes(), Try: try, Wait: wait, Err: err})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			timer.Stop()
			r.fail(j, try, err)
			return
		}
	}
}

// errSkipped ends a job whose target turned out to need nothing.
var errSkipped = errors.New("skipped")

func (r *Run) settle(j *job, err error) {
	e := Event{What: Finished, ID: j.id, From: j.from, To: j.to, Size: j.size, Bytes: j.moved.Bytes(), Begin: j.begin, Took: time.Since(j.began)}
	r.mu.Lock()
	r.sum.Settled += max(j.size, 0)
	if err == nil {
		r.sum.Done++
	} else {
		r.sum.Skipped++
		e.What, e.Why = Skipped, "the same is there"
	}
	r.mu.Unlock()
	r.say(e)
}

func (r *Run) fail(j *job, try int, err error) {
	if kind := fault.KindOf(err); r.ctx.Err() != nil && (kind == fault.Canceled || Transient(err)) {
		err = context.Cause(r.ctx) // the end of the run ended it
	}
	e := Event{What: Failed, ID: j.id, From: j.from, To: j.to, Size: j.size, Bytes: j.moved.Bytes(), Took: time.Since(j.began), Try: try, Err: err, Resumable: j.left}
	r.mu.Lock()
	r.sum.Failed++
	r.keep(e)
	r.mu.Unlock()
	r.say(e)
	if r.opt.FailFast || Fatal(err) {
		r.end(err)
	}
}

func (r *Run) again(err error) bool {
	switch r.opt.RetryOn {
	case RetryAny:
		return !Fatal(err)
	case RetryNone:
		return false
	}
	return Transient(err)
}

// backOff is how long to wait after the failed try of this number: 1, 2, 4 … 30 s,
// give or take a fifth, so that many clients do not come back together.
func backOff(try int) time.Duration {
	d := min(time.Second<<min(try-1, 5), 30*time.Second)
	return d*4/5 + rand.N(d*2/5)
}

// Transient tells whether the same may succeed in a moment.
func Transient(err error) bool {
	switch fault.Of(err).ID {
	case fault.IDLost, fault.IDPlainInTLS, fault.IDNoAnswer, fault.IDStall, fault.IDDataLost, fault.IDTLSNoClose, fault.IDShortFile, fault.IDListingCut,
		fault.IDBusy, fault.IDPool, fault.IDInUse, fault.IDNoDataPort, fault.IDUploadCut, fault.IDShutdown, fault.IDIdle, fault.IDSourceMoved,
		fault.IDTLSData, fault.IDAborted:
		return true
	}
	return false
}

// Fatal tells whether no other transfer with this server can succeed either.
func Fatal(err error) bool {
	e := fault.Of(err)
	switch e.ID {
	case fault.IDNoSpace, fault.IDQuota, fault.IDAuth, fault.IDAccountOff, fault.IDTLSRequired, fault.IDTLSMissing, fault.IDDNS, fault.IDRefused,
		fault.IDFiltered, fault.IDRejected, fault.IDProxy, fault.IDWrongProto, fault.IDImplicitTLS, fault.IDBanned, fault.IDNoSFTP, fault.IDSSHFailed,
		fault.IDTLSReuse, fault.IDDataBlocked, fault.IDUnpublished, fault.IDActiveBlock, fault.IDInterrupted, fault.IDMaxTime:
		return true
	}
	return e.Kind == fault.Untrusted
}

// busy tells whether the server has turned a transfer away for being one too many.
func busy(err error) bool {
	id := fault.Of(err).ID
	return id == fault.IDBusy || id == fault.IDPool
}

// A Progress is where a run stands.
type Progress struct {
	Summary
	Running []Moving // oldest first
}

// Moving is one transfer under way.
type Moving struct {
	ID    int64
	From  string
	To    string
	Size  int64 // -1 unknown
	At    int64 // how much of it is there
	Began time.Time
}

// persist does something again and again where that may help. from is what it is about,
// for people.
func (r *Run) persist(from string, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if busy(err) {
			r.tree.Refused()
		}
		switch {
		case err == nil:
			return nil
		case r.ctx.Err() != nil:
			return context.Cause(r.ctx)
		case try > r.opt.Retry || !r.again(err):
			return err
		}
		wait := backOff(try)
		r.say(Event{What: Again, From: from, Size: -1, Try: try, Wait: wait, Err: err})
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.ctx.Done():
			timer.Stop()
			return context.Cause(r.ctx)
		}
	}
}

// Progress tells where the run stands.
func (r *Run) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{Summary: r.summary()}
	p.Errors = nil
	for _, j := range r.active {
		at := max(j.at(), 0)
		if j.size >= 0 {
			at = min(at, j.size)
		}
		p.Running = append(p.Running, Moving{j.id, j.from, j.to, j.size, at, j.began})
		if j.size > 0 {
			p.Settled += at
		}
	}
	sortMoving(p.Running)
	return p
}
