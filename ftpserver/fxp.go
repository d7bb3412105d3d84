package ftpserver

type fxp struct{}

func fxpCommands() []command { return nil }
