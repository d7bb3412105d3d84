package explain

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"dray/fault"
)

// What Find looks at, from the end of a text: the failure stands there.
const (
	maxText    = 64 << 10
	maxLines   = 2000
	maxWrapped = 40 // lines of a text whose sentences may be broken by line ends
)

// A Match is what a line of a text says.
type Match struct {
	ID      fault.ID
	Program string // whose words these are; "" when several programs have them
	Line    string // the line, clean as a fact is
	Note    string // what was read out of it, one sentence without a full stop; "" when nothing more

	// Also is what the same words mean as well, when no line of the text decides
	// between them. It must not be changed.
	Also []fault.ID
}

// A when is what must have been seen above a line for a pattern to count.
type when uint8

const (
	greeted  when = 1 << iota // 220, and so each reply: FTP was spoken
	passive                   // 227 or 229, and no 226 since
	active                    // PORT or EPRT, and no 226 since
	secured                   // TLS had begun
	loggedIn                  // 230
	storing                   // STOR or APPE, and no 226 since
)

// A tier says how early a pattern is told, wherever it stands in the table. Those of the
// last two are told only where no line of the text has a pattern of a tier before.
type tier uint8

const (
	byWords      tier = iota
	behindOthers      // it says less than others do
	byCodeAlone       // a reply of which only the code is known
	whereAlone        // what failures end with
)

// A pattern is how a program says something.
type pattern struct {
	id      fault.ID
	program string
	re      string // RE2, upper and lower case alike
	when    when
	after   string // RE2: only below a line that has this
	except  string // RE2: not where this is in the line too
	tier    tier
	also    []fault.ID
	note    string

	// decode reads more out of what re has captured; before is the text above the
	// line. false: it is not what it looked like.
	decode func(m []string, before string) (note string, ok bool)
}

// unnamed is what code 4 of SFTP can mean, whose only words are "Failure".
var unnamed = []fault.ID{fault.IDExists, fault.IDNoSpace, fault.IDQuota, fault.IDSetstat, fault.IDAcrossMounts}

// clearText is how libraries say that text came where TLS was to be.
const clearText = `wrong.version.number|An unexpected TLS packet was received|A record packet with illegal version was received|GnuTLS error -(?:8|15)\b|unrecogni[sz]ed SSL message|handshake failed due to an unexpected packet format|a corrupted frame was received|SEC_E_(?:INVALID_TOKEN|ILLEGAL_MESSAGE)`

