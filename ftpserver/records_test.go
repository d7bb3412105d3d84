package ftpserver

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A corked holds back what is written, from the skip-th write on, until it is let go.
type corked struct {
	net.Conn
	skip int // writes that pass; below zero: all
	held []byte
}

func (c *corked) Write(b []byte) (int, error) {
	if c.skip != 0 {
		c.skip--
		return c.Conn.Write(b)
	}
	c.held = append(c.held, b...)
	return len(b), nil
}

// flush sends what was held, in pieces of so many bytes.
func (c *corked) flush(t *testing.T, piece int) {
	t.Helper()
	for len(c.held) > 0 {
		n := min(piece, len(c.held))
		if _, err := c.Conn.Write(c.held[:n]); err != nil {
			t.Fatal(err)
		}
		c.held = c.held[n:]
		if piece == 1 {
			time.Sleep(200 * time.Microsecond) // each byte is a read of its own, mostly
		}
	}
}

// The server waits for the next record on the socket, so nothing that has come may
// lie above it: every command is answered, however they share records and segments.
func TestNoCommandIsLeftBehindUnderTLS(t *testing.T) {
	t.Parallel()
	st := newSite(t, setup{rules: Rules{TLS: serverTLS()}})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, how := range []struct {
			name     string
			records  []int // bytes in each
			piece    int   // of what is sent at once
			commands int
		}{
			{"one command", []int{6}, 1 << 20, 1},
			{"two commands in a record", []int{12}, 1 << 20, 2},
			{"a record that fills the buffer but for a byte", []int{255}, 1 << 20, 43},
			{"a record that fills the buffer", []int{256}, 1 << 20, 43},
			{"a record and a byte more than the buffer", []int{257}, 1 << 20, 43},
			{"a record that fills it twice", []int{512}, 1 << 20, 86},
			{"two records in a segment", []int{6, 12}, 1 << 20, 3},
			{"three that fill it, and one more", []int{256, 256, 256, 6}, 1 << 20, 130},
			{"byte by byte", []int{6, 17}, 1, 4},
		} {
			t.Run(fmt.Sprintf("%s %s", tls.VersionName(version), how.name), func(t *testing.T) {
				k := st.greeted()
				k.do(234, "AUTH TLS")
				cork := &corked{Conn: k.raw, skip: -1}
				client := tls.Client(cork, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
				if err := client.Handshake(); err != nil {
					t.Fatal(err)
				}
				k.nc, k.rd = client, bufio.NewReader(client)
				for round := range 3 {
					cork.skip = 0
					sent := 0
					for _, n := range how.records {
						short := (6 - n%6) % 6 // of the lines, as many end with LF alone as it takes to come out even
						text := strings.Repeat("NOOP\n", short) + strings.Repeat("NOOP\r\n", (n-5*short)/6)
						if len(text) != n {
							t.Fatalf("%d bytes, not %d", len(text), n)
						}
						k.write(text)
						sent += strings.Count(text, "\n")
					}
					if sent != how.commands {
						t.Fatalf("%d commands, not %d", sent, how.commands)
					}
					cork.flush(t, how.piece)
					for range sent {
						k.hear(200)
					}
					cork.skip = -1
					if round == 1 {
						time.Sleep(20 * time.Millisecond) // it waits by now
					}
					k.do(200, "NOOP")
				}
			})
		}
	}
}

func TestACommandBehindFinished(t *testing.T) {
	t.Parallel()
	k := newSite(t, setup{rules: Rules{TLS: serverTLS()}}).greeted()
	k.do(234, "AUTH TLS")
	cork := &corked{Conn: k.raw, skip: 1} // the ClientHello
	client := tls.Client(cork, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	k.nc, k.rd = client, bufio.NewReader(client)
	k.write("NOOP\r\nNOOP\r\n")
	cork.flush(t, 1<<20)
	k.hear(200)
	k.hear(200)
}

// What a client sends behind QUIT, as close_notify, is no reason to reset the
// connection: the reset would take the last reply along.
func TestQuitWithCloseNotifyEndsInFIN(t *testing.T) {
	t.Parallel()
	st := newSite(t, setup{rules: Rules{TLS: serverTLS()}})
	for range 20 {
		k := st.greeted()
		k.do(234, "AUTH TLS")
		cork := &corked{Conn: k.raw, skip: -1}
		client := tls.Client(cork, clientTLS())
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		k.nc, k.rd = client, bufio.NewReader(client)
		cork.skip = 0
		k.write("QUIT\r\n")
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		_ = k.raw.SetWriteDeadline(time.Time{}) // crypto/tls leaves one in the past
		cork.flush(t, 1<<20)
		time.Sleep(5 * time.Millisecond) // the server has closed by now
		k.hear(221)
		k.ended()
		if n, err := k.raw.Read(make([]byte, 1)); err != io.EOF {
			t.Fatalf("the socket ends with %d bytes and %v", n, err)
		}
	}
}
