//go:build linux

package interop

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// recordings is where the tests of ftpclient find what servers said.
const recordings = "../ftpclient/testdata/recorded"

// A recordedServer is one whose sentences are recorded.
type recordedServer struct {
	name  string // of its recording
	about string
	visit func(t *testing.T, root string) *station
	taken bool // somebody else is logged in already
}

func recordedServers() []recordedServer {
	return []recordedServer{
		{"vsftpd", "vsftpd in clear text: it has no MLSD, and one sentence for most refusals", func(t *testing.T, root string) *station {
			return visitOn(t, "vsftpd plain", root)
		}, false},
		{"vsftpd-tls", "vsftpd with force_local_logins_ssl, and a client in clear text", func(t *testing.T, root string) *station {
			return visitOn(t, "vsftpd TLS 1.3", root)
		}, false},
		{"vsftpd-full", "vsftpd with max_clients=1, and one more client", func(t *testing.T, root string) *station {
			return visitOn(t, "vsftpd plain", root, "max_clients=1")
		}, true},
		{"vsftpd-full-ip", "vsftpd with max_per_ip=1, and one more client", func(t *testing.T, root string) *station {
			return visitOn(t, "vsftpd plain", root, "max_per_ip=1")
		}, true},
		{"proftpd", "ProFTPD in clear text", func(t *testing.T, root string) *station { return clearProftpd(t, root) }, false},
		{"proftpd-tls", "ProFTPD with TLSRequired, and a client in clear text", func(t *testing.T, root string) *station {
			return visitOn(t, "ProFTPD TLS 1.3", root)
		}, false},
		{"proftpd-full", "ProFTPD with MaxClients 1, and one more client", func(t *testing.T, root string) *station {
			return clearProftpd(t, root, "MaxClients 1")
		}, true},
		{"proftpd-full-ip", "ProFTPD with MaxClientsPerHost 1, and one more client", func(t *testing.T, root string) *station {
			return clearProftpd(t, root, "MaxClientsPerHost 1")
		}, true},
		{"pure-ftpd", "Pure-FTPd in clear text", func(t *testing.T, root string) *station {
			return visitOn(t, "Pure-FTPd", root, "-Y", "0")
		}, false},
		{"pure-ftpd-tls", "Pure-FTPd that requires TLS (-Y 2), and a client in clear text", func(t *testing.T, root string) *station {
			return visitOn(t, "Pure-FTPd", root)
		}, false},
		{"pure-ftpd-full", "Pure-FTPd for one client (-c 1), and one more", func(t *testing.T, root string) *station {
			return visitOn(t, "Pure-FTPd", root, "-Y", "0", "-c", "1")
		}, true},
		{"pure-ftpd-full-ip", "Pure-FTPd for one client of an address (-C 1), and one more", func(t *testing.T, root string) *station {
			return visitOn(t, "Pure-FTPd", root, "-Y", "0", "-C", "1")
		}, true},
		{"pyftpdlib", "pyftpdlib in clear text", unprivilegedPyftpdlib, false},
		{"pyftpdlib-tls", "pyftpdlib with tls_control_required, and a client in clear text", func(t *testing.T, root string) *station {
			return visitOn(t, "pyftpdlib TLS", root)
		}, false},
	}
}

// emptyStation is a station whose server is still to be chosen.
func emptyStation(t *testing.T, name, root string) *station {
	t.Helper()
	needsRoot(t, name+" is recorded as another user")
	s := &station{name: name, root: root, own: open(t), host: "127.0.0.1"}
	for s.low = lowPort(); !free(s.low); s.low = lowPort() {
	}
	return s
}

