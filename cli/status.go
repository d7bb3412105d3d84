package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"dray/admin"
	"dray/config"
	"dray/screen"
)

func statusCommand() *cobra.Command {
	var file, socket string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "show what the running server does, and what keeps its clients from transferring",
		Long: `Ask the server that runs on this machine: its listeners and passive ports, who is
logged in and what each does right now, and what it has seen of data connections
that failed, with the id that "dray explain" knows.

The server answers at a socket, admin.sock in its state directory unless the
configuration has another one under admin: to root, and to the user that it runs
as. Without --config and --socket the usual configuration is looked at, and then
the state directory of "dray serve DIR".

The status is 0 when a server answers, and 1 when none does.`,
		Example: `  dray status
  sudo dray status --config /etc/dray/dray.toml
  dray status --json | jq '.watchdog.findings'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" && socket != "" {
				return usagef("status takes --config or --socket, not both\n      --socket says it all")
			}
			places, err := sockets(file, socket)
			if err != nil {
				return err
			}
			return showStatus(cmd.OutOrStdout(), places, asJSON)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&file, "config", "", "`FILE` of the configuration (default $"+configEnv+", else ~/.config/dray/dray.toml, else "+DefaultConfig+")")
	f.StringVar(&socket, "socket", "", "`PATH` of the socket (default that of the configuration)")
	f.BoolVar(&asJSON, "json", false, "one JSON object, with all that is known")
	completeFlags(cmd)
	return cmd
}

// sockets are where a server may answer, the likeliest first.
func sockets(file, socket string) ([]string, error) {
	if socket != "" {
		return []string{socket}, nil
	}
	var places []string
	named := file != ""
	if !named {
		file = configFile(nil)
	}
	c, _, err := config.Load(file, os.Environ())
	switch {
	case err == nil:
		places = append(places, c.AdminSocket())
	case named && errors.Is(err, fs.ErrNotExist):
		return nil, usagef("there is no configuration %s\n      --socket names the socket itself", file)
	case named:
		return nil, usagef("%v", err)
	}
	if !named {
		if own := (&config.Config{State: config.StateDir()}); own.State != "" && !slices.Contains(places, own.AdminSocket()) {
			places = append(places, own.AdminSocket())
		}
	}
	return places, nil
}

// A wireStatus is what --json writes.
type wireStatus struct {
	V        int             `json:"v"`
	Running  bool            `json:"running"`
	Socket   string          `json:"socket,omitempty"`
	Looked   []wirePlace     `json:"looked,omitempty"` // where no server answers
	Info     *admin.Info     `json:"info,omitempty"`
	Sessions []admin.Session `json:"sessions"` // null: no server answers
	More     int             `json:"sessions_left_out,omitempty"`
	Watchdog *admin.Watchdog `json:"watchdog,omitempty"`
}

type wirePlace struct {
	Socket string `json:"socket"`
	Why    string `json:"why"`
}

// showStatus asks the first server that answers.
func showStatus(w io.Writer, places []string, asJSON bool) error {
	s := wireStatus{V: 1}
	denied := false
	for _, place := range places {
		c, err := admin.Dial(place)
		if err == nil {
			s.Running, s.Socket = true, place
			defer c.Close()
			if err := s.ask(c); err != nil {
				return fmt.Errorf("the server at %s: %w", place, err)
			}
			break
		}
		why := err.Error()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			why = "there is none"
		case errors.Is(err, fs.ErrPermission):
			why, denied = "this user may not ask", true
		case errors.Is(err, admin.ErrSilent):
			why = "nobody answers there"
		}
		s.Looked = append(s.Looked, wirePlace{place, why})
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			return err
		}
	}
	switch {
	case !s.Running:
		return s.none(denied)
	case !asJSON:
		return s.write(w, time.Now())
	}
	return nil
}

func (s *wireStatus) ask(c *admin.Client) error {
	info, err := c.Info()
	if err != nil {
		if errors.Is(err, io.EOF) { // it has hung up at once
			return errors.New("it does not answer this user, or has many questions already; ask as root, or as the user that it runs as")
		}
		return err
	}
	seen, err := c.Watchdog()
	if err != nil {
		return err
	}
	s.Info, s.Watchdog = &info, &seen
	if s.Sessions, s.More, err = c.Sessions(); s.Sessions == nil {
		s.Sessions = []admin.Session{}
	}
	return err
}

// none is the error of no server.
func (s *wireStatus) none(denied bool) error {
	text := "no server answers"
	for _, p := range s.Looked {
		text += "\n" + p.Socket + ": " + p.Why
	}
	if denied {
		text += "\nask as root: sudo dray status"
	} else {
		text += "\nstart one: systemctl start dray, or dray serve --config FILE, or dray serve DIR; --socket PATH asks elsewhere"
	}
	return &exitError{exitFailed, text}
}

// write is for people.
func (s *wireStatus) write(w io.Writer, now time.Time) error {
	i := s.Info
	fmt.Fprintf(w, "dray %s, process %d, up %s\n", screen.Line(i.Version), i.PID, screen.Duration(now.Sub(i.Started)))
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-15s %s\n", name, screen.Line(fmt.Sprintf(format, args...)))
	}
	switch {
	case i.Config != "":
		row("configuration", "%s", i.Config)
	case i.Directory != "":
		row("serves", "%s", i.Directory)
	}
	for _, l := range i.Listeners {
		text := l.Protocol + " on " + l.Address
		if l.Passive != "" {
			text += ", passive ports " + l.Passive
		}
		if l.Plain {
			text += ", clear text allowed"
		}
		row("listener", "%s: %s", l.Name, text)
	}
	for _, p := range s.Watchdog.Pools {
		text := fmt.Sprintf("%s: %d of %d in use", p.Range, p.Held, p.Size)
		if p.Exhausted > 0 && p.Last != nil {
			text += fmt.Sprintf("; exhausted %d times, the last %s ago", p.Exhausted, screen.Duration(now.Sub(*p.Last)))
		}
		row("passive ports", "%s", text)
	}
	switch {
	case i.Told != "" && i.Told != i.Public:
		row("public address", "%s (%s)", i.Told, i.Public)
	case i.Public != "":
		row("public address", "%s", i.Public)
	}
	for _, c := range i.Certificates {
		kind := ""
		if c.SelfSigned {
			kind = "self-signed, "
		}
		row("certificate", "%s: %s%s", strings.Join(c.Names, ", "), kind, validUntil(c.Until, now))
	}
	fmt.Fprintln(w)
	if err := s.writeSessions(w, now); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if len(s.Watchdog.Findings) == 0 {
		_, err := fmt.Fprintln(w, "Nothing was seen that keeps clients from transferring.")
		return err
	}
	for _, f := range s.Watchdog.Findings {
		from := ""
		if f.Network != "" {
			from = "clients of " + f.Network + ", "
		}
		fmt.Fprintf(w, "%s[%s]\n", screen.Line(fmt.Sprintf("%s%s, the last %s ago   ", from, times(f.Times), screen.Duration(now.Sub(f.Last)))), screen.Line(f.ID))
		fmt.Fprintf(w, "      %s\n      more: dray explain %s\n", screen.Line(f.Text), screen.Line(f.ID))
	}
	return nil
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// validUntil says how long a certificate is valid.
func validUntil(t, now time.Time) string {
	day := t.Local().Format(time.DateOnly)
	switch days := int(t.Sub(now).Hours() / 24); {
	case !now.Before(t):
		return "expired on " + day
	case days < 1:
		return "valid until " + day + ", less than a day more"
	default:
		return fmt.Sprintf("valid until %s, %d days more", day, days)
	}
}

func (s *wireStatus) writeSessions(w io.Writer, now time.Time) error {
	if len(s.Sessions) == 0 {
		_, err := fmt.Fprintln(w, "Nobody is logged in.")
		return err
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "ID\tUSER\tFROM\tPROTOCOL\tSECURED BY\tFOR\tDOES")
	for _, one := range s.Sessions {
		secure := one.Secure
		if secure == "" {
			secure = "nothing"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", screen.Line(one.ID), screen.Line(one.User), screen.Line(one.Peer), screen.Line(one.Protocol),
			screen.Line(secure), screen.Duration(now.Sub(one.Since)), screen.Line(does(one.Tasks)))
	}
	if s.More > 0 {
		fmt.Fprintf(out, "and %d more\n", s.More)
	}
	return out.Flush()
}

// does says what a session does, in a line.
func does(tasks []admin.Task) string {
	if len(tasks) == 0 {
		return "-"
	}
	t := tasks[0]
	text := t.What + " " + t.Path
	switch {
	case t.What == "listing":
	case t.Size >= 0:
		text += fmt.Sprintf(", %s of %s, %s/s", screen.Size(t.Bytes), screen.Size(t.Size), screen.Size(t.Rate))
	default:
		text += fmt.Sprintf(", %s, %s/s", screen.Size(t.Bytes), screen.Size(t.Rate))
	}
	if n := len(tasks) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
