package ftpserver

import "dray/ftp"
import "dray/fault"

type sums struct{}

func sumCommands() []command { return nil }

func (c *conn) optsHash(string) (ftp.Reply, error) {
	return ftp.Reply{}, fault.New(fault.Syntax, fault.IDSyntax, "OPTS UTF8 ON")
}
