module dray

go 1.26.0

require (
	github.com/coreos/go-systemd/v22 v22.7.0 // sockets and readiness of systemd
	github.com/fsnotify/fsnotify v1.10.1 // changes of a directory, as each system tells them
	github.com/go-crypt/crypt v0.14.15 // crypt(3) hashes that accounts of other systems bring along
	github.com/pelletier/go-toml/v2 v2.4.3 // the syntax of TOML, with positions
	github.com/peterh/liner v1.2.3 // line editing of the interactive shell
	github.com/pkg/sftp v1.13.12 // the client that programs in Go have, for the tests
	github.com/pressly/goose/v3 v3.29.0 // steps from one schema of the database to the next
	github.com/rogpeppe/go-internal v1.16.0 // testscript: stories that test the command line
	github.com/spf13/cobra v1.10.2 // command tree, completion, man pages
	github.com/spf13/pflag v1.0.9 // the flags of cobra, for the reference pages
	golang.org/x/crypto v0.58.0 // argon2id; SSH: transport, keys, certificates
	golang.org/x/sys v0.49.0 // openat2, statx, splice and sockets as Linux has them
	golang.org/x/term v0.47.0 // passwords typed unseen
	golang.org/x/text v0.43.0 // character sets of old clients; the width of letters
	modernc.org/sqlite v1.60.1 // accounts without a database server, without cgo
)

require (
	github.com/clipperhouse/uax29/v2 v2.7.0 // indirect
	github.com/cpuguy83/go-md2man/v2 v2.0.6 // indirect
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/go-crypt/x v0.4.16 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/kr/fs v0.1.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/mattn/go-runewidth v0.0.31 // indirect
	github.com/mfridman/interpolate v0.0.2 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	modernc.org/libc v1.78.0 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)