// clearProftpd is the ProFTPD of the recipe without its TLS. ProFTPD takes the first of
// two lines, so another one behind those of the recipe changes nothing.
func clearProftpd(t *testing.T, root string, more ...string) *station {
	t.Helper()
	s := emptyStation(t, "ProFTPD", root)
	proftpd(t, s, "TLSv1.3", more)
	secure := s.make
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		cmd := secure(t, s)
		text, err := os.ReadFile(filepath.Join(s.own, "proftpd.conf"))
		if err != nil {
			t.Fatal(err)
		}
		s.write(t, "proftpd.conf", strings.NewReplacer("TLSEngine on", "TLSEngine off", "TLSRequired on", "TLSRequired off").Replace(string(text)))
		return cmd
	}
	s.start(t)
	return s
}

// unprivilegedPyftpdlib runs as the user of the files: as root it may read all.
func unprivilegedPyftpdlib(t *testing.T, root string) *station {
	t.Helper()
	s := emptyStation(t, "pyftpdlib", root)
	pyftpdlib(t, s, "plain", nil)
	text, err := os.ReadFile(script(t, "pyftpdlib_server.py"))
	if err != nil {
		t.Fatal(err)
	}
	program := s.write(t, "server.py", string(text)) // where that user may read it
	privileged := s.make
	s.make = func(t *testing.T, s *station) *exec.Cmd {
		cmd := privileged(t, s)
		cmd.Args[1] = program
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID}}
		return cmd
	}
	s.start(t)
	return s
}

// occupy takes the one place that a server has, when the connection that has seen it
// listen is forgotten there.
func occupy(t *testing.T, addr string) {
	t.Helper()
	within(t, "a place on "+addr, func() bool {
		c, err := textproto.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadResponse(220); err != nil {
			_ = c.Close()
			return false
		}
		t.Cleanup(func() { _ = c.Close() })
		(&wire{Conn: c}).login(t, user, password)
		return true
	})
}

// recordedTime is that of all files and directories at first. Nowhere is it another
// day.
var recordedTime = time.Date(2021, 1, 2, 12, 4, 5, 0, time.UTC)

