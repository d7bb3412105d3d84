package explain

import (
	"errors"
	"strings"

	"dray/fault"
)

// A Side is who can do something about a failure.
type Side string

// The sides.
const (
	You   Side = "you"   // whoever uses the server
	Admin Side = "admin" // whoever runs it
)

// A Step is one thing to do.
type Step struct {
	Side Side
	Text string // a sentence, or the words before Run; without backquotes
	Run  string // a command to paste; "" where there is none
}

// Steps are what to do about e: what it names itself, else what its entry has for who
// uses the server, and then what the entry has for who runs it. They may hold text of
// the server.
func Steps(e *fault.Error) []Step {
	var steps []Step
	for _, do := range e.Do {
		steps = append(steps, step(do))
	}
	entry, ok := For(e.ID)
	if !ok {
		return steps
	}
	plain := func(s string) string { return strings.ReplaceAll(s, "`", "") }
	if entry.You != "" && len(e.Do) == 0 {
		steps = append(steps, Step{Side: You, Text: plain(entry.You)})
	}
	if entry.Admin != "" && e.ID != fault.IDNotFound {
		steps = append(steps, Step{Side: Admin, Text: plain(entry.Admin)})
	}
	return steps
}

// step splits what to do into a sentence and the command of ours at its end.
func step(do string) Step {
	do = strings.TrimSuffix(strings.TrimSpace(strings.ReplaceAll(do, "`", "")), ".")
	if i := strings.Index(do, "dray "); i >= 0 && (i == 0 || do[i-1] == ' ') {
		return Step{You, strings.TrimSpace(do[:i]), do[i:]}
	}
	return Step{You, do, ""}
}

// Said is what the server said about an error, as it came; "" when it said nothing.
func Said(err error) string {
	var said interface{ Said() string }
	if errors.As(err, &said) {
		return said.Said()
	}
	return ""
}

// Cause is the text of the error that is no fault.Error, "" when there is none.
func Cause(err error) string {
	for err != nil {
		fe, ok := err.(*fault.Error)
		if !ok {
			var inner *fault.Error
			if errors.As(err, &inner) && inner.Err == nil {
				return "" // a text around a fault without a cause
			} else if errors.As(err, &inner) {
				err = inner.Err
				continue
			}
			return err.Error()
		}
		err = fe.Err
	}
	return ""
}
