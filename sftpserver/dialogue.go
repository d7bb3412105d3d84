package sftpserver

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"dray/explain"
	"dray/fault"
	"dray/gate"
	"dray/sftp"
	"dray/vfs"
)

// A dialogue is one SFTP session: a channel, its handles, and the requests that are
// answered one behind the other. What several handles of it have to know of each
// other is in files.
type dialogue struct {
	conn    *conn
	ctx     context.Context
	ch      *paced
	session *gate.Session

	req     sftp.Request // the one that is answered
	begun   bool         // INIT was answered
	h       *handle      // that the request names, where its row says that it does
	handles handles
	newest  map[vfs.Path]*file // the newest upload to a name, while it is not published
	line    []byte             // of a listing
	quiet   bool               // no handle is open any more, and the connection does not know yet
	wide    bool               // the client has asked for limits, and takes long answers
	told    time.Time          // when it was said beside a status what is the matter
	said    bool               // the request that is answered has its reply

	away    sync.WaitGroup // of reads beside the dialogue
	sending sync.Mutex     // held while packets are written

	out      []byte // replies that have not been sent; one of buffers, or nil
	in       []byte // in[at:have] was read and not answered
	at, have int
	borrowed bool            // in is one of buffers
	idle     [idleBytes]byte // what in is else
}

// idleBytes is the buffer of a dialogue that waits.
const idleBytes = 512

// sftp serves SFTP on a channel and returns its exit status.
func (c *conn) sftp(ctx context.Context, ch *paced) int {
	d := &dialogue{conn: c, ctx: ctx, ch: ch, session: c.session}
	d.in = d.idle[:]
	defer d.end()
	err := d.run()
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return 0
	case ctx.Err() != nil: // it was told
	default:
		c.log.Info("SFTP session ended", "error", err)
		c.tell(ch, "the SFTP session ends: "+err.Error())
	}
	return 1
}

// run answers requests until there are no more. What is wrong with the stream of
// packets ends it: nobody knows where the next one begins.
func (d *dialogue) run() error {
	for {
		body, rest, need, err := sftp.Split(d.in[d.at:d.have])
		if err != nil {
			return errors.Join(err, d.flush())
		}
		if body == nil {
			if err := d.fill(need); err != nil {
				return err
			}
			continue
		}
		if err := d.answer(body); err != nil {
			return errors.Join(err, d.flush())
		}
		d.at = d.have - len(rest)
	}
}

