package ftpserver

import (
	"dray/explain"
	"dray/fault"
	"dray/ftp"
)

// replies is the one table from kind of failure to code.
var replies = [fault.NumKinds]ftp.Code{
	fault.Internal:    ftp.C451Local,
	fault.NotFound:    ftp.C550Unavailable,
	fault.Exists:      ftp.C550Unavailable,
	fault.Denied:      ftp.C550Unavailable,
	fault.NotDir:      ftp.C550Unavailable,
	fault.IsDir:       ftp.C550Unavailable,
	fault.NotEmpty:    ftp.C550Unavailable,
	fault.BadName:     ftp.C553BadName,
	fault.OverQuota:   ftp.C552OverQuota,
	fault.NoSpace:     ftp.C452NoSpace,
	fault.Busy:        ftp.C450Busy,
	fault.Unknown:     ftp.C500Unknown,
	fault.NotBuilt:    ftp.C502NotBuilt,
	fault.Unsupported: ftp.C504Parameter,
	fault.Syntax:      ftp.C501Syntax,
	fault.Sequence:    ftp.C503Sequence,
	fault.NotLoggedIn: ftp.C530NotLoggedIn,
	fault.NeedTLS:     ftp.C530NeedTLS,
	fault.NeedProt:    ftp.C521NeedProt,
	fault.NoClear:     ftp.C534NoClear,
	fault.NoData:      ftp.C425NoData,
	fault.BadOffset:   ftp.C554BadOffset,
	fault.Cut:         ftp.C426Cut,
	fault.Stalled:     ftp.C426Cut,
	fault.Canceled:    ftp.C426Cut,
	fault.Closing:     ftp.C421Closing,
	fault.WrongFamily: ftp.C522Family,
	fault.Unreachable: ftp.C451Local,
	fault.Untrusted:   ftp.C451Local,
	fault.Mismatch:    ftp.C451Local,
}

// replyFor is the answer to an error: code by kind, sentence by id.
func replyFor(err error) ftp.Reply {
	e := fault.Of(err)
	return ftp.Replyf(replies[e.Kind], "%s", explain.Sentence(e))
}
