package ftpclient

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/ftp"
	"dray/transfer"
)

// live is a server to take the steps with, in place of its recording: the name of the
// recording, the address, and an address that is told the name of each step. Package
// interop records so.
var live = flag.String("live", "", "take the steps of TestRecordedServers with a `server`: NAME,ADDRESS,MARKS")

// The login of the recorded servers.
const (
	recordedUser     = "dray"
	recordedPassword = "correct-horse-9"
)

// An outcome is what the client made of something: some words, or a refusal.
type outcome struct {
	text string
	kind fault.Kind
	id   fault.ID
}

func (o outcome) String() string {
	if o.id != "" {
		return fmt.Sprintf("%s (kind %d)", o.id, o.kind)
	}
	return o.text
}

func comesTo(text string) outcome { return outcome{text: text} }

// The refusals.
var (
	isMissing  = outcome{kind: fault.NotFound, id: fault.IDNotFound}
	isDenied   = outcome{kind: fault.Denied, id: fault.IDPerm}
	isThere    = outcome{kind: fault.Exists, id: fault.IDExists}
	isDir      = outcome{kind: fault.IsDir, id: fault.IDIsDir}
	isNoDir    = outcome{kind: fault.NotDir, id: fault.IDNotDir}
	isNotEmpty = outcome{kind: fault.NotEmpty, id: fault.IDNotEmpty}
)

// A tour is the way through the steps with one server.
type tour struct {
	t    *testing.T
	name string
	addr string
	c    *Conn
}

// A step is something that the client is asked to do.
type step struct {
	name string
	do   func(r *tour) (string, error)
	want outcome
	but  []exception
}

// An exception is a server with which a step comes to something else.
type exception struct {
	server string
	want   outcome
	why    string
}

func (s *step) wanted(server string) outcome {
	for _, e := range s.but {
		if e.server == server {
			return e.want
		}
	}
	return s.want
}

func (r *tour) login(opt Options) error {
	opt.Addr, opt.Plain, opt.Keepalive, opt.Timeout = r.addr, opt.Mode != TLSRequire, -1, 20*time.Second
	if opt.User == "" {
		opt.User = recordedUser
	}
	if opt.Password.Reveal() == "" {
		opt.Password = account.NewSecret(recordedPassword)
	}
	c, err := Dial(within(r.t), opt)
	if err == nil {
		r.c = c
		r.t.Cleanup(func() { c.Close() })
	}
	return err
}

// The following make steps of what is done with a path.

func enters(opt Options) func(*tour) (string, error) {
	return func(r *tour) (string, error) {
		if err := r.login(opt); err != nil {
			return "", err
		}
		var has []string
		for _, f := range []string{"EPSV", "MDTM", "MFMT", "MLST", "REST", "SIZE", "UTF8"} {
			if r.c.Features().Has(f) {
				has = append(has, f)
			}
		}
		return strings.Join(has, " "), nil
	}
}

func lists(path string) func(*tour) (string, error) {
	return func(r *tour) (string, error) {
		var all []string
		for l, err := range r.c.List(within(r.t), path) {
			if err != nil {
				return "", err
			}
			all = append(all, told(l))
		}
		slices.Sort(all)
		return strings.Join(all, "\n"), nil
	}
}

// told is a Listed in one line.
func told(l ftp.Listed) string {
	s := l.Name + ":"
	switch {
	case !l.Is(ftp.KnownType):
		s += " something"
	case l.Mode.IsDir():
		s += " directory"
	case l.Mode&fs.ModeSymlink != 0:
		s += " link to " + strconv.Quote(l.Target)
	default:
		s += " file"
	}
	if l.Is(ftp.KnownSize) && !l.Mode.IsDir() {
		s += fmt.Sprintf(" of %d bytes", l.Size)
	}
	if l.Is(ftp.KnownTime) {
		s += fmt.Sprintf(" at %s ±%v", l.Time.UTC().Format(time.DateTime), l.Step)
	}
	if l.Is(ftp.KnownMode) {
		s += fmt.Sprintf(" %03o", l.Mode.Perm())
	}
	return s
}

func stats(path string) func(*tour) (string, error) {
	return func(r *tour) (string, error) {
		l, err := r.c.Stat(within(r.t), path)
		return told(l), err
	}
}

