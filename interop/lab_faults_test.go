//go:build linux

package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"dray/certs"
)

// A trouble is one fault, how it is staged, what dray doctor has to say, and how what
// it prints is tried.
type trouble struct {
	name  string
	how   layout
	stage func(s *scene)

	// The fault is there: what this prints on the client matches.
	shows, like string

	args     []string // of dray doctor; default: the server's URL for FTP
	password string   // default: the right one
	first    string   // the id that comes first
	verdict  string   // default: problems
	limit    time.Duration

	fix     side
	why     string        // no command can mend it; with fix none
	again   []string      // args that show a fix to be one sooner than those above
	settles time.Duration // how long the server takes to see what was pasted
	away    bool          // looked at from far away also without DRAY_LONG=1
	slow    bool          // the fix is tried with DRAY_LONG=1 only: that takes more than a minute
}

// A side is who mends a fault by a command that the doctor prints.
type side int

const (
	none   side = iota
	you         // on the client
	admin       // on the server
	anyone      // one of the two
)

const (
	atFTP      = "ftp://" + user + "@" + serverName + "/"
	atFTPS     = "ftps://" + user + "@" + serverName + "/"
	atSFTP     = "sftp://" + user + "@" + serverName + "/"
	asPlain    = "curl -sSv --max-time 12 -u " + user + ":" + password + " ftp://" + serverName + "/"
	asTLS      = "curl -sSv --max-time 12 --ssl-reqd -u " + user + ":" + password + " ftp://" + serverName + "/"
	asSFTP     = "curl -sSv --max-time 12 -k -u " + user + ":" + password + " sftp://" + serverName + "/"
	reachFTP   = "curl -sS --max-time 2 ftp://" + serverName + "/"
	onlyTCP    = "timeout 2 bash -c 'exec 3<>/dev/tcp/" + serverName + "/21; head -1 <&3'"
	chainShown = "openssl s_client -starttls ftp -connect " + serverName + ":21 -servername " + serverName + " -verify_hostname " + serverName + " -CAfile /etc/ssl/certs/ca-certificates.crt </dev/null"
)

// closed is a packet filter that lets in what is answered and those rules only.
func closed(rules ...string) string {
	return "table inet filter {\n chain input {\n  type filter hook input priority filter; policy drop;\n  iif lo accept\n  meta l4proto { icmp, ipv6-icmp } accept\n" +
		"  ct state established,related accept\n  " + strings.Join(rules, "\n  ") + "\n }\n}\n"
}

// TLS of an actor, with a certificate that the client trusts.
func (s *scene) modern() *tls.Config {
	s.t.Helper()
	return &tls.Config{Certificates: []tls.Certificate{s.cas.issue(s.t, hostNamed(serverName), s.cas.between).tls(s.cas.between)}}
}

// sftp lets the server have SFTP too, at its usual port, with a key that is known.
func (s *scene) sftpBeside() {
	s.sshd(22)
	s.knows(22)
}

