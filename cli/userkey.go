package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"dray/account"
	"dray/account/accountsql"
	"dray/config"
	"dray/gate"
)

func userKey() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "key",
		Aliases: []string{"keys"},
		Short:   "add, list and remove the keys of an account, for SFTP",
		Long: `Public keys log in over SFTP without a password, or with one besides where
dray user set --factors says so. What is changed acts at the next login; sessions
that are open go on.`,
		Example: `  dray user key add anna ~/.ssh/id_ed25519.pub
  dray user key ls anna
  dray user key rm anna anna@laptop`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(userKeyAdd(), userKeyLs(), userKeyRm())
	return cmd
}

func userKeyAdd() *cobra.Command {
	var w where
	cmd := &cobra.Command{
		Use:     "add NAME [FILE]",
		Aliases: []string{"create"},
		Short:   "add keys to an account",
		Long: `Add public keys to an account: the lines of authorized_keys in FILE, or in
standard input without FILE or with "-". Empty lines and those that begin with # are
skipped. A key that is there already is replaced, with its options and its comment.
When a line is wrong, every one that is wrong is listed and no key is added.

What may stand before a key is from="…" with addresses and networks, expiry-time="…",
and cert-authority: then it is the key of a CA, whose certificates log in when they
name the account, or one of principals="…". Options that forbid what dray never does,
as restrict and no-pty, are taken and not kept. command= and all others, which dray
can't keep, are refused.

Keys act at the next login, and the account must be allowed the protocol sftp, as it
is unless dray user set --protocols says otherwise.`,
		Example: `  dray user key add anna ~/.ssh/id_ed25519.pub
  ssh-add -L | dray user key add anna
  printf 'from="192.0.2.0/24" %s\n' "$KEY" | dray user key add robot -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return usagef("%s takes the name of one account, and one file or none\n      for example: %s anna anna.pub", cmd.CommandPath(), cmd.CommandPath())
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return w.names(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
			case 1:
				return nil, cobra.ShellCompDirectiveDefault
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "-"
			if len(args) > 1 {
				file = args[1]
			}
			// Read while root still is root: the file may be closed to the owner of the accounts.
			keys, err := readKeys(cmd, file)
			if err != nil {
				return err
			}
			return w.one(cmd.Context(), args[0], func(db *accountsql.DB, c *config.Config, a account.Account) error {
				replaced := putKeys(&a, keys)
				if n := len(a.Keys); n > account.MaxKeys {
					return usagef("account %q would have %d keys, and may have %d: none was added\n      dray user key rm takes keys away; the key of a CA (cert-authority) stands for many", a.Name, n, account.MaxKeys)
				}
				if err := db.Put(cmd.Context(), a); err != nil {
					return err
				}
				for i := range keys {
					what := "key added to"
					if replaced[i] {
						what = "key replaced in"
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", what, a.Name, keyLine(&keys[i]))
				}
				tellNotes(cmd, keyNotes(&a, keys, c, &w))
				return nil
			})
		},
	}
	return w.command(cmd)
}

// maxKeyText is how much is read for keys, in bytes: MaxKeys of the longest have room.
const maxKeyText = 1 << 20

// readKeys reads keys from a file, or from standard input when it is "-".
func readKeys(cmd *cobra.Command, file string) ([]account.Key, error) {
	in, name := cmd.InOrStdin(), "standard input"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usagef("%v\n      name a file with lines of authorized_keys, as ~/.ssh/id_ed25519.pub", err)
		}
		defer f.Close()
		in, name = f, file
	} else if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(cmd.ErrOrStderr(), "Public keys, one a line, and Ctrl-D behind the last:")
	}
	text, err := io.ReadAll(io.LimitReader(in, maxKeyText+1))
	switch {
	case err != nil:
		return nil, usagef("%v\n      name a file with lines of authorized_keys, as ~/.ssh/id_ed25519.pub", err)
	case len(text) > maxKeyText:
		return nil, usagef("%s has more than %d bytes, and is no list of keys\n      name a file with lines of authorized_keys, as ~/.ssh/id_ed25519.pub", name, maxKeyText)
	}
	keys, wrong := parseKeys(string(text))
	if len(wrong) > 0 {
		return nil, refuseLines("no key of "+name+" was added", wrong)
	}
	if len(keys) == 0 {
		return nil, usagef("%s has no key\n      pipe in a line of authorized_keys, or name a file with one, as ~/.ssh/id_ed25519.pub", name)
	}
	return keys, nil
}

// parseKeys reads lines of authorized_keys, and lists all that is wrong with them. Of
// a key in another form, which has many lines, it names the first.
func parseKeys(text string) (keys []account.Key, wrong []string) {
	lines := map[string]int{} // of the keys, as SSH sends them
	n, skip := 0, false
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		line = strings.TrimSpace(line)
		bad := func(why string) { wrong = append(wrong, fmt.Sprintf("line %d: %s", n, plain(why))) }
		if skip {
			skip = !strings.HasPrefix(line, "---- END ") && !strings.HasPrefix(line, "-----END ")
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.HasPrefix(line, "---- BEGIN SSH2 PUBLIC KEY") { // RFC 4716, as PuTTYgen saves it
			bad("it is a public key in another form; ssh-keygen -i -f FILE writes it as a line of authorized_keys")
			skip = true
			continue
		}
		k, err := account.ParseKey(line)
		if err != nil {
			bad(err.Error())
			skip = strings.HasPrefix(line, "-----BEGIN ")
			continue
		}
		if first := lines[string(k.Wire())]; first > 0 {
			bad(fmt.Sprintf("it is the key of line %d again; leave one away", first))
			continue
		}
		lines[string(k.Wire())] = n
		keys = append(keys, k)
	}
	return keys, wrong
}

// putKeys gives an account keys, and tells which of them took the place of one that
// it had.
func putKeys(a *account.Account, keys []account.Key) (replaced []bool) {
	for _, k := range keys {
		at := slices.IndexFunc(a.Keys, func(old account.Key) bool { return old.Key == k.Key })
		replaced = append(replaced, at >= 0)
		if at >= 0 {
			a.Keys[at] = k
		} else {
			a.Keys = append(a.Keys, k)
		}
	}
	return replaced
}

// keyNotes are what the administrator has to know about keys that were added, and
// that do not work as they are.
func keyNotes(a *account.Account, keys []account.Key, c *config.Config, w *where) (notes []string) {
	for i := range keys {
		if k := &keys[i]; !k.Expires.IsZero() && !time.Now().Before(k.Expires) {
			notes = append(notes, "this key has expired, and logs nobody in: "+keyLine(k))
		}
	}
	if len(a.Factors) > 0 && !slices.Contains(a.Factors, account.FactorKey) {
		notes = append(notes, fmt.Sprintf("keys count for nothing, because a login needs %s: dray user set %s --factors any, or a list with %s, lets them count",
			strings.Join(a.Factors, " and "), shellWord(a.Name), account.FactorKey))
	}
	return append(notes, sftpNotes(a, c, w)...)
}

// sftpNotes are why an account can't log in over SFTP, whatever it shows.
func sftpNotes(a *account.Account, c *config.Config, w *where) (notes []string) {
	if !mayProtocol(a, gate.ProtocolSFTP) {
		notes = append(notes, fmt.Sprintf("the account may not log in over SFTP: dray user set %s --protocols %s lets it",
			shellWord(a.Name), strings.Join(append(slices.Clone(a.Protocols), gate.ProtocolSFTP), ",")))
	}
	if len(c.Listeners) > 0 && !slices.ContainsFunc(c.Listeners, func(l config.Listener) bool { return l.Protocol == gate.ProtocolSFTP }) { // without any there is one for each protocol
		notes = append(notes, fmt.Sprintf("no listener is for SFTP: write protocol = %q under a [[listener]] of its own in %s", gate.ProtocolSFTP, w.configuration()))
	}
	return notes
}

func mayProtocol(a *account.Account, protocol string) bool {
	return len(a.Protocols) == 0 || slices.Contains(a.Protocols, protocol)
}

// lacks says what has to be done before anybody can log in to an account, "" when
// nothing.
func lacks(a *account.Account, c *config.Config) string {
	password, key := a.Hash != "", len(a.Keys) > 0 || c.SSH.UserCA != ""
	if len(a.Factors) == 0 {
		overTLS, overSSH := mayProtocol(a, "ftp") || mayProtocol(a, "ftps"), mayProtocol(a, gate.ProtocolSFTP)
		if password || overTLS && len(a.Certificates) > 0 || overSSH && key {
			return ""
		}
		do := "set a password (dray user passwd)"
		if overTLS {
			do += " or a certificate (dray user set --certificate)"
		}
		if overSSH {
			do += ", or add a key for SFTP (dray user key add)"
		}
		return do
	}
	var do []string
	for _, factor := range a.Factors {
		switch {
		case factor == account.FactorKey && !key:
			do = append(do, "add a key (dray user key add)")
		case factor == account.FactorPassword && !password:
			do = append(do, "set a password (dray user passwd)")
		}
	}
	return strings.Join(do, " and ")
}

// A keyView is a key as JSON has it.
type keyView struct {
	Type        string `json:"type"` // as "ssh-ed25519"
	Fingerprint string `json:"fingerprint"`
	account.Key
}

func describeKeys(keys []account.Key) (views []keyView) {
	for _, k := range keys {
		views = append(views, keyView{keyType(&k), k.Fingerprint(), k})
	}
	return views
}

func keyType(k *account.Key) string {
	kind, _, _ := strings.Cut(k.Key, " ")
	return kind
}

// keyLine is a key for somebody to read: type, fingerprint and comment.
func keyLine(k *account.Key) string {
	return strings.TrimSpace(keyType(k) + " " + k.Fingerprint() + " " + plain(k.Comment))
}

// restrictions are what a key is limited to, "-" when it is to nothing.
func restrictions(k *account.Key, now time.Time) string {
	var out []string
	switch {
	case k.CA && len(k.Principals) > 0:
		out = append(out, "CA for "+strings.Join(k.Principals, ","))
	case k.CA:
		out = append(out, "CA")
	}
	if len(k.From) > 0 {
		out = append(out, "from "+strings.Join(k.From, ","))
	}
	if !k.Expires.IsZero() {
		word := "expires"
		if !now.Before(k.Expires) {
			word = "expired"
		}
		out = append(out, word+" "+k.Expires.Local().Format(time.DateTime))
	}
	if len(out) == 0 {
		return "-"
	}
	return plain(strings.Join(out, "; "))
}

// plain is text of others for a terminal, which control characters could tell what
// to do.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

func userKeyLs() *cobra.Command {
	var w where
	var asJSON, asLines bool
	cmd := &cobra.Command{
		Use:     "ls NAME",
		Aliases: []string{"list"},
		Short:   "list the keys of an account",
		Long: `List the keys of an account, and what each is limited to. The fingerprint is that
which ssh-keygen -l shows.`,
		Example: `  dray user key ls anna
  dray user key ls anna --json
  dray user key ls anna --lines > authorized_keys`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && asLines {
				return usagef("--lines is another form than --json\n      leave one away")
			}
			return w.one(cmd.Context(), args[0], func(_ *accountsql.DB, _ *config.Config, a account.Account) error {
				out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				enc := json.NewEncoder(cmd.OutOrStdout())
				if !asJSON && !asLines {
					fmt.Fprintln(out, "TYPE\tFINGERPRINT\tCOMMENT\tRESTRICTIONS")
				}
				for _, v := range describeKeys(a.Keys) {
					switch {
					case asJSON:
						if err := enc.Encode(v); err != nil {
							return err
						}
					case asLines:
						fmt.Fprintln(cmd.OutOrStdout(), v.Line())
					default:
						comment := plain(v.Comment)
						if comment == "" {
							comment = "-"
						}
						fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", v.Type, v.Fingerprint, comment, restrictions(&v.Key, time.Now()))
					}
				}
				return out.Flush()
			})
		},
	}
	return w.command(cmd, func(f *pflag.FlagSet) {
		f.BoolVar(&asJSON, "json", false, "one JSON object a line")
		f.BoolVar(&asLines, "lines", false, "lines of authorized_keys, as dray user key add reads them")
	})
}

// allKeys is the word for every key of an account.
const allKeys = "all"

func userKeyRm() *cobra.Command {
	var w where
	cmd := &cobra.Command{
		Use:     "rm NAME KEY...",
		Aliases: []string{"remove", "delete", "del"},
		Short:   "remove keys of an account",
		Long: `Remove keys of an account. KEY is a whole fingerprint (SHA256:…), the comment of one
key, or all. When one of several is none of its keys, no key is removed. Nobody logs
in with them any more; sessions that are open go on.`,
		Example: `  dray user key rm anna anna@laptop
  dray user key rm anna SHA256:tHSXYp5WdyJGScVsp48jDP3R8qiSXbXY4A8RXTBIyEc
  dray user key rm anna all`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return nil
			}
			return usagef("%s takes the name of an account, and which of its keys\n      for example: %s anna anna@laptop; dray user key ls shows them", cmd.CommandPath(), cmd.CommandPath())
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) (words []string, _ cobra.ShellCompDirective) {
			if len(args) == 0 {
				return w.names(cmd.Context()), cobra.ShellCompDirectiveNoFileComp
			}
			_ = w.one(cmd.Context(), args[0], func(_ *accountsql.DB, _ *config.Config, a account.Account) error {
				for _, v := range describeKeys(a.Keys) {
					if !slices.Contains(args[1:], v.Fingerprint) {
						words = append(words, cobra.CompletionWithDesc(v.Fingerprint, plain(v.Comment)))
					}
				}
				return nil
			})
			if len(words) > 0 && len(args) == 1 {
				words = append(words, allKeys)
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return w.one(cmd.Context(), args[0], func(db *accountsql.DB, c *config.Config, a account.Account) error {
				if len(a.Keys) == 0 {
					return fmt.Errorf("account %q has no keys\n      dray user key add adds some", a.Name)
				}
				gone, wrong := pickKeys(a.Keys, args[1:])
				if len(wrong) > 0 {
					lines := []string{"these are its keys:"}
					for i := range a.Keys {
						lines = append(lines, keyLine(&a.Keys[i]))
					}
					what := fmt.Sprintf("no key of account %q was removed", a.Name)
					return usagef("%v\n      %s", refuseLines(what, wrong), strings.Join(lines, "\n      "))
				}
				var kept, removed []account.Key
				for i, k := range a.Keys {
					if gone[i] {
						removed = append(removed, k)
					} else {
						kept = append(kept, k)
					}
				}
				a.Keys = kept
				if err := db.Put(cmd.Context(), a); err != nil {
					return err
				}
				for i := range removed {
					fmt.Fprintf(cmd.OutOrStdout(), "key removed from %s: %s\n", a.Name, keyLine(&removed[i]))
				}
				if do := lacks(&a, c); do != "" {
					tellNotes(cmd, []string{"nobody can log in to it now: " + do})
				}
				return nil
			})
		},
	}
	return w.command(cmd)
}

// pickKeys tells which of keys the words mean, and what is wrong with the words.
func pickKeys(keys []account.Key, words []string) (picked []bool, wrong []string) {
	picked = make([]bool, len(keys))
	for _, word := range words {
		n := 0
		for i := range keys {
			k := &keys[i]
			is := word != "" && k.Comment == word
			switch {
			case word == allKeys:
				is = true
			case strings.HasPrefix(word, "SHA256:"): // a comment could be the fingerprint of another key
				is = k.Fingerprint() == word
			}
			if is {
				picked[i] = true
				n++
			}
		}
		switch {
		case n == 0:
			wrong = append(wrong, fmt.Sprintf("%q is no fingerprint and no comment of a key that it has; write one as it is below, or all", word))
		case n > 1 && word != allKeys:
			wrong = append(wrong, fmt.Sprintf("%q is the comment of %d keys; write their fingerprints", word, n))
		}
	}
	return picked, wrong
}
