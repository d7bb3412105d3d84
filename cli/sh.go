package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dray/fault"
	"dray/mirror"
	"dray/remote"
	"dray/screen"
	"dray/shell"
	"dray/sshclient"
)

func shCommand() *cobra.Command {
	c, t := &client{}, &transfers{}
	var script, batchFile, command string
	cmd := &cobra.Command{
		Use:   "sh [URL]",
		Short: "work on a server interactively, with the commands of sftp and lftp",
		Long: `Work on a server interactively. The commands are those of sftp and lftp; help lists
them, Tab completes commands and names, Ctrl-C ends a command, Ctrl-D the shell.

With -f, and where standard input is no terminal, lines are read as a script, which
ends at the first failure with its status. A line that begins with - may fail; one
that begins with @ is not told with -v; # begins a comment. -b is -f without
questions, as of sftp. -c runs one line. Commands are separated by ; && or ||; a & at
the end runs a command in the background.

` + shellVerbs(),
		Example: `  dray sh sftp://alice@example.net/
  dray sh -c 'cd pub; mget *.iso' ftp://ftp.example.net/
  dray sh -f nightly.dray nas:backups`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("sh takes one URL, and there are %d\n      open connects to another server from inside", len(args))
			}
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVarP(&script, "script", "f", "", "read commands from `FILE`; - is standard input")
	cmd.Flags().StringVarP(&batchFile, "batch-file", "b", "", "the same, and ask nothing: `FILE` as of sftp -b")
	cmd.Flags().StringVarP(&command, "command", "c", "", "run the commands of `LINE`")
	c.shellFlags(cmd.Flags(), t)
	c.yesFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c.cmd, c.stdout = cmd, cmd.OutOrStdout()
		cmd.Flags().Visit(func(f *pflag.Flag) { c.typed = append(c.typed, f) })
		if err := environment(cmd.Flags()); err != nil {
			return err
		}
		if batchFile != "" {
			c.batch = true
			if script == "" {
				script = batchFile
			} else {
				return usagef("-f and -b do not go together")
			}
		}
		if err := c.refuse("is not for sh, which writes what its commands write; --jsonl tells of its transfers", "json"); err != nil {
			return err
		}
		if len(args) == 0 {
			if err := c.refuse("is for the URL, which is not there\n      open -u NAME -p N HOST connects from inside", "user", "port"); err != nil {
				return err
			}
		}
		if script != "" && command != "" {
			return usagef("-c and -f do not go together")
		}
		if err := c.begin(); err != nil {
			return err
		}
		ctx, end := context.WithCancelCause(context.Background())
		defer end(nil)
		q := &questions{c: c, to: make(chan os.Signal, 1)}
		interrupts, stop := q.signals(end)
		defer stop()
		if c.maxTime > 0 {
			timer := time.AfterFunc(c.maxTime, func() {
				end(fault.New(fault.Canceled, fault.IDMaxTime, strconv.FormatFloat(c.maxTime.Seconds(), 'f', -1, 64)))
			})
			defer timer.Stop()
		}
		o, err := t.options(c)
		if err != nil {
			return err
		}
		if o.FileRate > 0 {
			return usagef("--limit-rate: in the shell a rate is of all transfers together; leave /file away")
		}
		status, err := c.shell(ctx, shell.Options{
			Out: c.stdout, Err: c.show, Interrupts: interrupts, Verbose: c.verbose > 0,
			Home: c.dirs.Home, State: c.dirs.State, Version: version(), Transfer: o, Limit: t.limit, Timeout: c.timeout,
		}, q, args, script, command)
		if c.logFile != nil {
			_ = c.logFile.Close()
		}
		switch {
		case err != nil:
			return c.over(ctx, err)
		case status != 0:
			return &exitError{status, ""}
		}
		return nil
	}
	return cmd
}

// shellFlags are those of the client, and of transfers what is no matter of one
// command. -b is sftp's.
func (c *client) shellFlags(f *pflag.FlagSet, t *transfers) {
	f.SortFlags = false
	common := pflag.NewFlagSet("client", pflag.ContinueOnError)
	c.flags(common)
	common.VisitAll(func(fl *pflag.Flag) {
		if fl.Name == "batch" {
			fl.Shorthand = ""
		}
		f.AddFlag(fl)
	})
	moving := pflag.NewFlagSet("transfers", pflag.ContinueOnError)
	moving.SortFlags = false
	t.flags(moving)
	moving.Lookup("limit-rate").Usage = "move at most so many bytes a second, a `RATE` as 500K or 5M"
	wanted := []string{"resume", "verify", "algo", "inplace", "temp-suffix", "parallel", "limit-rate", "retry", "retry-max-time", "retry-on", "no-clobber", "on-conflict", "preserve"}
	moving.VisitAll(func(fl *pflag.Flag) {
		if slices.Contains(wanted, fl.Name) {
			f.AddFlag(fl)
		}
	})
}

