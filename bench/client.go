//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"
)

// The part about clients: dray beside lftp, curl, NcFTP, rclone and OpenSSH's sftp
// and scp, each with the settings that are best for it, against the same servers.
// What is compared is the time from the start of the program to its end, and the
// CPU seconds of it with all its children (lftp, sftp and scp start ssh). What it
// brought is looked at afterwards: names, sizes, and the checksum of one file.
// Clients take turns in every round.

// A clientBench is one run over the rows of clients.
type clientBench struct {
	*bench
	sizes    clientSizes
	place    *clientPlace
	line     *line // nil: there is none
	near     *seat
	group    *group // nil: resource usage is asked for
	programs []program
	trips    map[string]float64 // measured round trips, ms, by what they should be
	far      string             // why there is no line
	stopped  atomic.Bool        // somebody interrupted it
}

// A clientResult is what one row gave with one server.
type clientResult struct {
	result
	Server   string            `json:"server"`
	Commands map[string]string `json:"commands"`
	Slow     []string          `json:"slow,omitempty"` // asked in the first round only
	far      bool
}

// tooSlow is how many times as long as the best one a client may take to be asked
// again: one that takes longer does not become the best.
const tooSlow = 4

// runClients is run for clients.
func runClients(o options, out io.Writer) error {
	wanted, err := chooseClients(o.rows)
	if err != nil {
		return err
	}
	b := &clientBench{bench: &bench{rounds: o.rounds, up: "up", out: out}, sizes: usualClients.times(o.scale), trips: map[string]float64{}}
	if o.smoke {
		b.sizes, b.rounds = smokeClients, 1
		if o.rows == "" { // the longer line differs by a number only
			wanted = slices.DeleteFunc(wanted, func(r clientRow) bool { return r.trip > 1 })
		}
	}
	if o.atOnce > 0 {
		b.sizes.near, b.sizes.far = o.atOnce, o.atOnce
	}
	b.hear = "0.0.0.0"
	b.bench.sizes = sizes{big: b.sizes.big, small: b.sizes.many}
	var needs []row
	for _, r := range wanted {
		needs = append(needs, row{needs: r.source})
	}
	if err := b.prepare(o, needs); err != nil {
		return err
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupts
		b.stopped.Store(true)
		b.end()
		os.Exit(130)
	}()
	defer b.end()
	if err := b.fillClients(b.sizes); err != nil {
		return err
	}
	if err := b.serve(o, wanted); err != nil {
		return err
	}
	if err := b.seats(o, wanted); err != nil {
		return err
	}
	results := b.all(wanted)
	if b.stopped.Load() { // who was killed did not fail
		return errors.New("interrupted")
	}
	return errors.Join(b.report(results), b.writeJSON(o.json, results))
}

// serve starts the servers that the rows are about.
func (b *clientBench) serve(o options, wanted []clientRow) error {
	for _, r := range recipes() {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), r.name) ||
			!slices.ContainsFunc(wanted, func(w clientRow) bool { return slices.Contains(w.servers(), r.name) }) {
			continue
		}
		s, err := r.start(b.bench.place)
		if err != nil {
			if r.name == "dray" {
				return err
			}
			b.missing = append(b.missing, err.Error())
			fmt.Fprintln(os.Stderr, "MISSING PEER", err)
			continue
		}
		b.servers = append(b.servers, s)
	}
	return nil
}

// seats makes what clients run in, and finds the clients.
func (b *clientBench) seats(o options, wanted []clientRow) (err error) {
	if b.near, err = newSeat(func() error { return nil }); err != nil {
		return err
	}
	if slices.ContainsFunc(wanted, func(r clientRow) bool { return r.trip > 0 }) {
		if b.line, err = newLine(int64(o.rate) * 1e6 / 8); err != nil {
			b.far = err.Error()
			b.missing = append(b.missing, "the line: "+b.far)
			fmt.Fprintln(os.Stderr, "MISSING LINE", err)
		}
	}
	if b.place, err = b.newClientPlace(); err != nil {
		return err
	}
	b.group = clientGroup()
	for _, p := range programs() {
		if o.programs != "" && p.name != "dray" && !slices.Contains(strings.Split(o.programs, ","), p.name) {
			continue
		}
		if p.file != "" {
			if _, err := exec.LookPath(p.file); err != nil {
				b.missing = append(b.missing, fmt.Sprintf("%s: the Debian package %s is not installed", p.name, p.pkg))
				fmt.Fprintf(os.Stderr, "MISSING PEER %s: the Debian package %s is not installed\n", p.name, p.pkg)
				continue
			}
		}
		b.programs = append(b.programs, p)
	}
	return nil
}

