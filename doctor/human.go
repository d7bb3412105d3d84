package doctor

import (
	"context"
	"sync"
	"time"

	"dray/account"
	"dray/fault"
	"dray/remote"
	"dray/sshclient"
)

// A human is who is asked in the middle of a check. The time that an answer takes is not
// the server's.
type human struct {
	mu     sync.Mutex
	asked  int // questions that wait for an answer
	since  time.Time
	waited time.Duration
}

// during counts the time of one question.
func (h *human) during() (over func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked++; h.asked == 1 {
		h.since = time.Now()
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.asked--; h.asked == 0 {
			h.waited += time.Since(h.since)
		}
	}
}

// took is how long answers took until now.
func (h *human) took() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked > 0 {
		return h.waited + time.Since(h.since)
	}
	return h.waited
}

// A moment is one from which on the time is counted in which nobody is asked.
type moment struct {
	at   time.Time
	took time.Duration
}

func (h *human) now() moment { return moment{time.Now(), h.took()} }

// goneBy is how long ago m was, without the time that answers took.
func (h *human) goneBy(m moment) time.Duration { return time.Since(m.at) - (h.took() - m.took) }

// asks has the time of all questions of o counted, and tells whether there are any.
func (h *human) asks(o *remote.Options) bool {
	asks := false
	if t := o.Trust; t != nil && t.Ask != nil {
		ask := t.Ask
		asks = true
		t.Ask = func(ctx context.Context, q remote.CertQuestion) (remote.Answer, error) {
			defer h.during()()
			return ask(ctx, q)
		}
	}
	if ask := o.SSH.Ask; ask != nil {
		o.SSH.Ask = func(ctx context.Context, k sshclient.HostKey) (sshclient.Answer, error) {
			defer h.during()()
			return ask(ctx, k)
		}
	}
	if prompt := o.SSH.Prompt; prompt != nil {
		o.SSH.Prompt = func(ctx context.Context, text string, prompts []sshclient.Prompt) ([]string, error) {
			defer h.during()()
			return prompt(ctx, text, prompts)
		}
	}
	if o.Passwords != nil && o.Passwords.Ask != nil {
		passwords := *o.Passwords
		ask := passwords.Ask
		passwords.Ask = func(ctx context.Context, u remote.URL) (account.Secret, error) {
			defer h.during()()
			return ask(ctx, u)
		}
		o.Passwords = &passwords
	}
	return asks
}

// within ends a context when so much time has gone by in which nobody was asked: that
// the host does not answer is the cause.
func (h *human) within(ctx context.Context, d time.Duration, host string) (context.Context, context.CancelFunc) {
	return h.ends(ctx, d, fault.New(fault.Stalled, fault.IDNoAnswer, host, int(d.Seconds())))
}

// ends is within for any cause.
func (h *human) ends(ctx context.Context, d time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	began, before := time.Now(), h.took()
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if time.Since(began)-(h.took()-before) > d {
					end(cause)
				}
			}
		}
	}()
	return ctx, func() { end(nil) }
}
