package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"dray/fault"
	"dray/ftp"
	"dray/meter"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
)

// transfers are the options of commands that move files.
type transfers struct {
	recursive, follow     bool
	more                  bool // -c
	resume, verify, algo  string
	atomic, inPlace       bool
	suffix                string
	parallel              string
	limit                 string
	retry                 int
	retryFor              time.Duration
	retryOn               string
	noClobber             bool
	conflict              string
	preserve              string
	dryRun                bool
	failFast, keepGoing   bool
	exclude, include      []string
	excludeFrom           string
	newer, older, between string
	ascii                 bool
	nothing               bool
	transfersAlias        int
	bwlimit               string
	hours                 []string        // --limit
	table                 meter.Timetable // what they say
	segments              string          // "": the command has no such option
}

func (t *transfers) flags(f *pflag.FlagSet) {
	f.BoolVarP(&t.recursive, "recursive", "r", false, "directories too, with all that is in them")
	f.BoolVarP(&t.more, "continue", "c", false, "go on with a file that another program left unfinished, when it proves to belong to the source")
	f.StringVar(&t.resume, "resume", "auto", "go on with unfinished files: `HOW` is auto, verify (as --continue), force (without proof) or never")
	f.StringVar(&t.verify, "verify", "auto", "compare after the transfer: `HOW` is auto, size, hash or none")
	f.StringVar(&t.algo, "algo", "", "checksum of --verify hash: `NAME` as sha256 (default the server's strongest)")
	f.BoolVar(&t.atomic, "atomic", false, "write beside and rename when it is whole: the default")
	f.BoolVar(&t.inPlace, "inplace", false, "write to the final name at once")
	f.StringVar(&t.suffix, "temp-suffix", mirror.Suffix, "what the names of unfinished files end with, `TEXT`")
	f.StringVarP(&t.parallel, "parallel", "P", "auto", "transfers at once: a `NUMBER`, or auto")
	f.StringVar(&t.limit, "limit-rate", "", rateHelp)
	f.StringArrayVar(&t.hours, "limit", nil, "another rate of all transfers at some time of day, a `WINDOW` as 08:00-18:00=1M or 22:00-06:00=off, several with commas")
	f.IntVar(&t.retry, "retry", 3, "try again `N` times after a failure that may pass")
	f.DurationVar(&t.retryFor, "retry-max-time", 5*time.Minute, "try again for this `TIME` at most")
	f.StringVar(&t.retryOn, "retry-on", "transient", "after `WHICH` failures to try again: transient, any or none")
	f.BoolVar(&t.noClobber, "no-clobber", false, "leave files alone that are there already")
	f.StringVar(&t.conflict, "on-conflict", "replace", "where a file is there already: `WHAT` is replace, newer (replace what is older) or skip")
	f.StringVar(&t.preserve, "preserve", "mtime,mode", "keep of a file: `WHAT` is mtime, mode, both with a comma, or none")
	f.BoolVarP(&t.follow, "follow", "L", false, "transfer what symbolic links lead to, in place of the links")
	f.StringArrayVarP(&t.exclude, "exclude", "x", nil, "leave out what matches `PATTERN`, as *.bak or cache/")
	f.StringArrayVar(&t.include, "include", nil, "take what matches `PATTERN`, although --exclude leaves it out")
	f.StringVar(&t.excludeFrom, "exclude-from", "", "read patterns to leave out from `FILE`, one a line")
	f.StringVar(&t.newer, "newer-than", "", "only files changed since `TIME`: 2026-01-31, or 36h before now")
	f.StringVar(&t.older, "older-than", "", "only files not changed since `TIME`")
	f.StringVar(&t.between, "size", "", "only files of a size in `A..B`, as 1K..5M or ..100M")
	f.BoolVarP(&t.dryRun, "dry-run", "n", false, "show what would be done, and do nothing")
	f.BoolVar(&t.failFast, "fail-fast", false, "end at the first failure")
	f.BoolVar(&t.keepGoing, "keep-going", false, "go on with the other files after a failure: the default")
	f.BoolVar(&t.nothing, "error-on-no-transfer", false, "exit with status 14 when there was nothing to do")
	// Words that users of rclone and wget bring along.
	f.IntVar(&t.transfersAlias, "transfers", 0, "")
	f.StringVar(&t.bwlimit, "bwlimit", "", "")
	_ = f.MarkHidden("transfers")
	_ = f.MarkHidden("bwlimit")
}

