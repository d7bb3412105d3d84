package cli

import (
	"os"
	"os/exec"
	"testing"
)

func TestTheProgramBuildsForOtherSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("the first time this compiles everything twice: leave -short away")
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not in the PATH")
	}
	for _, system := range []string{"windows", "darwin"} {
		cmd := exec.Command(tool, "build", "-o", os.DevNull, "dray/cmd/dray")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("GOOS=%s %v: %v\n%s", system, cmd.Args, err, out)
		}
	}
}
