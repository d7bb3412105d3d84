//go:build !linux

package mirror

import "testing"

func readOnly(t *testing.T) string {
	t.Skip("SKIPPED: only Linux mounts a disk for a test; run it as another user than root")
	return ""
}
