# A server of pyftpdlib for one user: ROOT PORT USER PASSWORD CERTIFICATE [LIMIT].
# It has TLS, and requires it, where CERTIFICATE is not empty.
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

root, port, user, password, certificate = sys.argv[1:6]
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
ThreadedFTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