func (b *clientBench) end() {
	if b.group != nil {
		b.group.end()
	}
	b.bench.end()
}

// all runs the rows.
func (b *clientBench) all(wanted []clientRow) []clientResult {
	var results []clientResult
	for _, r := range wanted {
		for _, s := range b.servers {
			if !slices.Contains(r.servers(), s.name) || b.stopped.Load() {
				continue
			}
			start := time.Now()
			results = append(results, b.row(r, s))
			fmt.Fprintf(os.Stderr, "%-12s%-9s%s  %v\n", r.name, s.name, r.what, time.Since(start).Round(100*time.Millisecond))
		}
	}
	return results
}

// row runs one with one server, the clients in turn in every round.
func (b *clientBench) row(r clientRow, s *server) clientResult {
	res := clientResult{Server: s.name, Commands: map[string]string{}, far: r.trip > 0, result: result{
		Row: r.name, What: r.what, row: row{name: r.name, figures: r.figures}, Samples: map[string][]sample{}, Failed: map[string]string{},
	}}
	able := slices.DeleteFunc(slices.Clone(b.programs), func(p program) bool { return !p.does(r.proto, r.work) })
	if res.far {
		if b.line == nil {
			for _, p := range able {
				res.Failed[p.name] = b.far
			}
			return res
		}
		if err := b.stretch(r, s); err != nil {
			for _, p := range able {
				res.Failed[p.name] = err.Error()
			}
			return res
		}
	}
	for round := range b.rounds {
		for i := range able {
			p := able[(i+round)%len(able)]
			if b.stopped.Load() || res.Failed[p.name] != "" || slices.Contains(res.Slow, p.name) {
				continue
			}
			out, shown, err := b.one(p, r, s)
			res.Commands[p.name] = shown
			if err != nil {
				res.Failed[p.name] = err.Error()
				delete(res.Samples, p.name) // one that fails now and then is not fast
				fmt.Fprintf(os.Stderr, "%s: %s: %s: %v\n", r.name, s.name, p.name, err)
				continue
			}
			res.Samples[p.name] = append(res.Samples[p.name], out)
		}
		if round == 0 && b.rounds > 1 {
			res.leaveOut()
		}
	}
	return res
}

// stretch makes the line as long as the row wants it, and measures it.
func (b *clientBench) stretch(r clientRow, s *server) error {
	want := b.sizes.trips[r.trip-1]
	b.line.set(want)
	_, port, err := net.SplitHostPort(s.at(r.proto))
	if err != nil {
		return err
	}
	took, err := b.line.roundTrip(port)
	if err != nil {
		return fmt.Errorf("the line: %w", err)
	}
	if took < want {
		return fmt.Errorf("the line: a connect took %v, less than the round trip of %v", took, want)
	}
	b.trips[want.String()] = float64(took.Microseconds()) / 1000
	return nil
}

// at is the address for a protocol.
func (s *server) at(p proto) string {
	if p == overSFTP {
		return s.ssh
	}
	return s.addr
}

// leaveOut finds those that are too slow to be asked again.
func (r *clientResult) leaveOut() {
	best := 0.0
	for name := range r.Samples {
		if v := r.Samples[name][0][wall]; name != "dray" && (best == 0 || v < best) {
			best = v
		}
	}
	for name := range r.Samples {
		if name != "dray" && r.Samples[name][0][wall] > tooSlow*best {
			r.Slow = append(r.Slow, name)
		}
	}
	slices.Sort(r.Slow)
}

// one runs one client once, and looks at what it did.
func (b *clientBench) one(p program, r clientRow, s *server) (out sample, shown string, err error) {
	local := filepath.Join(b.dir, "local")
	t := task{row: r, client: b.place, host: "127.0.0.1", local: local, from: filepath.Join(b.home, r.source), source: r.source, atOnce: b.sizes.near}
	if r.trip > 0 {
		t.host, t.atOnce = farEnd.String(), b.sizes.far
	}
	if _, t.port, err = net.SplitHostPort(s.at(r.proto)); err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, b.clear(local)) }()
	if err := errors.Join(b.clear(local), os.MkdirAll(local, 0o755)); err != nil {
		return nil, "", err
	}
	if r.work == mirrorTree {
		if err := copyTree(t.from, filepath.Join(local, r.source)); err != nil {
			return nil, "", err
		}
	}
	cmd, err := p.run(t)
	if err != nil {
		return nil, "", err
	}
	shown = cmd.String()
	start := time.Now()
	seat := b.near
	if r.trip > 0 {
		seat = b.line.clients
	}
	took, cpu, err := b.execute(seat, cmd)
	if err != nil {
		return nil, shown, err
	}
	brought := filepath.Join(local, r.source)
	if r.work.uploads() {
		brought = filepath.Join(b.home, b.up, r.source)
	}
	if err := same(t.from, brought); err != nil {
		return nil, shown, fmt.Errorf("it ended well, but %w", err)
	}
	if r.work == mirrorTree {
		if n, err := changedSince(brought, start); err != nil || n > 0 {
			return nil, shown, errors.Join(err, fmt.Errorf("it ended well, but wrote %d files again", n))
		}
	}
	files, bytes, err := b.made(r.source)
	if err != nil {
		return nil, shown, err
	}
	return sample{
		wall: took.Seconds(), cpuOnly: cpu.Seconds(), perItem: cpu.Seconds() * 1000 / float64(max(1, files)),
		perGiB: cpu.Seconds() * (1 << 30) / float64(max(1, bytes)),
	}, shown, nil
}

