module dray

go 1.26.0

require (
	github.com/rogpeppe/go-internal v1.16.0 // testscript: stories that test the command line
	github.com/spf13/cobra v1.10.2 // command tree, completion, man pages
	github.com/spf13/pflag v1.0.9 // the flags of cobra, for the reference pages
	golang.org/x/sys v0.49.0 // openat2, statx, splice and sockets as Linux has them
)

require (
	github.com/cpuguy83/go-md2man/v2 v2.0.6 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	go.yaml.in/yaml/v3 v3.0.4 // indirect
	golang.org/x/tools v0.26.0 // indirect
)
