package account

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Hash is the stored form of a password, in the notation of crypt(3). It
// prints as [hidden], also as JSON; whoever stores it converts it to a string.
type Hash string

func (Hash) String() string               { return "[hidden]" }
func (Hash) GoString() string             { return "[hidden]" }
func (Hash) LogValue() slog.Value         { return slog.StringValue("[hidden]") }
func (Hash) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte("[hidden]")) }
func (Hash) MarshalJSON() ([]byte, error) { return json.Marshal("[hidden]") }

// An Account is one user. The JSON names are those of the stored form; Name and
// Hash are stored beside it.
type Account struct {
	Name string `json:"-"`
	Hash Hash   `json:"-"` // of the password; "": no password logs in

	// ID tells the account from a later one of the same name. The Store makes it.
	ID string `json:"id,omitempty"`

	// Anonymous accounts are shared by strangers: they need no password and keep
	// no partials.
	Anonymous bool `json:"-"`

	Disabled  bool           `json:"disabled,omitempty"`
	Expires   time.Time      `json:"expires,omitzero"`    // zero: never
	Networks  []netip.Prefix `json:"networks,omitempty"`  // from where it may log in; none: from anywhere
	Protocols []string       `json:"protocols,omitempty"` // "ftp", "ftps", "sftp"; none: all

	// Certificates are those that log in without a password: the SHA-256 of a
	// client certificate in 64 lower-case hex digits, or "ca" for one that the
	// configured CA has issued to this name.
	Certificates []string `json:"certificates,omitempty"`

	// Keys log in over SSH, and Factors are what a login needs, all of them in any
	// order, of FactorKey and FactorPassword. Without any, one of what the account has
	// suffices; with any, no protocol but SSH lets it in.
	Keys    []Key    `json:"keys,omitempty"`
	Factors []string `json:"factors,omitempty"`

	Home   string       `json:"home,omitempty"`   // directory of this machine that is its "/"
	Mounts []Mount      `json:"mounts,omitempty"` // directories below it
	Rights Rights       `json:"rights"`
	Paths  []PathRights `json:"paths,omitempty"` // the longest that holds a path decides
	Owner  *Owner       `json:"owner,omitempty"` // nil: files belong to the server

	MaxBytes    int64 `json:"max-bytes,omitempty"`    // quota; 0: none
	MaxFiles    int   `json:"max-files,omitempty"`    // quota; 0: none
	MaxSessions int   `json:"max-sessions,omitempty"` // at once; 0: as many as the server allows
	RateDown    int64 `json:"rate-down,omitempty"`    // bytes a second to the client, of all its transfers; 0: no limit
	RateUp      int64 `json:"rate-up,omitempty"`      // bytes a second from the client

	Partials string `json:"partials,omitempty"` // PartialsListed; "": cut uploads are not in listings
	Uploads  string `json:"uploads,omitempty"`  // UploadsInPlace; "": beside, and under the name when they are whole

	Charset    string `json:"charset,omitempty"`    // of names on the wire, as "windows-1252"; "": UTF-8
	Transcript bool   `json:"transcript,omitempty"` // its dialogue is logged
}

// What Partials and Uploads of an Account may be beside "".
const (
	PartialsListed = "listed"   // the account's own cut uploads are listed, with ".part" behind their names
	UploadsInPlace = "in-place" // uploads write to the name itself, and what came of a cut one stays there
)

// What Factors of an Account may hold; the words are those of SSH (RFC 4252).
const (
	FactorKey      = "publickey" // a key, or a certificate of a CA
	FactorPassword = "password"  // asked for as password or keyboard-interactive
)

// A Mount shows a directory of this machine in the tree of an account.
type Mount struct {
	At  string `json:"at"`  // absolute in the tree, as "/projects"
	Dir string `json:"dir"` // absolute on this machine
}

// An Owner is the file system identity with which an account's files are opened
// and changed. UID 0 is never allowed.
type Owner struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"` // supplementary
	Umask  uint32   `json:"umask"`            // of new files and directories
}

// RightsAt are the rights at a path of the tree, which is absolute and cleaned.
func (a *Account) RightsAt(path string) Rights {
	r, best := a.Rights, -1
	for _, p := range a.Paths {
		if at := strings.TrimSuffix(p.Path, "/"); len(at) > best && (path == at || strings.HasPrefix(path, at+"/")) {
			r, best = p.Rights, len(at)
		}
	}
	return r
}

// AnyRights are all rights that the account has anywhere.
func (a *Account) AnyRights() Rights {
	r := a.Rights
	for _, p := range a.Paths {
		r |= p.Rights
	}
	return r
}

// Keeps tells under which owner the partials of this account are kept; "" when
// none are.
func (a *Account) Keeps() string {
	if a.Anonymous || !a.AnyRights().Has(Read|Write) {
		return ""
	}
	return a.Name
}

// Umask is what new files of the account lack of the permissions that a client asks
// for.
func (a *Account) Umask() fs.FileMode {
	if a.Owner != nil {
		return fs.FileMode(a.Owner.Umask)
	}
	return 0o022
}

// Usable tells why the account can't be used now, "" when it can: "disabled" or
// "expired".
func (a *Account) Usable(now time.Time) string {
	switch {
	case a.Disabled:
		return "disabled"
	case !a.Expires.IsZero() && !now.Before(a.Expires):
		return "expired"
	}
	return ""
}

// Welcome tells whether the account may log in from an address by a protocol.
func (a *Account) Welcome(from netip.Addr, protocol string) bool {
	from = from.Unmap().WithZone("")
	if len(a.Networks) > 0 && !slices.ContainsFunc(a.Networks, func(p netip.Prefix) bool { return p.Contains(from) }) {
		return false
	}
	return len(a.Protocols) == 0 || slices.Contains(a.Protocols, protocol)
}

// CheckName says what is wrong with the name of an account, "" when nothing is:
// 1 to 64 bytes, no control characters, no slash, colon or white space at its ends, and
// not one of the anonymous names, "." and "..".
func CheckName(name string) string {
	switch {
	case name == "":
		return "a name is needed"
	case len(name) > 64:
		return "a name has at most 64 bytes"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '/' || r == ':' || r == 0xfffd }):
		return "a name has no control characters, no slash and no colon, and is UTF-8"
	case strings.TrimSpace(name) != name:
		return "a name does not begin or end with white space"
	case name == "." || name == "..":
		return "it is the name of a directory"
	case IsAnonymousName(name):
		return "it is a name of the anonymous account"
	}
	return ""
}
