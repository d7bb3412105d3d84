// Package sftpclient is the client's end of the SSH File Transfer Protocol: one
// session on one channel, used by any number of goroutines at once. Their requests
// overlap on the wire.
//
// It gets the channel as an io.ReadWriteCloser and knows nothing of SSH, of URLs
// and of where files are on this machine. What the server sends is taken for
// hostile: every answer has a limit, an answer that nobody asked for ends the
// session, and a server that says nothing is given up.
//
//   - draft-ietf-secsh-filexfer-02, SSH File Transfer Protocol, version 3
//   - OpenSSH, PROTOCOL, 4: extensions, and which argument of SYMLINK comes first
//   - draft-ietf-secsh-filexfer-extensions-00: check-file, copy-data, copy-file, home-directory
//
// Package-level state is pools of buffers. Nothing depends on it.
package sftpclient