func sizes(path string) func(*tour) (string, error) {
	return func(r *tour) (string, error) {
		n, err := r.c.Size(within(r.t), path)
		return strconv.FormatInt(n, 10), err
	}
}

func times(path string) func(*tour) (string, error) {
	return func(r *tour) (string, error) {
		at, err := r.c.ModTime(within(r.t), path)
		return at.UTC().Format(time.DateTime), err
	}
}

func gets(path string, from int64) func(*tour) (string, error) {
	return func(r *tour) (string, error) {
		dst := &sink{at: from}
		_, err := r.c.Receive(within(r.t), path, Get{From: from, Size: -1}, dst, none)
		return fmt.Sprintf("%q", dst.b[min(from, int64(len(dst.b))):]), err
	}
}

// puts also says what the file holds then.
func puts(path, content string, how Put) func(*tour) (string, error) {
	return func(r *tour) (string, error) {
		if _, err := r.c.Send(within(r.t), path, how, from([]byte(content)), none); err != nil {
			return "", err
		}
		return gets(path, 0)(r)
	}
}

func does(what func(r *tour) error) func(*tour) (string, error) {
	return func(r *tour) (string, error) { return "done", what(r) }
}

func enough(r *tour) (string, error) {
	const some = 512 << 10 // less than was recorded: the client reads ahead
	_, err := r.c.Receive(within(r.t), "/long/zeros.bin", Get{Size: 64 << 20}, &full{most: some}, transfer.Options{})
	if !errors.Is(err, errFull) {
		return "", fmt.Errorf("%w; want our own error", err)
	}
	return "usable", r.c.Noop(within(r.t))
}

// A full is a Dest that has no room for more than so much.
type full struct {
	sink
	most int
}

var errFull = errors.New("there is room for no more")

func (f *full) WriteAt(b []byte, at int64) (int, error) {
	n, _ := f.sink.WriteAt(b, at)
	if len(f.b) >= f.most {
		return n, errFull
	}
	return n, nil
}

// The directory that is listed, by MLSD and by LIST.
const (
	recordedListing = `a blank.txt: file of 6 bytes at 2021-01-02 12:04:05 ±1s 644
broken: link to "" of 7 bytes at 2021-01-02 12:04:05 ±1s 777
dir: directory at 2021-01-02 12:04:05 ±1s 755
empty.txt: file of 0 bytes at 2021-01-02 12:04:05 ±1s 644
file.txt: file of 13 bytes at 2021-01-02 12:04:05 ±1s 644
grüße.txt: file of 8 bytes at 2021-01-02 12:04:05 ±1s 644
link: link to "" of 8 bytes at 2021-01-02 12:04:05 ±1s 777
my dir: directory at 2021-01-02 12:04:05 ±1s 755
secret.txt: file of 7 bytes at 2021-01-02 12:04:05 ±1s 000
void: directory at 2021-01-02 12:04:05 ±1s 755`
	recordedList = `a blank.txt: file of 6 bytes at 2021-01-02 00:00:00 ±24h0m0s 644
broken: link to "nowhere" of 7 bytes at 2021-01-02 00:00:00 ±24h0m0s 777
dir: directory at 2021-01-02 00:00:00 ±24h0m0s 755
empty.txt: file of 0 bytes at 2021-01-02 00:00:00 ±24h0m0s 644
file.txt: file of 13 bytes at 2021-01-02 00:00:00 ±24h0m0s 644
grüße.txt: file of 8 bytes at 2021-01-02 00:00:00 ±24h0m0s 644
link: link to "file.txt" of 8 bytes at 2021-01-02 00:00:00 ±24h0m0s 777
my dir: directory at 2021-01-02 00:00:00 ±24h0m0s 755
secret.txt: file of 7 bytes at 2021-01-02 00:00:00 ±24h0m0s 000
void: directory at 2021-01-02 00:00:00 ±24h0m0s 755`
)

// without is a listing without some names.
func without(listing string, names ...string) string {
	lines := slices.DeleteFunc(strings.Split(listing, "\n"), func(line string) bool {
		name, _, _ := strings.Cut(line, ":")
		return slices.Contains(names, name)
	})
	return strings.Join(lines, "\n")
}

