//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Sizes are how much work the rows are.
type sizes struct {
	big      int64 // bytes of a large file; four streams share it out
	text     int64 // bytes of the file for TYPE A
	small    int   // files of 4 KiB
	churn    time.Duration
	idle     int           // sessions
	rest     time.Duration // before they come, and before they are weighed
	entries  int           // of a directory
	crowd    int           // transfers at once
	crowdOne int64         // bytes of each
}

var (
	usual = sizes{
		big: 1 << 30, text: 256 << 20, small: 10_000, churn: 2 * time.Second, idle: 2000, rest: 5 * time.Second,
		entries: 100_000, crowd: 100, crowdOne: 32 << 20,
	}
	smoke = sizes{
		big: 8 << 20, text: 1 << 20, small: 40, churn: 100 * time.Millisecond, idle: 10,
		entries: 200, crowd: 8, crowdOne: 1 << 20,
	}
)

const (
	smallFile  = 4 << 10
	sourceFile = 256 << 20 // uploads of more send it again
)

func (z sizes) times(n int) sizes {
	z.big, z.text, z.crowdOne = z.big*int64(n), z.text*int64(n), z.crowdOne*int64(n)
	z.small, z.idle, z.entries, z.churn = z.small*n, z.idle*n, z.entries*n, z.churn*time.Duration(n)
	return z
}

// A figure is one that a row measures.
type figure struct {
	name   string // with its unit
	higher bool   // more is better
	target float64
	bound  bool // target is a value of ours, not a ratio to the best peer
}

// A row is one kind of work.
type row struct {
	name, what string
	figures    []figure
	servers    []string // nil: dray and the peers
	needs      string   // the file or directory that it reads; "": none
	ssh        bool     // it is about SFTP
	fresh      bool     // every round has a server that has done nothing before
	run        func(b *bench, s *server) (sample, error)
}

// A sample is what one run of a row gave, by figure.
type sample map[string]float64

// errNotThis is a server that does not do what the row is about.
var errNotThis = errors.New("does not do this")

const (
	perGB   = "CPU s/GB"
	perItem = "CPU ms each"
	mbs     = "MB/s"
	items   = "a second"
	first   = "first byte ms"
	total   = "total ms"
	growth  = "growth MB"
	peak    = "peak MB"
	pss     = "kB each"
	kernel  = "kernel kB each"
	p99     = "p99 ms"
	resting = "CPU ms a second"
)

func rows() []row {
	list := []row{
		bulk("dl1", down, 1, clear, 1.05, 1.0), bulk("dl4", down, 4, clear, 1.05, 1.0),
		bulk("ul1", up, 1, clear, 1.0, 1.0), bulk("ul4", up, 4, clear, 1.0, 1.0),
		bulk("tdl1", down, 1, secure, 0.75, 1.2), bulk("tdl4", down, 4, secure, 0.75, 1.2),
		bulk("tul1", up, 1, secure, 0.85, 1.1), bulk("tul4", up, 4, secure, 0.85, 1.1),
		ascii(),
		small("sg1", down, 1, clear, 1.5, 0), small("sg8", down, 8, clear, 1.1, 1.0),
		small("sp1", up, 1, clear, 1.5, 0), small("sp8", up, 8, clear, 1.1, 1.0),
		small("tsg1", down, 1, secure, 0.6, 1.3), small("tsg8", down, 8, secure, 0.6, 1.3),
		small("tsp1", up, 1, secure, 0.6, 1.3), small("tsp8", up, 8, secure, 0.6, 1.3),
		churn("ch", clear, 0.9, 1.0), churn("tch", secure, 0.85, 1.1),
		idle("idle", clear, 10), idle("tidle", secure, 22),
		listing("list", "LIST", 0.75), listing("mlsd", "MLSD", 0.95),
		crowd("m100d", down, clear, 12), crowd("tm100d", down, secure, 24),
		crowd("m100u", up, clear, 12), crowd("tm100u", up, secure, 24),
	}
	list = append(list, sshRows()...)
	for _, r := range []row{
		bulk("dul1", up, 1, clear, 0, 0), bulk("dtul1", up, 1, secure, 0, 0),
		small("dsp1", up, 1, clear, 0, 0), small("dsp8", up, 8, clear, 0, 0), small("dtsp8", up, 8, secure, 0, 0),
	} {
		r.what += ", real disk"
		r.servers = []string{"dray", "dray-commit", "vsftpd", "proftpd", "pureftpd"}
		list = append(list, onDisk(r))
	}
	return list
}

