package ftpclient

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"dray/fault"
	"dray/ftp"
)

// Finish is what a file that was sent gets at its end. Zero fields are left to the
// server.
type Finish struct {
	Mode fs.FileMode
	Time time.Time
	Name string // that it is renamed to
}

// Finished are the failures of a Finish, each nil where it was done or not wanted.
type Finished struct{ Mode, Time, Name error }

// Finish sets mode and time of a file and then renames it: in one piece with servers
// that are known to take that. The returned error is of the connection; what the server
// refused is in the Finished.
func (c *Conn) Finish(ctx context.Context, path string, f Finish) (done Finished, err error) {
	if err := c.enter(); err != nil {
		return done, err
	}
	defer c.leave()
	from, err := c.wire(path)
	if err != nil {
		return done, err
	}
	var commands []ftp.Command
	var marks []*error
	if f.Mode != 0 {
		commands = append(commands, cmd("SITE", fmt.Sprintf("CHMOD %03o ", f.Mode.Perm())+from))
		marks = append(marks, &done.Mode)
	}
	if !f.Time.IsZero() {
		if verb, arg, ok := c.timeCommand(f.Time); ok {
			commands = append(commands, cmd(verb, arg+from))
			marks = append(marks, &done.Time)
		} else {
			done.Time = noTime()
		}
	}
	if f.Name != "" {
		to, err := c.wire(f.Name)
		if err != nil {
			return done, err
		}
		commands = append(commands, cmd("RNFR", from), cmd("RNTO", to))
		marks = append(marks, &done.Name, &done.Name)
	}
	if len(commands) == 0 {
		return done, nil
	}
	replies, err := c.batch(ctx, commands...)
	if err != nil {
		return done, err
	}
	for i, r := range replies {
		at := path
		if commands[i].Verb == "RNTO" {
			at = f.Name
		}
		ok := r.Code >= 200 && r.Code < 300 || commands[i].Verb == "RNFR" && r.Code == ftp.C350Pending
		if !ok && *marks[i] == nil {
			*marks[i] = c.refused(commands[i], r, at)
		}
	}
	return done, nil
}

// timeCommand is how the server lets the time of a file be set.
func (c *Conn) timeCommand(t time.Time) (verb, arg string, ok bool) {
	stamp := t.UTC().Format("20060102150405")
	switch {
	case c.feat.Has("MFMT"):
		return "MFMT", stamp + " ", true
	case c.feat.Has("SITE UTIME") || strings.Contains(strings.ToUpper(c.feat.Arg("SITE")), "UTIME"):
		return "SITE", "UTIME " + stamp + " ", true
	case c.kind == kindVsftpd: // it takes a time before the name (mdtm_write)
		return "MDTM", stamp + " ", true
	}
	return "", "", false
}

// SetsTimes tells whether SetTime may work.
func (c *Conn) SetsTimes() bool {
	_, _, ok := c.timeCommand(time.Time{})
	return ok
}

func noTime() error {
	return fault.New(fault.Unsupported, fault.IDUnsupported, "setting the time of a file")
}
