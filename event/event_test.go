package event

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

var meta = Meta{
	Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Session: "abcd2345", Protocol: "ftps",
	Remote: netip.MustParseAddrPort("[2001:db8::1]:40000"), User: "anna", Anonymous: true,
}

// all holds one of each, with every field set.
var all = []any{
	Login{Meta: meta, OK: true, TLS: true, Reason: "auth"},
	Transfer{Meta: meta, Direction: Upload, Path: "/a", Bytes: 7, Took: time.Second, Road: "kernel",
		Text: true, TLS: true, Resumed: true, Whole: true, Reason: "upload-cut"},
	Refusal{Meta: meta, Verb: "DELE", Path: "/a", Reason: "perm"},
	Change{Meta: meta, Verb: "rename", Path: "/a", To: "/b"},
}

// An event is a record: it outlives the process that saw it.
func TestEveryEventCanBeWrittenDownAndReadBack(t *testing.T) {
	for _, e := range all {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("%T: %v", e, err)
		}
		back := reflect.New(reflect.TypeOf(e))
		if err := json.Unmarshal(b, back.Interface()); err != nil {
			t.Fatalf("%T: %v", e, err)
		}
		if got := back.Elem().Interface(); !reflect.DeepEqual(got, e) {
			t.Errorf("%T came back as %+v, was %+v", e, got, e)
		}
		v := reflect.ValueOf(e)
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%T.%s is not covered by this test", e, v.Type().Field(i).Name)
			}
		}
		if got := v.FieldByName("Meta").Interface(); got != meta {
			t.Errorf("%T says %+v about its connection, want %+v", e, got, meta)
		}
	}
}
