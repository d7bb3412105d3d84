package cli

import (
	"errors"
	"testing"

	"dray/fault"
	"dray/mirror"
)

// A file that could not be sent because the server was away is sent when it is back,
// and not at its next change.
func TestWatchTriesAgainWhatMayPass(t *testing.T) {
	refused := fault.New(fault.Unreachable, fault.IDRefused, "h", 21)
	for _, tt := range []struct {
		name string
		err  error
		told []error
		want bool
	}{
		{"no connection", refused, nil, true},
		{"a busy server", fault.New(fault.Closing, fault.IDBusy, "h"), nil, true},
		{"a wrong password", fault.New(fault.NotLoggedIn, fault.IDAuth, "h", "u"), nil, false},
		{"of this machine", errors.New("no more watches"), nil, false},
		{"files, while the server was away", &exitError{status: exitReach}, []error{refused}, true},
		{"files, one of them for good", &exitError{status: exitFailed}, []error{fault.New(fault.Denied, fault.IDPerm, "/a"), fault.New(fault.Cut, fault.IDLost, "h")}, true},
		{"files that may not be written", &exitError{status: exitDenied}, []error{fault.New(fault.Denied, fault.IDPerm, "/a")}, false},
	} {
		c := &client{show: &display{w: t.Output()}}
		w := &watcher{c: c, last: c.reporter("watch", nil)}
		for _, err := range tt.told {
			w.last.tell(mirror.Event{What: mirror.Failed, From: "a", Err: err})
		}
		if got := w.passes(tt.err); got != tt.want {
			t.Errorf("%s: %v; want %v", tt.name, got, tt.want)
		}
	}
}
