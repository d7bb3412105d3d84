// Package fault names the kinds of failure and the ids of every refusal. The
// core returns ordinary errors; KindOf sorts any of them into a kind, and each
// protocol owns one table from kind to answer. What a refusal says is in
// package explain, keyed by ID; nothing here is text for a peer.
package fault

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"net"
	"os"
	"syscall"
	"time"
)

// A Kind is what went wrong, as far as a protocol has to know to answer.
type Kind int

// The kinds. Internal is the zero value: an error that nobody sorted is ours.
const (
	Internal    Kind = iota
	NotFound         // no such name
	Exists           // the name is taken
	Denied           // the account or the file system does not allow it
	NotDir           // a directory was needed
	IsDir            // a regular file was needed
	NotEmpty         // the directory still has entries
	BadName          // a name that is not allowed
	OverQuota        // the account's quota
	NoSpace          // the disk, or its inodes
	Busy             // in use, try again
	Unknown          // not a command
	NotBuilt         // a command that exists elsewhere and is not offered here
	Unsupported      // a parameter that is not offered
	Syntax           // arguments that do not parse
	Sequence         // commands out of order
	NotLoggedIn      // a login is needed, or was refused
	NeedTLS          // a login in clear text that must be over TLS
	NeedProt         // a transfer in clear text that must be over TLS
	NoClear          // PROT C where data must be encrypted
	NoData           // no data connection
	BadOffset        // REST that does not fit the file
	Cut              // the transfer ended before the file was whole
	Stalled          // no byte moved for too long
	Canceled         // ended on purpose: ABOR, kick, the end of the grace time
	Closing          // the connection ends: time-outs, limits, shutdown
	WrongFamily      // an address of the other protocol family
	Unreachable      // no connection to the other side, or not to what was meant
	Untrusted        // nobody vouches for the other side
	Mismatch         // bytes are not those that they should be
	NumKinds    = int(iota)
)

// An ID names one cause for good, in lower-case words: in brackets at the end
// of server replies, in the log, and as the key of package explain.
type ID string

