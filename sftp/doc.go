// Package sftp is the wire vocabulary of the SSH File Transfer Protocol, for both
// ends: packets, requests, replies, attributes and the extensions of OpenSSH. It
// turns bytes into values and back.
//
// It opens no connection, touches no files and knows no users. Every parser in it
// has a limit and a fuzz test, because the other end of a wire is hostile. Values
// that hold bytes point into the packet that they were read from: they are valid
// as long as it is.
//
// The version is 3, the one that everybody speaks.
//
//   - draft-ietf-secsh-filexfer-02, SSH File Transfer Protocol
//   - OpenSSH, PROTOCOL, 4: the extensions with @openssh.com, and which argument of SYMLINK comes first
//   - draft-ietf-secsh-filexfer-extensions-00: check-file, copy-data, home-directory
package sftp

import "errors"

// Version is the protocol version that this package speaks.
const Version = 3

// Limits of what a packet may hold.
const (
	// MaxPacket is the length of a packet without its length field, in bytes.
	MaxPacket = 256 << 10
	// MaxData is how much one READ or WRITE may carry, so that the whole packet
	// keeps MaxPacket; OpenSSH announces the same.
	MaxData = MaxPacket - 1024
	// MaxHandle is the length of a handle in bytes (draft-ietf-secsh-filexfer-02, 6.2).
	MaxHandle = 256
	// MaxPairs is how many extended attributes, or extensions in INIT and VERSION,
	// are taken.
	MaxPairs = 64
)

// What is wrong with a packet. The stream can't be trusted behind ErrTooLong and
// ErrEmpty; behind ErrMalformed the next packet is where it should be.
var (
	ErrMalformed = errors.New("malformed SFTP packet")
	ErrTooLong   = errors.New("SFTP packet too long")
	ErrEmpty     = errors.New("empty SFTP packet")
)

// A Type says what a packet is.
type Type byte

// The types (draft-ietf-secsh-filexfer-02, 3).
const (
	TypeInit     Type = 1
	TypeVersion  Type = 2
	TypeOpen     Type = 3
	TypeClose    Type = 4
	TypeRead     Type = 5
	TypeWrite    Type = 6
	TypeLstat    Type = 7
	TypeFstat    Type = 8
	TypeSetstat  Type = 9
	TypeFsetstat Type = 10
	TypeOpendir  Type = 11
	TypeReaddir  Type = 12
	TypeRemove   Type = 13
	TypeMkdir    Type = 14
	TypeRmdir    Type = 15
	TypeRealpath Type = 16
	TypeStat     Type = 17
	TypeRename   Type = 18
	TypeReadlink Type = 19
	TypeSymlink  Type = 20

	TypeStatus        Type = 101
	TypeHandle        Type = 102
	TypeData          Type = 103
	TypeName          Type = 104
	TypeAttrs         Type = 105
	TypeExtended      Type = 200
	TypeExtendedReply Type = 201
)

// A Code is a status.
type Code uint32

// The codes of version 3. Others confuse clients of that version.
const (
	OK               Code = 0
	EOF              Code = 1
	NoSuchFile       Code = 2
	PermissionDenied Code = 3
	Failure          Code = 4
	BadMessage       Code = 5
	NoConnection     Code = 6
	ConnectionLost   Code = 7
	OpUnsupported    Code = 8
)

// What OPEN asks for (draft-ietf-secsh-filexfer-02, 6.3).
const (
	OpenRead   uint32 = 1 << iota
	OpenWrite         // for writing
	OpenAppend        // every write goes to the end
	OpenCreate        // a file that is missing is made
	OpenTrunc         // what is there is thrown away
	OpenExcl          // with OpenCreate: it must not exist
)

// Extensions by name.
const (
	ExtPosixRename   = "posix-rename@openssh.com"
	ExtStatvfs       = "statvfs@openssh.com"
	ExtFstatvfs      = "fstatvfs@openssh.com"
	ExtHardlink      = "hardlink@openssh.com"
	ExtFsync         = "fsync@openssh.com"
	ExtLsetstat      = "lsetstat@openssh.com"
	ExtLimits        = "limits@openssh.com"
	ExtExpandPath    = "expand-path@openssh.com"
	ExtCopyData      = "copy-data"
	ExtHomeDirectory = "home-directory"
	ExtUsersGroups   = "users-groups-by-id@openssh.com"
	ExtCheckName     = "check-file-name"
	ExtCheckHandle   = "check-file-handle"
	// ExtCheck is what ExtCheckHandle is called by paramiko, and what a server
	// announces for both.
	ExtCheck = "check-file"
)