// patterns are all words that are known. What comes first is more specific: a line
// is told by the first pattern that it has, and matches are told in this order.
var patterns = slices.Concat([]pattern{

	// vsftpd's last words.
	{id: fault.IDWritableRoot, program: "vsftpd", re: `refusing to run with writ[e]?able root inside chroot`},
	{id: fault.IDHomeMissing, program: "vsftpd", re: `OOPS: (?:cannot change directory|chdir|child: chdir)`},
	{id: fault.IDOopsLog, program: "vsftpd", re: `OOPS: failed to open (?:vs|xfer)\w* ?log`},
	{id: fault.IDPortTaken, program: "vsftpd", re: `OOPS: could not (?:bind listening|listen)`, also: []fault.ID{fault.IDLowPort, fault.IDVsftpdConfig}},
	{id: fault.IDVsftpdConfig, program: "vsftpd", re: `OOPS: (?:unrecogni[sz]ed variable|bad bool value|bad value|missing value|invalid pasv_address|bad listen_address|cannot read config file|config file not owned|run two copies of vsftpd)|OOPS: vsftpd: (?:both local and anonymous access disabled|not found: directory given in 'secure_chroot_dir'|cannot locate user specified)`},
	{id: fault.IDVsftpdConfig, program: "vsftpd", re: `OOPS: (?:cannot read (?:banner|anon e-mail list|email passwords|user list) file|could not read chroot\(\) list file|error opening per-user config file)`, note: "a setting names a file that is missing or that vsftpd can't read: make the file, an empty one will do, or take the setting out"},
	{id: fault.IDVsftpdConfig, program: "vsftpd", re: `OOPS: SSL: (?:cannot load (?:RSA|DSA)|could not load (?:verify|client certs) file|cannot load custom)`, note: "rsa_cert_file, rsa_private_key_file or ca_certs_file names a file that is missing, can't be read or is no PEM, or the key belongs to another certificate"},
	{id: fault.IDVsftpdConfig, program: "vsftpd", re: `OOPS: SSL: could not set cipher list`, note: "ssl_ciphers has nothing that this OpenSSL knows; ssl_ciphers=HIGH works"},
	{id: fault.IDVsftpdConfig, program: "vsftpd", re: `vsftpd: not configured for standalone, must be started from inetd`, note: "it listens by itself with listen=YES or listen_ipv6=YES, one of them"},
	{id: fault.IDVsftpdConfig, program: "vsftpd", re: `OOPS: cannot locate user entry:`, note: "the login was right (PAM) and the system has no such user: guest_enable=YES is for virtual users; otherwise nopriv_user or ftp_username names one that does not exist"},
	{id: fault.IDVsftpdConfig, program: "vsftpd", re: `OOPS: (?:unrecogni[sz]e option|cannot resolve host:|(?:vsftpd: )?(?:SSL: ssl_enable|tcp_wrappers) is set)|vsftpd: (?:must be started as root|both FTP and HTTP disabled|security: 'one_process_model'|HTTP needs 'one_process_model')`},
	{id: fault.IDSandbox, program: "vsftpd", re: `OOPS: (?:vsf_sysutil_recv_peek|vsf_secutil_change_credentials|asked to keep capabilities|out of syscall space|cap_set_proc|capset|chroot|fork|initgroups|set(?:e?[gu]id|groups|rlimit)\b)`},
	{id: fault.IDSandbox, program: "vsftpd", re: `OOPS: (?:priv_sock_(?:get|send|recv)_\w+|child died|prctl |munmap|could not (?:allocate sandbox|launch sandboxed child))`},
	{id: fault.IDPool, program: "vsftpd", re: `OOPS: vsf_sysutil_bind(?: /|, maximum number of attempts)`},
	{id: fault.IDPool, program: "vsftpd", re: `OOPS: vsf_sysutil_bind`, when: passive},
	{id: fault.IDActiveBind, program: "vsftpd", re: `OOPS: vsf_sysutil_bind`, also: []fault.ID{fault.IDPool}},

	// The beginning of SFTP.
	{id: fault.IDSFTPNoise, program: "OpenSSH", re: `Received message too long(?: (\d+))?`, decode: packetLength},
	{id: fault.IDSFTPNoise, program: "WinSCP", re: `Received too large \((-?\d+) B\) SFTP packet`, decode: packetLength},
	{id: fault.IDSFTPNoise, program: "WinSCP", re: `caused by message printed from startup script`},
	{id: fault.IDSFTPNoise, program: "Go", re: `initialise SFTP: packet too long|error receiving version packet from server|sftp: packet too long`},
	{id: fault.IDSFTPNoise, program: "paramiko", re: `Garbage packet received`},
	{id: fault.IDSFTPNoise, program: "PuTTY", re: `unable to initialise SFTP: could not connect`},
	{id: fault.IDSFTPNoise, re: `shell produces no output for non-interactive sessions`},
	{id: fault.IDNoSFTP, re: `This account is currently not available`},
	{id: fault.IDNoSFTP, program: "OpenSSH", re: `subsystem request failed on channel|Request for subsystem '\S+' failed`},
	{id: fault.IDNoSFTP, program: "Go", re: `ssh: subsystem request failed`},
	{id: fault.IDNoSFTP, program: "libssh2", re: `Unable to request SFTP subsystem|Unable to startup channel.*subsystem`},
	{id: fault.IDNoSFTP, re: `ChannelException\(1,|ssh: rejected: administratively prohibited|channel \d+: open failed: administratively prohibited`, also: []fault.ID{fault.IDBusy}, note: "the server opens no such channel for this account: MaxSessions, restrict in authorized_keys, or a way through it (ProxyJump) that is switched off"},
	{id: fault.IDNoSFTP, program: "WinSCP", re: `Cannot initialize SFTP protocol`},
	{id: fault.IDNoSFTP, program: "phpseclib", re: `Expected (?:NET_SFTP|SSH_FXP)_VERSION`, also: []fault.ID{fault.IDSFTPNoise}},
	{id: fault.IDNoSFTP, program: "sshd", re: `subsystem request for sftp.*failed|error: subsystem: cannot stat`},
	{id: fault.IDProtocol, program: "sshd", re: `This service allows sftp connections only|refusing non-sftp session|(?:exec|shell) request failed on channel`, note: "the account is for SFTP only: sftp in place of ssh, scp -O and rsync"},
	{id: fault.IDNotBuilt, program: "scp", re: `\bscp: (?:command )?not found`, also: []fault.ID{fault.IDProtocol}, note: "the machine of the server has no program scp: sftp needs none, nor does scp since version 9.0, without -O"},
	{id: fault.IDUnsafeName, program: "scp", re: `protocol error: filename does not match request|error: unexpected filename: `, note: "scp asked for one name and was sent another: a pattern in quotes, or a path that ends in a dot; sftp has no such difficulty"},
	{id: fault.IDSFTPNoise, program: "OpenSSH", re: `Invalid packet back from SSH2_FXP_INIT|protocol error: (?:expected control record|unexpected <newline>|bad mode|(?:size|mode|[am]time\.u?sec) not delimited)`},
	{id: fault.IDChrootOwner, program: "sshd", re: `bad ownership or modes for chroot directory`},
	{id: fault.IDChrootOwner, re: `EOF during negotiation|couldn't initialise SFTP: (?:unexpected )?EOF|unexpected end-of-file from SFTP server`, note: "the server ended the connection after a login that worked; its log says why, mostly the owner of the directory for chroot"},
	{id: fault.IDKeysPerm, program: "sshd", re: `Authentication refused: (?:bad own|realpath )|Authentication refused for .*bad own|Ignored .*: bad ownership or modes|Could not open user '\S+' authorized keys|Could not open authorized keys`},
	{id: fault.IDLocal, program: "JSch", re: `invalid privatekey`, also: []fault.ID{fault.IDAuth}, note: "the old JSch reads keys in PEM only, not those that OpenSSH writes since version 7.8: ssh-keygen -p -m PEM -f FILE rewrites one"},
	{id: fault.IDLocal, program: "PuTTY", re: `Unable to (?:use|load) (?:this )?(?:key file|private key)|Couldn't load private key from|Key file contains public key only|PuTTY key format too new|not a recognised key file format`, also: []fault.ID{fault.IDAuth}, note: "the programs of PuTTY read .ppk files, and puttygen makes them of others; one that is too new needs a newer PuTTY, or puttygen --ppk-param version=2"},
	{id: fault.IDLocal, program: "SSH.NET", re: `Invalid private key file`, also: []fault.ID{fault.IDAuth}},
	{id: fault.IDLocal, program: "paramiko", re: `not a valid \w+ private key file|encountered \w+ key, expected \w+ key|Private key file is encrypted|private key file checkints do not match|no lines in \w+ private key file|q must be exactly 160, 224, or 256 bits long`, also: []fault.ID{fault.IDAuth}, note: "the key is of another kind than the program expects, or has a passphrase that is missing or wrong; a .ppk of PuTTY has to be converted"},
	{id: fault.IDLocal, program: "Go", re: `failed to (?:read|parse) private key|private key is passphrase protected|ssh: no key found|SSH_AUTH_SOCK not-specified`, also: []fault.ID{fault.IDAuth}, note: "the file of the user's key can't be read, is none of OpenSSH, or has a passphrase that was not given; or no agent runs"},
	{id: fault.IDKeyExposed, program: "OpenSSH", re: `UNPROTECTED PRIVATE KEY FILE|Permissions \d+ for '.*' are too open|Load key ".*": bad permissions`, note: "at a client it is the key of the user: ssh passes it over until its mode is 600"},
	{id: fault.IDLocal, program: "OpenSSH", re: `Load key ".*": (?:invalid format|error in libcrypto)`, also: []fault.ID{fault.IDAuth}, note: "the file is no private key as OpenSSH writes it: a .ppk of PuTTY has to be converted, a .pub is the other half, and a pasted one often lacks its last line end"},
	{id: fault.IDLocal, program: "OpenSSH", re: `Load key ".*": (?:No such file|Permission denied|Is a directory)`, also: []fault.ID{fault.IDAuth}},
	{id: fault.IDLocal, program: "OpenSSH", re: `Load key ".*": incorrect passphrase|bad passphrase given, try again`, also: []fault.ID{fault.IDAuth}, note: "the passphrase of the key file was wrong; it never leaves this machine"},
	{id: fault.IDLocal, program: "OpenSSH", re: `Load key ".*": Invalid key length`, also: []fault.ID{fault.IDAuth}, note: "the key is shorter than OpenSSH takes (RequiredRSASize): ssh-keygen -t ed25519 makes another"},
	{id: fault.IDHomeMissing, program: "sshd", re: `Unable to chdir to chroot path|Could not chdir to home directory|chroot path (?:".*" is not a directory|does not begin at root)`},
	{id: fault.IDHomeMissing, program: "Pure-FTPd", re: `Home directory not available|Unable to set up a secure chroot\(\) jail|\b421[ -]Can't change directory to `},
	{id: fault.IDHomeMissing, program: "Pure-FTPd", re: `Unable to set up secure anonymous FTP|Unable to find the 'ftp' account`, note: "anonymous gets the home of the system's account ftp, and the account or its home is missing"},
	{id: fault.IDHomeMissing, program: "ProFTPD", re: `chroot to '.*' failed for user|unable to use DefaultRoot |\w chdir\("/.*"\)(?: failed)?: |unable to chdir to \S+ \(|home directory is NULL|Unable to set anonymous privileges|CreateHome: error`},
	{id: fault.IDHomeMissing, program: "IIS", re: `530[- ]User cannot log in, home directory inaccessible|home directory inaccessible|\b(?:421|530)[ -].*home directory (?:is )?not (?:found|available)`},
	{id: fault.IDHomeMissing, program: "FileZilla Server", re: `\b550[ -](?:Home directory (?:does not exist|could not be accessed)|User does not have permission to access own home directory)`},

	// Servers that can't use their own settings.
	{id: fault.IDServerConfig, program: "ProFTPD", re: `fatal: .* on line \d+ of '|fatal: (?:error processing|unable to read) configuration file|error: no valid servers configured|Unable to start proftpd; check logs|no server available to handle request on`},
	{id: fault.IDPortTaken, program: "ProFTPD", re: `or another proftpd instance, is already using`},
	{id: fault.IDServerConfig, program: "ProFTPD", re: `unable to determine IP address of '`, note: "the name of the machine, or of a VirtualHost, has no address: /etc/hosts or DNS has to know it"},
	{id: fault.IDServerConfig, program: "ProFTPD", re: `error (?:reading|loading|checking key from) TLS\w+File|unable to use \w+ certificate .*'.*', exiting|unable to open TLSDHParamFile|error opening scoreboard|ScoreboardFile: unable to use|is a world-writable directory|unable to open (?:TransferLog|SystemLog|ExtendedLog|TLSLog|SFTPLog) '|fatal: .*Log: unable to open`, note: "the file that the line names is missing, can't be read or written, or, for a certificate, does not belong to its key"},
	{id: fault.IDKeyExposed, program: "ProFTPD", re: `as host key, as it is group- or world-accessible|accessible by group or world, which is not allowed`},
	{id: fault.IDServerConfig, program: "ProFTPD", re: `no available host keys, unable to handle session|error loading hostkey '|unable to use key in SFTPHostKey|cannot support both FTPS .* and SFTP`},
	{id: fault.IDPortTaken, program: "Pure-FTPd", re: `Unable to start a standalone server: \[Address already in use`},
	{id: fault.IDLowPort, program: "Pure-FTPd", re: `Unable to start a standalone server: \[Permission denied`},
	{id: fault.IDServerConfig, program: "Pure-FTPd", re: `\b421[ -]Configuration error|\] Configuration error: |Unable to start a standalone server|\b421[ -](?:Unknown run-time option|Unknown authentication method|Illegal forced IP|Missing virtual users file)|run pure-ftpd within a super-server|TLS: Invalid TLSCipherSuite|Unable to switch capabilities|: (?:property not found|syntax error) line \d+: \[`},
	{id: fault.IDServerConfig, program: "Pure-FTPd", re: `Unable to open \[/.*\]: No such file`},
	{id: fault.IDServerConfig, program: "Pure-FTPd", re: `Unable to read the indexed puredb file`, note: "the list of virtual users is missing, or was made by another version: pure-pw mkdb makes it"},
	{id: fault.IDServerConfig, program: "Pure-FTPd", re: `\] (?:SSL/)?TLS \[/.*\](?:\(\d+\))?: `, note: "the certificate that the line names is missing, can't be read, or has no key in it"},
	{id: fault.IDKeyExposed, program: "sshd", re: `Unable to load host key ".*": bad permissions`},
	{id: fault.IDServerConfig, program: "sshd", re: `no hostkeys available -- exiting|(?:Could not load|Unable to load) host key`, note: "ssh-keygen -A makes the host keys that are missing"},
	{id: fault.IDServerConfig, program: "sshd", re: `Missing privilege separation directory|must be owned by root and not group or world-writable|Privilege separation user \S+ does not exist|re-exec requires execution with an absolute path`},
	{id: fault.IDServerConfig, program: "sshd", re: `sshd_config\S*:? line \d+: |sshd_config: terminating, \d+ bad configuration|Unsafe \w+Command "`, except: `debug\d: `},
	{id: fault.IDLocal, program: "OpenSSH", re: `Bad owner or permissions on .*config|Can't open user config file|/\.?ssh\S*config\S*:? line \d+: |/\.?ssh\S*config: terminating, \d+ bad configuration|command-line:? line \d+: `, except: `debug\d: `, note: "the settings of ssh on this machine: the line is wrong or for another version, or others may write to the file (chmod 600)"},
	{id: fault.IDLocal, program: "OpenSSH", re: `Identity file .* not accessible|no such identity: `, also: []fault.ID{fault.IDAuth}},
	// SSH before the login.
	{id: fault.IDHostKeyAlg, program: "OpenSSH", re: `no matching host key type found(?:\. Their offer: (\S+))?`, decode: offer},
	{id: fault.IDHostKeyAlg, program: "OpenSSH", re: `Bad server host key: Invalid key length|port \d+: Invalid key length`, note: "the server's RSA key is shorter than this side takes (RequiredRSASize); it needs one of 2048 bits or more, or ed25519"},
	{id: fault.IDHostKeyAlg, program: "Go", re: `no common algorithm for host key`},
	{id: fault.IDHostKeyAlg, program: "paramiko", re: `Incompatible ssh (?:peer|server) \(no acceptable host key\)`},
	{id: fault.IDHostKeyAlg, program: "PuTTY", re: `Couldn't agree a host key algorithm`},
	{id: fault.IDHostKeyAlg, program: "ProFTPD", re: `no shared server hostkey algorithm found`},
	{id: fault.IDHostKeyAlg, program: "phpseclib", re: `No compatible server host key algorithms found`},
	{id: fault.IDHostKeyAlg, program: "libssh2", re: `Unable to exchange encryption keys|Failure establishing ssh session: -5`, note: "libssh2 (curl, PHP) does not say which algorithm; the log of the server does"},
	{id: fault.IDKexCipher, program: "OpenSSH", re: `no matching (?:key exchange method|cipher|MAC|compression method) found(?:\. Their offer: (\S+))?`, decode: offer},
	{id: fault.IDKexCipher, program: "OpenSSH", re: `DH.GEX group out of range|No supported key exchange algorithms`},
	{id: fault.IDKexCipher, program: "Go", re: `no common algorithm for (?:key exchange|(?:client to server|server to client) (?:cipher|MAC|compression))`},
	{id: fault.IDKexCipher, program: "paramiko", re: `Incompatible ssh (?:peer|server) \(no acceptable (?:kex algorithm|ciphers?|macs?)`},
	{id: fault.IDKexCipher, program: "PuTTY", re: `Couldn't agree a (?:key exchange algorithm|client-to-server|server-to-client|\S+ cipher)`},
	{id: fault.IDHostKeyAlg, program: "PuTTY", re: `first host key type .* below the configured warning threshold`},
	{id: fault.IDKexCipher, program: "PuTTY", re: `below the configured warning threshold|weak crypto primitive in batch mode`, note: "the programs of PuTTY ask before they use such an algorithm, and in batch mode nobody answers"},
	{id: fault.IDKexCipher, program: "ProFTPD", re: `no shared (?:key exchange|client-to-server|server-to-client) .*algorithm found`},
	{id: fault.IDKexCipher, program: "phpseclib", re: `No compatible .*algorithms? found`},
	{id: fault.IDKexCipher, program: "SSH.NET", re: `Key exchange negotiation failed`},
	{id: fault.IDKexCipher, program: "JSch, sshj, Apache SSHD", re: `Algorithm negotiation fail|Unable to reach a settlement|Unable to negotiate key exchange`},
	{id: fault.IDKexCipher, program: "ssh2 (Node)", re: `Handshake failed: no matching`},
	{id: fault.IDUserKeySHA1, program: "sshd", re: `(?:signature algorithm|key type) \S+ not in PubkeyAccepted(?:Algorithms|KeyTypes)`},
	{id: fault.IDUserKeySHA1, program: "OpenSSH", re: `no mutual signature (?:algorithm|supported)`},
	{id: fault.IDUserKeySHA1, program: "OpenSSH", re: `signing failed for RSA ".*": error in libcrypto`, also: []fault.ID{fault.IDLocal}, note: "this machine's own rules for cryptography do not allow SHA-1"},
	{id: fault.IDAuth, program: "OpenSSH", re: `signing failed for .*: (?:agent refused operation|error in libcrypto|device not found|incorrect passphrase)`, note: "the agent or the file of the key did not sign, so the key was not tried: a wrong mode of its file, a confirmation that nobody gave, a token that is not there"},
	{id: fault.IDUserKeySHA1, program: "sshd", re: `Refusing RSA key because (?:client|peer) uses unsafe signature`},
	{id: fault.IDTooManyAuth, program: "OpenSSH", re: `Too many authentication failures`, except: `\b(?:421|530)[ -]`},
	{id: fault.IDTooManyAuth, program: "sshd", re: `maximum authentication attempts exceeded`},
	{id: fault.IDPQWarning, program: "OpenSSH", re: `not using a post-quantum key exchange|vulnerable to "?store now, decrypt later"?`},
	{id: fault.IDHostKeyGone, program: "OpenSSH", re: `REVOKED HOST KEY DETECTED|host key .* (?:is )?(?:marked as )?revoked`},
	{id: fault.IDHostKeyOther, program: "OpenSSH", re: `REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for \S+ has changed|Offending \S+ key in|POSSIBLE DNS SPOOFING DETECTED|host key for '.*' differs from the key for the IP address`},
	{id: fault.IDHostKeyOther, program: "PuTTY, WinSCP", re: `host key does not match the one|POTENTIAL SECURITY BREACH|Host key (?:not in|did not appear in) manually configured list|Host key does not match configured key`},
	{id: fault.IDHostKeyOther, program: "Go", re: `knownhosts: key mismatch|ssh: (?:handshake failed: )?host key mismatch`},
	{id: fault.IDHostKeyOther, program: "paramiko", re: `Host key for server '?\S+?'? does not match`},
	{id: fault.IDHostKeyOther, program: "curl", re: `mismatch (?:md5|sha256) fingerprint|SSL peer certificate or SSH remote key was not OK`},
	{id: fault.IDHostKeyOther, program: "JSch", re: `HostKey has been changed`},
	{id: fault.IDHostKeyNew, program: "OpenSSH", re: `The authenticity of host .* can't be established|No \S+ host key is known for`},
	{id: fault.IDHostKeyNew, program: "Go", re: `knownhosts: key is unknown`},
	{id: fault.IDHostKeyNew, program: "paramiko", re: `not found in known_hosts|No hostkey for host \S+ found|No Host Keys Found`},
	{id: fault.IDHostKeyNew, program: "PuTTY, WinSCP", re: `host key is not cached|Host key wasn't verified|Cannot confirm a host key in batch mode`},
	{id: fault.IDHostKeyNew, program: "JSch", re: `UnknownHostKey`},
	{id: fault.IDHostKeyOther, program: "OpenSSH", re: `Host key verification failed`, note: "the lines above it tell whether the key has changed or is only new"},

	// Bytes of another protocol.
	{id: fault.IDWrongProto, program: "FileZilla", re: `Cannot establish FTP connection to an SFTP server`, note: "the port speaks SSH: sftp://HOST"},
	{id: fault.IDWrongProto, re: `(?:^\s*<-{0,4} *|Response: *|Invalid reply: *"?|FTP response.*|unexpected (?:first )?(?:reply|greeting|response).*|reply: *'?|ftplib\.error_\w+: *'?)SSH-[12]\.`, note: "the port speaks SSH: sftp://HOST:PORT"},
	{id: fault.IDWrongProto, program: "OpenSSH", re: `banner line \d+: 220[ -]|protocol (?:version )?identification.*220[ -]`, note: "the port speaks FTP: ftp://HOST:PORT"},
	{id: fault.IDWrongProto, program: "OpenSSH", re: `(?:banner line \d+: |identification '?)(?:HTTP/1|<!DOCTYPE|<html)`, note: "the port speaks HTTP, the protocol of the web"},
	{id: fault.IDWrongProto, program: "sshd", re: `(?:protocol version identification|invalid protocol identifier) ["'](?:USER|AUTH TLS|FEAT|HOST|QUIT)\b`, note: "an FTP client spoke to the SSH port; it needs ftp:// and port 21, or SFTP"},
	{id: fault.IDWrongProto, program: "sshd", re: `(?:protocol version identification|invalid protocol identifier) ["'](?:GET|POST|HEAD|CONNECT|OPTIONS) `, note: "a web browser, or a scanner, spoke to the SSH port"},
	{id: fault.IDWrongProto, program: "sshd", re: `Bad protocol version identification '(?:[^\\]|$)|client sent invalid protocol identifier "[^\\]`, note: "something else than SSH spoke to the SSH port"},
	{id: fault.IDWrongProto, re: `\\026\\003|\\x16\\x03|\\u0016\\u0003|\x16\x03[\x00-\x04]|\b16 ?03 ?0[0-4] [0-9a-f]{2}|\b16:03:0[0-4]:`, note: "16 03 is the beginning of TLS: the other side began with TLS on a port with a clear-text beginning. ftps:// is for the implicit port, usually 990; on 21 it is ftp:// with explicit TLS"},
	{id: fault.IDWrongProto, re: `\b15 ?03 ?0[0-4] ?00 ?02(?: ?(0[12]) ?([0-9a-f]{2}))?|\\x15\\x03\\x0[0-4]\\x00\\x02(?:\\x(0[12])\\x([0-9a-f]{2}))?`, decode: tlsAlert},
	{id: fault.IDWrongProto, re: `\b53 ?53 ?48 ?2d\b`, note: "these bytes are the text \"SSH-\": the port speaks SSH, which is sftp://HOST:PORT"},
	{id: fault.IDWrongProto, re: `\b32 ?32 ?30 ?(?:20|2d)\b`, note: "these bytes are the text \"220\": the port begins in clear text with FTP (or SMTP), which is ftp://HOST:PORT with explicit TLS"},
	{id: fault.IDPlainInTLS, re: `\b35 ?30 ?30 ?20\b`, note: "these bytes are the text \"500 \", the beginning of a refusal"},
	{id: fault.IDWrongProto, re: `\b48 ?54 ?54 ?50\b`, note: "these bytes are the text \"HTTP\": a web server has that port"},
	{id: fault.IDProxy, re: `HTTP code \d+ from proxy|CONNECT tunnel failed|HTTP/1\.[01] (?:407|403) .*proxy|Proxy requires authentication|Can't connect to proxy server|Proxy request failed|SOCKS\S* .*(?:rejected|failed|refused|not allowed)|Can't complete SOCKS[45] connection|rejected by the SOCKS5 server|Could not resolve proxy|Couldn't resolve proxy|Proxy error:|Proxy authentication failed`},
	{id: fault.IDWrongProto, program: "vsftpd, Pure-FTPd", re: `HTTP protocol commands not allowed|HTTP command: \[`, note: "a web browser, or a scanner, spoke to the FTP port"},
	{id: fault.IDWrongProto, re: `HTTP/1\.[01] 4\d\d`, note: "a web server answered: the port belongs to http:// or https://"},
	{id: fault.IDWrongProto, re: `\b220[ -].*\bE?SMTP\b`, note: "a mail server answered (SMTP)"},
	{id: fault.IDWrongProto, re: `^(?:[<-]+ *)?\+OK\b`, note: "a mail server answered (POP3)"},
	{id: fault.IDWrongProto, re: `^(?:[<-]+ *)?\* OK(?: \[CAPABILITY|.*IMAP| )`, note: "a mail server answered (IMAP)"},
	{id: fault.IDWrongProto, program: "OpenSSH", re: `timed out during banner exchange|banner line contains invalid characters|banner exchange: .*invalid format`, note: "no SSH came from that port: FTP servers wait there for the client, ftp://HOST:PORT"},
	{id: fault.IDWrongProto, re: `does not contain SSH protocol identification|Error reading SSH protocol banner|Timed out while waiting for handshake|Socket read operation has timed out|Timed out waiting for initial greeting|Protocol mismatch\.`, note: "no SSH came from that port: if it is FTP's, the URL is ftp://HOST:PORT"},
	{id: fault.IDWrongProto, program: "Go", re: `overflow reading version string`, note: "no SSH came from that port: if it is FTP's, the URL is ftp://HOST:PORT"},
	{id: fault.IDWrongProto, program: "libssh2", re: `Failure establishing ssh session: -(?:13|43)|Failed getting banner`, note: "no SSH came from that port: if it is FTP's, the URL is ftp://HOST:PORT"},
	{id: fault.IDSSHFailed, program: "paramiko", re: `Key-exchange timed out waiting|Signature verification \(\S+\) failed|SSHException: (?:Negotiation failed|No existing session|Invalid packet blocking)`, also: []fault.ID{fault.IDTooManyAuth}},
	{id: fault.IDSSHFailed, program: "Go", re: `ssh: invalid packet length`},
	{id: fault.IDSSHFailed, program: "JSch", re: `JSchException: verify: false`, note: "the signature of the server's host key could not be verified"},
	{id: fault.IDSSHFailed, program: "libssh2", re: `Failure establishing ssh session`},
	{id: fault.IDSSHFailed, program: "OpenSSH", re: `Bad packet length (\d+)`, decode: packetLength},
	{id: fault.IDLost, re: `Corrupted MAC on input|message authentication code incorrect|Incorrect (?:MAC|CRC) received on packet|Mismatched MAC\b`, also: []fault.ID{fault.IDSSHFailed}, note: "bytes were changed on the way: by a faulty network card or its offloading, or by a device between"},
	{id: fault.IDSSHFailed, program: "OpenSSH", re: `ssh_dispatch_run_fatal: Connection \w+ \S+ port \d+: (?:incorrect signature|invalid format|error in libcrypto|unexpected internal error|invalid elliptic curve)`},

	// SSH that was hung up on.
	{id: fault.IDSSHDropped, program: "sshd", re: `past MaxStartups|Exceeded MaxStartups|beginning MaxStartups throttling|refused connect from (?:.*tcp wrapper|\S+ \()|Connection refused by tcp wrapper|penalty: `},
	{id: fault.IDSSHDropped, program: "OpenSSH", re: `(?:kex_exchange_identification|ssh_exchange_identification): (?:read: )?Connection (?:closed|reset)`},
	{id: fault.IDSSHDropped, program: "PuTTY, WinSCP", re: `Remote side unexpectedly closed network connection|Server unexpectedly closed network connection`},
	{id: fault.IDSSHDropped, program: "JSch", re: `connection is closed by foreign host|End of IO Stream Read`},
	{id: fault.IDSSHDropped, program: "Go", re: `ssh: handshake failed: (?:EOF|read tcp .*connection reset)`},

	// TLS on data connections.
	{id: fault.IDTLSReuse, program: "vsftpd", re: `session reuse required|No SSL session reuse on data channel`},
	{id: fault.IDTLSReuse, program: "FileZilla Server", re: `TLS session of data connection (?:has )?not resumed`},
	{id: fault.IDTLSReuse, program: "ProFTPD", re: `Client did not reuse (?:SSL|TLS) session`},
	{id: fault.IDTLSReuse, program: "ProFTPD", re: `Unable to build data connection: Operation not permitted`},
	{id: fault.IDTLSReuse, program: "wget", re: `FTPS server rejects new SSL sessions in the data connection`, note: "wget --ftps-resume-ssl takes the session of the control connection along"},
	{id: fault.IDTLSReuse, program: "Bitvise", re: `TLS session for the data connection was not resumed`},
	{id: fault.IDTLSData, program: "vsftpd", re: `\b522[ -]SSL connection failed`, also: []fault.ID{fault.IDTLSReuse, fault.IDTLSVersion}},
	{id: fault.IDProtRequired, program: "vsftpd", re: `Data connections must be encrypted`},
	{id: fault.IDProtRequired, program: "ProFTPD", re: `SSL/TLS required on the data channel|required but absent on data channel|TLSRequired requires protection for data`},
	{id: fault.IDUnsupported, program: "pyftpdlib", re: `\b502[ -]Unrecognized PROT type|\b521[ -]PROT \S+ unsupported`},
	{id: fault.IDProtRequired, program: "FileZilla Server", re: `\b534[ -](?:This server requires an encrypted data connection with PROT P|Protection level \S+ not allowed)`},
	{id: fault.IDProtRequired, program: "ftpserverlib", re: `unable to open transfer: TLS is required`},
	{id: fault.IDProtRequired, program: "ProFTPD", re: `\b534[ -]Unwilling to accept security parameters`, also: []fault.ID{fault.IDTLSRequired, fault.IDTLSMissing}, note: "TLSRequired does not allow this PROT, CCC or AUTH"},
	{id: fault.IDTLSData, program: "ProFTPD", re: `unable to open data connection: TLS negotiation failed`, also: []fault.ID{fault.IDTLSReuse}},
	{id: fault.IDTLSData, program: "wget", re: `Could not perform SSL handshake`, also: []fault.ID{fault.IDTLSReuse}},
	{id: fault.IDProtRequired, re: `\b52[12][ -].*\bPROT\b|data connection must be encrypted|PROT P (?:is )?required`},
	{id: fault.IDTLSFailed, program: "GnuTLS", re: `gnutls_handshake.*non-properly terminated`, also: []fault.ID{fault.IDALG, fault.IDImplicitTLS}},
	{id: fault.IDTLSNoClose, program: "GnuTLS", re: `TLS connection was non-properly terminated|GnuTLS error -110`},
	{id: fault.IDTLSNoClose, program: "FileZilla", re: `did not properly shut down TLS|from transfer socket: ECONNABORTED`},
	{id: fault.IDTLSNoClose, program: "Python", re: `OSError: \[Errno 0\] Error|application data after close notify`, note: "ftplib ends TLS on the data connection (unwrap), and the server did not take part in it"},
	{id: fault.IDTLSNoClose, program: "vsftpd", re: `connection terminated without SSL shutdown`},
	{id: fault.IDTLSNoClose, program: "OpenSSL", re: `SSL routines:.*unexpected eof while reading`, when: passive},
	{id: fault.IDTLSNoClose, program: "FileZilla Server", re: `Error while transfering data: ECONNABORTED`, also: []fault.ID{fault.IDTLS13Loss}},
	{id: fault.IDTLS13Loss, program: "vsftpd", re: `426 Failure reading network stream`, when: secured, also: []fault.ID{fault.IDTLSNoClose, fault.IDUploadCut}},
	{id: fault.IDTLS13Loss, program: "ProFTPD", re: `4(?:26|50) Transfer aborted\. Link to file server lost`, when: secured, also: []fault.ID{fault.IDUploadCut}},
	{id: fault.IDTLS13Loss, program: "Node", re: `Premature close`},
	{id: fault.IDTLS13Loss, program: "curl", re: `send failure: Connection reset by peer|SSL_write\(\).*reset`, when: secured | storing},
	{id: fault.IDTLS13Loss, re: `\b426[ -].*reset`, when: secured | storing},
	{id: fault.IDTLS13Loss, program: "vsftpd", re: `426 Failure reading network stream`, also: []fault.ID{fault.IDUploadCut, fault.IDTLSNoClose}, note: "over TLS 1.3 this is the usual cause; in clear text the line broke"},
	{id: fault.IDUploadCut, program: "ProFTPD", re: `4(?:26|50) Transfer aborted\. Link to file server lost`, also: []fault.ID{fault.IDTLS13Loss}, note: "over TLS 1.3 see tls13-upload-loss"},

	// Text where TLS should be, and TLS where text should be.
	{id: fault.IDPlainInTLS, program: "Go", re: `record with version ([0-9a-f]{4})`, decode: recordVersion},
	{id: fault.IDWrongProto, program: "Go", re: `oversized record received with length 20527`, note: "20527 is the text \"P/\" of \"HTTP/\": a web server, or a proxy, answered"},
	{id: fault.IDPlainInTLS, program: "Go", re: `oversized record received with length (\d+)`, decode: recordLength},
	{id: fault.IDPlainInTLS, re: clearText, when: loggedIn},
	{id: fault.IDPlainInTLS, re: clearText, when: secured, note: "TLS had begun before it: the server fell out of TLS"},
	{id: fault.IDImplicitTLS, program: "Go", re: `first record does not look like a TLS handshake`, note: "TLS was begun on a port that begins in clear text: ftp:// with explicit TLS in place of ftps://, or port 990"},
	{id: fault.IDImplicitTLS, program: "OpenSSL", re: `wrong.version.number|unknown protocol`, also: []fault.ID{fault.IDPlainInTLS}, note: "TLS was begun on a port that begins in clear text: ftp:// with explicit TLS in place of ftps://, or port 990. If a login came before it, see plaintext-in-tls"},
	{id: fault.IDImplicitTLS, program: "GnuTLS", re: `An unexpected TLS packet was received|A record packet with illegal version was received|GnuTLS error -(?:8|15)\b`, also: []fault.ID{fault.IDPlainInTLS}, note: "TLS was begun on a port that begins in clear text: ftp:// with explicit TLS in place of ftps://, or port 990. If a login came before it, see plaintext-in-tls"},
	{id: fault.IDImplicitTLS, program: "Java, .NET", re: `unrecogni[sz]ed SSL message|handshake failed due to an unexpected packet format|a corrupted frame was received`, also: []fault.ID{fault.IDPlainInTLS}, note: "text came where TLS should begin: the port begins in clear text, and takes explicit TLS in place of implicit"},
	{id: fault.IDImplicitTLS, program: "Schannel", re: `SEC_E_(?:INVALID_TOKEN|ILLEGAL_MESSAGE)`, also: []fault.ID{fault.IDPlainInTLS, fault.IDTLSVersion}},
	{id: fault.IDImplicitTLS, re: `This port speaks TLS from the first byte`},
	{id: fault.IDALG, program: "ProFTPD", re: `FTP-aware router, NAT, or firewall`},
	{id: fault.IDALG, program: "FileZilla", re: `tainted by router or firewall`},
	{id: fault.IDALG, re: `(?:connection reset|ECONNRESET|timed out|ETIMEDOUT|unexpected eof).*(?:AUTH TLS|TLS handshake|Initializing TLS|SSL_connect)|SSL_connect: (?:SSL_ERROR_SYSCALL|Connection reset)`, when: greeted},
	{id: fault.IDTLSFailed, program: "curl", re: `SSL_connect: (?:SSL_ERROR_SYSCALL|Connection reset)`, also: []fault.ID{fault.IDALG, fault.IDImplicitTLS}},
	{id: fault.IDTLSFailed, program: "OpenSSL", re: `(?:\(35\)|SSL_connect).*unexpected eof while reading`, also: []fault.ID{fault.IDALG, fault.IDImplicitTLS}},
	{id: fault.IDTLSNoClose, program: "OpenSSL", re: `unexpected eof while reading`, also: []fault.ID{fault.IDTLSFailed, fault.IDLost}},
	{id: fault.IDTLSData, program: "PHP", re: `data_accept: (?:SSL/TLS handshake failed|failed to create the SSL handle)`, also: []fault.ID{fault.IDTLSReuse}},
	{id: fault.IDTLSData, program: "FileZilla Server", re: `\b450[ -]Unknown TLS error on data connection`, also: []fault.ID{fault.IDTLSReuse}},
	{id: fault.IDTLSData, program: "Python", re: `EOF occurred in violation of protocol \(_ssl\.c:(?:9|1[01])\d\d\)`, when: passive, also: []fault.ID{fault.IDTLSReuse}, note: "the server ended the TLS handshake of the data connection; ftplib does not resume the session, and some servers insist on it"},
	{id: fault.IDTLSFailed, program: "Python", re: `EOF occurred in violation of protocol \(_ssl\.c:(?:9|1[01])\d\d\)`, also: []fault.ID{fault.IDTLSReuse, fault.IDALG}, note: "the server ended the TLS handshake"},
	{id: fault.IDTLSNoClose, program: "Python", re: `EOF occurred in violation of protocol`, also: []fault.ID{fault.IDTLSReuse, fault.IDTLSFailed, fault.IDLost}},

	// Certificates.
	{id: fault.IDExpired, re: `certificate (?:is )?not yet valid|not yet valid certificate|CERT_NOT_YET_VALID|not yet activated`},
	{id: fault.IDExpired, program: "Go", re: `not yet valid: current time \S+ is before`},
	{id: fault.IDExpired, re: `certificate (?:has )?expired|certificate_expired|SEC_E_CERT_EXPIRED|CERT_HAS_EXPIRED|uses expired certificate|certificate is expired|expired or is not yet valid|certificate of .* has expired|Issued certificate (?:has expired|not yet valid)`},
	{id: fault.IDCertName, program: "curl", re: `does not match target host name|no alternative certificate subject name matches`},
	{id: fault.IDCertName, program: "Go", re: `certificate is valid for .*, not|doesn't contain any IP SANs|certificate is not valid for any names|relies on legacy Common Name field`},
	{id: fault.IDCertName, re: `common name doesn't match requested host|common name .* doesn't match requested host|subjectAltName does not match|Hostname mismatch|IP address mismatch|ERR_TLS_CERT_ALTNAME_INVALID|does not match certificate's altnames|Certificate was not issued for this server|owner (?:of the certificate )?does not match|hostname .* doesn't match|name in the certificate does not match|no certificate subject alternative name matches`},
	{id: fault.IDIncomplete, re: `unable to get local issuer certificate|unable to verify the first certificate|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|The certificate issuer is unknown|Unable to locally verify the issuer's authority|certificate of .* doesn't have a known issuer`, note: "the chain is not whole, or its root is not known to this machine"},
	{id: fault.IDSelfSigned, re: `self[- ]signed certificate|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|certificate is self.signed`},
	{id: fault.IDUnknownCA, program: "GnuTLS", re: `server certificate verification failed\. CAfile`, also: []fault.ID{fault.IDSelfSigned, fault.IDIncomplete, fault.IDExpired, fault.IDCertName}, note: "this says that the certificate is not trusted, and not why; openssl s_client tells more"},
	{id: fault.IDUnknownCA, re: `certificate signed by unknown authority|Certificate verification:.*not trusted|certificate is NOT trusted|tlsv1 alert unknown ca|Certificate not trusted|unable to find valid certification path|remote certificate (?:is invalid|was rejected)|remote error: tls: (?:bad certificate|unknown certificate)|alert (?:bad certificate|certificate unknown)`},
	{id: fault.IDUnknownCA, program: "wget", re: `certificate of '.*' is not trusted|cannot verify \S+ certificate, issued by`, tier: behindOthers, also: []fault.ID{fault.IDSelfSigned, fault.IDIncomplete, fault.IDExpired, fault.IDCertName}, note: "the line below it tells why"},
	{id: fault.IDUnknownCA, program: "Schannel", re: `SEC_E_UNTRUSTED_ROOT`, also: []fault.ID{fault.IDSelfSigned, fault.IDIncomplete}},
	{id: fault.IDUnknownCA, program: "Schannel", re: `CRYPT_E_(?:NO_REVOCATION_CHECK|REVOCATION_OFFLINE)`, note: "nobody can be asked whether the certificate was revoked, and Windows insists on it: curl --ssl-revoke-best-effort goes on"},
	{id: fault.IDCertName, program: "Schannel", re: `SEC_E_WRONG_PRINCIPAL`},
	{id: fault.IDCertPin, re: `public key does not match pinned public key`},
	{id: fault.IDTLSVersion, re: `alert protocol version|unsupported protocol|protocol_version|no protocols available|protocol version not supported|unsupported or illegal version|illegal or unsupported version|client requested (?:disabled|unsupported) TLS protocol version|wrong ssl version|offered only unsupported versions`},
	{id: fault.IDTLSVersion, re: `no shared cipher|no cipher suite supported by both|alert handshake failure|handshake.failure|No supported cipher suites|Could not negotiate a supported cipher|client does not support any cipher|dh key too small|no suitable (?:key share|signature algorithm)|legacy renegotiation disabled|insufficient security`},
	{id: fault.IDTLSVersion, program: "Pure-FTPd", re: `TLS: Cipher too weak`},
	{id: fault.IDTLSVersion, program: "Schannel", re: `SEC_E_(?:ALGORITHM_MISMATCH|UNSUPPORTED_FUNCTION)`},
	{id: fault.IDTLSVersion, program: "OpenSSL", re: `(?:ca md|ca key|ee key) too (?:weak|small)`, note: "the certificate of the server is signed with a hash or a key that this OpenSSL takes for too weak: it has to be made anew"},
	{id: fault.IDTLSVersion, program: "FileZilla", re: `Received TLS alert from the server: (?:Handshake failed|Protocol version|Insufficient security)`},
	{id: fault.IDTLSFailed, program: "FileZilla", re: `Received TLS alert from the server: `},
	{id: fault.IDTLSFailed, program: "Pure-FTPd", re: `\b400[ -](?:SSL error|Missing certificate|Invalid certificate|Cert handler not ready)`, also: []fault.ID{fault.IDTLSVersion}},
	{id: fault.IDTLSFailed, program: "vsftpd", re: `\b421[ -]Negotiation failed: |"SSL_accept failed: `, also: []fault.ID{fault.IDTLSVersion}},
	{id: fault.IDTLSFailed, program: "ProFTPD", re: `TLS(?:/TLS)?(?:-[CP])? negotiation failed on control|\b(?:421|550)[ -](?:Failed TLS handshake|TLS handshake failed)|TLS negotiation timed out|unable to accept TLS connection:`, also: []fault.ID{fault.IDTLSVersion}},
	{id: fault.IDTLSVersion, program: "GnuTLS", re: `TLS fatal alert has been received`, also: []fault.ID{fault.IDTLSFailed}, note: "the other side ended the handshake; mostly no version or cipher was left"},
	{id: fault.IDTLSFailed, re: `tls: (?:certificate required|internal error)|alert (?:certificate required|internal error)|SSL client certificate required`, note: "certificate required: the server wants one of the client. internal error: the log of the other side has the cause"},
	{id: fault.IDTLSFailed, program: ".NET", re: `A call to SSPI failed|Security\.Authentication\.AuthenticationException|Authentication failed(?: because the remote party|, see inner exception)|Received an unexpected EOF or 0 bytes from the transport stream`, also: []fault.ID{fault.IDTLSVersion, fault.IDUnknownCA}, note: "the inner exception tells why; it is about TLS and not about the password"},
	{id: fault.IDTLSVersion, program: "Java", re: `No appropriate protocol`},
	{id: fault.IDTLSFailed, program: "Java", re: `Remote host (?:terminated|closed connection during) (?:the )?handshake`, also: []fault.ID{fault.IDALG, fault.IDImplicitTLS}},
	{id: fault.IDTLSFailed, program: "GnuTLS", re: `Key usage violation in certificate`, note: "the certificate of the server may not be used for this (its key usage); it has to be made anew with digitalSignature"},
	{id: fault.IDTLSMissing, program: "curl", re: `Requested SSL level failed`},
	{id: fault.IDTLSMissing, program: "wget", re: `Server does not support AUTH TLS`},
	{id: fault.IDImplicitTLS, program: "wget", re: `Server does not like implicit FTPS connections`, note: "ftps:// is for port 990 there; --ftps-implicit goes with it, and ftps:// without it begins in clear text"},
	{id: fault.IDTLSMissing, program: "lftp", re: `ftp:ssl-force is set and server does not support`},
	{id: fault.IDTLSMissing, program: "FileZilla", re: `does not support FTP over TLS`, when: 0, except: `Insecure server`},
	{id: fault.IDTLSMissing, program: "IIS", re: `\b534[ -].*does not allow (?:TLS|SSL)`},

	// Data that came slowly, or not to its end.
	{id: fault.IDStall, program: "ncftp", re: `Remote write timed out|data transfer timed out|socket (?:write|send) timed? ?out`},
	{id: fault.IDStall, program: "curl", re: `Operation timed out after \d+ milliseconds with [1-9]\d* (?:out of \d+ )?bytes received|Operation too slow\. Less than`, also: []fault.ID{fault.IDMaxTime}},
	// Passive and active mode.
	{id: fault.IDPasvAddress, program: "FileZilla, WinSCP", re: `passive reply with unroutable address`},
	{id: fault.IDPasvAddress, program: "lftp", re: `Address returned by PASV seem(?:s|ed) to be incorrect`},
	{id: fault.IDPasvAddress, program: "ncftp", re: `Fixing bogus PASV data address from (\S+)`},
	{id: fault.IDPasvAddress, program: "curl", re: `Skip (\S+) for data connection, re-use (\S+)`, decode: skipped},
	{id: fault.IDPasvAddress, re: `\b227\b.*?(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})`, decode: passiveAddress},
	{id: fault.IDDataPeer, program: "vsftpd", re: `Security: Bad IP connecting`, also: []fault.ID{fault.IDNoDirect}},
	{id: fault.IDDataPeer, program: "ProFTPD", re: `SECURITY VIOLATION: Passive connection from foreign IP`},
	{id: fault.IDIllegalPort, program: "FileZilla Server", re: `\b421[ -]Rejected command, requested IP address does not match control connection IP`},
	{id: fault.IDDataPeer, program: "pyftpdlib", re: `\b425[ -]Rejected data connection from foreign address`, also: []fault.ID{fault.IDNoDirect}},
	{id: fault.IDDataPeer, re: `\b425[ -]Possible PASV port theft`},
	{id: fault.IDDataPeer, re: `does not match control connection ip|Data connection peer has (?:mismatching address|wrong port)|Data connection from \S+ did not originate from remote server|425[ -].*(?:IP|address)\b.*(?:mismatch|does not match|differs?)`},
	{id: fault.IDPasvAddress, program: "commons-net", re: `Host attempting data connection \S+ is not same as server`, when: passive},
	{id: fault.IDDataPeer, program: "commons-net", re: `Host attempting data connection \S+ is not same as server`, also: []fault.ID{fault.IDPasvAddress}},
	{id: fault.IDEpsvOnly, re: `EPSV ALL (?:in effect|has been called)|not allowed after EPSV ALL`},
	{id: fault.IDIllegalPort, also: []fault.ID{fault.IDNoDirect}, re: `Illegal (?:PORT|EPRT)|I won't open a connection to|won't connect to ports < 1024|foreign address|invalid address given|PORT against the privileged port|(?:PORT|EPRT) IP is not same as|Invalid PORT \(IP mismatch\)|Only client IP address allowed for PORT|\b500[ -]The given address is not yours|\b50\d[ -].*(?:PORT|EPRT).*(?:denied|not allowed|rejected|bounce)`},
	{id: fault.IDIllegalPort, program: "curl", re: `curl: \(30\)|Failed to do PORT|FTP: command PORT failed`, also: []fault.ID{fault.IDNoDataPort}},
	{id: fault.IDPasvIPv6, program: "Pure-FTPd", re: `cannot use PASV on IPv6`},
	{id: fault.IDPasvIPv6, program: "FileZilla Server", re: `\b500[ -]You are connected using IPv6\. (?:PASV|PORT) is only for IPv4`, note: "over IPv6 it is EPSV, or EPRT for active mode"},
	{id: fault.IDPasvIPv6, program: "uftpd", re: `\b522[ -]Use EPSV for IPv6`},
	{id: fault.IDFamily, re: `\b522[ -].*protocol|\b522[ -]Only IPv4`},
	{id: fault.IDPool, program: "Pure-FTPd", re: `All reserved TCP ports are busy|Unable to open a passive connection|\b425[ -]Can't create the data socket`},
	{id: fault.IDPool, program: "ProFTPD", re: `unable to find open port in PassivePorts range`},
	{id: fault.IDPool, re: `No free ports|Cannot assign requested address|425[ -].*\blisten\b`, except: `:20\b`},
	{id: fault.IDPool, re: `425[ -].*\bpassive\b.*Address already in use`},
	{id: fault.IDPool, program: "FileZilla Server", re: `\b425[ -]Cannot prepare for data connection|\b421[ -]Could not create socket`},
	{id: fault.IDPool, program: "ftpserverlib", re: `Could not listen for passive connection|could not find any port to listen to`},
	{id: fault.IDPool, re: `\b425[ -](?:Can't|Cannot) open passive connection|\b425-(?:Error: )?Unable to bind data socket`},
	{id: fault.IDActiveBind, program: "Pure-FTPd", re: `Unable to identify the local data (?:port|socket)`},
	{id: fault.IDActiveBind, program: "ProFTPD", re: `unable to bind to local port \d+ for active`},
	{id: fault.IDActiveBind, re: `425[ -].*(?:Address already in use|bind: |Permission denied)`},
	{id: fault.IDActiveBlock, program: "ProFTPD", re: `Error connecting to \S+#\d+ for active data transfer`},
	{id: fault.IDStall, program: "ProFTPD", re: `Data transfer stall timeout|TimeoutStalled (?:\(|during data transfer)`},
	{id: fault.IDNotBuilt, program: "Pure-FTPd", re: `\b5[02]\d[ -]Active mode is disabled`, note: "passive mode works there"},
	{id: fault.IDActiveBlock, program: "pyftpdlib", re: `\b421[ -]Active data channel timed out`},
	{id: fault.IDActiveBlock, program: "WinSCP", re: `server cannot open connection in active mode`},
	{id: fault.IDActiveBlock, program: "curl", re: `Accepting server connect has timed out|Accept timeout occurred|server failed to connect to data port|curl: \(1[02]\)`},
	{id: fault.IDActiveBlock, program: "Pure-FTPd", re: `Could not open data connection to port \S+`},
	{id: fault.IDActiveBlock, program: "ncftp", re: `Could not accept a data connection`},
	{id: fault.IDActiveBlock, re: `425[ -].*connection refused`, note: "it was the server that was refused, so it was active mode"},
	{id: fault.IDPasvIPv6, program: "ProFTPD, Pure-FTPd", re: `FTP client to use the IPv6-compatible EPSV|Please use an IPv6-conformant client with EPSV`},
	{id: fault.IDEpsvLie, program: "curl", re: `Weirdly formatted EPSV reply|Illegal port number in EPSV reply|Failed EPSV attempt`},
	{id: fault.IDEpsvLie, program: "lftp", re: `EPSV failed, will try PASV`},
	{id: fault.IDEpsvLie, re: `\b50[0-2][ -].*\bEPSV\b|\b229\b.*\((?:[|!]{0,2}\d+[|!]?|[|!]{3}\d+|[|!]{3}0+[|!])\)|EPSV.*(?:not (?:understood|implemented|supported|recogni[sz]ed)|unknown command)`},
	{id: fault.IDEpsvLie, re: `\b5\d\d[ -]`, after: `\bEPSV\b`, tier: behindOthers},
	{id: fault.IDNoDataPort, re: `(?:425|503)[ -].*\bUse (?:PORT or PASV|PASV or PORT|PASV|PORT) first|425[ -]No data connection$|150 .*no data connection`},
	{id: fault.IDNoDataPort, program: "curl", re: `curl: \(13\)|Bad PASV/EPSV response|FTP: unknown PASV reply`},
	{id: fault.IDNoDataPort, program: "wget, ncftp", re: `Cannot initiate PASV transfer|^Passive mode refused\.`, note: "the server refused PASV; its reply tells why"},
	{id: fault.IDBadReply, re: `unknown 227 response format|Couldn't interpret the 227-response|can't figure out the host in the PASV response|Cannot parse PASV response|Passive mode address scan failure|cannot parse (?:custom )?EPSV response`, also: []fault.ID{fault.IDALG}, note: "the reply to PASV or EPSV has no address that can be read"},
	{id: fault.IDUnpublished, re: `connection refused|ECONNREFUSED|actively refused`, when: passive},
	{id: fault.IDRejected, re: `no route to host|EHOSTUNREACH|network is unreachable|ENETUNREACH`, when: passive, note: "it was the data connection: the passive range is rejected by a firewall"},
	{id: fault.IDActiveBlock, re: `425[ -]|tim(?:ed|e) ?out|Timeout (?:was reached|detected)|Timeout - reconnecting|ETIMEDOUT|(?:Failed|Could not|Unable) (?:to )?retrieve directory listing`, when: active, except: `421[ -]`, note: "it was active mode (PORT or EPRT stands above it), in which the server connects to the client"},
	{id: fault.IDDataBlocked, re: `425[ -].*(?:Can't (?:open|build) data connection|Can't open data connection|Unable to build data connection|Failed to establish connection|No connection established|Cannot open (?:passive )?data connection|Could not open data connection|The connection couldn't be accepted)`, also: []fault.ID{fault.IDActiveBlock}},
	{id: fault.IDDataBlocked, re: `php_connect_nonb\(\) failed|\b503[ -]Failure of data connection`, also: []fault.ID{fault.IDActiveBlock}},
	{id: fault.IDDataBlocked, program: "pyftpdlib", re: `\b421[ -]Passive data channel timed out`},
	{id: fault.IDDataBlocked, program: "lftp", re: `\[Making data connection\.\.\.\]`},
	{id: fault.IDNoDataPort, re: `\b(?:425 Use (?:PORT|EPRT)|500 No (?:PORT|EPRT) specified)`, note: "no data connection was asked for: neither PASV or EPSV nor PORT or EPRT came before"},
	{id: fault.IDDataBlocked, program: "PHP", re: `ftp_\w+\(\): (?:Unable to build data connection|Failed to establish connection|Can't open data connection)`, also: []fault.ID{fault.IDActiveBlock}},
	{id: fault.IDDataBlocked, program: "FileZilla", re: `The data connection could not be established: (?:ETIMEDOUT|.*timed out)`},
	{id: fault.IDUnpublished, program: "FileZilla", re: `The data connection could not be established: ECONNREFUSED`},
	{id: fault.IDUnpublished, program: "WinSCP", re: `Transfer channel can't be opened\. Reason:.*actively refused`},
	{id: fault.IDDataBlocked, program: "WinSCP", re: `Transfer channel can't be opened|Timeout detected\. \(data connection\)|Timeout detected\. \(transfer connection\)`},
	{id: fault.IDDataBlocked, program: "basic-ftp", re: `Timeout when trying to open data connection|Timeout \(data socket\)`},
	{id: fault.IDDataBlocked, program: "basic-ftp", re: `None of the available transfer modes work`, tier: behindOthers, also: []fault.ID{fault.IDEpsvLie}, note: "neither EPSV nor PASV led to a connection; what the last of them was answered stands behind it"},
	{id: fault.IDDataBlocked, program: "ProFTPD", re: `Passive data transfer failed, possibly due to network issues|Check your PassivePorts and MasqueradeAddress`},
	{id: fault.IDDataBlocked, program: "ncftp", re: `Data connection (?:to \S+ )?timed out|directory listing data -- timed out`},
	{id: fault.IDDataBlocked, program: "rclone", re: `Timeout when waiting for List`},
	{id: fault.IDDataBlocked, program: "vsftpd", re: `Data timeout\. Reconnect\. Sorry`},
	{id: fault.IDDataBlocked, re: `tim(?:ed|e) ?out|Timeout was reached|Timeout detected|Timeout - reconnecting|ETIMEDOUT|did not properly respond`, when: passive, except: `421[ -]`},
	{id: fault.IDDataBlocked, re: `(?:Failed|Could not|Unable) (?:to )?retrieve directory listing`, when: passive},

	// The login.
	{id: fault.IDTLSRequired, program: "vsftpd", re: `sessions must use encryption`},
	{id: fault.IDProtocol, program: "vsftpd", re: `Anonymous sessions may not use encryption`, note: "anonymous is let in without TLS only; allow_anon_ssl=YES lets it use TLS"},
	{id: fault.IDTLSRequired, program: "ProFTPD", re: `SSL/TLS required on the control channel|required but absent (?:for authentication|on control channel)`},
	{id: fault.IDTLSRequired, program: "Pure-FTPd", re: `cleartext sessions|530[ -]Please tell me who you are`},
	{id: fault.IDTLSActive, re: `\b534[ -](?:Authentication type already set to TLS|Session already secured)`},
	{id: fault.IDTLSRequired, program: "IIS", re: `\b534[ -].*(?:SSL|TLS|policy)`},
	{id: fault.IDTLSRequired, program: "FileZilla Server", re: `\b(?:503|530|421)[ -].*(?:Use AUTH|AUTH TLS|explicit FTP over TLS)`},
	{id: fault.IDTLSMissing, re: `\b5\d\d[ -]`, after: `\bAUTH (?:TLS|SSL)`, tier: behindOthers, note: "it is the answer to AUTH: the server offers no TLS, or not here"},
	{id: fault.IDTLSRequired, re: `Must perform authentication before identifying USER`},
	{id: fault.IDTLSRequired, re: `\b(?:421|521|530|550)[ -].*(?:TLS|SSL|FTPS|encrypt|secure connection).*(?:require|must|only|need|have to use)|\b(?:421|521|530|550)[ -].*(?:require|must|only|need|have to use).*(?:TLS|SSL|FTPS|encrypt|secure connection)`},
	{id: fault.IDBusy, program: "vsftpd", re: `"Connection refused: too many sessions`},
	{id: fault.IDNetwork, program: "vsftpd", re: `"Connection refused: tcp_wrappers denial`, note: "/etc/hosts.deny or /etc/hosts.allow keeps the address out"},
	{id: fault.IDNetwork, program: "vsftpd", re: `\b421[ -]Service not available\.$`, also: []fault.ID{fault.IDShutdown, fault.IDBusy}, note: "vsftpd says this to an address that tcp wrappers keep out: /etc/hosts.deny, /etc/hosts.allow"},
	{id: fault.IDBusy, program: "vsftpd", re: `\b421[ -]There are too many conn`},
	{id: fault.IDBusy, program: "ProFTPD", re: `Sorry, the maximum number of|Maximum connections for host/user reached|Connection refused \(Max(?:Clients|Connections|Hosts)|Max(?:Instances|ConnectionRate) \(.*\) reached|\b451[ -].*: Too many transfers`},
	{id: fault.IDNetwork, program: "ProFTPD", re: `connection refused \(Blocked by <Limit LOGIN>\)|Connection from \S+ \[[0-9a-f.:]+\] denied|mod_wrap2\S*: refused connection from`},
	{id: fault.IDBusy, program: "Pure-FTPd", re: `Too many connections \(\d+\) from this IP|I can't accept more than \d+ connections|\(the maximum\) are already logged in|\b550[ -]The load was [\d.]+ when you connected`},
	{id: fault.IDBanned, re: `\b421[ -].*(?:bann|blocked|blacklist)|\b530[ -].*(?:\bbann|temporarily blocked)`},
	{id: fault.IDSelfBan, program: "fail2ban", re: `\] (?:Ban|already banned) (?:10\.|127\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.)`},
	{id: fault.IDBanned, program: "fail2ban", re: `\] (?:Ban|already banned) \d`},
	{id: fault.IDTries, re: `Too many bad (?:authentication|login) attempts`},
	{id: fault.IDBusy, program: "FileZilla Server", re: `\b421[ -](?:Refusing connection\. No more connections allowed|Server too busy)`},
	{id: fault.IDNetwork, program: "FileZilla Server", re: `No connections allowed from your IP|\b521[ -]This user is not allowed to connect from this IP`},
	{id: fault.IDNetwork, re: `\b530[ -](?:No server access from the IP|(?:.*\b)?IP not allowed)`},
	{id: fault.IDTries, program: "Pure-FTPd", re: `\b(?:421|530)[ -].*Too many authentication failures`},
	{id: fault.IDTries, program: "ProFTPD", re: `Maximum login attempts`},
	{id: fault.IDBusy, re: `\b(?:421|530)[ -].*(?:too many|maximum|limit).*(?:connect|user|session|client|login)|\b421[ -]Too many`},
	{id: fault.IDIdle, program: "ProFTPD", re: `\b421[ -](?:No transfer timeout|Idle timeout)`},
	{id: fault.IDIdle, program: "FileZilla Server", re: `\b421[ -]No-transfer-time exceeded`},
	{id: fault.IDLoginTime, program: "ProFTPD", re: `Login timeout`},
	{id: fault.IDLoginTime, program: "FileZilla Server", re: `\b421[ -]Login time exceeded`},
	{id: fault.IDLost, program: "ftp", re: `421 Service not available, remote server has closed connection`, also: []fault.ID{fault.IDIdle, fault.IDShutdown}, note: "ftp says this itself when the connection has ended without a word"},
	{id: fault.IDNoAnswer, program: "ftp", re: `421 Service not available, remote server timed out`, note: "ftp says this itself when no answer comes"},
	{id: fault.IDIdle, re: `\b421[ -].*(?:time(?:d)? ?out|idle|inactiv)|no transfer timeout, disconnected|session idle timeout`, except: `We got a 421`},
	{id: fault.IDShutdown, re: `\b421[ -].*(?:shut ?ting down|shutdown|Service not available|going (?:down|offline)|restart|Server (?:offline|is locked))|\b421[ -]Kicked`},
	{id: fault.IDAccountOff, re: `password has expired\.|Password change required but no TTY|required to change your password immediately`, note: "the password is too old: it has to be changed on a terminal (ssh, passwd) before files can be transferred"},
	{id: fault.IDAccountOff, program: "sshd", re: `Access denied for user \S+ by PAM account configuration`, also: []fault.ID{fault.IDAuth}, note: "the key or password was right; pam_access, an expired account or /etc/nologin keeps it out"},
	{id: fault.IDShutdown, re: `not allowed because /\S*nologin exists|System is (?:booting up|going down)\. Unprivileged users are not permitted`},
	{id: fault.IDBusy, program: "sshd", re: `\bno more sessions|maximum sessions exceeded|Session open refused by peer|:12: Too many connections`, note: "sshd limits the sessions of one connection: MaxSessions"},
	{id: fault.IDLoginTime, program: "sshd", re: `Timeout before authentication for`},
	{id: fault.IDLogin, re: `\b530[ -](?:Please )?log ?in with USER and PASS`},
	{id: fault.IDAuth, program: "IIS", re: `\b530[ -]Valid hostname is expected`, note: "the site has a name for its host (Virtual Host Names), and the login begins with it: HOST|USER"},
	{id: fault.IDAuth, program: "PAM", re: `pam_\w+\(\S+:auth\): authentication failure|PAM: Authentication failure for|pam_listfile\(\S+\): Refused user`},
	{id: fault.IDAuth, program: "sshd", re: `ROOT LOGIN REFUSED`, note: "sshd_config keeps root out: PermitRootLogin"},
	{id: fault.IDAuth, program: "sshd", re: `\bInvalid user \S* from `, tier: behindOthers, note: "the server has no account of that name"},
	{id: fault.IDAuth, program: "sshd", re: `not from a permitted (?:host|source address)|not permitted to use this (?:key|certificate) for login`, note: "the key is right and may be used from other addresses only: from= in authorized_keys"},
	{id: fault.IDAuth, program: "OpenSSH", re: `Certificate does not contain an authorized principal|Certificate invalid: `, also: []fault.ID{fault.IDHostKeyOther}, note: "a certificate of SSH, not of TLS: ssh-keygen -L -f FILE shows its names and days"},
	{id: fault.IDAuth, program: "sshd", re: `revoked key for \S+ attempted authentication`},
	{id: fault.IDAccountOff, program: "sshd", re: `Account \S+ has expired|User \S+ password has expired`},
	{id: fault.IDAccountOff, program: "sshd", re: `not allowed because account is locked`},
	{id: fault.IDAuth, program: "sshd", re: `User \S+ (?:from \S+ )?not allowed because`, note: "the password does not count here: sshd_config leaves this account out (AllowUsers, DenyUsers, AllowGroups, DenyGroups), or its shell is none"},
	{id: fault.IDAccountOff, re: `\b530[ -].*(?:account|user).*(?:disabled|expired|locked)|account disabled`},
	{id: fault.IDAuth, program: "vsftpd", re: `530[ -]This FTP server is anonymous only`, note: "it takes the name anonymous only; local_enable=YES in its configuration lets accounts in"},
	{id: fault.IDAuth, program: "vsftpd", re: `530[ -]Permission denied`, note: "vsftpd says this to a name that its userlist keeps out (userlist_file), before the password"},
	{id: fault.IDAuth, re: `\b(?:530|430)[ -](?:.*(?:login|logon|log in|authenticat|password|user\b|sorry|not logged in|access denied))`, except: `login with USER|log ?in first`},
	{id: fault.IDAuth, program: "ProFTPD", re: `USER \S+: no such user found from|Refusing empty password from user|root login attempted|authentication for user '.*' failed: |no more auth methods available, disconnecting`, note: "the words behind it, or the line above it, are the reason, which the client is not told"},
	{id: fault.IDAuth, program: "Pure-FTPd", re: `Authentication failed for user \[|Sorry, but I can't trust you|\b530[ -]This is a private system`},
	{id: fault.IDSequence, program: "Pure-FTPd", re: `We can't do that in the current session|\b530[ -]You're already logged in`},
	{id: fault.IDAuth, program: "ncftp", re: `username (?:and/or password )?was not accepted`},
	{id: fault.IDAuth, program: "wget", re: `The server refuses login`, also: []fault.ID{fault.IDBusy}, note: "the reply to USER was a refusal, before any password"},
	{id: fault.IDAuth, program: "OpenSSH", re: `Permission denied \((?:[a-z,-]*(?:publickey|password|keyboard-interactive|gssapi)[a-z,-]*)\)|Permission denied, please try again`},
	{id: fault.IDAuth, program: "ssh2 (Node)", re: `All configured authentication methods failed`},
	{id: fault.IDAuth, program: "SSH.NET", re: `No suitable authentication method found`},
	{id: fault.IDAuth, program: "Go", re: `ssh: unable to authenticate`},
	{id: fault.IDAuth, program: "paramiko", re: `Bad authentication type|AuthenticationException: Authentication failed`},
	{id: fault.IDAuth, program: "paramiko", re: `SSHException: No authentication methods available`, note: "the program had neither a password nor a key to offer"},
	{id: fault.IDAuth, program: "PuTTY, WinSCP", re: `Configured password was not accepted|No supported authentication methods available|Server refused our (?:public )?key|^Access denied\.?$`},
	{id: fault.IDAuth, program: "PuTTY", re: `Cannot answer interactive prompts in batch mode`, note: "it wanted to ask for a password or passphrase, and may not with -batch: -pw, -pwfile, or a key without a passphrase"},
	{id: fault.IDAuth, program: "JSch", re: `Auth (?:fail|cancel)\b`},
	{id: fault.IDAuth, program: "curl", re: `\(67\) (?:Access denied: (?:530|331|332|500)|Authentication failure|Login denied)`},
	{id: fault.IDAuth, program: "sshd", re: `Failed (?:password|publickey|keyboard-interactive\S*) for`},
	{id: fault.IDAuth, re: `\bLogin (?:incorrect|failed|authentication failed)|Authentication failed|no supported methods remain|FAIL LOGIN`, except: `500 OOPS|\b2\d\d[ -]`},
	{id: fault.IDLogin, re: `Please login with USER and PASS|not logged (?:in|on)\b|log ?in first|You aren't logged in`},

	// Files of this machine.
	{id: fault.IDLocal, program: "OpenSSH", re: `(?:open|stat|read|write) local "|local (?:open )?".*"(?:: | is not a regular file)|Couldn't (?:open local file|change local directory|create local directory)|Couldn't write to ".*": `},
	{id: fault.IDLocal, program: "ssh2 (Node)", re: `Cannot parse privateKey: `, note: "the file of the key was not read: it has a passphrase and none was given, or it is of a form that the program does not know"},
	{id: fault.IDLocal, program: "curl", re: `curl: \((?:23|26|37|58|77)\)|Failed to (?:open|create) the file |curl: can't open '|error setting certificate (?:file|verify locations)|Problem with the SSL CA cert`},
	{id: fault.IDLocal, program: "wget", re: `Cannot write to '.*' \(`},
	{id: fault.IDLocal, program: "Python", re: `(?:FileNotFoundError|PermissionError|IsADirectoryError|NotADirectoryError): \[Errno \d+\] .*: '`},
	{id: fault.IDLocal, re: `\blocal: (?:unable to open |.*: (?:No such file|Permission denied))|Cannot open local file |\.netrc file is readable by others`},
	// Room and rights.
	{id: fault.IDPortTaken, re: `address already in use|EADDRINUSE|Only one usage of each socket address`},
	{id: fault.IDLowPort, re: `\bbind(?:ing)?\b.*permission denied|listen EACCES|EACCES at bind`},
	{id: fault.IDNoSpace, program: "OpenSSH", re: `write remote ".*": Failure`, also: []fault.ID{fault.IDQuota}},
	{id: fault.IDNotEmpty, program: "OpenSSH", re: `(?:remote rmdir ".*"|Couldn't remove directory): Failure`, also: []fault.ID{fault.IDPerm, fault.IDServerSaysNo}},
	{id: fault.IDExists, program: "OpenSSH", re: `(?:remote (?:mkdir|rename|symlink file|link) .*|Couldn't (?:create directory|rename file .*)): Failure`, also: []fault.ID{fault.IDAcrossMounts, fault.IDServerSaysNo}},
	{id: fault.IDAcrossMounts, re: `cross-device link|EXDEV`},
	{id: fault.IDQuota, re: `quota exceeded|over quota|Transfer aborted \(quota\)|disk quota|exceed(?:ed)? (?:the user's )?(?:storage|quota)|quota reached|\b552[ -].*(?:quota|storage|allocation)|would exceed the user's storage quota`},
	{id: fault.IDNoSpace, re: `no space left|disk full|ENOSPC|insufficient free space|not enough space on the disk|Failure writing to local file|\b452[ -]\D|upload: 452|insufficient storage`},
	{id: fault.IDQuota, re: `\b552[ -]\D|upload: 552`, except: `\b552 bytes`},
	{id: fault.IDPerm, program: "vsftpd", re: `failed to open directory`},
	{id: fault.IDPerm, program: "OpenSSH", re: `(?:remote readdir|Couldn't read directory|Couldn't get handle|Can't ls).*Permission denied`},
	{id: fault.IDExists, program: "ProFTPD", re: `\b550[ -].*Overwrite permission denied|AllowOverwrite (?:denied )?permission`, also: []fault.ID{fault.IDPerm}, note: "files are replaced only with AllowOverwrite on"},
	{id: fault.IDNotBuilt, program: "ProFTPD", re: `\b451[ -].*(?:(?:Append/)?Restart not permitted|REST (?:STOR|RETR) not allowed)`, note: "resuming is switched off; AllowStoreRestart on and AllowRetrieveRestart on allow it"},
	{id: fault.IDBadName, program: "IIS", re: `The file ?name, directory name,? or volume label syntax is incorrect|\b550[ -].*The filename or extension is too long`},
	{id: fault.IDBadName, program: "Pure-FTPd", re: `Prohibited (?:file|directory) name|\b(?:421|550)[ -]Path too long`, note: "names that begin with a dot may be forbidden there (ProhibitDotFilesWrite)"},
	{id: fault.IDPerm, program: "Pure-FTPd", re: `\b550[ -](?:This file has been uploaded by an anonymous user|Sorry, we were unable to read \[)`},
	{id: fault.IDOffset, program: "Pure-FTPd", re: `\b554[ -]Restart offset \d+ is too large`},
	{id: fault.IDBadName, program: "ProFTPD", re: `: Forbidden (?:filename|command argument)|denied by (?:Path)?(?:Allow|Deny)Filter|\b55\d[ -].*: Invalid directory name`},
	{id: fault.IDPerm, program: "OpenSSH", re: `Refusing (?:denylisted|blacklisted|non-\w+listed) \S+ request`, note: "sftp-server was started with -p or -P, which forbid this request"},
	{id: fault.IDPerm, program: "ProFTPD", re: `(?:LIST|NLST|MLSD) command denied|Blocked by <Limit|denied by <Limit`},
	{id: fault.IDPerm, program: "WinSCP", re: `Error listing directory.*(?:Permission denied|Access denied)`},
	{id: fault.IDBadName, re: `\b55\d[ -](?:.*failed, )?(?:file ?name (?:is )?(?:invalid|not allowed)|Invalid file ?name|Directory ?name not valid|Not a valid file name)`},
	{id: fault.IDPerm, re: `\b(?:450|55\d)[ -](?:No permission to|Not allowed to|Not enough privileges)`},
	{id: fault.IDPerm, re: `\b550[ -]Could not open .* for writing`},
	{id: fault.IDReadOnly, re: `read-only file system|EROFS|write protected|\b550[ -].*read.?only|Refusing \S+ request in read-only mode`},
	{id: fault.IDPerm, re: `553[ -](?:Could not create file|Can't open that file: Permission denied|.*Permission denied)|(?:open for write|remote open|dest open|remote mkdir|remote rename).*Permission denied`},
	{id: fault.IDPerm, re: `\b55\d[ -].*(?:permission denied|access (?:is )?denied|operation not permitted|command denied|Anonymous users)`},
	{id: fault.IDRejected, program: "FileZilla", re: `Connection attempt failed with "EACCES`, note: "it was this machine that refused: a firewall or a virus scanner on it"},
	{id: fault.IDPerm, re: `Failed to open file .*for writing|Create directory operation failed|Delete operation failed|EACCES|SSH_FX_PERMISSION_DENIED|Error code: 3\b`},
	{id: fault.IDServerSaysNo, program: "curl", re: `(?:Upload failed|command failed): Operation failed`, except: `\b(?:chmod|chown|chgrp|[am]time) command`, also: unnamed, note: "code 4 of SFTP says no more than failure"},
	{id: fault.IDPerm, program: "curl", re: `\(25\) (?:Failed FTP upload|Upload failed): (?:550|553|Permission denied)`},
	{id: fault.IDPerm, program: "curl", re: `curl: \(25\) `, tier: whereAlone, also: []fault.ID{fault.IDNotFound, fault.IDNoSpace, fault.IDQuota}, note: "the server refused the upload; its reply stands in the output of curl -v"},
	{id: fault.IDOffset, program: "curl", re: `Couldn't resume download|Offset \(\d+\) was beyond file size`},
	{id: fault.IDNotBuilt, program: "curl, wget", re: `command REST failed|Couldn't use REST`, note: "the server does not resume"},

	// Files that came out wrong.
	{id: fault.IDSetstat, program: "WinSCP", re: `error occurred while setting the permissions and/or timestamp`},
	{id: fault.IDSetstat, re: `remote f?l?setstat|(?:f?setstat|chmod|utime|chtimes|setattr|set ?stat)\S*.*(?:unsupported|not supported|failed|failure)|SETSTAT unsupported`},
	{id: fault.IDSetstat, re: `SSH_FX_OP_UNSUPPORTED|Operation unsupported|server does not support the operation|Error code: 8\b`},
	{id: fault.IDSetstat, program: "vsftpd", re: `\b550[ -]Could not set file modification time`},
	{id: fault.IDSetstat, program: "Pure-FTPd", re: `\b550[ -]Could not change perms on `},
	{id: fault.IDServerSaysNo, re: `General failure|Failure ?\((?:code )?4\)|Error code: 4\b|Error message from server: Failure|SSH_FX_FAILURE`, also: unnamed, note: "code 4 of SFTP says no more than failure: a rename over a file, a full disk or quota, times or modes that can't be set"},
	{id: fault.IDServerSaysNo, program: "ssh2-sftp-client (Node)", re: `Error: _?\w+: (?:\S+ )*Failure /`, also: unnamed, note: "code 4 of SFTP says no more than failure; that the target is a directory is the usual cause here"},
	{id: fault.IDSetstat, program: "rclone", re: `SetModTime failed`},
	{id: fault.IDVerify, program: "rclone", re: `corrupted on transfer: .*hash(?:es)? differ`},
	{id: fault.IDShortFile, program: "rclone", re: `corrupted on transfer: sizes differ`},
	{id: fault.IDSourceMoved, program: "rclone", re: `source file is being updated`},
	{id: fault.IDShortFile, program: "paramiko", re: `size mismatch in (?:put|get)!`, also: []fault.ID{fault.IDNoSpace}, note: "paramiko looks at the size after the transfer: a job on the server may take files away at once, which confirm=False allows"},
	{id: fault.IDPickup, program: "WinSCP", re: `\.filepart\b|temporary transfer file .* could not be renamed`},
	{id: fault.IDPickup, re: `unexpected end of file|Unexpected EOF in archive|End-of-central-directory signature not found|EOFError: Compressed file ended|BadZipFile: File is not a zip file|Premature end of JPEG|PNG.*(?:truncated|CRC error)`, note: "the file is cut: it was read before it was whole, or its upload broke off"},
	{id: fault.IDASCII, re: `bare linefeeds received in ASCII mode|client is in ASCII mode|not allowed in ASCII mode|in ASCII mode\b.*unsafe|ASCII resume is unsafe|No support for resume of ASCII transfer|But we're in ASCII mode`},
	{id: fault.IDASCII, re: `invalid compressed data--(?:crc|format|length) error|bad zipfile offset|zlib: invalid|incorrect (?:data|header) check`, note: "an archive that arrived and is damaged inside: a transfer in text mode does that"},
	{id: fault.IDEmptyList, program: "WinSCP", re: `Server returned empty listing`},
	{id: fault.IDEmptyList, program: "Pure-FTPd", re: `Output truncated to \d+ matches`},
	{id: fault.IDEmptyList, re: `\b50[0-2][ -].*\b(?:NLST|MLSD|STOU)\b`},
	{id: fault.IDNames, program: "FileZilla", re: `Invalid character sequence received, disabling UTF-8`},
	{id: fault.IDNames, program: "FileZilla", re: `Server does not support non-ASCII characters|Failed to convert command to 8 bit charset`},
	{id: fault.IDNames, program: "ProFTPD", re: `Illegal character sequence in (?:filename|command)`},
	{id: fault.IDNames, re: `UnicodeDecodeError|UnicodeEncodeError|Invalid UTF-8|invalid byte sequence|Error decoding UTF-8|codec can't (?:de|en)code|malformed UTF-8`},
	{id: fault.IDNames, re: `Ã[¤¶¼Ÿ–„©¨ª«¡¢£§±²³´µ¯®º¹]|â‚¬|Â[£§°´]|\x{FFFD}`, note: "UTF-8 that was read as Latin-1 or cp1252, or the other way round"},
	{id: fault.IDProxyMany, program: "Docker", re: `docker-proxy.*(?:cannot allocate memory|resource temporarily unavailable|-host-port)|(?:failed to start|Error starting) userland proxy`, except: `address already in use`},
	{id: fault.IDStall, re: `message too long, mtu|Frag needed and DF set|Fragmentation needed|Packet too big: mtu`},
	{id: fault.IDIPv6Dead, program: "curl", re: `ipv6 connect timeout after \d+ ?ms`},

	// No connection. These words are everybody's; what stands around them decides.
	{id: fault.IDDNS, re: `Could not resolve host|Name or service not known|\bENOTFOUND\b|no such host|nodename nor servname|getaddrinfo|Temporary failure in name resolution|Can't resolve host|Host not found|EAI_AGAIN|No address associated with hostname|Unknown ?host`},
	{id: fault.IDDNS, re: `does not exist\.$`, except: `File|folder|director`},
	{id: fault.IDDNS, re: `Resolving timed out|unable to resolve host address|Host does not exist`},
	{id: fault.IDFiltered, program: "Linux", re: `(?:\[UFW (?:LIMIT )?BLOCK\]|\b(?:FINAL|filter_IN\S*|IN_\S+)_(?:REJECT|DROP):).* DPT=(\d+)`, decode: droppedPort, also: []fault.ID{fault.IDDataBlocked}},
	{id: fault.IDLowPort, program: "SELinux", re: `avc: +denied +\{ name_bind .*comm="(?:vsftpd|proftpd|pure-ftpd|dray|sshd)`, note: "the port has no label that this server may bind: semanage port -a -t ftp_port_t -p tcp PORT gives it one (ssh_port_t for SSH)"},
	{id: fault.IDPerm, program: "SELinux", re: `avc: +denied .*comm="(?:vsftpd|proftpd|pure-ftpd|dray|sshd|sftp-server)`, note: "it was SELinux, not the permission bits: getsebool -a | grep ftp shows the booleans; setsebool -P ftpd_full_access on lets FTP servers at all files, and ls -Z shows the labels"},
	{id: fault.IDFiltered, program: "Linux", re: `nf_conntrack: table full, dropping packet`, note: "the firewall of this host remembers more connections than it has room for: sysctl net.netfilter.nf_conntrack_max shows the limit"},
	{id: fault.IDDataBlocked, program: "Linux", re: `default automatic helper assignment has been turned off`, note: "the helper that opened data ports for FTP no longer does so by itself; it never could under TLS. Let in the passive range instead"},
	{id: fault.IDFiltered, program: "ftp (Windows)", re: `ftp: connect ?:Unknown error number`, also: []fault.ID{fault.IDRefused}},
	{id: fault.IDFiltered, program: "lftp", re: `\[Delaying before reconnect: \d+\]`, tier: whereAlone, also: []fault.ID{fault.IDRefused, fault.IDAuth, fault.IDBusy}, note: "lftp tries again and hides why; debug 5 before open shows it"},
	{id: fault.IDFiltered, re: `connect to (?:host )?(?:address )?(?:\S+ \()?\d+\.\d+\.\d+\.\d+\)? port \d+.*timed out`, when: 0},
	{id: fault.IDIPv6Dead, re: `(?:connect to|Connecting to|dial tcp6?)\b.*?\[?[0-9a-f]{1,4}:[0-9a-f:]*:[0-9a-f:]+\]?.*(?:timed out|i/o timeout)`, note: "the address that did not answer is one of IPv6"},
	{id: fault.IDRefused, program: "paramiko", re: `NoValidConnectionsError|Unable to connect to port \d+ on `, also: []fault.ID{fault.IDRejected, fault.IDFiltered}},
	{id: fault.IDRejected, program: "OpenSSH", re: `connect to (?:host|address) \S+ port \d+: (?:Permission denied|Operation not permitted|Invalid argument)`, note: "it was this machine that refused: a rule of its firewall or of SELinux"},
	{id: fault.IDFiltered, program: "curl", re: `\(28\) Failed to connect to|Failed to connect to \S+ port \d+ after \d{5,} ms: Could(?:n't| not) connect`, also: []fault.ID{fault.IDIPv6Dead}},
	{id: fault.IDRefused, re: `connection refused|ECONNREFUSED|actively refused|WinError 10061|Couldn't connect to server|\(7\) .*Could not connect to server|Connection to \S+ refused|remote host refused connection`, also: []fault.ID{fault.IDUnpublished}},
	{id: fault.IDFiltered, program: "ncftp", re: `: could not connect to remote host`, tier: whereAlone, also: []fault.ID{fault.IDRefused}},
	{id: fault.IDFiltered, program: ".NET", re: `Unable to connect to the remote server`, tier: whereAlone, also: []fault.ID{fault.IDRefused}},
	{id: fault.IDFiltered, program: "JSch", re: `timeout: socket is not established`},
	{id: fault.IDRefused, program: "PHP", re: `ssh2_connect\(\): Unable to connect to`, also: []fault.ID{fault.IDFiltered}},
	{id: fault.IDRejected, re: `no route to host|EHOSTUNREACH|network is unreachable|ENETUNREACH|administratively prohibited|host is unreachable|WinError 10065|Destination (?:Host|Port) Unreachable`},
	{id: fault.IDNoAnswer, program: "curl", re: `Operation timed out after \d+ milliseconds with 0 (?:out of 0 )?bytes received|FTP response timeout`, note: "the connection stood and nothing came: on a port of SSH, or of TLS from the first byte, an FTP client waits like this"},
	{id: fault.IDNoAnswer, program: "ncftp", re: `read reply from control connection -- timed out|timed out while waiting for server response`},
	{id: fault.IDNoAnswer, program: "paramiko", re: `AuthenticationException: Authentication timeout|SSHException: Timeout opening channel`},
	{id: fault.IDNoAnswer, program: "Go", re: `FTP connection to .*: context deadline exceeded`, also: []fault.ID{fault.IDFiltered, fault.IDImplicitTLS}},
	{id: fault.IDNoAnswer, program: "Python", re: `recv_into.*timed out|TimeoutError: timed out|socket\.timeout: timed out`, when: greeted},
	{id: fault.IDFiltered, re: `connection timed out|ETIMEDOUT|Timeout \(control socket\)|timed out after \d+|Connect(?:ion)? attempt timed out|Timeout - reconnecting|i/o timeout|Timeout was reached|connect timed out|max-retries exceeded|Network error: Connection timed out|did not properly respond|TimeoutError|Timeout while connecting|\btimed out\b`, except: `421[ -]|\b22[06]\b`, also: []fault.ID{fault.IDDataBlocked, fault.IDIPv6Dead}},

	// A transfer that broke off, and the rest.
	{id: fault.IDIdle, re: `Timeout detected|connection closed by (?:server|remote).*idle`, when: loggedIn},
	{id: fault.IDDataBlocked, re: `(?:Failed|Could not|Unable) (?:to )?retrieve directory listing|The data connection could not be established`, tier: whereAlone, also: []fault.ID{fault.IDListingCut}, note: "the lines above it in the log tell why"},
	{id: fault.IDNoAnswer, program: "Ruby", re: `Net::ReadTimeout`, also: []fault.ID{fault.IDDataBlocked}},
	{id: fault.IDFiltered, program: "Ruby", re: `Net::OpenTimeout`, also: []fault.ID{fault.IDDataBlocked}},
	{id: fault.IDNoAnswer, program: "OpenSSH", re: `Timeout, server \S+ not responding`, note: "ssh asked whether the server is there (ServerAliveInterval) and got no answer"},
	{id: fault.IDLost, program: "sshd", re: `Timeout, client not responding from`, note: "sshd asked whether the client is there (ClientAliveInterval) and got no answer"},
	{id: fault.IDShortFile, program: "curl", re: `transfer closed with (?:\d+ bytes|outstanding read data) remaining|Received only partial file|Transferred a partial file|Uploaded unaligned file size`},
	{id: fault.IDUploadCut, program: "curl", re: `server did not report OK, got \d`, also: []fault.ID{fault.IDDataLost, fault.IDNoSpace, fault.IDQuota}, note: "the number is the server's reply at the end of the transfer"},
	{id: fault.IDLost, program: "curl", re: `\((?:55|56)\) (?:Failed sending data to the peer|Failure when receiving data from the peer|response reading failed)`},
	{id: fault.IDLost, program: "wget", re: `Write failed, closing control connection|Connection closed at byte \d+|Control connection closed\.`},
	{id: fault.IDBadReply, program: "wget", re: `Error in server (?:response|greeting)`, also: []fault.ID{fault.IDBusy}},
	{id: fault.IDDataLost, re: `Failure writing network stream|Error during read from data connection`},
	{id: fault.IDUploadCut, program: "lftp", re: `Store failed - you have to reput`},
	{id: fault.IDDataLost, program: "ncftp", re: `Lost data connection to remote host|Remote write failed`},
	{id: fault.IDLost, re: `Error in the pull function|Error in the push function`},
	{id: fault.IDLost, re: `remote host disconnected during login|Remote host has closed the connection|remote host closed control connection|Remote side closed network connection`, also: []fault.ID{fault.IDBusy, fault.IDBanned}},
	{id: fault.IDUploadCut, re: `\b426[ -]`, also: []fault.ID{fault.IDAborted}},
	{id: fault.IDSSHDropped, program: "OpenSSH", re: `Connection (?:closed|reset) by \S+ port \d+`, except: `preauth|\bsshd\b`, also: []fault.ID{fault.IDBanned, fault.IDChrootOwner}},
	{id: fault.IDLost, program: "Python", re: `EOF in transport thread|Server connection dropped|SSH session not active|OSError: Socket is closed|^EOFError$|transport shut down or saw EOF|ConnectionAbortedError|SSLZeroReturnError`, except: `DEBUG`, also: []fault.ID{fault.IDIdle}},
	{id: fault.IDLost, program: "FileZilla", re: `The remote host closed TLS connection`, also: []fault.ID{fault.IDIdle, fault.IDBusy}},
	{id: fault.IDLost, program: "Go", re: `FTP connection(?: to .*)?: EOF$`, also: []fault.ID{fault.IDBusy, fault.IDBanned}},
	{id: fault.IDLost, re: `Connection closed (?:prematurely|by server)|Disconnected from server: ECONNABORTED`, also: []fault.ID{fault.IDIdle, fault.IDBusy}},
	{id: fault.IDIdle, program: "commons-net", re: `FTP response 421 received`, also: []fault.ID{fault.IDShutdown, fault.IDBusy}},
	{id: fault.IDLost, re: `Server sent FIN packet unexpectedly|SocketException: Connection reset|connection was aborted by the server|JSchException: (?:session is down|channel is not opened)`, also: []fault.ID{fault.IDIdle, fault.IDBusy}},
	{id: fault.IDBadReply, program: "commons-net", re: `MalformedServerReplyException`},
	{id: fault.IDLost, program: "commons-net", re: `Connection closed without indication`, also: []fault.ID{fault.IDIdle}},
	{id: fault.IDLost, re: `connection reset by peer|ECONNRESET|broken pipe|EPIPE|Connection (?:to \S+ )?closed by remote host|Lost connection|Connection lost|Software caused connection abort|ECONNABORTED|forcibly closed by the remote host|Client network socket disconnected|underlying connection was closed|Peer closed connection`},
	{id: fault.IDNotDir, re: `not a directory|ENOTDIR`},
	{id: fault.IDIsDir, re: `\b55\d[ -].*(?:not a (?:plain|regular) file|is a directory)|only retrieve regular files|EISDIR`},
	{id: fault.IDIsDir, program: "OpenSSH", re: `^scp: .*: Is a directory|^(?:scp: )?(?:download )?"?[^ :"]+"?: not a regular file|Cannot (?:download|copy) non-regular file`, note: "directories need -r: scp -r, get -r, put -r"},
	{id: fault.IDNotEmpty, re: `directory (?:is )?not empty|ENOTEMPTY`},
	{id: fault.IDNotEmpty, program: "vsftpd", re: `\b550[ -]Remove directory operation failed`, also: []fault.ID{fault.IDPerm, fault.IDNotFound}},
	{id: fault.IDNotFound, program: "curl", re: `curl: \((?:9|19|78)\)|Server denied you to change to the given directory|RETR response: (?:450|550)|Remote file not found`, also: []fault.ID{fault.IDPerm}},
	{id: fault.IDNotFound, re: `\b(?:450|550)[ -](?:Failed to (?:open file|change directory)|File unavailable|couldn't open the file or directory)`, also: []fault.ID{fault.IDPerm}},
	{id: fault.IDNotFound, program: "vsftpd", re: `\b550[ -]RNFR command failed`, also: []fault.ID{fault.IDPerm}},
	{id: fault.IDNotFound, program: "Pure-FTPd", re: `\b550[ -]Can't check for file existence`, also: []fault.ID{fault.IDPerm}},
	{id: fault.IDPerm, program: "vsftpd", re: `\b550[ -]Rename failed`, also: []fault.ID{fault.IDExists, fault.IDAcrossMounts}},
	{id: fault.IDNotFound, program: "vsftpd", re: `\b550[ -]Could not get file (?:size|modification time)`, tier: whereAlone, also: []fault.ID{fault.IDIsDir}, note: "programs ask for size and time before an upload too; that alone does no harm"},
	{id: fault.IDInternal, program: "vsftpd", re: `\b451[ -]Failure reading local file`, note: "the disk, or a network file system under the server, failed while the file was read"},
	{id: fault.IDNotFound, program: "rclone", re: `: directory not found$`, also: []fault.ID{fault.IDPerm}},
	{id: fault.IDNotFound, program: "ncftp", re: `server said: .*(?:Failed to (?:open file|change directory)|No such file)`, also: []fault.ID{fault.IDPerm}},
	{id: fault.IDPerm, program: "ncftp", re: `server said: .*(?:Permission denied|Could not create file|Create directory operation failed)`},
	{id: fault.IDNotFound, program: "ncftp", re: `remote chdir failed`, tier: whereAlone, also: []fault.ID{fault.IDPerm}},
	{id: fault.IDNotFound, program: "OpenSSH", re: `Can't ls: ".*" not found|File ".*" not found\.|Can't change directory: Can't check target`},
	{id: fault.IDResume, program: "OpenSSH", re: `Unable to resume (?:down|up)load of ".*": local file is larger`, note: "the file here is larger than the one there: it is another version"},
	{id: fault.IDNotFound, re: `No such file["']?\.?$`, also: []fault.ID{fault.IDHandle}},
	{id: fault.IDNotFound, re: `\b(?:550|450)[ -].*(?:no such file|not found|does not exist|doesn't exist|can(?:no|')t find|Failed to (?:open file|change directory)|cannot be listed|is not retrievable)|No such (?:file|directory)\b|SSH_FX_NO_SUCH_FILE|File or folder '.*' does not exist`, except: `debug\d: `},
	{id: fault.IDExists, program: "lftp", re: `file already exists and xfer:clobber is unset`, note: "it is the file on this machine; set xfer:clobber yes replaces it"},
	{id: fault.IDExists, re: `\b(?:450|521|55\d)[ -].*(?:File exists|already exists)`},
	{id: fault.IDInUse, re: `\b(?:450|550)[ -].*(?:in use|busy|locked|used by another process)|locked by another process`},
	{id: fault.IDHandle, re: `invalid handle|SSH_FX_INVALID_HANDLE|Error code: 9\b`},
	{id: fault.IDServerSaysNo, re: `(?:^|: |description ')"?Failure["']?\.?$`, except: `Finished: `, also: append([]fault.ID{fault.IDHandle}, unnamed...), note: "code 4 of SFTP says no more than failure"},
	{id: fault.IDBusy, program: "curl", re: `Got a (?:421|530) ftp-server response when 220 was expected`},
	{id: fault.IDBadReply, program: "curl", re: `curl: \(8\)|Weird server reply|ftp-server response when 220 was expected`},
	{id: fault.IDServerSaysNo, program: "curl", re: `QUOT command failed with|QUOT string not accepted`},
	{id: fault.IDTLSMissing, re: `\b50[0-24][ -].*\bAUTH\b`},
	{id: fault.IDTLSMissing, re: `\b50[0-3][ -].*\b(?:PBSZ|PROT)\b`},
	{id: fault.IDTLSActive, re: `\b(?:503|534)[ -].*Already using TLS`},
	{id: fault.IDUnsupported, program: "vsftpd", re: `\b500[ -]Unrecogni[sz]ed (?:TYPE|STRU|MODE) command`},
	{id: fault.IDRange, program: "ProFTPD", re: `\b501[ -].*end exceeds file size`},
	{id: fault.IDLineTooLong, re: `\b(?:421|500|530)[ -](?:Input |Command )?line too long`},
	{id: fault.IDUnsupported, re: `\b536[ -]|\b500[ -]This security scheme is not implemented`},
	{id: fault.IDTLSFailed, program: "FileZilla Server", re: `\b504[ -]TLS handshaking failed|\b431[ -]Could not initialize TLS`},
	{id: fault.IDUnsupported, re: `\b504[ -]`},
	{id: fault.IDNotBuilt, re: `\b502[ -]`},
	{id: fault.IDNotBuilt, program: "OpenSSH", re: `Server does not support \S+ extension`},
	{id: fault.IDTooLarge, re: `MaxStoreFileSize|MaxRetrieveFileSize`},
	{id: fault.IDSequence, re: `\b503[ -]`},
	{id: fault.IDSyntax, re: `\b501[ -]`},
	{id: fault.IDUnknown, re: `\b500[ -].*(?:unknown (?:SITE )?command|not understood|command not recogni[sz]ed|unrecogni[sz]ed command|command,? (?:line )?(?:unrecogni[sz]ed|not recogni[sz]ed)|Wrong command|command '.*' not recogni[sz]ed|Invalid command: try being more creative|is an unknown extension)`},
	{id: fault.IDSyntax, program: "vsftpd", re: `\b500[ -](?:SITE CHMOD needs 2 arguments|Bad EPRT command)`},
	{id: fault.IDFamily, program: "vsftpd", re: `\b500[ -]Bad EPRT protocol`},

	// What says little, and so stands behind everything else.
	{id: fault.IDPerm, re: `Permission denied`, also: []fault.ID{fault.IDAuth}},
	{id: fault.IDTLSMissing, program: "FileZilla", re: `Insecure server, it does not support FTP over TLS`},
	{id: fault.IDWrongProto, re: `^SSH-[12]\.\d+-`, note: "this is the first line of an SSH server: sftp://HOST:PORT"},
	{id: fault.IDTLSFailed, re: `Unable to establish SSL connection|curl: \(35\) `, tier: whereAlone, also: []fault.ID{fault.IDTLSVersion, fault.IDImplicitTLS}},
	{id: fault.IDUnknownCA, program: "WinSCP", re: `Peer certificate rejected`, tier: whereAlone, also: []fault.ID{fault.IDSelfSigned, fault.IDCertName, fault.IDExpired}},
	{id: fault.IDUnknownCA, program: "OpenSSL", re: `certificate verify failed`, tier: whereAlone, also: []fault.ID{fault.IDSelfSigned, fault.IDCertName, fault.IDExpired, fault.IDIncomplete}},
	{id: fault.IDFiltered, program: "FileZilla", re: `Could not connect to server`, tier: whereAlone, also: []fault.ID{fault.IDRefused, fault.IDAuth}, note: "the lines above it in the log tell why"},
	{id: fault.IDLost, program: "OpenSSH", re: `^(?:OpenSSH: |scp: )?Connection closed\.?$`, tier: whereAlone, also: []fault.ID{fault.IDChrootOwner, fault.IDSSHDropped}, note: "sftp ends with this whatever has happened; the lines above it tell more"},
}, byCode())

