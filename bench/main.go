//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A bench is one run over all rows.
type bench struct {
	place
	sizes   sizes
	source  source
	up      string // where uploads go, in the home
	disk    string // the folder on the real disk
	servers []*server
	missing []string // peers that could not be started, with the reason
	rounds  int
	out     io.Writer
}

// options are what the command line asks for.
type options struct {
	rows   string
	rounds int
	scale  int
	smoke  bool
	json   string
	cache  string // where the unpacked peers are kept
	disk   string // a folder on the real disk
	dray   string // the binary; "": built from this module
	only   string // servers

	clients  bool   // measure clients
	programs string // those of them
	rate     int    // of the line, in Mbit/s; 0: no limit
	atOnce   int    // connections of a client; 0: as the sizes have it
}

func main() {
	var o options
	cache, _ := os.UserCacheDir()
	flag.StringVar(&o.rows, "rows", "", "`names` of rows, between commas (default: all); -rows help lists them")
	flag.IntVar(&o.rounds, "rounds", 5, "`number` of rounds of every row")
	flag.IntVar(&o.scale, "scale", 1, "so many `times` the size, the files, the entries and the sessions")
	flag.BoolVar(&o.smoke, "smoke", false, "a small round, to see that all of it works; its figures mean nothing")
	flag.StringVar(&o.json, "json", "", "write every figure of every round to `FILE`")
	flag.StringVar(&o.cache, "peers", filepath.Join(cache, "dray-bench"), "`DIR` where the unpacked peers are kept")
	flag.StringVar(&o.disk, "disk", os.TempDir(), "`DIR` on the disk of the real-disk rows")
	flag.StringVar(&o.dray, "dray", "", "`FILE` to measure as dray (default: built from this module)")
	flag.StringVar(&o.only, "servers", "", "`names` of servers, between commas (default: all)")
	flag.BoolVar(&o.clients, "clients", false, "measure clients, beside each other, in place of servers")
	flag.StringVar(&o.programs, "programs", "", "`names` of clients beside dray, between commas (default: all)")
	flag.IntVar(&o.atOnce, "connections", 0, "`number` of connections that clients other than dray are told to have (default: 4, over the line 16)")
	flag.IntVar(&o.rate, "rate", 0, "limit the line of the rows over a distance to so many `Mbit/s` (default: no limit)")
	flag.Parse()
	if o.rows == "help" && o.clients {
		for _, r := range clientRows() {
			fmt.Printf("%-12s%s\n", r.name, r.what)
		}
		return
	}
	if o.rows == "help" {
		for _, r := range rows() {
			fmt.Printf("%-9s%s\n", r.name, r.what)
		}
		return
	}
	if err := start(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// inside says that the process is in the namespaces already.
const inside = "BENCH_INSIDE"

// start fetches what the network is needed for, and runs the rest in namespaces
// of its own.
func start(o options) error {
	if os.Getenv(inside) != "" {
		if o.clients {
			return runClients(o, os.Stdout)
		}
		return run(o, os.Stdout)
	}
	if os.Geteuid() != 0 {
		return errors.New("it needs root, for namespaces and for servers that change users")
	}
	for name := range peers {
		if o.clients && name != "vsftpd" && name != "openssh" {
			continue
		}
		if err := fetchPeer(name, filepath.Join(o.cache, name)); err != nil {
			fmt.Fprintln(os.Stderr, "MISSING PEER", err)
		}
	}
	args := os.Args[1:]
	if o.dray == "" {
		dir, err := os.MkdirTemp("", "dray-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o755); err != nil { // the server runs as a user
			return err
		}
		o.dray = filepath.Join(dir, "dray")
		if err := build(o.dray); err != nil {
			return err
		}
		args = append([]string{"-dray", o.dray}, args...)
	}
	return enter(args)
}

// build makes the binary as it is delivered.
func build(to string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-o", to, "dray/cmd/dray")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build dray: %w\n%s", err, out)
	}
	return nil
}

// enter runs this program again in a network and a mount namespace.
func enter(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	runtime.LockOSThread() // the death signal is that of the thread
	defer runtime.UnlockOSThread()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		for s := range interrupts {
			_ = cmd.Process.Signal(s)
		}
	}()
	return cmd.Wait()
}

