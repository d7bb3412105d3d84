package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"dray/admin"
	"dray/config"
	"dray/firewall"
)

// What "dray firewall" is asked for.
type firewallAsk struct {
	name            string // a dialect of firewall, or auto
	config          string
	usual           string // the configuration where none is named; "": that of every command
	ftp, ftps, sftp []string
	passive, from   []string
	undo, apply     bool
	json            bool

	runs func(*config.Config) (admin.Info, bool) // what the server that runs by it says
}

func firewallCommand() *cobra.Command {
	ask := firewallAsk{runs: runs}
	names, doc := firewall.Dialects()
	var rows strings.Builder
	for _, name := range names {
		fmt.Fprintf(&rows, "\n  %-11s %s", name, doc[name])
	}
	cmd := &cobra.Command{
		Use:   "firewall [auto|" + strings.Join(names, "|") + "]",
		Short: "print the firewall rules that the server needs, as commands to paste",
		Long: `Print the commands that let clients reach the listeners and the passive range, in
the words of one firewall; auto, the default, looks for those that filter here:

  auto        firewalld or ufw, with nft where it filters beside them; else nft and iptables` + rows.String() + `

Nothing is changed without --apply. Rules are put into the chains that filter, one
each, known by the name "dray"; what is there already is left out, so a second run
adds nothing. --undo takes them back.

The ports are those of the configuration (dray config --help says which); without
one those of the "dray serve DIR" that runs, else those of vsftpd, ProFTPD or
Pure-FTPd where one of them is configured here, else those that "dray serve" takes. --ftp, --ftps and --sftp name them in place of all
that.`,
		Example: `  dray firewall
  dray firewall --apply
  dray firewall nft --from 192.0.2.0/24 --from 2001:db8::/32
  dray firewall --undo --apply
  dray firewall aws --config /etc/dray/dray.toml
  dray firewall kubernetes --ftp 21 --passive 30000-30009 | kubectl apply -f -`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return usagef("firewall takes one name\n      for example: dray firewall nft")
			case len(args) == 1 && args[0] != "auto" && !slices.Contains(names, args[0]):
				return usagef("there is no firewall %q\n      known are auto, %s", args[0], strings.Join(names, ", "))
			}
			return nil
		},
		ValidArgs: append([]string{"auto"}, names...),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask.name = "auto"
			if len(args) > 0 {
				ask.name = args[0]
			}
			return ask.run(firewall.Here(cmd.Context()), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&ask.apply, "apply", false, "run the commands, one after another, until one fails; needs root")
	f.BoolVar(&ask.undo, "undo", false, "take back what was done")
	f.StringArrayVar(&ask.from, "from", nil, "let in this network `CIDR` only; may be repeated")
	f.StringVar(&ask.config, "config", "", "take the ports from `FILE`")
	f.StringArrayVar(&ask.ftp, "ftp", nil, "port `N` or address of a listener for FTP and AUTH TLS, of whatever program; may be repeated")
	f.StringArrayVar(&ask.ftps, "ftps", nil, "the same `N` for implicit FTPS")
	f.StringArrayVar(&ask.sftp, "sftp", nil, "the same `N` for SFTP")
	f.StringArrayVar(&ask.passive, "passive", nil, "ports `A-B` for data connections, in place of those configured; may be repeated")
	f.BoolVar(&ask.json, "json", false, "write the plan as JSON")
	completeFlags(cmd)
	return cmd
}

// needs are ports, and where they come from.
type needs struct {
	ports   firewall.Ports
	source  string
	remarks []string // to be told before the rules
}

func (n *needs) remark(format string, args ...any) {
	n.remarks = append(n.remarks, fmt.Sprintf(format, args...))
}

// needs finds the ports: those that were named, else those of the configuration,
// else those of another server of this host, else those that serve takes.
func (ask *firewallAsk) needs(h *firewall.Host) (needs, error) {
	var n needs
	var err error
	switch named := len(ask.ftp)+len(ask.ftps)+len(ask.sftp) > 0; {
	case named && ask.config != "":
		return n, usagef("--config says which listeners there are, and so do --ftp, --ftps and --sftp\n      leave one of them away")
	case named:
		n, err = ask.named()
	default:
		n, err = ask.configured(h)
	}
	if err != nil {
		return n, err
	}
	if len(ask.passive) > 0 {
		n.ports.Passive = nil
		for _, s := range ask.passive {
			r, ok := firewall.ParseRange(s, "-")
			if !ok {
				return n, usagef("--passive: %q is no range of ports\n      write two ports, as %s", s, config.DefaultPassive)
			}
			n.ports.Passive = append(n.ports.Passive, r)
		}
	}
	for _, s := range ask.from {
		network, err := netip.ParsePrefix(s)
		if addr, aerr := netip.ParseAddr(s); err != nil && aerr == nil && addr.Zone() == "" {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return n, usagef("--from: %q is no network\n      write it as 192.0.2.0/24 or 2001:db8::/32", s)
		}
		n.ports.From = append(n.ports.From, network)
	}
	return n, nil
}