// furnish makes the tree that TestRecordedServers of ftpclient knows.
func furnish(t *testing.T, root string) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	plant(t, root, named{"pub/file.txt", []byte("hello, world\n")}, named{"pub/empty.txt", nil}, named{"pub/a blank.txt", []byte("blank\n")},
		named{"pub/grüße.txt", []byte("Grüße\n")}, named{"pub/secret.txt", []byte("secret\n")}, named{"pub/dir/inside.txt", []byte("inside\n")},
		named{"pub/my dir/one", []byte("1")}, named{"locked/kept.txt", []byte("kept\n")}, named{"closed/hidden.txt", []byte("hidden\n")})
	for _, dir := range []string{"pub/void", "in", "long"} {
		ok(os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	// More than all buffers on the way hold: it is cut in the middle.
	ok(os.WriteFile(filepath.Join(root, "long/zeros.bin"), nil, 0o644))
	ok(os.Truncate(filepath.Join(root, "long/zeros.bin"), 64<<20))
	ok(os.Symlink("file.txt", filepath.Join(root, "pub/link")))
	ok(os.Symlink("nowhere", filepath.Join(root, "pub/broken")))
	var all []string
	ok(filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	at := unix.NsecToTimeval(recordedTime.UnixNano())
	for _, path := range slices.Backward(all) {
		ok(os.Lchown(path, userID, userID))
		ok(unix.Lutimes(path, []unix.Timeval{at, at}))
	}
	ok(os.Chmod(filepath.Join(root, "pub/secret.txt"), 0))
	ok(os.Chmod(filepath.Join(root, "locked"), 0o555))
	ok(os.Chmod(filepath.Join(root, "closed"), 0))
}

// guests is the test of ftpclient that talks to servers, as a program.
var guests = sync.OnceValues(func() (string, error) {
	path := filepath.Join(workDir, "ftpclient.test")
	cmd := exec.Command("go", "test", "-c", "-o", path, "dray/ftpclient")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the tests of ftpclient: %w\n%s", err, out)
	}
	return path, nil
})

// What the real servers say to our client is what is recorded, and what the client
// makes of it is what the test of ftpclient wants, which plays the recordings where
// these servers are not.
func TestServersSayWhatIsRecorded(t *testing.T) {
	t.Parallel()
	for _, s := range recordedServers() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			needsRoot(t, s.name+" is recorded as another user")
			root := open(t)
			furnish(t, root)
			r := newRelay(t, s.visit(t, root).addr())
			if s.taken {
				occupy(t, r.to)
			}
			program, err := guests()
			if err != nil {
				t.Fatal(err)
			}
			guest := exec.Command(program, "-test.run", "^TestRecordedServers$", "-test.timeout", "90s", "-live", strings.Join([]string{s.name, r.addr(), r.marks.Addr().String()}, ","))
			guest.Dir = filepath.Join(recordings, "../..")
			out, err := guest.CombinedOutput()
			if err != nil {
				t.Errorf("our client with %s: %v\n%s", s.name, err, tail(string(out), 8000))
			}
			got := r.text()
			file := filepath.Join(recordings, s.name+".dialog")
			if *update {
				if t.Failed() {
					t.Logf("not written:\n%s", got)
					return
				}
				if err := os.WriteFile(file, fmt.Appendf(nil, recordingHead, filepath.Base(file), s.about, got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			differs(t, file, spoken(string(want)), spoken(got))
		})
	}
}

const recordingHead = `# %s — %s.
# Written by: go test ./interop -run TestServersSayWhatIsRecorded -update
%s`

// greeted is how servers name theirs in the greeting: another one that says the same
// need not be recorded again.
var greeted = regexp.MustCompile(`(?m)^(S: 220.*?)\d+\.\d+(\.\d+)*`)

// spoken are the lines of a recording that count.
func spoken(text string) []string {
	for strings.HasPrefix(text, "#") {
		_, text, _ = strings.Cut(text, "\n")
	}
	return strings.Split(greeted.ReplaceAllString(text, "${1}1.0"), "\n")
}

// differs fails at the first line that is another one.
func differs(t *testing.T, file string, want, got []string) {
	t.Helper()
	step := ""
	for i := range max(len(want), len(got)) {
		w, g := "(the end)", "(the end)"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if strings.HasPrefix(w, "STEP: ") {
			step = w
		}
		if w != g {
			t.Errorf("%s, %s: the dialogue goes on, behind\n%s\nwith\n%s\nwant\n%s\nWhere the server says other things now, record it again with -update.",
				file, step, strings.Join(want[max(0, i-5):i], "\n"), g, w)
			return
		}
	}
}

// A relay stands between the client and a server for FTP in clear text, and writes
// down what the two say and what goes over the data connections. It passes commands on
// one by one, so that they stand before their replies however many the client sends
// together.
type relay struct {
	t       *testing.T
	l       net.Listener
	marks   net.Listener // who connects here and says a name begins a step
	to      string
	mu      sync.Mutex
	quiet   *sync.Cond
	waiting int // lines that were not answered yet
	all     []*utterance
}

// An utterance is a command with its replies, or what begins or ends something.
type utterance struct {
	head    string
	replies []string
	moved   bool // there was a data connection
	up      bool // and the bytes are the client's
	data    []byte
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	r := &relay{t: t, to: to}
	r.quiet = sync.NewCond(&r.mu)
	var served sync.WaitGroup
	t.Cleanup(func() {
		_, _ = r.l.Close(), r.marks.Close()
		served.Wait()
	})
	for _, of := range []struct {
		l     *net.Listener
		serve func(net.Conn)
	}{{&r.l, r.serve}, {&r.marks, r.mark}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*of.l = l
		served.Go(func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				served.Go(func() {
					defer nc.Close()
					of.serve(nc)
				})
			}
		})
	}
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

// add counts lines that are to be answered, or that were.
func (r *relay) add(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting += n; r.waiting == 0 {
		r.quiet.Broadcast()
	}
}

func (r *relay) utter(head string) *utterance {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := &utterance{head: head}
	r.all = append(r.all, u)
	return u
}

