//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A group is the processes of one server: a control group where the system lets
// us make one, else the tree below its first process.
type group struct {
	root int    // the first process
	dir  string // of the control group; "" without one
	v2   bool
}

// newGroup takes a process that has just been started. Its children follow.
func newGroup(name string, pid int) *group {
	g := &group{root: pid}
	for _, at := range []struct {
		dir string
		v2  bool
	}{{"/sys/fs/cgroup/cpuacct", false}, {"/sys/fs/cgroup", true}} {
		probe := "cpuacct.usage"
		if at.v2 {
			probe = "cpu.stat"
		}
		dir := filepath.Join(at.dir, fmt.Sprintf("dray-bench-%d-%s", os.Getpid(), name))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, probe)); err == nil &&
			os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644) == nil {
			g.dir, g.v2 = dir, at.v2
			return g
		}
		_ = os.Remove(dir)
	}
	return g
}

// how names where the CPU figures come from.
func (g *group) how() string {
	switch {
	case g.dir == "":
		return "the process tree"
	case g.v2:
		return "cpu.stat of a control group"
	}
	return "cpuacct.usage of a control group"
}

// cpu is what the processes have used so far, user and system, those that ended
// included.
func (g *group) cpu() (time.Duration, error) {
	if g.dir == "" {
		return g.treeCPU()
	}
	if !g.v2 {
		n, err := readNumber(filepath.Join(g.dir, "cpuacct.usage"))
		return time.Duration(n), err
	}
	b, err := os.ReadFile(filepath.Join(g.dir, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	n, err := field(b, "usage_usec")
	return time.Duration(n) * time.Microsecond, err
}

// treeCPU is in clock ticks, so short phases are coarse.
func (g *group) treeCPU() (time.Duration, error) {
	var ticks int64
	for _, pid := range g.pids() {
		s, err := readStat(pid)
		if err != nil {
			continue // it ended; its parent has its time
		}
		ticks += s.ticks
	}
	if ticks == 0 {
		if _, err := readStat(g.root); err != nil {
			return 0, err
		}
	}
	return time.Duration(ticks) * (time.Second / 100), nil
}

// pids are the processes that live.
func (g *group) pids() []int {
	if g.dir != "" {
		b, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
		if err != nil {
			return nil
		}
		var pids []int
		for line := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(line); err == nil {
				pids = append(pids, pid)
			}
		}
		return pids
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if s, err := readStat(pid); err == nil {
				children[s.parent] = append(children[s.parent], pid)
			}
		}
	}
	pids := []int{g.root}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids
}

// end kills what lives and removes the control group.
func (g *group) end() {
	for range 50 {
		pids := g.pids()
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if g.dir == "" {
			return
		}
		if os.Remove(g.dir) == nil || len(pids) == 0 {
			_ = os.Remove(g.dir)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A size is memory in bytes: what the processes hold, shared pages by their
// share, and what the kernel holds for them in page tables and stacks. Sockets
// are in neither.
type size struct{ pss, kernel int64 }

// memory asks every process, which takes about 0.1 ms each.
func (g *group) memory() size {
	var s size
	for _, pid := range g.pids() {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		if b, err := os.ReadFile(filepath.Join(dir, "smaps_rollup")); err == nil {
			n, _ := field(b, "Pss:")
			s.pss += n << 10
		}
		if b, err := os.ReadFile(filepath.Join(dir, "status")); err == nil {
			n, _ := field(b, "VmPTE:")
			threads, _ := field(b, "Threads:")
			s.kernel += n<<10 + threads*16<<10 // THREAD_SIZE of amd64 and arm64
		}
	}
	return s
}

// A sampler watches the memory of a group for its peak.
type sampler struct {
	stop chan struct{}
	done sync.WaitGroup
	peak int64
}

func (g *group) sample() *sampler {
	s := &sampler{stop: make(chan struct{})}
	s.done.Go(func() {
		for {
			s.peak = max(s.peak, g.memory().pss)
			select {
			case <-s.stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	return s
}

func (s *sampler) end() int64 {
	close(s.stop)
	s.done.Wait()
	return s.peak
}

type stat struct {
	parent int
	ticks  int64 // user, system, and those of waited-for children
}

// readStat reads proc_pid_stat(5).
func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // the name may hold anything
	if len(f) < 15 {
		return stat{}, fmt.Errorf("stat of process %d: %d fields", pid, len(f))
	}
	var s stat
	s.parent, _ = strconv.Atoi(string(f[1]))
	for _, i := range []int{11, 12, 13, 14} {
		n, _ := strconv.ParseInt(string(f[i]), 10, 64)
		s.ticks += n
	}
	return s, nil
}

// field is the number behind a word at the beginning of a line.
func field(b []byte, word string) (int64, error) {
	for line := range bytes.Lines(b) {
		if rest, ok := bytes.CutPrefix(line, []byte(word)); ok {
			if f := bytes.Fields(rest); len(f) > 0 {
				return strconv.ParseInt(string(f[0]), 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("no %q", word)
}

func readNumber(name string) (int64, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}
