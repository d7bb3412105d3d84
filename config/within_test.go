package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What clients must not fetch may not lie where they are served from, also
// behind a link, and also when it is not there yet.
func TestSecretsOutsideTheServedDirectory(t *testing.T) {
	root := t.TempDir()
	served, aside := filepath.Join(root, "served"), filepath.Join(root, "served-too")
	for _, dir := range []string{served, aside} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(root, "link")
	if err := os.Symlink(served, link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, state, secrets, dir string
		problem                   string // the field, "" for none
	}{
		{"state beside", filepath.Join(aside, "state"), "", served, ""},
		{"state above", root, "", served, ""},
		{"state inside, not there yet", filepath.Join(served, "a", "b"), "", served, "--state"},
		{"state is the directory", served, "", served, "--state"},
		{"state inside through a link", filepath.Join(link, "state"), "", served, "--state"},
		{"the directory is a link", filepath.Join(served, "state"), "", link, "--state"},
		{"password file inside", aside, filepath.Join(served, "password"), served, "--password-file"},
		{"password file beside", aside, filepath.Join(aside, "password"), served, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			problems := Quick{Dir: c.dir, State: c.state, Secrets: c.secrets}.Defaults().Check()
			var said []string
			for _, p := range problems {
				said = append(said, p.Field)
			}
			if got := strings.Join(said, " "); got != c.problem {
				t.Errorf("problems %v; want %q", problems, c.problem)
			}
		})
	}
}

// The working directory may itself be known by a link.
func TestSecretsBelowALinkedWorkingDirectory(t *testing.T) {
	root := t.TempDir()
	if err := os.Symlink(root, root+"-link"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(root + "-link") })
	t.Chdir(root + "-link")
	problems := Quick{Dir: ".", State: "sub"}.Defaults().Check()
	if len(problems) != 1 || problems[0].Field != "--state" {
		t.Errorf("problems %v; want one about --state", problems)
	}
}
