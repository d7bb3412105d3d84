// Package ftpclient is one control connection to an FTP server, and what is done
// over it: login, listings, transfers, and the commands that change a tree. It
// speaks FTP, FTP with AUTH TLS and implicit FTPS.
//
// It asks nobody and stores nothing: trust in certificates is the caller's
// tls.Config, passwords are given, local files are what the caller opened, and
// bytes of files are moved by package transfer alone. Many transfers at once,
// retries and resumption over several connections are its callers' business; what
// all connections to one host should know is in a Memory that they share.
//
// The server is not trusted: every reply, line and listing has a limit in bytes
// and in time, no argument can carry a line end, and an address that the server
// names is never connected to when it is not the server's own. Another server is told
// such an address (FXP), where it is no other machine for that one than for us.
//
//   - RFC 959   File Transfer Protocol
//   - RFC 1123  section 4.1, host requirements
//   - RFC 2228  AUTH, PBSZ, PROT
//   - RFC 2389  FEAT and OPTS
//   - RFC 2428  EPRT and EPSV
//   - RFC 2640  UTF-8 in names
//   - RFC 3659  SIZE, MDTM, REST STREAM, MLST, MLSD
//   - RFC 4217  FTP over TLS
package ftpclient