// clear takes away what the client before has made, here and on the server.
func (b *clientBench) clear(local string) error {
	err := os.RemoveAll(local)
	up, e := os.ReadDir(filepath.Join(b.home, b.up))
	for _, d := range up {
		e = errors.Join(e, os.RemoveAll(filepath.Join(b.home, b.up, d.Name())))
	}
	return errors.Join(err, e)
}

// execute runs a command to its end. An error has the last line of what it said.
func (b *clientBench) execute(from *seat, c command) (took, cpu time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	argv := c.argv
	if b.group != nil {
		// A shell goes into the group first, so that no child can be missed.
		argv = append([]string{"/bin/sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(b.group.dir, "cgroup.procs")}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = b.place.environment(), b.place.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL} // no terminal to ask on
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	var before time.Duration
	if b.group != nil {
		if before, err = b.group.cpu(); err != nil {
			return 0, 0, err
		}
	}
	start := time.Now()
	if err := from.do(cmd.Start); err != nil {
		return 0, 0, err
	}
	err = cmd.Wait()
	took = time.Since(start)
	if ctx.Err() != nil {
		err = fmt.Errorf("it took more than %v", patience)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, lastLine(said.Bytes()))
	}
	if b.group == nil {
		return took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
	}
	for range 100 { // ssh may need a moment to see that nobody needs it any more
		if len(b.group.pids()) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, pid := range b.group.pids() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	after, err := b.group.cpu()
	return took, after - before, err
}

// clientGroup is the control group of all clients, one after the other; nil where
// there can't be one.
func clientGroup() *group {
	for _, at := range []group{{dir: "/sys/fs/cgroup/cpuacct"}, {dir: "/sys/fs/cgroup", v2: true}} {
		probe := "cpuacct.usage"
		if at.v2 {
			probe = "cpu.stat"
		}
		dir := filepath.Join(at.dir, fmt.Sprintf("dray-bench-%d-client", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, probe)); err == nil {
			return &group{dir: dir, v2: at.v2}
		}
		_ = os.Remove(dir)
	}
	return nil
}

// same compares two trees, or two files: names, sizes, and the checksum of the
// file in the middle.
func same(want, got string) error {
	list := func(root string) (names []string, sizes map[string]int64, err error) {
		sizes = map[string]int64{}
		err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if err != nil || d.IsDir() {
				sizes[rel] = -1
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if !info.Mode().IsRegular() {
				return fmt.Errorf("%s is no file", rel)
			}
			names, sizes[rel] = append(names, rel), info.Size()
			return nil
		})
		return names, sizes, err
	}
	names, should, err := list(want)
	if err != nil {
		return err
	}
	_, is, err := list(got)
	if err != nil {
		return err
	}
	for name, size := range is {
		if s, ok := should[name]; !ok || s != size {
			return fmt.Errorf("%s has %d bytes, not %d (%d names of %d)", name, size, s, len(is), len(should))
		}
	}
	if len(is) != len(should) {
		return fmt.Errorf("only %d names came of %d", len(is), len(should))
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	middle := names[len(names)/2]
	a, err := checksum(filepath.Join(want, middle))
	if err != nil {
		return err
	}
	c, err := checksum(filepath.Join(got, middle))
	if err != nil {
		return err
	}
	if a != c {
		return fmt.Errorf("the checksum of %s is wrong", middle)
	}
	return nil
}

func checksum(name string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// copyTree copies directories and files, with their times.
func copyTree(from, to string) error {
	err := os.CopyFS(to, os.DirFS(from))
	return errors.Join(err, filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		return errors.Join(err, os.Chmod(filepath.Join(to, rel), info.Mode().Perm()), os.Chtimes(filepath.Join(to, rel), info.ModTime(), info.ModTime()))
	}))
}

// changedSince counts the files that were written since then.
func changedSince(root string, then time.Time) (n int, err error) {
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && time.Unix(st.Ctim.Sec, st.Ctim.Nsec).After(then) {
			n++
		}
		return nil
	})
	return n, err
}

