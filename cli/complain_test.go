package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/mirror"
)

// plainFailures are the ids that a client says and that end it with status 1, with
// the reason why they have no status of their own.
var plainFailures = map[fault.ID]string{
	fault.IDExists:       "the command was about a name that is taken",
	fault.IDNotDir:       "the command was about something else",
	fault.IDIsDir:        "the command was about something else",
	fault.IDNotEmpty:     "the command was about something else",
	fault.IDNotRegular:   "the command was about something else",
	fault.IDBadName:      "the name can't be used, now or later",
	fault.IDServerSaysNo: "nobody knows what the server means",
	fault.IDUnsupported:  "the server can't do it, now or later",
	fault.IDNoDirect:     "it ends no command: the bytes go another way",
	fault.IDUnsafeName:   "left out, the rest was done",
	fault.IDNameClash:    "left out, the rest was done",
	fault.IDLocal:        "a file of this machine",
	fault.IDMaxDelete:    "the limit that was asked for",
	fault.IDInternal:     "should not be",
}

func TestEveryFailureOfAClientHasItsStatus(t *testing.T) {
	seen := map[fault.ID]bool{}
	for _, e := range explain.All() {
		if e.Here == "" {
			continue
		}
		seen[e.ID] = true
		_, has := exits[e.ID]
		why, plain := plainFailures[e.ID]
		switch {
		case has && plain:
			t.Errorf("%s has a status, and none because %s", e.ID, why)
		case !has && !plain:
			t.Errorf("%s ends a client with status 1, and nobody has said why", e.ID)
		}
		if got := exitOf(fmt.Errorf("around: %w", fault.New(fault.Internal, e.ID))); !plain && got != exits[e.ID] || plain && got != exitFailed {
			t.Errorf("%s ends with status %d", e.ID, got)
		}
	}
	for id := range plainFailures {
		if !seen[id] {
			t.Errorf("no client says %s", id)
		}
	}
	for id := range exits {
		if _, ok := explain.For(id); !ok {
			t.Errorf("%s can't be explained", id)
		}
	}
}

func TestStatusesOfOtherEnds(t *testing.T) {
	for _, try := range []struct {
		err  error
		want int
	}{
		{&signalError{"Ctrl-C", exitInt}, 130},
		{fmt.Errorf("x: %w", &signalError{"SIGTERM", exitTerm}), 143},
		{context.Canceled, 130},
		{&exitError{exitNothing, "nothing"}, 14},
		{usagef("wrong"), 2},
		{errors.New("anything"), 1},
		{fs.ErrNotExist, 7},
		{fs.ErrPermission, 8},
		{fmt.Errorf("x: %w", fault.New(fault.NotFound, fault.IDNotFound, "a")), 7},
	} {
		if got := exitOf(try.err); got != try.want {
			t.Errorf("exitOf(%v) = %d; want %d", try.err, got, try.want)
		}
	}
}

// A said error has the words of a server.
type said struct{ words string }

func (e *said) Error() string { return "COMMAND: " + e.words }
func (e *said) Said() string  { return e.words }

var steers = regexp.MustCompile("[\x00-\x1f\x7f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

func TestAHeadlineIsOneLineWithTheWordsOfTheServer(t *testing.T) {
	evil := "550 no\r\ndray: all is well\x1b]0;owned\x07\x00 \u202e \u2028 \u009b31m \xff"
	for _, e := range explain.All() {
		if e.Here == "" {
			continue
		}
		facts := []any{evil, evil, evil, evil}[:len(e.HereFacts)]
		for _, err := range []error{
			fault.Because(&said{evil}, fault.Internal, e.ID, facts...),
			fmt.Errorf("around: %w", fault.Because(&said{evil}, fault.Internal, e.ID)),
			fault.Because(errors.New(evil), fault.Internal, e.ID, facts...),
			&fault.Error{ID: e.ID, Facts: facts, Do: []string{evil, "run dray get " + evil}},
		} {
			line := headline(err)
			if steers.MatchString(line) {
				t.Errorf("%s: %q", e.ID, line)
			}
			if !strings.HasSuffix(line, "["+string(e.ID)+"]") {
				t.Errorf("%s: no id at the end of %q", e.ID, line)
			}
			var words *said
			if errors.As(err, &words) && !strings.Contains(line, "550 no") {
				t.Errorf("%s: the server's words are not in %q", e.ID, line)
			}
			var b bytes.Buffer
			complain(&b, err, advice)
			for i, l := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
				if i > 0 && !strings.HasPrefix(l, "      ") || steers.MatchString(l) {
					t.Errorf("%s: line %d is %q", e.ID, i, l)
				}
			}
			for _, event := range []wireEvent{toWire(mirror.Event{What: mirror.Failed, From: evil, To: evil, Err: err})} {
				b, jerr := json.Marshal(event)
				if jerr != nil || bytes.ContainsAny(b, "\n\x1b\x00") || !json.Valid(b) {
					t.Errorf("%s: %v %s", e.ID, jerr, b)
				}
			}
			if l := failed(mirror.Event{What: mirror.Failed, From: "ftp://h/" + evil, To: evil, Err: err}); steers.MatchString(l) {
				t.Errorf("%s: %q", e.ID, l)
			}
		}
	}
}

