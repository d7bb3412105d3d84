//go:build !unix

package cli

import "io/fs"

// ownersOf tells nothing: here no number is the owner of a file.
func ownersOf(fs.FileInfo) (uid, gid int, ok bool) { return -1, -1, false }

func becomeOwner(string) error { return nil }
