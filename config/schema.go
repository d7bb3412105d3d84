package config

import (
	"net/netip"
	"time"

	"dray/account"
)

// A Config is all that can be set, as a configuration file has it. The tags are
// its contract: `toml` is the key, `default` the value of a key that is missing
// (shown by the reference and set by Defaults), `doc` the sentence of the
// reference and of the example file. Reference, example, environment names and
// checks are made from them.
//
// What a value may be: `oneof` lists all values; `form` names what a string is
// (address, range, path, public, public-for, switch); `min` and `max` bound an
// integer; `off` is the integer that the word "off" stands for; `positive` keeps
// a duration above zero; `required` says that the key may not be missing.
// `example` is the value that the example file shows where there is no default.
type Config struct {
	State   string `toml:"state" form:"path" default:"/var/lib/dray" doc:"directory for what must survive a start: accounts, certificate, what cut uploads count"`
	User    string `toml:"user" example:"dray" doc:"user that the server becomes when root starts it; it keeps the right to bind low ports, and to act as the owners of accounts where they have any"`
	Public  string `toml:"public" form:"public" example:"ftp.example.net" doc:"address or host name by which clients elsewhere reach this host, when it is behind NAT; a name is looked up again every two minutes"`
	Passive string `toml:"passive" default:"30000-30999" form:"range" doc:"passive range: the ports of data connections, to be opened in the firewall"`
	Admin   string `toml:"admin" form:"path" example:"/run/dray/admin.sock" doc:"socket at which the running server answers dray status, for root and its own user; default: admin.sock in the state directory"`
	Sync    string `toml:"sync" default:"commit" doc:"commit: an upload is on the disk before it is answered; none: the kernel has it" oneof:"commit,none"`

	PublicFor  []PublicFor `toml:"public-for" doc:"another public address for the clients of a network"`
	Listeners  []Listener  `toml:"listener" doc:"where clients connect; without any: SFTP on 22, explicit TLS on 21 and implicit TLS on 990"`
	TLS        TLS         `toml:"tls" doc:"certificates and versions"`
	SSH        SSH         `toml:"ssh" doc:"host keys, and the CAs of users"`
	Accounts   Accounts    `toml:"accounts" doc:"where accounts are kept, and what a new one has"`
	Anonymous  Anonymous   `toml:"anonymous" doc:"login without a password, for strangers"`
	Limits     Limits      `toml:"limits" doc:"how much of everything"`
	Messages   Messages    `toml:"messages" doc:"what clients are told"`
	Commands   Commands    `toml:"commands" doc:"commands that are off by default, and those to refuse"`
	Log        Log         `toml:"log" doc:"records"`
	Exceptions []Exception `toml:"exception" doc:"old ways that are let in on purpose, with a reason and until a day"`

	File string `toml:"-"` // the file that it came from, "" for none

	at  map[string]place // where each key that was set is, by its path
	bad map[string]bool  // keys whose value is not what the file says, for Parse reported it
	cut bool             // a syntax error hides the rest of the file
}

// A Listener is one address, or several with the same rules.
type Listener struct {
	Name               string         `toml:"name" example:"printers" doc:"for the log; default: the protocol and the port"`
	Protocol           string         `toml:"protocol" default:"ftp" oneof:"ftp,ftps,sftp" doc:"ftp: explicit TLS, on request of the client; ftps: implicit TLS from the first byte; sftp: SFTP over SSH, for which the keys about TLS, data connections and clear text mean nothing"`
	Listen             []string       `toml:"listen" form:"address" example:":2121" doc:"addresses as \"192.0.2.1:21\", \"[2001:db8::1]:21\" or \":21\"; default: the port of the protocol on all addresses, 21, 990, or 22, which for SFTP becomes 2022 or 2222 where another program has it"`
	Plain              bool           `toml:"plain" doc:"let passwords and files cross in clear text, for devices without TLS; better: an exception for their network"`
	ClearData          bool           `toml:"clear-data" doc:"let files cross in clear text on a connection whose login was under TLS (PROT C)"`
	DataSession        string         `toml:"data-session" default:"prefer" oneof:"prefer,require,off" doc:"whether data connections under TLS must resume the session of their control connection; require refuses curl 7.88 with TLS 1.2, second uploads of single-ticket clients, and most Perl programs"`
	TLSEnd             string         `toml:"tls-end" default:"require" oneof:"require,accept" doc:"accept: an upload over TLS counts as whole without close_notify, for old devices; a cut one can then look whole"`
	Certificate        string         `toml:"certificate" example:"ftp.example.net" doc:"name of the certificate for clients that name none; default: the first"`
	ClientCertificates string         `toml:"client-certificates" default:"off" oneof:"off,ask" doc:"ask: clients are asked for a certificate, and those whose account names it log in without a password"`
	ClientCA           string         `toml:"client-ca" form:"path" example:"/etc/dray/clients-ca.pem" doc:"PEM file with the CA whose client certificates log in to accounts that say \"ca\"; clients are asked for one then, whatever client-certificates says"`
	Active             bool           `toml:"active" default:"true" doc:"active mode: the server connects to the client"`
	ActivePort         int            `toml:"active-port" default:"-1" min:"-1" max:"65535" doc:"source port of active data connections, 0 for any; default: 20, and 989 for ftps, where it may be bound"`
	Passive            string         `toml:"passive" form:"range" example:"31000-31099" doc:"a passive range of its own"`
	Networks           []netip.Prefix `toml:"networks" example:"192.0.2.0/24" doc:"who may connect; default: everybody"`
	Banner             string         `toml:"banner" example:"Printers only." doc:"the greeting; default: that of [messages]. Over SSH it comes before the login, and only when it is set here"`
}

