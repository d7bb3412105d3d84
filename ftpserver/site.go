package ftpserver

func factSite() []command { return nil }