// fill reads until there are need bytes. Before it waits it sends what there is to
// say and gives back what it does not need.
func (d *dialogue) fill(need int) error {
	if err := d.flush(); err != nil {
		return err
	}
	if d.at == d.have {
		d.at, d.have = 0, 0
		if d.borrowed {
			d.shrink()
		}
	}
	switch {
	case need > len(d.in):
		d.grow(need)
	case need > len(d.in)-d.at:
		d.have, d.at = copy(d.in, d.in[d.at:d.have]), 0
	}
	n, err := d.ch.Read(d.in[d.have:])
	d.have += n
	if n > 0 {
		if d.have == len(d.in) && !d.borrowed { // more is there
			d.grow(0)
		}
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	return err
}

// grow makes room for a packet of need bytes, and for more.
func (d *dialogue) grow(need int) {
	b := buffers.get(max(need, bulkBytes()))
	d.have, d.at = copy(b, d.in[d.at:d.have]), 0
	if d.borrowed {
		buffers.put(d.in)
	}
	d.in, d.borrowed = b, true
}

func (d *dialogue) shrink() {
	buffers.put(d.in)
	d.in, d.borrowed = d.idle[:], false
}

// flush sends the replies that have come together, in one piece.
func (d *dialogue) flush() error {
	defer d.settled()
	if len(d.out) == 0 {
		return nil
	}
	err := d.send(d.out)
	buffers.put(d.out)
	d.out = nil
	return err
}

// room makes d.out hold n bytes more without growing.
func (d *dialogue) room(n int) error {
	if cap(d.out)-len(d.out) >= n {
		return nil
	}
	if err := d.flush(); err != nil {
		return err
	}
	if d.out != nil { // nothing is in it
		buffers.put(d.out)
	}
	if n > replyBytes {
		n = max(n, bulkBytes()) // others will follow
	}
	d.out = buffers.get(n)[:0]
	return nil
}

// end gives everything back. Files that are open were cut by the end.
func (d *dialogue) end() {
	d.handles.closeAll(d)
	d.settled()
	if d.borrowed {
		buffers.put(d.in)
	}
	if d.out != nil {
		buffers.put(d.out)
	}
	d.in, d.out = nil, nil
}

// largestReply is what a reply takes at most that is no DATA and no NAME of a
// directory: a status with its text, or two paths.
const largestReply = 16 << 10

// answer answers one packet. An error ends the dialogue.
func (d *dialogue) answer(body []byte) error {
	q := &d.req
	perr := q.Parse(body)
	if err := d.room(largestReply); err != nil {
		return err
	}
	switch {
	case !d.begun && q.Type != sftp.TypeInit:
		return errors.New("a request before INIT")
	case d.begun && q.Type == sftp.TypeInit:
		return errors.New("INIT for the second time")
	case perr != nil && (q.Type == sftp.TypeInit || len(body) < 5):
		return perr
	case perr != nil:
		d.status(sftp.BadMessage, "The request is malformed. ["+string(fault.IDSyntax)+"]")
		return nil
	case !d.begun:
		d.begun = true
		d.out = sftp.AppendVersion(d.out, extensions())
		return nil
	}
	row := d.conn.server.row(q)
	if row == nil {
		d.status(sftp.OpUnsupported, "This server does not know the request. ["+string(fault.IDUnknown)+"]")
		return nil
	}
	err := d.allowed(row, q)
	d.said = false
	if err == nil {
		err = row.run(d, q)
	}
	switch {
	case err == nil && !d.said:
		d.status(sftp.OK, "")
	case errors.Is(err, io.EOF):
		d.status(sftp.EOF, endOfFile)
	case err != nil:
		d.refuse(row, err)
	}
	return nil
}

// allowed checks what the row says of a request.
func (d *dialogue) allowed(row *request, q *sftp.Request) error {
	d.h = nil
	if row.handle {
		if d.h = d.handles.find(q.Handle); d.h == nil {
			return fault.Because(errHandle, fault.Sequence, fault.IDHandle)
		}
	}
	if row.changes {
		if d.readOnly() {
			return fault.New(fault.Denied, fault.IDReadOnly)
		}
		if row.typ != sftp.TypeWrite { // which mostly goes beside all that is read
			d.settle()
		}
	}
	return nil
}

// endOfFile is the text of the status EOF.
const endOfFile = "end of file"

// refuse answers with what an error means.
func (d *dialogue) refuse(row *request, err error) {
	e := fault.Of(err)
	if e.Kind == fault.NotFound && !row.changes { // a question: file systems and mirrors ask many
		d.conn.log.Debug("not there", "verb", row.name(), "path", string(d.req.Path))
	} else {
		d.session.Refused(row.name(), string(d.req.Path), err)
	}
	sentence := explain.Sentence(e)
	d.status(statuses[e.Kind], sentence)
	// OpenSSH and others show the status alone, which is "Failure". That the disk or
	// the quota is full is said beside it, once and not to each WRITE that is under way.
	if now := time.Now(); (e.Kind == fault.NoSpace || e.Kind == fault.OverQuota) && now.Sub(d.told) > tellEvery {
		d.told = now
		d.conn.tell(d.ch, sentence)
	}
}

// tellEvery is how long it is before a client is told again what it was told.
const tellEvery = 10 * time.Second

// say makes out with a reply behind it the replies to be sent.
func (d *dialogue) say(out []byte) { d.out, d.said = out, true }

func (d *dialogue) status(c sftp.Code, text string) {
	d.out = sftp.AppendStatus(d.out, d.req.ID, c, text)
}

// statuses is what clients of version 3 hear of each kind; the text says the rest.
var statuses = [fault.NumKinds]sftp.Code{
	fault.Internal:    sftp.Failure,
	fault.NotFound:    sftp.NoSuchFile,
	fault.Exists:      sftp.Failure,
	fault.Denied:      sftp.PermissionDenied,
	fault.NotDir:      sftp.NoSuchFile, // as OpenSSH has ENOTDIR
	fault.IsDir:       sftp.Failure,
	fault.NotEmpty:    sftp.Failure,
	fault.BadName:     sftp.Failure,
	fault.OverQuota:   sftp.Failure,
	fault.NoSpace:     sftp.Failure,
	fault.Busy:        sftp.Failure,
	fault.Unknown:     sftp.OpUnsupported,
	fault.NotBuilt:    sftp.OpUnsupported,
	fault.Unsupported: sftp.OpUnsupported,
	fault.Syntax:      sftp.BadMessage,
	fault.Sequence:    sftp.Failure,
	fault.NotLoggedIn: sftp.PermissionDenied,
	fault.NeedTLS:     sftp.PermissionDenied,
	fault.NeedProt:    sftp.PermissionDenied,
	fault.NoClear:     sftp.PermissionDenied,
	fault.NoData:      sftp.Failure,
	fault.BadOffset:   sftp.Failure,
	fault.Cut:         sftp.Failure,
	fault.Stalled:     sftp.Failure,
	fault.Canceled:    sftp.Failure,
	fault.Closing:     sftp.Failure,
	fault.WrongFamily: sftp.Failure,
	fault.Unreachable: sftp.Failure,
	fault.Untrusted:   sftp.Failure,
	fault.Mismatch:    sftp.Failure,
}