type way int

const (
	down way = iota
	up
)

// reads is name for downloads; uploads need nothing on the server.
func reads(w way, name string) string {
	if w == up {
		return ""
	}
	return name
}

type cover bool

const (
	clear  cover = false
	secure cover = true
)

func (w way) String() string   { return [...]string{"download", "upload"}[w] }
func (c cover) String() string { return map[cover]string{clear: "clear text", secure: "TLS 1.3"}[c] }

// measure runs a phase and adds its figures for so much work.
func measure(s *server, cost, rate string, unit float64, phase func() (float64, error)) (sample, error) {
	before, err := s.group.cpu()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	work, err := phase()
	took := time.Since(start)
	if err != nil {
		return nil, err
	}
	time.Sleep(30 * time.Millisecond) // what the server does behind its last reply is its cost too
	after, err := s.group.cpu()
	if err != nil {
		return nil, err
	}
	done := work
	if rate == mbs {
		done = work * 1000 // work is in GB
	}
	return sample{cost: (after - before).Seconds() * unit / work, rate: done / took.Seconds()}, nil
}

// sessions logs n clients in and lets them go after f.
func sessions(s *server, n int, c cover, f func(clients []*client) error) (err error) {
	clients := make([]*client, n)
	defer func() {
		for _, c := range clients {
			if c != nil {
				err = errors.Join(err, c.quit())
			}
		}
	}()
	// Eight at a time: a server that forks would lose some of a burst.
	if err := spread(n, 8, func(i int) (err error) {
		clients[i], err = login(s.addr, bool(c))
		return err
	}); err != nil {
		return err
	}
	return f(clients)
}

// spread does n things, so many at a time.
func spread(n, atOnce int, f func(i int) error) error {
	var next atomic.Int64
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	for range min(n, atOnce) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}

func transferFigures(cpu, rate float64) []figure {
	return []figure{{name: perGB, target: cpu}, {name: mbs, higher: true, target: rate}}
}

func bulk(name string, w way, streams int, c cover, cpu, rate float64) row {
	what := fmt.Sprintf("large %s, %d stream, %s", w, streams, c)
	return row{name: name, what: what, figures: transferFigures(cpu, rate), needs: reads(w, fmt.Sprintf("big-%d", streams)), run: func(b *bench, s *server) (out sample, err error) {
		one := b.sizes.big / int64(streams)
		times := 1
		if w == down && b.sizes.big <= usual.big { // a download is over too soon to be measured well
			times = 3
		}
		err = sessions(s, streams, c, func(clients []*client) error {
			out, err = measure(s, perGB, mbs, 1, func() (float64, error) {
				return float64(one) * float64(streams*times) / 1e9, spread(streams, streams, func(i int) error {
					for range times {
						if w == up {
							if err := clients[i].put(fmt.Sprintf("STOR %s/%d", b.up, i), b.source, one); err != nil {
								return err
							}
							continue
						}
						if err := exactly(clients[i], fmt.Sprintf("RETR big-%d", streams), one); err != nil {
							return err
						}
					}
					return nil
				})
			})
			return err
		})
		return out, err
	}}
}

// exactly downloads, and fails when it is not so many bytes.
func exactly(c *client, command string, sizeBytes int64) error {
	f, err := c.get(command)
	if err == nil && f.bytes != sizeBytes {
		err = fmt.Errorf("%s: %d bytes came, not %d", command, f.bytes, sizeBytes)
	}
	return err
}

