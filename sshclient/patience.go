package sshclient

import (
	"sync"
	"time"
)

// A patience bounds how long connecting takes: each step, and all steps together.
// While a human is asked it does not run.
type patience struct {
	mu    sync.Mutex
	left  time.Duration // of all
	began time.Time     // of the step that runs; zero while held
	timer *time.Timer
	limit time.Duration // of the step
	what  string        // the step
	over  bool
	stop  func() // ends the wait
}

func newPatience(all time.Duration) *patience { return &patience{left: all} }

// enter begins a step, which ends the one before. When its time is over, stop is
// called.
func (p *patience) enter(what string, limit time.Duration, stop func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.settle()
	p.what, p.limit, p.stop = what, min(limit, max(p.left, 0)), stop
	p.run()
}

// hold stops the clock until the next step.
func (p *patience) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
}

// next is enter with the stop of the step before.
func (p *patience) next(what string, limit time.Duration) {
	p.mu.Lock()
	stop := p.stop
	p.mu.Unlock()
	p.enter(what, limit, stop)
}

func (p *patience) run() {
	p.began = time.Now()
	var mine *time.Timer
	mine = time.AfterFunc(p.limit, func() {
		p.mu.Lock()
		if p.timer != mine {
			p.mu.Unlock()
			return
		}
		p.over = true
		stop := p.stop
		p.mu.Unlock()
		stop()
	})
	p.timer = mine
}

func (p *patience) settle() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
		p.left -= time.Since(p.began)
	}
}

// lost says which step took too long, and how long it was waited for.
func (p *patience) lost() (what string, waited time.Duration, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.what, p.limit, p.over
}
