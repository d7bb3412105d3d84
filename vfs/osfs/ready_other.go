//go:build !linux

package osfs

import "os"

// A file is one that is open for reading.
type file struct{ *os.File }
