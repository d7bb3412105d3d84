package ftp

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func features(lines ...string) Features {
	return ParseFeatures(Reply{Code: C211Features, Text: "Features:", Body: lines, Last: "End"})
}

func TestParseFeatures(t *testing.T) {
	f := features("AUTH TLS", " auth SSL", "211-SIZE", "211- MDTM", "REST STREAM ", "PASV", "XCRC filename;start;end", "",
		"MLST type*;Size*;modify*;UNIX.mode;perm*", "HASH CRC32;MD5;SHA-1*;sha-256;", "AUTH")
	for _, name := range []string{"AUTH", "size", "Mdtm", "REST", "PASV", "XCRC", "MLST", "HASH"} {
		if !f.Has(name) {
			t.Errorf("Has(%s) is false", name)
		}
	}
	for _, name := range []string{"", "EPSV", "TLS", "End", "211-SIZE"} {
		if f.Has(name) || f.Arg(name) != "" {
			t.Errorf("Has(%s) is true, %q", name, f.Arg(name))
		}
	}
	for name, want := range map[string]string{"AUTH": "TLS SSL", "rest": "STREAM", "SIZE": "", "XCRC": "filename;start;end"} {
		if got := f.Arg(name); got != want {
			t.Errorf("Arg(%s) = %q; want %q", name, got, want)
		}
	}
	for what, tt := range map[string]struct{ got, want []string }{
		"Facts":        {f.Facts(), []string{"type", "Size", "modify", "UNIX.mode", "perm"}},
		"MLSTDefaults": {f.MLSTDefaults(), []string{"type", "Size", "modify", "perm"}},
		"Hashes":       {f.Hashes(), []string{"SHA-1", "CRC32", "MD5", "SHA-256"}},
	} {
		if !slices.Equal(tt.got, tt.want) {
			t.Errorf("%s() = %q; want %q", what, tt.got, tt.want)
		}
	}
}

func TestNoFeatures(t *testing.T) {
	for name, f := range map[string]Features{
		"the zero value":   {},
		"a refusal":        ParseFeatures(Reply{Code: C500Unknown, Text: "?", Body: []string{"SIZE"}}),
		"one line":         ParseFeatures(Reply{Code: C211Features, Text: "no-features"}),
		"a body of blanks": features("", "  "),
	} {
		if f.Has("SIZE") || f.Has("") || f.Arg("SIZE") != "" || f.Facts() != nil || f.MLSTDefaults() != nil || len(f.Hashes()) > 0 {
			t.Errorf("%s has features: %v", name, f)
		}
	}
}

func TestFeaturesAreLimited(t *testing.T) {
	var lines []string
	for i := range 2 * maxFeatures {
		lines = append(lines, fmt.Sprintf("F%d", i))
	}
	f := features(lines...)
	if !f.Has("F499") || f.Has("F500") {
		t.Errorf("F499 %v, F500 %v", f.Has("F499"), f.Has("F500"))
	}
	if n := len(features("MLST " + strings.Repeat("a;", 5000)).Facts()); n != maxFeatures {
		t.Errorf("%d facts", n)
	}
}

// Every line is a feature by its first word; the facts that our own FEAT names are read as they were meant.
func FuzzParseFeatures(f *testing.F) {
	f.Add("AUTH TLS|AUTH SSL|MLST type*;size;|HASH MD5;SHA-1*", uint32(5))
	f.Add("211-|211- x|\xff *;;* ;", uint32(0))
	f.Fuzz(func(t *testing.T, body string, on uint32) {
		lines := strings.Split(body, "|")
		feats := features(lines...)
		for _, line := range lines[:min(len(lines), maxFeatures)] {
			line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "211-"))
			if name, _, _ := strings.Cut(line, " "); name != "" && !feats.Has(name) {
				t.Errorf("%q in %q is not there", name, lines)
			}
		}
		if a, b := feats.Hashes(), feats.Hashes(); !reflect.DeepEqual(a, b) {
			t.Errorf("%q and %q", a, b)
		}
		for _, name := range feats.MLSTDefaults() {
			if !slices.Contains(feats.Facts(), name) {
				t.Errorf("%q is on and not there", name)
			}
		}
		set := Facts(on) & AllFacts
		own := features("MLST " + FeatFacts(set))
		if got := ParseFacts(strings.Join(own.Facts(), ";")); got != AllFacts {
			t.Errorf("our own facts are read as %v", got)
		}
		if got := ParseFacts(strings.Join(own.MLSTDefaults(), ";")); got != set {
			t.Errorf("%v is read as %v", set, got)
		}
	})
}