// rateHelp is the help of --limit-rate.
const rateHelp = "move at most so many bytes a second, a `RATE` as 500K or 5M, of all transfers together, or as 5M/file of each file"

// segmentFlags adds the option of commands that fetch files.
func (t *transfers) segmentFlags(f *pflag.FlagSet) {
	f.StringVar(&t.segments, "segments", "auto", "fetch a large file over `N` connections at once (FTP): auto adds them while they make it faster, 1 never")
}

// divided tells whether a number of segments was asked for.
func (t *transfers) divided() bool {
	return t.segments != "" && t.segments != "auto" && t.segments != "1"
}

// mostSegments is how many connections one file may be fetched over.
const mostSegments = 16

// options are those of a run.
func (t *transfers) options(c *client) (mirror.Options, error) {
	o := mirror.Options{Idle: c.timeout, Retry: t.retry, RetryFor: t.retryFor, InPlace: t.inPlace, Suffix: t.suffix, Follow: t.follow,
		FailFast: t.failFast, DryRun: t.dryRun, State: c.dirs.UploadsDir(), Algorithm: strings.ToLower(t.algo), Text: t.ascii}
	if t.inPlace && t.atomic {
		return o, usagef("--inplace and --atomic do not go together")
	}
	if t.suffix == "" || strings.ContainsAny(t.suffix, "/\x00\r\n") || len(t.suffix) > 64 {
		return o, usagef("--temp-suffix: %q can't end a name; write something as .part", t.suffix)
	}
	if t.failFast && t.keepGoing {
		return o, usagef("--fail-fast and --keep-going do not go together")
	}
	if t.transfersAlias < 0 {
		return o, usagef("--transfers: %d is no number of transfers; write one from 1 to 256", t.transfersAlias)
	}
	switch {
	case c.given("transfers") && c.given("parallel") && t.parallel != strconv.Itoa(t.transfersAlias):
		return o, usagef("--transfers and --parallel are one option, and here with two numbers\n      leave one of them away")
	case t.transfersAlias > 0 && (t.parallel == "auto" || c.given("transfers")):
		t.parallel = strconv.Itoa(t.transfersAlias)
	}
	switch {
	case c.given("bwlimit") && c.given("limit-rate") && t.limit != t.bwlimit:
		return o, usagef("--bwlimit and --limit-rate are one option, and here with two rates\n      leave one of them away")
	case t.bwlimit != "" && (t.limit == "" || c.given("bwlimit")):
		t.limit = t.bwlimit
	}
	if t.parallel != "auto" {
		n, err := strconv.Atoi(t.parallel)
		if err != nil || n < 1 || n > 256 {
			return o, usagef("--parallel: %q is neither auto nor a number from 1 to 256", t.parallel)
		}
		o.Parallel = n
	}
	if t.limit != "" {
		total, file, err := parseRate(t.limit)
		if err != nil {
			return o, err
		}
		if o.FileRate = file; total > 0 {
			o.Rate = meter.NewRate(total)
		}
	}
	if len(t.hours) > 0 {
		windows, err := parseTimetable(t.hours)
		if err != nil {
			return o, err
		}
		t.table = meter.Timetable{Windows: windows}
		if o.Rate != nil {
			t.table.Else = o.Rate.PerSecond()
		}
		o.Rate = meter.NewRate(t.table.At(time.Now()))
	}
	if t.segments != "" && t.segments != "auto" {
		n, err := strconv.Atoi(t.segments)
		if err != nil || n < 1 || n > mostSegments {
			return o, usagef("--segments: %q is neither auto nor a number from 1 to %d", screen.Line(t.segments), mostSegments)
		}
		o.Segments = n
	}
	word := func(flag, value string, words ...string) (int, error) {
		for i, w := range words {
			if w == value {
				return i, nil
			}
		}
		return 0, usagef("--%s is %s or %s, not %q", flag, strings.Join(words[:len(words)-1], ", "), words[len(words)-1], value)
	}
	n, err := word("resume", t.resume, "auto", "verify", "force", "never")
	if err != nil {
		return o, err
	}
	o.Resume = mirror.Resume(n)
	switch {
	case t.more && c.given("continue") && c.given("resume") && (o.Resume == mirror.ResumeForce || o.Resume == mirror.ResumeNever):
		return o, usagef("--continue and --resume %s do not go together\n      --continue is --resume verify: leave one of them away", t.resume)
	case t.more && (o.Resume == mirror.ResumeAuto || c.given("continue")):
		o.Resume = mirror.ResumeVerify
	}
	if n, err = word("verify", t.verify, "auto", "size", "hash", "none"); err != nil {
		return o, err
	}
	o.Verify = mirror.Verify(n)
	if o.Verify != mirror.VerifyHash {
		if err := c.refuse("names the checksum of --verify hash, which is not there\n      add --verify hash", "algo"); err != nil {
			return o, err
		}
	}
	if n, err = word("retry-on", t.retryOn, "transient", "any", "none"); err != nil {
		return o, err
	}
	o.RetryOn = mirror.RetryOn(n)
	switch {
	case t.retry < 0:
		return o, usagef("--retry: %d is no number of tries; 0 tries nothing again", t.retry)
	case t.retry == 0:
		err = c.refuse("is for what is tried again, and with --retry 0 nothing is", "retry-max-time")
		if o.RetryOn != mirror.RetryNone && err == nil {
			err = c.refuse(t.retryOn+" is for what is tried again, and with --retry 0 nothing is", "retry-on")
		}
	case o.RetryOn == mirror.RetryNone:
		err = c.refuse("is for what is tried again, and with --retry-on none nothing is", "retry", "retry-max-time")
	}
	if err != nil {
		return o, err
	}
	if n, err = word("on-conflict", t.conflict, "replace", "skip", "newer"); err != nil {
		return o, err
	}
	o.Conflict = mirror.Conflict(n)
	if t.noClobber {
		if o.Conflict != mirror.Skip {
			if err := c.refuse(t.conflict+" and --no-clobber do not go together\n      --no-clobber is --on-conflict skip: leave one of them away", "on-conflict"); err != nil {
				return o, err
			}
		}
		o.Conflict = mirror.Skip
	}
	if t.ascii {
		switch {
		case o.Verify == mirror.VerifySize, o.Verify == mirror.VerifyHash:
			return o, usagef("--verify %s and ;type=A do not go together\n      a converted text has other bytes on the two sides: leave one of them away", t.verify)
		case o.Resume != mirror.ResumeNever:
			if err := c.refuse("and ;type=A do not go together\n      where a byte of a converted text is on the server nobody knows: leave one of them away", "continue", "resume"); err != nil {
				return o, err
			}
		}
	}
	if t.divided() {
		switch { // a file has holes until it is whole
		case t.inPlace:
			return o, usagef("--segments and --inplace do not go together\n      under its final name a file must have no holes: leave one of them away")
		case t.ascii:
			return o, usagef("--segments and ;type=A do not go together\n      where a byte of a converted text is on the server nobody knows: leave one of them away")
		case o.Resume == mirror.ResumeForce:
			return o, usagef("--segments and --resume force do not go together\n      force takes what is there for the beginning of the file: leave one of them away")
		case o.Parallel == 1:
			return o, usagef("--segments %s and --parallel 1 do not go together\n      --parallel is the most connections that a file comes over: leave one of them away", t.segments)
		}
	}
	o.NoTimes, o.NoModes = true, true
	none := false
	for _, w := range strings.Split(t.preserve, ",") {
		switch strings.TrimSpace(w) {
		case "mtime", "times", "time":
			o.NoTimes = false
		case "mode", "modes":
			o.NoModes = false
		case "none":
			none = true
		case "":
		default:
			return o, usagef("--preserve is mtime, mode, both with a comma between, or none, not %q", t.preserve)
		}
	}
	if none && !(o.NoTimes && o.NoModes) {
		return o, usagef("--preserve is mtime, mode, both with a comma between, or none, not %q", t.preserve)
	}
	if t.algo != "" && !slices.Contains(mirror.Sums(), strings.ToLower(t.algo)) {
		return o, usagef("--algo is one of %s, not %q", strings.Join(mirror.Sums(), ", "), t.algo)
	}
	return o, nil
}

