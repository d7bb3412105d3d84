package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/mirror"
	"dray/screen"
)

// A reporter tells what a run does: to people on standard error, to programs on
// standard output.
type reporter struct {
	c      *client
	verb   string // "get", "put", for lines that people read
	mu     sync.Mutex
	told   map[fault.ID]error // one error of each id, for the advice at the end
	order  []fault.ID
	resume []string // commands that go on with what was cut
	again  func(e mirror.Event) string
	dry    bool // nothing is done: what would be is told

	// several tells that more than one run belongs to this command: end only adds up,
	// and finish tells.
	several bool
	sum     mirror.Summary
	took    time.Duration
	over    error // that of the command although no transfer failed: it was ended, or had nothing to do
}

func (c *client) reporter(verb string, again func(e mirror.Event) string) *reporter {
	return &reporter{c: c, verb: verb, told: map[fault.ID]error{}, again: again}
}

// A wireEvent is an event as programs read it. The names of its fields are part of
// the contract; v changes when one of them changes its meaning.
type wireEvent struct {
	V      int        `json:"v"`
	T      string     `json:"t"`
	Event  string     `json:"event"`
	N      int64      `json:"n,omitempty"`
	From   string     `json:"from,omitempty"`
	To     string     `json:"to,omitempty"`
	Size   *int64     `json:"size,omitempty"`
	Bytes  *int64     `json:"bytes,omitempty"`
	Begin  int64      `json:"begin,omitempty"`
	Took   float64    `json:"took,omitempty"`
	Try    int        `json:"try,omitempty"`
	Wait   float64    `json:"wait,omitempty"`
	Why    string     `json:"why,omitempty"`
	Error  *wireError `json:"error,omitempty"`
	Resume bool       `json:"resumable,omitempty"`

	Summary *wireSummary `json:"summary,omitempty"`
}

// A wireError is an error as programs read it.
type wireError struct {
	ID    fault.ID `json:"id"`
	Exit  int      `json:"exit"`
	Text  string   `json:"text"`
	Reply string   `json:"reply,omitempty"`
	Cause string   `json:"cause,omitempty"`
	Fix   *wireFix `json:"fix,omitempty"`
}

type wireFix struct {
	You   []string `json:"you,omitempty"`
	Admin []string `json:"admin,omitempty"`
}

// A wireSummary is what became of a run.
type wireSummary struct {
	OK      bool        `json:"ok"`
	Exit    int         `json:"exit"`
	Files   int         `json:"files"`
	Done    int         `json:"done"`
	Skipped int         `json:"skipped"`
	Failed  int         `json:"failed"`
	Deleted int         `json:"deleted,omitempty"`
	Bytes   int64       `json:"bytes"`
	Took    float64     `json:"took"`
	Errors  []wireEvent `json:"errors,omitempty"`
}

func wire(err error) *wireError {
	if err == nil {
		return nil
	}
	e := fault.Of(err)
	w := &wireError{ID: e.ID, Exit: exitOf(err), Text: explain.Line(e), Reply: saidBy(err), Cause: screen.Line(explain.Cause(err))}
	var ee *exitError
	if errors.As(err, &ee) {
		w.ID, w.Text, w.Cause = "usage", ee.text, ""
		return w
	}
	if w.Cause == w.Reply {
		w.Cause = ""
	}
	fix := &wireFix{You: e.Do}
	if entry, ok := explain.For(e.ID); ok {
		if entry.You != "" && len(e.Do) == 0 {
			fix.You = []string{entry.You}
		}
		if entry.Admin != "" {
			fix.Admin = []string{entry.Admin}
		}
	}
	if len(fix.You)+len(fix.Admin) > 0 {
		w.Fix = fix
	}
	return w
}

func stamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