func recordedSteps() []step {
	set := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	return []step{
		{"a wrong password", enters(Options{Password: account.NewSecret("wrong")}), outcome{kind: fault.NotLoggedIn, id: fault.IDAuth}, nil},
		{"a user who is not there", enters(Options{User: "nobody-here"}), outcome{kind: fault.NotLoggedIn, id: fault.IDAuth}, nil},
		{"a stranger", enters(Options{User: "anonymous", Password: account.NewSecret("a@example.net")}), outcome{kind: fault.NotLoggedIn, id: fault.IDAuth}, nil},
		{"TLS is wanted", enters(Options{Mode: TLSRequire}), outcome{kind: fault.NeedTLS, id: fault.IDTLSMissing}, nil},
		{"the right password", enters(Options{}), comesTo("EPSV MDTM MFMT MLST REST SIZE UTF8"), []exception{
			{"vsftpd", comesTo("EPSV MDTM REST SIZE"), "it has no more"},
		}},
		{"where we are", func(r *tour) (string, error) { return r.c.Pwd(within(r.t)) }, comesTo("/"), nil},

		{"a directory", lists("/pub"), comesTo(recordedListing), []exception{
			{"vsftpd", comesTo(recordedList), "LIST has the days of old files, and where links lead to"},
			{"proftpd", comesTo(without(recordedListing, "broken")), "it shows no links to nowhere"},
			{"pyftpdlib", comesTo(strings.Replace(without(recordedListing, "broken"), `link to "" of 8 bytes at 2021-01-02 12:04:05 ±1s 777`, "file of 13 bytes at 2021-01-02 12:04:05 ±1s 644", 1)), "it shows what links lead to"},
		}},
		{"an empty directory", lists("/pub/void"), comesTo(""), nil},
		{"a directory with a blank in its name", lists("/pub/my dir"), comesTo("one: file of 1 bytes at 2021-01-02 12:04:05 ±1s 644"), []exception{
			{"vsftpd", comesTo("one: file of 1 bytes at 2021-01-02 00:00:00 ±24h0m0s 644"), "LIST has days"},
		}},
		{"a directory that is missing", lists("/pub/nothing"), isMissing, nil},
		{"the directory is a file", lists("/pub/file.txt"), isNoDir, nil},
		{"a directory that may not be read", lists("/closed"), isDenied, nil},

		{"what a file is", stats("/pub/file.txt"), comesTo("file.txt: file of 13 bytes at 2021-01-02 12:04:05 ±1s 644"), []exception{
			{"vsftpd", comesTo("file.txt: file of 13 bytes at 2021-01-02 12:04:05 ±1s"), "SIZE and MDTM tell no mode"},
		}},
		{"what a directory is", stats("/pub/dir"), comesTo("dir: directory at 2021-01-02 12:04:05 ±1s 755"), []exception{
			{"vsftpd", comesTo("dir: directory"), "CWD tells no more"},
		}},
		{"what a link is", stats("/pub/link"), comesTo("link: file of 13 bytes at 2021-01-02 12:04:05 ±1s 644"), []exception{
			{"vsftpd", comesTo("link: file of 13 bytes at 2021-01-02 12:04:05 ±1s"), "SIZE and MDTM tell no mode"},
			{"proftpd", comesTo("link: file of 13 bytes at 2021-01-02 12:04:05 ±1s"), "SIZE and MDTM tell no mode, and MLST does not follow links"},
			{"pure-ftpd", comesTo("link: file of 13 bytes at 2021-01-02 12:04:05 ±1s"), "SIZE and MDTM tell no mode, and MLST does not follow links"},
		}},
		{"what a link to nowhere is", stats("/pub/broken"), isMissing, []exception{
			{"vsftpd", comesTo("broken: link to \"nowhere\" of 7 bytes at 2021-01-02 00:00:00 ±24h0m0s 777"), "it is found in the listing"},
			{"pure-ftpd", comesTo("broken: link to \"\" of 7 bytes at 2021-01-02 12:04:05 ±1s 777"), "MLST does not follow links"},
		}},
		{"what a name with an umlaut is", stats("/pub/grüße.txt"), comesTo("grüße.txt: file of 8 bytes at 2021-01-02 12:04:05 ±1s 644"), []exception{
			{"vsftpd", comesTo("grüße.txt: file of 8 bytes at 2021-01-02 12:04:05 ±1s"), "SIZE and MDTM tell no mode"},
		}},
		{"what nothing is", stats("/pub/nothing"), isMissing, nil},
		{"what is in a directory that may not be read", stats("/closed/hidden.txt"), isDenied, []exception{
			{"pure-ftpd", isMissing, "MLST: Can't check for file existence"},
		}},
		{"the size of a file", sizes("/pub/file.txt"), comesTo("13"), nil},
		{"the size of a directory", sizes("/pub/dir"), isDir, nil},
		{"the size of nothing", sizes("/pub/nothing"), isMissing, nil},
		{"the time of a file", times("/pub/file.txt"), comesTo("2021-01-02 12:04:05"), nil},
		{"the time of nothing", times("/pub/nothing"), isMissing, nil},

		{"a file", gets("/pub/file.txt", 0), comesTo(`"hello, world\n"`), nil},
		{"an empty file", gets("/pub/empty.txt", 0), comesTo(`""`), nil},
		{"a file with a blank in its name", gets("/pub/a blank.txt", 0), comesTo(`"blank\n"`), nil},
		{"a file with an umlaut in its name", gets("/pub/grüße.txt", 0), comesTo(`"Grüße\n"`), nil},
		{"the end of a file", gets("/pub/file.txt", 7), comesTo(`"world\n"`), nil},
		{"what is behind the end of a file", gets("/pub/file.txt", 13), comesTo(`""`), nil},
		{"a missing file", gets("/pub/nothing", 0), isMissing, nil},
		{"a directory in place of a file", gets("/pub/dir", 0), isDir, nil},
		{"a file that may not be read", gets("/pub/secret.txt", 0), isDenied, nil},
		{"the rest of a missing file", gets("/pub/nothing", 7), isMissing, nil},
		{"a download that ends early", enough, comesTo("usable"), nil},

		{"a new file", puts("/in/new.txt", "0123456789", Put{}), comesTo(`"0123456789"`), nil},
		{"the rest of it", puts("/in/new.txt", "0123456789abcdef", Put{From: 10}), comesTo(`"0123456789abcdef"`), nil},
		{"more at its end", puts("/in/new.txt", "!", Put{Append: true}), comesTo(`"0123456789abcdef!"`), nil},
		{"another one in its place", puts("/in/new.txt", "other", Put{}), comesTo(`"other"`), nil},
		{"an empty one", puts("/in/void.txt", "", Put{}), comesTo(`""`), nil},
		{"one with a blank and an umlaut in its name", puts("/in/grüne Äpfel.txt", "apples", Put{}), comesTo(`"apples"`), nil},
		{"a file where we may not write", puts("/locked/new.txt", "new", Put{}), isDenied, nil},
		{"a file in place of a directory", puts("/pub/dir", "new", Put{}), isDir, []exception{
			{"vsftpd", isDenied, "553 Could not create file, whatever is in the way"},
		}},
		{"a file in a missing directory", puts("/in/nothing/new.txt", "new", Put{}), isMissing, []exception{
			{"vsftpd", isDenied, "553 Could not create file, whatever is in the way"},
		}},
		{"the end of a file that may not be written", puts("/pub/secret.txt", "new", Put{Append: true}), isDenied, nil},

		{"a mode", does(func(r *tour) error { return r.c.Chmod(within(r.t), "/in/new.txt", 0o640) }), comesTo("done"), nil},
		{"a mode of nothing", does(func(r *tour) error { return r.c.Chmod(within(r.t), "/pub/nothing", 0o640) }), isMissing, nil},
		{"a time", func(r *tour) (string, error) {
			if err := r.c.SetTime(within(r.t), "/in/new.txt", set); err != nil {
				return "", err
			}
			return times("/in/new.txt")(r)
		}, comesTo("2001-02-03 04:05:06"), nil},
		{"a time of nothing", does(func(r *tour) error { return r.c.SetTime(within(r.t), "/pub/nothing", set) }), isMissing, nil},

		{"another name", does(func(r *tour) error { return r.c.Rename(within(r.t), "/in/new.txt", "/in/old.txt") }), comesTo("done"), nil},
		{"another name for nothing", does(func(r *tour) error { return r.c.Rename(within(r.t), "/pub/nothing", "/in/other.txt") }), isMissing, nil},
		{"another name in a missing directory", does(func(r *tour) error { return r.c.Rename(within(r.t), "/in/old.txt", "/in/nothing/old.txt") }), isMissing, nil},
		{"another name where we may not write", does(func(r *tour) error { return r.c.Rename(within(r.t), "/in/old.txt", "/locked/old.txt") }), isDenied, nil},
		{"a name that is a directory", does(func(r *tour) error { return r.c.Rename(within(r.t), "/in/old.txt", "/pub/dir") }), isDir, []exception{
			{"proftpd", isDenied, "RNTO: Operation not permitted"},
		}},

		{"all that an upload gets", func(r *tour) (string, error) {
			done, err := r.c.Finish(within(r.t), "/in/old.txt", Finish{Mode: 0o600, Time: set, Name: "/in/last.txt"})
			return fmt.Sprint(done.Mode, done.Time, done.Name), err
		}, comesTo("<nil> <nil> <nil>"), nil},

		{"a new directory", does(func(r *tour) error { return r.c.Mkdir(within(r.t), "/in/dir") }), comesTo("done"), nil},
		{"a directory that is there", does(func(r *tour) error { return r.c.Mkdir(within(r.t), "/pub/dir") }), isThere, nil},
		{"a directory in a missing one", does(func(r *tour) error { return r.c.Mkdir(within(r.t), "/pub/nothing/dir") }), isMissing, nil},
		{"a directory where we may not write", does(func(r *tour) error { return r.c.Mkdir(within(r.t), "/locked/dir") }), isDenied, nil},
		{"a directory goes", does(func(r *tour) error { return r.c.RemoveDir(within(r.t), "/in/dir") }), comesTo("done"), nil},
		{"a directory that is not empty", does(func(r *tour) error { return r.c.RemoveDir(within(r.t), "/pub/dir") }), isNotEmpty, nil},
		{"a missing directory goes", does(func(r *tour) error { return r.c.RemoveDir(within(r.t), "/pub/nothing") }), isMissing, nil},
		{"a file goes as a directory", does(func(r *tour) error { return r.c.RemoveDir(within(r.t), "/pub/file.txt") }), isNoDir, nil},
		{"a file goes", does(func(r *tour) error { return r.c.Remove(within(r.t), "/in/last.txt") }), comesTo("done"), nil},
		{"a missing file goes", does(func(r *tour) error { return r.c.Remove(within(r.t), "/pub/nothing") }), isMissing, nil},
		{"a directory goes as a file", does(func(r *tour) error { return r.c.Remove(within(r.t), "/pub/dir") }), isDir, nil},
		{"a file goes where we may not write", does(func(r *tour) error { return r.c.Remove(within(r.t), "/locked/kept.txt") }), isDenied, nil},

		{"into a directory", func(r *tour) (string, error) {
			if err := r.c.Cwd(within(r.t), "/pub/my dir"); err != nil {
				return "", err
			}
			return r.c.Pwd(within(r.t))
		}, comesTo("/pub/my dir"), nil},
		{"into nothing", does(func(r *tour) error { return r.c.Cwd(within(r.t), "/pub/nothing") }), isMissing, nil},
		{"into a file", does(func(r *tour) error { return r.c.Cwd(within(r.t), "/pub/file.txt") }), isNoDir, nil},

		{"a command that nobody knows", func(r *tour) (string, error) {
			reply, err := r.c.Quote(within(r.t), "XYZZY now")
			return strconv.Itoa(int(reply.Code)), err
		}, comesTo("500"), nil},
		{"the end", does(func(r *tour) error { return r.c.Quit(within(r.t)) }), comesTo("done"), nil},

		{"PASV", func(r *tour) (string, error) {
			m := &Memory{}
			m.SetEPSV(false)
			if err := r.login(Options{Memory: m}); err != nil {
				return "", err
			}
			return gets("/pub/file.txt", 0)(r)
		}, comesTo(`"hello, world\n"`), nil},
		{"the end of that", does(func(r *tour) error { return r.c.Quit(within(r.t)) }), comesTo("done"), nil},
	}
}

