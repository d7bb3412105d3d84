package explain

import "dray/fault"

// clients are the entries of what only a client meets: no server says them, so they
// have no Peer.
var clients = []Entry{

	// The way there.

	{
		ID:      fault.IDDNS,
		Means:   "The name could not be turned into an address: it is misspelt, or the resolver of this machine does not know it.",
		Confirm: "`getent hosts HOST` finds nothing either.",
		You:     "Check the spelling of the name, and whether this machine is online.",
		Admin:   "Look whether the name has an A or AAAA record.",
	},
	{
		ID:       fault.IDRefused,
		Means:    "The host itself answered that nobody listens on this port: the server is not running, listens on another port, or only on another address of the host.",
		Confirm:  "`nc -vz -w 5 HOST PORT` says \"refused\" at once. The usual ports are 21 (FTP), 990 (FTP under implicit TLS), 22 (SSH and SFTP).",
		You:      "Check the port and the protocol; `dray doctor URL` tries the usual ports of the host.",
		Admin:    "`ss -ltnp` on the server shows which program listens on which address and port. 127.0.0.1 in it is an address that nobody reaches from outside.",
		Dialects: []string{"Connection refused; ECONNREFUSED", "Windows: No connection could be made because the target machine actively refused it."},
	},
	{
		ID:       fault.IDFiltered,
		Means:    "Nothing came back, not even a refusal. A firewall that throws packets away does this, and so does a host that is switched off, or an address that is nobody's.",
		Confirm:  "`nc -vz -w 5 HOST PORT` runs into its time-out. When another port of the same host answers, the host is on and a firewall is in the way.",
		You:      "Try from another network, a phone's for one: some block FTP. Check the address that the name leads to: `getent hosts HOST`. `dray doctor URL` tells whether another port of the host answers.",
		Admin:    "Open the port in every firewall on the way: on the host (`dray firewall` prints the rules), at the cloud provider, in the router. `tcpdump -ni any tcp port PORT` on the server shows whether anything arrives.",
		Dialects: []string{"Connection timed out; ETIMEDOUT", "FTP-Deploy-Action, basic-ftp: Timeout (control socket)", "lftp: max-retries exceeded"},
	},
	{
		ID:       fault.IDRejected,
		Means:    "A router or firewall on the way, or this machine itself, said that there is no way to this address or port. That is an answer by a rule, and it came at once.",
		Confirm:  "`ip route get ADDRESS` shows the way that this machine takes; `tcptraceroute HOST PORT` how far it leads.",
		You:      "Check whether this machine is online, whether a VPN is needed, and whether it has IPv6 when the address is one.",
		Admin:    "Look for a rule that rejects (REJECT, prohibited) in the firewalls of the host and before it; `dray firewall` prints what has to be open.",
		Dialects: []string{"No route to host; EHOSTUNREACH", "Network is unreachable; ENETUNREACH"},
	},
	{
		ID:      fault.IDProxy,
		Means:   "Connections are made through a proxy here, and it refused, failed, or wants a login. The server was not reached, so nothing is known about it.",
		Confirm: "`curl -v --proxy PROXY telnet://HOST:PORT` shows what the proxy answers.",
		You:     "Check the address of the proxy and its login. Many proxies only connect to port 443: ask who runs it to allow the port of the server.",
	},

	// Trust.

	{
		ID:      fault.IDSelfSigned,
		Means:   "The server made its certificate itself. The connection would be encrypted, but only the fingerprint tells whether it leads to the server or to somebody between.",
		Confirm: "`openssl s_client -starttls ftp -connect HOST:21 </dev/null | openssl x509 -noout -fingerprint -sha256` shows the fingerprint that is offered; the same on the server's certificate file must show the same.",
		You:     "Ask the administrator for the fingerprint, by telephone for one, and compare it. Trust the certificate when they are equal.",
		Admin:   "Tell users the fingerprint, or use a certificate of a public CA for the name that they type.",
	},
	{
		ID:      fault.IDUnknownCA,
		Means:   "The certificate was issued by an authority that this machine does not know: one of a company, or somebody between who opens TLS, as some virus scanners and firewalls do.",
		Confirm: "`openssl s_client -starttls ftp -connect HOST:21 -showcerts </dev/null` shows who issued it.",
		You:     "When it is your company's own authority, install its certificate on this machine. When the issuer is a security product, ask who runs it.",
		Admin:   "Give users the certificate of your authority, or use one of a public CA.",
	},
	{
		ID:      fault.IDIncomplete,
		Means:   "The server sends its own certificate and leaves out the one of the authority between it and the root. Browsers find that by themselves, other programs do not.",
		Confirm: "`openssl s_client -starttls ftp -connect HOST:21 -showcerts </dev/null` shows one certificate, and \"unable to get local issuer certificate\".",
		You:     "Tell the administrator. What is missing can't be told from a forgery until then.",
		Admin:   "Use the file with the whole chain: with certbot that is fullchain.pem, not cert.pem. Other bundles: the server's certificate first, then the intermediate.",
	},
	{
		ID:      fault.IDExpired,
		Means:   "The days of the certificate are over, or have not begun. Either nobody renewed it, or the clock of this machine is wrong.",
		Confirm: "`openssl s_client -starttls ftp -connect HOST:21 </dev/null | openssl x509 -noout -dates` shows the days, `date` the clock here.",
		You:     "Check the clock of this machine: `timedatectl set-ntp true` sets it from the network. When it is right, tell the administrator.",
		Admin:   "Renew the certificate, then let the server load it. When it was renewed already, the server still has the old one in memory.",
	},
	{
		ID:      fault.IDCertName,
		Means:   "The certificate is for other names than the one that was asked for. Either the server has several names and you used one that is not in it, or the connection leads to another machine.",
		Confirm: "`openssl s_client -starttls ftp -connect HOST:21 </dev/null | openssl x509 -noout -ext subjectAltName` lists the names.",
		You:     "Connect by one of the names in the certificate, if they are the server's.",
		Admin:   "Have the name that users type put into the certificate. Addresses need an entry of their own.",
	},
	{
		ID:      fault.IDCertChanged,
		Means:   "The certificate that was trusted here on the first visit is not the one that is offered now. A renewed self-signed one looks like that, and so does somebody between.",
		Confirm: "`openssl s_client -starttls ftp -connect HOST:21 </dev/null | openssl x509 -noout -fingerprint -sha256` shows the new fingerprint; try it from another network too.",
		You:     "Ask the administrator whether the certificate was changed, and compare the fingerprint, before you trust the new one. Send no password until then.",
		Admin:   "Tell users before a self-signed certificate changes, or use one of a public CA, which may change freely.",
	},
	{
		ID:      fault.IDCertPin,
		Means:   "The fingerprint of the certificate was given, and the server has another one: it was renewed since, or this is not the server.",
		Confirm: "`openssl s_client -starttls ftp -connect HOST:21 </dev/null | openssl x509 -noout -fingerprint -sha256` shows what it has.",
		You:     "Ask the administrator for the fingerprint of today. A fingerprint in a script must be changed with each renewal.",
	},
	{
		ID:      fault.IDTLSFailed,
		Means:   "The two sides found no way to speak TLS: no version or cipher that both accept, a certificate of the client that is wanted, or a device between that cuts it.",
		Confirm: "`openssl s_client -starttls ftp -connect HOST:21 -tls1_2` (or `-tls1_3`, and without `-starttls ftp` on port 990) shows where it stops.",
		You:     "Try from another network. When only old versions work, the server is too old for passwords over the internet.",
		Admin:   "Offer TLS 1.2 and 1.3 with a certificate of RSA 2048 or ECDSA P-256. The log of the server has its side of the failure.",
	},
	{
		ID:      fault.IDHostKeyNew,
		Means:   "SSH knows servers by their host key, and this one was never seen here. Only its fingerprint tells whether it is the server or somebody between.",
		Confirm: "`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the server, with the file of its key, shows the fingerprint; `ssh-keyscan HOST | ssh-keygen -lf -` shows what is offered here.",
		You:     "Compare the fingerprint with the one that the administrator gives you, and trust the key when they are equal.",
		Admin:   "Tell users the fingerprints of the host keys, or publish them as SSHFP records.",
	},
	{
		ID:      fault.IDHostKeyOther,
		Means:   "The host key is not the one that was stored at an earlier visit. A server that was installed anew looks like that, an address that another machine has now, and somebody between.",
		Confirm: "`ssh-keygen -F HOST -l` shows the stored key, `ssh-keyscan HOST | ssh-keygen -lf -` the one of today; try it from another network too.",
		You:     "Ask the administrator whether the key was changed. Only then `ssh-keygen -R HOST` takes the old one out of known_hosts. Send no password until then.",
		Admin:   "Keep the host keys when a server moves or is installed anew.",
	},
	{
		ID:      fault.IDHostKeyGone,
		Means:   "Somebody marked this host key as revoked in the list of known hosts: it must not be trusted any more, whoever shows it.",
		Confirm: "`grep @revoked ~/.ssh/known_hosts /etc/ssh/ssh_known_hosts` shows the line.",
		You:     "Ask who marked it. There is no way around that is safe.",
		Admin:   "Make new host keys for the server and publish their fingerprints.",
	},
	{
		ID:      fault.IDSSHFailed,
		Means:   "The server speaks SSH, and no connection came of it: the two sides have no key exchange, cipher or kind of host key in common, or the server hung up before the login.",
		Confirm: "`ssh -v -p PORT NAME@HOST` shows where it stops; \"no matching\" names what the server has.",
		You:     "When the server offers old algorithms only, ask for an update. When it hangs up at once, wait some minutes: it may be busy, or have shut this address out.",
		Admin:   "Offer curve25519-sha256, an ed25519 or rsa-sha2 host key, and aes-gcm or aes-ctr. The log of the server says why it hung up.",
	},
	{
		ID:       fault.IDNoSFTP,
		Means:    "The login by SSH worked, but the server starts no SFTP there: it is switched off, the account has no shell that starts it (nologin says \"This account is currently not available\"), or one that prints text before SFTP begins.",
		Confirm:  "`sftp -v NAME@HOST` shows the same; `ssh NAME@HOST true` must print nothing at all.",
		You:      "Ask for SFTP, or use another protocol. When your own login script on the server prints something, let it do so only on a terminal.",
		Admin:    "OpenSSH: the line `Subsystem sftp internal-sftp` in sshd_config; for accounts without a shell `ForceCommand internal-sftp` too.",
		Dialects: []string{"OpenSSH: subsystem request failed on channel 0", "Go, rclone: ssh: subsystem request failed", "WinSCP: Cannot initialize SFTP protocol. Is the host running an SFTP server?"},
	},

	// What the server says, and when it says nothing.

	{
		ID:      fault.IDBadReply,
		Means:   "What came from the server is not what the protocol has: another service stands on this port, a device between changes the text, or the server is faulty.",
		Confirm: "`nc HOST PORT` shows the first line: 220 is FTP, SSH- is SSH and SFTP, silence is mostly TLS from the first byte.",
		You:     "Check the protocol and the port. When it worked before, try from another network, and over TLS, which nobody between can change.",
		Admin:   "The log of the server at that time tells whether the connection arrived there at all.",
	},
	{
		ID:      fault.IDNoAnswer,
		Means:   "The connection stands, a command was sent, and no answer came in time. The server is overloaded or hangs, or a firewall between dropped the connection without a word.",
		Confirm: "Connecting once more shows whether the server answers others. `ss -tno state established` here shows bytes that were sent and never acknowledged.",
		You:     "Try again. When it happens after long transfers, a router between forgets quiet connections: keep-alives, or SFTP, which has one connection for all, help.",
		Admin:   "Look at the load of the server and of its disks at that time.",
	},
	{
		ID:      fault.IDLost,
		Means:   "The connection ended before the server said so: the server stopped, the network broke, or something between cut it.",
		Confirm: "The log of the server at that time tells whether it closed the connection itself, and why.",
		You:     "Try again; what was cut can be resumed. When it always happens after the same time, a router or proxy between has a limit.",
		Admin:   "Look in the log for the end of this session. If there is none, the cut was on the way.",
	},
	{
		ID:      fault.IDServerSaysNo,
		Means:   "The server refused, with words of its own that match nothing known here. They stand in the message.",
		Confirm: "The same command by hand, in `ftp` or `sftp -v`, gets the same answer.",
		You:     "Read what the server says, and ask its administrator with these words and the time.",
		Admin:   "The log of the server has the refusal, at that time.",
	},

	// Files.

	{
		ID:      fault.IDListingCut,
		Means:   "The listing of a directory ended without the server's word that it is whole. Names may be missing, so it is not used: a mirror would delete what it does not see.",
		Confirm: "Listing the directory again gives another number of names, or ends in the same way.",
		You:     "Try again. A very large directory may run into a time limit of the server.",
		Admin:   "The log of the server at that time says why the listing ended: a time limit, a lost connection, a directory that can't be read to its end.",
	},
	{
		ID:      fault.IDShortFile,
		Means:   "The server called the transfer complete, and the number of bytes is another than the size that it told. The file is not published as finished. Somebody wrote to it in the meantime, or a transfer in text mode changed it, or bytes were lost.",
		Confirm: "List the file twice, some seconds apart: a size that changes is somebody who writes. `curl -I --ssl-reqd --user NAME ftp://HOST/PATH` asks for the size too.",
		You:     "Try again when nobody writes to the file. Use binary transfers (TYPE I).",
		Admin:   "Let programs write under another name and rename when the file is whole. Over TLS, a server that says 226 for uploads that were cut is a known fault of some: update it.",
	},
	{
		ID:      fault.IDNoDirect,
		Means:   "A copy from one FTP server to another can go straight between them (FXP): one listens, the other gets its address by PORT. Most servers refuse that, because it lets a client send them against others (the bounce attack, RFC 2577); under TLS one of them has to be the client of the handshake as well, which few can be (SSCN, CPSV). The copy goes through the machine of the client then, and is no worse for it.",
		Confirm: "The dialogue (-vv) shows which of PORT, EPRT, SSCN and CPSV was refused, or which server said 425.",
		You:     "Nothing, unless the way through this machine is too slow. --through does not ask the servers in the first place.",
		Admin:   "Both servers have to allow it, and should to few accounts only. dray: `allow = [\"FXP\"]` under `[commands]`. ProFTPD: AllowForeignAddress on, and TLSOptions NoSessionReuseRequired. vsftpd: port_promiscuous=YES and pasv_promiscuous=YES. Pure-FTPd: `-w`, or `-W` for anonymous ones too.",
		Dialects: []string{
			"vsftpd: 500 Illegal PORT command.; 425 Security: Bad IP connecting.",
			"Pure-FTPd: 500 I won't open a connection to ADDRESS (only to ADDRESS)",
		},
	},
	{
		ID:      fault.IDVerify,
		Means:   "After the transfer both sides were asked for a checksum, and they differ: the bytes were changed on the way or on a disk, or the file was changed in the meantime.",
		Confirm: "`sha256sum FILE` on both sides shows the difference.",
		You:     "Transfer the file again. Should it happen again with a file that nobody changes, look at the memory and the disks of both machines.",
		Admin:   "Look in the system log for errors of memory and disks.",
	},
	{
		ID:      fault.IDSourceMoved,
		Means:   "Size or time of the source are not what they were when the transfer began: somebody writes to it. What arrived may be half of the old and half of the new.",
		Confirm: "List the file twice, some seconds apart.",
		You:     "Wait until the file is finished, and transfer it again.",
		Admin:   "Let programs write under another name and rename when the file is whole.",
	},
	{
		ID:      fault.IDUnsafeName,
		Means:   "A name in the server's listing is not one of a file in that directory: it is \"..\", holds a slash or a control character, or this machine can't have it. Servers that mean harm send such names to write where they should not.",
		Confirm: "A listing through `cat -A` shows control characters.",
		You:     "Nothing was written under that name. Ask the administrator to rename the file, when it is an honest one.",
		Admin:   "Rename the file without slashes and control characters.",
	},
	{
		ID:      fault.IDNameClash,
		Means:   "The server tells two names apart that are one file on this machine: they differ by upper and lower case only, or by the way that accents are written. The first was kept, so that it is not overwritten by the other.",
		Confirm: "The listing of the server shows both names.",
		You:     "Rename one of them, or write to a file system that tells them apart.",
	},
	{
		ID:      fault.IDLocal,
		Means:   "A file or directory on this machine could not be read or written. The server has nothing to do with it.",
		Confirm: "`ls -ld PATH` shows owner and mode, `df PATH` the space.",
		You:     "Check the path, its permissions and the space on this machine.",
	},

	// Ends that were wanted.

	{
		ID:      fault.IDInterrupted,
		Means:   "Somebody, or the system, asked the program to stop, with Ctrl-C for one. It ended in order: what was not finished can be resumed.",
		Confirm: "The exit status of the program tells that it was interrupted.",
		You:     "Run the same command again to go on.",
	},
	{
		ID:      fault.IDMaxTime,
		Means:   "A limit of time was given for the whole run, and it is over. What was not finished can be resumed.",
		Confirm: "The time that the run took is that limit.",
		You:     "Run the same command again to go on, or give it more time.",
	},
	{
		ID:      fault.IDMaxDelete,
		Means:   "The target has more names that the source has not than may be deleted. A source that was mounted at the wrong place, or is empty by mistake, looks like that.",
		Confirm: "The same command with --dry-run lists what would be deleted.",
		You:     "Look whether the source is what you mean; then allow more with --max-delete.",
	},
}