// shellVerbs is the table of the shell's commands, for help and the reference.
func shellVerbs() string {
	var b strings.Builder
	b.WriteString("Commands:\n")
	for _, v := range shell.Verbs() {
		fmt.Fprintf(&b, "\n    %-10s %s", v.Name, v.Help)
	}
	return b.String()
}

// questions are what somebody is asked while a shell runs. What reads an answer from
// the terminal can't be ended from outside, and would take what is typed at the next
// prompt: so an interrupt is kept until the answer is there.
type questions struct {
	c    *client
	to   chan os.Signal // for the command that runs
	mu   sync.Mutex
	hold bool // the shell goes on after the question
	open int
	hit  bool
}

// interrupted tells whether an interrupt was kept.
func (q *questions) interrupted() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == 0 || !q.hold {
		return false
	}
	if !q.hit {
		q.hit = true
		fmt.Fprintln(q.c.show, "\nReturn ends this")
	}
	return true
}

// holding makes a question one that an interrupt does not leave open.
func holding[Q, A any](q *questions, ask func(context.Context, Q) (A, error)) func(context.Context, Q) (A, error) {
	if ask == nil {
		return nil
	}
	return func(ctx context.Context, question Q) (A, error) {
		q.mu.Lock()
		q.open++
		q.mu.Unlock()
		answer, err := ask(ctx, question)
		q.mu.Lock()
		q.open--
		hit := q.hit
		q.hit = q.hit && q.open > 0
		q.mu.Unlock()
		if !hit {
			return answer, err
		}
		q.forward(os.Interrupt)
		select { // nothing else is asked meanwhile
		case <-ctx.Done():
		case <-time.After(time.Second): // what asks is in the background
		}
		var none A
		return none, fault.New(fault.Canceled, fault.IDInterrupted)
	}
}

// forward hands a signal to the command that runs.
func (q *questions) forward(s os.Signal) {
	select {
	case q.to <- s:
	default:
	}
}

// signals hands SIGINT to the command that runs; SIGTERM ends the shell.
func (q *questions) signals(end context.CancelCauseFunc) (interrupts <-chan os.Signal, stop func()) {
	got, over := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	go func() {
		ending := false
		for {
			select {
			case s := <-got:
				switch {
				case s == syscall.SIGTERM && ending:
					os.Exit(exitTerm)
				case s == syscall.SIGTERM:
					ending = true
					end(&signalError{"SIGTERM", exitTerm})
				case q.interrupted():
				default:
					q.forward(s)
				}
			case <-over:
				return
			}
		}
	}()
	return q.to, func() {
		signal.Stop(got)
		close(over)
	}
}

// shell runs a shell as the options say, and returns its status.
func (c *client) shell(ctx context.Context, o shell.Options, q *questions, args []string, script, command string) (int, error) {
	out, isFile := c.stdout.(*os.File)
	stdin, inFile := c.cmd.InOrStdin().(*os.File)
	o.Terminal = isFile && term.IsTerminal(int(out.Fd()))
	if o.Terminal {
		o.Width = func() int {
			w, _, _ := term.GetSize(int(out.Fd()))
			return w
		}
	}
	var lines io.Reader
	switch {
	case script == "-":
		lines = c.cmd.InOrStdin()
	case script != "":
		f, err := os.Open(script)
		if err != nil {
			return 0, usagef("%v", err)
		}
		defer f.Close()
		lines = f
	case command == "" && !(o.Terminal && inFile && term.IsTerminal(int(stdin.Fd()))):
		lines = c.cmd.InOrStdin()
	}
	if c.passwords.Ask != nil {
		c.passwords.Ask = holding(q, c.passwords.Ask)
	}
	sh := shell.New(&shellFront{c, q}, o)
	if len(args) > 0 {
		u, err := c.parse(args[0])
		if err != nil {
			return 0, err
		}
		if err := sh.Open(ctx, shell.Open{URL: args[0], User: u.User, Password: u.Password, HasPassword: u.HasPassword, Port: u.Port}); err != nil {
			sh.Close()
			return 0, atURL(err, u.String())
		}
	}
	switch {
	case command != "":
		return sh.Command(ctx, command), nil
	case lines != nil:
		return sh.Script(ctx, lines), nil
	}
	q.mu.Lock()
	q.hold = true
	q.mu.Unlock()
	return sh.Interactive(ctx), nil
}

