package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var wget = client{
	name:   "wget",
	needs:  func(t *testing.T) { peer(t, "wget") },
	cannot: func(way) string { return "" },
	story: func(t *testing.T, p *play) {
		stored := plant(t, p.root, append(all(), file{"inner", 70_000}.as("a directory/inner"))...)

		p.wget(t, "-r", "-P", "everything", p.url(""))
		same(t, filepath.Join(p.local, "everything"), stored)
		if !p.plain() { // GnuTLS chose 1.3
			p.wget(t, "-r", "-P", "again", "--secure-protocol=TLSv1_2", p.url(""))
			same(t, filepath.Join(p.local, "again"), stored)
		}

		for _, f := range samples {
			p.wget(t, "-O", "one by one", p.url(f.name))
			if got := scan(t, p.local)["one by one"]; got != sum(f.content()) {
				t.Errorf("%s: %s; want %s", f.name, got, sum(f.content()))
			}
		}

		plant(t, p.local, named{big.name, big.content()[:big.size/2]})
		out := p.wget(t, "-c", p.url(big.name))
		if got := scan(t, p.local)[big.name]; got != sum(big.content()) {
			t.Errorf("resumed download: %s; want %s\n%s", got, sum(big.content()), out)
		}
		same(t, p.root, stored)
	},
}

// wget runs wget once, without its retries.
func (p *play) wget(t *testing.T, more ...string) string {
	t.Helper()
	args := []string{
		"--no-config", "-nv", "-nH", "--tries=1", "--timeout=20", "--restrict-file-names=nocontrol",
		"--user=" + user, "--password=" + password,
	}
	if p.active() {
		args = append(args, "--no-passive-ftp")
	}
	switch {
	case p.plain():
	case p.ca == "":
		args = append(args, "--no-check-certificate")
	default:
		args = append(args, "--ca-certificate="+p.ca)
	}
	if p.tls == "implicit" {
		args = append(args, "--ftps-implicit")
	}
	args = append(args, more...)
	if p.tls == "explicit" { // wget says ftps:// for both
		args[len(args)-1] = strings.Replace(args[len(args)-1], "ftp://", "ftps://", 1)
	}
	return p.run(t, "wget", args...)
}

var rclone = client{
	name:  "rclone",
	needs: func(t *testing.T) { peer(t, "rclone") },
	cannot: func(w way) string {
		if w.active() {
			return "it has passive mode only"
		}
		return ""
	},
	story: func(t *testing.T, p *play) {
		host := p.host
		if p.family == "IPv6" {
			host = "[" + host + "]" // rclone joins host and port itself, badly
		}
		p.env = append(p.env,
			"RCLONE_CONFIG="+filepath.Join(t.TempDir(), "none.conf"),
			"RCLONE_CONFIG_DRAY_TYPE=ftp",
			"RCLONE_CONFIG_DRAY_HOST="+host,
			"RCLONE_CONFIG_DRAY_PORT="+p.port,
			"RCLONE_CONFIG_DRAY_USER="+user,
			"RCLONE_CONFIG_DRAY_PASS="+strings.TrimSpace(p.run(t, "rclone", "obscure", password)),
			fmt.Sprintf("RCLONE_CONFIG_DRAY_TLS=%v", p.tls == "implicit"),
			fmt.Sprintf("RCLONE_CONFIG_DRAY_EXPLICIT_TLS=%v", p.tls == "explicit"),
			// One try of each step: what would be repaired by trying again fails here.
			"RCLONE_RETRIES=1", "RCLONE_LOW_LEVEL_RETRIES=1",
			"RCLONE_TRANSFERS=8", "RCLONE_CHECKERS=4",
		)
		if p.ca == "" {
			p.env = append(p.env, "RCLONE_CONFIG_DRAY_NO_CHECK_CERTIFICATE=true")
		} else {
			p.env = append(p.env, "SSL_CERT_FILE="+p.ca) // --ca-cert does not reach the ftp backend
		}

		files := all()
		for i := len(files); i < 100; i++ {
			f := file{fmt.Sprintf("directory %d/file %d.bin", i%7, i), 977 * i}
			files = append(files, f.as(f.name))
		}
		source := plant(t, filepath.Join(p.local, "up"), files...)
		p.run(t, "rclone", "copy", "up", "dray:up")
		same(t, p.root, source.below("up"))
		p.run(t, "rclone", "check", "up", "dray:up")
		p.run(t, "rclone", "check", "--download", "up", "dray:up")
		p.run(t, "rclone", "copy", "dray:up", "down")
		same(t, filepath.Join(p.local, "down"), source)

		// Nothing to do the second time: sizes and times are what was sent.
		out := p.run(t, "rclone", "copy", "-v", "up", "dray:up")
		if strings.Contains(out, ": Copied") {
			t.Errorf("the second copy sent files again:\n%s", out)
		}

		p.run(t, "rclone", "moveto", "dray:up/"+big.name, "dray:moved/to/"+big.name)
		moved := source.below("up")
		delete(moved, "up/"+big.name)
		same(t, p.root, moved.plus(treeOf(big.as("moved/to/"+big.name))))
		p.run(t, "rclone", "purge", "dray:up")
		p.run(t, "rclone", "purge", "dray:moved")
		same(t, p.root, tree{})

		if !p.plain() {
			p.env = append(p.env, "RCLONE_CONFIG_DRAY_DISABLE_TLS13=true")
			p.run(t, "rclone", "copy", "up", "dray:up")
			same(t, p.root, source.below("up"))
			p.run(t, "rclone", "copy", "dray:up", "down12")
			same(t, filepath.Join(p.local, "down12"), source)
		}
	},
}

