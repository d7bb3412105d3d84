//go:build linux

package serve

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"dray/ftpserver"
	"dray/sftp"
	"dray/sftpserver"
)

// A way is one way to do an operation in a protocol.
type way struct {
	protocol  string // ftp, sftp or scp
	row       string // of its table
	changes   bool   // the row says so
	operation string
	name      string
	tells     string // what the client learns by it and by nothing else
	do        func(p *peer) answer
}

// An ftpWay is a way to say a command, with what is said before it.
type ftpWay struct {
	operation string
	line      string
	before    string
	tells     string
}

const (
	content   = "12345"
	aSum      = "827ccb0eea8a706c4c34a16891f84e7b" // MD5 of content
	sent      = "sent"
	aTime     = "20200101000000"
	aTimeUnix = 1577836800
)

// ftpWays are those of each row of ftpserver that touches the tree.
func ftpWays() map[string][]ftpWay {
	of := func(operation string, ways ...ftpWay) []ftpWay {
		for i := range ways {
			ways[i].operation = operation
		}
		return ways
	}
	all := map[string][]ftpWay{
		"STAT": append(of("look at a file", ftpWay{line: "STAT file", tells: " 5 "}),
			of("list a directory", ftpWay{line: "STAT dir", tells: "inner"}, ftpWay{line: "STAT *", tells: "other"})...),
		"MLST": append(of("look at a file", ftpWay{line: "MLST file", tells: "ize=5;"}),
			of("look at a directory", ftpWay{line: "MLST dir", tells: "odify=20010203040506;"})...),
		"SIZE": of("look at a file", ftpWay{line: "SIZE file", tells: " 5"}),
		"MDTM": append(of("look at a file", ftpWay{line: "MDTM file", tells: " 20010203040506"}),
			of("set a time", ftpWay{line: "MDTM " + aTime + " file"})...),
		"CWD": of("enter a directory", ftpWay{line: "CWD dir"}), "XCWD": of("enter a directory", ftpWay{line: "XCWD dir"}),
		"CDUP": of("enter a directory", ftpWay{line: "CDUP"}), "XCUP": of("enter a directory", ftpWay{line: "XCUP"}),
		"LIST": of("list a directory", ftpWay{line: "LIST", tells: "other"}, ftpWay{line: "LIST dir", tells: "inner"}, ftpWay{line: "LIST -R", tells: "inner"},
			ftpWay{line: "LIST d*", tells: "2001 dir"}),
		"NLST": of("list a directory", ftpWay{line: "NLST", tells: "other"}, ftpWay{line: "NLST dir/*", tells: "inner"}),
		"MLSD": of("list a directory", ftpWay{line: "MLSD dir", tells: "inner"}),
		"AVBL": of("ask how much room there is", ftpWay{line: "AVBL", tells: "213 "}, ftpWay{line: "AVBL dir", tells: "213 "}),
		"DSIZ": of("add up what is in a directory", ftpWay{line: "DSIZ dir", tells: "213 3"}),
		"RETR": of("download", ftpWay{line: "RETR file", tells: content}, ftpWay{line: "RETR link", tells: content}, ftpWay{before: "REST 1", line: "RETR file", tells: content[1:]}),
		"HASH": of("ask for a checksum", ftpWay{line: "HASH file", tells: "5994471abb01112afcc18159f6cc74b4"}),
		"MD5":  of("ask for a checksum", ftpWay{line: "MD5 file", tells: strings.ToUpper(aSum)}),
		"MMD5": of("ask for a checksum", ftpWay{line: "MMD5 file, dir/inner", tells: strings.ToUpper(aSum)}),
		"XCRC": of("ask for a checksum", ftpWay{line: "XCRC file", tells: "CBF53A1C"}), "XMD5": of("ask for a checksum", ftpWay{line: "XMD5 file", tells: strings.ToUpper(aSum)}),
		"STOR": slices.Concat(
			of("upload a new file", ftpWay{line: "STOR new"}),
			of("replace a file", ftpWay{line: "STOR file"}, ftpWay{line: "STOR link"}),
			of("replace the end of a file", ftpWay{before: "REST 1", line: "STOR file"}),
		),
		"STOU": of("upload under a name of its own", ftpWay{line: "STOU"}, ftpWay{line: "STOU file"}),
		"APPE": append(of("upload a new file", ftpWay{line: "APPE new"}), of("append to a file", ftpWay{line: "APPE file"})...),
		"MKD":  append(of("make a directory", ftpWay{line: "MKD made"}), of("make a directory where something is", ftpWay{line: "MKD file"}, ftpWay{line: "MKD dir"})...), "XMKD": of("make a directory", ftpWay{line: "XMKD made"}),
		"RMD": of("remove a directory", ftpWay{line: "RMD empty"}), "XRMD": of("remove a directory", ftpWay{line: "XRMD empty"}),
		"RMDA": of("remove a directory with all in it", ftpWay{line: "RMDA dir"}),
		"DELE": append(of("remove a file", ftpWay{line: "DELE file"}), of("remove a link", ftpWay{line: "DELE link"})...),
		"RNFR": of("ask what can be renamed", ftpWay{line: "RNFR file"}, ftpWay{line: "RNFR dir"}),
		"RNTO": slices.Concat(
			of("rename", ftpWay{before: "RNFR file", line: "RNTO new"}),
			of("rename a directory", ftpWay{before: "RNFR dir", line: "RNTO new"}),
			of("rename over a file", ftpWay{before: "RNFR file", line: "RNTO other"}),
			of("rename over an empty directory", ftpWay{before: "RNFR dir", line: "RNTO empty"}),
		),
		"MFMT": of("set a time", ftpWay{line: "MFMT " + aTime + " file"}),
		"MFF":  append(of("set a time", ftpWay{line: "MFF modify=" + aTime + "; file"}), of("set a mode", ftpWay{line: "MFF UNIX.mode=0600; file"})...),
		"COMB": append(of("make a file of others", ftpWay{line: "COMB new file other"}), of("put others behind a file", ftpWay{line: "COMB file other"})...),

		"SITE UTIME":   of("set a time", ftpWay{line: "SITE UTIME " + aTime + " file"}),
		"SITE CHMOD":   append(of("set a mode", ftpWay{line: "SITE CHMOD 600 file"}), of("set the mode of a directory", ftpWay{line: "SITE CHMOD 700 dir"})...),
		"SITE UMASK":   of("set modes of what comes", ftpWay{line: "SITE UMASK 022"}), // as it is
		"SITE MKDIR":   append(of("make a directory", ftpWay{line: "SITE MKDIR made"}), of("make a directory and one in it", ftpWay{line: "SITE MKDIR made/below"})...),
		"SITE RMDIR":   of("remove a directory with all in it", ftpWay{line: "SITE RMDIR dir"}),
		"SITE SYMLINK": append(of("make a link", ftpWay{line: "SITE SYMLINK file new"}), of("make a link where something is", ftpWay{line: "SITE SYMLINK dir file"})...),
		"SITE CPFR":    of("ask what can be copied", ftpWay{line: "SITE CPFR file"}),
		"SITE CPTO": slices.Concat(
			of("copy a file", ftpWay{before: "SITE CPFR file", line: "SITE CPTO new"}),
			of("copy over a file", ftpWay{before: "SITE CPFR file", line: "SITE CPTO other"}),
			of("copy a directory", ftpWay{before: "SITE CPFR dir", line: "SITE CPTO new"}),
		),
		"SITE COPY": slices.Concat(
			of("copy a file", ftpWay{line: "SITE COPY file new"}), of("copy over a file", ftpWay{line: "SITE COPY file other"}),
			of("copy a directory", ftpWay{line: "SITE COPY dir new"}),
		),
	}
	for verb, sum := range map[string]string{
		"XSHA": "8CB2237D0679CA88DB6464EAC60DA96345513964", "XSHA1": "8CB2237D0679CA88DB6464EAC60DA96345513964",
		"XSHA256": "5994471ABB01112AFCC18159F6CC74B4F511B99806DA59B3CAF5A9C173CACFC5", "XSHA512": "3627909A29C31381A071EC27F7C9CA97726182AED29A7DDD2E54353322CFB30A",
	} {
		all[verb] = of("ask for a checksum", ftpWay{line: verb + " file", tells: sum})
	}
	return all
}

