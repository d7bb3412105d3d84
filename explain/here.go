package explain

import "dray/fault"

// A hereLine is what an entry says on our side: Entry.HereFacts and Entry.Here.
type hereLine struct {
	facts []string
	line  string
	bare  string
}

// here is what our own clients say. The order of the facts is part of the contract
// with the callers of fault.New in clients: host is a name or an address without a
// port, path one of the server or of this machine.
var here = map[fault.ID]hereLine{
	// The way there.
	fault.IDDNS:         {[]string{"host"}, `no address found for "%v"`, "no address found for the host"},
	fault.IDRefused:     {[]string{"host", "port"}, "%v answers, but nothing listens on port %v", "the host answers, but nothing listens on that port"},
	fault.IDFiltered:    {[]string{"host", "port", "seconds"}, "no answer from %v port %v in %v s (blocked by a firewall, or the host is off)", "no answer (blocked by a firewall, or the host is off)"},
	fault.IDRejected:    {[]string{"host", "port"}, "a firewall or router says that %v can't be reached on port %v", "a firewall or router says that the host can't be reached"},
	fault.IDProxy:       {[]string{"proxy", "what it says"}, "the proxy %v does not connect us: %v", "the proxy does not connect us"},
	fault.IDWrongProto:  {[]string{"host", "what it speaks", "port", "what was asked for"}, "%v speaks %v on port %v, not %v", "another protocol is spoken on that port"},
	fault.IDImplicitTLS: {[]string{"host", "port"}, "%v expects TLS from the first byte on port %v", "the server expects TLS from the first byte on that port"},
	fault.IDBusy:        {[]string{"host"}, "%v turned us away: it is busy", "the server turned us away: it is busy"},
	fault.IDBanned:      {[]string{"host"}, "%v turned us away: this address is banned for a while", "the server turned us away: this address is banned for a while"},
	fault.IDIPv6Dead:    {[]string{"host"}, "%v has an IPv6 address that does not answer, while IPv4 does", "the name has an IPv6 address that does not answer, while IPv4 does"},

	// Trust.
	fault.IDTLSRequired:  {[]string{"host"}, "%v only accepts logins over TLS; the password was not sent", "the server only accepts logins over TLS; the password was not sent"},
	fault.IDTLSMissing:   {[]string{"host"}, "%v offers no encryption: the password would travel in clear text", "the server offers no encryption: the password would travel in clear text"},
	fault.IDSelfSigned:   {[]string{"host", "fingerprint"}, "nobody vouches for the certificate of %v (self-signed, %v)", "nobody vouches for the certificate (self-signed)"},
	fault.IDUnknownCA:    {[]string{"host", "issuer"}, "nobody known here vouches for the certificate of %v (issued by %v)", "nobody known here vouches for the certificate"},
	fault.IDIncomplete:   {[]string{"host"}, "%v sends its certificate without the intermediate that vouches for it", "the server sends its certificate without the intermediate that vouches for it"},
	fault.IDExpired:      {[]string{"host", "when"}, "the certificate of %v is not valid today: %v", "the certificate is not valid today"},
	fault.IDCertName:     {[]string{"names", "host"}, "the certificate is for %v, and %v was asked for", "the certificate is for another name than was asked for"},
	fault.IDCertChanged:  {[]string{"host", "day"}, "the certificate of %v is not the one stored on %v, and no CA vouches for it", "the certificate is not the one that was stored, and no CA vouches for it"},
	fault.IDCertPin:      {[]string{"host", "fingerprint"}, "the certificate of %v is not the one that was asked for; it has %v", "the certificate is not the one that was asked for"},
	fault.IDTLSFailed:    {[]string{"host"}, "no TLS connection to %v could be made", "no TLS connection could be made"},
	fault.IDTLSData:      {[]string{"host"}, "no TLS connection for the data could be made with %v", "no TLS connection for the data could be made"},
	fault.IDPlainInTLS:   {[]string{"host"}, "%v wrote clear text where TLS should begin or go on", "the server wrote clear text where TLS should begin or go on"},
	fault.IDBehindAuth:   {[]string{"host"}, "%v, or somebody between, sent text in front of the TLS handshake", "text came in front of the TLS handshake"},
	fault.IDHostKeyNew:   {[]string{"host", "key"}, "first contact with %v: its host key is %v", "first contact: the host key is not known here"},
	fault.IDHostKeyOther: {[]string{"host", "key", "where the other stands"}, "the host key of %v is %v, and not the one stored in %v", "the host key is not the one that was stored"},
	fault.IDHostKeyGone:  {[]string{"host", "where"}, "the host key of %v is marked as revoked in %v", "the host key is marked as revoked"},
	fault.IDSSHFailed:    {[]string{"host"}, "no SSH connection to %v could be made", "no SSH connection could be made"},
	fault.IDTLSVersion:   {nil, "the server and we have no version or cipher of TLS in common", ""},
	fault.IDHostKeyAlg:   {nil, "the server has no kind of host key that we take", ""},
	fault.IDKexCipher:    {nil, "the server and we have no key exchange, cipher or MAC of SSH in common", ""},
	fault.IDSFTPNoise:    {nil, "text comes where SFTP should begin: a login script on the server prints it", ""},
	fault.IDNoSFTP:       {[]string{"host"}, "%v lets us log in, but does not offer SFTP", "the server lets us log in, but does not offer SFTP"},

	// Login.
	fault.IDAuth:       {[]string{"host", "user"}, `%v rejected the login for "%v"`, "the server rejected the login"},
	fault.IDAccountOff: {[]string{"host"}, "%v says that this account can't be used", "the account can't be used"},
	fault.IDLogin:      {[]string{"host"}, "%v wants a login first", "the server wants a login first"},

	// Data connections.
	fault.IDDataBlocked: {[]string{"address", "seconds"}, "the server's data ports are blocked: nothing answered at %v for %v s", "the server's data ports are blocked"},
	fault.IDActiveBlock: {[]string{"seconds"}, "the server could not connect back to us in %v s: a firewall or NAT on the way blocks it", "the server could not connect back to us: a firewall or NAT on the way blocks it"},
	fault.IDNoDataPort:  {nil, "no data connection could be agreed on with the server", ""},
	fault.IDPool:        {nil, "the server ran out of data ports", ""},
	fault.IDDataPeer:    {nil, "the server refused the data connection, because it came from another address than the login", ""},
	fault.IDTLSReuse:    {nil, "the server wants the data connection to resume the TLS session, and did not take ours", ""},
	fault.IDUnpublished: {[]string{"address"}, "the server told us to connect to %v for data, and nothing listens there", "the server told us where to connect to for data, and nothing listens there"},
	fault.IDRangePartly: {nil, "some ports of the server's passive range answer, and others do not", ""},
	fault.IDEpsvLie:     {nil, "the server refuses EPSV, or answers it with what is no port", ""},
	fault.IDALG:         {nil, "something between the server and us changes the addresses in FTP commands", ""},
	fault.IDTLS13Loss:   {nil, "the end of uploads is lost under TLS 1.3", ""},

	// Files.
	fault.IDNotFound:     {[]string{"path"}, "%v: no such file or directory", "no such file or directory"},
	fault.IDExists:       {[]string{"path"}, "%v is there already", "the name is taken"},
	fault.IDPerm:         {[]string{"path"}, "%v: permission denied by the server", "permission denied by the server"},
	fault.IDNotDir:       {[]string{"path"}, "%v is not a directory", "not a directory"},
	fault.IDIsDir:        {[]string{"path"}, "%v is a directory", "a directory"},
	fault.IDNotEmpty:     {[]string{"path"}, "%v is not empty", "the directory is not empty"},
	fault.IDNotRegular:   {[]string{"path"}, "%v is no regular file", "no regular file"},
	fault.IDBadName:      {[]string{"path"}, "%v is a name that can't be used", "a name that can't be used"},
	fault.IDQuota:        {[]string{"path"}, "%v: the quota on the server is used up", "the quota on the server is used up"},
	fault.IDNoSpace:      {[]string{"path", "where"}, "%v: no space left %v", "no space left"},
	fault.IDInUse:        {[]string{"path"}, "%v is in use on the server", "in use on the server"},
	fault.IDServerSaysNo: {[]string{"what"}, "the server refused %v", "the server refused"},
	fault.IDUnsupported:  {[]string{"what"}, "the server can't do this: %v", "the server can't do this"},
	fault.IDUnsafeName:   {[]string{"name"}, "the server names %v, which can't be a file below the target: left out", "the server names what can't be a file below the target: left out"},
	fault.IDNameClash:    {[]string{"name", "other"}, "%v and %v would be one file here: the second was left out", "two names would be one file here: the second was left out"},
	fault.IDLocal:        {[]string{"path", "why"}, "%v on this machine: %v", "a file on this machine can't be used"},
	fault.IDSourceMoved:  {[]string{"path"}, "%v changed while it was being transferred", "the file changed while it was being transferred"},

	// Transfers.
	fault.IDDataLost:    {[]string{"path", "bytes"}, "the transfer of %v broke off after %v bytes", "the transfer broke off"},
	fault.IDTLSNoClose:  {[]string{"path"}, "%v: the data ended without the mark of its end, and may be cut", "the data ended without the mark of its end, and may be cut"},
	fault.IDShortFile:   {[]string{"path", "bytes", "size"}, "%v ended after %v of %v bytes, although the server called it complete", "the file has another size than the server told, although the server called it complete"},
	fault.IDNoDirect:    {[]string{"host", "host", "why"}, "%v and %v do not pass files on to each other: %v", "the servers do not pass files on to each other"},
	fault.IDListingCut:  {[]string{"path"}, "the listing of %v broke off", "the listing broke off"},
	fault.IDStall:       {[]string{"seconds"}, "no data moved for %v s", "no data moved for too long"},
	fault.IDNoAnswer:    {[]string{"host", "seconds"}, "%v stopped answering (waited %v s)", "the server stopped answering"},
	fault.IDLost:        {[]string{"host"}, "the connection to %v was lost", "the connection was lost"},
	fault.IDBadReply:    {[]string{"host", "protocol"}, "%v sends what is no %v", "the server sends what nobody can understand"},
	fault.IDResume:      {[]string{"path", "why"}, "%v: the partial does not belong to the source (%v)", "the partial does not belong to the source"},
	fault.IDVerify:      {[]string{"path", "algorithm"}, "%v: the %v of both sides differ after the transfer", "the checksums of both sides differ after the transfer"},
	fault.IDInterrupted: {nil, "interrupted", ""},
	fault.IDMaxDelete:   {[]string{"names", "limit"}, "%v names would be deleted, and --max-delete allows %v: nothing was deleted", "more names would be deleted than is allowed: nothing was deleted"},
	fault.IDMaxTime:     {[]string{"seconds"}, "the time of --max-time (%v s) is over", "the time that was given is over"},
	fault.IDInternal:    {nil, "something failed that should not", ""},
}
