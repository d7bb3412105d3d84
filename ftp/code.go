package ftp

// A Code is the number of a reply. Names carry number and meaning; several may
// share a number, because the reader of a trace wants the number and the reader
// of code the cause.
type Code int

// The codes that a server sends; where no document stands, RFC 959, 4.2.
const (
	C110Restart      Code = 110 // restart marker
	C120Soon         Code = 120 // ready in some minutes
	C125Transferring Code = 125 // the data connection is open already, the transfer starts
	C150Opening      Code = 150 // the data connection is about to be opened
)

// Done.
const (
	C200OK           Code = 200
	C202Superfluous  Code = 202 // known and not needed here
	C211Status       Code = 211 // system status
	C211Features     Code = 211 // RFC 2389, 3
	C211Help         Code = 211 // help about the system
	C212Dir          Code = 212 // status of a directory
	C213File         Code = 213 // status of a file: STAT, SIZE and MDTM (RFC 3659)
	C214Help         Code = 214 // help about commands
	C215System       Code = 215 // name of the system
	C220Ready        Code = 220 // greeting, and after REIN
	C220Host         Code = 220 // RFC 7151, 3: the host is accepted
	C221Bye          Code = 221
	C225NoTransfer   Code = 225 // ABOR with nothing to abort
	C226Done         Code = 226 // the whole file or listing went over
	C226Aborted      Code = 226 // ABOR was done
	C227Passive      Code = 227
	C229Extended     Code = 229 // RFC 2428, 3
	C230LoggedIn     Code = 230
	C232Certificate  Code = 232 // logged in by the certificate (RFC 2228, 7)
	C232NoPassword   Code = 232 // RFC 2228: logged in by the security exchange
	C234TLS          Code = 234 // RFC 4217, 4: the handshake follows
	C235SecurityDone Code = 235 // RFC 2228: security data taken
	C250OK           Code = 250 // file action done
	C251Hash         Code = 251 // MD5, as its drafts have it
	C257Path         Code = 257
)

// Go on.
const (
	C331NeedPassword Code = 331
	C332NeedAccount  Code = 332
	C334MoreSecurity Code = 334 // RFC 2228: the mechanism needs security data
	C335MoreSecurity Code = 335 // RFC 2228: it needs more of it
	C336Challenge    Code = 336 // RFC 2228: user name accepted, a challenge follows
	C350Pending      Code = 350 // waiting for the next command
)

// Not now.
const (
	C421Closing Code = 421 // the service ends
	C421TooMany Code = 421 // connections, or failed logins
	C421Timeout Code = 421 // nothing came for too long
	C425NoData  Code = 425 // no data connection
	C426Cut     Code = 426 // the data connection ended before the transfer
	C431NoTLS   Code = 431 // RFC 2228, RFC 4217: a needed resource, the certificate, is missing
	C450Busy    Code = 450 // the file is in use
	C451Local   Code = 451 // an error of this side
	C452NoSpace Code = 452 // the disk is full
)

// No.
const (
	C500Unknown     Code = 500 // no such command, or a line that is none
	C501Syntax      Code = 501 // arguments that do not parse
	C502NotBuilt    Code = 502 // a command that is not offered here
	C503Sequence    Code = 503 // commands out of order
	C504Parameter   Code = 504 // a parameter that is not offered; RFC 7151: no such host
	C521NeedProt    Code = 521 // RFC 4217: no data connection with this PROT
	C522Family      Code = 522 // RFC 2428, 2: network protocol not supported
	C522DataTLS     Code = 522 // RFC 4217: TLS failed on the data connection
	C530NotLoggedIn Code = 530
	C530NeedTLS     Code = 530
	C532NeedAccount Code = 532 // an account is needed to store files
	C533            Code = 533 // RFC 2228: protection level of the command denied, CCC for one
	C534NoClear     Code = 534 // RFC 2228: denied by policy, PROT C and AUTH among them
	C535Security    Code = 535 // RFC 2228: a security check failed
	C536ProtLevel   Code = 536 // RFC 2228: the mechanism has no such PROT level
	C537Protection  Code = 537 // RFC 2228: the mechanism has no such command protection level
	C550Unavailable Code = 550 // no such file, or no access to it
	C551            Code = 551 // page type unknown
	C552OverQuota   Code = 552 // storage allocation exceeded
	C553BadName     Code = 553 // file name not allowed
	C554BadOffset   Code = 554 // RFC 1123, 4.1.3.4: invalid REST parameter
	C555BadType     Code = 555 // RFC 1123, 4.1.3.4: REST does not go with this TYPE or STRU
)