// An sftpWay is a way to make a request, with those that lead to it.
type sftpWay struct {
	operation string
	name      string
	tells     string
	do        func(v *visit)
}

const (
	reads   = sftp.OpenRead
	writes  = sftp.OpenWrite
	makes   = sftp.OpenWrite | sftp.OpenCreate
	empties = makes | sftp.OpenTrunc
	mustNew = makes | sftp.OpenExcl
	appends = sftp.OpenWrite | sftp.OpenAppend
)

// mode and times are attributes to be set.
var (
	mode  = sftp.Attributes{Flags: sftp.HasMode, Mode: 0o600}
	ofDir = sftp.Attributes{Flags: sftp.HasMode, Mode: 0o700}
	dated = sftp.Attributes{Flags: sftp.HasTimes, ATime: aTimeUnix, MTime: aTimeUnix}
	short = sftp.Attributes{Flags: sftp.HasSize, Size: 2}
)

// sftpWays are those of each row of sftpserver that touches the tree.
func sftpWays() map[string][]sftpWay {
	one := func(operation, tells string, q sftp.Request) []sftpWay {
		return []sftpWay{{operation, fmt.Sprintf("%s %s", q.Path, q.To), tells, func(v *visit) { v.do(q) }}}
	}
	path := func(typ sftp.Type, path string) sftp.Request { return sftp.Request{Type: typ, Path: []byte(path)} }
	two := func(typ sftp.Type, path, to string) sftp.Request {
		return sftp.Request{Type: typ, Path: []byte(path), To: []byte(to)}
	}
	ext := func(name, path, to string) sftp.Request {
		q := two(sftp.TypeExtended, path, to)
		q.Extension = []byte(name)
		return q
	}
	set := func(q sftp.Request, a sftp.Attributes) sftp.Request {
		q.Attrs = a
		return q
	}
	// upload opens a file, writes to it and closes it.
	upload := func(operation, name string, flags uint32, at uint64, data string, a sftp.Attributes) sftpWay {
		return sftpWay{operation, fmt.Sprintf("%s %x, WRITE", name, flags), "", func(v *visit) {
			h := v.open(name, flags, a)
			if data != "" {
				v.do(sftp.Request{Type: sftp.TypeWrite, Handle: h, Offset: at, Data: []byte(data)})
			}
			v.close(h)
		}}
	}
	// opened opens a file or a directory for one request and closes it.
	opened := func(operation, tells, name string, flags uint32, q sftp.Request) []sftpWay {
		return []sftpWay{{operation, fmt.Sprintf("of the open %s", name), tells, func(v *visit) {
			var h []byte
			if flags == 0 {
				h = v.do(path(sftp.TypeOpendir, name)).Handle
			} else {
				h = v.open(name, flags, sftp.Attributes{})
			}
			q := q // of this account
			q.Handle = h
			v.do(q)
			v.close(h)
		}}}
	}
	copyData := func(operation, to string) sftpWay {
		return sftpWay{operation, "file " + to, "", func(v *visit) {
			from := v.open("file", reads, sftp.Attributes{})
			into := v.open(to, empties, sftp.Attributes{})
			q := ext(sftp.ExtCopyData, "", "")
			q.Handle, q.Into = from, into
			v.do(q)
			v.close(into)
			v.close(from)
		}}
	}
	none := sftp.Attributes{}
	md5 := ext(sftp.ExtCheckName, "file", "")
	md5.Algorithms = []byte("md5")
	md5Of := func(name string) sftp.Request {
		q := md5
		q.Path, q.Extension = nil, []byte(name)
		return q
	}
	read := sftp.Request{Type: sftp.TypeRead, Length: 100}
	return map[string][]sftpWay{
		"STAT": append(one("look at a file", "size 5", path(sftp.TypeStat, "file")),
			one("look at a directory", "time 981173106", path(sftp.TypeStat, "dir"))...),
		"LSTAT": slices.Concat(
			one("look at a file", "size 5", path(sftp.TypeLstat, "file")), one("look at a link", "mode 120777", path(sftp.TypeLstat, "link")),
			one("look at a directory", "time 981173106", path(sftp.TypeLstat, "dir")),
		),
		"READLINK":            one("see where a link leads", "name file", path(sftp.TypeReadlink, "link")),
		"REALPATH":            one("enter a directory", "", path(sftp.TypeRealpath, "dir/x")),
		sftp.ExtExpandPath:    one("enter a directory", "", ext(sftp.ExtExpandPath, "~/dir/x", "")),
		sftp.ExtHomeDirectory: one("enter a directory", "", ext(sftp.ExtHomeDirectory, "", "")),
		"OPENDIR":             opened("list a directory", "name inner", "dir", 0, sftp.Request{Type: sftp.TypeReaddir}),
		"READDIR":             opened("list a directory", "name other", "/", 0, sftp.Request{Type: sftp.TypeReaddir}),
		sftp.ExtStatvfs:       one("ask how much room there is", "reply ", ext(sftp.ExtStatvfs, "dir", "")),
		sftp.ExtFstatvfs:      opened("ask how much room there is", "reply ", "dir", 0, ext(sftp.ExtFstatvfs, "", "")),
		"READ":                opened("download", content, "file", reads, read),
		"FSTAT":               opened("download", "size 5", "file", reads, sftp.Request{Type: sftp.TypeFstat}),
		"CLOSE":               opened("download", content, "link", reads, read),
		sftp.ExtCheckName:     one("ask for a checksum", aSum, md5),
		sftp.ExtCheckHandle:   opened("ask for a checksum", aSum, "file", reads, md5Of(sftp.ExtCheckHandle)),
		sftp.ExtCheck:         opened("ask for a checksum", aSum, "file", reads, md5Of(sftp.ExtCheck)),
		"OPEN": {
			upload("upload a new file", "new", empties, 0, sent, none), upload("upload a new file", "new", makes, 0, sent, none),
			upload("upload a new file", "new", mustNew, 0, sent, none), upload("upload a new file", "new", makes|appends, 0, sent, none),
			upload("upload a new file", "new", makes|reads, 0, sent, none),
			upload("upload a new file with a mode", "new", empties, 0, sent, mode), upload("upload a new file with a mode", "new", mustNew, 0, sent, mode),
			upload("upload to a name that must be new", "file", mustNew, 0, sent, none),
			upload("replace a file", "file", empties, 0, sent, none), upload("replace a file", "link", empties, 0, sent, none),
			upload("replace a file", "file", makes|appends|empties, 0, sent, none),
			upload("replace a file that must be there", "file", writes|sftp.OpenTrunc, 0, sent, none),
			upload("replace a file", "file", empties, 0, sent, mode),
			upload("append to a file", "file", makes|appends, 0, sent, none),
		},
		"WRITE": {
			upload("replace the end of a file", "file", writes, 1, sent, none), upload("replace the end of a file", "file", writes|reads, 1, sent, none),
			upload("replace the end of a file", "link", writes, 1, sent, none),
		},
		sftp.ExtFsync: {{"upload a new file", "in the middle", "", func(v *visit) {
			h := v.open("new", empties, none)
			v.do(sftp.Request{Type: sftp.TypeWrite, Handle: h, Data: []byte(sent[:2])})
			q := ext(sftp.ExtFsync, "", "")
			q.Handle = h
			v.do(q)
			v.do(sftp.Request{Type: sftp.TypeWrite, Handle: h, Offset: 2, Data: []byte(sent[2:])})
			v.close(h)
		}}},
		"SETSTAT": slices.Concat(
			one("set a time", "", set(path(sftp.TypeSetstat, "file"), dated)), one("set a mode", "", set(path(sftp.TypeSetstat, "file"), mode)),
			one("cut a file", "", set(path(sftp.TypeSetstat, "file"), short)), one("set the mode of a directory", "", set(path(sftp.TypeSetstat, "dir"), ofDir)),
		),
		sftp.ExtLsetstat: slices.Concat(
			one("set a time", "", set(ext(sftp.ExtLsetstat, "file", ""), dated)), one("set a mode", "", set(ext(sftp.ExtLsetstat, "file", ""), mode)),
			one("cut a file", "", set(ext(sftp.ExtLsetstat, "file", ""), short)), one("set the time of a link", "", set(ext(sftp.ExtLsetstat, "link", ""), dated)),
		),
		"FSETSTAT": append(opened("set the time of an open file", "", "file", reads, set(sftp.Request{Type: sftp.TypeFsetstat}, dated)),
			opened("cut a file", "", "file", writes, set(sftp.Request{Type: sftp.TypeFsetstat}, short))...),
		"REMOVE": append(one("remove a file", "", path(sftp.TypeRemove, "file")), one("remove a link", "", path(sftp.TypeRemove, "link"))...),
		"MKDIR": slices.Concat(
			one("make a directory", "", path(sftp.TypeMkdir, "made")), one("make a directory with a mode", "", set(path(sftp.TypeMkdir, "made"), ofDir)),
			one("make a directory where something is", "", path(sftp.TypeMkdir, "file")),
		),
		"RMDIR": one("remove a directory", "", path(sftp.TypeRmdir, "empty")),
		"RENAME": slices.Concat(
			one("rename", "", two(sftp.TypeRename, "file", "new")), one("rename a directory", "", two(sftp.TypeRename, "dir", "new")),
			one("rename to a name that must be new", "", two(sftp.TypeRename, "file", "other")),
		),
		sftp.ExtPosixRename: slices.Concat(
			one("rename", "", ext(sftp.ExtPosixRename, "file", "new")), one("rename a directory", "", ext(sftp.ExtPosixRename, "dir", "new")),
			one("rename over a file", "", ext(sftp.ExtPosixRename, "file", "other")), one("rename over an empty directory", "", ext(sftp.ExtPosixRename, "dir", "empty")),
		),
		"SYMLINK":        append(one("make a link", "", two(sftp.TypeSymlink, "file", "new")), one("make a link where something is", "", two(sftp.TypeSymlink, "dir", "file"))...),
		sftp.ExtHardlink: append(one("give a file another name", "", ext(sftp.ExtHardlink, "file", "new")), one("give a file a name that is taken", "", ext(sftp.ExtHardlink, "file", "other"))...),
		sftp.ExtCopyData: {copyData("copy a file", "new"), copyData("copy over a file", "other")},
	}
}

