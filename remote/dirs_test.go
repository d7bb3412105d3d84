package remote

import "testing"

func TestFindDirs(t *testing.T) {
	for _, tt := range []struct {
		name          string
		env           map[string]string
		config, state string
	}{
		{"below the home", map[string]string{"HOME": "/home/a"}, "/home/a/.config/dray", "/home/a/.local/state/dray"},
		{"as XDG says", map[string]string{"HOME": "/home/a", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, "/c/dray", "/s/dray"},
		{"relative ones do not count", map[string]string{"HOME": "/home/a", "XDG_CONFIG_HOME": "c"}, "/home/a/.config/dray", "/home/a/.local/state/dray"},
		{"no home is needed then", map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, "/c/dray", "/s/dray"},
	} {
		d, err := FindDirs(func(k string) string { return tt.env[k] })
		if err != nil || d.Config != tt.config || d.State != tt.state {
			t.Errorf("%s: %+v, %v", tt.name, d, err)
		}
	}
	d := Dirs{Config: "/c/dray", State: "/s/dray"}
	none := func(string) string { return "" }
	if d.HostsFile(none) != "/c/dray/hosts.toml" || d.CertsFile() != "/s/dray/trusted_certs" || d.HostsFile(func(string) string { return "/x" }) != "/x" {
		t.Errorf("%s %s", d.HostsFile(none), d.CertsFile())
	}
}
