package ftpserver

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/account"
	"dray/fault"
	"dray/vfs"
	"dray/vfs/memfs"
)

// What FEAT asks of rights is what the uses of the row take.
func TestFeatNeedsTheRightsOfItsRow(t *testing.T) {
	ways := uses()
	check := func(rows []command, prefix string) {
		for _, row := range rows {
			all := ways[prefix+row.verb]
			free := slices.ContainsFunc(all, func(u use) bool { return u.needs == 0 })
			enough := slices.ContainsFunc(all, func(u use) bool { return u.needs.Has(row.needs) })
			switch {
			case row.feat == nil && row.needs != 0:
				t.Errorf("%s%s needs rights for a line of FEAT that it does not have", prefix, row.verb)
			case row.feat != nil && !free && row.needs == 0:
				t.Errorf("FEAT promises %s%s to who may not use it", prefix, row.verb)
			case free && row.needs != 0, !enough:
				t.Errorf("FEAT hides %s%s from who may use it: %s", prefix, row.verb, row.needs)
			}
		}
	}
	check(commands(), "")
	check(siteCommands(), "SITE ")
}

func TestFeatObeysTheRightsOfWhoIsLoggedIn(t *testing.T) {
	t.Parallel()
	s := switchedOn()
	s.users = []account.Account{
		{Name: "full", Rights: account.Full}, {Name: "reader", Rights: account.ReadOnly}, {Name: "dropbox", Rights: account.UploadOnly},
		{Name: "below", Rights: account.ReadOnly, Paths: []account.PathRights{{Path: "/d", Rights: account.Full}}},
	}
	st := newSite(t, s)
	all := []string{"MFMT", "MFF modify;UNIX.mode;", "SITE UTIME", "RMDA", "SITE RMDIR", "SITE MKDIR", "COMB", "SITE COPY", "MD5", "AVBL", "MDTM"}
	for user, want := range map[string][]string{
		"": all, "full": all, "below": all,
		"reader": {"MD5", "AVBL", "MDTM"}, "dropbox": {"SITE MKDIR", "MDTM"},
	} {
		k := st.greeted()
		if user != "" {
			k.as(user)
		}
		features := strings.Split(k.do(211, "FEAT"), "\n ")
		for _, f := range all {
			if has := slices.ContainsFunc(features, func(line string) bool { return strings.TrimSuffix(line, "\n211 End") == f }); has != slices.Contains(want, f) {
				t.Errorf("FEAT of %q has %s: %v", user, f, has)
			}
		}
		k.bye()
	}
}

// Some programs keep a connection with bare line ends.
func TestLinesWithoutAVerbAreNotCounted(t *testing.T) {
	t.Parallel()
	st := newSite(t, plain())
	k := st.greeted()
	for range 10 {
		hasID(t, k.do(500, ""), fault.IDUnknown)
		hasID(t, k.do(500, " NOOP"), fault.IDUnknown)
	}
	k.as("alice")
	for range 10 {
		hasID(t, k.do(500, ""), fault.IDUnknown)
	}
	k.do(200, "NOOP")
	k.bye()
}

func TestBlanksAroundArgumentsThatHoldNoName(t *testing.T) {
	t.Parallel()
	s := switchedOn()
	s.tree = withFiles(t)
	st := newSite(t, s)
	k := st.login()
	for _, line := range []string{
		"TYPE I ", "TYPE  I", "MODE S ", "STRU F ", "NOOP ", "OPTS UTF8 ON ", "OPTS  MLST type; ", "LANG EN ", "ALLO 5 ",
		"CLNT x ", "SITE  CHMOD 644 a", "SITE   UMASK  077 ", "SITE IDLE 60 ",
	} {
		k.do(200, line)
	}
	k.do(350, "REST 5 ")
	k.do(350, "RANG 1 2 ")
	k.do(257, "PWD  ")
	k.do(350, "SITE  CPFR a")
	k.do(250, "SITE  CPTO b")
	hasID(t, k.do(501, "TYPE   "), fault.IDSyntax)
	hasID(t, k.do(501, "SITE  "), fault.IDSyntax)
	k.do(213, "SIZE a")
	for _, line := range []string{"SIZE a ", "SIZE  a", "MLST a "} { // the blank is in the name
		hasID(t, k.do(550, line), fault.IDNotFound)
	}
	k.do(257, "MKD  new ")
	if _, err := st.mem.Lstat(t.Context(), resolve(t, " new ")); err != nil {
		t.Error(err)
	}
}

