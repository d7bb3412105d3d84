package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"dray/doctor"
	"dray/explain"
	"dray/remote"
	"dray/screen"
)

// Exit statuses of the doctor.
const (
	exitWarnings = 20
	exitProblems = 21
)

func doctorCommand() *cobra.Command {
	c := &client{}
	d := &examination{c: c}
	cmd := &cobra.Command{
		Use:   "doctor HOST | URL | --server",
		Short: "find out why transfers fail, and what each side can do",
		Long: `Look at a server layer by layer: name, port, protocol, TLS and its certificate, login,
data connections, transfers. Each line is a check; the first one that failed is explained,
with what you and the administrator of the server can do. A password is sent over TLS or
SSH only, unless --plain or ftp+plain:// say otherwise.

Without a scheme FTP is looked at, or SFTP where only that answers. Nothing is written
to the server without --write. The exit status is 0, or 20 with warnings, 21 with problems.

With --server the server of this host is looked at, whether it runs or not: its
configuration, who holds its ports, the firewall of this host, the passive range, the
public address, certificates and keys, directories as the user that serves them, disks,
limits, the clock, and what the running server has seen of its clients. That needs no
network but for names, changes nothing, and sees all of it as root only.`,
		Example: `  dray doctor ftp.example.net
  dray doctor --write ftps://alice@ftp.example.net/incoming/
  dray doctor --compare ftp,sftp alice@ftp.example.net
  dray doctor --report report.txt sftp://alice@ftp.example.net
  sudo dray doctor --server
  sudo dray doctor --server --config /etc/dray/dray.toml --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch server := cmd.Flags().Changed("server") && d.server; {
			case server && len(args) > 0:
				return usagef("doctor takes a host or URL, or --server for the server of this host\n      leave %s away, or --server", strings.Join(args, " "))
			case server:
				return nil
			case cmd.Flags().Changed("config"):
				return usagef("--config is for --server, which is not there\n      for example: dray doctor --server --config %s", d.config)
			case len(args) != 1:
				return usagef("one host or URL is looked at\n      for example: dray doctor ftp.example.net")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&d.deep, "deep", false, "look also at what takes longer: late greetings, idle connections, whole files")
	f.BoolVar(&d.write, "write", false, "upload a file of 300 kB under each version of TLS, compare it, and remove it")
	f.StringVar(&d.compare, "compare", "", "look at the host by each of these `SCHEMES`: ftp, ftps, sftp, with commas between")
	f.BoolVar(&d.server, "server", false, "look at the server of this host")
	f.StringVar(&d.config, "config", "", "`FILE` of its configuration (default $"+configEnv+", else ~/.config/dray/dray.toml, else "+DefaultConfig+")")
	f.StringVar(&d.report, "report", "", "write all of it to `FILE`, with the dialogue and without passwords, your user name and your home, to be sent to who can help")
	c.flags(f)
	cmd.RunE = c.run(d.run)
	return cmd
}

// An examination is one run of dray doctor.
type examination struct {
	c           *client
	deep, write bool
	compare     string
	report      string
	server      bool
	config      string

	to       *os.File // the report; nil: nobody wants one
	dialogue bytes.Buffer
}

func (d *examination) run(ctx context.Context, args []string) error {
	c := d.c
	c.calm = true
	var err error
	if d.report == "-" {
		return usagef("--report needs the name of a file: the screen shows the rows already")
	}
	if d.report != "" { // before anything is looked at in vain
		if d.to, err = os.OpenFile(d.report, os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return usagef("--report: %v", err)
		}
		defer func() { _ = d.to.Close() }()
	}
	if len(args) == 0 {
		r, err := d.examineHost(ctx)
		if err != nil {
			return err
		}
		return d.finish(ctx, []doctor.Report{r}, remote.URL{})
	}
	u, open, err := d.target(args[0])
	if err != nil {
		return err
	}
	schemes := []remote.Scheme{u.Scheme}
	if d.compare != "" {
		if schemes, err = compared(d.compare); err != nil {
			return err
		}
		open = false
	}
	var reports []doctor.Report
	for _, scheme := range schemes {
		one := u
		if scheme != u.Scheme {
			one.Scheme, one.Port, one.HostPrint = scheme, 0, ""
		}
		r, err := d.examine(ctx, one, open)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	return d.finish(ctx, reports, u)
}

// finish writes what is written at the end, and tells how it was by the exit status.
func (d *examination) finish(ctx context.Context, reports []doctor.Report, u remote.URL) error {
	c := d.c
	if d.to != nil {
		if err := d.writeReport(d.to, reports, u); err != nil {
			return usagef("--report: %v", err)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	switch {
	case c.asJSON && d.compare != "":
		all := []examined{}
		for i := range reports {
			all = append(all, wired(&reports[i]))
		}
		c.jsonLine(all)
	case c.asJSON:
		c.jsonLine(wired(&reports[0]))
	case c.asJSONL:
		for i := range reports {
			r := wired(&reports[i])
			r.Checks = nil // they were told one by one
			c.jsonLine(r)
		}
	case d.compare != "":
		d.table(reports)
	}
	worst := doctor.OK
	for i := range reports {
		worst = max(worst, reports[i].Verdict())
	}
	switch worst {
	case doctor.Fail:
		return &exitError{exitProblems, ""}
	case doctor.Warn:
		return &exitError{exitWarnings, ""}
	}
	return nil
}

// target reads the argument; open says that it has no scheme.
func (d *examination) target(arg string) (u remote.URL, open bool, err error) {
	_, stored := d.c.hosts.Get(arg)
	host, port, both := strings.Cut(arg, ":")
	digits := both && port != "" && strings.Trim(port, "0123456789") == ""
	bare := !strings.Contains(arg, "/") && (!both || digits || strings.Count(arg, ":") > 1)
	if !stored && bare && (host != "" || strings.HasPrefix(arg, "::")) {
		at := strings.LastIndexByte(arg, '@') + 1
		if strings.Count(arg[at:], ":") > 1 && arg[at] != '[' {
			arg = arg[:at] + "[" + arg[at:] + "]" // an IPv6 address
		}
		if u, err = d.c.parse("ftp://" + arg); err != nil {
			return u, false, err
		}
		for _, s := range []remote.Scheme{remote.SFTP, remote.FTPS} { // the port says it
			if u.Port == s.Port() {
				u, err = d.c.parse(string(s) + "://" + arg)
				return u, false, err
			}
		}
		return u, true, nil
	}
	u, err = d.c.parse(arg)
	return u, false, err
}

// compared reads the schemes of --compare.
func compared(list string) ([]remote.Scheme, error) {
	known := []remote.Scheme{remote.FTP, remote.FTPS, remote.SFTP, remote.FTPTLS, remote.FTPPlain}
	var all []remote.Scheme
	for word := range strings.SplitSeq(list, ",") {
		s := remote.Scheme(strings.TrimSpace(word))
		if !slices.Contains(known, s) {
			return nil, usagef("--compare: %q is none of ftp, ftps, sftp, ftp+tls and ftp+plain", word)
		}
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all, nil
}

// examine looks at one URL and shows what is found as it comes, in the order of the
// report.
func (d *examination) examine(ctx context.Context, u remote.URL, open bool) (doctor.Report, error) {
	c := d.c
	o, err := c.options(u)
	if err != nil {
		return doctor.Report{}, err
	}
	c.spoken = append(c.spoken, u.Scheme)
	if !c.given("connect-timeout") {
		o.Connect = 0
	}
	if !c.given("timeout") {
		o.Timeout = 0
	}
	o.Trace = nil
	shown := &rows{out: c.stdout, all: c.verbose > 0, wait: map[int]doctor.Finding{}}
	do := doctor.Options{URL: u, Open: open, Remote: o, Deep: d.deep, Write: d.write, Command: d.command, Near: c.near}
	var mu sync.Mutex
	do.Trace = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if d.report != "" && d.dialogue.Len() < 1<<20 {
			fmt.Fprintf(&d.dialogue, "%s %s\n", time.Now().Format("15:04:05.000"), line)
		}
		if c.verbose >= 2 || c.logFile != nil {
			c.trace(line)
		}
	}
	text := !c.asJSON && !c.asJSONL && d.compare == ""
	switch {
	case c.asJSONL:
		do.Done = func(_ int, f doctor.Finding) {
			line := wireFinding(&f)
			line.Target = u.String()
			c.jsonLine(line)
		}
	case text && !c.quiet:
		do.Done = shown.add
	}
	r := doctor.Examine(ctx, do)
	if text && ctx.Err() == nil {
		d.tell(&r, shown)
	}
	return r, nil
}

// tell writes a report to its end; shown has written what it was told.
func (d *examination) tell(r *doctor.Report, shown *rows) {
	if d.c.quiet {
		for i := range r.Findings {
			if r.Findings[i].Verdict >= doctor.Warn {
				shown.write(&r.Findings[i])
			}
		}
	} else {
		for i, f := range r.Findings { // what was found before the checks began
			shown.add(i, f)
		}
	}
	if !d.c.quiet || r.Verdict() >= doctor.Warn {
		d.conclude(r)
	}
}

// command is the command line for a URL, with the options of this run.
func (d *examination) command(verb string, u remote.URL, more []string, leave ...string) string {
	others := onlyFTP
	if u.Scheme.IsFTP() {
		others = onlySFTP
	}
	line := d.c.again(verb, slices.Concat(leave, others)...)
	if verb == "doctor" { // what was looked at is looked at again
		for _, name := range []string{"deep", "write"} {
			if d.c.given(name) && !slices.Contains(more, "--"+name) {
				line += " --" + name
			}
		}
	}
	for _, m := range more {
		line += " " + shellWord(m)
	}
	return line + " " + shellWord(u.String())
}

// rows writes findings in their order, each as soon as those before it are there.
type rows struct {
	out  io.Writer
	all  bool // also checks that there was no use for
	next int
	wait map[int]doctor.Finding
}

func (r *rows) add(place int, f doctor.Finding) {
	if place < r.next {
		return
	}
	r.wait[place] = f
	for {
		f, ok := r.wait[r.next]
		if !ok {
			return
		}
		r.write(&f)
		delete(r.wait, r.next)
		r.next++
	}
}

func (r *rows) write(f *doctor.Finding) {
	word := f.Verdict.String()
	switch f.Verdict {
	case doctor.Skipped:
		if len(f.Do) == 0 && !r.all {
			return
		}
		word = "-"
	case doctor.Warn, doctor.Fail:
		word = strings.ToUpper(word)
	}
	fmt.Fprintf(r.out, "  %-11s %-6s%s\n", f.Check, word, withID(f))
}

// withID is what was seen with the id, which a server of ours has said already.
func withID(f *doctor.Finding) string {
	if f.ID == "" || strings.HasSuffix(f.Saw, "["+string(f.ID)+"]") {
		return f.Saw
	}
	return f.Saw + "   [" + string(f.ID) + "]"
}

// lasted is a duration for people who wait.
func lasted(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// conclude writes the verdict and explains the first cause.
func (d *examination) conclude(r *doctor.Report) {
	out := d.c.stdout
	first := r.First()
	switch r.Verdict() {
	case doctor.Fail, doctor.Warn:
	default:
		if i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Verdict == doctor.Skipped && len(f.Do) > 0 }); i >= 0 {
			fmt.Fprintf(out, "\nverdict: what could be looked at is well, in %s\n", lasted(r.Took))
			writeAdvice(out, adviceOf(&r.Findings[i]))
			return
		}
		fmt.Fprintf(out, "\nverdict: all is well, in %s\n", lasted(r.Took))
		return
	}
	fmt.Fprintf(out, "\nverdict: %s\n", withID(first))
	writeAdvice(out, adviceOf(first))
	var also []string
	for _, f := range r.Findings {
		if f.Verdict >= doctor.Warn && f.ID != "" && f.ID != first.ID && !slices.Contains(also, string(f.ID)) {
			also = append(also, string(f.ID))
		}
	}
	if len(also) > 0 {
		writeAdvice(out, []advised{{side: "also", text: strings.Join(also, ", ")}})
	}
}

// adviceOf is what to do about a finding, your side first.
func adviceOf(f *doctor.Finding) []advised {
	var rows []advised
	if cause, _ := f.Facts["cause"].(string); cause != "" && !strings.Contains(f.Saw, cause) {
		rows = append(rows, advised{side: "cause", text: cause})
	}
	rows = append(rows, advised{side: "why", text: f.Means})
	for _, side := range []explain.Side{explain.You, explain.Admin} {
		rows = append(rows, steps(slices.DeleteFunc(slices.Clone(f.Do), func(s explain.Step) bool { return s.Side != side }))...)
	}
	if f.ID != "" {
		rows = append(rows, advised{side: "more", text: "dray explain " + string(f.ID)})
	}
	return rows
}

// table is the comparison of several schemes.
func (d *examination) table(reports []doctor.Report) {
	for i := range reports {
		r := &reports[i]
		word, saw := "ok", ""
		if first := r.First(); first != nil {
			saw = withID(first)
		}
		switch r.Verdict() {
		case doctor.Fail:
			word = "FAIL"
		case doctor.Warn:
			word = "WARN"
		}
		fmt.Fprintf(d.c.stdout, "  %-36s%-6s%7s  %s\n", screen.Line(r.Target), word, lasted(r.Took), saw)
	}
}

// An examined is a report for programs.
type examined struct {
	V       int            `json:"v"`
	Target  string         `json:"target"`
	Verdict string         `json:"verdict"` // ok, warnings, problems
	First   string         `json:"first"`
	Seconds float64        `json:"seconds"`
	Checks  []checkedThing `json:"checks,omitempty"`
}

type checkedThing struct {
	Check    string         `json:"check"`
	Status   string         `json:"status"` // skip, ok, note, warn, fail
	ID       string         `json:"id,omitempty"`
	Saw      string         `json:"saw"`
	Means    string         `json:"means,omitempty"`
	Evidence map[string]any `json:"evidence,omitempty"`
	Seconds  float64        `json:"seconds"`
	You      []doStep       `json:"you,omitempty"`
	Admin    []doStep       `json:"admin,omitempty"`
	Target   string         `json:"target,omitempty"` // in lines: the URL as it was given
}

type doStep struct {
	Text string `json:"text,omitempty"`
	Run  string `json:"run,omitempty"`
}

func wired(r *doctor.Report) examined {
	e := examined{V: 1, Target: r.Target, Verdict: "ok", Seconds: r.Took.Seconds(), Checks: []checkedThing{}}
	switch r.Verdict() {
	case doctor.Warn:
		e.Verdict = "warnings"
	case doctor.Fail:
		e.Verdict = "problems"
	}
	if first := r.First(); first != nil {
		e.First = string(first.ID)
	}
	for i := range r.Findings {
		e.Checks = append(e.Checks, wireFinding(&r.Findings[i]))
	}
	return e
}

func wireFinding(f *doctor.Finding) checkedThing {
	t := checkedThing{Check: f.Check, Status: f.Verdict.String(), ID: string(f.ID), Saw: f.Saw, Means: f.Means, Evidence: f.Facts, Seconds: f.Took.Seconds()}
	for _, s := range f.Do {
		if s.Side == explain.Admin {
			t.Admin = append(t.Admin, doStep{s.Text, s.Run})
		} else {
			t.You = append(t.You, doStep{s.Text, s.Run})
		}
	}
	return t
}

// writeReport writes all that was found, with the dialogue, for somebody else: who logs
// in and where the home of the user is are not in it.
func (d *examination) writeReport(to *os.File, reports []doctor.Report, u remote.URL) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "dray %s on %s/%s\n", version(), runtime.GOOS, runtime.GOARCH)
	for i := range reports {
		r := &reports[i]
		fmt.Fprintf(&b, "\n%s at %s\n", r.Target, r.Began.Format(time.RFC3339))
		shown := &rows{out: &b, all: true}
		for i := range r.Findings {
			f := &r.Findings[i]
			shown.write(f)
			for _, name := range slices.Sorted(maps.Keys(f.Facts)) {
				text, ok := f.Facts[name].(string)
				if !ok {
					data, _ := json.Marshal(f.Facts[name])
					text = string(data)
				}
				fmt.Fprintf(&b, "      %s: %s\n", name, screen.Line(text))
			}
		}
	}
	if !d.server {
		fmt.Fprintf(&b, "\nThe dialogue:\n%s", d.dialogue.String())
	}
	text := b.String()
	if home := d.c.dirs.Home; len(home) > 1 {
		text = strings.ReplaceAll(text, home, "~")
	}
	users := []string{u.User}
	for i := range reports {
		users = append(users, reports[i].User)
	}
	for _, user := range users {
		if user == "" || user == "anonymous" || user == "ftp" || ordinary(user) {
			continue
		}
		for _, form := range []string{user, url.PathEscape(user), url.QueryEscape(user)} {
			text = withoutWord(text, form, "USER")
		}
	}
	if err := to.Chmod(0o600); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err // it was there before
	}
	if err := to.Truncate(0); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err // and no pipe
	}
	if _, err := to.WriteString(text); err != nil {
		return err
	}
	return to.Close()
}

// ordinary tells whether a word is one of ours: as the name of a user it says nothing of
// a person, and without it reports could not be read.
func ordinary(word string) bool {
	return slices.ContainsFunc(explain.All(), func(e explain.Entry) bool {
		text := e.Means + " " + e.You + " " + e.Admin
		return withoutWord(text, word, "") != text
	})
}

// withoutWord puts by in the place of a word wherever it is no part of a longer one, in
// upper or lower case.
func withoutWord(text, word, by string) string {
	letter := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	var b strings.Builder
	before := ' '
	for len(text) > 0 {
		if len(text) >= len(word) && strings.EqualFold(text[:len(word)], word) && !letter(before) {
			if next, _ := utf8.DecodeRuneInString(text[len(word):]); !letter(next) {
				b.WriteString(by)
				text, before = text[len(word):], ' '
				continue
			}
		}
		r, n := utf8.DecodeRuneInString(text)
		b.WriteString(text[:n])
		text, before = text[n:], r
	}
	return b.String()
}