// A PublicFor is what PASV tells the clients of one network.
type PublicFor struct {
	Network netip.Prefix `toml:"network" required:"true" example:"10.0.0.0/8" doc:"network of the clients, as \"10.0.0.0/8\""`
	Address string       `toml:"address" required:"true" form:"public-for" example:"local" doc:"address or host name that they reach this host by; \"local\": the one that they have connected to"`
}

// TLS is what all listeners share.
type TLS struct {
	Certificates []Certificate `toml:"certificate" doc:"certificates, chosen by the name that the client asks for; the first for those that name none. Without any a self-signed one is made and kept"`
	MinVersion   string        `toml:"min-version" default:"1.2" oneof:"1.2,1.3" doc:"oldest version of TLS; older ones only by an exception"`
}

// SSH is what all listeners for SFTP share.
type SSH struct {
	HostKeys []string      `toml:"host-keys" form:"path" example:"/etc/dray/ssh_host_ed25519_key" doc:"private keys by which clients know this host, as OpenSSH keeps them; without any: an ed25519, an ecdsa and an rsa key, made once and kept in the state directory"`
	SCP      bool          `toml:"scp" default:"true" doc:"scp's old protocol, for clients that know no other; new ones use SFTP"`
	Idle     time.Duration `toml:"idle" default:"24h" positive:"true" doc:"how long a client may say nothing, not even a keep-alive"`
	UserCA   string        `toml:"user-ca" form:"path" example:"/etc/dray/users-ca.pub" doc:"file with the public keys of CAs, one a line, whose certificates log in to the accounts that they name"`
}

// A Certificate is a pair of PEM files.
type Certificate struct {
	File string `toml:"file" form:"path" required:"true" example:"/etc/dray/cert.pem" doc:"PEM file with the certificate and its chain"`
	Key  string `toml:"key" form:"path" example:"/etc/dray/key.pem" doc:"PEM file with the private key; default: in the same file"`
}

// Accounts says where accounts are kept and what they begin with.
type Accounts struct {
	Database string         `toml:"database" form:"path" example:"/var/lib/dray/accounts.db" doc:"SQLite file; default: accounts.db in the state directory"`
	Home     string         `toml:"home" form:"path" example:"/srv/ftp/{name}" doc:"home of an account that names none, with {name} in it, as \"/srv/ftp/{name}\"; without it every account needs its own"`
	MakeHome bool           `toml:"make-home" default:"true" doc:"make a missing home at the first login, where it comes from the key home"`
	Owners   bool           `toml:"owners" doc:"accounts may have owners, users of this machine whose files they are: a server that root starts keeps CAP_SETUID and CAP_SETGID for them"`
	Rights   account.Rights `toml:"rights" default:"full" doc:"rights of a new account: full, read-only, upload-only, or words between commas"`
}

// Anonymous is the account of strangers.
type Anonymous struct {
	Directory   string `toml:"directory" form:"path" example:"/srv/pub" doc:"directory that anonymous and ftp read, without a password; empty: no anonymous login"`
	Incoming    string `toml:"incoming" example:"incoming" doc:"directory in it to which they may upload, as \"incoming\"; nothing in it can be listed, read, replaced or removed by them"`
	Plain       bool   `toml:"plain" default:"true" doc:"also in clear text: there is no password to protect"`
	MaxSessions int    `toml:"max-sessions" default:"50" min:"1" doc:"sessions of anonymous at once"`
	MaxBytes    Size   `toml:"max-bytes" example:"10G" doc:"quota of the incoming directory, as \"10G\""`
	RateDown    Size   `toml:"rate-down" example:"5M" doc:"bytes a second to all of them together, as \"5M\""`
	RateUp      Size   `toml:"rate-up" example:"5M" doc:"bytes a second from all of them together"`
}

