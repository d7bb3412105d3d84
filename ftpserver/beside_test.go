package ftpserver

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// A transfer that had ended never came back: the reader beside it waited for the
// end of the session.
func TestTheReaderBesideATransferEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := seenFrom(t, "198.51.100.7")
		failed := errors.New("failed")
		err := c.during(t.Context(), nil, func(context.Context) error {
			synctest.Wait() // the reader waits for a command
			c.wake()        // and something wakes it
			synctest.Wait()
			return failed
		})
		if err != failed {
			t.Errorf("during = %v", err)
		}
	})
}