func toWire(e mirror.Event) wireEvent {
	w := wireEvent{V: 1, T: stamp(), Event: string(e.What), N: e.ID, From: e.From, To: e.To, Begin: e.Begin, Try: e.Try, Why: e.Why, Error: wire(e.Err), Resume: e.Resumable,
		Took: seconds(e.Took), Wait: seconds(e.Wait)}
	if e.Size >= 0 {
		w.Size = &e.Size
	}
	if e.What == mirror.Finished || e.What == mirror.Failed || e.What == mirror.Again {
		w.Bytes = &e.Bytes
	}
	return w
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// jsonLine writes a value as one line on standard output.
func (c *client) jsonLine(v any) {
	enc := json.NewEncoder(c.stdout)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
}

// jsonError tells programs why a command ended that has no summary.
func (c *client) jsonError(err error) {
	if c.asJSONL {
		c.jsonLine(wireEvent{V: 1, T: stamp(), Event: "error", Error: wire(err)})
		return
	}
	c.jsonLine(map[string]any{"ok": false, "exit": exitOf(err), "error": wire(err)})
}

// tell hears the events of a run, one at a time.
func (r *reporter) tell(e mirror.Event) {
	c := r.c
	if c.asJSONL {
		if e.What != mirror.Planned || c.verbose > 0 || r.dry {
			c.jsonLine(toWire(e))
		}
	}
	if e.What == mirror.Failed {
		r.mu.Lock()
		id := fault.Of(e.Err).ID
		if _, ok := r.told[id]; !ok {
			r.order = append(r.order, id)
			r.told[id] = e.Err
		}
		if e.Resumable && len(r.resume) < 5 && r.again != nil {
			r.resume = append(r.resume, r.again(e))
		}
		r.mu.Unlock()
		fmt.Fprintln(c.show, "dray: "+failed(e))
		return
	}
	if c.quiet || c.asJSON || c.asJSONL {
		return
	}
	say := func(format string, args ...any) { fmt.Fprintf(c.show, format+"\n", args...) }
	plain := !c.show.bar && !c.show.quiet
	if r.dry {
		switch e.What {
		case mirror.Planned:
			say("would transfer %s -> %s  %s", screen.Line(e.From), screen.Line(e.To), screen.Size(e.Size))
			return
		case mirror.Deleted:
			say("would delete %s", screen.Line(e.To))
			return
		}
	}
	switch e.What {
	case mirror.Finished:
		if c.verbose > 0 || plain {
			say("%s -> %s  %s  %s", screen.Line(e.From), screen.Line(e.To), screen.Size(max(e.Size, e.Bytes)), rateOf(e.Bytes, e.Took))
		}
	case mirror.Again:
		say("%s: %s; again in %s", screen.Line(e.From), headline(e.Err), screen.Duration(e.Wait))
	case mirror.Noted:
		say("%s: %s", screen.Line(e.From), screen.Line(e.Why))
	case mirror.Kept:
		say("%s: going on at %s of %s", screen.Line(e.From), screen.Size(e.Begin), screen.Size(e.Size))
	case mirror.Skipped:
		if c.verbose > 0 || e.Size < 0 {
			say("%s: left out: %s", screen.Line(e.From), screen.Line(e.Why))
		}
	case mirror.Made, mirror.Linked, mirror.Deleted:
		if c.verbose > 0 {
			say("%s %s", e.What, screen.Line(e.To))
		}
	}
}

// failed is one line about a transfer that failed.
func failed(e mirror.Event) string {
	for _, url := range []string{e.From, e.To} {
		if strings.Contains(url, "://") {
			e.Err = atURL(e.Err, url)
		}
	}
	line := headline(e.Err)
	for _, name := range []string{e.From, e.To} {
		if name != "" && strings.Contains(line, screen.Line(name)) {
			return line
		}
	}
	name := e.From
	if name == "" {
		name = e.To
	}
	return screen.Line(name) + ": " + line
}

// atURL puts the URL in place of the path that an error names: a path of a server is
// more with its server.
func atURL(err error, url string) error {
	fe := fault.Of(err)
	if len(fe.Facts) == 0 || fe.ID == fault.IDLocal || fe.ID == fault.IDUnsafeName {
		return err
	}
	en, ok := explain.For(fe.ID)
	if !ok || len(en.HereFacts) == 0 || en.HereFacts[0] != "path" || !strings.HasSuffix(url, strings.TrimLeft(fmt.Sprint(fe.Facts[0]), "/.")) {
		return err
	}
	fe.Facts = append([]any{url}, fe.Facts[1:]...)
	return fe
}

// rateOf is bytes a second for people.
func rateOf(n int64, took time.Duration) string {
	if took < time.Millisecond {
		return ""
	}
	return screen.Size(int64(float64(n)/took.Seconds())) + "/s"
}

// lost tells a failure that came before there was a run.
func (r *reporter) lost(from string, err error) {
	e := mirror.Event{What: mirror.Failed, From: from, Size: -1, Err: err}
	r.tell(e)
	r.sum.Failed++
	r.sum.Errors = append(r.sum.Errors, e)
}

// statusOf is the exit status of a run: the one that its failures share.
func statusOf(s mirror.Summary) int {
	status := exitOK
	for i, e := range s.Errors {
		one := exitOf(e.Err)
		if one == exitReach && e.Resumable { // it was there, and is gone: what came is kept
			one = exitResumable
		}
		switch {
		case i == 0:
			status = one
		case one != status:
			status = exitFailed
		}
	}
	if s.Failed > 0 && status == exitOK {
		status = exitFailed
	}
	return status
}

// end tells what became of a run and makes its error, nil when all went well.
func (r *reporter) end(s mirror.Summary, took time.Duration) error {
	if !r.several {
		r.sum, r.took = s, took
		return r.finish()
	}
	a := &r.sum
	a.Found, a.Done, a.Skipped, a.Failed = a.Found+s.Found, a.Done+s.Done, a.Skipped+s.Skipped, a.Failed+s.Failed
	a.Deleted, a.Left, a.Bytes, a.Size = a.Deleted+s.Deleted, a.Left+s.Left, a.Bytes+s.Bytes, a.Size+s.Size
	a.Errors = append(a.Errors, s.Errors...)
	r.took += took
	if s.Failed > 0 {
		return &exitError{statusOf(s), ""}
	}
	return r.over
}

// finish tells what became of the runs of a command and makes its error.
func (r *reporter) finish() error {
	c, s, took := r.c, r.sum, r.took
	status := statusOf(s)
	if r.over != nil {
		status = exitOf(r.over)
	}
	sum := wireSummary{OK: status == exitOK, Exit: status, Files: s.Found, Done: s.Done, Skipped: s.Skipped, Failed: s.Failed, Deleted: s.Deleted, Bytes: s.Bytes, Took: seconds(took)}
	switch {
	case c.asJSONL:
		c.jsonLine(wireEvent{V: 1, T: stamp(), Event: "summary", Summary: &sum})
	case c.asJSON:
		for _, e := range s.Errors {
			sum.Errors = append(sum.Errors, toWire(e))
		}
		if r.over != nil && r.over != errNothing {
			sum.Errors = append(sum.Errors, toWire(mirror.Event{What: mirror.Failed, Size: -1, Err: r.over}))
		}
		c.jsonLine(sum)
	case r.verb == "mirror" && !r.dry && !c.quiet && !c.show.quiet && s.Done+s.Failed+s.Deleted == 0 && s.Skipped > 0:
		fmt.Fprintf(c.show, "nothing to do: %d files are there already\n", s.Skipped)
	case !c.quiet && !c.show.quiet && (s.Done > 1 || c.show.bar && s.Done > 0 && took > time.Second):
		fmt.Fprintf(c.show, "%d files, %s in %s, %s%s\n", s.Done, screen.Size(s.Bytes), screen.Duration(took), rateOf(s.Bytes, took), others(s))
	}
	if s.Failed == 0 {
		if r.over != nil && c.asJSON { // it is told
			return &exitError{status, ""}
		}
		return r.over
	}
	for i, id := range r.order {
		if i == 3 {
			break
		}
		if len(r.order) > 1 {
			fmt.Fprintf(c.show, "   [%s]\n", id)
		}
		writeAdvice(c.show, c.advice(r.told[id]))
	}
	for i, again := range r.resume {
		if i == 0 {
			fmt.Fprintln(c.show, "      to go on where it was cut:")
		}
		fmt.Fprintln(c.show, "        "+again)
	}
	return &exitError{status, ""}
}

func others(s mirror.Summary) string {
	text := ""
	if s.Skipped > 0 {
		text += fmt.Sprintf(", %d left out", s.Skipped)
	}
	if s.Deleted > 0 {
		text += fmt.Sprintf(", %d deleted", s.Deleted)
	}
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d failed", s.Failed)
	}
	return text
}