// The ids of every refusal.
const (
	IDInternal     ID = "internal"
	IDNotFound     ID = "not-found"
	IDExists       ID = "exists"
	IDPerm         ID = "perm"
	IDReadOnly     ID = "read-only"
	IDNotDir       ID = "not-dir"
	IDIsDir        ID = "is-dir"
	IDNotEmpty     ID = "not-empty"
	IDNotRegular   ID = "not-regular"
	IDUploadInWay  ID = "upload-in-the-way"
	IDAcrossMounts ID = "across-mounts"
	IDFixedDir     ID = "fixed-directory"
	IDBadName      ID = "bad-name"
	IDQuota        ID = "quota"
	IDNoSpace      ID = "no-space"
	IDInUse        ID = "in-use"
	IDUnknown      ID = "unknown-command"
	IDNotBuilt     ID = "not-offered"
	IDUnsupported  ID = "unsupported"
	IDSyntax       ID = "syntax"
	IDLineTooLong  ID = "line-too-long"
	IDBadLine      ID = "bad-line"
	IDSequence     ID = "sequence"
	IDLogin        ID = "login-first"
	IDAuth         ID = "auth"
	IDAccountOff   ID = "account-off"
	IDProtocol     ID = "protocol-off"
	IDHome         ID = "home"
	IDNetwork      ID = "network-off"
	IDTLSRequired  ID = "tls-required"
	IDProtRequired ID = "prot-required"
	IDTLSActive    ID = "tls-active"
	IDTLSMissing   ID = "tls-missing"
	IDDataBlocked  ID = "data-blocked"
	IDActiveBlock  ID = "active-blocked"
	IDNoDataPort   ID = "no-data-port"
	IDPool         ID = "pool-exhausted"
	IDPasvAddress  ID = "pasv-address"
	IDPasvIPv6     ID = "pasv-ipv6"
	IDEpsvOnly     ID = "epsv-only"
	IDFamily       ID = "wrong-family"
	IDIllegalPort  ID = "illegal-port"
	IDDataPeer     ID = "bad-data-peer"
	IDTLSReuse     ID = "tls-reuse"
	IDTLSData      ID = "tls-data"
	IDTLSNoClose   ID = "tls-no-close"
	IDUploadCut    ID = "upload-cut"
	IDCutInPlace   ID = "upload-cut-in-place"
	IDDataLost     ID = "data-lost"
	IDStall        ID = "stall"
	IDAborted      ID = "aborted"
	IDOffset       ID = "bad-offset"
	IDResume       ID = "resume-mismatch"
	IDRange        ID = "bad-range"
	IDBusy         ID = "busy"
	IDBanned       ID = "banned"
	IDTries        ID = "too-many-tries"
	IDLoginTime    ID = "login-timeout"
	IDIdle         ID = "idle"
	IDShutdown     ID = "shutdown"
	IDWrongProto   ID = "wrong-protocol"
	IDImplicitTLS  ID = "implicit-tls"
	IDGlob         ID = "glob-too-costly"
	IDTooLarge     ID = "too-large"
	IDPartly       ID = "partly-done"
	IDHost         ID = "unknown-host"
	IDBehindAuth   ID = "text-behind-auth"
	IDDeflate      ID = "bad-deflate"
	IDBomb         ID = "bomb"
	IDHandle       ID = "bad-handle"
	IDDNS          ID = "dns"
	IDRefused      ID = "refused"
	IDFiltered     ID = "filtered"
	IDRejected     ID = "rejected"
	IDProxy        ID = "proxy"
	IDSelfSigned   ID = "cert-self-signed"
	IDUnknownCA    ID = "cert-unknown-ca"
	IDIncomplete   ID = "cert-incomplete"
	IDExpired      ID = "cert-expired"
	IDCertName     ID = "cert-name"
	IDCertChanged  ID = "cert-changed"
	IDCertPin      ID = "cert-pin"
	IDTLSFailed    ID = "tls-failed"
	IDHostKeyNew   ID = "hostkey-unknown"
	IDHostKeyOther ID = "hostkey-changed"
	IDHostKeyGone  ID = "hostkey-revoked"
	IDSSHFailed    ID = "ssh-failed"
	IDNoSFTP       ID = "no-sftp"
	IDBadReply     ID = "bad-reply"
	IDNoAnswer     ID = "no-answer"
	IDLost         ID = "connection-lost"
	IDServerSaysNo ID = "server-refused"
	IDListingCut   ID = "partial-listing"
	IDShortFile    ID = "short-file"
	IDNoDirect     ID = "no-direct-copy"
	IDVerify       ID = "verify-failed"
	IDSourceMoved  ID = "source-changed"
	IDUnsafeName   ID = "unsafe-name"
	IDNameClash    ID = "name-clash"
	IDLocal        ID = "local-file"
	IDInterrupted  ID = "interrupted"
	IDMaxTime      ID = "max-time"
	IDMaxDelete    ID = "max-delete"

	// What other programs say, or dray doctor finds out.
	IDPlainInTLS   ID = "plaintext-in-tls"
	IDSSHDropped   ID = "ssh-dropped-early"
	IDWritableRoot ID = "writable-root"
	IDHomeMissing  ID = "home-missing"
	IDSandbox      ID = "vsftpd-sandbox"
	IDVsftpdConfig ID = "vsftpd-config"
	IDOopsLog      ID = "oops-log"
	IDServerConfig ID = "server-config"
	IDHostKeyAlg   ID = "ssh-hostkey-alg"
	IDKexCipher    ID = "ssh-kex-cipher"
	IDUserKeySHA1  ID = "ssh-userkey-sha1"
	IDChrootOwner  ID = "ssh-chroot-owner"
	IDKeysPerm     ID = "authorized-keys-perm"
	IDSFTPNoise    ID = "sftp-noise"
	IDTooManyAuth  ID = "too-many-auth"
	IDPQWarning    ID = "pq-warning"
	IDTLSVersion   ID = "tls-version"
	IDUnpublished  ID = "pasv-unpublished"
	IDRangePartly  ID = "range-partly-open"
	IDEpsvLie      ID = "epsv-lie"
	IDALG          ID = "alg-mangle"
	IDActiveBind   ID = "active-bind"
	IDIPv6Dead     ID = "ipv6-dead"
	IDTLS13Loss    ID = "tls13-upload-loss"
	IDSetstat      ID = "sftp-setstat"
	IDPickup       ID = "partial-pickup"
	IDNames        ID = "names-garbled"
	IDEmptyList    ID = "empty-list"
	IDASCII        ID = "ascii-damage"
	IDProxyMany    ID = "proxy-explosion"
	IDSelfBan      ID = "self-ban"
	IDPortTaken    ID = "port-taken"
	IDLowPort      ID = "low-port"
	IDKeyExposed   ID = "key-exposed"
)

// An Error is a failure with its cause named. Facts fill the sentence that
// package explain has for ID, in its order; Err goes to the log only and never
// to a peer. Do is of the client alone: what to do next, a line each, where that
// is more exact than the entry, as a command to type.
type Error struct {
	Kind  Kind
	ID    ID
	Facts []any
	Err   error
	Do    []string
}

// New makes an Error without an underlying cause.
func New(kind Kind, id ID, facts ...any) *Error {
	return &Error{Kind: kind, ID: id, Facts: facts}
}

// Because is New with the cause for the log.
func Because(err error, kind Kind, id ID, facts ...any) *Error {
	return &Error{Kind: kind, ID: id, Facts: facts, Err: err}
}

func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.ID) + ": " + e.Err.Error()
	}
	return string(e.ID)
}

func (e *Error) Unwrap() error { return e.Err }

// Is makes the sentinels of io/fs match by kind, so a caller that only knows
// io/fs understands an Error too.
func (e *Error) Is(target error) bool {
	switch target {
	case fs.ErrNotExist:
		return e.Kind == NotFound
	case fs.ErrExist:
		return e.Kind == Exists
	case fs.ErrPermission:
		return e.Kind == Denied
	}
	return false
}

