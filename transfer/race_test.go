//go:build race

package transfer

func init() { raced = true }