// Limits bound what clients can take. A zero is the default of the code, which
// the reference shows; "off" is -1.
type Limits struct {
	Sessions           int            `toml:"sessions" min:"0" example:"10000" doc:"control connections in all; default: 10000, or a sixth of the descriptors that the process may open"`
	SessionsPerAddress int            `toml:"sessions-per-address" off:"-1" example:"100" doc:"control connections of one address; default: half of all; \"off\" or -1: no limit"`
	SessionsPerAccount int            `toml:"sessions-per-account" min:"0" example:"20" doc:"sessions of an account that has no limit of its own; default: none"`
	Tries              int            `toml:"tries" default:"3" min:"1" doc:"wrong passwords in one connection"`
	BanAfter           int            `toml:"ban-after" default:"50" off:"-1" min:"1" doc:"wrong passwords of one address within ban-window that ban it; \"off\" or -1: never"`
	BanFor             time.Duration  `toml:"ban-for" default:"10m" positive:"true" doc:"how long a ban lasts"`
	BanWindow          time.Duration  `toml:"ban-window" default:"10m" positive:"true" doc:"how far back wrong passwords count"`
	Exempt             []netip.Prefix `toml:"exempt" example:"192.0.2.0/24" doc:"networks that are neither delayed nor banned: your own, and proxies"`
	LoginTime          time.Duration  `toml:"login-time" default:"30s" positive:"true" doc:"from connect to login"`
	Idle               time.Duration  `toml:"idle" default:"10m" positive:"true" doc:"between commands of FTP"`
	IdleMax            time.Duration  `toml:"idle-max" default:"2h" positive:"true" doc:"what SITE IDLE may ask for"`
	DataWait           time.Duration  `toml:"data-wait" default:"20s" positive:"true" doc:"for a data connection to come"`
	Stall              time.Duration  `toml:"stall" default:"2m" positive:"true" doc:"without a byte in a transfer"`
	Partials           time.Duration  `toml:"partials" default:"168h" doc:"how long a cut upload waits to be resumed"`
	StopGrace          time.Duration  `toml:"stop-grace" default:"30s" doc:"how long transfers may go on when the server stops"`
}

// Messages are what clients are told. {user} in welcome is the name of the user.
type Messages struct {
	Banner  string `toml:"banner" default:"dray ready." doc:"the greeting; several lines are allowed"`
	Welcome string `toml:"welcome" example:"Welcome, {user}." doc:"after the login; several lines are allowed, {user} is the name"`
	Goodbye string `toml:"goodbye" default:"Goodbye." doc:"at QUIT"`
}

// Commands are switches.
type Commands struct {
	Allow []string `toml:"allow" form:"switch" example:"COPY" doc:"of CCC (back to a clear-text control connection), COPY (SITE COPY, CPFR, CPTO), FXP (server to server, with SSCN and CPSV), PRET, RMDA"`
	Deny  []string `toml:"deny" example:"SITE CHMOD" doc:"commands to answer with 502, as \"SITE CHMOD\" or \"MODE Z\""`
}

// A Log is where records go.
type Log struct {
	Format     string   `toml:"format" default:"text" oneof:"text,json" doc:"of the log"`
	Level      string   `toml:"level" default:"info" oneof:"debug,info,warn,error" doc:"debug has the dialogue, with passwords masked"`
	File       string   `toml:"file" form:"path" example:"/var/log/dray/dray.log" doc:"file to append to, opened again at SIGHUP; default: standard error, which the journal keeps"`
	Xferlog    string   `toml:"xferlog" form:"path" example:"/var/log/dray/xferlog" doc:"file with one line a transfer in the format of wu-ftpd and vsftpd"`
	Auth       string   `toml:"auth" form:"path" example:"/var/log/dray/auth.log" doc:"file with one line a failed login, in the form that fail2ban's filter for vsftpd reads"`
	Transcript []string `toml:"transcript" example:"scanner" doc:"accounts whose dialogue is logged, with passwords masked"`
}

// An Exception lets one old way in. Until it holds everywhere that its fields
// say; afterwards it is as if it were not there, and the log says so.
type Exception struct {
	Allow    string       `toml:"allow" required:"true" oneof:"plain,tls-end,tls1.0,tls1.1,old-ciphers,ssh-old-kex,ssh-old-ciphers,ssh-rsa" example:"plain" doc:"plain: login and files in clear text; tls-end: uploads over TLS that end without close_notify; tls1.0 and tls1.1: from this version of TLS on; old-ciphers: CBC and key exchange without forward secrecy; ssh-old-kex: key exchange of SSH with SHA-1; ssh-old-ciphers: ciphers of SSH in CBC mode and MACs without encrypt-then-MAC; ssh-rsa: RSA signatures of SSH with SHA-1, of host keys and of users"`
	Account  string       `toml:"account" example:"scanner" doc:"plain only: the one account; then network is needed too"`
	Listener string       `toml:"listener" example:"ftp" doc:"name of the one listener; default: all"`
	Network  netip.Prefix `toml:"network" example:"192.0.2.0/24" doc:"network of the clients; needed for plain"`
	Reason   string       `toml:"reason" required:"true" example:"the scanner has no TLS" doc:"why, for whoever reads it later"`
	Until    Date         `toml:"until" required:"true" example:"2027-06-30" doc:"last day, as 2027-06-30"`
}
