package explain

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dray/fault"
)

// said are texts of real programs, each with the id that it has to find first. A text
// of several lines is a log.
var said = []struct {
	id   fault.ID
	text string
}{
	// vsftpd 3.0.3.
	{fault.IDWritableRoot, "500 OOPS: vsftpd: refusing to run with writable root inside chroot()"},
	{fault.IDWritableRoot, "put: /etc/hostname: Login failed: 500 OOPS: vsftpd: refusing to run with writable root inside chroot()"},
	{fault.IDHomeMissing, "< 500 OOPS: cannot change directory:/tmp/nothere"},
	{fault.IDHomeMissing, "<--- 500 OOPS: cannot change directory:/srv/ftp/anna\n---> QUIT\nls: Login failed: 500 OOPS: cannot change directory:/srv/ftp/anna\n<--- 500 OOPS: priv_sock_get_cmd"},
	{fault.IDOopsLog, "< 500 OOPS: failed to open vsftpd log file:/nope/v.log"},
	{fault.IDVsftpdConfig, "500 OOPS: unrecognised variable in config file: nonsense_key"},
	{fault.IDVsftpdConfig, "500 OOPS: bad bool value in config file for: anon_upload_enable"},
	{fault.IDVsftpdConfig, "500 OOPS: missing value in config file for: pasv_min_port"},
	{fault.IDPortTaken, "500 OOPS: could not bind listening IPv4 socket"},
	{fault.IDVsftpdConfig, "* ftp_perform ends with SECONDARY: 0\n< 500 OOPS: invalid pasv_address\n* Bad PASV/EPSV response: 500"},
	{fault.IDSandbox, "500 OOPS: priv_sock_get_cmd"},
	{fault.IDSandbox, "500 OOPS: child died"},
	{fault.IDPool, "227 Entering Passive Mode (203,0,113,5,175,202).\n500 OOPS: vsf_sysutil_bind"},
	{fault.IDActiveBind, "500 OOPS: vsf_sysutil_bind"},
	{fault.IDPool, "500 OOPS: vsf_sysutil_bind, maximum number of attempts to find a listening port exceeded"},
	{fault.IDPool, "500 OOPS: vsf_sysutil_bind / listen"},
	{fault.IDPortTaken, "500 OOPS: could not listen"},
	{fault.IDVsftpdConfig, "500 OOPS: cannot read user list file:/etc/vsftpd.user_list"},
	{fault.IDVsftpdConfig, "500 OOPS: cannot read banner file:/etc/vsftpd/banner"},
	{fault.IDVsftpdConfig, "500 OOPS: cannot read anon e-mail list file:/etc/vsftpd.banned_emails"},
	{fault.IDVsftpdConfig, "500 OOPS: cannot read email passwords file:/etc/vsftpd.email_passwords"},
	{fault.IDVsftpdConfig, "500 OOPS: could not read chroot() list file:/etc/vsftpd.chroot_list"},
	{fault.IDVsftpdConfig, "500 OOPS: error opening per-user config file"},
	{fault.IDVsftpdConfig, "500 OOPS: SSL: cannot load RSA certificate"},
	{fault.IDVsftpdConfig, "500 OOPS: SSL: cannot load RSA private key"},
	{fault.IDVsftpdConfig, "500 OOPS: SSL: could not load verify file"},
	{fault.IDVsftpdConfig, "500 OOPS: SSL: could not set cipher list"},
	{fault.IDVsftpdConfig, "500 OOPS: vsftpd: not configured for standalone, must be started from inetd"},
	{fault.IDVsftpdConfig, "500 OOPS: vsftpd: must be started as root (see run_as_launching_user option)"},
	{fault.IDVsftpdConfig, "500 OOPS: cannot locate user entry:anna"},
	{fault.IDVsftpdConfig, "500 OOPS: unrecognise option: -foo"},
	{fault.IDVsftpdConfig, "500 OOPS: cannot resolve host:ftp.example.net"},
	{fault.IDVsftpdConfig, "500 OOPS: SSL: ssl_enable is set but SSL support not compiled in"},
	{fault.IDSandbox, "500 OOPS: vsf_sysutil_recv_peek: no data"},
	{fault.IDSandbox, "500 OOPS: priv_sock_recv_buf"},
	{fault.IDSandbox, "500 OOPS: setgroups"},
	{fault.IDWrongProto, "500 HTTP protocol commands not allowed."},
	{fault.IDWrongProto, "pure-ftpd: (?@192.0.2.7) [INFO] HTTP command: [GET]"},
	{fault.IDTLSData, "522 SSL connection failed"},
	{fault.IDProtocol, "530 Anonymous sessions may not use encryption."},
	{fault.IDBusy, "421 There are too many connected users, please try later."},
	{fault.IDBusy, `Sat Nov 21 12:00:00 2026 [pid 2] CONNECT: Client "192.0.2.7", "Connection refused: too many sessions for this address."`},
	{fault.IDNetwork, `Sat Nov 21 12:00:00 2026 [pid 2] CONNECT: Client "192.0.2.7", "Connection refused: tcp_wrappers denial."`},
	{fault.IDNetwork, "421 Service not available."},
	{fault.IDTLSFailed, "421 Negotiation failed: error:0A000126:SSL routines::"},
	{fault.IDTLSFailed, `Sat Nov 21 12:00:00 2026 [pid 2] DEBUG: Client "192.0.2.7", "SSL_accept failed: error:00000000:lib(0)::reason(0)"`},
	{fault.IDSetstat, "550 Could not set file modification time."},
	{fault.IDSetstat, "550 Could not change perms on a.txt"},
	{fault.IDNotEmpty, "550 Remove directory operation failed."},
	{fault.IDNotFound, "550 RNFR command failed."},
	{fault.IDNotFound, "550 Can't check for file existence"},
	{fault.IDPerm, "550 Rename failed."},
	{fault.IDNotFound, "550 Could not get file size."},
	{fault.IDPerm, "550 Could not get file size.\n553 Could not create file."},
	{fault.IDInternal, "451 Failure reading local file."},
	{fault.IDLineTooLong, "500 Input line too long."},
	{fault.IDUnsupported, "536 PROT not supported."},
	{fault.IDUnsupported, "500 This security scheme is not implemented"},
	{fault.IDUnknown, "500 Unknown SITE command."},
	{fault.IDSyntax, "500 SITE CHMOD needs 2 arguments."},
	{fault.IDFamily, "500 Bad EPRT protocol."},

	// The beginning of SFTP.
	{fault.IDSFTPNoise, "Received message too long 1416128883\nEnsure the remote shell produces no output for non-interactive sessions."},
	{fault.IDSFTPNoise, "Received message too long 167772161"},
	{fault.IDSFTPNoise, "Ensure the remote shell produces no output for non-interactive sessions."},
	{fault.IDSFTPNoise, "Received too large (1416128883 B) SFTP packet. Max supported packet size is 1024000 B."},
	{fault.IDSFTPNoise, "The error is typically caused by message printed from startup script (like .profile). The message may start with \"This\"."},
	{fault.IDSFTPNoise, "2026/11/21 12:37:25 Failed to create file system for \":sftp,host=127.0.0.1,port=2203,user=root:\": NewFs: couldn't initialise SFTP: packet too long"},
	{fault.IDSFTPNoise, "paramiko.sftp.SFTPError: Garbage packet received"},
	{fault.IDNoSFTP, "This account is currently not available."},
	{fault.IDNoSFTP, "subsystem request failed on channel 0\nConnection closed"},
	{fault.IDNoSFTP, "NewFs: couldn't initialise SFTP: ssh: subsystem request failed"},
	{fault.IDNoSFTP, "curl: (2) Failure initializing sftp session: Unable to request SFTP subsystem"},
	{fault.IDNoSFTP, "Cannot initialize SFTP protocol. Is the host running an SFTP server?"},
	{fault.IDNoSFTP, "sshd[812]: subsystem request for sftp by user anna failed, subsystem not found"},
	{fault.IDNoSFTP, "Request for subsystem 'sftp' failed on channel 0"},
	{fault.IDNoSFTP, "Notice: Expected SSH_FXP_VERSION in /srv/www/vendor/phpseclib/phpseclib/phpseclib/Net/SFTP.php on line 487"},
	{fault.IDNoSFTP, "paramiko.ssh_exception.ChannelException: ChannelException(1, 'Administratively prohibited')"},
	{fault.IDProtocol, "This service allows sftp connections only."},
	{fault.IDProtocol, "exec request failed on channel 0"},
	{fault.IDNotBuilt, "bash: line 1: scp: command not found"},
	{fault.IDNotBuilt, "sh: 1: scp: not found\nlost connection"},
	{fault.IDUnsafeName, "protocol error: filename does not match request"},
	{fault.IDUnsafeName, "scp: error: unexpected filename: ."},
	{fault.IDSFTPNoise, "protocol error: expected control record"},
	{fault.IDSFTPNoise, "Using username \"root\".\nFatal: unable to initialise SFTP: could not connect"},
	{fault.IDChrootOwner, "FATAL ERROR: Received unexpected end-of-file from SFTP server"},
	{fault.IDChrootOwner, `bad ownership or modes for chroot directory component "/tmp/"`},
	{fault.IDChrootOwner, "paramiko.ssh_exception.SSHException: EOF during negotiation"},
	{fault.IDChrootOwner, "NewFs: couldn't initialise SFTP: EOF"},
	{fault.IDKeysPerm, "sshd[812]: Authentication refused: bad ownership or modes for directory /home/anna"},
	{fault.IDKeysPerm, "sshd[812]: Authentication refused: bad ownership or modes for file /home/anna/.ssh/authorized_keys"},
	{fault.IDKeysPerm, "sshd[812]: Could not open user 'anna' authorized keys '/home/anna/.ssh/authorized_keys': Permission denied"},
	{fault.IDHomeMissing, `sshd[812]: fatal: Unable to chdir to chroot path "/srv/anna": No such file or directory`},
	{fault.IDHomeMissing, `sshd[812]: fatal: chroot path "/srv/anna" is not a directory`},
	{fault.IDHomeMissing, "Could not chdir to home directory /home/anna: No such file or directory"},
	{fault.IDHomeMissing, "(anna@192.0.2.7) [ERROR] Home directory not available - aborting"},
	{fault.IDHomeMissing, "530 User cannot log in, home directory inaccessible."},
	{fault.IDHomeMissing, "421 Home directory not found."},
	{fault.IDLocal, "paramiko.ssh_exception.SSHException: not a valid RSA private key file"},
	{fault.IDLocal, "paramiko.ssh_exception.PasswordRequiredException: Private key file is encrypted"},
	{fault.IDLocal, "ValueError: q must be exactly 160, 224, or 256 bits long"},
	{fault.IDLocal, "NewFs: failed to read private key file: open /home/anna/.ssh/id: no such file or directory"},
	{fault.IDLocal, "NewFs: failed to parse private key file: ssh: this private key is passphrase protected"},
	{fault.IDKeyExposed, "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @"},
	{fault.IDKeyExposed, "WARNING: UNPROTECTED PRIVATE KEY FILE!"},
	{fault.IDKeyExposed, "Permissions 0644 for 'FILE' are too open."},
	{fault.IDKeyExposed, "Permissions 0644 for '/home/x/.ssh/id_rsa' are too open.\nLoad key \"/home/x/.ssh/id_rsa\": bad permissions\nx@192.0.2.7: Permission denied (publickey)."},
	{fault.IDLocal, "Load key \"/home/x/id\": invalid format"},
	{fault.IDLocal, "Load key \"/home/x/id\": error in libcrypto\nx@192.0.2.7: Permission denied (publickey)."},
	{fault.IDLocal, "Load key \"/home/x/id\": Permission denied"},
	{fault.IDLocal, "Load key \"/home/x/id\": incorrect passphrase supplied to decrypt private key"},
	{fault.IDLocal, "Load key \"/home/x/id\": Invalid key length"},
	{fault.IDLocal, "com.jcraft.jsch.JSchException: invalid privatekey: [B@6f94fa3e"},
	{fault.IDLocal, "Unable to use key file \"id_rsa\" (OpenSSH SSH-2 private key (old PEM format))"},
	{fault.IDLocal, "Unable to load private key (PuTTY key format too new)"},
	{fault.IDLocal, "Renci.SshNet.Common.SshException: Invalid private key file."},

	// Servers that can't use their own settings.
	{fault.IDServerConfig, "proftpd[811]: fatal: unknown configuration directive 'TLSEngine' on line 12 of '/etc/proftpd/tls.conf'"},
	{fault.IDServerConfig, "proftpd[811]: fatal: unable to read configuration file '/etc/proftpd/proftpd.conf': No such file or directory"},
	{fault.IDServerConfig, "500 Sorry, no server available to handle request on 203.0.113.5"},
	{fault.IDServerConfig, "proftpd[811]: warning: unable to determine IP address of 'ftp.example.net'\nproftpd[811]: error: no valid servers configured"},
	{fault.IDServerConfig, "mod_tls/2.9.2[811]: error checking key from TLSRSACertificateKeyFile '/etc/ssl/ftp.key': (1) error:05800074:x509 certificate routines::key values mismatch"},
	{fault.IDServerConfig, "proftpd[811]: error opening scoreboard: No such file or directory"},
	{fault.IDServerConfig, "proftpd[1234]: Fatal: LoadModule: error loading module 'mod_radius.c': Operation not permitted on line 9 of '/etc/proftpd/proftpd.conf'"},
	{fault.IDPortTaken, "proftpd[811]: Check to see if inetd/xinetd, or another proftpd instance, is already using 0.0.0.0, port 21"},
	{fault.IDServerConfig, "proftpd[811]: unable to open TransferLog '/var/log/proftpd/xferlog': No such file or directory"},
	{fault.IDKeyExposed, "mod_sftp/1.1.1: unable to use '/etc/ssh/ssh_host_rsa_key' as host key, as it is group- or world-accessible"},
	{fault.IDServerConfig, "mod_sftp/1.1.1[811]: no available host keys, unable to handle session"},
	{fault.IDServerConfig, "mod_sftp/1.1.1: Server 'ftp': cannot support both FTPS (TLSEngine on) and SFTP (SFTPEngine on) for the same host"},
	{fault.IDPortTaken, "pure-ftpd: (?@?) [ERROR] Unable to start a standalone server: [Address already in use]"},
	{fault.IDLowPort, "pure-ftpd: (?@?) [ERROR] Unable to start a standalone server: [Permission denied]"},
	{fault.IDServerConfig, "421 Configuration error: Illegal ports range: 30000:"},
	{fault.IDServerConfig, "421 Unknown run-time option"},
	{fault.IDServerConfig, "Unable to open [/etc/pure-ftpd/pureftpd.conf]: No such file or directory"},
	{fault.IDServerConfig, "421 Unable to read the indexed puredb file (or old format detected) - Try pure-pw mkdb"},
	{fault.IDServerConfig, "/etc/pure-ftpd.conf:12:1: property not found line 12: [Foo yes]."},
	{fault.IDServerConfig, "421 Unable to switch capabilities : Operation not permitted"},
	{fault.IDServerConfig, "pure-ftpd: (?@192.0.2.7) [ERROR] Unable to read the indexed puredb file (or old format detected) - Try pure-pw mkdb"},
	{fault.IDServerConfig, "pure-ftpd: (?@192.0.2.7) [ERROR] SSL/TLS [/etc/ssl/private/pure-ftpd.pem]: error:0200100D:system library:fopen:Permission denied"},
	{fault.IDKeyExposed, "sshd[812]: error: Unable to load host key \"/etc/ssh/ssh_host_rsa_key\": bad permissions"},
	{fault.IDServerConfig, "sshd: no hostkeys available -- exiting."},
	{fault.IDServerConfig, "sshd[812]: error: Could not load host key: /etc/ssh/ssh_host_ed25519_key"},
	{fault.IDServerConfig, "Missing privilege separation directory: /run/sshd"},
	{fault.IDServerConfig, "/var/empty must be owned by root and not group or world-writable."},
	{fault.IDServerConfig, "/etc/ssh/sshd_config: line 12: Bad configuration option: PermitRootLogni\n/etc/ssh/sshd_config: terminating, 1 bad configuration options"},
	{fault.IDServerConfig, "/etc/ssh/sshd_config line 115: Directive 'Subsystem' is not allowed within a Match block"},
	{fault.IDLocal, "Bad owner or permissions on /home/anna/.ssh/config"},
	{fault.IDLocal, "/home/anna/.ssh/config: line 3: Bad configuration option: usekeychain\n/home/anna/.ssh/config: terminating, 1 bad configuration options"},
	{fault.IDLocal, "command-line: line 0: Bad configuration option: HostKeyAlgoritms"},
	{fault.IDLocal, "Warning: Identity file /home/anna/.ssh/id_foo not accessible: No such file or directory.\nanna@192.0.2.7: Permission denied (publickey)."},
	{fault.IDHomeMissing, "proftpd[811]: chroot to '/srv/anna' failed for user 'anna': No such file or directory"},
	{fault.IDHomeMissing, "proftpd[811]: notice: unable to use DefaultRoot /srv/anna (resolved to '/srv/anna'): No such file or directory"},
	{fault.IDHomeMissing, "proftpd[811]: anna chdir(\"/home/anna\"): No such file or directory"},
	{fault.IDHomeMissing, "530 Unable to set anonymous privileges."},
	{fault.IDHomeMissing, "421 Unable to set up a secure chroot() jail"},
	{fault.IDHomeMissing, "421 Can't change directory to /home/anna/ [/]"},
	{fault.IDHomeMissing, "421 Unable to set up secure anonymous FTP"},
	// SSH before the login.
	{fault.IDHostKeyAlg, "Unable to negotiate with 127.0.0.1 port 2204: no matching host key type found. Their offer: ssh-rsa"},
	{fault.IDHostKeyAlg, "Bad server host key: Invalid key length"},
	{fault.IDHostKeyAlg, "ssh_dispatch_run_fatal: Connection to 192.0.2.7 port 22: Invalid key length"},
	{fault.IDHostKeyAlg, "ssh: handshake failed: ssh: no common algorithm for host key; client offered: [ssh-ed25519], server offered: [ssh-rsa ssh-dss]"},
	{fault.IDHostKeyAlg, "paramiko.ssh_exception.IncompatiblePeer: Incompatible ssh peer (no acceptable host key)"},
	{fault.IDHostKeyAlg, "FATAL ERROR: Couldn't agree a host key algorithm (available: ssh-dss)"},
	{fault.IDHostKeyAlg, "The first host key type we have stored for this server is ssh-dss, which is below the configured warning threshold."},
	{fault.IDKexCipher, "The first key-exchange algorithm supported by the server is diffie-hellman-group1-sha1, which is below the configured warning threshold."},
	{fault.IDHostKeyAlg, "mod_sftp/1.1.1[811]: no shared server hostkey algorithm found (client sent 'ssh-dss', server sent 'ssh-ed25519'"},
	{fault.IDHostKeyAlg, "phpseclib3\\Exception\\NoSupportedAlgorithmsException: No compatible server host key algorithms found"},
	{fault.IDKexCipher, "phpseclib3\\Exception\\NoSupportedAlgorithmsException: No compatible key exchange algorithms found"},
	{fault.IDKexCipher, "Renci.SshNet.Common.SshConnectionException: Key exchange negotiation failed."},
	{fault.IDHostKeyAlg, "curl: (2) Failure establishing ssh session: -5, Unable to exchange encryption keys"},
	{fault.IDKexCipher, "Unable to negotiate with 127.0.0.1 port 2205: no matching key exchange method found. Their offer: diffie-hellman-group1-sha1,kex-strict-s-v00@openssh.com"},
	{fault.IDKexCipher, "Unable to negotiate with 127.0.0.1 port 2206: no matching cipher found. Their offer: 3des-cbc"},
	{fault.IDKexCipher, "Unable to negotiate with 127.0.0.1 port 2212: no matching MAC found. Their offer: hmac-md5"},
	{fault.IDKexCipher, "ssh_dispatch_run_fatal: Connection to 192.0.2.7 port 22: DH GEX group out of range"},
	{fault.IDKexCipher, "couldn't connect SSH: ssh: handshake failed: ssh: no common algorithm for key exchange; client offered: [curve25519-sha256], server offered: [diffie-hellman-group1-sha1]"},
	{fault.IDKexCipher, "ssh: handshake failed: ssh: no common algorithm for client to server cipher; client offered: [aes128-gcm@openssh.com], server offered: [3des-cbc]"},
	{fault.IDKexCipher, "paramiko.ssh_exception.IncompatiblePeer: Incompatible ssh peer (no acceptable kex algorithm)"},
	{fault.IDKexCipher, "FATAL ERROR: Couldn't agree a key exchange algorithm (available: curve25519-sha256)"},
	{fault.IDKexCipher, "mod_sftp/1.1.1[811]: no shared key exchange algorithm found (client sent 'diffie-hellman-group1-sha1', server sent 'curve25519-sha256')"},
	{fault.IDKexCipher, "mod_sftp/1.1.1[811]: no shared client-to-server encryption algorithm found (client sent 'aes128-cbc', server sent 'aes256-ctr')"},
	{fault.IDKexCipher, "com.jcraft.jsch.JSchException: Algorithm negotiation fail"},
	{fault.IDKexCipher, "Error: Handshake failed: no matching key exchange algorithm"},
	{fault.IDUserKeySHA1, "userauth_pubkey: signature algorithm rsa-sha2-512 not in PubkeyAcceptedAlgorithms [preauth]"},
	{fault.IDUserKeySHA1, "userauth_pubkey: key type ssh-rsa not in PubkeyAcceptedKeyTypes [preauth]"},
	{fault.IDUserKeySHA1, "debug1: send_pubkey_test: no mutual signature algorithm"},
	{fault.IDUserKeySHA1, "sign_and_send_pubkey: signing failed for RSA \"/home/anna/.ssh/id_rsa\": error in libcrypto"},
	{fault.IDAuth, "sign_and_send_pubkey: signing failed for ED25519 \"/home/anna/.ssh/id_ed25519\" from agent: agent refused operation"},
	{fault.IDUserKeySHA1, "Refusing RSA key because client uses unsafe signature scheme"},
	{fault.IDTooManyAuth, "Received disconnect from 127.0.0.1 port 2201:2: Too many authentication failures\nDisconnected from 127.0.0.1 port 2201\nConnection closed"},
	{fault.IDTooManyAuth, "maximum authentication attempts exceeded for root from 127.0.0.1 port 49216 ssh2 [preauth]"},
	{fault.IDPQWarning, "** WARNING: connection is not using a post-quantum key exchange algorithm.\n** This session may be vulnerable to \"store now, decrypt later\" attacks."},
	{fault.IDHostKeyGone, "@       WARNING: REVOKED HOST KEY DETECTED!               @"},
	{fault.IDHostKeyOther, "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed."},
	{fault.IDHostKeyOther, "Host key for [127.0.0.1]:2201 has changed and you have requested strict checking.\nHost key verification failed."},
	{fault.IDHostKeyOther, "Warning: the ECDSA host key for 'sftp.example.net' differs from the key for the IP address '192.0.2.7'"},
	{fault.IDHostKeyOther, "WARNING - POTENTIAL SECURITY BREACH!"},
	{fault.IDHostKeyOther, "FATAL ERROR: Host key not in manually configured list"},
	{fault.IDHostKeyOther, "ssh: handshake failed: knownhosts: key mismatch"},
	{fault.IDHostKeyOther, "couldn't connect SSH: ssh: handshake failed: host key mismatch"},
	{fault.IDHostKeyOther, "paramiko.ssh_exception.BadHostKeyException: Host key for server '192.0.2.7' does not match: got 'AAAA', expected 'BBBB'"},
	{fault.IDHostKeyOther, "curl: (60) SSL peer certificate or SSH remote key was not OK"},
	{fault.IDHostKeyOther, "com.jcraft.jsch.JSchException: HostKey has been changed: 192.0.2.7"},
	{fault.IDHostKeyOther, "Host key verification failed."},
	{fault.IDHostKeyNew, "No ED25519 host key is known for [127.0.0.1]:2201 and you have requested strict checking.\nHost key verification failed."},
	{fault.IDHostKeyNew, "The authenticity of host 'sftp.example.net (192.0.2.7)' can't be established."},
	{fault.IDHostKeyNew, "ssh: handshake failed: knownhosts: key is unknown"},
	{fault.IDHostKeyNew, "paramiko.ssh_exception.SSHException: No hostkey for host sftp.example.net found."},
	{fault.IDHostKeyNew, "paramiko.ssh_exception.SSHException: Server 'sftp.example.net' not found in known_hosts"},
	{fault.IDHostKeyNew, "The server's host key is not cached. You have no guarantee that the server is the computer you think it is."},
	{fault.IDHostKeyNew, "com.jcraft.jsch.JSchException: UnknownHostKey: 192.0.2.7. RSA key fingerprint is 12:34"},

	// Bytes of another protocol.
	{fault.IDWrongProto, "Response:\tSSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\nError:\tCannot establish FTP connection to an SFTP server. Please select proper protocol.\nError:\tCritical error: Could not connect to server"},
	{fault.IDWrongProto, "* Connected to 127.0.0.1 (127.0.0.1) port 2201 (#0)\n< SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\n* Operation timed out after 3000 milliseconds with 0 bytes received\n* Closing connection 0\ncurl: (28) Operation timed out after 3000 milliseconds with 0 bytes received"},
	{fault.IDWrongProto, "---- Connecting to 127.0.0.1 (127.0.0.1) port 2201\n<--- SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\n**** Timeout - reconnecting\n---- Closing control socket\nls: Fatal error: max-retries exceeded"},
	{fault.IDWrongProto, "Invalid reply: \"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\""},
	{fault.IDWrongProto, "ftplib.error_proto: SSH-2.0-OpenSSH_9.2p1"},
	{fault.IDWrongProto, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10"},
	{fault.IDWrongProto, "debug1: kex_exchange_identification: banner line 0: 220 (vsFTPd 3.0.3)"},
	{fault.IDWrongProto, "debug1: kex_exchange_identification: banner line 0: HTTP/1.1 400 Bad Request"},
	{fault.IDWrongProto, `error: kex_exchange_identification: client sent invalid protocol identifier "USER anonymous"`},
	{fault.IDWrongProto, `error: kex_exchange_identification: client sent invalid protocol identifier "GET / HTTP/1.1"`},
	{fault.IDWrongProto, `sshd[812]: Bad protocol version identification 'MGLNDD_203.0.113.5_22' from 192.0.2.7 port 51234`},
	{fault.IDWrongProto, `sshd[812]: error: kex_exchange_identification: client sent invalid protocol identifier "MGLNDD_203.0.113.5_22"`},
	{fault.IDWrongProto, `Bad protocol version identification '\026\003\001' from 192.0.2.7 port 51234`},
	{fault.IDWrongProto, "16 03 01 02 00 01 00 01 fc 03 03"},
	{fault.IDWrongProto, `b'\x16\x03\x01\x02\x00\x01'`},
	{fault.IDWrongProto, "\x16\x03\x01\x02"},
	{fault.IDWrongProto, "15 03 01 00 02 02 46"},
	{fault.IDWrongProto, "00000000: 1503 0300 0202 28                        ......("},
	{fault.IDWrongProto, "00000000  53 53 48 2d 32 2e 30 2d  4f 70 65 6e 53 53 48 5f  |SSH-2.0-OpenSSH_|"},
	{fault.IDWrongProto, "00000000  32 32 30 20 28 76 73 46  54 50 64 20 33 2e 30 2e  |220 (vsFTPd 3.0.|"},
	{fault.IDPlainInTLS, "00000000  35 30 30 20 4f 4f 50 53  3a 20 63 61 6e 6e 6f 74  |500 OOPS: cannot|"},
	{fault.IDWrongProto, "00000000: 4854 5450 2f31 2e31 2034 3030 2042 6164  HTTP/1.1 400 Bad"},
	{fault.IDProxy, "curl: (56) Received HTTP code 407 from proxy after CONNECT"},
	{fault.IDProxy, "curl: (56) CONNECT tunnel failed, response 403"},
	{fault.IDProxy, "curl: (5) Could not resolve proxy: proxy.example.net"},
	{fault.IDProxy, "curl: (97) Can't complete SOCKS5 connection to ftp.example.net. (1)"},
	{fault.IDWrongProto, "HTTP/1.1 400 Bad Request"},
	{fault.IDWrongProto, "220 mail.example.net ESMTP Postfix"},
	{fault.IDWrongProto, "<--- +OK Dovecot ready."},
	{fault.IDWrongProto, "* OK [CAPABILITY IMAP4rev1 SASL-IR LOGIN-REFERRALS] Dovecot ready."},
	{fault.IDWrongProto, "Connection timed out during banner exchange\nConnection to 127.0.0.1 port 2101 timed out"},
	{fault.IDWrongProto, "kex_exchange_identification: banner line contains invalid characters"},
	{fault.IDWrongProto, "paramiko.ssh_exception.SSHException: Error reading SSH protocol banner"},
	{fault.IDWrongProto, "Renci.SshNet.Common.SshOperationTimeoutException: Socket read operation has timed out after 30000 milliseconds."},
	{fault.IDWrongProto, "Server response does not contain SSH protocol identification."},
	{fault.IDWrongProto, "Error: Timed out while waiting for handshake"},
	{fault.IDWrongProto, "couldn't connect SSH: ssh: handshake failed: ssh: overflow reading version string"},
	{fault.IDWrongProto, "curl: (2) Failure establishing ssh session: -13, Failed getting banner"},
	{fault.IDSSHFailed, "Bad packet length 1349676916."},
	{fault.IDSSHFailed, "curl: (2) Failure establishing ssh session: -18, Failed"},
	{fault.IDSSHFailed, "paramiko.ssh_exception.SSHException: Key-exchange timed out waiting for key negotiation"},
	{fault.IDSSHFailed, "paramiko.ssh_exception.SSHException: No existing session"},
	{fault.IDSSHFailed, "ssh: handshake failed: ssh: invalid packet length, packet too large"},
	{fault.IDSSHFailed, "com.jcraft.jsch.JSchException: verify: false"},
	{fault.IDLost, "Corrupted MAC on input.\nDisconnecting 192.0.2.7 port 22: Packet corrupt"},
	{fault.IDLost, "ssh_dispatch_run_fatal: Connection to 192.0.2.7 port 22: message authentication code incorrect"},
	{fault.IDSSHFailed, "ssh_dispatch_run_fatal: Connection to 192.0.2.7 port 22: incorrect signature"},

	// SSH that was hung up on.
	{fault.IDSSHDropped, "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 127.0.0.1 port 2208\nConnection closed"},
	{fault.IDSSHDropped, "kex_exchange_identification: Connection closed by remote host\nConnection closed by 127.0.0.1 port 48330"},
	{fault.IDSSHDropped, "drop connection #1 from [127.0.0.1]:53976 on [127.0.0.1]:2208 past MaxStartups"},
	{fault.IDSSHDropped, "sshd[812]: refused connect from 192.0.2.7 (192.0.2.7)"},
	{fault.IDSSHDropped, "FATAL ERROR: Remote side unexpectedly closed network connection"},
	{fault.IDSSHDropped, "Server unexpectedly closed network connection."},
	{fault.IDSSHDropped, "com.jcraft.jsch.JSchException: connection is closed by foreign host"},
	{fault.IDSSHDropped, "couldn't connect SSH: ssh: handshake failed: read tcp 127.0.0.1:41902->127.0.0.1:2208: read: connection reset by peer"},

	// TLS on data connections.
	{fault.IDTLSReuse, "ftplib.error_perm: 522 SSL connection failed: session reuse required"},
	{fault.IDTLSReuse, "* 425 Unable to build data connection: TLS session of data connection not resumed."},
	{fault.IDTLSReuse, "450 TLS session of data connection has not resumed or the session does not match the control connection"},
	{fault.IDTLSReuse, "mod_tls/2.9.2[28343]: Client did not reuse TLS session from control channel, rejecting data connection (see the NoSessionReuseRequired TLSOptions parameter)"},
	{fault.IDTLSReuse, "425 Unable to build data connection: Operation not permitted"},
	{fault.IDTLSReuse, "message=\"TLS session for the data connection was not resumed from the control connection.\""},
	{fault.IDTLSReuse, "FTPS server rejects new SSL sessions in the data connection."},
	{fault.IDTLSData, "Server does not want to resume the SSL session. Trying with a new one.\nCould not perform SSL handshake."},
	{fault.IDProtRequired, "522 Data connections must be encrypted."},
	{fault.IDProtRequired, "522 SSL/TLS required on the data channel"},
	{fault.IDProtRequired, "521 Data connection cannot be opened with this PROT setting"},
	{fault.IDProtRequired, "534 Unwilling to accept security parameters"},
	{fault.IDTLSData, "mod_tls/2.9.2[811]: unable to open data connection: TLS negotiation failed"},
	{fault.IDTLSNoClose, "Command:\tMLSD\nResponse:\t150 Opening data connection.\nError:\tGnuTLS error -110 in gnutls_record_recv: The TLS connection was non-properly terminated.\nStatus:\tServer did not properly shut down TLS connection\nError:\tCould not read from transfer socket: ECONNABORTED - Connection aborted\nResponse:\t226 Closing data connection.\nError:\tFailed to retrieve directory listing"},
	{fault.IDTLSFailed, "curl: (35) gnutls_handshake() failed: The TLS connection was non-properly terminated."},
	{fault.IDTLSNoClose, "Status:\tServer did not properly shut down TLS connection"},
	{fault.IDTLSNoClose, "OSError: [Errno 0] Error"},
	{fault.IDTLSNoClose, "Error:\tCould not read from transfer socket: ECONNABORTED - Connection aborted"},
	{fault.IDTLSNoClose, "DEBUG: Client \"192.0.2.7\", \" connection terminated without SSL shutdown. Buggy client! Integrity of upload cannot be asserted.\""},
	{fault.IDTLSNoClose, "< 229 Entering Extended Passive Mode (|||41007|)\n* OpenSSL SSL_read: OpenSSL/3.0.22: error:0A000126:SSL routines::unexpected eof while reading, errno 0"},
	{fault.IDTLSNoClose, "425 Error while transfering data: ECONNABORTED - Connection aborted."},
	{fault.IDTLS13Loss, "< 234 Proceed with negotiation.\n> STOR big.bin\n< 150 Ok to send data.\n< 426 Failure reading network stream."},
	{fault.IDTLS13Loss, "< 234 AUTH TLS successful\n> STOR big.bin\n< 150 Opening BINARY mode data connection for big.bin\n< 450 Transfer aborted. Link to file server lost"},
	{fault.IDTLS13Loss, "Error [ERR_STREAM_PREMATURE_CLOSE]: Premature close"},
	{fault.IDTLS13Loss, "* SSL connection using TLSv1.3 / TLS_AES_256_GCM_SHA384\n> STOR big.bin\ncurl: (55) Send failure: Connection reset by peer"},
	{fault.IDTLS13Loss, "> AUTH TLS\n< 234 AUTH TLS successful\n> STOR big.bin\n< 426 Data connection reset by peer"},
	{fault.IDTLS13Loss, "426 Failure reading network stream."},
	{fault.IDUploadCut, "426 Transfer aborted. Link to file server lost"},

	// Text where TLS should be, and TLS where text should be.
	{fault.IDPlainInTLS, "tls: received record with version 3030 when expecting version 304"},
	{fault.IDWrongProto, "tls: oversized record received with length 20527"},
	{fault.IDPlainInTLS, "tls: oversized record received with length 8271"},
	{fault.IDPlainInTLS, "< 234 Proceed with negotiation.\n> USER anonymous\n< 331 Please specify the password.\n* OpenSSL SSL_read: OpenSSL/3.0.22: error:0A00010B:SSL routines::wrong version number, errno 0\ncurl: (56) OpenSSL SSL_read: OpenSSL/3.0.22: error:0A00010B:SSL routines::wrong version number, errno 0"},
	{fault.IDPlainInTLS, "< 234 Proceed with negotiation.\nssl.SSLError: [SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:2580)"},
	{fault.IDImplicitTLS, "curl: (35) OpenSSL/3.0.22: error:0A00010B:SSL routines::wrong version number"},
	{fault.IDImplicitTLS, "ls: Fatal error: gnutls_handshake: An unexpected TLS packet was received."},
	{fault.IDImplicitTLS, "Error:\tGnuTLS error -15: An unexpected TLS packet was received."},
	{fault.IDImplicitTLS, "failed to make FTP connection to \"127.0.0.1:2101\": tls: first record does not look like a TLS handshake"},
	{fault.IDImplicitTLS, "220 This port speaks TLS from the first byte."},
	{fault.IDImplicitTLS, "javax.net.ssl.SSLException: Unsupported or unrecognized SSL message"},
	{fault.IDPlainInTLS, "234 AUTH TLS OK.\njavax.net.ssl.SSLException: Unrecognized SSL message, plaintext connection?"},
	{fault.IDPlainInTLS, "record with version 3030"},
	{fault.IDTLSFailed, "curl: (35) error:0A000126:SSL routines::unexpected eof while reading"},
	{fault.IDTLSNoClose, "curl: (56) OpenSSL SSL_read: error:0A000126:SSL routines::unexpected eof while reading, errno 0"},
	{fault.IDTLSFailed, "curl: (35) OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to ftp.example.net:990"},
	{fault.IDTLSFailed, "curl: (35) error:0A000438:SSL routines::tlsv1 alert internal error"},
	{fault.IDTLSFailed, "Unable to establish SSL connection."},
	{fault.IDTLSNoClose, "SSL routines::unexpected eof while reading"},
	{fault.IDTLSData, "*resp* '227 Entering Passive Mode (203,0,113,5,175,202).'\nssl.SSLEOFError: EOF occurred in violation of protocol (_ssl.c:1006)"},
	{fault.IDTLSFailed, "ssl.SSLEOFError: EOF occurred in violation of protocol (_ssl.c:1006)"},
	{fault.IDTLSNoClose, "ssl.SSLEOFError: EOF occurred in violation of protocol (_ssl.c:2406)"},
	{fault.IDALG, "mod_tls/2.9.2[28343]: unable to accept TLS connection: client did not begin it: usually this indicates an FTP-aware router, NAT, or firewall interfering with the TLS handshake"},
	{fault.IDALG, "Communication tainted by router or firewall"},
	{fault.IDALG, "< 220 ready.\n> AUTH TLS\ncurl: (35) OpenSSL SSL_connect: Connection reset by peer in connection to ftp.example.net:21"},

	// Certificates.
	{fault.IDExpired, "curl: (60) SSL certificate problem: certificate is not yet valid"},
	{fault.IDExpired, "The certificate chain uses not yet valid certificate."},
	{fault.IDExpired, "x509: certificate has expired or is not yet valid: current time 2001-01-01T00:00:12Z is before 2026-05-01T00:00:00Z; not yet valid: current time 2001-01-01T00:00:12Z is before 2026-05-01T00:00:00Z"},
	{fault.IDExpired, "curl: (60) SSL certificate problem: certificate has expired"},
	{fault.IDExpired, "x509: certificate has expired or is not yet valid: current time 2026-11-21T12:00:00Z is after 2026-05-01T00:00:00Z"},
	{fault.IDExpired, "The certificate chain uses expired certificate."},
	{fault.IDCertName, "curl: (60) SSL: no alternative certificate subject name matches target host name 'localhost'"},
	{fault.IDCertName, "x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs"},
	{fault.IDExpired, "ERROR: The certificate of 'ftp.example.net' has expired."},
	{fault.IDCertName, "The certificate's owner does not match hostname 'ftp.example.net'"},
	{fault.IDCertName, "ERROR: no certificate subject alternative name matches\n\trequested host name 'ftp.example.net'."},
	{fault.IDCertName, "certificate verify failed: IP address mismatch, certificate is not valid for '192.0.2.7'. (_ssl.c:1006)"},
	{fault.IDIncomplete, "ERROR: cannot verify ftp.example.net's certificate, issued by 'CN=R3':\n  Unable to locally verify the issuer's authority."},
	{fault.IDSelfSigned, "ERROR: cannot verify ftp.example.net's certificate, issued by 'CN=ftp':\n  Self-signed certificate encountered."},
	{fault.IDUnknownCA, "ERROR: The certificate of 'ftp.example.net' is not trusted."},
	{fault.IDCertName, "x509: certificate is valid for other.example, not localhost"},
	{fault.IDCertName, "ls: Fatal error: Certificate verification: certificate common name doesn't match requested host name 'ftp.example.net'"},
	{fault.IDCertName, "Error [ERR_TLS_CERT_ALTNAME_INVALID]: Hostname/IP does not match certificate's altnames"},
	{fault.IDCertName, "Certificate was not issued for this server. You might be connecting to a server that is pretending to be \"ftp.example.net\"."},
	{fault.IDIncomplete, "curl: (60) SSL certificate problem: unable to get local issuer certificate"},
	{fault.IDIncomplete, "Error: unable to verify the first certificate"},
	{fault.IDSelfSigned, "curl: (60) SSL certificate problem: self-signed certificate"},
	{fault.IDSelfSigned, "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006)"},
	{fault.IDUnknownCA, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
	{fault.IDUnknownCA, "ls: Fatal error: Certificate verification: Not trusted (A6:5D:2B:40)"},
	{fault.IDUnknownCA, "curl: (60) server certificate verification failed. CAfile: none CRLfile: none"},
	{fault.IDUnknownCA, "sun.security.validator.ValidatorException: PKIX path building failed: unable to find valid certification path to requested target"},
	{fault.IDCertPin, "curl: (90) SSL: public key does not match pinned public key"},
	{fault.IDTLSVersion, "error:0A00042E:SSL routines::tlsv1 alert protocol version"},
	{fault.IDTLSVersion, "error:0A000102:SSL routines::unsupported protocol"},
	{fault.IDTLSVersion, "tls: client offered only unsupported versions: [302 301]"},
	{fault.IDTLSVersion, "remote error: tls: protocol version not supported"},
	{fault.IDTLSVersion, "A packet with illegal or unsupported version was received."},
	{fault.IDTLSVersion, "tls: no cipher suite supported by both client and server"},
	{fault.IDTLSVersion, "error:0A0000C1:SSL routines::no shared cipher"},
	{fault.IDTLSVersion, "error:0A000410:SSL routines::sslv3 alert handshake failure"},
	{fault.IDTLSVersion, "unable to accept TLS connection: protocol error:   (1) error:0A000076:SSL routines::no suitable signature algorithm"},
	{fault.IDTLSFailed, "mod_tls/2.9.2[811]: TLS/TLS-C negotiation failed on control channel"},
	{fault.IDTLSFailed, "421 TLS handshake failed"},
	{fault.IDTLSFailed, "mod_tls/2.9.2[811]: TLS negotiation timed out (300 seconds)"},
	{fault.IDTLSVersion, "534 TLS: Cipher too weak"},
	{fault.IDTLSFailed, "400 Missing certificate"},
	{fault.IDTLSVersion, "ls: Fatal error: gnutls_handshake: A TLS fatal alert has been received."},
	{fault.IDTLSFailed, "remote error: tls: certificate required"},
	{fault.IDTLSFailed, "ssl.SSLError: [SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert internal error (_ssl.c:1006)"},
	{fault.IDUnknownCA, "remote error: tls: bad certificate"},
	{fault.IDUnknownCA, "SSL_accept failed: error:0A000416:SSL routines::sslv3 alert certificate unknown"},
	{fault.IDCertName, "tls: failed to verify certificate: x509: certificate relies on legacy Common Name field, use SANs instead"},
	{fault.IDTLSFailed, "System.Security.Authentication.AuthenticationException: Authentication failed, see inner exception."},
	{fault.IDTLSVersion, "javax.net.ssl.SSLHandshakeException: No appropriate protocol (protocol is disabled or cipher suites are inappropriate)"},
	{fault.IDTLSFailed, "javax.net.ssl.SSLHandshakeException: Remote host terminated the handshake"},
	{fault.IDTLSFailed, "Error:\tGnuTLS error -48 in gnutls_handshake: Key usage violation in certificate has been detected."},
	{fault.IDTLSMissing, "curl: (64) Requested SSL level failed"},
	{fault.IDTLSMissing, "Server does not support AUTH TLS."},
	{fault.IDImplicitTLS, "Server does not like implicit FTPS connections."},
	{fault.IDTLSMissing, "ls: Fatal error: ftp:ssl-force is set and server does not support or allow SSL"},
	{fault.IDTLSMissing, "This server does not support FTP over TLS."},
	{fault.IDTLSMissing, "534 Local policy on server does not allow TLS secure connections."},
	{fault.IDTLSMissing, "Status:\tInsecure server, it does not support FTP over TLS."},
	{fault.IDTLSMissing, "500 AUTH not understood"},
	{fault.IDTLSMissing, "502 AUTH command not implemented."},
	{fault.IDTLSMissing, "504 AUTH TLS not supported"},
	{fault.IDTLSMissing, "503 PBSZ needs a secure connection."},
	{fault.IDTLSMissing, "> AUTH TLS\n< 530 Please login with USER and PASS."},
	{fault.IDAuth, "Command:\tAUTH TLS\nResponse:\t530 Please login with USER and PASS.\nStatus:\tInsecure server, it does not support FTP over TLS.\nCommand:\tUSER anna\nResponse:\t331 Please specify the password.\nCommand:\tPASS ****\nResponse:\t530 Login incorrect.\nError:\tCritical error: Could not connect to server"},
	{fault.IDTLSActive, "503 Already using TLS."},

	// Data that came slowly, or not to its end.
	{fault.IDStall, "curl: (28) Operation timed out after 10000 milliseconds with 5120 out of 10240 bytes received"},
	{fault.IDStall, "Remote write timed out after 1024 bytes had been sent."},
	{fault.IDStall, "curl: (28) Operation too slow. Less than 1000 bytes/sec transferred the last 10 seconds"},
	// Passive and active mode.
	{fault.IDPasvAddress, "Status:\tServer sent passive reply with unroutable address. Using server address instead."},
	{fault.IDPasvAddress, "Server sent passive reply with unroutable address 172.25.0.1, using host address\ninstead."},
	{fault.IDPasvAddress, "<--- 227 Entering Passive Mode (10,1,2,3,118,226).\n---- Address returned by PASV seemed to be incorrect and has been fixed"},
	{fault.IDPasvAddress, "Fixing bogus PASV data address from 10.1.2.3:30434 to 203.0.113.5:30434."},
	{fault.IDPasvAddress, "* Skip 10.1.2.3 for data connection, re-use 203.0.113.5 instead"},
	{fault.IDPasvAddress, "Response:\t227 Entering Passive Mode (192,168,0,39,47,39)"},
	{fault.IDPasvAddress, "227 Entering Passive Mode (0,0,0,0,117,58)."},
	{fault.IDPasvAddress, "Status:\tConnecting to 203.0.113.5:21...\nResponse:\t220 (vsFTPd 3.0.3)\nCommand:\tPASV\nResponse:\t227 Entering Passive Mode (172,19,0,4,78,32).\nCommand:\tLIST\nError:\tConnection timed out\nError:\tFailed to retrieve directory listing"},
	{fault.IDDataPeer, "425 Security: Bad IP connecting."},
	{fault.IDDataPeer, "SECURITY VIOLATION: Passive connection from foreign IP address 198.51.100.7 rejected (does not match client IP address 192.0.2.7)."},
	{fault.IDDataPeer, "Data connection peer has mismatching address"},
	{fault.IDDataPeer, "**** Data connection peer has wrong port number"},
	{fault.IDDataPeer, "Data connection from 192.0.2.7:1 did not originate from remote server 192.0.2.8:21!"},
	{fault.IDDataPeer, "java.io.IOException: Host attempting data connection 10.0.0.1 is not same as server 10.0.0.2"},
	{fault.IDPasvAddress, "227 Entering Passive Mode (203,0,113,5,175,202)\njava.io.IOException: Host attempting data connection 203.0.113.5 is not same as server 203.0.113.6"},
	{fault.IDIllegalPort, "ftplib.error_perm: 500 Illegal PORT command."},
	{fault.IDIllegalPort, "500 I won't open a connection to 10.0.0.7 (only to 203.0.113.9)"},
	{fault.IDIllegalPort, "curl: (30) Failed to do PORT"},
	{fault.IDPasvIPv6, "425 You cannot use PASV on IPv6 connections. Use EPSV instead."},
	{fault.IDPasvIPv6, "501 please configure your FTP client to use the IPv6-compatible EPSV/EPRT commands"},
	{fault.IDPasvIPv6, "425 Please use an IPv6-conformant client with EPSV support"},
	{fault.IDEpsvOnly, "500 Illegal PORT command, EPSV ALL in effect"},
	{fault.IDFamily, "522 Network protocol not supported, use (1)"},
	{fault.IDFamily, "522 Only IPv4 is supported (1)"},
	{fault.IDPool, "425 Can't create the data socket"},
	{fault.IDPool, "421 All reserved TCP ports are busy"},
	{fault.IDPool, "proftpd[811]: unable to find open port in PassivePorts range 30000-30009: defaulting to INPORT_ANY (consider defining a larger PassivePorts range)"},
	{fault.IDPool, "425 No free ports"},
	{fault.IDPool, "425 Can't open passive connection: Address already in use"},
	{fault.IDPool, "OSError: [Errno 99] Cannot assign requested address"},
	{fault.IDActiveBind, "425 Unable to identify the local data socket: Address already in use"},
	{fault.IDActiveBind, "proftpd[811]: RootRevoke in effect, unable to bind to local port 20 for active transfer"},
	{fault.IDActiveBind, "425 dial tcp 192.0.2.7:20->203.0.113.9:60250: bind: address already in use"},
	{fault.IDActiveBlock, "The server cannot open connection in active mode. If you are behind a NAT router, you may need to specify an external IP address."},
	{fault.IDActiveBlock, "proftpd[811]: Error connecting to 192.0.2.7#50123 for active data transfer: Connection refused"},
	{fault.IDStall, "proftpd[811]: Data transfer stall timeout: 3600 seconds"},
	{fault.IDNotBuilt, "501 Active mode is disabled"},
	{fault.IDActiveBlock, "curl: (12) FTP: Accepting server connect has timed out"},
	{fault.IDActiveBlock, "Command:\tPORT 10,0,0,7,235,90\nResponse:\t200 PORT command successful\nCommand:\tMLSD\nError:\tConnection timed out after 20 seconds of inactivity\nError:\tFailed to retrieve directory listing"},
	{fault.IDActiveBlock, "---> PORT 127,0,0,1,235,90\n<--- 200 PORT command successful. Consider using PASV.\n---> LIST\n<--- 425 Failed to establish connection."},
	{fault.IDActiveBlock, "425 Could not open data connection to port 60250: Connection timed out"},
	{fault.IDActiveBlock, "Could not accept a data connection: Operation timed out."},
	{fault.IDActiveBlock, "425 Unable to build data connection: Connection refused"},
	{fault.IDActiveBlock, "curl: (10) FTP: The server failed to connect to data port"},
	{fault.IDEpsvLie, "curl: (13) Weirdly formatted EPSV reply"},
	{fault.IDEpsvLie, "* Failed EPSV attempt. Disabling EPSV"},
	{fault.IDEpsvLie, "---- EPSV failed, will try PASV"},
	{fault.IDEpsvLie, "500 EPSV not understood"},
	{fault.IDEpsvLie, "FTPException: Could not start Passive Mode (Response: 500 'EPSV': command not understood."},
	{fault.IDEpsvLie, "229 Entering Extended Passive Mode (||41007|)"},
	{fault.IDEpsvLie, "229 Entering Extended Passive Mode (|||0|)"},
	{fault.IDEpsvLie, "> EPSV\n* Connect data stream passively\n< 550 Permission denied."},
	{fault.IDDataBlocked, "> EPSV\n< 500 Unknown command.\n> PASV\n< 227 Entering Passive Mode (203,0,113,5,175,202).\ncurl: (28) Operation timed out after 6000 milliseconds with 0 bytes received"},
	{fault.IDNoDataPort, "ftplib.error_temp: 425 Use PORT or PASV first."},
	{fault.IDNoDataPort, "503 Use PASV or PORT first"},
	{fault.IDNoDataPort, "425 Use PASV first."},
	{fault.IDNoDataPort, "curl: (13) Bad PASV/EPSV response: 500"},
	{fault.IDNoDataPort, "Cannot initiate PASV transfer."},
	{fault.IDBadReply, "curl: (14) FTP: unknown 227 response format"},
	{fault.IDBadReply, "Cannot parse PASV response."},
	{fault.IDUnpublished, "< 229 Entering Extended Passive Mode (|||30004|)\n* connect to 203.0.113.5 port 30004 failed: Connection refused"},
	{fault.IDUnpublished, "Command:\tPASV\nResponse:\t227 Entering Passive Mode (80,166,180,12,23,194).\nCommand:\tLIST\nError:\tTransfer channel can't be opened. Reason: No connection could be made because the target machine actively refused it.\nError:\tCould not retrieve directory listing"},
	{fault.IDUnpublished, "Error:\tThe data connection could not be established: ECONNREFUSED - Connection refused by server"},
	{fault.IDUnpublished, "Transfer channel can't be opened. Reason: No connection could be made because the target machine actively refused it."},
	{fault.IDRejected, "< 227 Entering Passive Mode (203,0,113,5,175,202).\n* connect to 203.0.113.5 port 45002 failed: No route to host"},
	{fault.IDDataBlocked, "425 Failed to establish connection."},
	{fault.IDDataBlocked, "Response:\t425 No connection established"},
	{fault.IDDataBlocked, "The remote server returned an error: (425) Can't open data connection."},
	{fault.IDDataBlocked, "Could not retrieve directory listing"},
	{fault.IDDataBlocked, "PHP Warning:  ftp_nlist(): Unable to build data connection: Connection timed out in /srv/www/list.php on line 12"},
	{fault.IDDataBlocked, "PHP Warning:  ftp_put(): php_connect_nonb() failed: Operation now in progress (115) in /srv/www/put.php on line 12"},
	{fault.IDDataBlocked, "Error:\tThe data connection could not be established: ETIMEDOUT - Connection attempt timed out"},
	{fault.IDDataBlocked, "Error:\tTransfer channel can't be opened. Reason: A connection attempt failed because the connected party did not properly respond after a period of time, or established connection failed because connected host has failed to respond."},
	{fault.IDDataBlocked, "Timeout detected. (data connection)\nCould not retrieve directory listing"},
	{fault.IDDataBlocked, "Error: Timeout when trying to open data connection to 203.0.113.5:45002"},
	{fault.IDDataBlocked, "FTPError: Timeout (data socket)"},
	{fault.IDDataBlocked, "Error: None of the available transfer modes work."},
	{fault.IDDataBlocked, "proftpd[811]: Passive data transfer failed, possibly due to network issues"},
	{fault.IDDataBlocked, "Data connection to 203.0.113.5:45002 timed out."},
	{fault.IDDataBlocked, "2026/11/21 12:35:24 ERROR : ftp://127.0.0.1:2102: Timeout when waiting for List"},
	{fault.IDDataBlocked, "421 Data timeout. Reconnect. Sorry."},
	{fault.IDDataBlocked, "---> PASV\n<--- 227 Entering Passive Mode (203,0,113,5,175,202).\n---- Connecting data socket to (203.0.113.5) port 45002\n**** Timeout - reconnecting\n---- Closing data socket\n---- Closing control socket\nls: Fatal error: max-retries exceeded"},
	{fault.IDDataBlocked, "* Connecting to 203.0.113.5 (203.0.113.5) port 45002\n< 227 Entering Passive Mode (203,0,113,5,175,202).\n*   Trying 203.0.113.5:45002...\n* Operation timed out after 6000 milliseconds with 0 bytes received\ncurl: (28) Operation timed out after 6000 milliseconds with 0 bytes received"},
	{fault.IDDataBlocked, "Response: 229 Entering Extended Passive Mode (|||45002|)\nCommand: MLSD\nError: Failed to retrieve directory listing"},

	// The login.
	{fault.IDTLSRequired, "ftplib.error_perm: 530 Anonymous sessions must use encryption."},
	{fault.IDTLSRequired, "530 Non-anonymous sessions must use encryption."},
	{fault.IDTLSRequired, "< 550 SSL/TLS required on the control channel"},
	{fault.IDTLSRequired, "421-Sorry, cleartext sessions and weak ciphers are not accepted on this server."},
	{fault.IDTLSRequired, "530 Please tell me who you are"},
	{fault.IDTLSRequired, "534 Policy requires SSL."},
	{fault.IDTLSRequired, "503 Use AUTH first."},
	{fault.IDTLSRequired, "530 This server does not allow plain FTP. You have to use FTP over TLS."},
	{fault.IDTLSRequired, "530 Must perform authentication before identifying USER."},
	{fault.IDBusy, "< 421 There are too many connections from your internet address."},
	{fault.IDBusy, "530 Sorry, the maximum number of clients (1) from your host are already connected."},
	{fault.IDBusy, "proftpd[811]: Connection refused (MaxClientsPerHost 2)"},
	{fault.IDBusy, "proftpd[811]: MaxInstances (30) reached, new connection denied"},
	{fault.IDNetwork, "proftpd[811]: connection refused (Blocked by <Limit LOGIN>) from 192.0.2.7 [192.0.2.7]"},
	{fault.IDNetwork, "proftpd[811] ftp.example.net: Connection from 192.0.2.7 [192.0.2.7] denied"},
	{fault.IDBusy, "421 Too many connections (3) from this IP"},
	{fault.IDBusy, "421 I can't accept more than 3 connections as the same user"},
	{fault.IDBusy, "550-The load was 3.20 when you connected. We do not allow downloads"},
	{fault.IDBusy, "421 Too many users logged in for this account"},
	{fault.IDBanned, "421 Temporarily banned for too many failed login attempts"},
	{fault.IDBanned, "2026-11-21 12:00:00,123 fail2ban.actions        [123]: NOTICE  [vsftpd] Ban 203.0.113.9"},
	{fault.IDSelfBan, "2026-11-21 12:00:00,123 fail2ban.actions        [123]: NOTICE  [vsftpd] Ban 172.17.0.1"},
	{fault.IDTries, "530 Too many authentication failures"},
	{fault.IDTries, "FATAL ERROR: Remote side sent disconnect message type 11 (by application): \"Too many bad authentication attempts!\""},
	{fault.IDNetwork, "550 No connections allowed from your IP"},
	{fault.IDTries, "proftpd[811]: Maximum login attempts (3) exceeded, connection refused"},
	{fault.IDIdle, "421 No transfer timeout (600 seconds): closing control connection"},
	{fault.IDIdle, "421 Timeout."},
	{fault.IDIdle, "230 Login successful.\nTimeout detected."},
	{fault.IDLoginTime, "421 Login timeout (300 seconds): closing control connection"},
	{fault.IDShutdown, "421 Service not available, closing control connection."},
	{fault.IDLost, "421 Service not available, remote server has closed connection"},
	{fault.IDNoAnswer, "421 Service not available, remote server timed out. Connection closed"},
	{fault.IDAccountOff, "sshd[812]: Account anna has expired"},
	{fault.IDAccountOff, "WARNING: Your password has expired.\nPassword change required but no TTY available."},
	{fault.IDAccountOff, "sshd[812]: fatal: Access denied for user anna by PAM account configuration [preauth]"},
	{fault.IDShutdown, "System is booting up. Unprivileged users are not permitted to log in yet. Please come back later. For technical details, see pam_nologin(8)."},
	{fault.IDBusy, "sshd[812]: error: no more sessions"},
	{fault.IDBusy, "mux_client_request_session: session request failed: Session open refused by peer"},
	{fault.IDLoginTime, "sshd[812]: fatal: Timeout before authentication for 192.0.2.7 port 51234"},
	{fault.IDAuth, "vsftpd: pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=anna rhost=192.0.2.7  user=anna"},
	{fault.IDAuth, "vsftpd: pam_listfile(vsftpd:auth): Refused user root for service vsftpd"},
	{fault.IDAuth, "sshd[812]: ROOT LOGIN REFUSED FROM 192.0.2.7 port 51234"},
	{fault.IDAuth, "sshd[812]: Invalid user admin from 192.0.2.7 port 51234"},
	{fault.IDAuth, "sshd[812]: Authentication tried for anna with correct key but not from a permitted host (host=192.0.2.7, ip=192.0.2.7, required=10.0.0.0/8)."},
	{fault.IDAuth, "sshd[812]: error: Certificate invalid: expired"},
	{fault.IDAuth, "sshd[812]: WARNING: revoked key for anna attempted authentication"},
	{fault.IDAccountOff, "User anna not allowed because account is locked"},
	{fault.IDAuth, "User x from 1.2.3.4 not allowed because not listed in AllowUsers"},
	{fault.IDAuth, "530 This FTP server is anonymous only."},
	{fault.IDAuth, "530 Permission denied."},
	{fault.IDAuth, "System.Net.WebException: The remote server returned an error: (530) Not logged in."},
	{fault.IDAuth, "System.Net.WebException: Der Remoteserver hat einen Fehler zurückgegeben: (530) Nicht angemeldet."},
	{fault.IDAuth, "Access denied."},
	{fault.IDAccountOff, "(?@192.0.2.7) [WARNING] Can't login as [anna]: account disabled (uid < 1000)"},
	{fault.IDAuth, "ftplib.error_perm: 530 Login incorrect."},
	{fault.IDAuth, "proftpd[811]: USER anna: no such user found from 192.0.2.7 [192.0.2.7] to 203.0.113.5:21"},
	{fault.IDAuth, "proftpd[811]: SECURITY VIOLATION: Root login attempted"},
	{fault.IDAuth, "mod_sftp/1.1.1[811]: password authentication for user 'anna' failed: Incorrect password"},
	{fault.IDAuth, "pure-ftpd: (?@192.0.2.7) [WARNING] Authentication failed for user [anna]"},
	{fault.IDAuth, "421 Sorry, but I can't trust you"},
	{fault.IDAuth, "530 This is a private system - No anonymous login"},
	{fault.IDSequence, "530 We can't do that in the current session"},
	{fault.IDAuth, "530 Login authentication failed"},
	{fault.IDAuth, "ncftpls: cannot open 127.0.0.1: username and/or password was not accepted for login."},
	{fault.IDAuth, "root@127.0.0.1: Permission denied (publickey,password,keyboard-interactive).\nConnection closed"},
	{fault.IDAuth, "Error: All configured authentication methods failed"},
	{fault.IDAuth, "Renci.SshNet.Common.SshAuthenticationException: No suitable authentication method found to complete authentication (publickey)."},
	{fault.IDAuth, "ssh: handshake failed: ssh: unable to authenticate, attempted methods [none], no supported methods remain"},
	{fault.IDAuth, "paramiko.ssh_exception.BadAuthenticationType: Bad authentication type; allowed types: ['password', 'keyboard-interactive']"},
	{fault.IDAuth, "FATAL ERROR: Configured password was not accepted"},
	{fault.IDAuth, "FATAL ERROR: Cannot answer interactive prompts in batch mode"},
	{fault.IDAuth, "paramiko.ssh_exception.SSHException: No authentication methods available"},
	{fault.IDAuth, "Server refused our public key."},
	{fault.IDAuth, "com.jcraft.jsch.JSchException: Auth fail"},
	{fault.IDAuth, "curl: (67) Access denied: 530"},
	{fault.IDAuth, "Logging in as anonymous ... The server refuses login."},
	{fault.IDAuth, "Failed publickey for root from 127.0.0.1 port 49216 ssh2: ED25519 SHA256:hVn6+xVOb04laUwhBCuIK8BuNeO4MJ1Aj4+oVRqAOBk"},
	{fault.IDAuth, "ls: Login failed: Login incorrect"},
	{fault.IDLogin, "530 Please login with USER and PASS."},
	{fault.IDLogin, "---> OPTS UTF8 ON\n<--- 530 Not logged on"},

	// Files of this machine.
	{fault.IDLocal, "scp: stat local \"a.bin\": No such file or directory"},
	{fault.IDLocal, "scp: open local \"a.bin\": Permission denied"},
	{fault.IDLocal, "Couldn't open local file \"a.bin\" for writing: Permission denied"},
	{fault.IDLocal, "scp: local \"pub\" is not a regular file"},
	{fault.IDLocal, "Couldn't write to \"a.bin\": No space left on device"},
	{fault.IDLocal, "curl: (23) Failed writing body (0 != 1024)"},
	{fault.IDLocal, "Warning: Failed to open the file /srv/a.bin: Permission denied\ncurl: (23) Failure writing output to destination"},
	{fault.IDLocal, "curl: (77) error setting certificate file: /nope.pem"},
	{fault.IDLocal, "Cannot write to 'a.bin' (No space left on device)."},
	{fault.IDLocal, "local: unable to open a.bin"},
	{fault.IDLocal, "ftp: local: a.bin: No such file or directory"},
	{fault.IDLocal, "ftp: Error: .netrc file is readable by others."},
	{fault.IDLocal, "FileNotFoundError: [Errno 2] No such file or directory: 'a.bin'"},
	{fault.IDNotFound, "FileNotFoundError: [Errno 2] No such file"},
	// Room and rights.
	{fault.IDPortTaken, "bind: address already in use"},
	{fault.IDPortTaken, "EADDRINUSE"},
	{fault.IDPortTaken, "ProFTPD: Failed binding to 0.0.0.0, port 21: Address already in use"},
	{fault.IDPortTaken, "docker: Error response from daemon: Error starting userland proxy: listen tcp4 0.0.0.0:21: bind: address already in use"},
	{fault.IDLowPort, "listen tcp :21: bind: permission denied"},
	{fault.IDNoSpace, "write remote \"/upload/a.bin\": Failure"},
	{fault.IDExists, "remote mkdir \"/upload\": Failure"},
	{fault.IDAcrossMounts, "550 Invalid cross-device link"},
	{fault.IDQuota, "552 Transfer aborted (quota)"},
	{fault.IDQuota, "curl: (25) Failed FTP upload: 552"},
	{fault.IDNoSpace, "451 Failure writing to local file."},
	{fault.IDNoSpace, "452 Error during write to file"},
	{fault.IDNoSpace, "550 There is not enough space on the disk."},
	{fault.IDPerm, "226 Transfer done (but failed to open directory)."},
	{fault.IDPerm, `remote readdir("/"): Permission denied`},
	{fault.IDExists, "550 a.txt: Overwrite permission denied"},
	{fault.IDNotBuilt, "451 a.txt: Append/Restart not permitted, try again"},
	{fault.IDBadName, "550 .ftpaccess: Forbidden filename"},
	{fault.IDBadName, "proftpd[811]: 'STOR .htaccess' denied by PathDenyFilter"},
	{fault.IDBadName, "553 Prohibited file name: .htaccess"},
	{fault.IDBadName, "550 Filename invalid"},
	{fault.IDPerm, "550 Could not open a.txt for writing."},
	{fault.IDPerm, "550 Sorry, we were unable to read [pub]"},
	{fault.IDOffset, "554-Restart offset 100 is too large for file size 50."},
	{fault.IDPerm, "proftpd[811]: LIST command denied by <Limit> configuration"},
	{fault.IDPerm, "Error listing directory '/'. Permission denied."},
	{fault.IDReadOnly, "open /srv/file: read-only file system"},
	{fault.IDReadOnly, "sftp-server[813]: Refusing open request in read-only mode"},
	{fault.IDNotEmpty, "remote rmdir \"/upload\": Failure"},
	{fault.IDNotEmpty, "Couldn't remove directory: Failure"},
	{fault.IDExists, "Couldn't rename file \"/a\" to \"/b\": Failure"},
	{fault.IDPerm, "sftp-server[813]: Refusing denylisted remove request"},
	{fault.IDPerm, "553 Could not create file."},
	{fault.IDPerm, `remote open("/upload/a.bin"): Permission denied`},
	{fault.IDPerm, "550 Permission denied."},
	{fault.IDPerm, "Create directory operation failed."},
	{fault.IDPerm, "curl: (25) Failed FTP upload: 553"},
	{fault.IDServerSaysNo, "curl: (25) Upload failed: Operation failed (4/-31)"},
	{fault.IDSetstat, "curl: (21) chmod command failed: Operation failed"},
	{fault.IDPerm, "curl: (25) Failed FTP upload: 451"},
	{fault.IDOffset, "curl: (36) Offset (1000) was beyond file size (500)"},
	{fault.IDNotBuilt, "curl: (31) Couldn't use REST"},

	// Files that came out wrong.
	{fault.IDSetstat, "Upload of file 'a.txt' was successful, but error occurred while setting the permissions and/or timestamp."},
	{fault.IDSetstat, `remote setstat "/a.txt": Operation unsupported`},
	{fault.IDSetstat, "SETSTAT unsupported"},
	{fault.IDSetstat, "sftp: \"Operation unsupported\" (SSH_FX_OP_UNSUPPORTED)"},
	{fault.IDServerSaysNo, "General failure (server should provide error description).\nError code: 4\nError message from server: Failure"},
	{fault.IDServerSaysNo, "Error code: 4 Error message from server: Failure"},
	{fault.IDServerSaysNo, "SftpStatusError: Failure(code 4)"},
	{fault.IDServerSaysNo, "Error: put: Failure /upload/"},
	{fault.IDServerSaysNo, "Failed to copy: Update Create failed: sftp: \"Failure\" (SSH_FX_FAILURE)"},
	{fault.IDSetstat, "ERROR : a.bin: Failed to copy: Update: SetModTime failed: SetModTime failed: file does not exist"},
	{fault.IDVerify, "ERROR : a.bin: Failed to copy: corrupted on transfer: md5 hashes differ \"d41d8cd98f00b204e9800998ecf8427e\" vs \"0cc175b9c0f1b6a831c399e269772661\""},
	{fault.IDShortFile, "ERROR : a.bin: corrupted on transfer: sizes differ 1048576 vs 524288"},
	{fault.IDSourceMoved, "ERROR : a.bin: Failed to copy: can't copy - source file is being updated (size changed from 1 to 2)"},
	{fault.IDShortFile, "OSError: size mismatch in put!  0 != 1024"},
	{fault.IDServerSaysNo, "Error:\tDirectory /scratch: received failure with description 'Failure'"},
	{fault.IDSetstat, "Upload of file 'a.txt' was successful, but error occurred while setting the permissions and/or timestamp.\nGeneral failure (server should provide error description).\nError code: 4\nError message from server: Failure"},
	{fault.IDPickup, "Transfer was successfully finished, but temporary transfer file 'a.zip.filepart' could not be renamed to target file name 'a.zip'."},
	{fault.IDPickup, "gzip: orders.csv.gz: unexpected end of file"},
	{fault.IDASCII, "WARNING! 12 bare linefeeds received in ASCII mode."},
	{fault.IDASCII, "550 SIZE not allowed in ASCII mode"},
	{fault.IDASCII, "gzip: a.tgz: invalid compressed data--crc error"},
	{fault.IDEmptyList, "Server returned empty listing for directory '/upload'."},
	{fault.IDEmptyList, "226-Output truncated to 10000 matches"},
	{fault.IDEmptyList, "502 STOU command not implemented"},
	{fault.IDNames, "Status:\tInvalid character sequence received, disabling UTF-8. Select UTF-8 option in site manager to force UTF-8."},
	{fault.IDNames, "550 caf?.txt: Illegal character sequence in filename"},
	{fault.IDNames, "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xfc in position 12: invalid start byte"},
	{fault.IDNames, "-rw-r--r-- 1 ftp ftp 12 Nov 21 12:00 ZÃ¼rich.txt"},
	{fault.IDProxyMany, "docker: Error response from daemon: failed to start userland proxy for port mapping: fork/exec /usr/bin/docker-proxy: cannot allocate memory"},
	{fault.IDProxyMany, "root 2201 0.0 0.0 1819084 3968 ? Sl 12:00 0:00 /usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 30417 -container-ip 172.17.0.2 -container-port 30417"},
	{fault.IDStall, "ping: local error: message too long, mtu=1400"},
	{fault.IDStall, "From 192.0.2.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)"},
	{fault.IDIPv6Dead, "*   Trying [2001:db8::1]:2121...\n*   Trying 127.0.0.1:2121...\n* ipv6 connect timeout after 2999ms, move on!"},
	{fault.IDIPv6Dead, "debug1: connect to address 2001:db8::1 port 2121: Connection timed out"},

	// No connection.
	{fault.IDDNS, "curl: (6) Could not resolve host: nosuch.invalid"},
	{fault.IDDNS, "dial tcp: lookup nosuch.invalid: no such host"},
	{fault.IDDNS, "java.net.UnknownHostException: nosuch.invalid"},
	{fault.IDDNS, "Host \"nosuch.invalid\" does not exist."},
	{fault.IDDNS, "curl: (28) Resolving timed out after 5000 milliseconds"},
	{fault.IDDNS, "wget: unable to resolve host address 'nosuch.invalid'"},
	{fault.IDDNS, "Failed to create file system for \"r:\": NewFs: couldn't connect SSH: dial tcp: lookup nosuch.invalid: no such host"},
	{fault.IDFiltered, "nc: connect to 127.0.0.1 port 2999 (tcp) timed out: Operation now in progress"},
	{fault.IDFiltered, "* connect to 2001:db8::1 port 21 failed: Connection timed out\n* connect to 192.0.2.7 port 21 failed: Connection timed out"},
	{fault.IDFiltered, "ssh: connect to host 127.0.0.1 port 2999: Connection timed out\nConnection closed"},
	{fault.IDRefused, "paramiko.ssh_exception.NoValidConnectionsError: [Errno None] Unable to connect to port 22 on 192.0.2.7"},
	{fault.IDRejected, "ssh: connect to host 192.0.2.7 port 22: Permission denied"},
	{fault.IDRefused, "ncftpput: cannot open ftp.example.net: remote host refused connection."},
	{fault.IDFiltered, "ncftpput: cannot open ftp.example.net: could not connect to remote host."},
	{fault.IDFiltered, "System.Net.WebException: Unable to connect to the remote server"},
	{fault.IDFiltered, "com.jcraft.jsch.JSchException: timeout: socket is not established"},
	{fault.IDRefused, "PHP Warning:  ssh2_connect(): Unable to connect to 192.0.2.7 on port 22 in /srv/www/ssh.php on line 3"},
	{fault.IDRefused, "ls: Fatal error: max-retries exceeded (Connection refused)"},
	{fault.IDRefused, "curl: (7) Failed to connect to 127.0.0.1 port 2997 after 0 ms: Couldn't connect to server"},
	{fault.IDFiltered, "curl: (28) Failed to connect to 127.0.0.1 port 2121 after 3058 ms: Couldn't connect to server"},
	{fault.IDFiltered, "fatal: unable to access: Failed to connect to files.example.org port 21 after 75001 ms: Couldn't connect to server"},
	{fault.IDRefused, "failed to make FTP connection to \"127.0.0.1:2997\": dial tcp 127.0.0.1:2997: connect: connection refused"},
	{fault.IDRejected, "**** Socket error (No route to host) - reconnecting"},
	{fault.IDNoAnswer, "curl: (28) Operation timed out after 3000 milliseconds with 0 bytes received"},
	{fault.IDNoAnswer, "curl: (28) Operation timed out after 10000 milliseconds with 0 out of 0 bytes received"},
	{fault.IDNoAnswer, "220 (vsFTPd 3.0.3)\nTimeoutError: timed out"},
	{fault.IDNoAnswer, "Could not read reply from control connection -- timed out."},
	{fault.IDNoAnswer, "paramiko.ssh_exception.AuthenticationException: Authentication timeout."},
	{fault.IDNoAnswer, "failed to make FTP connection to \"ftp.example.net:990\": context deadline exceeded"},
	{fault.IDFiltered, "curl: (28) Failed to connect to 127.0.0.1 port 2999 after 3000 ms: Timeout was reached"},
	{fault.IDFiltered, "Could not connect to 127.0.0.1 -- try again later: Connection timed out."},
	{fault.IDFiltered, "Error: Timeout (control socket)"},
	{fault.IDFiltered, "Error:\tTimeout while connecting to server"},
	{fault.IDFiltered, "Error:\tCould not connect to server"},
	{fault.IDRefused, "curl: (7) Failed to connect to 127.0.0.1 port 2997 after 0 ms: Could not connect to server"},
	{fault.IDRefused, "Network error: Connection to \"ftp.example.net\" refused."},

	// A transfer that broke off, and the rest.
	{fault.IDDataBlocked, "Error:\tFailed to retrieve directory listing"},
	{fault.IDNoAnswer, "Timeout, server 192.0.2.7 not responding."},
	{fault.IDLost, "sshd[812]: Timeout, client not responding from user anna 192.0.2.7 port 51234"},
	{fault.IDShortFile, "curl: (18) transfer closed with 12345 bytes remaining to read"},
	{fault.IDShortFile, "curl: (18) transfer closed with outstanding read data remaining"},
	{fault.IDUploadCut, "curl: (18) server did not report OK, got 451"},
	{fault.IDLost, "curl: (56) response reading failed (errno: 104)"},
	{fault.IDLost, "2026-11-21 12:00:00 (1.20 MB/s) - Connection closed at byte 1024. Retrying."},
	{fault.IDBadReply, "Error in server response, closing control connection."},
	{fault.IDUploadCut, "426 Connection closed; transfer aborted."},
	{fault.IDUploadCut, "put: Store failed - you have to reput"},
	{fault.IDDataLost, "Lost data connection to remote host after 1024 bytes had been sent."},
	{fault.IDLost, "GnuTLS: Error in the pull function."},
	{fault.IDLost, "ncftpput: cannot open ftp.example.net: remote host disconnected during login."},
	{fault.IDLost, "FATAL ERROR: Remote side closed network connection"},
	{fault.IDDataLost, "426 Failure writing network stream."},
	{fault.IDLost, "Error: Client network socket disconnected before secure TLS connection was established"},
	{fault.IDLost, "System.Net.WebException: The underlying connection was closed: An unexpected error occurred on a receive."},
	{fault.IDLost, "curl: (56) Recv failure: Connection reset by peer"},
	{fault.IDLost, "org.apache.commons.net.ftp.FTPConnectionClosedException: Connection closed without indication."},
	{fault.IDLost, "Error:\tConnection closed by server"},
	{fault.IDIdle, "org.apache.commons.net.ftp.FTPConnectionClosedException: FTP response 421 received.  Server closed connection."},
	{fault.IDLost, "Error: Server sent FIN packet unexpectedly, closing connection."},
	{fault.IDLost, "com.jcraft.jsch.JSchException: Session.connect: java.net.SocketException: Connection reset"},
	{fault.IDBadReply, "org.apache.commons.net.MalformedServerReplyException: Could not parse response code."},
	{fault.IDLost, "phpseclib3\\Exception\\ConnectionClosedException: Connection closed prematurely"},
	{fault.IDLost, "paramiko.ssh_exception.SSHException: EOF in transport thread"},
	{fault.IDLost, "OSError: Socket is closed"},
	{fault.IDLost, "EOFError"},
	{fault.IDLost, "failed to make FTP connection to \"ftp.example.net:21\": EOF"},
	{fault.IDLost, "Connection closed."},
	{fault.IDSSHDropped, "Connection closed by 1.2.3.4 port 22"},
	{fault.IDSSHDropped, "Connection reset by 1.2.3.4 port 22"},
	{fault.IDNotDir, "550 a.txt: Not a directory"},
	{fault.IDIsDir, "550 pub: Not a regular file"},
	{fault.IDIsDir, "scp: /upload/a: Is a directory"},
	{fault.IDIsDir, "scp: /pub: not a regular file"},
	{fault.IDIsDir, "scp: download /pub: not a regular file"},
	{fault.IDIsDir, "Cannot download non-regular file: /pub"},
	{fault.IDNotEmpty, "550 pub: Directory not empty"},
	{fault.IDNotFound, "550 Failed to open file."},
	{fault.IDNotFound, "550 couldn't open the file or directory"},
	{fault.IDNotFound, "curl: (78) RETR response: 550"},
	{fault.IDNotFound, "curl: (9) Server denied you to change to the given directory"},
	{fault.IDNotFound, "The remote server returned an error: (550) File unavailable (e.g., file not found, no access)."},
	{fault.IDNotFound, "Der Remoteserver hat einen Fehler zurückgegeben: (550) Datei nicht verfügbar (z.B. nicht gefunden oder kein Zugriff)."},
	{fault.IDNotFound, "Can't ls: \"/nothere\" not found"},
	{fault.IDNotFound, "File \"/nothere\" not found."},
	{fault.IDResume, "Unable to resume download of \"a.bin\": local file is larger than remote"},
	{fault.IDNotFound, "ncftpget /pub/a.bin: server said: Failed to open file."},
	{fault.IDPerm, "ncftpput a.bin: server said: Could not create file."},
	{fault.IDNotFound, "ncftpls: remote chdir failed."},
	{fault.IDNotFound, "ERROR : : error reading destination directory: error listing \"\": directory not found"},
	{fault.IDNotFound, "No such file ‘x’."},
	{fault.IDNotFound, "IOError: [Errno 2] No such file"},
	{fault.IDPerm, "scp: /etc/shadow: Permission denied"},
	{fault.IDNotFound, "/pub/nothing: No such file or directory"},
	{fault.IDExists, "550 /pub/dir: File exists"},
	{fault.IDExists, "450 Directory already exists"},
	{fault.IDExists, "get: a.bin: file already exists and xfer:clobber is unset"},
	{fault.IDInUse, "The file could not be opened because it is locked by another process."},
	{fault.IDUnsupported, "504 Unknown command"},
	{fault.IDUnsupported, "500 Unrecognised TYPE command."},
	{fault.IDHandle, "Error code: 9\nError message from server: Invalid handle"},
	{fault.IDServerSaysNo, "paramiko: OSError: Failure"},
	{fault.IDBusy, "curl: (8) Got a 421 ftp-server response when 220 was expected"},
	{fault.IDBadReply, "curl: (8) Weird server reply"},
	{fault.IDServerSaysNo, "curl: (21) QUOT command failed with 550"},
	{fault.IDRange, "501 XCRC: end exceeds file size"},
	{fault.IDNotBuilt, "502 Command not implemented."},
	{fault.IDNotBuilt, "Server does not support hardlink@openssh.com extension"},
	{fault.IDTooLarge, "MaxStoreFileSize (1048576 bytes) reached: aborting transfer of 'big.bin'"},
	{fault.IDSequence, "503 Bad sequence of commands."},
	{fault.IDSyntax, "501 Invalid argument."},
	{fault.IDUnknown, "500 Invalid command: try being more creative"},
	{fault.IDUnknown, "500 SITE FOO is an unknown extension"},
	{fault.IDUnknown, "500 XYZZY not understood"},
	// A code that has lost its words.
	{fault.IDShutdown, "421"},
	{fault.IDDataBlocked, "425"},
	{fault.IDUploadCut, "426"},
	{fault.IDNotFound, "450"},
	{fault.IDNoSpace, "452"},
	{fault.IDUnknown, "500"},
	{fault.IDSyntax, "501"},
	{fault.IDNotBuilt, "502"},
	{fault.IDSequence, "503"},
	{fault.IDUnsupported, "504"},
	{fault.IDProtRequired, "521"},
	{fault.IDProtRequired, "522"},
	{fault.IDAuth, "530"},
	{fault.IDTLSRequired, "534"},
	{fault.IDNotFound, "Response:\t550"},
	{fault.IDQuota, "552"},
	{fault.IDPerm, "553"},

	// Servers beside the large ones.
	{fault.IDHomeMissing, "550 Home directory could not be accessed"},
	{fault.IDProtRequired, "534 This server requires an encrypted data connection with PROT P"},
	{fault.IDProtRequired, "534 Protection level C not allowed"},
	{fault.IDProtRequired, "425 unable to open transfer: TLS is required"},
	{fault.IDTLSData, "PHP Warning:  ftp_nlist(): data_accept: SSL/TLS handshake failed in list.php on line 12"},
	{fault.IDTLSData, "450 Unknown TLS error on data connection"},
	{fault.IDIllegalPort, "421 Rejected command, requested IP address does not match control connection IP."},
	{fault.IDIllegalPort, "501 PORT against the privileged port \"80\" refused."},
	{fault.IDIllegalPort, "501 Rejected data connection to foreign address 10.0.2.15:43984."},
	{fault.IDIllegalPort, "501 EPRT IP is not same as 192.0.2.7."},
	{fault.IDIllegalPort, "530 Only client IP address allowed for PORT command."},
	{fault.IDIllegalPort, "500 The given address is not yours."},
	{fault.IDDataPeer, "425 Rejected data connection from foreign address 192.0.2.9:43984."},
	{fault.IDDataPeer, "425 Possible PASV port theft, cannot open data connection."},
	{fault.IDEpsvOnly, "501 PASV not allowed after EPSV ALL."},
	{fault.IDEpsvOnly, "501 PORT not allowed after EPSV ALL."},
	{fault.IDPasvIPv6, "500 You are connected using IPv6. PASV is only for IPv4. You have to use the EPSV command instead."},
	{fault.IDPasvIPv6, "522 Use EPSV for IPv6."},
	{fault.IDPool, "425 Cannot prepare for data connection."},
	{fault.IDPool, "421 Could not create socket, listening failed."},
	{fault.IDPool, "421 Could not listen for passive connection: could not find any port to listen to"},
	{fault.IDPool, "425 Can't open passive connection."},
	{fault.IDPool, "425-Unable to bind data socket.\r\n425 Address already in use."},
	{fault.IDActiveBlock, "421 Active data channel timed out."},
	{fault.IDActiveBlock, "Accept timeout occurred while waiting server connect"},
	{fault.IDDataBlocked, "421 Passive data channel timed out."},
	{fault.IDDataBlocked, "`ls' at 0 [Making data connection...]"},
	{fault.IDNoDataPort, "425 Use EPRT or EPSV first."},
	{fault.IDNoDataPort, "500 No PORT specified."},
	{fault.IDTLSActive, "534 Authentication type already set to TLS"},
	{fault.IDTLSActive, "534 Session already secured"},
	{fault.IDBusy, "421 Refusing connection. No more connections allowed from your IP."},
	{fault.IDBusy, "421 Server too busy, closing connection. Please retry later!"},
	{fault.IDNetwork, "530 No server access from the IP 192.0.2.7."},
	{fault.IDNetwork, "521 This user is not allowed to connect from this IP"},
	{fault.IDIdle, "421 No-transfer-time exceeded. Closing control connection."},
	{fault.IDLoginTime, "421 Login time exceeded. Closing control connection."},
	{fault.IDTries, "421 Closing Control Socket - Too many bad login attempts"},
	{fault.IDShutdown, "421 Server is going offline"},
	{fault.IDShutdown, "421 Server is locked, please try again later."},
	{fault.IDShutdown, "421 Kicked by Administrator"},
	{fault.IDLogin, "530 Log in with USER and PASS first."},
	{fault.IDLogin, "530 Please log in with USER and PASS first."},
	{fault.IDAuth, "530 Valid hostname is expected."},
	{fault.IDBadName, "550 The filename, directory name, or volume label syntax is incorrect."},
	{fault.IDBadName, "553 File name not allowed."},
	{fault.IDBadName, "550 CDUP failed, filename invalid."},
	{fault.IDPerm, "550 Not enough privileges."},
	{fault.IDPerm, "450 No permission to delete /a.bin."},
	{fault.IDTLSFailed, "504 TLS handshaking failed!"},
	{fault.IDTLSFailed, "431 Could not initialize TLS connection"},
	{fault.IDUnsupported, "502 Unrecognized PROT type (use C or P)."},
	{fault.IDUnsupported, "521 PROT S unsupported (use C or P)."},
	{fault.IDUnknown, "500 Syntax error, command unrecognized."},
	{fault.IDUnknown, "500 command 'FOO' not recognized by server."},
	{fault.IDSFTPNoise, "protocol error: size not delimited"},
	{fault.IDSFTPNoise, "protocol error: unexpected <newline>"},
	{fault.IDSSHDropped, "com.jcraft.jsch.JSchException: Session.connect: java.io.IOException: End of IO Stream Read"},
	{fault.IDKexCipher, "net.schmizz.sshj.transport.TransportException: Unable to reach a settlement: [a, b] and [c]"},
	{fault.IDKexCipher, "org.apache.sshd.common.SshException: Unable to negotiate key exchange for kex algorithms (client: a / server: b)"},
	{fault.IDHostKeyNew, "pysftp.exceptions.HostKeysException: No Host Keys Found"},
	{fault.IDFiltered, "> ftp: connect :Unknown error number"},
	{fault.IDFiltered, "cd `/' [Delaying before reconnect: 24]"},

	// Other libraries of TLS, and what clients make of it.
	{fault.IDImplicitTLS, "Error:\tGnuTLS error -8: A record packet with illegal version was received."},
	{fault.IDImplicitTLS, "System.IO.IOException: The handshake failed due to an unexpected packet format."},
	{fault.IDPlainInTLS, "Response:\t230 Login successful.\nError:\tGnuTLS error -8: A record packet with illegal version was received."},
	{fault.IDImplicitTLS, "System.IO.IOException: Cannot determine the frame size or a corrupted frame was received."},
	{fault.IDImplicitTLS, "curl: (35) schannel: next InitializeSecurityContext failed: SEC_E_INVALID_TOKEN (0x80090308) - The token supplied to the function is invalid"},
	{fault.IDUnknownCA, "curl: (60) schannel: SEC_E_UNTRUSTED_ROOT (0x80090325) - The certificate chain was issued by an authority that is not trusted."},
	{fault.IDUnknownCA, "curl: (35) schannel: next InitializeSecurityContext failed: CRYPT_E_NO_REVOCATION_CHECK (0x80092012) - The revocation function was unable to check revocation for the certificate."},
	{fault.IDCertName, "curl: (60) schannel: SNI or certificate check failed: SEC_E_WRONG_PRINCIPAL (0x80090322) - The target principal name is incorrect."},
	{fault.IDExpired, "curl: (60) schannel: next InitializeSecurityContext failed: SEC_E_CERT_EXPIRED (0x80090328) - The received certificate has expired."},
	{fault.IDTLSVersion, "curl: (35) schannel: next InitializeSecurityContext failed: SEC_E_ALGORITHM_MISMATCH (0x80090331) - The client and server cannot communicate, because they do not possess a common algorithm."},
	{fault.IDTLSVersion, "SSL_CTX_use_certificate: error:0A00018E:SSL routines::ca md too weak"},
	{fault.IDTLSVersion, "Error:\tReceived TLS alert from the server: Handshake failed (40)"},
	{fault.IDTLSFailed, "Error:\tReceived TLS alert from the server: Internal error (80)"},
	{fault.IDTLSFailed, "System.IO.IOException: Authentication failed because the remote party has closed the transport stream."},
	{fault.IDUnknownCA, "error:0A000086:SSL routines::certificate verify failed"},
	{fault.IDUnknownCA, "Peer certificate rejected"},
	{fault.IDLost, "Error:\tThe remote host closed TLS connection."},
	{fault.IDLost, "Failed to create file system for \"x:\": NewFs: failed to make FTP connection: EOF"},
	{fault.IDAuth, "ncftpput: cannot open ftp.example.net: username was not accepted for login."},
	{fault.IDNoAnswer, "ftp.rb:12:in 'read': Net::ReadTimeout with #<TCPSocket:(closed)>"},
	{fault.IDFiltered, "Net::OpenTimeout: execution expired"},
	{fault.IDRejected, "Status:\tConnection attempt failed with \"EACCES - Permission denied\"."},
	{fault.IDNames, "Status:\tServer does not support non-ASCII characters."},
	{fault.IDLocal, "Error: Cannot parse privateKey: Encrypted private OpenSSH key detected, but no passphrase given"},
	{fault.IDServerSaysNo, "FluentFTP.Exceptions.FtpCommandException: Code: 550 Message: Nothing that is known"},

	// The host of the server.
	{fault.IDFiltered, "kernel: [UFW BLOCK] IN=eth0 OUT= MAC= SRC=192.0.2.7 DST=203.0.113.5 LEN=60 TTL=52 ID=1 DF PROTO=TCP SPT=51234 DPT=31007 WINDOW=64240 RES=0x00 SYN URGP=0"},
	{fault.IDFiltered, "kernel: filter_IN_public_REJECT: IN=eth0 OUT= SRC=192.0.2.7 DST=203.0.113.5 LEN=60 PROTO=TCP SPT=51234 DPT=21 WINDOW=64240 SYN URGP=0"},
	{fault.IDFiltered, "nf_conntrack: nf_conntrack: table full, dropping packet"},
	{fault.IDDataBlocked, "nf_conntrack: default automatic helper assignment has been turned off for security reasons and CT-based firewall rule not found. Use the iptables CT target to attach helpers instead."},
	{fault.IDLowPort, "type=AVC msg=audit(1763726400.123:456): avc:  denied  { name_bind } for  pid=812 comm=\"vsftpd\" src=2121 scontext=system_u:system_r:ftpd_t:s0 tclass=tcp_socket"},
	{fault.IDPerm, "type=AVC msg=audit(1763726400.123:457): avc:  denied  { write } for  pid=813 comm=\"vsftpd\" name=\"upload\" dev=\"sda1\" scontext=system_u:system_r:ftpd_t:s0 tclass=dir"},

	// Words that are not known, behind a code.
	{fault.IDShutdown, "421 Unable to change uid."},
	{fault.IDDataBlocked, "425-Unable to accept data connection."},
	{fault.IDTLSMissing, "431 Service is unavailable."},
	{fault.IDTLSMissing, "431"},
	{fault.IDServerSaysNo, "450 Internal error deleting the directory."},
	{fault.IDServerSaysNo, "451 Trouble storing file."},
	{fault.IDInternal, "451"},
	{fault.IDServerSaysNo, "500 Execution failed."},
	{fault.IDServerSaysNo, "521 Data channel, please"},
	{fault.IDServerSaysNo, "522 Extended port failure"},
	{fault.IDAuth, "ftplib.error_perm: 530 Anonymous connection is not allowed."},
	{fault.IDTLSRequired, "534 Go away"},
	{fault.IDServerSaysNo, "Response:\t550 Requested action not taken."},
	{fault.IDServerSaysNo, "551 File listing failed."},
	{fault.IDPerm, "551"},
	{fault.IDServerSaysNo, "553 Can't rename file."},

	// dray's own words.
	{fault.IDDataBlocked, "425 Nobody connected to the port that this server offered: a firewall or NAT is in the way. Try active mode, or ask the administrator to open the passive range. [data-blocked]"},
	{fault.IDAuth, "dray: ftp.example.net rejected the login for \"anna\": 530 Login incorrect   [auth]"},
	{fault.IDPasvAddress, `time=2026-11-21T12:00:00Z level=WARN msg="clients log in and can't transfer" id=pasv-address network=203.0.113.0/24`},
	{fault.IDQuota, `{"v":1,"event":"error","error":{"id":"quota","exit":9}}`},
}

// Each failure of a list of 52 that people meet in the field has an id with words.
func TestTheFailuresOfTheFieldAreKnown(t *testing.T) {
	for i, id := range []fault.ID{
		fault.IDRefused, fault.IDFiltered, fault.IDWrongProto, fault.IDImplicitTLS, fault.IDPlainInTLS, fault.IDSSHDropped, fault.IDBusy, fault.IDTLSRequired, fault.IDAuth, fault.IDWritableRoot,
		fault.IDHomeMissing, fault.IDSandbox, fault.IDVsftpdConfig, fault.IDOopsLog, fault.IDHostKeyAlg, fault.IDKexCipher, fault.IDUserKeySHA1, fault.IDHostKeyOther, fault.IDChrootOwner, fault.IDKeysPerm,
		fault.IDSFTPNoise, fault.IDNoSFTP, fault.IDTooManyAuth, fault.IDPQWarning, fault.IDUnknownCA, fault.IDCertName, fault.IDExpired, fault.IDTLSVersion, fault.IDPasvAddress, fault.IDPasvAddress,
		fault.IDDataBlocked, fault.IDUnpublished, fault.IDDataPeer, fault.IDIllegalPort, fault.IDActiveBind, fault.IDEpsvLie, fault.IDTLSReuse, fault.IDTLS13Loss, fault.IDTLSNoClose, fault.IDProtRequired,
		fault.IDALG, fault.IDPool, fault.IDProxyMany, fault.IDPerm, fault.IDQuota, fault.IDSetstat, fault.IDPickup, fault.IDIdle, fault.IDNames, fault.IDEmptyList,
		fault.IDASCII, fault.IDSelfBan,
	} {
		if !slices.ContainsFunc(patterns, func(p pattern) bool { return p.id == id }) {
			t.Errorf("failure %d: no words lead to %s", i+1, id)
		}
	}
}

func TestEachTextFindsItsIDFirst(t *testing.T) {
	for _, s := range said {
		found := Find(s.text)
		if len(found) == 0 || found[0].ID != s.id {
			t.Errorf("%q\n found %+v; want %s first", s.text, found, s.id)
		}
	}
}

// Each pattern has a text that is told by it, and by none before it.
func TestEachPatternIsHit(t *testing.T) {
	hit := make([]bool, len(patterns))
	for _, s := range said {
		for _, n := range numbers(s.text) {
			hit[n] = true
		}
	}
	for i, p := range patterns {
		if !hit[i] {
			t.Errorf("no text is told by pattern %d of %s: %s", i, p.id, p.re)
		}
	}
}

// numbers are those of the patterns that tell the lines of a text.
func numbers(s string) (all []int) {
	walk(slices.DeleteFunc(strings.Split(s, "\n"), func(line string) bool { return line == "" }), 0, func(_ string, i int, _ string) {
		if i >= 0 {
			all = append(all, i)
		}
	})
	return all
}

// cues are what stands above a dialect's words where it says what they came after.
var cues = []struct{ after, line string }{
	{", after 227 or 229", "227 Entering Passive Mode (203,0,113,5,175,202)."},
	{", after PASV or EPSV", "227 Entering Passive Mode (203,0,113,5,175,202)."},
	{", after PASV", "227 Entering Passive Mode (203,0,113,5,175,202)."},
	{", to EPSV", "---> EPSV"},
	{", after the login", "debug1: Authentication succeeded (publickey)."},
}

// described are dialects that tell what is seen and quote no words: a reply code with
// what it was the answer to, or what happens.
var described = regexp.MustCompile(`^(?:[\w, -]+: )?(?:\d{3}(?: or \d{3})?(?:$|, | to | and )|status \d|an |transfers that )`)

var replyCode = regexp.MustCompile(`\b[45]\d\d\b`)

// What an entry says of other programs leads back to it.
func TestEachDialectFindsItsEntry(t *testing.T) {
	for _, e := range All() {
		for _, d := range e.Dialects {
			if described.MatchString(d) {
				if code := replyCode.FindString(d); code != "" && len(Find(code)) == 0 {
					t.Errorf("%s: %s alone finds nothing", e.ID, code)
				}
				continue
			}
			words := strings.ReplaceAll(d, "`", "")
			for _, cue := range cues {
				if quote, ok := strings.CutSuffix(words, cue.after); ok {
					words = cue.line + "\n" + quote
				}
			}
			var answers []fault.ID
			for _, m := range Find(words) {
				answers = append(append(answers, m.ID), m.Also...)
			}
			if !slices.Contains(answers, e.ID) {
				t.Errorf("%s: %q finds %v", e.ID, words, answers)
			}
		}
	}
}

// A sentence that a mail or a terminal has broken is read as one.
func TestABrokenSentenceIsFound(t *testing.T) {
	for _, try := range []struct {
		id   fault.ID
		text string
		line string
	}{
		{fault.IDWritableRoot, "500 OOPS: vsftpd: refusing to run with writable\nroot inside chroot()", "500 OOPS: vsftpd: refusing to run with writable root inside chroot()"},
		{fault.IDWritableRoot, "500 OOPS: vsftpd: refusing to run with writa\r\nble root inside chroot()", "500 OOPS: vsftpd: refusing to run with writable root inside chroot()"},
		{fault.IDTLSReuse, "425 Unable to build data connection:\n   Operation not permitted", "425 Unable to build data connection: Operation not permitted"},
		{fault.IDTLSReuse, "220 ready.\n450 TLS session of data connection\nhas not resumed or the session does not match the\ncontrol connection", "450 TLS session of data connection has not resumed or the session does not match the control connection"},
		{fault.IDAuth, "The remote server returned an error: (530) Not\nlogged in.", "The remote server returned an error: (530) Not logged in."},
		{fault.IDAuth, "530 Login incorrect.\nLogin failed.", "530 Login incorrect."},
	} {
		found := Find(try.text)
		if len(found) == 0 || found[0].ID != try.id || found[0].Line != try.line {
			t.Errorf("%q finds %+v; want %s by %q", try.text, found, try.id, try.line)
		}
	}
}

// Lines of a log are no halves of a sentence.
func TestLinesOfALogAreNotJoined(t *testing.T) {
	for _, log := range []string{
		"Response:\t550 x\nStatus:\tnot found",
		"< 550 no\n* not found\n> QUIT",
		"530 no\nlftp: login",
		"550 no\nftp> ls nothing not found",
		"550 no\nPASV not found",
		"550 no.\nnot found",
		"550 no\n2026-11-21 not found",
	} {
		for _, m := range Find(log) {
			if strings.Contains(m.Line, "550 ") && strings.Contains(m.Line, "found") {
				t.Errorf("%q finds %+v", log, m)
			}
		}
	}
}

// Logs of FileZilla have tabs.
func TestATabIsShownAsABlank(t *testing.T) {
	found := Find("Error:\tGnuTLS error -15: An unexpected TLS packet was received.")
	if len(found) != 1 || found[0].Line != "Error: GnuTLS error -15: An unexpected TLS packet was received." {
		t.Errorf("%+v", found)
	}
}

// What a program says in another language means what it says in English.
func TestOtherLanguages(t *testing.T) {
	for i := 0; i < len(translations); i += 2 {
		other, in := translations[i], translations[i+1]
		if strings.HasPrefix(in, "Response:") {
			other, in = other+" 530 Login incorrect.", in+" 530 Login incorrect."
		}
		var got, want []fault.ID
		for _, m := range Find(other) {
			got = append(got, m.ID)
		}
		for _, m := range Find(in) {
			want = append(want, m.ID)
		}
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%q finds %v, %q finds %v", other, got, in, want)
		}
	}
	for _, try := range []struct {
		id   fault.ID
		text string
	}{
		{fault.IDDataBlocked, "Befehl:\tPASV\nAntwort:\t227 Entering Passive Mode (203,0,113,5,175,202)\nBefehl:\tMLSD\nFehler:\tZeitüberschreitung der Verbindung nach 20 Sekunden Inaktivität\nFehler:\tVerzeichnisinhalt konnte nicht empfangen werden"},
		{fault.IDDataBlocked, "Commande :\tPASV\nRéponse :\t227 Entering Passive Mode (203,0,113,5,175,202)\nCommande :\tMLSD\nErreur :\tConnection interrompue après 20 secondes d’inactivité\nErreur :\tImpossible de récupérer le contenu du dossier"},
		{fault.IDWrongProto, "Fehler:\tKann keine FTP-Verbindung zu einem SFTP-Server aufbauen. Bitte wählen Sie ein geeignetes Protokoll."},
		{fault.IDTLSMissing, "Statut :\tServeur non sécurisé, celui‐ci ne prend pas en charge FTP sur TLS."},
		{fault.IDRefused, "Netzwerkfehler: Verbindung zum Host „ftp.example.net“ wurde abgelehnt."},
		{fault.IDRefused, "Erreur réseau : connexion à l'hôte \"ftp.example.net\" refusée."},
		{fault.IDRefused, "Es konnte keine Verbindung hergestellt werden, da der Zielcomputer die Verbindung verweigerte."},
		{fault.IDUnpublished, "227 Entering Passive Mode (203,0,113,5,175,202)\nAucune connexion n’a pu être établie car l’ordinateur cible l’a expressément refusée."},
		{fault.IDFiltered, "Erreur réseau : la connexion à \"ftp.example.net\" a pris trop de temps."},
	} {
		if found := Find(try.text); len(found) == 0 || found[0].ID != try.id || found[0].Line != strings.ReplaceAll(found[0].Line, "\t", " ") {
			t.Errorf("%q finds %+v; want %s first", try.text, found, try.id)
		}
	}
}

// What the same words can mean as well is told with them, unless the text decides.
func TestWordsOfTwoMeanings(t *testing.T) {
	found := Find("500 OOPS: vsf_sysutil_bind")
	if len(found) != 1 || found[0].ID != fault.IDActiveBind || !slices.Equal(found[0].Also, []fault.ID{fault.IDPool}) {
		t.Errorf("alone: %+v", found)
	}
	found = Find("227 Entering Passive Mode (203,0,113,5,175,202).\n500 OOPS: vsf_sysutil_bind")
	if len(found) != 1 || found[0].ID != fault.IDPool || len(found[0].Also) != 0 {
		t.Errorf("after 227: %+v", found)
	}
	found = Find("425 No free ports\n500 OOPS: vsf_sysutil_bind")
	if len(found) != 2 || len(found[0].Also)+len(found[1].Also) != 0 {
		t.Errorf("beside words that have one: %+v", found)
	}
}

// Programs that work have nothing to be explained.
func TestAHealthyLogFindsNothing(t *testing.T) {
	for _, log := range []string{
		"220 (vsFTPd 3.0.3)", "220 ProFTPD Server (Debian) [::ffff:192.0.2.7]", "220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------", "220-FileZilla Server 1.8.0", "220 dray ready.",
		"debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1", ". 2026-11-21 12:00:00.123 Server version: SSH-2.0-OpenSSH_9.2p1",
		"331 Please specify the password.", "331 Anonymous login ok, send your complete email address as your password", "331 User anna OK. Password required", "230 Login successful.", "230-You are user number 1 of 50 allowed.", "232 User logged in.",
		"234 Proceed with negotiation.", "200 PROT now Private.", "200 Always in UTF8 mode.", "200 PORT command successful. Consider using PASV.", "202 SITE command not implemented; superfluous",
		"227 Entering Passive Mode (203,0,113,5,175,202).", "229 Entering Extended Passive Mode (|||41007|)", "229 Extended Passive mode OK (|||41007|)",
		"150 Opening BINARY mode data connection for a.bin (1048576 bytes).", "150 Here comes the directory listing.", "125 Data connection already open; transfer starting.", "226 Transfer complete.", "226 Directory send OK.", "226-File successfully transferred", "226 Abort successful",
		"250 Directory successfully changed.", "257 \"/\" is the current directory", "350 Restart position accepted (1024).", "213 1048576", "213 20261121120000", "211-Features:", " EPSV", " MLST type*;size*;modify*;", "211 End", "215 UNIX Type: L8", "221 Goodbye.", "225 No transfer to ABOR.",
		"Status:\tDirectory listing of \"/\" successful", "Status:\tFile transfer successful, transferred 552 bytes in 1 second", "Status:\tTLS connection established.",
		"-rw-r--r--    1 1000     1000          530 Nov 21 12:00 421.txt", "drwxr-xr-x    2 0        0            4096 Nov 21 12:00 pub",
		"sshd[812]: Connection closed by 192.0.2.7 port 51234", "Connection closed by authenticating user root 192.0.2.7 port 51234 [preauth]", "Finished: FAILURE",
		"curl: option --foo: is unknown", "* We got a 421 - timeout", "* Connected to 127.0.0.1 (127.0.0.1) port 2104 (#0)", "* Connection #0 to host 127.0.0.1 left intact", "* Skip 127.0.0.1 for data connection, re-use 127.0.0.1 instead", "* OpenSSL/3.0.22 ", "> USER anonymous", "> STOR a.bin",
		"---- Got EOF on data connection", "---- Closing data socket", "552 bytes transferred", "550 files transferred", "530 MB free", "421 users", "sftp> put a.bin", "Uploading a.bin to /upload/a.bin", "a.bin                    100% 1024KB  12.3MB/s   00:00", "Accepted publickey for anna from 192.0.2.7 port 51234 ssh2: ED25519 SHA256:3g911bEVZVjiq9zCDoFLfW2pyQT7q57CfRIGr3TOqmE",
		"debug1: kex: algorithm: sntrup761x25519-sha512@openssh.com", "debug1: Authentication succeeded (publickey).", "Authenticated to 127.0.0.1 ([127.0.0.1]:2201) using \"publickey\".", "Warning: Permanently added '[127.0.0.1]:2201' (ED25519) to the list of known hosts.",
		"Sat Nov 21 12:00:00 2026 [pid 2] [anna] OK LOGIN: Client \"192.0.2.7\"", "Sat Nov 21 12:00:01 2026 [pid 3] [anna] OK UPLOAD: Client \"192.0.2.7\", \"/a.bin\", 1048576 bytes, 1024.00Kbyte/sec",
		"debug1: /etc/ssh/ssh_config line 19: include /etc/ssh/ssh_config.d/*.conf matched no files", "debug1: load_hostkeys: fopen /home/anna/.ssh/known_hosts2: No such file or directory", "debug2: /etc/ssh/sshd_config line 12: new subsystem",
		"DEBUG:paramiko.transport:EOF in transport thread", "2026/11/21 12:00:00 INFO  : a.bin: Copied (new)", "Resolving ftp.example.net (ftp.example.net)... 192.0.2.7", "==> SIZE a.bin ... 1048576", "local: a.bin remote: a.bin", "remote:/a.bin => local:a.bin",
		"220-This is a private system - No anonymous login", "220-Only anonymous FTP is allowed here", "pure-ftpd: (anna@192.0.2.7) [NOTICE] /home/anna//a.bin uploaded  (1048576 bytes, 1024.00KB/sec)", "pure-ftpd: (anna@192.0.2.7) [INFO] TLS: Enabled TLSv1.3 with TLS_AES_256_GCM_SHA384, 256 secret bits cipher",
		"proftpd[811] ftp.example.net (192.0.2.7[192.0.2.7]): Preparing to chroot to directory '/home/anna'", "mod_tls/2.9.2[811]: TLS/TLS-C requested, starting TLS handshake", "mod_sftp/1.1.1[811]:  + Session key exchange: curve25519-sha256",
		"sshd[812]: pam_unix(sshd:session): session opened for user anna(uid=1000) by (uid=0)", "internal-sftp[813]: session closed for local user anna from [192.0.2.7]", "sshd[812]: Received disconnect from 192.0.2.7 port 51234:11: disconnected by user",
		// A server in the client's own network.
		"Status:\tConnecting to 192.168.0.39:21...\nResponse:\t220 (vsFTPd 3.0.3)\nResponse:\t230 Login successful.\nCommand:\tPASV\nResponse:\t227 Entering Passive Mode (192,168,0,39,47,39)\nCommand:\tLIST\nResponse:\t150 Here comes the directory listing.\nResponse:\t226 Directory send OK.",
		"---- Connecting to 127.0.0.1 (127.0.0.1) port 2102\n<--- 220 (vsFTPd 3.0.3)\n<--- 227 Entering Passive Mode (127,0,0,1,175,202).\n---- Connecting data socket to (127.0.0.1) port 45002\n---- Data connection established\n<--- 226 Directory send OK.",
		"",
	} {
		if found := Find(log); len(found) > 0 {
			t.Errorf("%q finds %+v", log, found)
		}
	}
}

func TestWhatIsReadOutOfALine(t *testing.T) {
	for _, try := range []struct{ text, want string }{
		{"Received message too long 1416128883", `1416128883 is the text "This": the first four bytes of what the server printed`},
		{"Received message too long 1936094320", `1936094320 is the text "sftp": the first four bytes of what the server printed`},
		{"Received message too long 458961715", `458961715 is the text "\x1b[33": the first four bytes of what the server printed`},
		{"Received message too long 167772161", ""}, // 0a 00 00 01: an empty line, or a packet
		{"Received too large (1214606444 B) SFTP packet.", `1214606444 is the text "Hell": the first four bytes of what the server printed`},
		{"Bad packet length 1349676916.", `1349676916 is the text "Prot": the first four bytes of what the server printed`},
		{"received record with version 3030 when expecting version 303", `3030 is the text "00", the second and third letter of what the server wrote, as in "500 OOPS"`},
		{"oversized record received with length 8271", `8271 is the text " O", the fourth and fifth letter of what the server wrote, as in "500 OOPS"`},
		{"oversized record received with length 20527", `20527 is the text "P/" of "HTTP/": a web server, or a proxy, answered`},
		{"15 03 01 00 02 02 46", "15 03 is a TLS alert (protocol_version): the port speaks TLS from the first byte and refused what it got. ftps://HOST:PORT is the URL for that"},
		{`\x15\x03\x03\x00\x02\x02\x28`, "15 03 is a TLS alert (handshake_failure): the port speaks TLS from the first byte and refused what it got. ftps://HOST:PORT is the URL for that"},
		{"227 Entering Passive Mode (192,168,0,39,47,39)", "the server tells 192.168.0.39 and port 12071, which can be reached from its own network only"},
		{"227 Entering Passive Mode (0,0,0,0,117,58)", "the server tells 0.0.0.0 and port 30010, which is no address"},
		{"no matching host key type found. Their offer: ssh-rsa,ssh-dss", "the other side has ssh-rsa, ssh-dss"},
	} {
		found := Find(try.text)
		if len(found) != 1 || found[0].Note != try.want {
			t.Errorf("%q: %+v; want the note %q", try.text, found, try.want)
		}
	}
}

// What every failure ends with is no failure beside another one.
func TestTheEndOfAFailureIsTold(t *testing.T) {
	for _, end := range []string{"Error:\tFailed to retrieve directory listing", "Error:\tCritical error: Could not connect to server", "Connection closed"} {
		if found := Find(end); len(found) != 1 {
			t.Errorf("%q alone finds %+v", end, found)
		}
		for _, reply := range []string{"530 Login incorrect.", "530 Nothing that is known"} {
			if found := Find(reply + "\n" + end); len(found) != 1 || found[0].ID != fault.IDAuth {
				t.Errorf("%q below %q finds %+v", end, reply, found)
			}
		}
	}
}

// A reply whose words are not known says nothing where another line does.
func TestAReplyOfUnknownWordsIsToldAlone(t *testing.T) {
	for _, log := range []string{"550 Nothing that is known\n530 Login incorrect.", "530 Login incorrect.\n550 Nothing that is known", "500 Nothing that is known\n530 Login incorrect.\nConnection closed"} {
		if found := Find(log); len(found) != 1 || found[0].ID != fault.IDAuth {
			t.Errorf("%q finds %+v", log, found)
		}
	}
	if found := Find("500 Nothing that is known\n421 Nor is this"); len(found) != 2 || found[0].ID != fault.IDShutdown || found[1].ID != fault.IDServerSaysNo {
		t.Errorf("two of them: %+v", found)
	}
}

// Of several failures in a log, the most specific stands first, each once.
func TestTheMostSpecificComesFirst(t *testing.T) {
	found := Find("curl: (28) Operation timed out after 3000 milliseconds with 0 bytes received\n" +
		"ls: Fatal error: max-retries exceeded (Connection refused)\n" +
		"530 Login incorrect.\n530 Login incorrect.\n" +
		"522 SSL connection failed: session reuse required\n")
	var ids []fault.ID
	for _, m := range found {
		ids = append(ids, m.ID)
	}
	if want := []fault.ID{fault.IDTLSReuse, fault.IDAuth, fault.IDRefused, fault.IDNoAnswer}; !slices.Equal(ids, want) {
		t.Errorf("%v; want %v", ids, want)
	}
}

func TestOnlyTheEndOfALongTextIsLookedAt(t *testing.T) {
	const failure = "\n522 SSL connection failed: session reuse required\n"
	for _, fill := range []string{strings.Repeat("a", maxText), strings.Repeat("226 Transfer complete.\n", maxLines)} {
		if found := Find(fill + failure); len(found) != 1 || found[0].ID != fault.IDTLSReuse {
			t.Errorf("at the end of %d bytes: %+v", len(fill), found)
		}
		if found := Find(failure + fill); len(found) != 0 {
			t.Errorf("before the last %d bytes: %+v", len(fill), found)
		}
	}
}

// Words that other lists of failures have lead to the ids that they have here.
func TestOtherWordsLeadToIDs(t *testing.T) {
	for word, id := range aliases {
		if e, ok := For(id); !ok {
			t.Errorf("%s leads to %s, which does not exist: %+v", word, id, e)
		}
		if _, ok := For(fault.ID(word)); ok {
			t.Errorf("%s is an id itself", word)
		}
		if got, ok := Named(word); !ok || got.ID != id {
			t.Errorf("Named(%q) = %s, %v", word, got.ID, ok)
		}
	}
	for _, try := range []struct{ word, want string }{
		{"data-blocked", "data-blocked"}, {"[data-blocked]", "data-blocked"}, {" Data-Blocked ", "data-blocked"}, {"pasv-private", "pasv-address"}, {"no-such-id", ""}, {"", ""},
	} {
		if e, ok := Named(try.word); ok != (try.want != "") || string(e.ID) != try.want {
			t.Errorf("Named(%q) = %s, %v; want %s", try.word, e.ID, ok, try.want)
		}
	}
}

func TestCloseIDs(t *testing.T) {
	for _, try := range []struct {
		word string
		want []fault.ID
	}{
		{"data-bloked", []fault.ID{fault.IDDataBlocked}},
		{"hostkey-change", []fault.ID{fault.IDHostKeyOther}},
		{"pasv-privat", []fault.ID{fault.IDPasvAddress}},
		{"stal", []fault.ID{fault.IDStall}},
		{"ssh-chroot", []fault.ID{fault.IDChrootOwner}},
		{"something-else-altogether", nil},
		{"", nil},
	} {
		if got := Close(try.word); !slices.Equal(got, try.want) {
			t.Errorf("Close(%q) = %v; want %v", try.word, got, try.want)
		}
	}
}

// Whatever is pasted, what is found can be explained, and its line stands in the text.
func FuzzFind(f *testing.F) {
	for _, s := range said {
		f.Add(s.text)
	}
	f.Add("227 (999,999,1,1,1,1)")
	f.Add("Received message too long 99999999999999999999")
	f.Add("Skip 10.\x1b.2.3 for data connection, re-use 2")
	f.Fuzz(func(t *testing.T, s string) {
		start := time.Now()
		seen := map[fault.ID]bool{}
		for _, m := range Find(s) {
			if _, ok := For(m.ID); !ok || seen[m.ID] {
				t.Errorf("%q finds %s, which is unknown or there twice", s, m.ID)
			}
			seen[m.ID] = true
			for _, id := range m.Also {
				if _, ok := For(id); !ok {
					t.Errorf("%q finds %s, which is unknown", s, id)
				}
			}
			if m.Line == "" || strings.ContainsAny(m.Line+m.Note, "\n\r\x1b") || len(m.Line) > maxFact {
				t.Errorf("not one clean line: %+v", m)
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

var wordOfCapitals = regexp.MustCompile(`^[A-Z]`)

func TestPatternsAreWellMade(t *testing.T) {
	for i, p := range patterns {
		if _, ok := For(p.id); !ok {
			t.Errorf("pattern %d is of %q, which is unknown", i, p.id)
		}
		if strings.HasSuffix(p.note, ".") || p.note != "" && wordOfCapitals.MatchString(p.note) && !strings.HasPrefix(p.note, "TLS") && !strings.HasPrefix(p.note, "UTF-8") {
			t.Errorf("the note of pattern %d (%s) has a full stop or begins large: %q", i, p.id, p.note)
		}
		for j, id := range p.also {
			if _, ok := For(id); !ok || id == p.id || slices.Contains(p.also[:j], id) {
				t.Errorf("pattern %d (%s) also means %q, which is unknown, itself or there twice", i, p.id, id)
			}
		}
		if p.note != "" && p.decode != nil {
			t.Errorf("pattern %d (%s) has a note and a decoder", i, p.id)
		}
	}
	for i, c := range compile() {
		if len(c.literals) == 0 {
			t.Errorf("pattern %d (%s) has nothing to look for first: %s", i, c.id, c.pattern.re)
		}
	}
}
