package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"dray/config"
	"dray/doctor"
	"dray/firewall"
	"dray/serve"
)

// withServer are the options that --server goes together with.
var withServer = []string{"server", "config", "report", "json", "jsonl", "quiet", "verbose", "max-time", "batch", "progress"}

// examineHost looks at the server of this host, and shows what is found as it comes.
func (d *examination) examineHost(ctx context.Context) (doctor.Report, error) {
	c := d.c
	for _, f := range c.typed {
		if !slices.Contains(withServer, f.Name) {
			return doctor.Report{}, usagef("--%s is about a server that is reached by a URL\n      leave it away: --server looks at this host", f.Name)
		}
	}
	o, err := d.hostOptions(ctx)
	if err != nil {
		return doctor.Report{}, err
	}
	shown := &rows{out: c.stdout, all: c.verbose > 0, wait: map[int]doctor.Finding{}}
	switch {
	case c.asJSONL:
		o.Done = func(_ int, f doctor.Finding) { c.jsonLine(wireFinding(&f)) }
	case !c.asJSON && !c.quiet:
		o.Done = shown.add
	}
	r := doctor.ExamineHost(ctx, o)
	if !c.asJSON && !c.asJSONL {
		d.tell(&r, shown)
	}
	return r, nil
}

// hostOptions reads the configuration that is looked at: the one that is named, else the
// usual one, else what "serve DIR" takes.
func (d *examination) hostOptions(ctx context.Context) (doctor.HostOptions, error) {
	o := doctor.HostOptions{Build: built()}
	named := d.c.given("config")
	file := d.config
	if file == "" {
		file = configFile(nil)
	}
	c, problems, err := config.Load(file, os.Environ())
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named && os.Getenv(configEnv) == "":
		taken := settled(config.Quick{}.Defaults().Config())
		o.Config, o.Ports = unnamed(taken), ofConfig(firewall.Here(ctx), &taken).ports
		return o, nil
	case errors.Is(err, fs.ErrNotExist):
		return o, usagef("there is no configuration %s\n      dray init writes one, with the first account", file)
	case err != nil:
		return o, usagef("%v", err)
	}
	outside := serve.Outside()
	// What the doctor looks at itself, with what to do about it.
	outside.Certificate, outside.HostKey, outside.Writable = nil, nil, nil
	outside.Ephemeral = func() (first, last uint16) { return 0, 0 }
	o.Problems = append(problems, c.Check(outside)...)
	config.Sort(o.Problems)
	if len(c.Listeners) == 0 {
		c.Listeners = config.DefaultListeners()
	}
	taken := settled(c)
	o.Config, o.Ports = c, ofConfig(firewall.Here(ctx), &taken).ports
	o.Accounts = func(ctx context.Context) ([]doctor.Account, error) { return accountsOf(ctx, file, &c) }
	return o, nil
}

// accountsOf lists the accounts by another process, which becomes their owner before it
// opens the database: files that root made beside it could not be opened by the server.
func accountsOf(ctx context.Context, file string, c *config.Config) ([]doctor.Account, error) {
	if _, err := os.Stat(c.Database()); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var said strings.Builder
	cmd := exec.CommandContext(ctx, program, "user", "ls", "--json", "--config", file)
	cmd.Stderr = &said
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		if line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n"); line != "" {
			return nil, errors.New(line)
		}
		return nil, err
	}
	var all []doctor.Account
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var v view
		switch err := dec.Decode(&v); {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("what dray user ls says can't be read: %w", err)
		}
		a := doctor.Account{Account: v.Account, Home: v.Home}
		a.Name = v.Name
		a.Disabled = v.State != "active"
		a.Made = c.Accounts.MakeHome && c.Accounts.Home != "" && v.Home == strings.ReplaceAll(c.Accounts.Home, "{name}", v.Name)
		all = append(all, a)
	}
}

// built is the day of the commit that this program was made from; zero where it does not
// know.
func built() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, _ := time.Parse(time.RFC3339, s.Value)
			return t
		}
	}
	return time.Time{}
}