// stepsInClear are for servers that want TLS.
func stepsInClear() []step {
	return []step{
		{"a login in clear text", enters(Options{Mode: TLSOff}), outcome{kind: fault.NeedTLS, id: fault.IDTLSRequired}, nil},
	}
}

// stepsTooMany are for servers that have all the clients that they bear.
func stepsTooMany() []step {
	return []step{
		{"one login more", enters(Options{}), outcome{kind: fault.Closing, id: fault.IDBusy}, nil},
	}
}

// What vsftpd, ProFTPD, Pure-FTPd and pyftpdlib say, as package interop has recorded it
// in testdata/recorded, is what our client understands. A recording begins with its
// name and story. Then:
//
//	STEP: a missing file   what is to be done; the name stands in the table
//	CONNECT:               a new connection
//	C: line                the client says it; it may say several at once
//	S: 250 Done.           a line of the server; PORT is that of a data connection
//	D: STOR a <<"x"        a command with a data connection that the client sends x on
//	D: RETR a >>"x"*5      one that brings xxxxx; before ABOR it stays open
//	D: LIST a              one that brings the lines of L
//	L: line                one of them
//	END:                   the server hangs up
func TestRecordedServers(t *testing.T) {
	if *live != "" {
		name, addrs, _ := strings.Cut(*live, ",")
		addr, marks, _ := strings.Cut(addrs, ",")
		r := &tour{t: t, name: name, addr: addr}
		r.take(func(step string) {
			nc, err := net.Dial("tcp", marks)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, step+"\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, nc); err != nil {
				t.Fatal(err)
			}
		})
		return
	}
	files, err := filepath.Glob("testdata/recorded/*.dialog")
	if err != nil || len(files) != 14 {
		t.Fatalf("%d recordings, %v; want 14", len(files), err)
	}
	for _, s := range slices.Concat(recordedSteps(), stepsInClear(), stepsTooMany()) {
		for _, e := range s.but {
			if e.why == "" || e.want == s.want || !slices.Contains(files, "testdata/recorded/"+e.server+".dialog") {
				t.Errorf("%s: %s is no exception", s.name, e.server)
			}
		}
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".dialog")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &recording{t: t, file: file, all: readRecording(t, file)}
			s.more = sync.NewCond(&s.mu)
			r := &tour{t: t, name: name, addr: script(t, s.play)}
			r.take(s.begin)
			s.begin("")
		})
	}
}

