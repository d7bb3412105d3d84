package serve

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dray/account"
	"dray/vfs/osfs"
)

// Owners are users of this machine: only root can make files of others for a
// test.
func TestOwnersHaveTheirFiles(t *testing.T) {
	if os.Geteuid() != 0 || !osfs.CanSwitch() {
		t.Skip("needs root")
	}
	const one, two = 42001, 42002
	c := site(t)
	homes := filepath.Dir(homeOf(c, "x"))
	for dir := homes; dir != os.TempDir() && len(dir) > 1; dir = filepath.Dir(dir) { // others must get there
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, uid := range map[string]int{"anna": one, "thief": two} {
		home := homeOf(c, name)
		if err := errors.Join(os.Mkdir(home, 0o700), os.Chown(home, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	own := func(uid uint32) *account.Owner { return &account.Owner{UID: uid, GID: uid, Umask: 0o027} }
	add(t, c,
		account.Account{Name: "anna", Owner: own(one)},
		account.Account{Name: "thief", Owner: own(one)}, // the home is another's
		account.Account{Name: "new", Owner: own(two)},
		account.Account{Name: "server"},
	)
	r, _, j := run(t, Setup{Config: c}, "the directory of the account can't be opened")
	for user, uid := range map[string]uint32{"anna": one, "new": two, "server": 0} {
		in(t, r, user).say("MKD made", "257")
		for _, name := range []string{homeOf(c, user), filepath.Join(homeOf(c, user), "made")} {
			fi, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := fi.Sys().(*syscall.Stat_t).Uid; got != uid {
				t.Errorf("%s belongs to uid %d, want %d", name, got, uid)
			}
		}
	}
	k := dial(t, r.Card.FTPS[0]).under(r.Card)
	k.want("220")
	k.say("USER thief", "331")
	if got := k.say("PASS "+password, "530"); !strings.Contains(got, "[home]") {
		t.Errorf("a home of somebody else is answered by %q", got)
	}
	if log := j.String(); !strings.Contains(log, "it belongs to somebody else (uid 42002") || !strings.Contains(log, "user=thief") {
		t.Errorf("the log does not say whose home it is:\n%s", log)
	}
}