// Of returns err as an *Error of the caller's own: a copy of the one that err is
// or wraps, with err as its cause, else one made from its kind.
func Of(err error) *Error {
	if e, ok := err.(*Error); ok {
		own := *e
		return &own
	}
	var fe *Error
	if errors.As(err, &fe) {
		return &Error{Kind: fe.Kind, ID: fe.ID, Facts: fe.Facts, Err: err, Do: fe.Do}
	}
	kind := KindOf(err)
	return &Error{Kind: kind, ID: ids[kind], Err: err}
}

// ids is the id of an error that has only a kind.
var ids = [NumKinds]ID{
	Internal: IDInternal, NotFound: IDNotFound, Exists: IDExists, Denied: IDPerm, NotDir: IDNotDir,
	IsDir: IDIsDir, NotEmpty: IDNotEmpty, BadName: IDBadName, OverQuota: IDQuota, NoSpace: IDNoSpace,
	Busy: IDInUse, Unknown: IDUnknown, NotBuilt: IDNotBuilt, Unsupported: IDUnsupported, Syntax: IDSyntax,
	Sequence: IDSequence, NotLoggedIn: IDLogin, NeedTLS: IDTLSRequired, NeedProt: IDProtRequired,
	NoClear: IDProtRequired, NoData: IDNoDataPort, BadOffset: IDOffset, Cut: IDUploadCut, Stalled: IDStall,
	Canceled: IDAborted, Closing: IDShutdown, WrongFamily: IDFamily,
	Unreachable: IDLost, Untrusted: IDTLSFailed, Mismatch: IDVerify,
}

// KindOf sorts any error: our own, a context's, the sentinels of io/fs, an
// errno, a network error. A PathError or LinkError with any other cause is
// Denied, because that is how os.Root refuses a path that leaves it.
func KindOf(err error) Kind {
	var fe *Error
	var errno syscall.Errno
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	var opErr *net.OpError
	var netErr net.Error
	switch {
	case err == nil:
		return Internal
	case errors.As(err, &fe):
		return fe.Kind
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Stalled
	case errors.As(err, &errno):
		if k, ok := errnos[errno]; ok {
			return k
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return NotFound
	case errors.Is(err, fs.ErrExist):
		return Exists
	case errors.Is(err, fs.ErrPermission):
		return Denied
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return Cut
	case errors.As(err, &errno) && !errors.As(err, &opErr): // an Errno is a net.Error too
		return Internal
	case errors.As(err, &netErr):
		if netErr.Timeout() {
			return Stalled
		}
		return Cut
	case errors.As(err, &pathErr), errors.As(err, &linkErr):
		return Denied
	}
	return Internal
}

// lookedFor is when the kernel has asked three times in vain who has an address of its own
// network (the default of Linux): a rule that rejects answers sooner.
const lookedFor = 2500 * time.Millisecond

// Unreached sorts the failure of a connection to a port of a host that was tried for so
// long, under the ids of those that can't be reached; nil when it is another one. An
// *Error in its chain says it already, and err comes back as it is.
func Unreached(err error, host string, port int, tried time.Duration) error {
	var fe *Error
	var dns *net.DNSError
	var netErr net.Error
	switch {
	case errors.As(err, &fe):
		return err
	case errors.As(err, &dns):
		return Because(err, Unreachable, IDDNS, host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return Because(err, Unreachable, IDRefused, host, port)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED):
		return Because(err, Closing, IDBusy, host)
	case errors.Is(err, syscall.EHOSTUNREACH) && tried < lookedFor, errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return Because(err, Unreachable, IDRejected, host, port)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return Because(err, Unreachable, IDFiltered, host, port, max(1, int(math.Round(tried.Seconds()))))
	}
	return nil
}

var errnos = map[syscall.Errno]Kind{
	syscall.ENOENT:       NotFound,
	syscall.EEXIST:       Exists,
	syscall.EACCES:       Denied,
	syscall.EPERM:        Denied,
	syscall.EROFS:        Denied,
	syscall.EXDEV:        Denied, // openat2 with RESOLVE_BENEATH: the path leaves the jail
	syscall.ELOOP:        Denied,
	syscall.ENOTDIR:      NotDir,
	syscall.EISDIR:       IsDir,
	syscall.ENOTEMPTY:    NotEmpty,
	syscall.ENAMETOOLONG: BadName,
	syscall.EINVAL:       BadName,
	syscall.EDQUOT:       OverQuota,
	syscall.ENOSPC:       NoSpace,
	syscall.EFBIG:        NoSpace,
	syscall.EBUSY:        Busy,
	syscall.ETXTBSY:      Busy,
	syscall.EAGAIN:       Busy,
	syscall.ECONNRESET:   Cut,
	syscall.EPIPE:        Cut,
	syscall.ECONNABORTED: Cut,
	syscall.ETIMEDOUT:    Stalled,
	syscall.EHOSTUNREACH: Stalled,
	syscall.ENETUNREACH:  Stalled,
}
