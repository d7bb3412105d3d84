//go:build linux

package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"dray/sftp"
)

// sshRows are those over SSH. The targets are those of the first step: with
// golang.org/x/crypto/ssh as the transport.
func sshRows() []row {
	var list []row
	for _, s := range []struct {
		letter string
		suite  suite
		cpu    [2]float64 // down, up
		rate   float64    // down
	}{
		{"s", aes128gcm, [2]float64{1.0, 1.1}, 1.1},
		{"x", aes256gcm, [2]float64{}, 0},
		{"c", chacha20, [2]float64{}, 0},
		{"r", aes128ctr, [2]float64{}, 0},
	} {
		for _, w := range []way{down, up} {
			for _, streams := range []int{1, 4} {
				name := fmt.Sprintf("%s%sl%d", s.letter, [...]string{"d", "u"}[w], streams)
				rate := s.rate
				if w == up {
					rate = 0
				}
				list = append(list, bulkSFTP(name, w, streams, s.suite, 0, s.cpu[w], rate))
			}
		}
	}
	return append(list,
		bulkSFTP("s256kdl1", down, 1, aes128gcm, sftp.MaxData, 0.65, 0), bulkSFTP("s256kul1", up, 1, aes128gcm, sftp.MaxData, 0, 0),
		smallSFTP("ssg1", down, 1), smallSFTP("ssg8", down, 8), smallSFTP("ssp1", up, 1), smallSFTP("ssp8", up, 8),
		churnSSH("skch", "an ed25519 key"), churnSSH("spch", "a password"),
		idleSSH(), readdir(),
		crowdSFTP("sm100d", down), crowdSFTP("sm100u", up),
		far("sfardl", down), far("sfarul", up),
	)
}

// sftpSessions logs n clients in and lets them go after f.
func sftpSessions(s *server, n int, want suite, f func(clients []*sftpClient) error) (err error) {
	clients := make([]*sftpClient, n)
	defer func() {
		for _, c := range clients {
			if c != nil {
				err = errors.Join(err, c.close())
			}
		}
	}()
	if err := spread(n, 8, func(i int) (err error) {
		clients[i], err = openSFTP(s.ssh, want, s.place.key)
		return err
	}); err != nil {
		return err
	}
	return f(clients)
}

