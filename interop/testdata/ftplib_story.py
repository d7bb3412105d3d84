"""Does with ftplib all that it can do, once, against one server.

Arguments are name=value; scripts_test.go says what the directories are and
what must be left behind. Any exception ends the script with status 1.
"""

import ftplib
import os
import re
import ssl
import sys

opt = dict(arg.split("=", 1) for arg in sys.argv[1:])


class Reusing:
    """Data connections resume the session of the control connection."""

    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        conn = self.context.wrap_socket(
            conn, server_hostname=self.host, session=self.sock.session
        )
        assert conn.session_reused, cmd + ": the data connection did not resume"
        return conn, size


class Implicit(ftplib.FTP_TLS):
    """TLS from the first byte; PROT P holds without being sent."""

    _sock = None

    @property
    def sock(self):
        return self._sock

    @sock.setter
    def sock(self, value):
        if value is not None and not isinstance(value, ssl.SSLSocket):
            value = self.context.wrap_socket(value, server_hostname=self.host)
        self._sock = value


class ReusingExplicit(Reusing, ftplib.FTP_TLS):
    pass


class ReusingImplicit(Reusing, Implicit):
    pass


def context():
    ctx = ssl.create_default_context(cafile=opt["ca"] or None)
    if not opt["ca"]:
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE
    version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[opt["version"]]
    ctx.minimum_version = ctx.maximum_version = version
    return ctx


def connect():
    reuse = opt["reuse"] == "yes"
    if opt["tls"] == "plain":
        ftp = ftplib.FTP(timeout=20)
    elif opt["tls"] == "explicit":
        ftp = (ReusingExplicit if reuse else ftplib.FTP_TLS)(context=context(), timeout=20)
    else:
        ftp = (ReusingImplicit if reuse else Implicit)(context=context(), timeout=20)
    ftp.connect(opt["host"], int(opt["port"]))
    ftp.set_pasv(opt["data"] == "passive")
    ftp.login(opt["user"], opt["password"])
    if opt["tls"] == "explicit":
        ftp.prot_p()
    elif opt["tls"] == "implicit":
        ftp._prot_p = True  # what prot_p does, but for the commands
    return ftp


def refused(call, *args):
    try:
        call(*args)
    except ftplib.error_perm as err:
        return str(err)
    raise AssertionError("%s%r was not refused" % (call.__name__, args))


def upload(ftp, source):
    for name in sorted(os.listdir(source)):
        path = os.path.join(source, name)
        with open(path, "rb") as f:
            reply = ftp.storbinary("STOR " + name, f)
        assert reply.startswith("226"), reply
        size = ftp.size(name)  # a client asks at once
        assert size == os.path.getsize(path), (name, size)


def download(ftp, source, target):
    os.mkdir(target)
    for name in sorted(os.listdir(source)):
        with open(os.path.join(target, name), "wb") as f:
            ftp.retrbinary("RETR " + name, f.write)


def listings(ftp, source):
    want = sorted(os.listdir(source) + ["half.bin"])
    got = sorted(ftp.nlst())
    assert got == want, ("NLST", got, want)

    facts = {name: fact for name, fact in ftp.mlsd(facts=["type", "size", "modify"])}
    got = sorted(name for name, fact in facts.items() if fact["type"] == "file")
    assert got == want, ("MLSD", got, want)
    for name in os.listdir(source):
        assert int(facts[name]["size"]) == os.path.getsize(os.path.join(source, name)), (name, facts[name])
        assert re.fullmatch(r"\d{14}(\.\d+)?", facts[name]["modify"]), (name, facts[name])

    lines = []
    ftp.dir(lines.append)
    lines = [line for line in lines if not line.startswith("total ")]
    form = re.compile(r"-[rwxsStT-]{9} +\d+ \S+ +\S+ +\d+ [A-Z][a-z]{2} [ \d]\d (\d\d:\d\d| \d{4}) (.+)")
    got = sorted(form.fullmatch(line).group(2) for line in lines)
    assert got == want, ("LIST", lines)

    lines = []
    ftp.retrlines("RETR text.txt", lines.append)
    with open(os.path.join(source, "text.txt"), encoding="utf-8") as f:
        assert lines == f.read().splitlines(), lines


def changes(ftp):
    reply = ftp.voidcmd("MDTM one")
    assert re.fullmatch(r"213 \d{14}(\.\d+)?", reply), reply

    made = ftp.mkd('a "quoted" directory')
    assert made.endswith('/a "quoted" directory'), made
    ftp.cwd('a "quoted" directory')
    assert ftp.pwd() == made, (ftp.pwd(), made)
    ftp.rename("../one", "two")
    assert ftp.nlst() == ["two"], ftp.nlst()
    ftp.rename("two", "../one")
    assert ftp.nlst() == [], "an empty directory is an empty list"
    ftp.cwd("..")
    ftp.rmd('a "quoted" directory')

    with open(__file__, "rb") as f:
        ftp.storlines("STOR passing", f)
    ftp.delete("passing")
    for call, arg in [(ftp.delete, "passing"), (ftp.size, "passing"), (ftp.cwd, "passing")]:
        text = refused(call, arg)
        assert text.startswith("550 "), text
    text = refused(lambda: ftp.retrbinary("RETR passing", len))
    assert text.startswith("550 "), text


def resume(ftp, source):
    path = os.path.join(source, opt["big"])
    with open(path, "rb") as f:
        at = ftp.size("half.bin")
        f.seek(at)
        ftp.storbinary("STOR half.bin", f, rest=at)
    target = os.path.join(opt["local"], "half-" + opt["dir"] + ".bin")
    with open(target, "ab") as f:
        ftp.retrbinary("RETR " + opt["big"], f.write, rest=f.tell())


def main():
    source = os.path.join(opt["local"], "up")
    ftp = connect()
    ftp.cwd(opt["dir"])
    upload(ftp, source)
    listings(ftp, source)
    download(ftp, source, os.path.join(opt["local"], "down-" + opt["dir"]))
    changes(ftp)
    resume(ftp, source)
    ftp.voidcmd("NOOP")
    ftp.quit()


main()
