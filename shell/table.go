package shell

import (
	"fmt"
	"slices"
	"strings"
)

// A kind says what completes an argument.
type kind int

const (
	anything kind = iota
	remoteName
	remoteDir
	localName
	localDir
	verbName
	jobNumber
)

// An option is a row of what a verb may be told.
type option struct {
	short byte // 0: none
	long  string
	arg   string // what its value is called; "": it has none
	help  string
}

// A verb is a row of the table.
type verb struct {
	name    string
	aliases []string
	usage   string
	help    string // in a few words
	more    string // what else help tells of it
	opts    []option
	args    []kind // the last one stands for all that follow
	min     int    // arguments
	max     int    // -1: any number
	online  bool   // wants a server
	alone   bool   // changes the shell or takes the terminal: never in the background
	changes bool   // names of the server may be other ones afterwards
	raw     bool   // its words are no options
	run     func(c *call) error
}

const many = -1

func (v *verb) is(name string) bool { return v.name == name || slices.Contains(v.aliases, name) }

func (v *verb) option(is func(*option) bool) *option {
	for i := range v.opts {
		if is(&v.opts[i]) {
			return &v.opts[i]
		}
	}
	return nil
}

// kind is what completes the argument of this number.
func (v *verb) kind(n int) kind {
	if len(v.args) == 0 || v.max >= 0 && n >= v.max {
		return anything
	}
	return v.args[min(n, len(v.args)-1)]
}

var (
	optParallel  = option{'P', "parallel", "N", "so many transfers at once"}
	optRecursive = option{'r', "recursive", "", "directories too, with all that is in them"}
	optContinue  = option{'c', "continue", "", "go on with a file that another program left unfinished"}
	optAppend    = option{'a', "append", "", "the same, as sftp calls it"}
	optDry       = option{'n', "dry-run", "", "show what would be done, and do nothing"}
	optLong      = []option{
		{'l', "long", "", "show mode, owner, size and time"},
		{'a', "all", "", "names that begin with a dot too"},
		{'1', "one", "", "one name a line"},
		{'t', "by-time", "", "newest first"},
		{'S', "by-size", "", "largest first"},
		{'r', "reverse", "", "the other way round"},
		{'h', "human-readable", "", "sizes in KiB, MiB: the default on a terminal"},
		{'d', "directory", "", "the directory itself, not what is in it"},
	}
	optGet = []option{
		optRecursive, optContinue, optAppend,
		{'o', "output", "FILE", "write to this file; - is the screen"},
		{'O', "output-dir", "DIR", "write into this directory"},
		optParallel, optDry,
	}
	optPut = []option{
		optRecursive, optContinue, optAppend,
		{'o', "output", "NAME", "the name on the server"},
		{'O', "output-dir", "DIR", "into this directory of the server"},
		optParallel, optDry,
	}
)

const getRule = `Where several words are given, the last one is where to write when the server has
nothing of that name: a directory that is here, or the new name of one file.`

const putRule = `Where several words are given, the last one is where to write when nothing of that
name is here: a directory of the server, or the new name of one file.`

