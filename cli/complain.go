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

// advice is what to do about an error, a row for each side.
func advice(err error) [][2]string {
	e := fault.Of(err)
	var rows [][2]string
	if cause := screen.Line(explain.Cause(err)); cause != "" && saidBy(err) == "" && e.ID != fault.IDInternal && !strings.Contains(explain.Line(e), cause) {
		rows = append(rows, [2]string{"cause", cause})
	}
	for _, step := range explain.Steps(e) {
		if step.Side == explain.Admin {
			rows = append(rows, [2]string{"server", screen.Line(step.Text)})
			continue
		}
		rows = append(rows, [2]string{"you", screen.Line(step.Text)}, [2]string{"do", screen.Line(step.Run)})
	}
	return append(rows, [2]string{"more", "dray explain " + string(e.ID)})
}

// complain writes an error with what to do about it.
func complain(w io.Writer, err error, advice func(error) [][2]string) {
	fmt.Fprintln(w, "dray: "+headline(err))
	var ee *exitError
	if errors.As(err, &ee) {
		return
	}
	writeAdvice(w, advice(err))
}

func writeAdvice(w io.Writer, rows [][2]string) {
	last := ""
	for _, row := range rows {
		if row[1] == "" {
			continue
		}
		name := row[0]
		if name == last || name == "do" && last == "you" {
			name = ""
		}
		last = strings.Replace(row[0], "do", "you", 1)
		width := 96
		if row[0] == "do" {
			width = 1 << 20 // it is there to be copied
			if name != "" {
				name = "you"
			}
		}
		for i, line := range fold(strings.ReplaceAll(row[1], "`", ""), width) {
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(w, "      %-8s%s\n", name, line)
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
