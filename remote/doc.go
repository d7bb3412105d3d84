// Package remote is the way from what somebody types to a place on a server: the
// forms of a URL, stored hosts, netrc, where a password comes from, whom to
// trust, and the proxy between. Tree is what both clients meet.
//
// It speaks neither FTP nor SFTP itself, prints nothing and asks nobody: what
// has to be asked is a function of the caller.
//
//   - RFC 1738, 3.2 URLs of FTP
//   - RFC 3986 URLs
//   - RFC 6874 IPv6 zones in URLs
//   - RFC 5280 verification of certificates
//   - RFC 4217 FTP over TLS (AUTH TLS, to fetch a certificate)
//   - RFC 1928, RFC 1929 SOCKS5
//   - RFC 9110, 9.3.6 CONNECT
package remote