// take takes the steps.
func (r *tour) take(begin func(name string)) {
	steps := recordedSteps()
	switch {
	case strings.HasSuffix(r.name, "-tls"):
		steps = stepsInClear()
	case strings.Contains(r.name, "-full"):
		steps = stepsTooMany()
	}
	for _, s := range steps {
		begin(s.name)
		text, err := s.do(r)
		got := outcome{text: text}
		var fe *fault.Error
		switch {
		case errors.As(err, &fe):
			got = outcome{kind: fe.Kind, id: fe.ID}
		case err != nil:
			got.text = err.Error()
		}
		if want := s.wanted(r.name); got != want {
			r.t.Errorf("%s, %s: %v; want %v (%v)", r.name, s.name, got, want, err)
		}
		if r.c == nil && err == nil || r.t.Failed() && r.c != nil && r.c.lost() != nil && !r.c.closed() {
			r.t.Fatalf("%s, %s: the connection is lost", r.name, s.name)
		}
	}
}

// An utterance is a line of the client with all that the server answers.
type utterance struct {
	line    int    // in the file
	key     string // STEP, CONNECT, C, D or END
	said    string
	replies []string
	up      bool // data is the client's
	data    string
}

// readRecording reads a file that is ours.
func readRecording(t *testing.T, file string) (all []*utterance) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# "+filepath.Base(file)+" — ") {
		t.Errorf("%s does not begin with its name and story", file)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		key, rest, ok := strings.Cut(line, ":")
		rest = strings.TrimPrefix(rest, " ")
		u := &utterance{line: n, key: key, said: rest}
		switch {
		case ok && (key == "STEP" || key == "CONNECT" || key == "C" || key == "END"):
			all = append(all, u)
		case ok && key == "D":
			all = append(all, u)
			i := max(strings.LastIndex(rest, ` <<"`), strings.LastIndex(rest, ` >>"`))
			if i < 0 {
				break
			}
			quoted, err := strconv.QuotedPrefix(rest[i+3:])
			if err != nil {
				t.Fatalf("%s:%d: %v", file, n, err)
			}
			times := 1
			if after, ok := strings.CutPrefix(rest[i+3+len(quoted):], "*"); ok {
				if times, err = strconv.Atoi(after); err != nil {
					t.Fatalf("%s:%d: %v", file, n, err)
				}
			}
			content, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s:%d: %v", file, n, err)
			}
			u.said, u.up, u.data = rest[:i], rest[i+1] == '<', strings.Repeat(content, times)
		case ok && key == "L" && len(all) > 0:
			all[len(all)-1].data += rest + "\r\n"
		case ok && key == "S" && len(all) > 0:
			all[len(all)-1].replies = append(all[len(all)-1].replies, rest)
		default:
			t.Fatalf("%s:%d: %q is no line of a recording", file, n, line)
		}
	}
	return all
}

