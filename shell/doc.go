// Package shell is an interactive session with servers: lines of words that are
// verbs of sftp and lftp, typed or read from a file, over any remote.Tree.
//
// It knows no protocol, no flags and no exit statuses. Whoever starts it opens
// the trees, shows the transfers and tells the failures: the contract Front.
// Everything about a verb that is not its code is a row of the table in table.go;
// the loop, help and completion read it there.
//
// What a server tells never reaches a terminal as it is, and no name of a server
// leads out of the directory that files are received in.
package shell