func bulkSFTP(name string, w way, streams int, want suite, request int, cpu, rate float64) row {
	what := fmt.Sprintf("large %s, %d stream, SFTP, %s", w, streams, want.cipher)
	if request != 0 {
		what += fmt.Sprintf(", requests of %d KiB", request>>10)
	}
	return row{name: name, what: what, ssh: true, figures: transferFigures(cpu, rate), needs: reads(w, fmt.Sprintf("big-%d", streams)), run: func(b *bench, s *server) (out sample, err error) {
		one := b.sizes.big / int64(streams)
		times := 1
		if w == down && b.sizes.big <= usual.big {
			times = 2
		}
		err = sftpSessions(s, streams, want, func(clients []*sftpClient) error {
			out, err = measure(s, perGB, mbs, 1, func() (float64, error) {
				return float64(one) * float64(streams*times) / 1e9, spread(streams, streams, func(i int) error {
					c := clients[i]
					if request != 0 {
						c.packets, c.flight = request, usualWindow/request
					}
					for range times {
						if err := c.move(b, w, fmt.Sprintf("big-%d", streams), i, one); err != nil {
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

// move downloads a file, or uploads the i-th.
func (c *sftpClient) move(b *bench, w way, name string, i int, sizeBytes int64) error {
	if w == up {
		return c.put(fmt.Sprintf("%s/%d", b.up, i), b.source, sizeBytes)
	}
	return c.get(name, sizeBytes)
}

func smallSFTP(name string, w way, streams int) row {
	what := fmt.Sprintf("%s of files of 4 KiB, %d sessions, SFTP", w, streams)
	figures := []figure{{name: perItem, target: 0.9}, {name: items, higher: true}}
	return row{name: name, what: what, ssh: true, figures: figures, needs: reads(w, "small"), run: func(b *bench, s *server) (out sample, err error) {
		err = sftpSessions(s, streams, aes128gcm, func(clients []*sftpClient) error {
			var next atomic.Int64
			out, err = measure(s, perItem, items, 1000, func() (float64, error) {
				return float64(b.sizes.small), spread(streams, streams, func(k int) error {
					for i := int(next.Add(1)) - 1; i < b.sizes.small; i = int(next.Add(1)) - 1 {
						if err := clients[k].move(b, w, fmt.Sprintf("small/%d", i), i, smallFile); err != nil {
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

func churnSSH(name, with string) row {
	figures := []figure{{name: perItem, target: 0.75}, {name: items, higher: true}}
	return row{name: name, what: "connect, login with " + with + ", SFTP, REALPATH, the end, 8 at a time", ssh: true, figures: figures, run: func(b *bench, s *server) (sample, error) {
		var key ed25519.PrivateKey
		if name == "skch" {
			key = s.place.key
		}
		return measure(s, perItem, items, 1000, func() (float64, error) {
			end := time.Now().Add(b.sizes.churn)
			var done atomic.Int64
			err := spread(8, 8, func(int) error {
				for time.Now().Before(end) {
					c, err := openSFTP(s.ssh, aes128gcm, key)
					if err != nil {
						return err
					}
					if err := errors.Join(c.nothing(), c.close()); err != nil {
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

// idleSSH has a quarter of the sessions of the other rows: a server that forks
// takes tens of milliseconds for each.
func idleSSH() row {
	figures := []figure{
		{name: pss, target: 65, bound: true}, {name: kernel, target: 2, bound: true},
		{name: p99, target: 1, bound: true}, {name: resting, target: 1, bound: true},
	}
	return row{name: "sidle", what: "idle sessions, logged in, SFTP", ssh: true, figures: figures, fresh: true, run: func(b *bench, s *server) (out sample, err error) {
		time.Sleep(b.sizes.rest)
		before := s.group.memory()
		err = sftpSessions(s, max(1, b.sizes.idle/4), aes128gcm, func(clients []*sftpClient) error {
			out, err = weigh(b, s, before, len(clients), func(i int) error { return clients[i].nothing() })
			return err
		})
		return out, err
	}}
}

func readdir() row {
	figures := []figure{
		{name: "CPU ms", target: 0.45}, {name: first, target: 5, bound: true}, {name: total, target: 0.4}, {name: growth, target: 1, bound: true},
	}
	return row{name: "sreaddir", what: "READDIR of a large directory, SFTP", ssh: true, figures: figures, needs: "entries", run: func(b *bench, s *server) (out sample, err error) {
		err = sftpSessions(s, 1, aes128gcm, func(clients []*sftpClient) error {
			before, watch := s.group.memory().pss, s.group.sample()
			var names int
			var begun time.Duration
			out, err = measure(s, "CPU ms", items, 1000, func() (float64, error) {
				var err error
				names, begun, err = clients[0].list("entries")
				return 1, err
			})
			grown := watch.end() - before
			if err == nil && names < b.sizes.entries {
				err = fmt.Errorf("READDIR: %d names of %d", names, b.sizes.entries)
			}
			if err != nil {
				return err
			}
			out[total] = 1000 / out[items]
			out[first] = begun.Seconds() * 1000
			out[growth] = float64(grown) / 1e6
			return nil
		})
		return out, err
	}}
}

func crowdSFTP(name string, w way) row {
	figures := []figure{{name: peak, target: 120, bound: true}, {name: perGB}, {name: mbs, higher: true}}
	return row{name: name, what: fmt.Sprintf("%ss, many at once, SFTP", w), ssh: true, figures: figures, needs: reads(w, "crowd"), fresh: true, run: func(b *bench, s *server) (out sample, err error) {
		n, one := b.sizes.crowd, b.sizes.crowdOne/2
		err = sftpSessions(s, n, aes128gcm, func(clients []*sftpClient) error {
			watch := s.group.sample()
			out, err = measure(s, perGB, mbs, 1, func() (float64, error) {
				return float64(n) * float64(one) / 1e9, spread(n, n, func(i int) error {
					if w == up {
						return clients[i].put(fmt.Sprintf("%s/%d", b.up, i), b.source, one)
					}
					return clients[i].get("crowd", one)
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

// farAway is how long the relay keeps what it passes on, in either direction: a
// round trip of 50 ms.
const farAway = 25 * time.Millisecond

// far moves a file over a line of 50 ms, with a client that gives the server room.
// What the line holds is bounded by the windows of both ends.
func far(name string, w way) row {
	what := fmt.Sprintf("large %s, 1 stream, SFTP, 50 ms round trip", w)
	figures := []figure{{name: mbs, higher: true, target: 1.0}, {name: perGB}}
	return row{name: name, what: what, ssh: true, figures: figures, needs: reads(w, "crowd"), run: func(b *bench, s *server) (out sample, err error) {
		line, err := delayed(s.ssh)
		if err != nil {
			return nil, err
		}
		defer line.Close()
		c, err := openWide(line.Addr().String(), aes128gcm, s.place.key, farWindow)
		if err != nil {
			return nil, err
		}
		c.packets, c.flight = sftp.MaxData, farWindow/sftp.MaxData
		if s.name == "mod_sftp" { // it takes no packets of that length
			c.packets, c.flight = usualRequest, farWindow/usualRequest
		}
		out, err = measure(s, perGB, mbs, 1, func() (float64, error) {
			return float64(b.sizes.crowdOne) / 1e9, c.move(b, w, "crowd", 0, b.sizes.crowdOne)
		})
		return out, errors.Join(err, c.close())
	}}
}

const farWindow = 16 << 20

// delayed is a relay to addr for any number of connections.
func delayed(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			here, err := l.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", addr)
			if err != nil {
				_ = here.Close()
				continue
			}
			go late(there, here)
			go late(here, there)
		}
	}()
	return l, nil
}

// late passes on what src says, farAway later, until it says no more.
func late(dst, src net.Conn) {
	type piece struct {
		due   time.Time
		bytes []byte
	}
	line := make(chan piece, 1<<12)
	go func() {
		defer close(line)
		for {
			b := make([]byte, 64<<10)
			n, err := src.Read(b)
			if n > 0 {
				line <- piece{time.Now().Add(farAway), b[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range line {
		time.Sleep(time.Until(p.due))
		if _, err := dst.Write(p.bytes); err != nil {
			break
		}
	}
	for range line { // the other end is gone
	}
	_ = dst.Close()
	_, _ = io.Copy(io.Discard, src)
	_ = src.Close()
}

// weigh is what idle sessions cost: it lets them rest, weighs the server and asks
// each for something small.
func weigh(b *bench, s *server, before size, n int, ask func(i int) error) (sample, error) {
	time.Sleep(b.sizes.rest) // they are idle, and the logins are over
	after := s.group.memory()
	used, err := s.group.cpu()
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Second)
	now, err := s.group.cpu()
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for i := range 2000 {
		start := time.Now()
		if err := ask(i * 7 % n); err != nil {
			return nil, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	each := float64(n) * 1000
	return sample{
		pss: float64(after.pss-before.pss) / each, kernel: float64(after.kernel-before.kernel) / each,
		p99: took[len(took)*99/100].Seconds() * 1000, resting: (now - used).Seconds() * 1000,
	}, nil
}