// verbs is the table. It is a function because help reads it.
func verbs() []verb {
	return []verb{
		// Where.
		{name: "open", aliases: []string{"o", "connect"}, usage: "open [-u USER[,PASSWORD]] [-p PORT] URL", help: "connect to a server", min: 1, max: 1, alone: true, changes: true, run: (*call).open,
			more: "URL is one of sftp, ftp, ftps; a stored host, or host:path. Lines with a password are not kept in the history.",
			opts: []option{{'u', "user", "USER[,PASSWORD]", "log in as this user"}, {'p', "port", "PORT", "connect to this port"}}},
		{name: "close", aliases: []string{"disconnect"}, usage: "close", help: "end the connection", alone: true, online: true, changes: true, run: (*call).close},
		{name: "cd", usage: "cd [DIR]", help: "change the directory of the server; - is the one before, ~ that of the login", max: 1, alone: true, online: true, args: []kind{remoteDir}, run: (*call).cd},
		{name: "lcd", usage: "lcd [DIR]", help: "change the directory of this machine", max: 1, alone: true, args: []kind{localDir}, run: (*call).lcd},
		{name: "pwd", usage: "pwd", help: "show the directory of the server", online: true, run: (*call).pwd},
		{name: "lpwd", usage: "lpwd", help: "show the directory of this machine", run: (*call).lpwd},

		// Look.
		{name: "ls", aliases: []string{"cls", "nlist"}, usage: "ls [-laS1trhd] [NAME...]", help: "list a directory of the server", max: many, online: true, opts: optLong, args: []kind{remoteName}, run: (*call).ls},
		{name: "ll", aliases: []string{"dir"}, usage: "ll [-aStrhd] [NAME...]", help: "list with mode, owner, size and time", max: many, online: true, opts: optLong, args: []kind{remoteName}, run: (*call).ls},
		{name: "lls", aliases: []string{"lll", "ldir"}, usage: "lls [-laS1trhd] [NAME...]", help: "list a directory of this machine", max: many, opts: optLong, args: []kind{localName}, run: (*call).lls},
		{name: "cat", usage: "cat FILE...", help: "show files of the server", min: 1, max: many, online: true, args: []kind{remoteName}, run: (*call).cat},
		{name: "more", aliases: []string{"less", "page"}, usage: "more FILE...", help: "show files of the server page by page, with $PAGER", min: 1, max: many, online: true, alone: true, args: []kind{remoteName}, run: (*call).more},
		{name: "stat", usage: "stat FILE...", help: "show what the server tells of a file", min: 1, max: many, online: true, args: []kind{remoteName}, run: (*call).stat},
		{name: "du", usage: "du [-s] [DIR...]", help: "add up the sizes of files", max: many, online: true, args: []kind{remoteName}, run: (*call).du,
			opts: []option{{'s', "summarize", "", "only the sum"}, {'b', "bytes", "", "sizes in bytes"}, {'h', "human-readable", "", "sizes in KiB, MiB: the default"}}},
		{name: "df", usage: "df [DIR]", help: "show how much room there is", max: 1, online: true, args: []kind{remoteDir}, run: (*call).df},
		{name: "find", usage: "find [DIR...] [-N PATTERN] [-t f|d|l]", help: "list all that is below directories", max: many, online: true, args: []kind{remoteDir}, run: (*call).find,
			opts: []option{{'N', "name", "PATTERN", "only names like this; quote it"}, {'t', "type", "KIND", "only f (files), d (directories) or l (links)"}, {'d', "maxdepth", "N", "at most N levels below"}}},
		{name: "sum", usage: "sum [-a NAME] FILE...", help: "show checksums, sha256 unless another is named", min: 1, max: many, online: true, args: []kind{remoteName}, run: (*call).sum,
			opts: []option{{'a', "algo", "NAME", "sha512, sha256, sha1, md5 or crc32"}}},

		// Move.
		{name: "get", aliases: []string{"pget"}, usage: "get [-r] [-c] [-o FILE | -O DIR] [-P N] FILE... [TO]", help: "fetch files", more: getRule, min: 1, max: many, online: true, opts: optGet, args: []kind{remoteName}, run: (*call).get},
		{name: "mget", usage: "mget [-r] [-c] [-O DIR] [-P N] PATTERN...", help: "fetch files; every word is a file or a pattern", min: 1, max: many, online: true, opts: optGet, args: []kind{remoteName}, run: (*call).get},
		{name: "reget", usage: "reget [-r] [-o FILE | -O DIR] FILE... [TO]", help: "go on with a file that was fetched in part", more: getRule, min: 1, max: many, online: true, opts: optGet, args: []kind{remoteName}, run: (*call).get},
		{name: "put", usage: "put [-r] [-c] [-o NAME | -O DIR] [-P N] FILE... [TO]", help: "send files", more: putRule, min: 1, max: many, online: true, opts: optPut, args: []kind{localName}, changes: true, run: (*call).put},
		{name: "mput", usage: "mput [-r] [-c] [-O DIR] [-P N] PATTERN...", help: "send files; every word is a file or a pattern", min: 1, max: many, online: true, opts: optPut, args: []kind{localName}, changes: true, run: (*call).put},
		{name: "reput", usage: "reput [-r] [-o NAME | -O DIR] FILE... [TO]", help: "go on with a file that was sent in part", more: putRule, min: 1, max: many, online: true, opts: optPut, args: []kind{localName}, changes: true, run: (*call).put},
		{name: "mirror", usage: "mirror [-R] [-e] [-n] [-x PATTERN] [-P N] [SOURCE [TARGET]]", help: "make a directory here equal to one of the server; -R the other way", max: 2, online: true, args: []kind{remoteDir}, changes: true, run: (*call).mirror,
			more: "Without TARGET it is the directory of the name of SOURCE; without both, the directories of cd and lcd.",
			opts: []option{
				{'R', "reverse", "", "make the directory of the server equal to the one here"},
				{'e', "delete", "", "delete what the source has not"},
				optDry,
				{'x', "exclude", "PATTERN", "leave out names like this; quote it"},
				{'X', "exclude-glob", "PATTERN", "the same, as lftp calls it"},
				{'i', "include", "PATTERN", "take names like this although -x leaves them out"},
				{'I', "include-glob", "PATTERN", "the same, as lftp calls it"},
				optContinue, optParallel,
				{'L', "dereference", "", "transfer what links lead to, in place of the links"},
				{0, "only-newer", "", "leave files alone that are newer at the target"},
				{0, "size-only", "", "take files of the same size for the same"},
				{0, "max-delete", "N", "delete nothing when it would be more than N names"},
				{'v', "verbose", "", "accepted: what is done is told as -v of dray sh says"},
			}},

		// Change.
		{name: "edit", usage: "edit FILE", help: "change a file of the server with $EDITOR", min: 1, max: 1, online: true, alone: true, args: []kind{remoteName}, changes: true, run: (*call).edit},
		{name: "rm", aliases: []string{"delete"}, usage: "rm [-r] [-f] FILE...", help: "remove files of the server", min: 1, max: many, online: true, args: []kind{remoteName}, changes: true, run: (*call).rm,
			opts: []option{optRecursive, {'f', "force", "", "what is not there is no failure"}}},
		{name: "mrm", aliases: []string{"mdelete"}, usage: "mrm PATTERN...", help: "remove files that are like patterns", min: 1, max: many, online: true, args: []kind{remoteName}, changes: true, run: (*call).rm,
			opts: []option{optRecursive, {'f', "force", "", "what is not there is no failure"}}},
		{name: "mv", aliases: []string{"rename", "mmv"}, usage: "mv FROM... TO", help: "rename or move files on the server", min: 2, max: many, online: true, args: []kind{remoteName}, changes: true, run: (*call).mv},
		{name: "mkdir", usage: "mkdir [-p] DIR...", help: "make directories on the server", min: 1, max: many, online: true, args: []kind{remoteDir}, changes: true, run: (*call).mkdir,
			opts: []option{{'p', "parents", "", "those above too; what is there is no failure"}}},
		{name: "lmkdir", usage: "lmkdir [-p] DIR...", help: "make directories on this machine", min: 1, max: many, args: []kind{localDir}, run: (*call).lmkdir,
			opts: []option{{'p', "parents", "", "those above too; what is there is no failure"}}},
		{name: "rmdir", usage: "rmdir DIR...", help: "remove empty directories of the server", min: 1, max: many, online: true, args: []kind{remoteDir}, changes: true, run: (*call).rmdir},
		{name: "chmod", usage: "chmod MODE FILE...", help: "change permissions; MODE is octal, as 644", min: 2, max: many, online: true, args: []kind{anything, remoteName}, run: (*call).chmod},
		{name: "ln", aliases: []string{"symlink"}, usage: "ln -s TARGET NAME", help: "make a symbolic link on the server", min: 2, max: 2, online: true, args: []kind{remoteName}, changes: true, run: (*call).ln,
			opts: []option{{'s', "symbolic", "", "a symbolic link, the only kind there is"}}},
		{name: "quote", aliases: []string{"literal"}, usage: "quote COMMAND [ARGUMENT]", help: "send a command of FTP as it is", min: 1, max: many, online: true, raw: true, changes: true, run: (*call).quote},
		{name: "site", usage: "site COMMAND [ARGUMENT]", help: "send a SITE command of FTP", min: 1, max: many, online: true, raw: true, changes: true, run: (*call).quote},

		// The shell.
		{name: "jobs", usage: "jobs", help: "list what runs in the background; a & at the end of a line puts it there", alone: true, run: (*call).listJobs},
		{name: "fg", usage: "fg [JOB]", help: "show a job until it is over", max: 1, alone: true, args: []kind{jobNumber}, run: (*call).foreground},
		{name: "wait", usage: "wait [JOB | all]", help: "wait until a job, or all, are over", max: 1, alone: true, args: []kind{jobNumber}, run: (*call).waitJobs},
		{name: "kill", usage: "kill JOB... | all", help: "end jobs", min: 1, max: many, alone: true, args: []kind{jobNumber}, run: (*call).kill},
		{name: "progress", usage: "progress [on | off]", help: "show the progress of transfers, or not", max: 1, alone: true, run: (*call).progress},
		{name: "limit-rate", usage: "limit-rate [RATE]", help: "move at most so many bytes a second, as 500K; 0 is no limit", max: 1, alone: true, run: (*call).limitRate},
		{name: "set", usage: "set [NAME [VALUE]]", help: "show or change limit-rate, parallel and progress", max: 2, alone: true, run: (*call).setting},
		{name: "!", aliases: []string{"shell"}, usage: "![COMMAND]", help: "run a program of this machine, or a shell", max: many, alone: true, raw: true, run: (*call).program},
		{name: "echo", usage: "echo [WORD...]", help: "write words", max: many, raw: true, run: (*call).echo},
		{name: "history", usage: "history", help: "show the lines that were typed", alone: true, run: (*call).showHistory},
		{name: "help", aliases: []string{"?"}, usage: "help [COMMAND]", help: "show the commands, or one of them", max: 1, args: []kind{verbName}, run: (*call).help},
		{name: "version", usage: "version", help: "show the version of dray", run: (*call).version},
		{name: "exit", aliases: []string{"quit", "bye"}, usage: "exit [STATUS]", help: "end the shell, as Ctrl-D does", max: 1, alone: true, run: (*call).exit},
	}
}

