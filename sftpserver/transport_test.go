package sftpserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dray/gate"
)

// What SFTP costs beside a transport that carries the same bytes and does nothing else:
// the CPU time of this process for each GB that OpenSSH's client takes or sends.
func BenchmarkTransport(b *testing.B) {
	for _, program := range []string{"ssh", "sftp"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skipf("SKIPPED: OpenSSH's %s is missing", program)
		}
	}
	const size = 1 << 30
	st := newStage(b, func(st *stage) {
		st.dir = filepath.Join("/dev/shm", "dray-"+strings.ReplaceAll(b.Name(), "/", "-"))
		need(b, os.Mkdir(st.dir, 0o700))
		b.Cleanup(func() { _ = os.RemoveAll(st.dir) })
		st.rules.Exec = map[string]Command{
			"source": func(_ context.Context, _ *gate.Session, _ string, ch Stream) int {
				data := make([]byte, 256<<10)
				for range size / len(data) {
					if _, err := ch.Write(data); err != nil {
						return 1
					}
				}
				return 0
			},
			"sink": func(_ context.Context, _ *gate.Session, _ string, ch Stream) int {
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{ch}, make([]byte, 256<<10)); err != nil {
					return 1
				}
				return 0
			},
		}
	})
	key := st.identity()
	host, port, err := net.SplitHostPort(st.addr)
	need(b, err)
	options := []string{
		"-q", "-i", key, "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-c", "aes128-gcm@openssh.com",
	}
	f, err := os.Create(filepath.Join(st.dir, "f"))
	need(b, err)
	for piece := make([]byte, 1<<20); ; {
		fi, err := f.Stat()
		need(b, err)
		if fi.Size() >= size {
			break
		}
		_, err = f.Write(piece)
		need(b, err)
	}
	need(b, f.Close())
	local := f.Name()
	for _, bb := range []struct{ name, program, batch, command string }{
		{"download/transport", "ssh", "", "source"},
		{"download/SFTP", "sftp", "get f /dev/null\n", ""},
		{"upload/transport", "ssh", "", "sink"},
		{"upload/SFTP", "sftp", fmt.Sprintf("put %s up\n", local), ""},
	} {
		b.Run(bb.name, func(b *testing.B) {
			before := cpuTime(b)
			for range b.N {
				args := append([]string{"-p", port}, options...)
				if bb.program == "sftp" {
					args = append([]string{"-P", port, "-b", "-"}, options...)
				}
				cmd := exec.Command(bb.program, append(args, "anna@"+host)...)
				if bb.command != "" {
					cmd.Args = append(cmd.Args, bb.command)
				}
				switch {
				case bb.batch != "":
					cmd.Stdin = strings.NewReader(bb.batch)
				case bb.command == "sink":
					in, err := os.Open(local)
					need(b, err)
					defer in.Close()
					cmd.Stdin = in
				}
				if err := cmd.Run(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()/float64(b.N)/(size/1e9), "cpu-s/GB")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpuTime is what this process has used, without its children.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	need(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
