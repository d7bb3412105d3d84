package transfer

import (
	"bytes"
	"testing"
)

// slowToWire converts what follows from, byte by byte.
func slowToWire(content []byte, from int64) []byte {
	var out []byte
	for i := from; i < int64(len(content)); i++ {
		if content[i] == '\n' && (i == 0 || content[i-1] != '\r') {
			out = append(out, '\r')
		}
		out = append(out, content[i])
	}
	return out
}

func TestTextDownload(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"no line end", "abc", "abc"},
		{"LF becomes CRLF", "a\nb\n", "a\r\nb\r\n"},
		{"CRLF stays CRLF", "a\r\nb\r\n", "a\r\nb\r\n"},
		{"a lone CR stays", "a\rb\r", "a\rb\r"},
		{"CR CR LF gets no third", "a\r\r\n", "a\r\r\n"},
		{"empty lines", "\n\n\n", "\r\n\r\n\r\n"},
		{"LF CR", "\n\r", "\r\n\r"},
		{"LF after CRLF", "\r\n\n", "\r\n\r\n"},
	}
	for _, c := range cases {
		for _, grants := range [][]int64{nil, {1}, {2}, {3, 1}} {
			conn := &script{}
			m := &stingy{t: t, grants: grants}
			rep, err := Send(t.Context(), conn, &memory{[]byte(c.in)}, 0, Options{Text: true, Meter: m})
			if got := conn.out.String(); err != nil || got != c.want || rep.Bytes != int64(len(c.in)) || m.moved != rep.Bytes {
				t.Errorf("%s: %q in pieces of %v came as %q, %+v, %v; want %q", c.name, c.in, grants, got, rep, err, c.want)
			}
		}
	}
}

func TestTextDownloadFromInsideALineEnd(t *testing.T) {
	in := "a\r\nb\nc"
	for from, want := range []string{"a\r\nb\r\nc", "\r\nb\r\nc", "\nb\r\nc", "b\r\nc", "\r\nc", "c", ""} {
		conn := &script{}
		_, err := Send(t.Context(), conn, &memory{[]byte(in)}, int64(from), Options{Text: true})
		if got := conn.out.String(); err != nil || got != want {
			t.Errorf("%q from %d came as %q, %v; want %q", in, from, got, err, want)
		}
	}
}

func TestTextUpload(t *testing.T) {
	cases := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"no line end", "abc", "abc"},
		{"CRLF becomes LF", "a\r\nb\r\n", "a\nb\n"},
		{"LF stays LF", "a\nb\n", "a\nb\n"},
		{"a lone CR stays", "a\rb", "a\rb"},
		{"CR at the very end stays", "a\r", "a\r"},
		{"only CR", "\r", "\r"},
		{"only CRLF", "\r\n", "\n"},
		{"CR CR LF loses one CR", "a\r\r\n", "a\r\n"},
		{"CR LF LF", "\r\n\n", "\n\n"},
		{"LF CR", "\n\r", "\n\r"},
		{"CRs", "\r\r\r", "\r\r\r"},
	}
	for _, c := range cases {
		for _, grants := range [][]int64{nil, {1}, {2}, {3, 1}} {
			file := &memory{}
			m := &stingy{t: t, grants: grants}
			rep, err := Receive(t.Context(), file, &script{in: bytes.NewReader([]byte(c.in))}, Options{Text: true, Meter: m})
			if got := string(file.b); err != nil || got != c.want || rep.Bytes != int64(len(c.want)) || m.moved != rep.Bytes {
				t.Errorf("%s: %q in pieces of %v is kept as %q, %+v, %v; want %q", c.name, c.in, grants, got, rep, err, c.want)
			}
		}
	}
}

// What goes out and comes back is the file with CRLF made LF, however it is cut
// into pieces; and on the wire no line end is anything but CRLF.
func FuzzText(f *testing.F) {
	f.Add([]byte("a\nb\r\nc\r\r\nd\r"), []byte{1, 3}, []byte{2})
	f.Add([]byte("\n\n\r\n"), []byte{}, []byte{1})
	f.Add([]byte("\r\r\n\n\r"), []byte{2, 1}, []byte{4, 1})
	f.Fuzz(func(t *testing.T, file, down, up []byte) {
		conn := &script{}
		rep, err := Send(t.Context(), conn, &memory{file}, 0, Options{Text: true, Meter: &stingy{t: t, grants: grants(down)}})
		wire := conn.out.Bytes()
		if err != nil || rep.Bytes != int64(len(file)) || !bytes.Equal(wire, slowToWire(file, 0)) {
			t.Fatalf("%q in pieces of %v came as %q, %+v, %v", file, down, wire, rep, err)
		}
		back := &memory{}
		rep, err = Receive(t.Context(), back, &script{in: bytes.NewReader(wire)}, Options{Text: true, Meter: &stingy{t: t, grants: grants(up)}})
		want := bytes.ReplaceAll(file, []byte("\r\n"), []byte("\n"))
		if err != nil || rep.Bytes != int64(len(want)) || !bytes.Equal(back.b, want) {
			t.Fatalf("%q in pieces of %v is kept as %q, %+v, %v; want %q", wire, up, back.b, rep, err, want)
		}
	})
}

func grants(b []byte) []int64 {
	var g []int64
	for _, n := range b {
		g = append(g, int64(n)+1)
	}
	return g
}
