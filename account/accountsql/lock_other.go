//go:build !unix

package accountsql

import "os"

// lockFile locks nothing here.
func lockFile(string) (f *os.File, taken bool, err error) { return nil, false, nil }
