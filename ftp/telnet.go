package ftp

// Telnet, RFC 854.
const (
	telnetSE   = 240
	telnetDM   = 242
	telnetSB   = 250
	telnetWill = 251
	telnetDont = 254
	telnetIAC  = 255
)

// Where a reader stands in a Telnet sequence. Every state may last over a read.
type telnetState uint8

const (
	inData   telnetState = iota
	inIAC                // after IAC
	inOption             // after IAC WILL, WONT, DO or DONT
	inSub                // after IAC SB
	inSubIAC             // after IAC inside a subnegotiation
)

// A telnet takes Telnet sequences out of what comes: IAC IAC is one byte 0xFF;
// two-byte commands, option requests and subnegotiations are dropped. A 0xFF before a
// byte below 240 is itself, because peers with a legacy charset do not double it.
type telnet struct {
	state telnetState
	sub   int // bytes of subnegotiations in this line
}

// plain tells that b is itself, and nothing else is to be done about it.
func (t *telnet) plain(b byte) bool { return t.state == inData && b != telnetIAC }

// What a byte that is not plain is.
type telnetByte uint8

const (
	telnetNothing telnetByte = iota // a part of a sequence
	telnetItself
	telnetBehindIAC // itself, and the 0xFF before it too
	telnetTooLong   // one more of subnegotiations than there may be in a line
)

// take consumes a byte that is not plain. What a subnegotiation holds may be any
// byte, LF too: only its length keeps it from eating all that follows. After
// telnetTooLong the next byte is no part of it.
func (t *telnet) take(b byte, maxSub int) telnetByte {
	switch t.state {
	case inData:
		t.state = inIAC
	case inIAC:
		t.state = inData
		switch {
		case b == telnetIAC:
			return telnetItself
		case b == telnetSB:
			t.state = inSub
		case b >= telnetWill && b <= telnetDont:
			t.state = inOption
		case b < telnetSE:
			return telnetBehindIAC
		}
	case inOption:
		t.state = inData
	case inSub, inSubIAC:
		switch t.sub++; {
		case t.state == inSubIAC && b == telnetSE:
			t.state = inData
		case t.sub > maxSub:
			t.state = inData
			return telnetTooLong
		case t.state == inSub && b == telnetIAC:
			t.state = inSubIAC
		default:
			t.state = inSub
		}
	}
	return telnetNothing
}
