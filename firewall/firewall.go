// Package firewall writes the rules that a server of files needs, in the words of
// each firewall: the commands, how to take them back, and what they can't do.
//
// It reads what is there (rulesets, zones, the configuration of other servers) and
// changes nothing: a Plan is text, and whoever runs its commands is the caller.
// All that it asks of the machine goes through a Host, so that a test can be one.
package firewall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// A Host is the machine that is asked.
type Host struct {
	Run   func(name string, args ...string) (stdout string, err error) // err has what the program said
	Read  func(name string) ([]byte, error)
	Glob  func(pattern string) []string   // sorted
	Owner func(port uint16) (name string) // of the program that listens on the TCP port; "": none, or it can't be seen
	GOOS  string
	Root  bool // this process may change rules

	// Interfaces are those that are up, without the loopback. None, or no function: they
	// are not known, and a rule that names one is about some peers.
	Interfaces func() []Interface
}

// An Interface is one of the network, with the families of which it has an address that
// others reach.
type Interface struct {
	Name      string
	Four, Six bool
}

// Here is this machine. A program that doesn't answer is ended after half a minute.
func Here(ctx context.Context) *Host {
	return &Host{
		Root: os.Geteuid() <= 0, // below 0: a system without numbers of users
		Run: func(name string, args ...string) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			var said strings.Builder
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.Env = append(os.Environ(), "LC_ALL=C")
			cmd.Stderr = &said
			cmd.WaitDelay = time.Second
			out, err := cmd.Output()
			if err != nil {
				if s := strings.TrimSpace(said.String()); s != "" {
					err = fmt.Errorf("%w: %s", err, s)
				}
			}
			return string(out), err
		},
		Read: os.ReadFile,
		Glob: func(pattern string) []string {
			names, _ := filepath.Glob(pattern) // the pattern may come from a file, and be none
			return names
		},
		Owner:      owner,
		GOOS:       runtime.GOOS,
		Interfaces: interfaces,
	}
}

// interfaces are those of this machine that have an address of more than their link.
func interfaces() []Interface {
	var out []Interface
	all, _ := net.Interfaces() // none: not known
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		one := Interface{Name: i.Name}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok || n.IP.IsLinkLocalUnicast() {
				continue
			}
			one.Four = one.Four || n.IP.To4() != nil
			one.Six = one.Six || n.IP.To4() == nil
		}
		if one.Four || one.Six {
			out = append(out, one)
		}
	}
	return out
}

// has tells whether a file is there.
func (h *Host) has(name string) bool {
	_, err := h.Read(name)
	return err == nil
}

// absent tells whether err says that there is no such program.
func absent(err error) bool { return errors.Is(err, exec.ErrNotFound) }

// A Step is one command.
type Step struct {
	Comment string
	Args    []string // the program and its arguments
}

// A Plan is what to do for one firewall.
type Plan struct {
	Dialect   string
	Found     []string // what was looked at, and what follows from it
	Steps     []Step   // in order
	Text      string   // what is written into a file in place of commands
	Notes     []string // what no command does; one that begins with a tab is a line to be copied
	Elsewhere string   // why the commands can't be run on this machine; "": they can
}

// A dialect is one row of the table of firewalls.
type dialect struct {
	name      string
	doc       string
	do, undo  func(*Host, Ports) Plan
	elsewhere string // see Plan.Elsewhere
}

func dialects() []dialect {
	return []dialect{
		{"firewalld", "RHEL, Fedora, openSUSE", firewalld, undoFirewalld, ""},
		{"ufw", "Ubuntu", ufw, undoUFW, ""},
		{"nft", "nftables, in the input chains that are there", nft, undoNFT, ""},
		{"iptables", "iptables and ip6tables", iptables, undoIPTables, ""},
		{"aws", "a security group of EC2", aws, undoAWS, "a security group is changed with the rights of its owner, and names have to be filled in: paste the commands where the aws program is logged in"},
		{"gcp", "a firewall rule of Google's Compute Engine", gcp, undoGCP, "firewall rules are changed with the rights of the project, and names have to be filled in: paste the commands where the gcloud program is logged in"},
		{"azure", "a network security group of Azure", azure, undoAzure, "a security group is changed with the rights of its owner, and names have to be filled in: paste the commands where the az program is logged in"},
		{"docker", "the ports that docker run publishes", docker, undoDocker, "published ports belong to a container: they are set when it is made"},
		{"compose", "the ports of a Compose file", compose, undoCompose, "the lines belong in your compose.yaml"},
		{"kubernetes", "a Service", kubernetes, undoKubernetes, "the Service belongs to your cluster: dray firewall kubernetes | kubectl apply -f -"},
		{"windows", "Windows Defender Firewall", windows, undoWindows, ""},
	}
}

// Dialects are the names of all firewalls, and in doc what each is.
func Dialects() (names []string, doc map[string]string) {
	doc = map[string]string{}
	for _, d := range dialects() {
		names = append(names, d.name)
		doc[d.name] = d.doc
	}
	return names, doc
}

// Open is the plan that opens ports in the firewall called name. What is open
// already is left as it is.
func Open(h *Host, name string, p Ports) (Plan, error) { return planOf(h, name, p, false) }

// Undo is the plan that takes back what Open did.
func Undo(h *Host, name string, p Ports) (Plan, error) { return planOf(h, name, p, true) }

func planOf(h *Host, name string, p Ports, undo bool) (Plan, error) {
	for _, d := range dialects() {
		if d.name != name {
			continue
		}
		f := d.do
		if undo {
			f = d.undo
		}
		plan := f(h, p)
		plan.Dialect, plan.Elsewhere = d.name, d.elsewhere
		if d.name == "windows" && h.GOOS != "windows" {
			plan.Elsewhere = "this is no Windows: paste the commands there, as administrator"
		}
		return plan, nil
	}
	return Plan{}, fmt.Errorf("there is no firewall %q", name)
}

// width is how long the lines of comments are.
const width = 96

// String is the plan as it is printed: commands to paste, and all else in
// comments.
func (p Plan) String() string {
	var b strings.Builder
	comment := func(text string) {
		if line, copied := strings.CutPrefix(text, "\t"); copied {
			fmt.Fprintf(&b, "#     %s\n", line)
			return
		}
		mark := "# "
		for _, line := range fold(text, width) {
			b.WriteString(mark + line + "\n")
		}
	}
	for _, line := range p.Found {
		comment(line)
	}
	for _, s := range p.Steps {
		if s.Comment != "" {
			comment(s.Comment)
		}
		b.WriteString(p.Line(s.Args) + "\n")
	}
	b.WriteString(p.Text)
	if len(p.Notes) > 0 && b.Len() > 0 {
		b.WriteString("#\n")
	}
	for _, line := range p.Notes {
		comment(line)
	}
	return b.String()
}

// Line is a command as it is pasted into a shell: sh's, or for Windows that of
// cmd and PowerShell.
func (p Plan) Line(args []string) string {
	quote := Quote
	if p.Dialect == "windows" {
		quote = quoteWindows
	}
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = quote(arg)
	}
	return strings.Join(words, " ")
}

// say adds to what was found.
func (p *Plan) say(format string, args ...any) {
	p.Found = append(p.Found, fmt.Sprintf(format, args...))
}

// run adds a command.
func (p *Plan) run(comment string, args ...string) {
	p.Steps = append(p.Steps, Step{Comment: comment, Args: args})
}

// note adds a note.
func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// line adds a line to be copied.
func (p *Plan) line(text string) { p.Notes = append(p.Notes, "\t"+text) }
