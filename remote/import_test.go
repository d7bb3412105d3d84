package remote

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// shown is a host as a line of a test.
func shown(h Host) string {
	s := h.Name + " " + h.URL
	for _, k := range hostKeys()[1:] {
		if v := k.value(&h); v != "" {
			s += " " + k.name + "=" + strings.Trim(v, `"`)
		}
	}
	return s
}

func checkImported(t *testing.T, im *Imported, err error, want []string, left []string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range im.Hosts {
		got = append(got, shown(h))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("hosts:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if all := strings.Join(im.Left, "\n"); all != strings.Join(left, "\n") {
		t.Errorf("left out:\n%s\nwant\n%s", all, strings.Join(left, "\n"))
	}
	if strings.Contains(fmt.Sprintf("%+v", im), marker) {
		t.Error("a password is printed")
	}
}

func TestImportSSH(t *testing.T) {
	im, err := ImportSSH([]byte(`
ForwardAgent no
Host web mail
	HostName %h.example.net
	User=alice
	Port "2222"
	IdentityFile ~/.ssh/a # first
	IdentityFile ~/.ssh/b
	ProxyJump bob@gate:22,second
	Compression yes
Host *.example.org !x
	User none
Match host y
	User other
Host six
	HostName 2001:db8::1
	IdentityFile %d/key
	ProxyJump none
Host x
Host "broken
Include other
`))
	checkImported(t, im, err, []string{
		"web sftp://web.example.net user=alice port=2222 identity=~/.ssh/a jump=bob@gate:22",
		"mail sftp://mail.example.net user=alice port=2222 identity=~/.ssh/a jump=bob@gate:22",
		"six sftp://[2001:db8::1]",
		"host-x sftp://x",
	}, []string{
		"line 8: IdentityFile beside the first",
		"line 10: Compression of web",
		"web: of ProxyJump all but the first, second",
		"mail: of ProxyJump all but the first, second",
		"line 11: Host *.example.org is a pattern",
		"line 11: Host !x is a pattern",
		"line 13: Match",
		"six: IdentityFile has a part that is filled in when ssh runs",
		"line 20: a quote that does not end",
		"line 21: Include of other files",
		"x is called host-x here",
	})
}

const fileZilla = `<?xml version="1.0" encoding="UTF-8"?>
<FileZilla3 version="3.63.0" platform="*nix"><Servers>
<Folder expanded="1">Work&#xA;
<Server><Host>ftp.example.net</Host><Port>21</Port><Protocol>4</Protocol><Type>0</Type><User>alice</User><Pass encoding="base64">%s</Pass><Logontype>1</Logontype>
<PasvMode>MODE_ACTIVE</PasvMode><EncodingType>Auto</EncodingType><Name>My Site</Name><RemoteDir>1 0 3 srv 7 a b c 1</RemoteDir><MaximumMultipleConnections>2</MaximumMultipleConnections></Server>
</Folder>
<Server><Host>::1</Host><Port>2200</Port><Protocol>1</Protocol><User>bob</User><Keyfile>/home/bob/key</Keyfile><Logontype>5</Logontype><Name>My Site</Name></Server>
<Server><Host>old.example</Host><Port>21</Port><Protocol>6</Protocol><User>x</User><Pass encoding="crypt" pubkey="y">zzz</Pass><Logontype>1</Logontype><Name>old</Name>
<EncodingType>Custom</EncodingType><CustomEncoding>klingon</CustomEncoding><RemoteDir>5 0 3 a b</RemoteDir></Server>
<Server><Host>pub.example</Host><Port>21</Port><Protocol>0</Protocol><User>anonymous</User><Logontype>0</Logontype><Name>pub</Name></Server>
<Server><Host>s3</Host><Port>443</Port><Protocol>7</Protocol><Name>bucket</Name></Server>
<Server><Host></Host><Name>empty</Name></Server>
</Servers></FileZilla3>`

func TestImportFileZilla(t *testing.T) {
	text := []byte(fmt.Sprintf(fileZilla, base64.StdEncoding.EncodeToString([]byte(marker))))
	hosts := []string{
		"My-Site ftp+tls://ftp.example.net user=alice path=/srv/a b c 1 active=true parallel=2",
		"My-Site-2 sftp://[::1] user=bob port=2200 identity=/home/bob/key",
		"old ftp+plain://old.example user=x",
		"pub ftp://pub.example",
	}
	rest := []string{
		"My Site is called My-Site here",
		"My Site is called My-Site-2 here",
		"old: the character set klingon",
		"old: its directory, which is not of a server with slashes",
		"old: its password, which is locked with the master password",
		"bucket: a protocol that is neither FTP nor SFTP",
		"empty: the host is missing; write ftp://host/path",
	}
	text = []byte(strings.Replace(string(text), "7 a b c 1", "7 a b c 1", 1))
	im, err := ImportFileZilla(text)
	checkImported(t, im, err, hosts, append([]string{"My Site: its password"}, rest...))
	im, err = ImportFileZilla(text, WithPasswords)
	if err != nil || im.Hosts[0].Password.Reveal() != marker {
		t.Errorf("asked for, the password is not there: %v", err)
	}
	for _, bad := range []string{"", "<x/>", "<FileZilla3><Server>", "<FileZilla3>" + strings.Repeat("<a>", 100), "<?xml version='1.0' encoding='latin1'?><FileZilla3/>", "\xff", strings.Repeat(" ", maxImport+1)} {
		if _, err := ImportFileZilla([]byte(bad)); err == nil {
			t.Errorf("%.40q: no error", bad)
		}
	}
}

func TestImportWinSCP(t *testing.T) {
	im, err := ImportWinSCP([]byte("\xef\xbb\xbf[Configuration\\Interface]\r\nX=1\r\n[Sessions\\Default%20Settings]\r\nUserName=x\r\n" +
		"[Sessions\\work/my%20box]\r\nHostName=box.example\r\nUserName=bob\r\nPortNumber=2222\r\nRemoteDirectory=/srv/my%20dir\r\nPassword=A35C" + marker + "\r\nPublicKeyFile=C:\\k.ppk\r\n" +
		"[Sessions\\ftp1]\r\nHostName=a.example\r\nFSProtocol=5\r\nFtps=3\r\nFtpPasvMode=0\r\n[Sessions\\ftp2]\r\nHostName=b.example\r\nFSProtocol=5\r\nFtps=1\r\nPortNumber=990\r\n" +
		"[Sessions\\ftp3]\r\nHostName=c.example\r\nFSProtocol=5\r\n[Sessions\\dav]\r\nHostName=d\r\nFSProtocol=6\r\n"))
	checkImported(t, im, err, []string{
		"work-my-box sftp://box.example user=bob port=2222 path=/srv/my dir",
		"ftp1 ftp+tls://a.example active=true",
		"ftp2 ftps://b.example",
		"ftp3 ftp://c.example",
	}, []string{
		`work/my box: the key C:\k.ppk; where it is a .ppk, puttygen makes one of OpenSSH of it`,
		"work/my box: its password",
		"work/my box is called work-my-box here",
		"ftp3: WinSCP spoke clear text there; where the server has no TLS, set plain = true",
		"dav: a protocol that is neither FTP nor SFTP",
	})
	if _, err := ImportWinSCP([]byte("[x]\na=b")); err == nil {
		t.Error("no session")
	}
}

func TestImportRclone(t *testing.T) {
	im, err := ImportRclone([]byte("[box]\ntype = sftp\nhost = box.example\nuser = bob\nkey_file = ~/.ssh/id\npass = " + marker + "\n# x\n[f]\ntype = ftp\nhost = f.example\nport = 2121\nexplicit_tls = true\nno_check_certificate = true\nconcurrency = 3\n" +
		"[g1]\ntype = ftp\nhost = g.example\ntls = true\n[s3]\ntype = s3\n[bad]\ntype = ftp\nhost = a b\n"))
	checkImported(t, im, err, []string{
		"box sftp://box.example user=bob identity=~/.ssh/id",
		"host-f ftp+tls://f.example port=2121 parallel=3",
		"g1 ftps://g.example",
	}, []string{
		"box: pass",
		"f: no_check_certificate; use dray trust",
		"f is called host-f here",
		"s3: neither ftp nor sftp",
		"bad: rclone spoke clear text there; where the server has no TLS, set plain = true",
		"bad: the host has a character that no host has",
	})
	if _, err := ImportRclone([]byte("# Encrypted\nRCLONE_ENCRYPT_V0:\nxyz")); err == nil {
		t.Error("an encrypted file")
	}
}

func TestImportLftp(t *testing.T) {
	text := []byte("box\tsftp://bob:" + marker + "@box.example:2222/~/data/\nweb ftp://web.example/%2Fsrv\nhome ftp://alice@[::1]/\nfishy fish://x/\nlone\nbare host/path\n")
	hosts := []string{
		"box sftp://box.example user=bob port=2222 path=data",
		"web ftp://web.example path=/srv",
		"home ftp://[::1] user=alice",
	}
	rest := []string{"fishy: fish://x/: dray speaks ftp, ftps, ftp+tls, ftp+plain and sftp; write ftp://host/path or sftp://host/path", "line 5: not a name and a URL", "bare: its URL has no protocol"}
	im, err := ImportLftp(text)
	checkImported(t, im, err, hosts, append([]string{"box: its password"}, rest...))
	im, err = ImportLftp(text, WithPasswords)
	if err != nil || im.Hosts[0].Password.Reveal() != marker {
		t.Errorf("asked for, the password is not there: %v", err)
	}
}

func TestManyHostsOfOneName(t *testing.T) {
	var b strings.Builder
	for range maxImportHosts + 10 {
		b.WriteString("[same]\ntype=sftp\nhost=h\n")
	}
	im, err := ImportRclone([]byte(b.String()))
	if err != nil || len(im.Hosts) != maxImportHosts || im.Hosts[maxImportHosts-1].Name != fmt.Sprintf("same-%d", maxImportHosts) {
		t.Errorf("%d hosts, %v", len(im.Hosts), err)
	}
}

// What is imported can be stored, whatever it was read from.
func FuzzImport(f *testing.F) {
	f.Add([]byte("Host a b\nHostName c%h\nPort 22\n"))
	f.Add([]byte(fmt.Sprintf(fileZilla, "eHg=")))
	f.Add([]byte("[Sessions\\a%20b]\nHostName=h\nFSProtocol=5\n[r]\ntype=ftp\nhost=h\n"))
	f.Add([]byte("a ftp://u:p@h/x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for i, read := range []func() (*Imported, error){
			func() (*Imported, error) { return ImportSSH(b) },
			func() (*Imported, error) { return ImportFileZilla(b, WithPasswords) },
			func() (*Imported, error) { return ImportWinSCP(b) },
			func() (*Imported, error) { return ImportRclone(b) },
			func() (*Imported, error) { return ImportLftp(b, WithPasswords) },
		} {
			im, err := read()
			if err != nil {
				continue
			}
			h, _ := parseHosts("f", nil)
			for _, one := range im.Hosts {
				if h.has(one.Name) {
					t.Fatalf("%d, %q: two of the name %s", i, b, one.Name)
				}
				if err := h.Set(one); err != nil {
					t.Fatalf("%d, %q: %v", i, b, err)
				}
				if _, err := Parse(one.Name+":", h); err != nil {
					t.Fatalf("%d, %q: %v", i, b, err)
				}
			}
		}
	})
}
