package ftpserver

func copyCommands() []command { return nil }

func copySite() []command { return nil }