// A command stands under the side that it is for, as it is.
func TestCommandsStandUnderTheirSide(t *testing.T) {
	var b bytes.Buffer
	writeAdvice(&b, steps([]explain.Step{
		{Side: explain.You, Text: "try this:", Run: "dray ls 'a  b`c'"}, {Side: explain.Admin, Text: "open `21`:", Run: "dray firewall --apply"}, {Side: explain.Admin, Run: "true"},
	}))
	want := "      you     try this:\n              dray ls 'a  b`c'\n      server  open 21:\n              dray firewall --apply\n              true\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestAdviceIsFoldedAndCommandsAreNot(t *testing.T) {
	command := "dray trust " + strings.Repeat("SHA256:abc", 30)
	var b bytes.Buffer
	complain(&b, &fault.Error{Kind: fault.Untrusted, ID: fault.IDSelfSigned, Facts: []any{"h", "SHA256:x"}, Do: []string{"Compare it with what the administrator says, then: " + command}}, advice)
	if !strings.Contains(b.String(), "\n              "+command+"\n") {
		t.Errorf("the command is not whole:\n%s", b.String())
	}
	for _, width := range []int{1, 5, 96} {
		for _, line := range fold("a text of several words and oneverylongword", width) {
			if len(line) > width && strings.Contains(line, " ") {
				t.Errorf("fold at %d: %q", width, line)
			}
		}
	}
	if got := fold("", 10); len(got) != 0 {
		t.Errorf("fold of nothing: %q", got)
	}
}

// The status of a run is that of its failures where they have the same, else 1.
func TestTheStatusOfARun(t *testing.T) {
	lost := fault.New(fault.Unreachable, fault.IDLost, "h")
	gone := fault.New(fault.NotFound, fault.IDNotFound, "/a")
	for _, try := range []struct {
		name string
		errs []error
		want int
	}{
		{"all well", nil, 0},
		{"one", []error{lost}, exitResumable},
		{"two of a kind", []error{gone, gone}, exitNotFound},
		{"two kinds", []error{gone, lost}, exitFailed},
		{"two kinds and the first again", []error{gone, lost, gone}, exitFailed},
	} {
		var out, errs bytes.Buffer
		c := &client{stdout: &out, show: &display{w: &errs, width: func() int { return 80 }}, asJSON: true}
		r := c.reporter("get", func(e mirror.Event) string { return "dray get " + e.From })
		var s mirror.Summary
		for i, err := range try.errs {
			e := mirror.Event{What: mirror.Failed, From: fmt.Sprintf("ftp://h/%d", i), To: "x", Err: err, Resumable: fault.Of(err).ID == fault.IDLost}
			s.Failed++
			s.Errors = append(s.Errors, e)
			r.tell(e)
		}
		got := 0
		if err := r.end(s, time.Second); err != nil {
			got = exitOf(err)
		}
		if got != try.want {
			t.Errorf("%s: status %d; want %d", try.name, got, try.want)
		}
		var sum struct {
			OK     bool
			Exit   int
			Errors []struct {
				Error struct {
					ID   string
					Exit int
				}
			}
		}
		if err := json.Unmarshal(out.Bytes(), &sum); err != nil || sum.Exit != try.want || sum.OK != (try.want == 0) || len(sum.Errors) != len(try.errs) {
			t.Errorf("%s: %v %s", try.name, err, out.String())
		}
		if want := strings.Count(fmt.Sprint(try.errs), "lost"); strings.Count(errs.String(), "        dray get ftp://") != want {
			t.Errorf("%s: not %d commands to go on:\n%s", try.name, want, errs.String())
		}
	}
}

func TestAWordForAShell(t *testing.T) {
	for in, want := range map[string]string{
		"": "''", "plain-1.2_3/@:,+": "plain-1.2_3/@:,+", "a b": "'a b'", "it's": `'it'\''s'`, "a\x1b[31m": `$'a\x1b[31m'`, "a\nb'": `$'a\nb\''`, "$HOME": "'$HOME'", "ä": "'ä'", "\xffa": `$'\xffa'`,
	} {
		if got := shellWord(in); got != want {
			t.Errorf("shellWord(%q) = %s; want %s", in, got, want)
		}
	}
}
