package cli

import (
	"slices"
	"testing"

	"dray/admin"
	"dray/config"
)

// What a server that runs has taken is what is looked at, and a port that it could not
// have is not forgotten.
func TestAsItRuns(t *testing.T) {
	info := admin.Info{Listeners: []admin.Listener{
		{Name: "ftp", Protocol: "ftp", Address: "[::]:2121", Passive: "41000-41010"},
		{Name: "sftp", Protocol: "sftp", Address: "127.0.0.1:4022"},
	}}
	told := func(c config.Config) (out []string) {
		for _, l := range c.Listeners {
			out = append(out, append([]string{l.Name, l.Passive}, l.Listen...)...)
		}
		return out
	}
	quick := asItRuns(config.Quick{}.Defaults().Config(), info)
	if got, want := told(quick), []string{"ftp", "41000-41010", "[::]:2121", "sftp", "", "127.0.0.1:4022"}; !slices.Equal(got, want) {
		t.Errorf("without a file %q; want %q", got, want)
	}
	if got, want := told(unnamed(quick)), []string{"ftp", "41000-41010", "sftp", "", "127.0.0.1:4022"}; !slices.Equal(got, want) {
		t.Errorf("without what it takes by itself %q; want %q", got, want)
	}
	file := config.Config{File: "/etc/dray/dray.toml", Listeners: []config.Listener{{Name: "ftp", Protocol: "ftp", Passive: "1-2"}, {Name: "sftp", Protocol: "sftp", Listen: []string{":22"}}, {Name: "ftps", Protocol: "ftps"}}}
	if got, want := told(asItRuns(file, info)), []string{"ftp", "1-2", "[::]:2121", "sftp", "", ":22", "ftps", ""}; !slices.Equal(got, want) {
		t.Errorf("with a file %q; want %q", got, want)
	}
	if file.Listeners[0].Listen != nil {
		t.Error("the configuration itself was changed")
	}
}