// mark begins a step when everything that was said before it is answered.
func (r *relay) mark(nc net.Conn) {
	name, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil {
		r.t.Errorf("the name of a step: %v", err)
		return
	}
	r.mu.Lock()
	for r.waiting > 0 {
		r.quiet.Wait()
	}
	r.mu.Unlock()
	r.utter("STEP: " + strings.TrimSpace(name))
}

// text is the recording.
func (r *relay) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.waiting > 0 {
		r.quiet.Wait()
	}
	var b strings.Builder
	for _, u := range r.all {
		u.write(&b)
	}
	return b.String()
}

func (u *utterance) write(b *strings.Builder) {
	verb, _, _ := strings.Cut(u.head, " ")
	listing := verb == "LIST" || verb == "MLSD"
	switch {
	case strings.HasSuffix(verb, ":"):
		if verb == "STEP:" {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "%s\n", u.head)
	case !u.moved:
		fmt.Fprintf(b, "C: %s\n", u.head)
	case listing:
		fmt.Fprintf(b, "D: %s\n", u.head)
		for _, line := range listed(verb, string(u.data)) {
			fmt.Fprintf(b, "L: %s\n", line)
		}
	case u.up:
		fmt.Fprintf(b, "D: %s <<%s\n", u.head, quoted(u.data))
	default:
		fmt.Fprintf(b, "D: %s >>%s\n", u.head, quoted(u.data))
	}
	for _, line := range sober(u.replies) {
		fmt.Fprintf(b, "S: %s\n", steady(line))
	}
}

// sober are replies without the joke that Pure-FTPd makes in every hundredth second.
func sober(lines []string) []string {
	var out []string
	for _, line := range lines {
		if len(line) < 4 || line[4:] != "The computer is your friend. Trust the computer" {
			out = append(out, line)
			continue
		}
		if last := len(out) - 1; line[3] == ' ' && last >= 0 { // it was the end of its reply
			out[last] = out[last][:3] + " " + out[last][4:]
		}
	}
	return out
}

func TestAJokeIsNoPartOfADialogue(t *testing.T) {
	joke := "The computer is your friend. Trust the computer"
	for _, tt := range []struct{ in, want []string }{
		{[]string{"150-Accepted data connection", "150 " + joke, "226 done"}, []string{"150 Accepted data connection", "226 done"}},
		{[]string{"150-Accepted data connection", "150-" + joke, "150 9.0 kbytes to download"}, []string{"150-Accepted data connection", "150 9.0 kbytes to download"}},
		{[]string{"200 OK"}, []string{"200 OK"}},
	} {
		if got := sober(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("sober(%q) = %q; want %q", tt.in, got, tt.want)
		}
	}
}

// quoted is a content as it stands in dialogs.
func quoted(b []byte) string {
	if len(b) > 100 && bytes.Count(b, b[:1]) == len(b) {
		return fmt.Sprintf("%q*%d", b[:1], len(b))
	}
	return strconv.Quote(string(b))
}

// Parts of sentences that are others every time, and what stands for them.
var unsteady = []struct {
	is *regexp.Regexp
	as string
}{
	// pyftpdlib, which may have accepted the data connection already
	{regexp.MustCompile(`^150 File status okay\. About to open data connection\.$`), "125 Data connection already open. Transfer starting."},
	// Pure-FTPd
	{regexp.MustCompile(`Local time is now \d\d:\d\d\. Server port: \d+\.`), "Local time is now 12:00. Server port: 21."},
	{regexp.MustCompile(`user number \d+ of`), "user number 1 of"},
	{regexp.MustCompile(`[\d.]+ seconds \(measured here\), [\d.]+ \w?bytes per second`), "0.001 seconds (measured here), 1.00 Mbytes per second"},
	{regexp.MustCompile(`downloaded \d+ kbytes`), "downloaded 1025 kbytes"},
}

