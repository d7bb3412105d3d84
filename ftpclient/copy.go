package ftpclient

import (
	"context"
	"slices"
	"strings"

	"dray/fault"
	"dray/ftp"
)

// Copy makes the server copy a file of its own, by SITE CPFR and SITE CPTO, which
// servers have that name SITE COPY among their features. Whether a file that has the
// new name is replaced is the server's affair. Kind Unsupported where the server can't;
// nothing was sent then.
func (c *Conn) Copy(ctx context.Context, from, to string) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	if !c.canCopy() {
		return fault.New(fault.Unsupported, fault.IDUnsupported, "copies on the server (SITE COPY)")
	}
	w, err := c.wire(to)
	if err != nil {
		return err
	}
	r, err := c.about(ctx, "SITE", "CPFR ", from)
	if r.Code != ftp.C350Pending {
		if err == nil {
			err = c.refused(cmd("SITE", "CPFR"), r, from)
		}
		return err
	}
	step := cmd("SITE", "CPTO "+w)
	if r, err = c.slow(ctx, step); err == nil && r.Code >= 300 {
		err = c.refused(step, r, to)
	}
	return err
}

// canCopy tells whether the server copies files of its own.
func (c *Conn) canCopy() bool { return c.hasSite("COPY") }

// hasSite tells whether the server names a command behind SITE among its features.
func (c *Conn) hasSite(name string) bool {
	return slices.Contains(strings.FieldsFunc(strings.ToUpper(c.feat.Arg("SITE")), func(r rune) bool { return r == ' ' || r == ';' }), name)
}
