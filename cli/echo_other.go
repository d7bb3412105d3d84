//go:build !linux

package cli

// echoOff leaves it to the reading of the password.
func echoOff(int) {}
