package ftpserver

// An Info is one command as the reference shows it.
type Info struct {
	Verb, Form, Help, RFC string
	Login                 bool   // only after a login
	Data                  bool   // over a data connection
	Changes               bool   // changes the tree
	By                    string // the word of commands.allow that switches it on, "" when it always is
}

// Reference lists the commands and those behind SITE, from the tables that the
// server runs on.
func Reference() (commandRows, siteRows []Info) {
	infos := func(rows []command, prefix string) (out []Info) {
		for _, row := range rows {
			out = append(out, Info{
				Verb: prefix + row.verb, Form: prefix + row.form(), Help: row.help, RFC: row.rfc,
				Login: row.phase == phaseIn, Data: row.also&opensData != 0, Changes: row.also&changesTree != 0, By: row.by,
			})
		}
		return out
	}
	return infos(commands(), ""), infos(siteCommands(), "SITE ")
}

// NeverBuilt lists the commands that get 502, with the reason.
func NeverBuilt() map[string]string {
	out := map[string]string{}
	for verb, why := range neverBuilt {
		out[verb] = why
	}
	return out
}
