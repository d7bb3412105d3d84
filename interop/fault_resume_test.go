//go:build linux

package interop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// resumers are the clients that go on with an upload.
var resumers = []struct {
	name   string
	resume func(t *testing.T, p *play, name string) (string, error)
}{
	{"curl", func(_ *testing.T, p *play, name string) (string, error) {
		return p.try("curl", p.curlArgs("-v", "-C", "-", "-T", "up.bin", p.url(name))...)
	}},
	{"lftp", func(t *testing.T, p *play, name string) (string, error) {
		return p.try("lftp", "-d", "-f", p.lftpScript(t, "put -c up.bin -o "+name))
	}},
}

// cutUpload sends the first n bytes of b as an upload to name that is cut, and
// returns the size of what the server has kept.
func (p *play) cutUpload(t *testing.T, name string, b []byte, n int) int64 {
	t.Helper()
	before := onDisk(t, p.root)
	j := p.journal()
	seen, err := j.from(0)
	if err != nil {
		t.Fatal(err)
	}
	v, err := visit(t.Context(), net.JoinHostPort(p.host, p.port), nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := v.open(t.Context(), "STOR "+name)
	if err != nil {
		t.Fatal(err)
	}
	// In two parts 50 ms apart: the server gives uploads below 20 ms no grace.
	if _, err := data.Write(b[:n/2]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if _, err := data.Write(b[n/2 : n]); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); onDisk(t, p.root) < before+int64(n); {
		if time.Now().After(end) {
			t.Fatal("the bytes never reached the disk")
		}
		time.Sleep(5 * time.Millisecond)
	}
	killHolder(t, data, v.nc)
	for end := time.Now().Add(20 * time.Second); ; {
		lines, err := j.from(len(seen))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if strings.Contains(line, `msg="upload done"`) && strings.Contains(line, name) {
				t.Fatalf("a cut upload is called finished: %s", line)
			}
			if strings.Contains(line, `msg="upload cut"`) && strings.Contains(line, name) {
				return number(line, "kept")
			}
		}
		if time.Now().After(end) {
			t.Fatal("the server never saw the cut")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// killHolder ends connections as a killed client's end: by the kernel, in the
// order in which they are given. Two calls of Close on a busy host come further
// apart than the server waits: 11 of 1,080 at a load of 18, and none of 1,080
// killed processes.
func killHolder(t *testing.T, conns ...net.Conn) {
	t.Helper()
	holder := exec.Command("sleep", "600")
	for _, nc := range conns {
		f, err := nc.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		holder.ExtraFiles = append(holder.ExtraFiles, f)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	for i, nc := range conns {
		_ = nc.Close()
		_ = holder.ExtraFiles[i].Close()
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
}

// Whatever was cut, also when every byte had come, no client that resumes takes
// it for complete, and each ends with the whole file.
func TestAResumedUploadEndsWhole(t *testing.T) {
	t.Parallel()
	up := file{"to be resumed", 5<<20 + 3}
	for _, r := range resumers {
		for what, n := range map[string]int{
			"in the middle":         up.size / 2,
			"one byte before end":   up.size - 1,
			"with every byte sent":  up.size,
			"with hardly a byte":    1000,
			"below the end by tail": up.size - 4096,
		} {
			t.Run(r.name+" after a cut "+what, func(t *testing.T) {
				t.Parallel()
				peer(t, r.name)
				p := newPlay(t, way{"IPv4", "passive", "plain"}, "--sync", "none")
				plant(t, p.local, up.as("up.bin"))
				kept := p.cutUpload(t, "up.bin", up.content(), n)
				if want := int64(max(0, n-4096)); kept != want {
					t.Errorf("of %d bytes %d are kept; want %d", n, kept, want)
				}
				out, err := r.resume(t, p, "up.bin")
				if err != nil {
					t.Errorf("%s: %v\n%s", r.name, err, tail(out, 3000))
				}
				same(t, p.root, treeOf(up.as("up.bin")))
			})
		}
	}
}

// A cut upload of A to the name of a finished file B, and then a resume: the
// name holds B or the whole of A afterwards, never the head of one and the tail
// of the other.
func TestAResumeOntoAReplacedFileNeverMixes(t *testing.T) {
	t.Parallel()
	a := file{"file A", 5<<20 + 3}
	for _, r := range resumers {
		for what, size := range map[string]int{
			"a shorter old file": 1 << 20, "a longer old file": 7 << 20, "an old file of the same size": a.size,
			"an old file of the size of the partial": a.size/2 - 4096,
		} {
			t.Run(r.name+" onto "+what, func(t *testing.T) {
				t.Parallel()
				peer(t, r.name)
				p := newPlay(t, way{"IPv4", "passive", "plain"}, "--sync", "none")
				b := file{"file B", size}
				plant(t, p.local, a.as("up.bin"))
				plant(t, p.root, b.as("up.bin"))
				if kept := p.cutUpload(t, "up.bin", a.content(), a.size/2); kept != int64(a.size/2-4096) {
					t.Errorf("%d bytes are kept; want %d", kept, a.size/2-4096)
				}
				if got := scan(t, p.root)["up.bin"]; got != sum(b.content()) {
					t.Fatalf("after the cut: %s; want the old file", got)
				}
				out, err := r.resume(t, p, "up.bin")
				got := scan(t, p.root)["up.bin"]
				switch {
				case got == sum(a.content()):
				case got == sum(b.content()) && (err != nil || size >= a.size):
					// Refused; or the client compared sizes and sent nothing.
				default:
					t.Errorf("the name holds %s, the client ended with %v; want A, %s, or an error and B, %s\n%s",
						got, err, sum(a.content()), sum(b.content()), tail(out, 3000))
				}
				t.Logf("%v; holds %s", err, map[string]string{sum(a.content()): "A", sum(b.content()): "B"}[got])
				// The way out that every client has: from the start.
				p.run(t, "curl", p.curlArgs("-T", "up.bin", p.url("up.bin"))...)
				same(t, p.root, treeOf(a.as("up.bin")))
			})
		}
	}
}

// A breaker is a proxy of control connections that drops the first of them in
// the middle of an upload and lets the others be.
type breaker struct {
	l      net.Listener
	server string
	// at is the reply to the first upload that drops the connection: "226" never
	// reaches the client; after "150" it is dropped a little later.
	at string

	mu    sync.Mutex
	broke bool
}

func (b *breaker) run() {
	for {
		client, err := b.l.Accept()
		if err != nil {
			return // the test has ended
		}
		go b.serve(client)
	}
}

func (b *breaker) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", b.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	rd := bufio.NewReader(server)
	uploading := false
	for {
		line, err := rd.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "150 ") {
			uploading = true
		}
		if uploading && strings.HasPrefix(line, b.at+" ") {
			b.mu.Lock()
			first := !b.broke
			b.broke = true
			b.mu.Unlock()
			if first && b.at == "226" {
				return
			}
			if first {
				time.AfterFunc(300*time.Millisecond, func() {
					_ = client.Close()
					_ = server.Close()
				})
			}
		}
		if _, err := io.WriteString(client, line); err != nil {
			return
		}
	}
}

// The network takes the reply away, or the control connection in the middle of
// the data: the client that tries again ends with the whole file.
func TestALostReplyIsNoLostUpload(t *testing.T) {
	t.Parallel()
	up := file{"lost reply", 5<<20 + 3}
	for _, r := range resumers {
		for at, rate := range map[string]string{"226": "100M", "150": "5M"} {
			t.Run(r.name+" without its "+at, func(t *testing.T) {
				t.Parallel()
				peer(t, r.name)
				peer(t, "curl")
				p := newPlay(t, way{"IPv4", "passive", "plain"})
				plant(t, p.local, up.as("up.bin"))
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				b := &breaker{l: l, server: net.JoinHostPort(p.host, p.port), at: at}
				go b.run()
				if p.host, p.port, err = net.SplitHostPort(l.Addr().String()); err != nil {
					t.Fatal(err)
				}
				out, err := p.try("curl", p.curlArgs("--limit-rate", rate, "-T", "up.bin", p.url("up.bin"))...)
				if err == nil {
					t.Errorf("curl knows nothing of its lost reply\n%s", out)
				}
				j := p.journal()
				line, err := j.await(t.Context(), regexp.MustCompile(`msg="upload (cut|done)"`), 10*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				shown, _ := namesIn(t, p.root)
				done := at == "226"
				if strings.Contains(line, `msg="upload done"`) != done || (len(shown) == 1) != done {
					t.Errorf("after the %s was lost the directory shows %q, and the log says %s", at, shown, line)
				}
				if out, err = r.resume(t, p, "up.bin"); err != nil {
					t.Errorf("%s: %v\n%s", r.name, err, tail(out, 3000))
				}
				same(t, p.root, treeOf(up.as("up.bin")))
			})
		}
	}
}

// lftp tries again by itself when it loses the connection; it, too, ends with
// the whole file.
func TestLftpByItselfAfterALostReply(t *testing.T) {
	t.Parallel()
	up := file{"lost reply", 5<<20 + 3}
	for _, at := range []string{"226", "150"} {
		t.Run("without its "+at, func(t *testing.T) {
			t.Parallel()
			peer(t, "lftp")
			p := newPlay(t, way{"IPv4", "passive", "plain"})
			plant(t, p.local, up.as("up.bin"))
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go (&breaker{l: l, server: net.JoinHostPort(p.host, p.port), at: at}).run()
			if p.host, p.port, err = net.SplitHostPort(l.Addr().String()); err != nil {
				t.Fatal(err)
			}
			out, err := p.try("lftp", "-d", "-f", p.lftpScript(t,
				"set net:limit-rate 0:5000000", "set net:limit-max 1000000", "set net:max-retries 4", "put up.bin"))
			if err != nil {
				t.Errorf("lftp: %v\n%s", err, tail(out, 3000))
			}
			same(t, p.root, treeOf(up.as("up.bin")))
		})
	}
}

// An upload that runs does not look finished to anybody, and its length is told
// to nobody.
func TestARunningUploadIsSeenByNobody(t *testing.T) {
	t.Parallel()
	p := newPlay(t, way{"IPv4", "passive", "plain"})
	addr := net.JoinHostPort(p.host, p.port)
	writing, err := visit(t.Context(), addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer writing.hangUp()
	data, err := writing.open(t.Context(), "STOR running.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer data.Close()
	b := file{"running", 2 << 20}.content()
	if _, err := data.Write(b[:1<<20]); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); onDisk(t, p.root) < 1<<20; {
		if time.Now().After(end) {
			t.Fatal("the upload never reached the disk")
		}
		time.Sleep(5 * time.Millisecond)
	}
	other, err := visit(t.Context(), addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer other.hangUp()
	for _, verb := range []string{"SIZE", "MDTM", "MLST", "DELE", "RNFR"} {
		if err := other.ask(verb+" running.bin", 550); err != nil {
			t.Errorf("while the upload runs: %v; want 550", err)
		}
	}
	for verb, want := range map[string]int{"LIST": 0, "NLST": 0, "MLSD": 1} { // MLSD: the directory itself
		if n, err := other.lines(t.Context(), verb); n != want || err != nil {
			t.Errorf("while the upload runs %s shows %d lines, %v; want %d", verb, n, err, want)
		}
	}
	_, hidden := namesIn(t, p.root)
	if len(hidden) != 1 || !runningName.MatchString(hidden[0]) {
		t.Fatalf("on the disk is %q; want the hidden name of a running upload", hidden)
	}
	for _, line := range []string{"SIZE", "DELE", "RNFR", "MLST", "MDTM", "SITE CHMOD 777"} {
		err := other.ask(line+" "+hidden[0], 553)
		var a *answer
		if err != nil && (!errors.As(err, &a) || a.code/100 != 5) {
			t.Errorf("%s of the hidden name: %v; want a refusal", line, err)
		}
	}
	for _, line := range []string{"RETR", "STOR", "APPE"} {
		nc, err := other.passive(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := other.ask(line+" "+hidden[0], 553); err != nil {
			t.Errorf("%s of the hidden name: %v; want 553", line, err)
		}
		_ = nc.Close()
	}
	if _, err := data.Write(b[1<<20:]); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(finish(data), writing.expect("STOR", 226)); err != nil {
		t.Fatal(err)
	}
	same(t, p.root, treeOf(named{"running.bin", b}))
	if err := other.say("SIZE running.bin"); err != nil {
		t.Fatal(err)
	}
	if code, text, err := other.reply(); code != 213 || text != fmt.Sprint(len(b)) || err != nil {
		t.Errorf("SIZE afterwards: %d %s, %v", code, text, err)
	}
}
