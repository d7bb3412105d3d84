package doctor

import (
	"cmp"
	"strings"

	"dray/explain"
	"dray/fault"
)

// A remedy is what the administrator of a known server types against a fault. In run
// stand ADDRESS for the address at which the server was reached and USER for the account.
type remedy struct {
	id     fault.ID
	server string // a word of its greeting, in lower case
	text   string
	run    string
}

const (
	vsftpdConf  = "/etc/vsftpd.conf"
	proftpdConf = "/etc/proftpd/proftpd.conf"
	sshdConf    = "/etc/ssh/sshd_config"
	drayConf    = "/etc/dray/dray.toml"

	restartVsftpd  = " && systemctl restart vsftpd"
	restartProFTPD = " && systemctl restart proftpd"
	restartPure    = " && systemctl restart pure-ftpd"
	restartSSH     = " && systemctl restart ssh"
	reloadDray     = " && systemctl reload dray"
)

// setting is the command that gives a key of a file another value: the last one wins.
func setting(file, key, line string) string {
	return "sed -i '/^ *" + key + "/d' " + file + " && echo '" + line + "' >> " + file
}

// heading is setting for files whose beginning is outside of all blocks; what stands in
// the tables of TOML stays.
func heading(file, key, line string) string {
	return "sed -i -e '1i " + line + "' -e '0,/^ *\\[/{/^ *" + key + "/d}' " + file
}

// remedies are those that were tried in the laboratory, with the paths of Debian.
func remedies() []remedy {
	tells := "have the server tell the address at which it is reached:"
	return []remedy{
		{fault.IDPasvAddress, "dray", tells, heading(drayConf, "public *=", `public = "ADDRESS"`) + reloadDray},
		{fault.IDPasvAddress, "vsftpd", tells, setting(vsftpdConf, "pasv_address", "pasv_address=ADDRESS") + restartVsftpd},
		{fault.IDPasvAddress, "proftpd", tells, setting(proftpdConf, "MasqueradeAddress", "MasqueradeAddress ADDRESS") + restartProFTPD},
		{fault.IDPasvAddress, "pure-ftpd", tells, "echo ADDRESS > /etc/pure-ftpd/conf/ForcePassiveIP" + restartPure},

		{fault.IDPool, "dray", "widen the passive range, and open it in the firewall:", heading(drayConf, "passive *=", `passive = "30000-30999"`) + reloadDray},
		{fault.IDPool, "vsftpd", "widen the passive range, and open it in the firewall:", setting(vsftpdConf, "pasv_min_port", "pasv_min_port=30000") + " && " + setting(vsftpdConf, "pasv_max_port", "pasv_max_port=30999") + restartVsftpd},
		{fault.IDPool, "proftpd", "widen the passive range, and open it in the firewall:", setting(proftpdConf, "PassivePorts", "PassivePorts 30000 30999") + restartProFTPD},
		{fault.IDPool, "pure-ftpd", "widen the passive range, and open it in the firewall:", "echo '30000 30999' > /etc/pure-ftpd/conf/PassivePortRange" + restartPure},

		{fault.IDNoDataPort, "vsftpd", "let it offer passive mode:", setting(vsftpdConf, "pasv_enable", "pasv_enable=YES") + restartVsftpd},
		{fault.IDEpsvOnly, "dray", "take PASV off the list of commands that are refused:", `sed -i '/^ *deny *=/s/"PASV" *,\{0,1\} *//' ` + drayConf + reloadDray},

		{fault.IDTLSReuse, "vsftpd", "for programs that can't, do without:", setting(vsftpdConf, "require_ssl_reuse", "require_ssl_reuse=NO") + restartVsftpd},
		{fault.IDTLSReuse, "proftpd", "for programs that can't, do without:", setting(proftpdConf, "TLSOptions", "TLSOptions NoSessionReuseRequired") + restartProFTPD},

		{fault.IDNoAnswer, "proftpd", "have it not look up the names of its clients:", setting(proftpdConf, "UseReverseDNS", "UseReverseDNS off") + restartProFTPD},

		{fault.IDWritableRoot, "vsftpd", "let the root of the account be writable:", setting(vsftpdConf, "allow_writeable_chroot", "allow_writeable_chroot=YES") + restartVsftpd},

		{fault.IDPerm, "dray", "let the account see at least what is there:", "dray user set USER --rights read-only"},
		{fault.IDQuota, "dray", "give the account more room, for example:", "dray user set USER --quota 10G"},

		{fault.IDNoSFTP, "openssh", "offer SFTP without a program of its own:", heading(sshdConf, "Subsystem *sftp", "Subsystem sftp internal-sftp") + restartSSH},
		{fault.IDSFTPNoise, "openssh", "offer SFTP without a shell, which reads no login scripts; else have them print on a terminal only:", heading(sshdConf, "Subsystem *sftp", "Subsystem sftp internal-sftp") + restartSSH},
		{fault.IDKexCipher, "openssh", "let the server offer what its version has by itself:", "sed -i -E '/^ *(KexAlgorithms|Ciphers|MACs)/d' " + sshdConf + restartSSH},
		{fault.IDHostKeyAlg, "openssh", "make a host key of a kind that is taken everywhere:", "ssh-keygen -A && sed -i -E '/^ *(HostKeyAlgorithms|HostKey)/d' " + sshdConf + restartSSH},
	}
}

// remedy puts what the administrator of this server types before what is said of all.
func (p *patient) remedy(f *Finding, ids ...fault.ID) {
	var steps []explain.Step
	for _, id := range append(ids, f.ID) {
		for _, r := range remedies() {
			if r.id == id && p.server() == r.server {
				steps = append(steps, admin(strings.NewReplacer("ADDRESS", p.reached(), "USER", quoted(p.account())).Replace(r.run), "%s", r.text))
			}
		}
	}
	f.Do = append(steps, f.Do...)
}

// quoted is a word for a shell.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// server is the program that runs there, as far as it says so.
func (p *patient) server() string {
	p.control.mu.Lock()
	said := strings.ToLower(p.control.greeting)
	p.control.mu.Unlock()
	said += strings.ToLower(p.told("server version", ""))
	if p.conn != nil && p.conn.SaysDray() {
		return "dray"
	}
	for _, word := range []string{"vsftpd", "proftpd", "pure-ftpd", "openssh", "ssh-2.0-dray"} {
		if strings.Contains(said, word) {
			return strings.TrimPrefix(word, "ssh-2.0-")
		}
	}
	return ""
}

// reached is the address at which the server was reached.
func (p *patient) reached() string {
	if p.conn != nil {
		return addrOf(p.conn).String()
	}
	return p.u.Host
}

// account is who logs in.
func (p *patient) account() string {
	switch {
	case p.ssh != nil:
		return p.ssh.User()
	case p.login.User != "":
		return p.login.User
	}
	return cmp.Or(p.u.User, p.user)
}
