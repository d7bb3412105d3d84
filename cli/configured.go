package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"dray/account"
	"dray/config"
	"dray/record"
	"dray/serve"
)

// runConfigured serves what a configuration file says.
func runConfigured(cmd *cobra.Command, file, ready string, verbose bool) error {
	c, problems, err := loadConfig(file)
	if err != nil {
		return err
	}
	wrong, warnings := split(problems)
	if len(wrong) > 0 {
		return refuse("nothing was started", wrong)
	}
	if err := makeState(&c); err != nil {
		return err
	}
	if err := becomeUser(c.User, c.Accounts.Owners); err != nil {
		return err
	}
	options := func(c *config.Config) record.Options {
		level := c.Log.Level
		if verbose {
			level = "debug"
		}
		return record.Options{
			Format: c.Log.Format, Level: level, File: c.Log.File, Xferlog: c.Log.Xferlog, Auth: c.Log.Auth, Stderr: cmd.ErrOrStderr(),
		}
	}
	records, err := record.Open(options(&c))
	if err != nil {
		return err
	}
	defer records.Close()
	log := records.Logger()
	tell(log, warnings)
	if os.Geteuid() == 0 {
		log.Warn("the server runs as root: name another user in the configuration", "key", "user")
	}
	tellLacks(log)

	sockets, err := activation.ListenersWithNames()
	if err != nil {
		return fmt.Errorf("sockets of systemd: %w", err)
	}
	stop := listenForSignals()
	defer stop.end()
	running, err := serve.Start(serve.Setup{Config: c, Version: version(), Sockets: sockets, Events: records}, log)
	if err != nil {
		return fmt.Errorf("can't serve %s: %w", file, err)
	}
	printCard(cmd.OutOrStdout(), running.Card, account.Secret{}, "")
	l := &loaded{file: file, now: c, user: c.User, owners: c.Accounts.Owners, running: running, records: records, options: options}
	return stop.wait(running, log, ready, func() time.Duration { return l.now.Limits.StopGrace }, func() {
		notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonic().Microseconds()))
		status := "serving"
		if why := l.reload(); why != "" {
			status = filepath.Base(file) + " was not loaded, the one before goes on: " + why
		}
		// Also when nothing was loaded: it serves, and systemd waits for it.
		defer notifyReady(status)
		if ready != "" { // the addresses may be others now
			if err := writeReady(ready, running.Now()); err != nil {
				log.Error("the ready file can't be written", "error", err)
			}
		}
	})
}

// makeState makes the state directory when it is missing, for the user that the
// server will run as.
func makeState(c *config.Config) error {
	if _, err := os.Stat(c.State); !errors.Is(err, fs.ErrNotExist) {
		return nil // what is wrong with it, those say who use it
	}
	uid, gid := -1, -1
	if os.Geteuid() == 0 && c.User != "" {
		var err error
		if uid, gid, err = idsOf(c.User); err != nil {
			return err
		}
	}
	if err := newDir(c.State, 0o700, uid, gid); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

// A loaded is the configuration that a server runs with.
type loaded struct {
	file    string
	now     config.Config
	user    string // that of the start, and whether it kept what owners need
	owners  bool
	running *serve.Running
	records *record.Records
	options func(*config.Config) record.Options
}

// reload reads the file again. Whatever is wrong, the server goes on as it was,
// but in log files that are opened again: they may have been rotated. It returns
// in short what is wrong, "" for nothing; of the file it quotes nothing, which may
// be another one by mistake, with secrets in it.
func (l *loaded) reload() (why string) {
	log := l.records.Logger()
	c, problems, err := loadConfig(l.file)
	wrong, warnings := split(problems)
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("it has mistakes: %d", len(wrong))
	}
	if err == nil {
		err = l.records.Reopen(l.options(&c))
	}
	if err == nil {
		tell(log, warnings)
		err = l.running.Reload(serve.Setup{Config: c, Events: l.records})
	}
	if err != nil {
		if rerr := l.records.Reopen(l.options(&l.now)); rerr != nil {
			log.Error("log files can't be opened again", "error", rerr)
		}
		for _, p := range wrong {
			log.Error("configuration", "problem", p.String())
		}
		log.Error("the configuration was not loaded; the one before goes on", "file", l.file, "error", err)
		if len(wrong) > 0 {
			why, at := fmt.Sprintf("mistakes in it: %d, ", len(wrong)), wrong[0].Line
			if at > 0 { // else it is in the environment
				why += fmt.Sprintf("the first in line %d, ", at)
			}
			return why + "all in the log"
		}
		return err.Error()
	}
	l.now = c
	if c.User != l.user || c.Accounts.Owners && !l.owners && l.user != "" {
		log.Warn("user, and what accounts.owners needs, act on the next start: restart the server for them")
	}
	return ""
}

// tellLacks warns of what the system keeps from the server.
func tellLacks(log *slog.Logger) {
	if lacks := serve.Lacks(); lacks != "" {
		log.Warn(lacks)
	}
}

func tell(log *slog.Logger, warnings []config.Problem) {
	for _, p := range warnings {
		log.Warn("configuration", "warning", p.String())
	}
}

// loadConfig reads and checks a configuration.
func loadConfig(file string) (config.Config, []config.Problem, error) {
	c, problems, err := config.Load(file, os.Environ())
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, usagef("there is no configuration %s\n      dray init writes one, with the first account", file)
	}
	if err != nil {
		return c, nil, usagef("%v", err)
	}
	problems = append(problems, c.Check(serve.Outside())...)
	config.Sort(problems)
	return c, problems, nil
}

// split parts mistakes from warnings.
func split(ps []config.Problem) (wrong, warnings []config.Problem) {
	for _, p := range ps {
		if p.Warning {
			warnings = append(warnings, p)
		} else {
			wrong = append(wrong, p)
		}
	}
	return wrong, warnings
}