func troubles() []trouble {
	return []trouble{
		// The way there.
		{name: "name unknown", first: "dns",
			shows: "getent hosts nowhere.example.test; echo $?", like: `^2`, args: []string{"ftp://" + user + "@nowhere.example.test/"},
			why: "names are published by a name server, which is neither of the two hosts"},
		{name: "name mistyped", first: "dns", fix: you, args: []string{"ftp://" + user + "@ftp.exmaple.test/"},
			stage: func(s *scene) {
				s.dray("", "")
				s.knows(22)
			},
			shows: "getent hosts ftp.exmaple.test; echo $?", like: `^2`},
		{name: "refused", first: "refused", fix: anyone,
			stage: func(s *scene) { s.sftpBeside() },
			shows: reachFTP, like: `refused|Couldn't connect|Failed to connect`},
		{name: "dropped", first: "filtered", fix: admin,
			stage: func(s *scene) {
				s.dray("", "")
				s.server.nft(closed("tcp dport 22 accept"))
			},
			shows: reachFTP, like: `timed out|Timeout`},
		{name: "rejected by ICMP", first: "rejected", fix: admin,
			stage: func(s *scene) {
				s.dray("", "")
				s.server.nft("table inet filter { chain input { type filter hook input priority filter; policy accept; tcp dport 21 reject with icmpx admin-prohibited; }; }")
			},
			shows: reachFTP, like: `No route|Couldn't connect|Failed to connect`},
		{name: "IPv6 published but dead", first: "ipv6-dead", verdict: "warnings", fix: anyone,
			stage: func(s *scene) {
				s.dray("", "")
				s.client.add("/etc/hosts", serverIPv6+" "+serverName+"\n")
				s.server.nft("table inet filter { chain input { type filter hook input priority filter; policy accept; meta nfproto ipv6 meta l4proto tcp drop; }; }")
			},
			shows: reachFTP + " -6; " + reachFTP + " -4", like: `(?s)(timed out|Timeout).*(USER|denied|530)`},

		// Who speaks there.
		{name: "SSH on 21", first: "wrong-protocol", fix: you,
			stage: func(s *scene) {
				s.sshd(21)
				s.knows(21)
			},
			shows: onlyTCP, like: `^SSH-2.0`},
		{name: "FTP on 22", first: "wrong-protocol", fix: you, args: []string{atSFTP},
			stage: func(s *scene) { s.vsftpd(22) },
			shows: strings.ReplaceAll(onlyTCP, "/21", "/22"), like: `^220`},
		{name: "HTTP on 21", first: "wrong-protocol", fix: you,
			stage: func(s *scene) {
				s.sftpBeside()
				l := s.server.listen(21)
				web := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.NotFoundHandler()}
				s.t.Cleanup(func() { _ = web.Close() })
				go func() { _ = web.Serve(l) }()
			},
			shows: "curl -sSi --max-time 5 http://" + serverName + ":21/", like: `^HTTP/1.1 404`},
		{name: "implicit TLS on 21", first: "implicit-tls", fix: you,
			stage: func(s *scene) { s.dray("", listener("ftps", 21)) },
			shows: "openssl s_client -connect " + serverName + ":21 -quiet </dev/null & sleep 1; kill $!", like: `verify return:1`},
		{name: "plain FTP on 990", first: "wrong-protocol", fix: you, args: []string{atFTPS},
			stage: func(s *scene) { s.dray("", listener("ftp", 990)) },
			shows: strings.ReplaceAll(onlyTCP, "/21", "/990"), like: `^220`},
		{name: "banner late", first: "no-answer",
			stage: func(s *scene) { s.play(21, &actor{late: 9 * time.Second, tls: s.modern()}) },
			shows: onlyTCP + "; echo $?", like: `^124`,
			why: "the server waits for something that only its log can tell"},
		{name: "banner late, waited for", first: "no-answer", verdict: "warnings", fix: admin, args: []string{atFTP, "--deep"}, again: []string{atFTP}, limit: 4 * time.Minute,
			stage: func(s *scene) {
				s.server.write("/etc/resolv.conf", "nameserver 127.0.0.53\n") // and nobody answers there
				s.server.nft("table inet filter { chain input { type filter hook input priority filter; policy accept; ip daddr 127.0.0.53 drop; }; }")
				s.proftpd(21, "UseReverseDNS on")
			},
			shows: onlyTCP + "; echo $?", like: `^124`},
		{name: "421 busy", first: "busy",
			stage: func(s *scene) {
				s.vsftpd(21, "max_clients=1")
				s.occupy(serverAddress+":21", "")
			},
			shows: asTLS, like: `421 There are too many connected users`,
			why: "it passes when others have left"},
		{name: "banned", first: "banned",
			stage: func(s *scene) {
				s.dray("", "[limits]\nban-after = 3\n")
				for range 2 {
					_, _ = s.client.shell(20*time.Second, "for i in 1 2 3; do curl -sS --max-time 9 --ssl-reqd -u "+user+":wrong ftp://"+serverName+"/ & done; wait")
				}
			},
			shows: onlyTCP, like: `^421.*\[banned\]`,
			why: "a ban ends by itself after its time"},

		// TLS, and who vouches.
		{name: "TLS not offered", first: "tls-missing", fix: you,
			stage: func(s *scene) {
				s.sftpBeside()
				s.vsftpd(21, "ssl_enable=NO")
			},
			shows: asTLS, like: `Requested SSL level failed|530 Please login|AUTH TLS\s`},
		{name: "TLS required, vsftpd 530", first: "tls-required", fix: you, args: []string{atFTP, "--tls", "off", "--plain"},
			stage: func(s *scene) { s.vsftpd(21) },
			shows: asPlain, like: `530 Non-anonymous sessions must use encryption`},
		{name: "TLS required, ProFTPD 550", first: "tls-required", fix: you, args: []string{atFTP, "--tls", "off", "--plain"},
			stage: func(s *scene) { s.proftpd(21) },
			shows: asPlain, like: `550 SSL/TLS required`},
		{name: "TLS required, Pure-FTPd 421", first: "tls-required", fix: you, args: []string{atFTP, "--tls", "off", "--plain"},
			stage: func(s *scene) { s.pureftpd(21) },
			shows: asPlain, like: `421.*cleartext`},
		{name: "TLS required, 534", first: "tls-required", fix: you, args: []string{atFTP, "--tls", "off", "--plain"},
			stage: func(s *scene) {
				s.play(21, &actor{tls: s.modern(), says: inClear("USER", "534 Policy requires SSL.")})
			},
			shows: asPlain, like: `534 Policy requires SSL`},
		{name: "TLS required, 503", first: "tls-required", fix: you, args: []string{atFTP, "--tls", "off", "--plain"},
			stage: func(s *scene) {
				s.play(21, &actor{tls: s.modern(), says: inClear("USER", "503 Must use AUTH TLS first.")})
			},
			shows: asPlain, like: `503 Must use AUTH`},
		{name: "self-signed", first: "cert-self-signed", fix: you,
			stage: func(s *scene) {
				s.cert = "" // the server makes its own
				s.dray("", "")
			},
			shows: chainShown, like: `self-signed certificate|self signed certificate`},
		{name: "unknown CA", first: "cert-unknown-ca", fix: you,
			stage: func(s *scene) {
				s.certify(s.cas.issue(s.t, hostNamed(serverName), s.cas.stranger), s.cas.stranger)
				s.vsftpd(21)
			},
			shows: chainShown, like: `self-signed certificate in certificate chain|self signed certificate in`},
		{name: "missing intermediate", first: "cert-incomplete", fix: anyone,
			stage: func(s *scene) {
				leaf := hostNamed(serverName)
				leaf.IssuingCertificateURL = []string{"http://ca.example.test/intermediate.cer"} // as those of public CAs
				s.certify(s.cas.issue(s.t, leaf, s.cas.between))
				s.vsftpd(21)
			},
			shows: chainShown, like: `unable to get local issuer certificate`},
		{name: "expired", first: "cert-expired", fix: you,
			stage: func(s *scene) {
				leaf := hostNamed(serverName)
				leaf.NotBefore, leaf.NotAfter = time.Now().AddDate(-1, 0, 0), time.Now().AddDate(0, 0, -9)
				s.certify(s.cas.issue(s.t, leaf, s.cas.between), s.cas.between)
				s.vsftpd(21)
			},
			shows: chainShown, like: `certificate has expired`},
		{name: "not yet valid", first: "cert-expired", fix: you,
			stage: func(s *scene) {
				leaf := hostNamed(serverName)
				leaf.NotBefore = time.Now().AddDate(0, 0, 30)
				s.certify(s.cas.issue(s.t, leaf, s.cas.between), s.cas.between)
				s.vsftpd(21)
			},
			shows: chainShown, like: `certificate is not yet valid`},
		{name: "wrong name", first: "cert-name", fix: you,
			stage: func(s *scene) {
				s.certify(s.cas.issue(s.t, hostNamed(otherName), s.cas.between), s.cas.between)
				s.vsftpd(21)
			},
			shows: chainShown, like: `[Hh]ostname mismatch`},
		{name: "changed certificate", first: "cert-changed", fix: you,
			stage: func(s *scene) {
				old := s.cas.issue(s.t, hostNamed(serverName), nil)
				s.certify(old)
				s.vsftpd(21)
				s.client.must("dray trust " + serverName + ":21 " + fingerprint(old.cert))
				s.certify(s.cas.issue(s.t, hostNamed(serverName), nil))
				s.restart()
			},
			shows: "dray ls " + atFTP, like: `\[cert-changed\]`},
		{name: "TLS 1.0 only", first: "tls-version", fix: you,
			stage: func(s *scene) {
				old := s.modern()
				old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
				s.play(21, &actor{tls: old})
			},
			shows: "curl -sSv --max-time 9 --ssl-reqd --tlsv1.2 ftp://" + serverName + "/", like: `protocol version|unsupported protocol|wrong version`},

		// The account.
		{name: "wrong password", first: "auth", password: "wrong",
			stage: func(s *scene) { s.vsftpd(21) },
			shows: "curl -sSv --max-time 12 --ssl-reqd -u " + user + ":wrong ftp://" + serverName + "/", like: `530 Login incorrect`,
			why: "only the owner of the account knows the right one"},
		{name: "account without rights", first: "perm", fix: admin,
			stage: func(s *scene) { s.dray("", "", "--rights", "none") },
			shows: asTLS, like: `\[perm\]`},

		// Data connections.
		{name: "PASV 0.0.0.0", first: "pasv-address", verdict: "warnings", fix: admin,
			stage: func(s *scene) { s.vsftpd(21, "pasv_address=0.0.0.0") },
			shows: asTLS + " --disable-epsv", like: `227 .*\(0,0,0,0,`},
		{name: "PASV private", first: "pasv-address", verdict: "warnings", fix: admin,
			stage: func(s *scene) { s.proftpd(21, "MasqueradeAddress 192.168.7.9") },
			shows: asTLS + " --disable-epsv", like: `227 .*\(192,168,7,9,`},
		{name: "PASV rewritten on the way", first: "alg-mangle", fix: you, how: routed, args: []string{atFTP, "--tls", "off", "--plain"},
			stage: func(s *scene) {
				s.dray("", listener("ftp", 21, "plain = true", "clear-data = true"))
				s.mangle()
			},
			shows: asPlain + " --disable-epsv", like: `227 .*\(203,0,113,1,`},
		{name: "range dropped", first: "data-blocked", fix: admin, away: true,
			stage: func(s *scene) {
				s.dray("", "")
				s.server.nft(closed("tcp dport { 21, 22, 990 } accept"))
			},
			shows: "curl -sSv --max-time 4 --ssl-reqd -u " + user + ":" + password + " ftp://" + serverName + "/", like: `(?s)229 .*(timed out|Timeout)`},
		{name: "range rejected", first: "data-blocked", fix: admin,
			stage: func(s *scene) {
				s.vsftpd(21)
				s.server.nft("table inet filter { chain input { type filter hook input priority filter; policy accept; tcp dport 30000-30099 reject with icmpx admin-prohibited; }; }")
			},
			shows: asTLS, like: `(?s)229 .*(No route|[Cc]onnection to|Couldn't connect|Failed to connect)`},
		{name: "range half open", first: "range-partly-open", fix: admin,
			stage: func(s *scene) {
				s.dray("", "")
				s.server.nft(closed("tcp dport { 21, 22, 990, 30000-30049 } accept"))
			},
			shows: "lists= not=; for i in $(seq 16); do if curl -sS --max-time 3 --ssl-reqd -u " + user + ":" + password + " ftp://" + serverName + "/; then lists=1; else not=1; fi; [ \"$lists$not\" = 11 ] && break; done", like: `(?s)readme\.txt.*(timed out|Timeout)|(timed out|Timeout).*readme\.txt`},
		{name: "range not forwarded", first: "pasv-unpublished", how: natted,
			stage: func(s *scene) {
				s.dray(fmt.Sprintf("public = %q", serverAddress), "")
				s.router.nft("table ip nat {\n chain prerouting {\n  type nat hook prerouting priority dstnat;\n  iifname \"outside\" tcp dport { 21, 22, 990 } dnat to " + insideAddress + "\n }\n}\n")
			},
			shows: asTLS, like: `(?s)229 .*([Rr]efused|Couldn't connect|Failed to connect)`,
			why: "where the router has to forward to cannot be seen from outside"},
		{name: "EPSV refused but advertised", first: "epsv-lie", verdict: "warnings",
			stage: func(s *scene) {
				s.play(21, &actor{tls: s.modern(), says: instead(map[string]string{"EPSV": "500 Unknown command."})})
			},
			shows: asTLS, like: `(?s)EPSV\s.*500 Unknown command.*227 `,
			why: "the program of the server is to be changed; dray takes PASV"},
		{name: "EPSV only", first: "epsv-only", verdict: "warnings", fix: anyone,
			stage: func(s *scene) { s.dray("", "[commands]\ndeny = [\"PASV\"]\n") },
			shows: asTLS + " --disable-epsv", like: `(?s)PASV\s.*502 `},
		{name: "active only", first: "no-data-port", fix: anyone,
			stage: func(s *scene) { s.vsftpd(21, "pasv_enable=NO") },
			shows: asTLS, like: `(?s)EPSV\s.*550 Permission denied`},
		{name: "pool exhausted", first: "pool-exhausted", fix: admin,
			stage: func(s *scene) {
				s.dray("passive = \"30000-30000\"", "")
				s.occupy(serverAddress+":21", "EPSV")
			},
			shows: asTLS, like: `\[pool-exhausted\]`},
		{name: "session reuse required, vsftpd 522", first: "tls-reuse", verdict: "ok", fix: admin,
			stage: func(s *scene) { s.vsftpd(21, "require_ssl_reuse=YES") },
			shows: "/usr/bin/python3 -c '" + noReuse + "'", like: `522 SSL connection failed.* session reuse required`},
		{name: "session reuse required, ProFTPD 425", first: "tls-reuse", verdict: "ok", fix: admin,
			stage: func(s *scene) { s.proftpd(21, "TLSOptions StdEnvVars") },
			shows: "/usr/bin/python3 -c '" + noReuse + "'", like: `425 Unable to build data connection: Operation not permitted`},
		{name: "errors in clear inside TLS", first: "plaintext-in-tls",
			stage: func(s *scene) {
				s.play(21, &actor{tls: s.modern(), says: func(p *part, verb, _ string) string {
					if verb != "PASS" {
						return ""
					}
					for _, piece := range []string{"500 OOPS: ", "cannot change directory:/home/" + user, "\r\n"} { // as vsftpd does
						_, _ = io.WriteString(p.raw, piece)
						time.Sleep(50 * time.Millisecond)
					}
					return "-"
				}})
			},
			shows: asTLS, like: `wrong version number|packet length|bad record`,
			why: "what a scripted server says in clear is in no configuration"},
		{name: "errors in clear inside TLS, vsftpd", first: "plaintext-in-tls", fix: admin,
			stage: func(s *scene) { s.vsftpd(21, "allow_writeable_chroot=NO") },
			shows: asTLS, like: `wrong version number|packet length|bad record`},
		{name: "stall at an offset", first: "stall", how: routed, fix: admin, again: []string{atFTP}, args: []string{atFTP, "--deep"}, limit: 2 * time.Minute,
			stage: func(s *scene) {
				s.certify(s.cas.issue(s.t, hostNamed(serverName), s.cas.root)) // its handshake fits into small packets
				s.vsftpd(21)
				s.server.must("ip link set dev eth0 gso_max_segs 1 && ip link set dev eth0 gso_max_size 1514 || true")
				s.router.nft("table inet filter { chain forward { type filter hook forward priority filter; policy accept; iifname \"inside\" meta length > 1400 drop; }; }")
			},
			shows: asTLS + "; curl -sS --max-time 3 -o /dev/null --ssl-reqd -u " + user + ":" + password + " ftp://" + serverName + "/big.bin", like: `(?s)readme.txt.*timed out`},
		{name: "idle drop", first: "idle", verdict: "warnings", fix: admin, slow: true, args: []string{atFTP, "--deep"}, limit: 8 * time.Minute,
			stage: func(s *scene) {
				s.vsftpd(21)
				s.server.must("modprobe -q nf_conntrack 2>/dev/null; true")
				s.server.nft(closed("tcp dport { 21, 30000-30099 } tcp flags syn / syn,ack,fin,rst ct state new accept"))
				// Go's keep-alive begins after 15 s.
				s.server.must("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_established=10 net.netfilter.nf_conntrack_tcp_loose=0")
			},
			shows: `bash -c 'exec 3<>/dev/tcp/` + serverName + `/21; head -1 <&3; echo NOOP >&3; head -1 <&3; sleep 13; echo NOOP >&3; timeout 3 head -1 <&3; echo $?'`, like: `(?s)220.*530.*124`},

		// Room to write.
		{name: "disk full", first: "no-space", args: []string{atFTP, "--write"}, limit: 30 * time.Second,
			stage: func(s *scene) {
				s.server.must("mount -t tmpfs -o size=1m none " + home + " && echo hello >" + home + "/readme.txt && head -c 2000000 /dev/zero >" + home + "/full 2>/dev/null; true")
				s.dray("", "")
			},
			shows: "head -c 300000 /dev/zero | " + asTLS + "up.bin -T -", like: `\[no-space\]`,
			why: "what may be deleted only its owner knows"},
		{name: "quota", first: "quota", args: []string{atFTP, "--write"}, fix: admin, settles: 11 * time.Second, limit: 30 * time.Second,
			stage: func(s *scene) { s.dray("", "", "--quota", "1000100") },
			shows: "head -c 300000 /dev/zero | " + asTLS + "up.bin -T -", like: `\[quota\]`},

		// SSH.
		{name: "host key unknown", first: "hostkey-unknown", fix: you, args: []string{atSFTP},
			stage: func(s *scene) { s.sshd(22) },
			shows: "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes " + user + "@" + serverName + " true", like: `Host key verification failed`},
		{name: "host key changed", first: "hostkey-changed", fix: you, args: []string{atSFTP},
			stage: func(s *scene) {
				s.sftpBeside()
				s.hostKey()
				s.restart()
			},
			shows: "ssh -o BatchMode=yes " + user + "@" + serverName + " true", like: `REMOTE HOST IDENTIFICATION HAS CHANGED`},
		{name: "no common algorithm", first: "ssh-kex-cipher", fix: anyone, args: []string{atSFTP},
			stage: func(s *scene) {
				s.sshd(22)
				s.knows(22)
				s.server.add("/etc/ssh/sshd_config", "KexAlgorithms diffie-hellman-group1-sha1\nCiphers 3des-cbc\n")
				s.restart()
			},
			shows: "ssh -o BatchMode=yes " + user + "@" + serverName + " true", like: `no matching key exchange method`},
		{name: "login script prints text", first: "sftp-noise", fix: admin, args: []string{atSFTP},
			stage: func(s *scene) {
				s.server.write(home+"/.bashrc", "echo Welcome to this server\n")
				s.sshd(22, "Subsystem sftp "+sftpServer(s.t))
				s.knows(22)
			},
			shows: asSFTP + "; echo status $?", like: `status [1-9]`},
		{name: "SFTP subsystem missing", first: "no-sftp", fix: admin, args: []string{atSFTP},
			stage: func(s *scene) {
				s.sshd(22, "Subsystem other /bin/false")
				s.knows(22)
			},
			shows: asSFTP + "; echo status $?", like: `status [1-9]`},
	}
}