func ascii() row {
	return row{name: "adl1", what: "large download in TYPE A, 1 stream, clear text", figures: transferFigures(1, 1), needs: "text", run: func(b *bench, s *server) (out sample, err error) {
		err = sessions(s, 1, clear, func(clients []*client) error {
			if _, err := clients[0].do("2", "TYPE A"); err != nil {
				return err
			}
			var converted bool
			out, err = measure(s, perGB, mbs, 1, func() (float64, error) {
				f, err := clients[0].get("RETR text")
				converted = f.bytes == b.sizes.text+b.sizes.text/textLine
				return float64(b.sizes.text) / 1e9, err
			})
			if err == nil && !converted {
				return errNotThis
			}
			return err
		})
		return out, err
	}}
}

func small(name string, w way, streams int, c cover, cpu, rate float64) row {
	what := fmt.Sprintf("%s of files of 4 KiB, %d sessions, %s", w, streams, c)
	figures := []figure{{name: perItem, target: cpu}, {name: items, higher: true, target: rate}}
	return row{name: name, what: what, figures: figures, needs: reads(w, "small"), run: func(b *bench, s *server) (out sample, err error) {
		err = sessions(s, streams, c, func(clients []*client) error {
			free := make(chan *client, streams)
			for _, c := range clients {
				free <- c
			}
			out, err = measure(s, perItem, items, 1000, func() (float64, error) {
				return float64(b.sizes.small), spread(b.sizes.small, streams, func(i int) error {
					c := <-free
					defer func() { free <- c }()
					if w == up {
						return c.put(fmt.Sprintf("STOR %s/%d", b.up, i), b.source, smallFile)
					}
					return exactly(c, fmt.Sprintf("RETR small/%d", i), smallFile)
				})
			})
			return err
		})
		return out, err
	}}
}

func churn(name string, c cover, cpu, rate float64) row {
	what := fmt.Sprintf("connect, login, PWD, QUIT, 8 at a time, %s", c)
	figures := []figure{{name: perItem, target: cpu}, {name: items, higher: true, target: rate}}
	return row{name: name, what: what, figures: figures, run: func(b *bench, s *server) (sample, error) {
		return measure(s, perItem, items, 1000, func() (float64, error) {
			end := time.Now().Add(b.sizes.churn)
			var done atomic.Int64
			err := spread(8, 8, func(int) error {
				for time.Now().Before(end) {
					c, err := login(s.addr, bool(c))
					if err != nil {
						return err
					}
					if _, err := c.do("2", "PWD"); err != nil {
						return err
					}
					if err := c.quit(); err != nil {
						return err
					}
					done.Add(1)
				}
				return nil
			})
			return float64(done.Load()), err
		})
	}}
}

func idle(name string, c cover, target float64) row {
	what := fmt.Sprintf("idle sessions, logged in, %s", c)
	figures := []figure{
		{name: pss, target: target, bound: true}, {name: kernel, target: 2, bound: true},
		{name: p99, target: 1, bound: true}, {name: resting, target: 1, bound: true},
	}
	return row{name: name, what: what, figures: figures, fresh: true, run: func(b *bench, s *server) (out sample, err error) {
		time.Sleep(b.sizes.rest) // its start is over
		before := s.group.memory()
		err = sessions(s, b.sizes.idle, c, func(clients []*client) error {
			out, err = weigh(b, s, before, len(clients), func(i int) error {
				_, err := clients[i].do("2", "NOOP")
				return err
			})
			return err
		})
		return out, err
	}}
}

func listing(name, verb string, cpu float64) row {
	figures := []figure{
		{name: "CPU ms", target: cpu}, {name: first, target: 5, bound: true}, {name: total}, {name: growth, target: 1, bound: true},
	}
	return row{name: name, what: verb + " of a large directory", figures: figures, needs: "entries", run: func(b *bench, s *server) (out sample, err error) {
		err = sessions(s, 1, clear, func(clients []*client) error {
			if verb == "MLSD" {
				if _, err := clients[0].do("250", "MLST"); err != nil {
					return errNotThis
				}
			}
			before, watch := s.group.memory().pss, s.group.sample()
			var f fetch
			out, err = measure(s, "CPU ms", items, 1000, func() (float64, error) {
				var err error
				f, err = clients[0].get(verb + " entries")
				return 1, err
			})
			grown := watch.end() - before
			if err != nil {
				return err
			}
			if f.bytes < int64(b.sizes.entries)*20 {
				return fmt.Errorf("%s: %d bytes for %d entries", verb, f.bytes, b.sizes.entries)
			}
			out[total] = 1000 / out[items]
			out[first] = f.first.Seconds() * 1000
			out[growth] = float64(grown) / 1e6
			return nil
		})
		return out, err
	}}
}