// A Doc is what help tells of a verb.
type Doc struct {
	Name, Usage, Help, More string
	Aliases                 []string
	Options                 [][2]string // -x, --long VALUE; and what it does
}

// Verbs are the rows of the table, for a reference.
func Verbs() []Doc {
	var docs []Doc
	for _, v := range verbs() {
		d := Doc{Name: v.name, Usage: v.usage, Help: v.help, More: v.more, Aliases: v.aliases}
		for _, o := range v.opts {
			d.Options = append(d.Options, [2]string{o.form(), o.help})
		}
		docs = append(docs, d)
	}
	return docs
}

func (o *option) form() string {
	form := "    --" + o.long
	if o.short != 0 {
		form = "-" + string(rune(o.short)) + ", --" + o.long
	}
	if o.arg != "" {
		form += " " + o.arg
	}
	return form
}

func (c *call) help() error {
	if len(c.args) == 0 {
		for i := range c.sh.table {
			v := &c.sh.table[i]
			fmt.Fprintf(c.out, "  %-11s %s\n", v.name, v.help)
		}
		fmt.Fprintln(c.out, "help COMMAND tells more; Tab completes; Ctrl-C ends a command, Ctrl-D the shell")
		return nil
	}
	v, err := c.sh.find(c.args[0].Text)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s\n  %s\n", v.usage, v.help)
	if v.more != "" {
		fmt.Fprintf(c.out, "  %s\n", strings.ReplaceAll(v.more, "\n", "\n  "))
	}
	if len(v.aliases) > 0 {
		fmt.Fprintf(c.out, "  also: %s\n", strings.Join(v.aliases, ", "))
	}
	for _, o := range v.opts {
		fmt.Fprintf(c.out, "  %-30s %s\n", o.form(), o.help)
	}
	return nil
}