func steady(line string) string {
	for _, u := range unsteady {
		line = u.is.ReplaceAllString(line, u.as)
	}
	return facts(line)
}

var (
	unique    = regexp.MustCompile(`(?i)unique=[^;]*;`)
	dirSize   = regexp.MustCompile(`(?i)(siz[ed])=\d+;`)
	dirFact   = regexp.MustCompile(`(?i)type=[cp]?dir;`)
	dirListed = regexp.MustCompile(`^(d\S+) +\d+ (\S+ +\S+) ( *)\d+ `)
)

// facts is a line of MLSD or MLST without what the disk chooses.
func facts(line string) string {
	line = unique.ReplaceAllString(line, "unique=1;")
	if dirFact.MatchString(line) {
		line = dirSize.ReplaceAllString(line, "$1=4096;")
	}
	return line
}

// listed are the lines of a listing, without what the disk chooses: the order, where
// the server keeps it, numbers of inodes, and sizes of directories.
func listed(verb, text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		line = facts(strings.TrimRight(line, "\r\n"))
		lines = append(lines, dirListed.ReplaceAllString(line, "$1    2 $2         4096 "))
	}
	if verb == "MLSD" {
		slices.SortFunc(lines, func(a, b string) int {
			_, a, _ = strings.Cut(a, " ")
			_, b, _ = strings.Cut(b, " ")
			return strings.Compare(a, b)
		})
	}
	return lines
}

// A relayed is one control connection.
type relayed struct {
	*relay
	client, server net.Conn
	lines          chan string
	replies        chan []string
	data           *link
}

func (r *relay) serve(nc net.Conn) {
	r.add(1)
	first := r.utter("CONNECT:")
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		r.t.Error(err)
		r.add(-1)
		return
	}
	defer server.Close()
	_ = server.SetDeadline(time.Now().Add(2 * time.Minute))
	v := &relayed{relay: r, client: nc, server: server, lines: make(chan string, 1000), replies: make(chan []string, 1000)}
	defer func() { v.data.end() }()
	go v.hear()
	v.reply(first)
	go v.read()
	r.add(-1)
	for line := range v.lines {
		over := v.command(line)
		r.add(-1)
		if over {
			_ = nc.(*net.TCPConn).CloseWrite()
			for range v.lines {
				r.add(-1)
			}
		}
	}
}

// read reads what the client says. Lines that come together count together: no step
// begins between them.
func (v *relayed) read() {
	defer close(v.lines)
	var part []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := v.client.Read(buf)
		part = append(part, buf[:n]...)
		v.add(bytes.Count(part, []byte("\n")))
		for {
			line, rest, ok := bytes.Cut(part, []byte("\n"))
			if !ok {
				break
			}
			v.lines <- strings.TrimRight(string(line), "\r")
			part = rest
		}
		if err != nil {
			return
		}
	}
}

// hear reads what the server says.
func (v *relayed) hear() {
	defer close(v.replies)
	rd := bufio.NewReader(v.server)
	for {
		var reply []string
		for {
			line, err := rd.ReadString('\n')
			if err != nil {
				return
			}
			line = strings.TrimRight(line, "\r\n")
			reply = append(reply, line)
			if code := reply[0][:min(3, len(reply[0]))]; strings.HasPrefix(line, code+" ") {
				break
			}
		}
		v.replies <- reply
	}
}

// reply takes one reply, 0 when there is none any more.
func (v *relayed) reply(u *utterance) (code int) {
	reply, ok := <-v.replies
	if !ok {
		return 0
	}
	return v.pass(u, reply)
}

var passivePort = regexp.MustCompile(`^(227 \D*\d+,\d+,\d+,\d+,|229 .*\(\|\|\|)(\d+),?(\d*)`)

