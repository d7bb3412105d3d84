package ftpserver

import "dray/ftp"
import "dray/fault"

type deflate struct{}

func (c *conn) optsMode(string) (ftp.Reply, error) {
	return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "OPTS UTF8 ON")
}
