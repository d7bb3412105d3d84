package sftpserver

import (
	"strings"
	"testing"
	"time"
)

// A refusal is told to a client, which may not take the sentence, and goes on asking:
// the server is done with it when it hangs up.
func TestARefusalThatNobodyReads(t *testing.T) {
	st := newStage(t)
	b := st.bare()
	b.open(0, 0, 32768)
	to := b.opened()
	for range 100 {
		b.request(to, "exec", "id")
	}
	time.Sleep(100 * time.Millisecond)
	_ = b.nc.Close()
	until(t, "the end of the connection", func() bool { return strings.Contains(st.log.String(), "msg=disconnected") })
}
