package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/peterh/liner"

	"dray/screen"
)

// historyFile is its name in the state directory.
const historyFile = "history"

// maxHistory is how many lines are kept, maxHistoryBytes how long the file may be.
const (
	maxHistory      = 1000
	maxHistoryBytes = 4 << 20
)

// A lineReader reads lines from the terminal, with the editor of lines between.
type lineReader struct {
	state *liner.State
	plain liner.ModeApplier // the terminal as programs want it
	edit  liner.ModeApplier // and as the editor wants it
}

// Interactive reads lines from the terminal until its end, and returns the status of
// exit. The end of ctx ends it too.
func (s *Shell) Interactive(ctx context.Context) int {
	defer s.Close()
	l := &lineReader{}
	l.plain, _ = liner.TerminalMode()
	l.state = liner.NewLiner()
	l.edit, _ = liner.TerminalMode()
	defer l.state.Close()
	l.state.SetCtrlCAborts(true)
	l.state.SetTabCompletionStyle(liner.TabPrints)
	l.state.SetWordCompleter(func(line string, pos int) (string, []string, string) {
		letters := []rune(line)
		head, all := s.complete(ctx, string(letters[:pos]))
		return head, all, string(letters[pos:])
	})
	s.line = l
	s.loadHistory()
	for _, line := range s.history {
		l.state.AppendHistory(line)
	}
	l.leave()
	aborted := 0
	for ctx.Err() == nil {
		s.jobs.report(s)
		line, err := l.read(ctx, s.prompt())
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, liner.ErrPromptAborted):
			if aborted++; aborted >= 2 {
				fmt.Fprintln(s.opt.Err, "exit with Ctrl-D")
				aborted = 0
			}
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(s.opt.Err)
			if s.stillRuns() {
				continue
			}
			return 0
		case err != nil:
			s.Complain(err)
			return s.status(err)
		}
		aborted = 0
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		s.remember(line)
		s.Do(ctx, line)
		if s.exit != nil {
			return *s.exit
		}
		if verb, _, _ := strings.Cut(line, " "); verb != "exit" && verb != "quit" && verb != "bye" {
			s.warned = false
		}
	}
	return s.front.Status(context.Cause(ctx))
}

// stillRuns tells once that jobs run, so that they are not ended by mistake.
func (s *Shell) stillRuns() bool {
	s.jobs.report(s)
	if len(s.jobs.all) == 0 || s.warned {
		return false
	}
	s.warned = true
	fmt.Fprintf(s.opt.Err, "%d commands run in the background: the same again ends them, wait waits for them\n", len(s.jobs.all))
	return true
}

// prompt shows where one is.
func (s *Shell) prompt() string {
	if s.place.conn == nil {
		return "dray> "
	}
	u := s.place.conn.url
	who := u.Host
	if u.User != "" {
		who = u.User + "@" + who
	}
	dir := s.place.cwd
	if home := s.place.conn.home; dir == "" || dir == home && home != "/" {
		dir = "~"
	} else if !strings.HasPrefix(dir, "/") {
		dir = "~/" + dir
	} else if rel, ok := strings.CutPrefix(dir, home+"/"); ok && home != "/" && home != "" {
		dir = "~/" + rel
	}
	p := screen.Line(who + ":" + dir)
	if r := []rune(p); len(r) > 50 {
		p = string(r[:20]) + "…" + string(r[len(r)-29:])
	}
	return printable(p) + "> "
}

// read reads a line. The terminal is as programs want it when it returns.
func (l *lineReader) read(ctx context.Context, prompt string) (string, error) {
	type result struct {
		line string
		err  error
	}
	got := make(chan result, 1)
	if l.edit != nil {
		_ = l.edit.ApplyMode()
	}
	go func() {
		line, err := l.state.Prompt(prompt)
		got <- result{line, err}
	}()
	select {
	case r := <-got:
		l.leave()
		return r.line, r.err
	case <-ctx.Done(): // what reads the terminal ends with the program
		l.leave()
		return "", context.Cause(ctx)
	}
}

func (l *lineReader) leave() {
	if l.plain != nil {
		_ = l.plain.ApplyMode()
	}
}

// remember keeps a line, unless it may hold a password.
func (s *Shell) remember(line string) {
	if Secret(line) || strings.ContainsAny(line, "\n\r\x00") {
		return
	}
	line = strings.ToValidUTF8(line, "?")
	s.line.state.AppendHistory(line)
	if n := len(s.history); n > 0 && s.history[n-1] == line {
		return
	}
	if s.history = append(s.history, line); len(s.history) > maxHistory {
		s.history = s.history[1:]
	}
	if s.opt.State == "" {
		return
	}
	f, err := os.OpenFile(filepath.Join(s.opt.State, historyFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // a shell without a history is a shell
	}
	_, _ = io.WriteString(f, line+"\n")
	_ = f.Close()
}

// loadHistory reads the history, and cuts the file to what is kept of it.
func (s *Shell) loadHistory() {
	if s.opt.State == "" {
		return
	}
	_ = os.MkdirAll(s.opt.State, 0o700)
	name := filepath.Join(s.opt.State, historyFile)
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	if fi, err := f.Stat(); err == nil {
		if fi.Mode().Perm()&0o077 != 0 {
			_ = f.Chmod(0o600)
		}
		if over := fi.Size() - maxHistoryBytes; over > 0 {
			_, _ = f.Seek(over, io.SeekStart)
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxHistoryBytes))
	if err != nil {
		return
	}
	total := 0
	for line := range bytes.Lines(b) {
		total++
		text := printable(strings.TrimRight(strings.ToValidUTF8(string(line), "?"), "\r\n"))
		if text != "" && len(text) <= maxLine && !Secret(text) {
			s.history = append(s.history, text)
		}
	}
	if over := len(s.history) - maxHistory; over > 0 {
		s.history = s.history[over:]
	}
	if total <= maxHistory+100 {
		return
	}
	part, err := os.CreateTemp(s.opt.State, ".history-") // 0600
	if err != nil {
		return
	}
	_, err = io.WriteString(part, strings.Join(s.history, "\n")+"\n")
	if err = errors.Join(err, part.Close()); err == nil {
		err = os.Rename(part.Name(), name)
	}
	if err != nil {
		_ = os.Remove(part.Name())
	}
}