// How much a reply says whose words are not known.
const (
	wordsAreKnown = iota // a pattern of the table has the code with whatever words
	codeIsClear          // what the code alone says
	codeIsVague          // no more than that the server refuses
)

// codes are the replies whose number alone says something (RFC 959, 4.2; RFC 2228, 5;
// RFC 2428, 2). The first id is what it mostly means.
var codes = []struct {
	code string
	says int
	ids  []fault.ID
}{
	{"421", codeIsClear, []fault.ID{fault.IDShutdown, fault.IDBusy, fault.IDIdle, fault.IDTries, fault.IDBanned}},
	{"425", codeIsClear, []fault.ID{fault.IDDataBlocked, fault.IDActiveBlock, fault.IDPool}},
	{"426", wordsAreKnown, []fault.ID{fault.IDUploadCut, fault.IDAborted, fault.IDDataLost}},
	{"431", codeIsClear, []fault.ID{fault.IDTLSMissing, fault.IDTLSFailed}},
	{"450", codeIsVague, []fault.ID{fault.IDNotFound, fault.IDInUse, fault.IDPerm}},
	{"451", codeIsVague, []fault.ID{fault.IDInternal, fault.IDPerm, fault.IDNoSpace}},
	{"452", wordsAreKnown, []fault.ID{fault.IDNoSpace, fault.IDQuota}},
	{"500", codeIsVague, []fault.ID{fault.IDUnknown}},
	{"501", wordsAreKnown, []fault.ID{fault.IDSyntax, fault.IDNotDir}},
	{"502", wordsAreKnown, []fault.ID{fault.IDNotBuilt, fault.IDTLSMissing}},
	{"503", wordsAreKnown, []fault.ID{fault.IDSequence, fault.IDTLSMissing, fault.IDTLSActive}},
	{"504", wordsAreKnown, []fault.ID{fault.IDUnsupported}},
	{"521", codeIsVague, []fault.ID{fault.IDProtRequired, fault.IDTLSRequired}},
	{"522", codeIsVague, []fault.ID{fault.IDProtRequired, fault.IDTLSReuse, fault.IDFamily}},
	{"530", codeIsClear, []fault.ID{fault.IDAuth, fault.IDLogin, fault.IDTLSRequired, fault.IDBusy}},
	{"534", codeIsClear, []fault.ID{fault.IDTLSRequired, fault.IDTLSMissing, fault.IDTLSActive, fault.IDProtRequired}},
	{"550", codeIsVague, []fault.ID{fault.IDNotFound, fault.IDPerm, fault.IDIsDir, fault.IDExists}},
	{"551", codeIsVague, []fault.ID{fault.IDPerm, fault.IDNotFound}},
	{"552", wordsAreKnown, []fault.ID{fault.IDQuota, fault.IDNoSpace}},
	{"553", codeIsVague, []fault.ID{fault.IDPerm, fault.IDBadName, fault.IDExists}},
}