// noReuse logs in and lists with a data connection that resumes nothing, which is what
// ftplib does.
const noReuse = `import ftplib, ssl
c = ssl.create_default_context()
c.maximum_version = ssl.TLSVersion.TLSv1_2
f = ftplib.FTP_TLS("` + serverName + `", "` + user + `", "` + password + `", context=c, timeout=10)
f.prot_p()
try: f.retrlines("LIST")
except Exception as e: print(e)`

// fingerprint is how dray trust names a certificate.
func fingerprint(c *x509.Certificate) string { return certs.KeyPrint(c).String() }

// occupy holds a connection from the client's address, again and again; with a command
// it logs in and gives that.
func (s *scene) occupy(addr, command string) {
	s.t.Helper()
	held := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	ctx, end := context.WithCancel(s.t.Context())
	hold := func() {
		var v *visitor
		err := s.client.inside(func() (err error) {
			v, err = call(ctx, addr, "")
			return err
		})
		if err != nil {
			return
		}
		defer v.hangUp()
		stop := context.AfterFunc(ctx, v.hangUp)
		defer stop()
		if command != "" {
			if v.secure(&tls.Config{RootCAs: s.cas.pool(), ServerName: serverName}) != nil || v.login() != nil || v.say(command) != nil {
				return
			}
			if code, _, err := v.reply(); err != nil || code >= 400 {
				return
			}
		}
		once.Do(func() { close(held) })
		_ = v.nc.SetDeadline(time.Time{})
		_, _ = v.rd.ReadByte() // until the server ends it
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			hold()
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	s.t.Cleanup(func() {
		end()
		wg.Wait()
	})
	select {
	case <-held:
	case <-time.After(10 * time.Second):
		s.t.Fatal("the place is not held after 10 s")
	}
}

// passiveReply is what routers look for in clear text.
var passiveReply = regexp.MustCompile(`(227 [^(]*\()\d+,\d+,\d+,\d+,(\d+),|(229 [^(]*\(\|\|\|)\d`)

// mangle makes the router look into the control connections, and tell another address
// than the server did.
func (s *scene) mangle() {
	s.t.Helper()
	l := s.router.listen(2121)
	s.router.nft("table ip nat {\n chain prerouting {\n  type nat hook prerouting priority dstnat;\n  iifname \"outside\" tcp dport 21 redirect to :2121\n }\n chain postrouting {\n  type nat hook postrouting priority srcnat;\n  oifname \"inside\" masquerade\n }\n}\n")
	var wg sync.WaitGroup
	s.t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			to, err := s.router.dial(insideAddress + ":21")
			if err != nil {
				_ = c.Close()
				continue
			}
			wg.Go(func() {
				_, _ = io.Copy(to, c)
				_ = to.(*net.TCPConn).CloseWrite()
			})
			wg.Go(func() {
				defer c.Close()
				b := make([]byte, 32<<10)
				for {
					n, err := to.Read(b)
					text := passiveReply.ReplaceAllString(string(b[:n]), "${1}203,0,113,1,${2},")
					if strings.HasPrefix(string(b[:n]), "229 ") {
						text = passiveReply.ReplaceAllString(string(b[:n]), "${3}1")
					}
					if _, werr := io.WriteString(c, text); err != nil || werr != nil {
						return
					}
				}
			})
			context.AfterFunc(s.t.Context(), func() {
				_ = c.Close()
				_ = to.Close()
			})
		}
	})
}
