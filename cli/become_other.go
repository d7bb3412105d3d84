//go:build !linux

package cli

import "os"

// becomeUser refuses: here no capability is kept over a change of the user.
func becomeUser(name string, _ bool) error {
	if name == "" || os.Geteuid() != 0 {
		return nil
	}
	return usagef("user: on this system start the server as %s itself", name)
}
