package ftpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"

	"dray/fault"
	"dray/transfer"
)

// Kept is how many bytes a server of dray keeps of an upload that was cut and was to
// replace the file at path, which hides them; fs.ErrNotExist where it keeps none. It
// asks to go on where no file goes on: the refusal has the figure, and nothing is
// changed.
func (c *Conn) Kept(ctx context.Context, path string) (int64, error) {
	_, err := c.Send(ctx, path, Put{From: math.MaxInt64}, nothing{}, transfer.Options{})
	var said *ReplyError
	if fault.Of(err).Kind != fault.BadOffset || !errors.As(err, &said) {
		if err == nil {
			err = fault.New(fault.Unsupported, fault.IDUnsupported, "REST")
		}
		return 0, err
	}
	if facts := said.Facts(); fault.Of(err).ID == fault.IDResume && len(facts) == 1 {
		if n, err := strconv.ParseInt(facts[0], 10, 64); err == nil && n >= 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
}

// nothing is a file without a byte.
type nothing struct{}

func (nothing) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (nothing) Close() error                      { return nil }
func (nothing) Stat() (fs.FileInfo, error)        { return nil, errors.ErrUnsupported }
