# A server of pyftpdlib for one user: ROOT PORT USER PASSWORD CERTIFICATE HOST [foreign].
# It has TLS, and requires it, where CERTIFICATE is not empty, and lets other servers
# come and be gone to where it is told so.
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

root, port, user, password, certificate, host = sys.argv[1:7]
if certificate:
    from pyftpdlib.handlers import TLS_FTPHandler

    class Handler(TLS_FTPHandler):
        certfile = certificate
        tls_control_required = True
        tls_data_required = True
else:
    class Handler(FTPHandler):
        pass
Handler.authorizer = DummyAuthorizer()
Handler.authorizer.add_user(user, password, root, perm="elradfmwMT")
Handler.passive_ports = range(int(port) + 1, int(port) + 100)
Handler.permit_foreign_addresses = "foreign" in sys.argv[7:]
ThreadedFTPServer((host, int(port)), Handler).serve_forever()