// pass writes a reply down and passes it on, with a port of ours.
func (v *relayed) pass(u *utterance, reply []string) (code int) {
	code, err := strconv.Atoi(reply[0][:min(3, len(reply[0]))])
	if err != nil {
		v.t.Errorf("a reply: %q", reply)
	}
	told := slices.Clone(reply)
	if m := passivePort.FindStringSubmatch(reply[0]); m != nil {
		port, _ := strconv.Atoi(m[2])
		if code == 227 {
			low, _ := strconv.Atoi(m[3])
			port = port<<8 | low
		}
		v.data.end()
		if v.data, err = v.link(port); err != nil {
			v.t.Error(err)
			_ = v.client.Close()
			return code
		}
		rest := reply[0][len(m[0]):]
		reply[0] = m[1] + "PORT" + rest
		ours := v.data.l.Addr().(*net.TCPAddr).Port
		if code == 227 {
			told[0] = fmt.Sprintf("%s%d,%d%s", m[1], ours>>8, ours&255, rest)
		} else {
			told[0] = fmt.Sprintf("%s%d%s", m[1], ours, rest)
		}
	}
	v.mu.Lock()
	u.replies = append(u.replies, reply...)
	v.mu.Unlock()
	// A client that went away has said what it wanted.
	_, _ = v.client.Write([]byte(strings.Join(told, "\r\n") + "\r\n"))
	return code
}

// command passes a command on, and returns when it is answered; over is a server that
// hung up.
func (v *relayed) command(line string) (over bool) {
	u := v.utter(line)
	if _, err := v.server.Write([]byte(line + "\r\n")); err != nil {
		return v.end(u)
	}
	for {
		var lines <-chan string // is heard while data moves: ABOR does not wait
		if u.moved {
			lines = v.lines
		}
		var reply []string
		var ok bool
		select {
		case reply, ok = <-v.replies:
			if !ok {
				return v.end(u)
			}
		case next, ok := <-lines:
			if !ok {
				v.t.Errorf("the client hangs up during %q", line)
				return true
			}
			defer v.add(-1)
			if next == "ABOR" {
				return v.abort(u)
			}
			v.t.Errorf("the client says %q during %q", next, line)
			return true
		}
		switch code := reply[0][:1]; {
		case code == "1":
			u.moved = true
			u.up = strings.HasPrefix(line, "STOR") || strings.HasPrefix(line, "APPE")
			v.pass(u, reply)
			continue
		case u.moved:
			u.data = v.data.wait(u.up)
			v.data = nil
		}
		v.pass(u, reply)
		return false
	}
}

// end is a server that has hung up without an answer.
func (v *relayed) end(u *utterance) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(u.replies) == 0 {
		v.all = slices.DeleteFunc(v.all, func(o *utterance) bool { return o == u })
	}
	v.all = append(v.all, &utterance{head: "END:"})
	return true
}

// abort ends a download in the middle: the server hears ABOR first and loses the data
// connection then. It answers once or twice; the NOOP behind it marks the end.
func (v *relayed) abort(of *utterance) (over bool) {
	select {
	case <-v.data.held:
	case <-time.After(10 * time.Second):
		v.t.Error("a download is ended that does not fill the buffers")
	}
	u := v.utter("ABOR")
	if _, err := v.server.Write([]byte("ABOR\r\n")); err != nil {
		return v.end(u)
	}
	cut := time.After(time.Second) // the client waits for two
	var noop *utterance
	for {
		select {
		case <-cut:
			of.data = v.data.cut()
			v.data = nil
		case line, ok := <-v.lines:
			if !ok {
				v.t.Error("the client hangs up behind ABOR")
				return true
			}
			defer v.add(-1)
			if line != "NOOP" {
				v.t.Errorf("the client says %q behind ABOR", line)
				return true
			}
			noop = v.utter(line)
			if v.data != nil {
				of.data = v.data.cut()
				v.data = nil
			}
			if _, err := v.server.Write([]byte(line + "\r\n")); err != nil {
				return v.end(u)
			}
		case reply, ok := <-v.replies:
			if !ok {
				return v.end(u)
			}
			if noop != nil && reply[0][:3] == "200" {
				v.pass(noop, reply)
				return false
			}
			v.pass(u, reply)
		}
	}
}