// run is everything inside the namespaces.
func run(o options, out io.Writer) (err error) {
	b := &bench{rounds: o.rounds, sizes: usual.times(o.scale), up: "up", out: out}
	if o.smoke {
		b.sizes, b.rounds = smoke, 1
	}
	wanted, err := choose(o.rows)
	if err != nil {
		return err
	}
	// A session is a descriptor of ours, and two of a server that does not fork.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if most := max(1, (int(min(limit.Max, 1<<30))-1000)/2); most < b.sizes.idle {
		fmt.Fprintf(os.Stderr, "descriptors: only %d, so %d idle sessions\n", limit.Max, most)
		b.sizes.idle = most
	}
	if err := b.prepare(o, wanted); err != nil {
		return err
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-interrupts
		b.end()
		os.Exit(130)
	}()
	defer b.end()
	for _, r := range recipes() {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), r.name) {
			continue
		}
		if !slices.ContainsFunc(wanted, func(w row) bool { return w.ssh && r.ssh != 0 || !w.ssh && r.ftp != 0 }) {
			continue
		}
		s, err := r.start(b.place)
		if err != nil {
			if strings.HasPrefix(r.name, "dray") {
				return err
			}
			b.missing = append(b.missing, err.Error())
			fmt.Fprintln(os.Stderr, "MISSING PEER", err)
			continue
		}
		b.servers = append(b.servers, s)
	}
	results := b.all(wanted)
	return errors.Join(b.report(results), writeJSON(o.json, b, results))
}

func choose(names string) ([]row, error) {
	all := rows()
	if names == "" {
		return all, nil
	}
	var wanted []row
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no row is called %q; -rows help lists them", name)
		}
		wanted = append(wanted, all[i])
	}
	return wanted, nil
}

// prepare makes the scratch folder on tmpfs and brings loopback up.
func (b *bench) prepare(o options, wanted []row) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	// Peers look up their user's home by its real name, so it must be short and open.
	b.dir = "/mnt"
	if err := syscall.Mount("tmpfs", b.dir, "tmpfs", 0, "mode=755,size=90%,nr_inodes=0"); err != nil {
		return fmt.Errorf("tmpfs: %w", err)
	}
	b.home, b.deb, b.dray = filepath.Join(b.dir, "home"), o.cache, o.dray
	disk, err := os.MkdirTemp(o.disk, "dray-bench-disk-")
	if err != nil {
		return err
	}
	b.disk = disk
	if err := b.fill(wanted); err != nil {
		return err
	}
	if err := syscall.Mount(disk, filepath.Join(b.home, "disk"), "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", disk, err)
	}
	for _, dir := range []string{"", "up", "disk"} {
		if err := os.Chown(filepath.Join(b.home, dir), userID, userID); err != nil {
			return err
		}
	}
	if err := errors.Join(b.makeKeys(), b.furnish()); err != nil {
		return err
	}
	return loopback()
}

// loopback brings the interface of a fresh network namespace up.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	// Every passive connection and login takes a port on either side.
	_ = os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 65000"), 0o644)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return l.Close()
}

func (b *bench) end() {
	for _, s := range b.servers {
		s.stop()
	}
	_ = b.tidy()
	_ = syscall.Unmount(filepath.Join(b.home, "disk"), syscall.MNT_DETACH)
	_ = os.Remove(b.disk)
}

// A result is what one row gave: by server the samples of its rounds, or why
// there are none.
type result struct {
	Row     string              `json:"row"`
	What    string              `json:"what"`
	Samples map[string][]sample `json:"samples"`
	Failed  map[string]string   `json:"failed,omitempty"`
	row     row
}

// all runs the rows, the servers in turn in every round.
func (b *bench) all(wanted []row) []result {
	var results []result
	for _, r := range wanted {
		res := result{Row: r.name, What: r.what, row: r, Samples: map[string][]sample{}, Failed: map[string]string{}}
		servers := slices.DeleteFunc(slices.Clone(b.servers), func(s *server) bool {
			switch {
			case r.servers != nil:
				return !slices.Contains(r.servers, s.name)
			case r.ssh:
				return s.ssh == ""
			}
			return s.addr == "" || s.name == "dray-commit"
		})
		start := time.Now()
		for round := range b.rounds {
			for i := range servers {
				s := servers[(i+round)%len(servers)]
				if res.Failed[s.name] != "" {
					continue
				}
				var out sample
				var err error
				if r.fresh {
					if err = s.renew(); err != nil { // nothing runs there any more
						b.servers = slices.DeleteFunc(b.servers, func(gone *server) bool { return gone == s })
					}
				}
				if err == nil {
					out, err = r.run(b, s)
				}
				if err != nil {
					res.Failed[s.name] = err.Error()
					if !errors.Is(err, errNotThis) {
						fmt.Fprintf(os.Stderr, "%s: %s: %v\n", r.name, s.name, err)
					}
				} else {
					res.Samples[s.name] = append(res.Samples[s.name], out)
				}
				if err := b.tidy(); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}
		fmt.Fprintf(os.Stderr, "%-9s%s  %v\n", r.name, r.what, time.Since(start).Round(time.Second))
		results = append(results, res)
	}
	return results
}