// named are the ports of the options alone.
func (ask *firewallAsk) named() (needs, error) {
	n := needs{source: "the options"}
	for _, row := range []struct {
		protocol string
		at       []string
		active   uint16
	}{{"ftp", ask.ftp, 20}, {"ftps", ask.ftps, 989}, {"sftp", ask.sftp, 0}} {
		for _, at := range row.at {
			if at == config.Off {
				continue
			}
			host, port, err := config.SplitAddr(at)
			if err != nil || port == 0 {
				return n, usagef("--%s: %q is no port\n      write a number, as --%s %d", row.protocol, at, row.protocol, config.Ports(row.protocol)[0])
			}
			n.ports.Listeners = append(n.ports.Listeners, listenerAt(row.protocol, host, port))
			if row.active != 0 && !slices.Contains(n.ports.Active, row.active) {
				n.ports.Active = append(n.ports.Active, row.active)
			}
		}
	}
	if len(n.ports.Active) > 0 {
		n.ports.Passive = []firewall.Range{passiveRange(config.DefaultPassive)}
	}
	return n, nil
}

// configured are the ports of a configuration.
func (ask *firewallAsk) configured(h *firewall.Host) (needs, error) {
	file := ask.config
	if file == "" {
		file = cmp.Or(ask.usual, configFile(nil))
	}
	c, problems, err := config.Load(file, os.Environ())
	switch {
	case errors.Is(err, fs.ErrNotExist) && ask.config == "" && os.Getenv(configEnv) == "":
		bare := config.Config{State: config.StateDir(), Listeners: config.DefaultListeners(), Passive: config.DefaultPassive}
		if info, ok := ask.runs(&bare); ok {
			bare = asItRuns(bare, info)
			n := ofConfig(h, &bare)
			n.source = fmt.Sprintf("the server that runs (pid %d)", info.PID)
			return n, nil
		}
		if s, ok := firewall.Installed(h); ok {
			return ofServer(s), nil
		}
		n := ofConfig(h, &bare)
		n.source = "the ports that dray serve takes: there is no configuration " + file
		return n, nil
	case errors.Is(err, fs.ErrNotExist):
		return needs{}, usagef("there is no configuration %s\n      dray init writes one; --ftp, --ftps, --sftp and --passive do without", file)
	case err != nil:
		return needs{}, usagef("%v", err)
	}
	if wrong, _ := split(problems); len(wrong) > 0 {
		return needs{}, refuse(file+" can't be used", wrong)
	}
	if len(c.Listeners) == 0 {
		c.Listeners = config.DefaultListeners()
	}
	if info, ok := ask.runs(&c); ok {
		c = asItRuns(c, info)
	}
	n := ofConfig(h, &c)
	n.source = file
	return n, nil
}

// ofConfig are the ports of the listeners of a configuration.
func ofConfig(h *firewall.Host, c *config.Config) needs {
	var n needs
	n.ports.Public = c.Public
	for _, l := range c.Listeners {
		at := l.Listen
		if len(at) == 0 {
			port := n.taken(h, l.Protocol)
			at = []string{fmt.Sprintf(":%d", port)}
		}
		here := false
		for _, at := range at {
			host, port, err := config.SplitAddr(at)
			if err != nil || port == 0 { // 0 is any port: no rule can name it
				continue
			}
			if owner := h.Owner(port); l.Protocol == "sftp" && isOther(owner, port) && len(l.Listen) > 0 {
				n.remark("Port %d is %s's, not dray's: it is left as it is.", port, owner)
				continue
			}
			here = true
			n.ports.Listeners = append(n.ports.Listeners, listenerAt(l.Protocol, host, port))
		}
		if !here || l.Protocol == "sftp" {
			continue
		}
		passive := l.Passive
		if passive == "" {
			passive = c.Passive
		}
		if r := passiveRange(passive); !slices.Contains(n.ports.Passive, r) {
			n.ports.Passive = append(n.ports.Passive, r)
		}
		if l.Active {
			from := uint16(20)
			if l.Protocol == "ftps" {
				from = 989
			}
			if l.ActivePort >= 0 {
				from = uint16(l.ActivePort)
			}
			if !slices.Contains(n.ports.Active, from) {
				n.ports.Active = append(n.ports.Active, from)
			}
		}
	}
	return n
}

