package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"dray/explain"
	"dray/fault"
	"dray/screen"
)

// Exit statuses of the client. They are the same for every protocol.
const (
	exitReach     = 3  // no connection: name, refused, filtered, wrong protocol
	exitTrust     = 4  // certificate, host key, TLS missing
	exitLogin     = 5  // login refused
	exitData      = 6  // no data connection
	exitNotFound  = 7  // no such file
	exitDenied    = 8  // permission denied
	exitSpace     = 9  // no space or quota
	exitMismatch  = 10 // verification failed, or a partial of something else
	exitResumable = 11 // cut off; the next run goes on there
	exitStalled   = 12 // timed out
	exitBusy      = 13 // the server has too much to do: later
	exitNothing   = 14 // nothing to do, with --error-on-no-transfer
	exitMaxTime   = 124
	exitInt       = 130
	exitTerm      = 143
)

// exits is the status of each id that a client meets; what is not here is exitFailed.
var exits = map[fault.ID]int{
	fault.IDDNS: exitReach, fault.IDRefused: exitReach, fault.IDFiltered: exitReach, fault.IDRejected: exitReach, fault.IDProxy: exitReach,
	fault.IDWrongProto: exitReach, fault.IDImplicitTLS: exitReach, fault.IDSSHFailed: exitReach, fault.IDNoSFTP: exitReach, fault.IDBadReply: exitReach,
	fault.IDIPv6Dead: exitReach, fault.IDHostKeyAlg: exitReach, fault.IDKexCipher: exitReach, fault.IDSFTPNoise: exitReach,

	fault.IDTLSRequired: exitTrust, fault.IDTLSMissing: exitTrust, fault.IDSelfSigned: exitTrust, fault.IDUnknownCA: exitTrust, fault.IDIncomplete: exitTrust,
	fault.IDExpired: exitTrust, fault.IDCertName: exitTrust, fault.IDCertChanged: exitTrust, fault.IDCertPin: exitTrust, fault.IDTLSFailed: exitTrust,
	fault.IDBehindAuth: exitTrust, fault.IDHostKeyNew: exitTrust, fault.IDHostKeyOther: exitTrust, fault.IDHostKeyGone: exitTrust, fault.IDProtRequired: exitTrust,
	fault.IDTLSVersion: exitTrust,

	fault.IDAuth: exitLogin, fault.IDAccountOff: exitLogin, fault.IDLogin: exitLogin, fault.IDNetwork: exitLogin, fault.IDProtocol: exitLogin, fault.IDTries: exitLogin,

	fault.IDDataBlocked: exitData, fault.IDActiveBlock: exitData, fault.IDNoDataPort: exitData, fault.IDTLSReuse: exitData, fault.IDTLSData: exitData, fault.IDDataPeer: exitData,
	fault.IDUnpublished: exitData, fault.IDRangePartly: exitData, fault.IDEpsvLie: exitData, fault.IDALG: exitData,

	fault.IDNotFound: exitNotFound,
	fault.IDPerm:     exitDenied, fault.IDReadOnly: exitDenied,
	fault.IDNoSpace: exitSpace, fault.IDQuota: exitSpace, fault.IDTooLarge: exitSpace,
	fault.IDVerify: exitMismatch, fault.IDResume: exitMismatch, fault.IDShortFile: exitMismatch, fault.IDSourceMoved: exitMismatch,
	fault.IDDataLost: exitResumable, fault.IDLost: exitResumable, fault.IDPlainInTLS: exitResumable, fault.IDTLSNoClose: exitResumable, fault.IDUploadCut: exitResumable, fault.IDListingCut: exitResumable, fault.IDTLS13Loss: exitResumable,
	fault.IDStall: exitStalled, fault.IDNoAnswer: exitStalled,
	fault.IDBusy: exitBusy, fault.IDBanned: exitBusy, fault.IDPool: exitBusy, fault.IDInUse: exitBusy, fault.IDShutdown: exitBusy,
	fault.IDMaxTime: exitMaxTime, fault.IDInterrupted: exitInt,
}

// exitOf is the status that an error of a client ends with.
func exitOf(err error) int {
	var sig *signalError
	if errors.As(err, &sig) {
		return sig.status
	}
	var ee *exitError
	if errors.As(err, &ee) {
		return ee.status
	}
	if errors.Is(err, context.Canceled) {
		return exitInt
	}
	if status, ok := exits[fault.Of(err).ID]; ok {
		return status
	}
	return exitFailed
}

// A signalError is the end by a signal.
type signalError struct {
	name   string
	status int
}

func (e *signalError) Error() string { return "ended by " + e.name }

// Unwrap makes it a failure that has a name.
func (e *signalError) Unwrap() error {
	return fault.New(fault.Canceled, fault.IDInterrupted)
}

// saidBy is what the server said about an error, "" when it said nothing.
func saidBy(err error) string { return screen.Line(explain.Said(err)) }

// headline is what went wrong in one line, with the server's words and the id.
func headline(err error) string {
	var ee *exitError
	if errors.As(err, &ee) {
		return ee.text
	}
	e := fault.Of(err)
	line := explain.Line(e)
	if e.ID == fault.IDInternal {
		line = screen.Line(explain.Cause(err))
	}
	if said := saidBy(err); said != "" && e.ID != fault.IDInternal {
		line += ": " + said
	}
	if strings.HasSuffix(line, "["+string(e.ID)+"]") {
		return line
	}
	return line + "   [" + string(e.ID) + "]"
}

// An advised is something to do or to know: whose it is, and the command that does it,
// which is there to be copied; "" where there is none.
type advised struct {
	side string // you, server; cause, why, also, more
	text string
	run  string
}

// advice is what to do about an error.
func advice(err error) []advised {
	e := fault.Of(err)
	var rows []advised
	if cause := screen.Line(explain.Cause(err)); cause != "" && saidBy(err) == "" && e.ID != fault.IDInternal && !strings.Contains(explain.Line(e), cause) {
		rows = append(rows, advised{side: "cause", text: cause})
	}
	rows = append(rows, steps(explain.Steps(e))...)
	return append(rows, advised{side: "more", text: "dray explain " + string(e.ID)})
}

// steps are those of both sides, as they are told.
func steps(all []explain.Step) []advised {
	var rows []advised
	for _, s := range all {
		side := "you"
		if s.Side == explain.Admin {
			side = "server"
		}
		rows = append(rows, advised{side, screen.Line(s.Text), screen.Line(s.Run)})
	}
	return rows
}

// complain writes an error with what to do about it.
func complain(w io.Writer, err error, advice func(error) []advised) {
	fmt.Fprintln(w, "dray: "+headline(err))
	var ee *exitError
	if errors.As(err, &ee) {
		return
	}
	writeAdvice(w, advice(err))
}

func writeAdvice(w io.Writer, rows []advised) {
	last := ""
	for _, row := range rows {
		var lines []string
		if row.text != "" {
			lines = fold(strings.ReplaceAll(row.text, "`", ""), 96)
		}
		if row.run != "" {
			lines = append(lines, row.run)
		}
		for _, line := range lines {
			name := row.side
			if name == last {
				name = ""
			}
			fmt.Fprintf(w, "      %-8s%s\n", name, line)
			last = row.side
		}
	}
}

// fold breaks a text into lines of at most so many letters, at blanks.
func fold(s string, width int) []string {
	var lines []string
	for paragraph := range strings.Lines(s) {
		line := ""
		for _, word := range strings.Fields(paragraph) {
			if line != "" && len(line)+1+len(word) > width {
				lines = append(lines, line)
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		lines = append(lines, line)
	}
	return lines
}
