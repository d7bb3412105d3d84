// Package interop tests the program with the clients that people have: curl,
// lftp, wget, rclone, tnftp, ncftp and the FTP libraries of Python, Perl, Ruby
// and PHP, and over SFTP OpenSSH, PuTTY, paramiko, sshfs and the library of
// programs in Go as well, as Debian packages them but for the last. Every test
// runs the built binary as a process of its own and compares files by SHA-256,
// on the server's disk and where the client put them.
//
// The client of dray visits vsftpd, ProFTPD, Pure-FTPd, pyftpdlib, OpenSSH's sshd and
// dray (client_*_test.go). Debian lets only one server for FTP be installed: the
// others are unpacked in the user's cache directory, in dray-interop.
//
// The laboratory (lab*_test.go) stages faults between machines made of namespaces, has
// dray doctor look at them, and pastes what it prints; it needs root. DRAY_LAB_TABLE
// names a file to write the table of faults to.
//
// A client that is not installed is a skip that says what to install, and a
// failure where the environment variable CI is set; peers.txt lists the
// packages. DRAY_BINARY names a binary to test in place of a fresh build.
//
// The go command cannot see that the tests depend on the binary: run them with
// -count=1.
package interop