// refusal is a line of a session that holds a negative reply.
var refusal = regexp.MustCompile(`^[45][0-9]{2}[ -]`)

func onlyPlain(w way) string {
	if !w.plain() {
		return "it has no TLS for FTP"
	}
	return ""
}

var tnftp = client{
	name:   "tnftp",
	needs:  func(t *testing.T) { peer(t, "tnftp") },
	cannot: onlyPlain,
	story: func(t *testing.T, p *play) {
		source := plant(t, filepath.Join(p.local, "up"), all()...)
		half := named{"half.bin", big.content()[:big.size/2]}
		plant(t, p.local, half)
		commands := []string{"binary", "mkdir session", "cd session"}
		for _, f := range samples {
			commands = append(commands,
				fmt.Sprintf("put %q %q", "up/"+f.name, f.name),
				fmt.Sprintf("get %q %q", f.name, "down/"+f.name))
		}
		commands = append(commands,
			"lcd down", // reget takes the local name from the remote one
			fmt.Sprintf("reget %q ../half.bin", big.name),
			"put one passing", "rename passing gone", "modtime gone", "size gone", "delete gone",
			"mkdir empty", "ls empty", "rmdir empty", "nlist", "mlsd", "pwd")
		if err := os.Mkdir(filepath.Join(p.local, "down"), 0o755); err != nil {
			t.Fatal(err)
		}
		out := p.tnftp(t, commands...)
		same(t, p.root, source.below("session"))
		same(t, filepath.Join(p.local, "down"), source)
		if got := scan(t, p.local)["half.bin"]; got != sum(big.content()) {
			t.Errorf("resumed download: %s; want %s", got, sum(big.content()))
		}
		for line := range strings.Lines(out) {
			if refusal.MatchString(line) {
				t.Errorf("the server refused: %s", line)
			}
		}

		// The one-shot forms, whose exit status counts. -A: active.
		flags := []string{"-V"}
		if p.active() {
			flags = append(flags, "-A")
		}
		login := strings.Replace(p.url("session/"), "//", "//"+user+":"+password+"@", 1)
		p.run(t, "tnftp", append(flags, "-o", "fetched", login+"one")...)
		p.run(t, "tnftp", append(flags, "-u", login+"again", "up/with space.txt")...)
		if got := scan(t, p.local)["fetched"]; got != source["one"] {
			t.Errorf("fetched: %s; want %s", got, source["one"])
		}
		source["again"] = source["with space.txt"]
		same(t, p.root, source.below("session"))
	},
}

// tnftp runs commands in one session, as typed. Its exit status says nothing.
func (p *play) tnftp(t *testing.T, commands ...string) string {
	t.Helper()
	flags := []string{"-n", "-v", "-i", "-g", "-e"}
	if p.active() {
		flags = append(flags, "-A")
	}
	cmd := p.command("tnftp", append(flags, p.host, p.port)...)
	lines := append([]string{"user " + user + " " + password}, commands...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\nquit\n")
	out, err := cmd.output()
	if err != nil {
		t.Fatalf("tnftp: %v\n%s", err, out)
	}
	return out
}

var ncftp = client{
	name: "ncftp",
	needs: func(t *testing.T) {
		for _, name := range []string{"ncftpput", "ncftpget", "ncftpls"} {
			peer(t, name)
		}
	},
	cannot: func(w way) string {
		if w.family == "IPv6" && w.plain() {
			return "it has no IPv6"
		}
		return onlyPlain(w)
	},
	story: func(t *testing.T, p *play) {
		source := plant(t, filepath.Join(p.local, "up"), all()...)
		var local, remote []string
		for _, f := range samples {
			local = append(local, "up/"+f.name)
			remote = append(remote, "new/"+f.name)
		}
		p.ncftp(t, "ncftpput", append([]string{"-V", "-m", p.host, "new"}, local...)...)
		same(t, p.root, source.below("new"))
		if err := os.Mkdir(filepath.Join(p.local, "down"), 0o755); err != nil {
			t.Fatal(err)
		}
		p.ncftp(t, "ncftpget", append([]string{"-V", p.host, "down"}, remote...)...)
		same(t, filepath.Join(p.local, "down"), source)

		plant(t, p.local, named{"half/" + big.name, big.content()[:big.size/2]})
		p.ncftp(t, "ncftpget", "-V", "-z", p.host, "half", "new/"+big.name)
		if got := scan(t, p.local)["half/"+big.name]; got != sum(big.content()) {
			t.Errorf("resumed download: %s; want %s", got, sum(big.content()))
		}
		p.ncftp(t, "ncftpget", "-V", "-R", "-T", p.host, "recursive", "new")
		same(t, filepath.Join(p.local, "recursive"), source.below("new"))
		p.ncftp(t, "ncftpput", "-V", "-R", p.host, "/", "up")
		same(t, p.root, source.below("new").plus(source.below("up")))

		sameNames(t, "ncftpls -1a", p.ncftp(t, "ncftpls", "-1", "-a", p.url("new/")), names())
		long := p.ncftp(t, "ncftpls", "-l", "-a", p.url("new/"))
		for _, f := range samples {
			if !strings.Contains(long, " "+f.name+"\n") {
				t.Errorf("ncftpls -l shows no %q:\n%s", f.name, long)
			}
		}
	},
}

// ncftp runs one of its programs once, without redialling.
func (p *play) ncftp(t *testing.T, program string, more ...string) string {
	t.Helper()
	return p.run(t, program, append(p.ncftpArgs(), more...)...)
}

func (p *play) ncftpArgs() []string {
	mode := "-F"
	if p.active() {
		mode = "-E"
	}
	return []string{"-u", user, "-p", password, "-P", p.port, "-t", "20", "-r", "0", mode}
}