// filter makes the filter of a walk, nil when everything passes.
func (t *transfers) filter() (mirror.Filter, error) {
	f := mirror.Rules{Include: t.include}
	f.Exclude = append(f.Exclude, t.exclude...)
	if t.excludeFrom != "" {
		b, err := os.ReadFile(t.excludeFrom)
		if err != nil {
			return nil, usagef("--exclude-from: %v", err)
		}
		for line := range strings.Lines(string(b)) {
			line = strings.TrimRight(line, "\r\n")
			if line != "" && !strings.HasPrefix(line, "#") {
				f.Exclude = append(f.Exclude, line)
			}
		}
	}
	when := func(flag, s string) (time.Time, error) {
		if s == "" {
			return time.Time{}, nil
		}
		if d, err := parseAge(s); err == nil {
			return time.Now().Add(-d), nil
		}
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
			if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
				return at, nil
			}
		}
		return time.Time{}, usagef("--%s: %q is no time; write a day as 2026-01-31, or an age as 36h or 7d", flag, s)
	}
	var err error
	if f.Newer, err = when("newer-than", t.newer); err != nil {
		return nil, err
	}
	if f.Older, err = when("older-than", t.older); err != nil {
		return nil, err
	}
	f.Most = -1
	if t.between != "" {
		from, to, ok := strings.Cut(t.between, "..")
		if !ok {
			return nil, usagef("--size: %q is no range; write A..B, as 1K..5M", t.between)
		}
		if from != "" {
			if f.Least, err = screen.ParseSize(from); err != nil {
				return nil, usagef("--size: %v", err)
			}
		}
		if to != "" {
			if f.Most, err = screen.ParseSize(to); err != nil {
				return nil, usagef("--size: %v", err)
			}
		}
	}
	filter, err := f.Filter()
	if err != nil {
		return nil, usagef("%v", err)
	}
	return filter, nil
}