// byCode are the patterns of codes: a reply without words, as it is pasted or as .NET
// shows it with words of another language, and one whose words are not known.
func byCode() (all []pattern) {
	for _, c := range codes {
		p := pattern{id: c.ids[0], also: c.ids[1:], re: `^(?:[<> -]+|Response: *)?` + c.code + `[.-]?$|\(` + c.code + `\) ` + c.code + ` `}
		all = append(all, p)
		switch c.says {
		case wordsAreKnown:
			continue
		case codeIsVague:
			p.id, p.also = fault.IDServerSaysNo, c.ids
		}
		p.re = `(?:^(?:[<> -]+|Response: *)?|(?:failed|refused|denied|error|error_perm|error_temp|error_reply): ?\(?)` + c.code + `[ -]["'(]?\pL|\bCode: ` + c.code + ` Message: `
		p.except = `\b` + c.code + ` (?:bytes|files|folders|directories|entries|items|users|connections|(?:[kMGT]i?)?B)\b`
		p.tier, p.note = byCodeAlone, "these words are not known here, only the code "+c.code
		all = append(all, p)
	}
	return all
}

// A compiled pattern.
type compiled struct {
	pattern
	re, after, except *regexp.Regexp
	literals          []string // one of these is in each line that re matches, in lower case; none: unknown
}

