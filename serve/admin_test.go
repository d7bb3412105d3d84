package serve

import (
	"path/filepath"
	"strings"
	"testing"

	"dray/account"
	"dray/admin"
	"dray/config"
	"dray/fault"
)

// What a server tells its administrator is so, also after a reload.
func TestTheAdministratorIsTold(t *testing.T) {
	c := site(t)
	c.Admin = filepath.Join(t.TempDir(), "s") // a short name
	c.Public = "203.0.113.9"
	add(t, c, account.Account{Name: "anna"})
	r, stop, _ := run(t, Setup{Config: c, Version: "7"}, "stopped by")
	cl, err := admin.Dial(c.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	in(t, r, "anna")
	info, err := cl.Info()
	if err != nil || info.Version != "7" || info.Sessions != 1 || info.Told != "203.0.113.9" || len(info.Listeners) != len(r.serving) || len(info.Certificates) != 1 || !info.Certificates[0].SelfSigned {
		t.Errorf("Info = %+v, %v", info, err)
	}
	if l := info.Listeners[0]; l.Address != r.serving[0].l.Addr().String() || l.Passive != c.Passive || l.Protocol != "ftp" {
		t.Errorf("the listener: %+v", l)
	}
	sessions, _, err := cl.Sessions()
	if err != nil || len(sessions) != 1 || sessions[0].User != "anna" || !strings.HasPrefix(sessions[0].Secure, "TLS 1.") || len(sessions[0].Tasks) != 0 {
		t.Errorf("Sessions = %+v, %v", sessions, err)
	}
	next := c
	next.Passive = "20620-20629"
	reload(t, r, next)
	seen, err := cl.Watchdog()
	if err != nil || len(seen.Pools) != 1 || seen.Pools[0].Size != 10 || len(seen.Findings) != 0 {
		t.Errorf("Watchdog = %+v, %v", seen, err)
	}
	stop()
	if _, err := admin.Dial(c.Admin); err == nil {
		t.Error("it answers after the end")
	}
}

// An exhausted range is told under its id.
func TestTheAdministratorIsToldOfAnExhaustedRange(t *testing.T) {
	c := site(t)
	c.Passive = "20630-20630"
	add(t, c, account.Account{Name: "anna"})
	r, _, _ := run(t, Setup{Config: c}, "all data ports are in use")
	first, second := in(t, r, "anna"), in(t, r, "anna")
	first.say("EPSV", "229")
	second.say("EPSV", "425")
	seen := told{r}.Watchdog()
	if len(seen.Findings) != 1 || seen.Findings[0].ID != string(fault.IDPool) || seen.Findings[0].Times != 1 || seen.Pools[0].Held != 1 {
		t.Errorf("%+v", seen)
	}
}

// A server whose socket can't be had serves all the same, and says so.
func TestWithoutASocketItServesAllTheSame(t *testing.T) {
	c := site(t)
	c.Admin = filepath.Join(t.TempDir(), "missing", "s")
	c.Listeners = []config.Listener{c.Listeners[0]}
	add(t, c, account.Account{Name: "anna"})
	r, _, j := run(t, Setup{Config: c})
	k := dial(t, r.Card.FTP[0])
	k.want("220")
	if !strings.Contains(j.String(), "dray status can't ask this server") {
		t.Errorf("the log: %s", j)
	}
}
