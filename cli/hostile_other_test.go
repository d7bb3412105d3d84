//go:build unix && !linux

package cli

import (
	"syscall"
	"testing"
)

func maxRSS(*syscall.Rusage) int64 { return 0 }

// blackHole is a port at which nobody listens: only Linux drops what does not fit in.
func blackHole(testing.TB) int { return 1 }