// A recording is a server that says what one has said.
type recording struct {
	t    *testing.T
	file string
	mu   sync.Mutex
	more *sync.Cond
	all  []*utterance
	at   int  // the next of them
	bad  bool // the client says other things
}

// begin waits until the server has come to a step, "" for the end: the client has then
// said all that it said in the one before.
func (s *recording) begin(name string) {
	s.t.Helper()
	defer time.AfterFunc(5*time.Second, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.bad = true
		s.more.Broadcast()
	}).Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.bad && s.at < len(s.all) && s.all[s.at].key != "STEP" {
		s.more.Wait()
	}
	switch {
	case s.at >= len(s.all) && name != "":
		s.t.Fatalf("%s ends before %q: it is to be recorded again", s.file, name)
	case s.at >= len(s.all):
		return
	}
	u := s.all[s.at]
	switch {
	case u.key != "STEP":
		s.t.Fatalf("%s:%d: the client did not say %q", s.file, u.line, u.said)
	case u.said != name:
		s.t.Fatalf("%s:%d: the step is %q; want %q: it is to be recorded again", s.file, u.line, u.said, name)
	}
	s.at++
}

// next is the next utterance of a step, nil at its end.
func (s *recording) next() *utterance {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad || s.at >= len(s.all) || s.all[s.at].key == "STEP" {
		return nil
	}
	return s.all[s.at]
}