// taken is the port of a listener that names none: the one that dray has, else the
// first of its protocol that no other program has.
func (n *needs) taken(h *firewall.Host, protocol string) uint16 {
	ports := config.Ports(protocol)
	if i := slices.IndexFunc(ports, func(port uint16) bool { return h.Owner(port) == "dray" }); i >= 0 {
		return ports[i]
	}
	for i, port := range ports {
		owner := h.Owner(port)
		if !isOther(owner, port) {
			return port
		}
		if i+1 < len(ports) {
			n.remark("Port %d is %s's, not dray's: it is left as it is, and dray takes %d.", port, owner, ports[i+1])
		}
	}
	return ports[len(ports)-1]
}

// isOther tells whether the owner of a port is another program. systemd may hold a
// socket for dray; that of port 22 is mostly for sshd.
func isOther(owner string, port uint16) bool {
	return owner != "" && owner != "dray" && (owner != "systemd" || port == config.PortSFTP)
}

// ofServer are the ports of another server, with what its configuration lacks.
func ofServer(s firewall.Server) needs {
	n := needs{ports: s.Ports, source: s.File + ", of " + s.Name}
	if len(s.Fix) > 0 {
		n.ports.Passive = []firewall.Range{passiveRange(config.DefaultPassive)}
		n.remark("PROBLEM: %s names no passive range, so %s may ask for any port, and no rule can be written for that. Add this, and restart it; the rules below are for this range:", s.File, s.Name)
		for _, line := range s.Fix {
			n.remark("\t%s", line)
		}
	}
	return n
}

func listenerAt(protocol, host string, port uint16) firewall.Listener {
	l := firewall.Listener{Protocol: protocol, Port: port}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
		l.Addrs = []netip.Addr{a}
	}
	return l
}

// passiveRange reads a range that was checked.
func passiveRange(s string) firewall.Range {
	first, last, _ := config.PassiveRange(s)
	return firewall.Range{First: first, Last: last}
}

