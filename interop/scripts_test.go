package interop

import (
	"fmt"
	"path/filepath"
	"testing"
)

// twelve are as many uploads of 5 MiB as one session of Perl or Ruby makes: a
// server that sends TLS 1.3 tickets on the data connections of uploads loses
// the end of most of them.
func twelve() (source file, uploaded []named) {
	source = file{"five.bin", 5 << 20}
	for i := range 12 {
		uploaded = append(uploaded, source.as(fmt.Sprintf("twelve-%02d.bin", i)))
	}
	return source, uploaded
}

// versions are the TLS versions that a script is told to use.
func (p *play) versions() []string {
	if p.plain() {
		return []string{"none"}
	}
	return []string{"1.2", "1.3"}
}

// scripted is the story of an interpreter: it plants the samples, "half.bin"
// (the first half of the big sample) on both sides and "text.txt", calls run
// with arguments for the script and compares what the script must have left
// below the directory that the argument "dir" names.
//
// A script uploads local/up/* to dir, downloads it to local/down-dir, resumes
// dir/half.bin and local/half-dir.bin, and leaves no other traces.
func scripted(t *testing.T, p *play, dir string, run func(args ...string), extra ...named) {
	t.Helper()
	half := named{"half.bin", big.content()[:big.size/2]}
	text := named{"text.txt", []byte("first line\nsecond line: größe\n\nlast line\n")}
	up := plant(t, filepath.Join(p.local, "up"), append(all(), text)...)
	plant(t, filepath.Join(p.root, dir), half)
	plant(t, p.local, named{"half-" + dir + ".bin", half.content})

	run(p.arguments("dir="+dir, "big="+big.name)...)

	same(t, filepath.Join(p.root, dir), up.plus(treeOf(big.as("half.bin")), treeOf(extra...)))
	same(t, filepath.Join(p.local, "down-"+dir), up)
	if got := scan(t, p.local)["half-"+dir+".bin"]; got != sum(big.content()) {
		t.Errorf("resumed download: %s; want %s", got, sum(big.content()))
	}
}

var ftplib = client{
	name:   "ftplib",
	needs:  func(t *testing.T) { peer(t, "python3") },
	cannot: func(way) string { return "" },
	story: func(t *testing.T, p *play) {
		for _, version := range p.versions() {
			for _, reuse := range []string{"no", "yes"} {
				if p.plain() && reuse == "yes" {
					continue
				}
				scripted(t, p, "v"+version+"-reuse-"+reuse, func(args ...string) {
					t.Helper()
					p.run(t, "python3", append([]string{script(t, "ftplib_story.py"),
						"version=" + version, "reuse=" + reuse}, args...)...)
				})
			}
		}
	},
}

var netftp = client{
	name: "netftp",
	needs: func(t *testing.T) {
		library(t, "perl", "perl", "-MNet::FTP", "-e", "1")
		library(t, "libio-socket-ssl-perl", "perl", "-MIO::Socket::SSL", "-e", "1")
	},
	cannot: func(way) string { return "" },
	story: func(t *testing.T, p *play) {
		source, uploaded := twelve()
		for _, version := range p.versions() {
			plant(t, p.local, source.as(source.name))
			scripted(t, p, "v"+version, func(args ...string) {
				t.Helper()
				p.run(t, "perl", append([]string{script(t, "netftp.pl"), "version=" + version}, args...)...)
			}, uploaded...)
		}
	},
}

var rubyftp = client{
	name:  "ruby",
	needs: func(t *testing.T) { library(t, "ruby", "ruby", "-rnet/ftp", "-ropenssl", "-e", "0") },
	cannot: func(w way) string {
		if w.tls == "implicit" {
			return "Net::FTP has AUTH TLS only"
		}
		return ""
	},
	story: func(t *testing.T, p *play) {
		source, uploaded := twelve()
		for _, version := range p.versions() {
			plant(t, p.local, source.as(source.name))
			scripted(t, p, "v"+version, func(args ...string) {
				t.Helper()
				p.run(t, "ruby", append([]string{script(t, "netftp.rb"), "version=" + version}, args...)...)
			}, uploaded...)
		}
	},
}

var phpftp = client{
	name: "php",
	needs: func(t *testing.T) {
		library(t, "php-cli", "php", "-r", "exit(function_exists('ftp_ssl_connect') ? 0 : 1);")
	},
	cannot: func(w way) string {
		if w.tls == "implicit" {
			return "ftp_ssl_connect has AUTH TLS only"
		}
		return ""
	},
	story: func(t *testing.T, p *play) {
		scripted(t, p, "php", func(args ...string) {
			t.Helper()
			p.run(t, "php", append([]string{script(t, "ftp.php")}, args...)...)
		})
	},
}
