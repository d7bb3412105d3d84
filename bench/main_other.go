//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: it needs Linux: network and mount namespaces, control groups, and the peers' packages")
	os.Exit(1)
}