// An scpWay is one run of scp on the client's side.
type scpWay struct {
	operation string
	command   string
	says      []string // each when the one before was answered; nil for a download
	tells     string
}

func scpWays() map[string][]scpWay {
	file := []string{"C0644 4 x\n", sent + "\x00"}
	return map[string][]scpWay{
		"scp -t": {
			{operation: "upload a new file", command: "scp -t new", says: file},
			{operation: "upload a new file", command: "scp -t .", says: []string{"C0644 4 new\n", sent + "\x00"}},
			{operation: "upload a new file with a mode", command: "scp -t new", says: []string{"C0600 4 x\n", sent + "\x00"}},
			{operation: "upload a new file with a mode and times", command: "scp -p -t new", says: []string{fmt.Sprintf("T%d 0 %[1]d 0\n", aTimeUnix), "C0600 4 x\n", sent + "\x00"}},
			{operation: "replace a file", command: "scp -t file", says: file}, {operation: "replace a file", command: "scp -t link", says: file},
			{operation: "replace a file", command: "scp -t file", says: []string{"C0600 4 x\n", sent + "\x00"}},
			{operation: "replace a file with a mode and times", command: "scp -p -t file", says: []string{fmt.Sprintf("T%d 0 %[1]d 0\n", aTimeUnix), "C0600 4 x\n", sent + "\x00"}},
			{operation: "make a directory", command: "scp -r -t made", says: []string{"D0755 0 x\n", "E\n"}},
			{operation: "make a directory with a mode", command: "scp -r -p -t made", says: []string{"D0700 0 x\n", "E\n"}},
			{operation: "make a directory and one in it", command: "scp -r -t made", says: []string{"D0755 0 x\n", "D0755 0 below\n", "E\n", "E\n"}},
		},
		"scp -f": {
			{operation: "download", command: "scp -f file", tells: content}, {operation: "download", command: "scp -p -f link", tells: content},
			{operation: "download what fits a pattern", command: "scp -f f*", tells: content},
			{operation: "download a directory", command: "scp -r -f dir", tells: "abc"},
		},
	}
}