// A shellFront is what the shell needs of the command line.
type shellFront struct {
	c *client
	q *questions
}

var _ shell.Front = (*shellFront)(nil)

// Open makes the tree of a URL.
func (f *shellFront) Open(o shell.Open) (remote.URL, remote.Tree, error) {
	u, err := remote.Parse(o.URL, f.c.hosts)
	if err != nil {
		return u, nil, usagef("%v", err)
	}
	if err := asItIs(u, "the shell"); err != nil {
		return u, nil, err
	}
	if o.User != "" {
		u.User, u.Password, u.HasPassword = o.User, o.Password, o.HasPassword
	}
	if o.Port != 0 {
		u.Port = o.Port
	}
	tree, err := f.tree(u)
	return u, tree, err
}

// tree makes the tree of a URL, whose questions are those of the shell.
func (f *shellFront) tree(u remote.URL) (remote.Tree, error) {
	opt, err := f.c.options(u)
	if err != nil {
		return nil, err
	}
	opt.Trust.Ask = holding(f.q, opt.Trust.Ask)
	opt.SSH.Ask = holding(f.q, opt.SSH.Ask)
	if prompt := opt.SSH.Prompt; prompt != nil {
		opt.SSH.Prompt = func(ctx context.Context, instruction string, prompts []sshclient.Prompt) ([]string, error) {
			return holding(f.q, func(ctx context.Context, prompts []sshclient.Prompt) ([]string, error) {
				return prompt(ctx, instruction, prompts)
			})(ctx, prompts)
		}
	}
	return remote.Open(u, opt)
}

// shown is a client whose messages go to w.
func (f *shellFront) shown(w io.Writer) *client {
	if w == f.c.show {
		return f.c
	}
	c := *f.c
	c.show = &display{w: w, quiet: f.c.show.quiet, width: f.c.show.width}
	return &c
}

// Transfer makes a run and shows it.
func (f *shellFront) Transfer(ctx context.Context, t shell.Transfer, add func(*mirror.Run) error) error {
	if _, err := t.Tree.Traits(ctx); err != nil { // one failure of the connection, not one for each file
		return err
	}
	c := f.shown(t.Err)
	r := c.reporter(t.Verb, t.Again)
	o := t.Options
	o.Tell, r.dry = r.tell, o.DryRun
	began := time.Now()
	run := mirror.NewRun(ctx, t.Tree, o)
	if !t.Silent {
		c.show.mu.Lock()
		c.show.speed = speed{}
		c.show.mu.Unlock()
		c.show.begin(run.Progress)
	}
	err := add(run)
	sum := run.Wait()
	if !t.Silent {
		c.show.end()
	}
	if err != nil {
		return err
	}
	if err := r.end(sum, time.Since(began)); err != nil {
		return &shell.Told{Err: err}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// Complain tells failures as every command does.
func (f *shellFront) Complain(w io.Writer, all []shell.Failure) {
	c := f.shown(w)
	fails := failures{c: c}
	for _, one := range all {
		var told *shell.Told
		var misuse *shell.Misuse
		var program *shell.ProgramError
		var ee *exitError
		switch {
		case errors.As(one.Err, &told):
		case errors.As(one.Err, &misuse):
			fmt.Fprintln(c.show, "dray: "+describeError(usagef("%s", misuse.Text)))
		case errors.As(one.Err, &program):
			fmt.Fprintln(c.show, "dray: "+screen.Line(program.Error()))
		case errors.As(one.Err, &ee):
			if text := describeError(ee); text != "" {
				fmt.Fprintln(c.show, "dray: "+text)
			}
		default:
			fails.add(one.Where, one.Err)
		}
	}
	_ = fails.end()
}

// Status is the exit status of an error.
func (f *shellFront) Status(err error) int {
	var misuse *shell.Misuse
	var program *shell.ProgramError
	switch {
	case errors.As(err, &misuse):
		return exitUsage
	case errors.As(err, &program):
		return exitFailed
	}
	return exitOf(err)
}

// Confirm asks whoever sits there; nobody is asked with --yes and in batch.
func (f *shellFront) Confirm(ctx context.Context, question string) bool {
	if f.c.tty == nil || f.c.yes {
		return true
	}
	ok, err := holding(f.q, f.c.tty.confirm)(ctx, question)
	return ok && err == nil
}
