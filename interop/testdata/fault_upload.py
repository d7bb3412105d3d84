"""Uploads one file with ftplib over about as many seconds as it is told to.

Arguments are name=value. It is killed in the middle; what it prints is shown
when it was not.
"""

import ftplib
import os
import ssl
import sys
import time

opt = dict(arg.split("=", 1) for arg in sys.argv[1:])

if opt["tls"] == "plain":
    ftp = ftplib.FTP()
else:
    ctx = ssl.create_default_context(cafile=opt["ca"] or None)
    if not opt["ca"]:
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
    ftp = ftplib.FTP_TLS(context=ctx)
ftp.connect(opt["host"], int(opt["port"]), timeout=50)
ftp.login(opt["user"], opt["password"])
if opt["tls"] != "plain":
    ftp.prot_p()

block = 256 << 10
pause = float(opt["seconds"]) * block / os.path.getsize(opt["file"])
with open(opt["file"], "rb") as f:
    ftp.storbinary("STOR " + opt["remote"], f, block, lambda _: time.sleep(pause))
ftp.quit()