// done goes on behind next.
func (s *recording) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at++
	s.more.Broadcast()
}

// fail ends the replay.
func (s *recording) fail(format string, args ...any) {
	s.t.Errorf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = true
	s.more.Broadcast()
	panic(hangUp{})
}

// play is one connection. Who hung up hears nothing of what comes behind it: errors of
// writing are passed over.
func (s *recording) play(p *peer) {
	u := s.next()
	if u == nil || u.key != "CONNECT" {
		s.fail("%s: a connection that was not recorded", s.file)
	}
	s.done()
	s.answer(p, u.replies)
	var data net.Conn // of a transfer that waits for its ABOR
	for {
		if u = s.next(); u != nil && u.key == "END" {
			s.done()
			_ = p.raw.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, p.rd)
			return
		}
		line, err := p.rd.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		if u = s.next(); u == nil {
			s.fail("%s: the client says %q; nothing more was recorded", s.file, line)
		}
		if line != u.said || u.key != "C" && u.key != "D" {
			s.fail("%s:%d: the client says %q; want %q", s.file, u.line, line, u.said)
		}
		if data != nil {
			_ = data.Close()
			data = nil
		}
		last := slices.IndexFunc(u.replies, func(l string) bool { return l[0] >= '2' && l[0] <= '5' })
		if u.key == "D" {
			first := u.replies
			if last >= 0 {
				first = u.replies[:last]
			}
			s.answer(p, first)
			nc := p.accept()
			defer nc.Close()
			if u.up {
				got, err := io.ReadAll(nc)
				if string(got) != u.data || err != nil {
					s.fail("%s:%d: the client sends %q, %v; want %q", s.file, u.line, got, err, u.data)
				}
			} else if _, err := io.WriteString(nc, u.data); err != nil && last >= 0 {
				s.fail("%s:%d: the client does not take the data: %v", s.file, u.line, err)
			}
			if last < 0 {
				data = nc
				s.done()
				continue
			}
			_ = nc.Close()
			u = &utterance{replies: u.replies[last:]}
		}
		s.done()
		s.answer(p, u.replies)
	}
}

// answer says lines. A port is opened for each that tells one.
func (s *recording) answer(p *peer, lines []string) {
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, "229 "):
			l = strings.Replace(l, "PORT", p.port(), 1)
		case strings.HasPrefix(l, "227 "):
			n, _ := strconv.Atoi(p.port()) // it is one
			l = strings.Replace(l, "PORT", fmt.Sprintf("%d,%d", n>>8, n&255), 1)
		}
		_, _ = io.WriteString(p.nc, l+"\r\n")
	}
}
