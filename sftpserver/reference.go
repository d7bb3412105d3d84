package sftpserver

// An Info is one request as the reference shows it.
type Info struct {
	Name, Help string
	Version    string // with which an extension is announced; "": it is none, or not announced
	Handle     bool   // it names an open handle
	Changes    bool   // changes the tree
}

// Reference lists the requests, from the table that the server runs on.
func Reference() (out []Info) {
	for _, row := range requests() {
		out = append(out, Info{Name: row.name(), Help: row.help, Version: row.version, Handle: row.handle, Changes: row.changes})
	}
	return out
}