// parseAge reads a duration, with d for days and w for weeks.
func parseAge(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		f, err := strconv.ParseFloat(n, 64)
		return time.Duration(f * 24 * float64(time.Hour)), err
	}
	if n, ok := strings.CutSuffix(s, "w"); ok {
		f, err := strconv.ParseFloat(n, 64)
		return time.Duration(f * 7 * 24 * float64(time.Hour)), err
	}
	return time.ParseDuration(s)
}

// transfer makes a run with one tree, which add fills, and tells what became of it.
func (c *client) transfer(ctx context.Context, t *transfers, tree remote.Tree, r *reporter, add func(run *mirror.Run) error) error {
	o, err := t.options(c)
	if err != nil {
		return err
	}
	o.Tell, r.dry = r.tell, t.dryRun
	defer t.keep(ctx, o.Rate)()
	began := time.Now()
	expected := 1
	if t.recursive {
		expected = 64 // nobody knows yet how many there are
	}
	if o.Parallel > 0 {
		expected = min(expected, o.Parallel)
	}
	if !t.dryRun {
		tree.Expect(ctx, expected)
	}
	traits, err := tree.Traits(ctx) // one failure of the connection, not one for each file
	if err != nil {
		return err
	}
	run := mirror.NewRun(ctx, tree, o)
	if t.divided() && traits.Overlap {
		run.Note("--segments", "over SFTP all transfers share one connection, where the requests for a file overlap: it is not divided", nil)
	}
	c.show.begin(run.Progress)
	err = add(run)
	sum := run.Wait()
	c.show.end()
	if err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		r.over = context.Cause(ctx)
	case t.nothing && sum.Done == 0 && sum.Failed == 0:
		r.over = errNothing
	default:
		r.over = nil
	}
	return r.end(sum, time.Since(began))
}

// errNothing ends a command with --error-on-no-transfer.
var errNothing = &exitError{exitNothing, "there was nothing to do"}

// isDir tells whether a path of this machine is a directory.
func isDir(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.IsDir()
}

// noDirectory is the refusal of a file of this machine where a directory is wanted.
func noDirectory(name string) error {
	return &fault.Error{Kind: fault.NotDir, ID: fault.IDNotDir, Facts: []any{name}, Do: []string{"it is a file of this machine, and this is about a directory: put sends files"}}
}

// statRemote looks at a URL's path, the login directory included.
func statRemote(ctx context.Context, tree remote.Tree, u remote.URL) (remote.Entry, error) {
	e, err := tree.Stat(ctx, pathOf(u))
	if err != nil && u.Path == "" && errors.Is(err, fs.ErrNotExist) {
		var home remote.Entry
		home.Mode, home.Known = fs.ModeDir, ftp.KnownType
		return home, nil
	}
	return e, err
}

// pathOf is the path of a URL as trees take it.
func pathOf(u remote.URL) string {
	if u.Path == "" {
		return "."
	}
	return u.Path
}

// place opens a directory of this machine that receives files. A dry run makes none.
func (t *transfers) place(dir string) (*mirror.Place, error) {
	if t.dryRun && !isDir(dir) {
		return mirror.NoPlace(dir), nil
	}
	return mirror.OpenPlace(dir, true)
}