// A link is a data connection through the relay.
type link struct {
	t        *testing.T
	l        net.Listener
	server   net.Conn
	stop     chan struct{}
	over     chan struct{}
	held     chan struct{} // closed when nothing more is passed on
	up, down []byte
}

// recordedMost is how much of a download is passed on: what is longer waits for its
// ABOR.
const recordedMost = 1 << 20

func (v *relayed) link(port int) (*link, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{t: v.t, l: l, stop: make(chan struct{}), over: make(chan struct{}), held: make(chan struct{})}
	if k.server, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		_ = l.Close()
		return nil, err
	}
	go func() {
		defer close(k.over)
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer k.server.Close()
		var both sync.WaitGroup
		both.Go(func() { k.fetch(client) })
		both.Go(func() { k.send(client) })
		done := make(chan struct{})
		go func() {
			select {
			case <-k.stop:
			case <-done:
			}
			_ = client.Close()
		}()
		both.Wait()
		close(done)
	}()
	return k, nil
}

// fetch passes on what the server says when there is all of it, or all that is passed
// on and the server can say no more: then it stands still when the client ends it,
// whatever else this machine does.
func (k *link) fetch(client net.Conn) {
	var err error
	k.down, err = io.ReadAll(io.LimitReader(k.server, recordedMost))
	whole := len(k.down) < recordedMost
	if !whole {
		k.standstill()
	}
	_, _ = client.Write(k.down) // who has gone wants no more of it
	if whole || err != nil {
		_ = client.(*net.TCPConn).CloseWrite()
		return
	}
	close(k.held)
	<-k.stop
}

// standstill returns when the buffers between the server and us have been full for
// half a second.
func (k *link) standstill() {
	var last string
	since := time.Now()
	for start := since; time.Since(since) < 500*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		queued := unsent(k.t, k.server)
		switch {
		case time.Since(start) > 20*time.Second:
			k.t.Error("a download is ended that does not fill the buffers")
			return
		case queued != last, queued == "":
			last, since = queued, time.Now()
		}
	}
}

// unsent is what the kernel holds of what the other side of c, which is on this
// machine, has sent, "" when there is no such side. It is a number that is only
// compared.
func unsent(t *testing.T, c net.Conn) string {
	all, err := sockets()
	if err != nil {
		t.Error(err)
		return ""
	}
	at := func(a net.Addr) string { return fmt.Sprintf(":%04X", a.(*net.TCPAddr).Port) }
	for _, f := range all {
		if strings.HasSuffix(f[1], at(c.RemoteAddr())) && strings.HasSuffix(f[2], at(c.LocalAddr())) {
			queued, _, _ := strings.Cut(f[4], ":")
			return queued
		}
	}
	return ""
}

// send passes on what the client says, and that it is all.
func (k *link) send(client net.Conn) {
	var said bytes.Buffer
	_, _ = io.Copy(k.server, io.TeeReader(client, &said)) // the server says why it ends
	k.up = said.Bytes()
	_ = k.server.(*net.TCPConn).CloseWrite()
}

// wait is what went over k, when all of it has.
func (k *link) wait(up bool) []byte {
	select {
	case <-k.over:
	case <-time.After(10 * time.Second):
		k.t.Error("a data connection does not end")
		k.end()
	}
	_ = k.l.Close()
	if up {
		return k.up
	}
	return k.down
}

// cut resets what the server sends on.
func (k *link) cut() []byte {
	_ = k.server.(*net.TCPConn).SetLinger(0)
	_ = k.server.Close()
	close(k.stop)
	return k.wait(false)
}

// end ends a data connection that nobody used.
func (k *link) end() {
	if k == nil {
		return
	}
	_ = k.l.Close()
	_ = k.server.Close()
	select {
	case <-k.stop:
	default:
		close(k.stop)
	}
	<-k.over
}