func crowd(name string, w way, c cover, target float64) row {
	figures := []figure{{name: peak, target: target, bound: true}, {name: perGB}, {name: mbs, higher: true}}
	what := fmt.Sprintf("%ss, many at once, %s", w, c)
	return row{name: name, what: what, figures: figures, needs: reads(w, "crowd"), fresh: true, run: func(b *bench, s *server) (out sample, err error) {
		n, one := b.sizes.crowd, b.sizes.crowdOne
		if w == up {
			one /= 2
		}
		err = sessions(s, n, c, func(clients []*client) error {
			watch := s.group.sample()
			out, err = measure(s, perGB, mbs, 1, func() (float64, error) {
				return float64(n) * float64(one) / 1e9, spread(n, n, func(i int) error {
					if w == up {
						return clients[i].put(fmt.Sprintf("STOR %s/%d", b.up, i), b.source, one)
					}
					return exactly(clients[i], "RETR crowd", one)
				})
			})
			grown := watch.end()
			if err == nil {
				out[peak] = float64(grown) / 1e6
			}
			return err
		})
		return out, err
	}}
}

// onDisk is a row whose uploads go to the real disk.
func onDisk(r row) row {
	run := r.run
	r.run = func(b *bench, s *server) (sample, error) {
		b.up = "disk"
		defer func() { b.up = "up" }()
		syscall.Sync() // what others have left to write is not this one's
		return run(b, s)
	}
	return r
}

// textLine is how long the lines of the text are, with their LF.
const textLine = 64

// fill makes what is downloaded.
func (b *bench) fill(wanted []row) error {
	z := b.sizes
	made := func(name string, size int64, pattern []byte) error {
		f, err := os.Create(filepath.Join(b.home, name))
		if err != nil {
			return err
		}
		for left := size; left > 0 && err == nil; left -= int64(len(pattern)) {
			_, err = f.Write(pattern[:min(left, int64(len(pattern)))])
		}
		return errors.Join(err, f.Close())
	}
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte(i * 7 >> 3)
	}
	text := make([]byte, 1<<20)
	for i := range text {
		text[i] = "dray moves files\n"[i%16]
		if i%textLine == textLine-1 {
			text[i] = '\n'
		}
	}
	for _, dir := range []string{"", "up", "disk", "small", "entries"} {
		if err := os.MkdirAll(filepath.Join(b.home, dir), 0o755); err != nil {
			return err
		}
	}
	many := func(name string, n int, size int64) error {
		for i := range n {
			if err := made(fmt.Sprintf(name, i), size, piece); err != nil {
				return err
			}
		}
		return nil
	}
	for name, make := range map[string]func() error{
		"big-1":   func() error { return made("big-1", z.big, piece) },
		"big-4":   func() error { return made("big-4", z.big/4, piece) },
		"crowd":   func() error { return made("crowd", z.crowdOne, piece) },
		"text":    func() error { return made("text", z.text, text) },
		"small":   func() error { return many("small/%d", z.small, smallFile) },
		"entries": func() error { return many("entries/file-%07d.dat", z.entries, 0) },
	} {
		if slices.ContainsFunc(wanted, func(r row) bool { return r.needs == name }) {
			if err := make(); err != nil {
				return err
			}
		}
	}
	if err := made("source", min(sourceFile, max(z.big, z.crowdOne)), piece); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(b.home, "source"))
	b.source = source{file: f, bytes: piece}
	return err
}

// tidy takes away what was uploaded.
func (b *bench) tidy() error {
	for _, dir := range []string{"up", "disk"} {
		entries, err := os.ReadDir(filepath.Join(b.home, dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := os.Remove(filepath.Join(b.home, dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