// compile makes the patterns ready, once and not before somebody asks.
var compile = sync.OnceValue(func() []compiled {
	all := make([]compiled, len(patterns))
	for i, p := range patterns {
		all[i] = compiled{pattern: p, re: regexp.MustCompile("(?i)" + p.re)}
		if tree, err := syntax.Parse(p.re, syntax.Perl); err == nil {
			all[i].literals = literals(tree)
		}
		if p.after != "" {
			all[i].after = regexp.MustCompile("(?i)" + p.after)
		}
		if p.except != "" {
			all[i].except = regexp.MustCompile("(?i)" + p.except)
		}
	}
	return all
})

// told is an id of ours: in brackets at the end of a line, and as the log and JSON have it.
var told = regexp.MustCompile(`\[([a-z0-9-]+)\]["'\s]*$|\bid=([a-z0-9-]+)|"id": ?"([a-z0-9-]+)"`)

// signs tell what a line does to the conversation, as far as patterns ask for it.
var signs = []struct {
	re        *regexp.Regexp
	set, gone when
}{
	{regexp.MustCompile(`(?:^|[^0-9.:,])220[ -]|waiting for welcome message`), greeted, 0},
	{regexp.MustCompile(`(?:^|[^0-9.:,])22[79][ -]|(?i)Entering (?:Extended )?Passive Mode`), passive | greeted, active},
	{regexp.MustCompile(`\b(?:PORT \d+,|EPRT \|)`), active, passive},
	{regexp.MustCompile(`(?:^|[^0-9.:,])234[ -]|(?i)TLS connection established|SSL connection (?:established|using)|AUTH (?:TLS|SSL)`), secured, 0},
	{regexp.MustCompile(`(?:^|[^0-9.:,])(?:230|331)[ -]|(?i)Status:\s*Logged in`), loggedIn | greeted, 0},
	{regexp.MustCompile(`\b(?:STOR|APPE|STOU) `), storing, 0},
	{regexp.MustCompile(`(?:^|[^0-9.:,])226[ -]`), 0, passive | active | storing},
}

