package screen

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"dray/ftp"
	"dray/remote"
)

// A Listing is how entries are written. The zero value is one name a line, for a
// program, in the order of names.
type Listing struct {
	Terminal bool // who reads it; then names stand beside each other, unless Single
	Width    int  // of the terminal in cells; 0: 80
	Single   bool
	Long     bool // with mode, owner, size and time
	Human    bool // of a Long one: sizes in KiB, MiB
	Seconds  bool // of a Long one: times with their seconds
	ByTime   bool // newest first
	BySize   bool // largest first
	Reverse  bool
}

// Sort brings entries in their order.
func (l Listing) Sort(entries []remote.Entry) {
	slices.SortStableFunc(entries, func(a, b remote.Entry) int {
		n := 0
		switch {
		case l.ByTime:
			n = b.Time.Compare(a.Time)
		case l.BySize:
			n = int(min(max(b.Size-a.Size, -1), 1))
		}
		if n == 0 {
			n = strings.Compare(a.Name, b.Name)
		}
		if l.Reverse {
			n = -n
		}
		return n
	})
}

// Write writes entries in the order in which they are.
func (l Listing) Write(w io.Writer, entries []remote.Entry) {
	names := make([]string, len(entries))
	for i := range entries {
		names[i] = Name(entries[i].Name, l.Terminal)
		if l.Terminal && entries[i].Mode.IsDir() && names[i] != "." {
			names[i] += "/"
		}
	}
	switch {
	case l.Long:
		l.long(w, entries, names)
	case l.Terminal && !l.Single:
		l.columns(w, names)
	default:
		for _, n := range names {
			fmt.Fprintln(w, n)
		}
	}
}

func (l Listing) long(w io.Writer, entries []remote.Entry, names []string) {
	type row struct{ mode, owner, group, size, time, name string }
	rows := make([]row, len(entries))
	var wOwner, wGroup, wSize int
	for i := range entries {
		e := &entries[i]
		r := row{Mode(e), Line(orDash(e.Owner)), Line(orDash(e.Group)), "-", "-", names[i]}
		if e.Is(ftp.KnownSize) && !e.Mode.IsDir() {
			r.size = strconv.FormatInt(e.Size, 10)
			if l.Human {
				r.size = Size(e.Size)
			}
		}
		if e.Is(ftp.KnownTime) {
			r.time = e.Time.Local().Format("2006-01-02 15:04")
			if l.Seconds {
				r.time = e.Time.Local().Format("2006-01-02 15:04:05")
			}
		}
		if e.Mode.Type() == fs.ModeSymlink && e.Target != "" {
			r.name += " -> " + Name(e.Target, l.Terminal)
		}
		wOwner, wGroup, wSize = max(wOwner, Cells(r.owner)), max(wGroup, Cells(r.group)), max(wSize, len(r.size))
		rows[i] = r
	}
	wTime := len("2006-01-02 15:04")
	if l.Seconds {
		wTime = len("2006-01-02 15:04:05")
	}
	pad := func(s string, cells int) string { return s + strings.Repeat(" ", cells-Cells(s)) }
	for _, r := range rows {
		fmt.Fprintf(w, "%s  %s  %s  %*s  %-*s  %s\n", r.mode, pad(r.owner, wOwner), pad(r.group, wGroup), wSize, r.size, wTime, r.time, r.name)
	}
}

// columns writes names beside each other.
func (l Listing) columns(w io.Writer, names []string) {
	widest := 0
	for _, n := range names {
		widest = max(widest, Cells(n))
	}
	all := l.Width
	if all <= 0 {
		all = 80
	}
	per := max(all/(widest+2), 1)
	rows := (len(names) + per - 1) / per
	for r := range rows {
		line := ""
		for i := r; i < len(names); i += rows {
			line += names[i]
			if i+rows < len(names) {
				line += strings.Repeat(" ", widest+2-Cells(names[i]))
			}
		}
		fmt.Fprintln(w, line)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Type is the type of an entry in one word: file, dir, link, other, or unknown.
func Type(e *remote.Entry) string {
	switch {
	case !e.Is(ftp.KnownType):
		return "unknown"
	case e.Mode.IsDir():
		return "dir"
	case e.Mode.Type() == fs.ModeSymlink:
		return "link"
	case e.Mode.Type() == 0:
		return "file"
	}
	return "other"
}

// Mode is the mode as ls writes it, with ? for what is not known.
func Mode(e *remote.Entry) string {
	kind := "-"
	switch Type(e) {
	case "dir":
		kind = "d"
	case "link":
		kind = "l"
	case "unknown", "other":
		kind = "?"
	}
	if !e.Is(ftp.KnownMode) {
		return kind + "?????????"
	}
	return kind + e.Mode.Perm().String()[1:]
}

// Facts writes what a server tells of a file, a row for each fact that it tells.
func Facts(w io.Writer, url string, e *remote.Entry) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%-7s %s\n", name, Line(value))
		}
	}
	row("url", url)
	row("type", Type(e))
	if e.Is(ftp.KnownSize) && !e.Mode.IsDir() {
		row("size", fmt.Sprintf("%d (%s)", e.Size, Size(e.Size)))
	}
	if e.Is(ftp.KnownTime) {
		row("time", e.Time.Local().Format(time.RFC3339))
	}
	if e.Is(ftp.KnownMode) {
		row("mode", fmt.Sprintf("%04o %s", e.Mode.Perm(), Mode(e)))
	}
	owner := e.Owner
	if owner == "" && e.UID|e.GID != 0 {
		owner = fmt.Sprint(e.UID)
	}
	row("owner", owner)
	row("group", e.Group)
	row("link", e.Target)
	row("perm", e.Perm)
	row("unique", e.Unique)
}
