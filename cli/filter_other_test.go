//go:build unix && !linux

package cli

import (
	"fmt"
	"os"
)

func filtered() {
	fmt.Fprintln(os.Stderr, "filtered: only Linux has openat2")
	os.Exit(1)
}