// apart are the rows of both tables that touch nothing in a tree.
var apart = map[string]string{
	"ftp": "USER PASS ACCT AUTH PBSZ PROT HOST FEAT OPTS CLNT SYST HELP NOOP QUIT REIN ABOR PWD XPWD TYPE STRU MODE PASV EPSV PORT EPRT " +
		"REST ALLO SITE MFCT CSID LANG PRET RANG CCC SSCN CPSV SITE-HELP SITE-IDLE SITE-TIME SITE-ALIAS SITE-DRAY",
	"sftp": sftp.ExtLimits + " " + sftp.ExtUsersGroups + " " + sftp.ExtSight,
}

// ways are all ways, by the rows of the tables.
func ways(t *testing.T) (all []way) {
	t.Helper()
	var rows []way // without an operation
	add := func(protocol, name string, changes bool) {
		rows = append(rows, way{protocol: protocol, row: name, changes: changes})
	}
	commands, site := ftpserver.Reference()
	for _, row := range slices.Concat(commands, site) {
		add("ftp", row.Verb, row.Changes)
	}
	for _, row := range sftpserver.Reference() {
		add("sftp", row.Name, row.Changes)
	}
	add("scp", "scp -t", true)
	add("scp", "scp -f", false)

	ftpAll, sftpAll, scpAll := ftpWays(), sftpWays(), scpWays()
	table := operations()
	for _, row := range rows {
		before := len(all)
		put := func(operation, name, tells string, do func(*peer) answer) {
			w := row
			w.operation, w.name, w.tells, w.do = operation, name, tells, do
			if _, ok := table[operation]; !ok {
				t.Errorf("%s: there is no operation %q", w.name, operation)
			}
			all = append(all, w)
		}
		switch row.protocol {
		case "ftp":
			for _, f := range ftpAll[row.row] {
				if f.line != row.row && !strings.HasPrefix(f.line, row.row+" ") {
					t.Errorf("%q is no way to say %s", f.line, row.row)
				}
				name := strings.TrimPrefix(f.before+", "+f.line, ", ")
				put(f.operation, "ftp "+name, f.tells, func(p *peer) answer { return p.ftp.try(f) })
				put(f.operation, "ftps "+name, f.tells, func(p *peer) answer { return p.ftps.try(f) })
			}
			delete(ftpAll, row.row)
		case "sftp":
			for _, s := range sftpAll[row.row] {
				put(s.operation, "sftp "+row.row+" "+s.name, s.tells, func(p *peer) answer {
					v := &visit{w: p.sftp}
					s.do(v)
					return v.heard
				})
			}
			delete(sftpAll, row.row)
		case "scp":
			for _, s := range scpAll[row.row] {
				put(s.operation, s.command, s.tells, func(p *peer) answer { return p.sftp.scp(s) })
			}
		}
		aside := slices.Contains(strings.Fields(apart[row.protocol]), strings.ReplaceAll(row.row, " ", "-"))
		switch has := len(all) > before; {
		case has == aside:
			t.Errorf("%s %s: what does it do to a tree? It has ways %v, and stands apart %v", row.protocol, row.row, has, aside)
		case aside && row.changes:
			t.Errorf("%s %s stands apart, and changes the tree", row.protocol, row.row)
		}
	}
	for row := range ftpAll {
		t.Errorf("there is no command %s", row)
	}
	for row := range sftpAll {
		t.Errorf("there is no request %s", row)
	}
	whole(t, all)
	return all
}
