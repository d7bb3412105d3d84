package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"dray/mirror"
	"dray/screen"
)

// frame is how often a display of progress is drawn. Two draws are never nearer than
// nearest, so that there are fewer than ten a second.
const (
	frame   = 125 * time.Millisecond
	nearest = 105 * time.Millisecond
)

// plainEvery is how often a line tells of the progress where there is no terminal.
const plainEvery = 10 * time.Second

// stalledAfter is how long nothing moves until the display says so.
const stalledAfter = 5 * time.Second

// longETA is from how many seconds on nobody can say when it will be over.
const longETA = 365 * 86400

// A display shows how far transfers are, below whatever else is written through it.
// It is safe for any number of goroutines.
type display struct {
	mu    sync.Mutex
	w     io.Writer
	width func() int // of the terminal, in letters
	bar   bool       // a terminal; else plain lines
	quiet bool

	progress func() mirror.Progress
	lines    int // drawn at the moment
	drawn    time.Time
	speed    speed
	began    time.Time
	told     time.Time // of a plain line
	stop     chan struct{}
	over     chan struct{}
}

// begin shows the progress of a run until end.
func (d *display) begin(progress func() mirror.Progress) {
	d.mu.Lock()
	d.progress, d.began, d.told = progress, time.Now(), time.Now()
	d.stop, d.over = make(chan struct{}), make(chan struct{})
	d.mu.Unlock()
	go func() {
		defer close(d.over)
		tick := time.NewTicker(frame)
		defer tick.Stop()
		for {
			select {
			case <-d.stop:
				return
			case <-tick.C:
				d.mu.Lock()
				d.draw()
				d.mu.Unlock()
			}
		}
	}()
}

func (d *display) end() {
	if d.stop == nil {
		return
	}
	close(d.stop)
	<-d.over
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wipe()
	d.progress = nil
}

// Write writes whole lines above the display.
func (d *display) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wipe()
	n, err := d.w.Write(b)
	if d.bar && d.lines == 0 { // else it comes with the next frame
		d.draw()
	}
	return n, err
}

func (d *display) wipe() {
	if d.lines > 0 {
		fmt.Fprintf(d.w, "\x1b[%dA\r\x1b[J", d.lines)
		d.lines = 0
	}
}

func (d *display) draw() {
	if d.progress == nil || d.quiet {
		return
	}
	now := time.Now()
	if !d.bar {
		if now.Sub(d.told) >= plainEvery {
			p := d.progress()
			d.speed.add(now, p.Bytes)
			d.told = now
			fmt.Fprintln(d.w, d.total(p, now))
		} else if now.Sub(d.speed.last) >= time.Second {
			d.speed.add(now, d.progress().Bytes)
		}
		return
	}
	if now.Sub(d.drawn) < nearest {
		return
	}
	p := d.progress()
	d.speed.add(now, p.Bytes)
	if now.Sub(d.began) < 300*time.Millisecond { // what is over at once needs no display
		return
	}
	width := max(d.width(), 20)
	var b strings.Builder
	lines := 0
	line := func(s string) {
		b.WriteString(screen.Cut(s, width-1) + "\n")
		lines++
	}
	const most = 6
	for i, m := range p.Running {
		if i == most {
			line(fmt.Sprintf("  and %d more", len(p.Running)-most))
			break
		}
		line(moving(m, width))
	}
	line(d.total(p, now))
	d.wipe()
	_, _ = io.WriteString(d.w, b.String())
	d.lines, d.drawn = lines, now
}

// moving is the line of one transfer.
func moving(m mirror.Moving, width int) string {
	name := m.From
	if i := strings.LastIndexByte(strings.TrimRight(name, "/"), '/'); i >= 0 {
		name = name[i+1:]
	}
	name = screen.Line(name)
	room := max(width-40, 8)
	if screen.Cells(name) > room {
		r := []rune(name)
		from := len(r)
		for tail := 0; from > 0; from-- {
			if tail += screen.RuneCells(r[from-1]); tail > room-room/2 {
				break
			}
		}
		name = screen.Cut(name, room/2-1) + "…" + string(r[from:])
	}
	name += strings.Repeat(" ", max(room-screen.Cells(name), 0))
	if m.Size <= 0 {
		return fmt.Sprintf("  %s %10s", name, screen.Size(m.At))
	}
	return fmt.Sprintf("  %s %4d%% %10s of %s", name, screen.Percent(m.At, m.Size), screen.Size(m.At), screen.Size(m.Size))
}

// total is the line of the whole run.
func (d *display) total(p mirror.Progress, now time.Time) string {
	done := p.Done + p.Skipped + p.Failed
	s := fmt.Sprintf("%d of %d files", done, p.Found)
	if p.Found == 1 {
		s = ""
	} else {
		s += "  "
	}
	if p.Size > 0 {
		s += fmt.Sprintf("%s of %s  %d%%", screen.Size(p.Settled), screen.Size(p.Size), screen.Percent(p.Settled, p.Size))
	} else {
		s += screen.Size(p.Bytes)
	}
	rate, still := d.speed.rate(now)
	switch {
	case still >= stalledAfter && len(p.Running) > 0:
		s += fmt.Sprintf("  stalled for %d s", int(still.Seconds()))
	default:
		s += "  " + screen.Size(int64(rate)) + "/s"
		if left := float64(p.Size-p.Settled) / rate; rate > 1 && left > 0 && left < longETA {
			s += "  ETA " + screen.Duration(time.Duration(left*float64(time.Second)))
		}
	}
	if p.Failed > 0 {
		s += fmt.Sprintf("  %d failed", p.Failed)
	}
	return s
}

// speed is the rate of the last seconds.
type speed struct {
	at    [32]time.Time
	bytes [32]int64
	n     int
	last  time.Time
	moved time.Time // when bytes last changed
}

// window is what the rate is taken over.
const window = 15 * time.Second

func (s *speed) add(now time.Time, bytes int64) {
	if s.n > 0 && bytes != s.bytes[(s.n-1)%len(s.bytes)] || s.moved.IsZero() {
		s.moved = now
	}
	if s.n > 0 && now.Sub(s.at[(s.n-1)%len(s.at)]) < window/time.Duration(len(s.at)) {
		s.last = now
		return
	}
	s.at[s.n%len(s.at)], s.bytes[s.n%len(s.at)] = now, bytes
	s.n++
	s.last = now
}

// rate is bytes a second over the window, and for how long nothing has moved.
func (s *speed) rate(now time.Time) (float64, time.Duration) {
	if s.n < 2 {
		return 0, now.Sub(s.moved)
	}
	newest := (s.n - 1) % len(s.at)
	oldest := max(0, s.n-len(s.at)) % len(s.at)
	for i := max(0, s.n-len(s.at)); i < s.n-1 && now.Sub(s.at[i%len(s.at)]) > window; i++ {
		oldest = (i + 1) % len(s.at)
	}
	took := s.at[newest].Sub(s.at[oldest])
	if took <= 0 {
		return 0, now.Sub(s.moved)
	}
	return float64(s.bytes[newest]-s.bytes[oldest]) / took.Seconds(), now.Sub(s.moved)
}