// plans are what to do, and what was found before.
func (ask *firewallAsk) plans(h *firewall.Host, n needs) (plans []firewall.Plan, found []string, err error) {
	make := firewall.Open
	if ask.undo {
		make = firewall.Undo
	}
	names := []string{ask.name}
	if ask.name == "auto" {
		names, found = firewall.Detect(h, n.ports)
		if ask.undo { // rules may stand where nothing filters any more
			for _, name := range []string{"nft", "iptables"} {
				if h.GOOS == "linux" && !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	for _, name := range names {
		p, err := make(h, name, n.ports)
		if err != nil {
			return nil, nil, err
		}
		if ask.undo && ask.name == "auto" && len(p.Steps) == 0 {
			continue
		}
		plans = append(plans, p)
	}
	if ask.undo && ask.name == "auto" {
		found = nil
		if len(plans) == 0 {
			found = []string{"No firewall that answers here has a rule of dray: there is nothing to take back."}
		}
	}
	return plans, found, nil
}

func (ask *firewallAsk) run(h *firewall.Host, stdout, stderr io.Writer) error {
	n, err := ask.needs(h)
	if err != nil {
		return err
	}
	head := firewall.Plan{Found: append([]string{"The ports come from " + n.source + "."}, n.remarks...)}
	var plans []firewall.Plan
	if n.ports.None() {
		head.Found = append(head.Found, "No listener is reached from elsewhere: no rule is needed.")
	} else {
		var found []string
		if plans, found, err = ask.plans(h, n); err != nil {
			return err
		}
		head.Found = append(head.Found, found...)
	}
	if ask.apply {
		for _, p := range plans {
			if p.Elsewhere != "" {
				return usagef("firewall %s: --apply can't do this from here\n      %s", p.Dialect, p.Elsewhere)
			}
		}
		if !h.Root && !n.ports.None() {
			return usagef("--apply needs root, and nothing was done\n      run it with sudo")
		}
	}
	if ask.json {
		return ask.writeJSON(h, stdout, n, head, plans)
	}
	if ask.undo {
		head.Found = head.Found[1+len(n.remarks):] // what is there decides, not the ports
	}
	fmt.Fprint(stdout, head)
	for i, p := range plans {
		if i+len(head.Found) > 0 {
			fmt.Fprintln(stdout)
		}
		fmt.Fprintf(stdout, "# %s\n", p.Dialect)
		if !ask.apply {
			fmt.Fprint(stdout, p)
			continue
		}
		err := ask.do(h, p, func(s firewall.Step, said string) {
			fmt.Fprint(stdout, firewall.Plan{Dialect: p.Dialect, Steps: []firewall.Step{s}})
			if said != "" {
				fmt.Fprintln(stderr, said)
			}
		})
		if err != nil {
			return err
		}
		done := p
		done.Steps = nil
		if len(p.Steps) > 0 {
			done.Found = append(done.Found, fmt.Sprintf("Done: %s.", count(len(p.Steps), "command")))
		}
		fmt.Fprint(stdout, done)
	}
	return nil
}

// do runs the commands of a plan, and tells each that is done with what it said.
func (ask *firewallAsk) do(h *firewall.Host, p firewall.Plan, tell func(s firewall.Step, said string)) error {
	for i, s := range p.Steps {
		said, err := h.Run(s.Args[0], s.Args[1:]...)
		if err != nil {
			back := "dray firewall " + p.Dialect
			if !ask.undo {
				back += " --undo --apply"
			}
			lines := []string{fmt.Sprintf("%s: %v", p.Line(s.Args), err), fmt.Sprintf("done before it: %s of %d, and none behind it", count(i, "command"), len(p.Steps))}
			switch {
			case ask.undo:
				lines = append(lines, "what is left to be taken back: dray firewall "+p.Dialect+" --undo")
			case i > 0:
				lines = append(lines, "to take back what was done: "+back)
			}
			return errors.New(strings.Join(lines, "\n"))
		}
		tell(s, strings.TrimSpace(said))
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// What --json writes.
type (
	firewallJSON struct {
		Source    string         `json:"source"`
		Found     []string       `json:"found"`
		Listeners []listenerJSON `json:"listeners"`
		Passive   []string       `json:"passive"`
		Active    []uint16       `json:"active"`
		From      []netip.Prefix `json:"from"`
		Plans     []planJSON     `json:"plans"`
	}
	listenerJSON struct {
		Protocol  string       `json:"protocol"`
		Port      uint16       `json:"port"`
		Addresses []netip.Addr `json:"addresses,omitempty"`
	}
	planJSON struct {
		Firewall  string     `json:"firewall"`
		Found     []string   `json:"found,omitempty"`
		Steps     []stepJSON `json:"steps"`
		Text      string     `json:"text,omitempty"`
		Notes     []string   `json:"notes,omitempty"`
		Elsewhere string     `json:"elsewhere,omitempty"`
	}
	stepJSON struct {
		Command string   `json:"command"` // to paste
		Args    []string `json:"args"`
		Comment string   `json:"comment,omitempty"`
		Done    bool     `json:"done"`
	}
)

func (ask *firewallAsk) writeJSON(h *firewall.Host, w io.Writer, n needs, head firewall.Plan, plans []firewall.Plan) error {
	out := firewallJSON{Source: n.source, Found: []string{}, Listeners: []listenerJSON{}, Passive: []string{}, Active: append([]uint16{}, n.ports.Active...), From: append([]netip.Prefix{}, n.ports.From...), Plans: []planJSON{}}
	for _, line := range head.Found[1:] {
		out.Found = append(out.Found, strings.TrimPrefix(line, "\t"))
	}
	for _, l := range n.ports.Listeners {
		out.Listeners = append(out.Listeners, listenerJSON{l.Protocol, l.Port, l.Addrs})
	}
	for _, r := range n.ports.Passive {
		out.Passive = append(out.Passive, r.String())
	}
	var failed error
	for _, p := range plans {
		j := planJSON{Firewall: p.Dialect, Found: p.Found, Steps: []stepJSON{}, Text: p.Text, Elsewhere: p.Elsewhere}
		for _, line := range p.Notes {
			j.Notes = append(j.Notes, strings.TrimPrefix(line, "\t"))
		}
		for _, s := range p.Steps {
			j.Steps = append(j.Steps, stepJSON{Command: p.Line(s.Args), Args: s.Args, Comment: s.Comment})
		}
		if ask.apply && failed == nil {
			done := 0
			failed = ask.do(h, p, func(firewall.Step, string) {
				j.Steps[done].Done = true
				done++
			})
		}
		out.Plans = append(out.Plans, j)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return errors.Join(enc.Encode(out), failed)
}
