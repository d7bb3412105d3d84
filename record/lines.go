package record

import (
	"net/netip"
	"os"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"dray/event"
)

// appendXferlog appends the line of a transfer as vsftpd writes it (xferlog(5)):
//
//	date, seconds, address, bytes, name, a|b, _, i|o, a|r, user, ftp|sftp, 0, *, c|i
//
// The date is in local time and bytes are those that moved, not the size of the
// file. Like vsftpd's, the log has transfers only: no "d" for what was deleted.
func appendXferlog(b []byte, t event.Transfer) []byte {
	kind, way, end := byte('b'), byte('o'), byte('i')
	if t.Text {
		kind = 'a'
	}
	if t.Direction == event.Upload {
		way = 'i'
	}
	if t.Whole {
		end = 'c'
	}
	b = t.Time.Local().AppendFormat(b, time.ANSIC)
	b = append(b, ' ')
	b = strconv.AppendInt(b, max(1, int64(t.Took.Round(time.Second)/time.Second)), 10)
	b = append(b, ' ')
	b = appendAddr(b, t.Remote)
	b = append(b, ' ')
	b = strconv.AppendInt(b, t.Bytes, 10)
	b = append(b, ' ')
	b = appendField(b, t.Path)
	b = append(b, ' ', kind, ' ', '_', ' ', way, ' ')
	if t.Anonymous {
		b = append(b, "a "...)
		b = appendField(b, t.Given)
	} else {
		b = append(b, "r "...)
		b = appendField(b, t.User)
	}
	if t.Protocol == "sftp" { // as ProFTPD has it
		b = append(b, " s"...)
	} else {
		b = append(b, ' ')
	}
	b = append(b, "ftp 0 * "...)
	return append(b, end, '\n')
}

// appendAuth appends the line of a failed login as vsftpd writes it to its own
// log, which fail2ban's filter "vsftpd" reads:
//
//	Fri Nov 20 11:29:40 2026 [pid 123] [anna] FAIL LOGIN: Client "203.0.113.5"
func appendAuth(b []byte, l event.Login) []byte {
	b = l.Time.Local().AppendFormat(b, time.ANSIC)
	b = append(b, " [pid "...)
	b = strconv.AppendInt(b, int64(os.Getpid()), 10)
	b = append(b, "] ["...)
	start := len(b)
	b = appendField(b, l.User)
	for i := start; i < len(b); i++ {
		switch b[i] { // what ends the name for a reader
		case '[', ']', '"':
			b[i] = '?'
		}
	}
	b = append(b, `] FAIL LOGIN: Client "`...)
	b = appendAddr(b, l.Remote)
	return append(b, "\"\n"...)
}

// appendField appends s as one field: a space becomes "_", and "?" whatever can't
// be seen and every byte that is no UTF-8, so that the file always is. Departure
// from vsftpd, which writes "?" for each byte of a letter beyond ASCII: we keep
// the letters.
func appendField(b []byte, s string) []byte {
	if s == "" {
		return append(b, '?')
	}
	for _, c := range s {
		switch {
		case c == ' ':
			b = append(b, '_')
		case c == utf8.RuneError, !unicode.IsPrint(c): // the separators of Unicode are not printable
			b = append(b, '?')
		default:
			b = utf8.AppendRune(b, c)
		}
	}
	return b
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return append(b, '?')
	}
	return a.Addr().Unmap().WithZone("").AppendTo(b)
}
