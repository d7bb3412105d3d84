package cli

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

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

	sockets, err := activation.ListenersWithNames()
	if err != nil {
		return fmt.Errorf("sockets of systemd: %w", err)
	}
	stop := listenForSignals()
	defer stop.end()
	running, err := serve.Start(serve.Setup{Config: c, Sockets: sockets, Events: records}, log)
	if err != nil {
		return fmt.Errorf("can't serve %s: %w", file, err)
	}
	printCard(cmd.OutOrStdout(), running.Card, account.Secret{}, "")
	grace := c.Limits.StopGrace
	return stop.wait(running, log, ready, grace, func() {
		notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, monotonic().Microseconds()))
		defer notify(daemon.SdNotifyReady)
		reload(running, records, file, options)
	})
}

// monotonic is the clock that systemd compares a reload with.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// reload reads the file again. Whatever is wrong, the server goes on as it was.
func reload(running *serve.Running, records *record.Records, file string, options func(*config.Config) record.Options) {
	log := records.Logger()
	c, problems, err := loadConfig(file)
	wrong, warnings := split(problems)
	tell(log, warnings)
	for _, p := range wrong {
		log.Error("configuration", "problem", p.String())
	}
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%d problems", len(wrong))
	}
	if err == nil {
		err = records.Reopen(options(&c))
	}
	if err == nil {
		err = running.Reload(serve.Setup{Config: c, Events: records})
	}
	if err != nil {
		log.Error("the configuration was not loaded; the one before goes on", "file", file, "error", err)
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
