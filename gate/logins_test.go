package gate

import (
	"crypto/tls"
	"testing"

	"dray/event"
	"dray/meter"
	"dray/vfs"
)

func TestLoginsTellWhatSessionsDo(t *testing.T) {
	h := newHouse(t)
	s := h.anna()
	only := func() Login {
		t.Helper()
		all := h.gate.Logins()
		if len(all) != 1 {
			t.Fatalf("Logins = %+v", all)
		}
		return all[0]
	}
	if l := only(); l.User != "anna" || l.ID != s.visit.ID() || l.Remote != alice || l.Local != here || l.Since.IsZero() || l.Tasks != nil {
		t.Errorf("at rest: %+v", l)
	}
	s.visit.Secured(tls.ConnectionState{Version: tls.VersionTLS13})
	var count meter.Counter
	p, err := vfs.Resolve(vfs.Root, "/a")
	need(t, err)
	end := s.Begin(event.Download, p, 100, count.Bytes)
	also := s.Begin(event.Listing, p, -1, nil)
	count.Done(0, 7)
	l := only()
	if l.Secure != "TLS 1.3" || len(l.Tasks) != 2 || l.Tasks[0].Bytes != 7 || l.Tasks[0].Size != 100 || l.Tasks[0].Path != "/a" || l.Tasks[1].Direction != event.Listing {
		t.Errorf("in a download: %+v", l)
	}
	end()
	end()
	also()
	up, err := s.Create(t.Context(), p, vfs.Create{How: vfs.Replace})
	need(t, err)
	need(t, up.Write(t.Context(), []byte("abc"), 0))
	if l := only(); len(l.Tasks) != 1 || l.Tasks[0].Direction != event.Upload || l.Tasks[0].Bytes != 3 || l.Tasks[0].Size != -1 {
		t.Errorf("in an upload: %+v", l)
	}
	need(t, up.Commit(t.Context(), up.Report(0), nil))
	if l := only(); l.Tasks != nil || s.doing.all != nil {
		t.Errorf("after it: %+v", l)
	}
	s.Close()
	if all := h.gate.Logins(); len(all) != 0 {
		t.Errorf("after the end: %+v", all)
	}
}
