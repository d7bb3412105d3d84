// Command dray moves files over the FTP family. See package cli.
package main

import (
	"os"

	"dray/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