// Find tells what the words of a text mean: an error message of any program, or a
// log of several lines. The most specific match comes first, and each id once. Of a
// long text it looks at the end: 64 KiB and 2,000 lines. An id of ours that stands in
// a line is told before any words. In a short text a sentence may go on in the next
// line.
func Find(words string) []Match {
	var seen when
	if len(words) > maxText {
		words = words[len(words)-maxText:]
		seen = greeted // nobody knows what stood before it
	}
	var lines []string
	for line := range strings.FieldsFuncSeq(words, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) > maxLines {
		lines = lines[len(lines)-maxLines:]
		seen = greeted
	}
	found := find(lines, seen)
	if len(lines) <= maxWrapped {
		for _, end := range []string{" ", ""} { // a mail breaks lines at blanks, a terminal anywhere
			if joined := find(unwrap(lines, end), seen); len(joined) > 0 && (len(found) == 0 || joined[0].rank < found[0].rank) {
				found = joined
			}
		}
	}
	matches := make([]Match, len(found))
	for i, f := range found {
		f.Also = slices.DeleteFunc(slices.Clone(f.Also), func(id fault.ID) bool {
			return slices.ContainsFunc(found, func(f ranked) bool { return f.ID == id })
		})
		matches[i] = f.Match
	}
	return matches
}

