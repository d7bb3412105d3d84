package ftpclient

import (
	"context"

	"dray/fault"
	"dray/ftp"
)

// Sight is what the server has seen of this connection and of its last data connections
// (SITE DRAY). A port that the server has told and nobody has used outlives it. Kind Unsupported
// where the server does not name SITE DRAY among its features; nothing was sent then.
func (c *Conn) Sight(ctx context.Context) (ftp.Sight, error) {
	if err := c.enter(); err != nil {
		return ftp.Sight{}, err
	}
	defer c.leave()
	if !c.hasSite("DRAY") {
		return ftp.Sight{}, fault.New(fault.Unsupported, fault.IDUnsupported, "what the server has seen of a connection (SITE DRAY)")
	}
	step := cmd("SITE", "DRAY")
	r, err := c.do(ctx, step.Verb, step.Arg)
	if err != nil {
		return ftp.Sight{}, err
	}
	if r.Code != ftp.C211Status {
		return ftp.Sight{}, c.refused(step, r, "")
	}
	s, err := ftp.ParseSight(r.Body)
	if err != nil {
		return ftp.Sight{}, c.odd("SITE DRAY", r)
	}
	return s, nil
}
