package config

import (
	"math"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want Size
		text string // "" where it is an error
	}{
		{"0", 0, "0"},
		{"1000", 1000, "1000"},
		{"1024", 1024, "1K"},
		{"500M", 500 << 20, "500M"},
		{"1024m", 1 << 30, "1G"},
		{"10G", 10 << 30, "10G"},
		{"2T", 2 << 40, "2T"},
		{"3p", 3 << 50, "3P"},
		{"9223372036854775807", math.MaxInt64, "9223372036854775807"},
		{"8191P", 8191 << 50, "8191P"},
		{"8192P", 0, ""},
		{"9223372036854775808", 0, ""},
		{"", 0, ""},
		{"M", 0, ""},
		{"-1", 0, ""},
		{"+1", 0, ""},
		{"1.5G", 0, ""},
		{"10 G", 0, ""},
		{"10GB", 10 << 30, "10G"},
		{"10gb", 10 << 30, "10G"},
		{"10B", 0, ""},
		{"GB", 0, ""},
		{"B", 0, ""},
		{"10GBB", 0, ""},
		{"10E", 0, ""},
	} {
		got, err := ParseSize(tt.in)
		if got != tt.want || (err != nil) != (tt.text == "") {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", tt.in, got, err, tt.want)
		}
		if err == nil && got.String() != tt.text {
			t.Errorf("ParseSize(%q) prints as %s, want %s", tt.in, got, tt.text)
		}
	}
}

func TestDaysLeft(t *testing.T) {
	until, err := ParseDate("2027-03-30")
	if err != nil {
		t.Fatal(err)
	}
	e := Exception{Until: until}
	for _, tt := range []struct {
		now  time.Time
		want int
	}{
		{time.Date(2027, 3, 30, 0, 0, 0, 0, time.Local), 0},
		{time.Date(2027, 3, 30, 23, 59, 59, 0, time.Local), 0},
		{time.Date(2027, 3, 31, 0, 0, 0, 0, time.Local), -1},
		{time.Date(2027, 3, 1, 23, 0, 0, 0, time.Local), 29}, // a month in which clocks change
		{time.Date(2026, 3, 30, 12, 0, 0, 0, time.Local), 365},
	} {
		if got := e.DaysLeft(tt.now); got != tt.want {
			t.Errorf("at %v %d days are left, want %d", tt.now, got, tt.want)
		}
	}
}

func TestDurationsAreShort(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0s", 30 * time.Second: "30s", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", 2 * time.Hour: "2h",
		2*time.Hour + time.Second: "2h0m1s", 100 * time.Minute: "1h40m", 168 * time.Hour: "168h", 1500 * time.Millisecond: "1.5s",
		10*time.Hour + 10*time.Minute: "10h10m", 20 * time.Hour: "20h", math.MaxInt64: "2562047h47m16.854775807s",
	} {
		got := formatDuration(in)
		back, err := time.ParseDuration(got)
		if got != want || err != nil || back != in {
			t.Errorf("%v prints as %s, which is %v (%v); want %s", in, got, back, err, want)
		}
	}
}

func TestNetworks(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.0/24": "192.0.2.0/24", "192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::1/128", "0.0.0.0/0": "0.0.0.0/0", "::/0": "::/0",
		"::ffff:192.0.2.0/120": "192.0.2.0/24", "::ffff:192.0.2.1": "192.0.2.1/32",
		"192.0.2.1/24": "", "::ffff:0.0.0.0/90": "", "fe80::1%eth0": "", "fe80::%eth0/64": "", "192.0.2.0/33": "", "192.0.2": "", "": "", "all": "",
	} {
		got, wrong := parseNetwork(in)
		if wrong != nil && want != "" || wrong == nil && got.String() != want {
			t.Errorf("parseNetwork(%q) = %v, %v; want %s", in, got, wrong, want)
		}
	}
}

func TestAProblemIsOneLine(t *testing.T) {
	for want, p := range map[string]Problem{
		"--ftp: is no port; write one":                           {Field: "--ftp", What: "is no port", Do: "write one"},
		"dray.toml:12: limits.idle: is no duration; write one":   {Field: "limits.idle", What: "is no duration", Do: "write one", File: "dray.toml", Line: 12},
		"dray.toml:12: warning: passive: has one port; add some": {Field: "passive", What: "has one port", Do: "add some", File: "dray.toml", Line: 12, Warning: true},
		"warning: DRAY_X: stands for no key; unset it":           {Field: "DRAY_X", What: "stands for no key", Do: "unset it", Warning: true},
	} {
		if got := p.String(); got != want {
			t.Errorf("String() = %s, want %s", got, want)
		}
	}
}
