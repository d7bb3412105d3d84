//go:build !unix

package mirror

import (
	"io/fs"
	"os"
)

func umask() fs.FileMode { return 0o022 }

// lock would take f for this process alone.
func lock(*os.File) (bool, error) { return true, nil }