// A ranked match knows its place among others.
type ranked struct {
	Match
	rank int
}

// find is Find for lines that are looked at one by one; seen is known before the first.
func find(lines []string, seen when) []ranked {
	var found []ranked
	add := func(rank int, m Match) {
		if i := slices.IndexFunc(found, func(f ranked) bool { return f.ID == m.ID }); i < 0 {
			found = append(found, ranked{m, rank})
		} else if rank < found[i].rank {
			found[i] = ranked{m, rank}
		}
	}
	walk(lines, seen, func(line string, i int, note string) {
		shown := text(strings.ReplaceAll(line, "\t", " "))
		if id, ok := own(line); ok {
			add(-1, Match{ID: id, Program: "dray", Line: shown})
		} else if i >= 0 {
			p := patterns[i]
			add(int(p.tier)*len(patterns)+i, Match{ID: p.id, Program: p.program, Line: shown, Note: text(note), Also: p.also})
		}
	})
	slices.SortStableFunc(found, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	for i, f := range found {
		if t := f.rank / len(patterns); t > int(behindOthers) && t > found[0].rank/len(patterns) {
			return found[:i]
		}
	}
	return found
}

// walk tells each line with the number of its pattern, -1 when it has none.
func walk(lines []string, seen when, tell func(line string, i int, note string)) {
	var before strings.Builder
	for _, line := range lines {
		words := plain(line)
		i, note := first(words, before.String(), seen)
		tell(line, i, note)
		for _, s := range signs {
			if s.re.MatchString(words) {
				seen = seen&^s.gone | s.set
			}
		}
		before.WriteString(words + "\n")
	}
}

// typed are what programs write for the characters that patterns have.
var typed = strings.NewReplacer("\ufeff", "", "\t", " ", "\u00a0", " ", "\u202f", " ", "\u2018", "'", "\u2019", "'", "\u2010", "-", "\u2011", "-")

// dotNet is how .NET writes a reply: with its code in parentheses.
var dotNet = regexp.MustCompile(`: ?\(([45]\d\d)\) `)

// plain is a line as patterns expect it: in English, with the characters of a keyboard,
// and with a reply code as it was sent behind one in parentheses.
func plain(line string) string {
	return dotNet.ReplaceAllString(english.Replace(typed.Replace(line)), ": ($1) $1 ")
}

// begins is what only a new line of a log begins with: no letter, or a word with a
// colon behind it, as the names of programs have.
var begins = regexp.MustCompile(`^(?:[^\pL(]|[\w.\[\]()-]+[:>=]|[A-Z]{3,4} )`)

// unwrap joins lines with what goes on in the next one; end stands in place of the line
// end.
func unwrap(lines []string, end string) []string {
	var whole []string
	for i, line := range lines {
		if i > 0 && !strings.ContainsAny(lines[i-1][len(lines[i-1])-1:], ".!?)") && !begins.MatchString(line) {
			whole[len(whole)-1] += end + line
		} else {
			whole = append(whole, line)
		}
	}
	return whole
}

// own is the id of ours that stands in a line.
func own(line string) (fault.ID, bool) {
	m := told.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	e, ok := For(fault.ID(m[1] + m[2] + m[3]))
	return e.ID, ok
}

// first is the number of the first pattern that a line has, -1 when it has none.
func first(line, before string, seen when) (int, string) {
	lower := strings.ToLower(line)
	for i, p := range compile() {
		if p.when&^seen != 0 || len(p.literals) > 0 && !slices.ContainsFunc(p.literals, func(s string) bool { return strings.Contains(lower, s) }) {
			continue
		}
		m := p.re.FindStringSubmatch(line)
		if m == nil || p.except != nil && p.except.MatchString(line) || p.after != nil && !p.after.MatchString(above(before)) {
			continue
		}
		note := p.note
		if p.decode != nil {
			var ok bool
			if note, ok = p.decode(m, before); !ok {
				continue
			}
		}
		return i, note
	}
	return -1, ""
}

// above is the last line of a text; remarks of curl are passed over.
func above(before string) string {
	for before != "" {
		before = strings.TrimSuffix(before, "\n")
		line := before[strings.LastIndexByte(before, '\n')+1:]
		if !strings.HasPrefix(line, "* ") {
			return line
		}
		before = strings.TrimSuffix(before, line)
	}
	return ""
}

// literals are strings of which each match of re has at least one, in lower case; none
// where there are no such. To look for them first is ten times as fast as the
// patterns are.
func literals(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{strings.ToLower(string(re.Rune))}
	case syntax.OpCapture, syntax.OpPlus:
		return literals(re.Sub[0])
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if l := literals(sub); l != nil && (best == nil || shortest(l) > shortest(best)) {
				best = l
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			l := literals(sub)
			if l == nil {
				return nil
			}
			all = append(all, l...)
		}
		return all
	}
	return nil
}

func shortest(list []string) int {
	n := len(list[0])
	for _, s := range list {
		n = min(n, len(s))
	}
	return n
}
