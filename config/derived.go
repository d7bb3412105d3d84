package config

import (
	"path/filepath"
	"strings"
	"time"

	"dray/account"
)

// Database is the file that accounts are kept in.
func (c *Config) Database() string {
	if c.Accounts.Database != "" {
		return c.Accounts.Database
	}
	return filepath.Join(c.State, "accounts.db")
}

// AdminSocket is where the running server answers its administrator.
func (c *Config) AdminSocket() string {
	if c.Admin != "" {
		return c.Admin
	}
	return filepath.Join(c.State, "admin.sock")
}

// HomeOf is the home of an account: its own, or the one that the configuration
// gives to those without; "" when it gives none. made says that it may be made.
func (c *Config) HomeOf(a *account.Account) (home string, made bool) {
	if a.Home != "" || c.Accounts.Home == "" {
		return a.Home, false
	}
	return strings.ReplaceAll(c.Accounts.Home, "{name}", a.Name), c.Accounts.MakeHome
}

// DefaultListeners are those of a configuration without any.
func DefaultListeners() []Listener {
	explicit := Listener{Name: "ftp", Protocol: "ftp", DataSession: "prefer", TLSEnd: "require", ClientCertificates: "off", Active: true, ActivePort: -1}
	implicit := explicit
	implicit.Name, implicit.Protocol = "ftps", "ftps"
	return []Listener{explicit, implicit, sftpListener()}
}

// sftpListener has the same values as one of a file that says nothing but the
// protocol.
func sftpListener() Listener {
	return Listener{Name: "sftp", Protocol: "sftp", DataSession: "prefer", TLSEnd: "require", ClientCertificates: "off", Active: true, ActivePort: -1}
}

// End is the first moment after the day.
func (d Date) End() time.Time {
	y, m, day := d.Date()
	return time.Date(y, m, day+1, 0, 0, 0, 0, time.Local)
}

// AsksCertificate tells whether clients are asked for a certificate.
func (l Listener) AsksCertificate() bool { return l.ClientCertificates == "ask" || l.ClientCA != "" }
