package ftpserver

func factCommands() []command { return nil }