func TestHelpOfOneCommand(t *testing.T) {
	t.Parallel()
	s := plain()
	st := newSite(t, s)
	k := st.greeted()
	k.as("alice")
	for line, want := range map[string]string{
		"HELP SITE CHMOD": "214 SITE CHMOD mode path: ", "SITE HELP CHMOD": "214 SITE CHMOD mode path: ", "help chmod ": "214 SITE CHMOD mode path: ",
		"HELP MAIL": "214 MAIL is not offered here: " + mailGone + ".", "HELP lprt": "214 LPRT is not offered here: EPRT has taken its place.",
		"HELP SITE EXEC": "214 SITE EXEC is not offered here: ", "SITE HELP exec": "214 SITE EXEC is not offered here: ",
		"HELP SITE": "214-Commands behind SITE:", "SITE HELP": "214-Commands behind SITE:", "HELP": "214-Commands:",
		"HELP OPTS": "214 OPTS UTF8 ON | MLST facts | HASH algorithm | MODE Z LEVEL n: ",
	} {
		if reply := k.do(214, line); !strings.HasPrefix(reply, want) {
			t.Errorf("%s: %q; want %q", line, reply, want)
		}
	}
	for _, line := range []string{"HELP NONE", "HELP SITE NONE", "SITE HELP NONE", "SITE HELP STOR"} {
		hasID(t, k.do(500, line), fault.IDUnknown)
	}
}

func TestOptsNamesWhatIsOn(t *testing.T) {
	t.Parallel()
	for denied, want := range map[string]string{
		"":       "OPTS UTF8 ON | MLST facts | HASH algorithm | MODE Z LEVEL n.",
		"HASH":   "OPTS UTF8 ON | MLST facts | MODE Z LEVEL n.",
		"MODE Z": "OPTS UTF8 ON | MLST facts | HASH algorithm.",
		"MODE":   "OPTS UTF8 ON | MLST facts | HASH algorithm.",
	} {
		s := plain()
		s.rules.Deny = []string{denied}
		k := newSite(t, s).login()
		for _, line := range []string{"OPTS", "OPTS TREES"} {
			if reply := k.do(501, line); !strings.Contains(reply, " "+want) {
				t.Errorf("%s without %q: %q", line, denied, reply)
			}
		}
		if denied == "HASH" {
			hasID(t, k.do(502, "OPTS HASH MD5"), fault.IDNotBuilt)
		}
	}
}

// A coarse tree keeps times of two seconds, as FAT does.
type coarse struct{ *memfs.Tree }

func (c coarse) SetTime(ctx context.Context, p vfs.Path, mtime time.Time) error {
	return c.Tree.SetTime(ctx, p, mtime.Truncate(2*time.Second))
}

func TestTheTimeThatIsTold(t *testing.T) {
	t.Parallel()
	s := plain()
	s.tree = coarse{withFiles(t)}
	k := newSite(t, s).login()
	for line, want := range map[string]string{
		"MFMT 20200101000003 a":                                         "213 Modify=20200101000002; /a",
		"MFMT 20200101000002.9 a":                                       "213 Modify=20200101000002; /a",
		"MDTM 20200101000003 a":                                         "213 Modify=20200101000002; /a",
		"MFF modify=20200101000003; a":                                  "213 Modify=20200101000002; /a",
		"MFF modify=20200101000003.5; a":                                "213 Modify=20200101000002; /a",
		"SITE UTIME 20200101000003 a":                                   "200 Modify=20200101000002; /a",
		"SITE UTIME a 20200101000003 20200101000003 20200101000003 UTC": "200 Modify=20200101000002; /a",
	} {
		code := 213
		if strings.HasPrefix(line, "SITE") {
			code = 200
		}
		if reply := k.do(code, line); reply != want {
			t.Errorf("%s: %q; want %q", line, reply, want)
		}
		if reply := k.do(213, "MDTM a"); reply != "213 20200101000002" {
			t.Errorf("MDTM behind %s: %q", line, reply)
		}
	}
}
