// Command bench measures what a transfer costs the server: dray beside vsftpd,
// ProFTPD and Pure-FTPd over FTP, and beside OpenSSH (with SFTP in its own process
// and as a program of its own) and ProFTPD's mod_sftp over SFTP; the same work on
// all of them, interleaved, from one load generator.
//
//	go run ./bench                 # every row, five rounds; about two hours
//	go run ./bench -rows dl1,tdl1  # some of them
//	go run ./bench -scale 10       # ten times the size, sessions and entries
//
// With -clients it measures clients in place of servers: dray beside lftp, curl,
// NcFTP, rclone and OpenSSH's sftp and scp, each at its best setting, against dray,
// vsftpd and OpenSSH; near, and over a line that is 50 or 100 ms long.
//
//	go run ./bench -clients                          # about three hours
//	go run ./bench -clients -rows 'cdl-*,c100*'      # some rows
//	go run ./bench -clients -servers dray -rounds 1  # with one server, once
//	go run ./bench -clients -rows help               # what there is
//
// It runs as root on Linux, in a network and a mount namespace of its own, on
// loopback and tmpfs. The peers come from Debian packages, which are fetched
// once and unpacked beside each other; nothing is installed.
//
// What is compared: the CPU seconds, user and system, of the server with all its
// children, read from its control group around the phase; the rate that the load
// generator saw, from the first command to the last 226; and memory, as the
// proportional set size of all its processes. Figures of one machine mean little,
// so the table shows ratios to the best peer of the same row, and the spread of
// the ratios of single rounds. The servers take turns in every round.
//
// Of clients the time from start to end is compared, and the CPU seconds with all
// children. What was brought is looked at afterwards; a client that fails, or whose
// copy is not whole, is shown as failed. The line is two network namespaces with a
// TUN device each, between which every packet is carried late. The clients are those
// that are installed (interop/peers.txt); -json tells their command lines.
//
// A peer that can't be fetched or started is named, and a failure when a test
// asks for it under CI. Nothing here tests speed: the tests run one small round.
package main