// A clientComparison is one line of the table.
type clientComparison struct {
	Server string `json:"server"`
	comparison
}

// compareClients compares, and calls a row as fast whose single rounds lie on both
// sides of a ratio of 1.
func compareClients(r clientResult, f figure) clientComparison {
	c := compare(r.result, f)
	if f.target == 1 && c.Verdict == "missed" && c.Low <= 1 {
		c.Verdict = "met within the spread"
	}
	if c.Target != "" {
		c.Target = fmt.Sprintf("≤ %.2g ×", f.target)
	}
	return clientComparison{Server: r.Server, comparison: c}
}

func clientComparisons(results []clientResult) []clientComparison {
	var all []clientComparison
	for _, r := range results {
		for _, f := range r.row.figures {
			all = append(all, compareClients(r, f))
		}
	}
	return all
}

// congestion is the congestion control of connections.
func congestion() string {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

// report prints the table, in Markdown.
func (b *clientBench) report(results []clientResult) error {
	w := tabwriter.NewWriter(b.out, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "| row\t| server\t| figure\t")
	for _, p := range b.programs {
		fmt.Fprintf(w, "| %s\t", p.name)
	}
	fmt.Fprint(w, "| best\t| ratio\t| of single rounds\t| target\t| \t|\n")
	fmt.Fprintf(w, "%s|\n", strings.Repeat("|---\t", 8+len(b.programs)))
	for i, r := range results {
		for _, f := range r.row.figures {
			c := compareClients(results[i], f)
			fmt.Fprintf(w, "| %s\t| %s\t| %s\t", c.Row, c.Server, c.Figure)
			for _, p := range b.programs {
				cell := ""
				if v, ok := c.Medians[p.name]; ok {
					cell = short(v)
				} else if r.Failed[p.name] != "" {
					cell = "failed"
				}
				fmt.Fprintf(w, "| %s\t", cell)
			}
			ratio, spread := "", ""
			if c.Ratio != 0 {
				ratio, spread = fmt.Sprintf("%.2f", c.Ratio), fmt.Sprintf("%.2f-%.2f", c.Low, c.High)
			}
			fmt.Fprintf(w, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", c.Best, ratio, spread, c.Target, c.Verdict)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\n%d rounds, %d processors, %s; CPU of clients from %s; %s; clients are told to have %d connections, %d over the line.\n",
		b.rounds, runtime.NumCPU(), runtime.Version(), b.how(), congestion(), b.sizes.near, b.sizes.far)
	for _, p := range b.programs {
		if v := p.version(); v != "" {
			fmt.Fprintf(b.out, "%s: package %s %s\n", p.name, p.pkg, v)
		}
	}
	for want, took := range b.trips {
		fmt.Fprintf(b.out, "a round trip of %s: a connect took %.1f ms\n", want, took)
	}
	for _, r := range results {
		if len(r.Slow) > 0 {
			fmt.Fprintf(b.out, "%s: %s: one round only, more than %d times as slow as the best: %s\n", r.Row, r.Server, tooSlow, strings.Join(r.Slow, ", "))
		}
		for name, why := range r.Failed {
			fmt.Fprintf(b.out, "%s: %s: %s: %s\n", r.Row, r.Server, name, why)
		}
	}
	return nil
}

func (b *clientBench) how() string {
	if b.group == nil {
		return "resource usage of waited-for processes"
	}
	return b.group.how()
}

func (b *clientBench) writeJSON(name string, results []clientResult) error {
	if name == "" {
		return nil
	}
	versions := map[string]string{}
	for _, p := range b.programs {
		versions[p.name] = p.version()
	}
	text, err := json.MarshalIndent(struct {
		Rounds      int                `json:"rounds"`
		Processors  int                `json:"processors"`
		Go          string             `json:"go"`
		Congestion  string             `json:"congestion"`
		Versions    map[string]string  `json:"versions"`
		RoundTrips  map[string]float64 `json:"round-trips-ms,omitempty"`
		Missing     []string           `json:"missing,omitempty"`
		Comparisons []clientComparison `json:"comparisons"`
		Rows        []clientResult     `json:"rows"`
	}{b.rounds, runtime.NumCPU(), runtime.Version(), congestion(), versions, b.trips, b.missing, clientComparisons(results), results}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}
