"""Does with paramiko what programs do over SFTP and command-line clients don't.

Arguments are name=value; sftp_test.go says what the directories are and what must
be left behind. Any exception ends the script with status 1.
"""

import errno
import os
import stat
import sys

import paramiko

opt = dict(arg.split("=", 1) for arg in sys.argv[1:])
up = os.path.join(opt["local"], "up")
down = os.path.join(opt["local"], "down")


def connect(**login):
    client = paramiko.SSHClient()
    client.load_host_keys(opt["known"])
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    client.connect(
        opt["host"], int(opt["port"]), opt["user"], timeout=20, banner_timeout=20, auth_timeout=20,
        allow_agent=False, look_for_keys=False, **login
    )
    return client


def refused(number, words, call, *args):
    """call must fail with number, if it has one, and with the server's words."""
    try:
        call(*args)
    except IOError as e:
        assert e.errno == number, "%r: errno %r, want %r" % (e, e.errno, number)
        assert words in str(e), "%r does not say %r" % (str(e), words)
        return
    raise AssertionError("%r%r was not refused" % (call, args))


def content(name):
    with open(name, "rb") as f:
        return f.read()


def keep(name, data):
    with open(os.path.join(down, name), "wb") as f:
        f.write(data)


if opt["story"] == "lock":  # a name that is made for its own sake, and not written to
    sftp = connect(key_filename=opt["key"]).open_sftp()
    sftp.open("lock", "x").close()
    refused(None, "[exists]", sftp.open, "lock", "x")
    sftp.remove("lock")
    sftp.open("lock", "x").close()
    sys.exit()

try:
    connect(password="not " + opt["password"])
    raise AssertionError("a wrong password was taken")
except paramiko.AuthenticationException:
    pass
by_key = connect(key_filename=opt["key"])
by_password = connect(password=opt["password"])
sftp = by_key.open_sftp()
other = by_password.open_sftp()

# Whole files, without waiting for answers. put compares the sizes at its end.
os.mkdir(down)
sftp.mkdir("files")
for name in os.listdir(up):
    sftp.put(os.path.join(up, name), "files/" + name)
    sftp.get("files/" + name, os.path.join(down, name))
big = content(os.path.join(up, opt["big"]))
with sftp.open("pipelined.bin", "wb") as f:
    f.set_pipelined(True)
    for at in range(0, len(big), 30011):
        f.write(big[at : at + 30011])
with sftp.open("pipelined.bin", "rb") as f:
    f.prefetch(len(big))
    keep("prefetched.bin", f.read(len(big)))

# Pieces, in any order.
pieces = [(len(big) - 17, 17), (0, 1), (3000001, 100000), (65535, 2), (1 << 20, 32769)]
with sftp.open("pipelined.bin", "rb") as f:
    for (at, n), got in zip(pieces, f.readv(pieces)):
        assert got == big[at : at + n], "readv at %d" % at
    f.seek(len(big))
    assert f.read(100) == b"", "there is something behind the end"

# In place.
with sftp.open("edited.txt", "w") as f:
    f.write("0123456789")
with sftp.open("edited.txt", "r+") as f:
    f.seek(3)
    f.write("abc")
    f.seek(0)
    assert f.read() == b"012abc6789"
    f.seek(12)
    f.write("!")
with sftp.open("edited.txt", "a") as f:
    f.write("one,")
    f.write("two")
assert other.open("edited.txt").read() == b"012abc6789\0\0!one,two"
with sftp.open("cut.txt", "w") as f:
    f.write("0123456789")
sftp.truncate("cut.txt", 4)
assert sftp.stat("cut.txt").st_size == 4
with sftp.open("cut.txt", "r+") as f:
    f.truncate(6)
sftp.utime("cut.txt", (1000000000, 1600000001))
sftp.chmod("cut.txt", 0o640)
a = other.lstat("cut.txt")
assert (a.st_mtime, stat.S_IMODE(a.st_mode), a.st_size) == (1600000001, 0o640, 6), a

# What is being written shows its new name to others when it is closed.
f = sftp.open("slow.txt", "w")
f.write("first")
refused(errno.ENOENT, "No such file or directory", other.stat, "slow.txt")
assert "slow.txt" not in other.listdir()
assert sftp.stat("slow.txt").st_size == 5 and "slow.txt" in sftp.listdir()
f.close()
assert other.stat("slow.txt").st_size == 5

# Names.
for name in ("a.txt", "b.txt"):
    with sftp.open(name, "w") as f:
        f.write(name)
refused(None, "[exists]", sftp.rename, "a.txt", "b.txt")
sftp.posix_rename("a.txt", "b.txt")
assert sftp.open("b.txt").read() == b"a.txt"
refused(errno.ENOENT, "No such file or directory", sftp.stat, "a.txt")
assert sftp.readlink("link") == "b.txt"
assert stat.S_ISLNK(sftp.lstat("link").st_mode) and stat.S_ISREG(sftp.stat("link").st_mode)
sftp.remove("link")
refused(errno.EACCES, "[perm]", sftp.symlink, "b.txt", "link")
sftp.mkdir("full")
sftp.open("full/file", "w").close()
refused(None, "[exists]", sftp.mkdir, "full")
refused(None, "[not-empty]", sftp.rmdir, "full")
sftp.remove("full/file")
sftp.rmdir("full")
assert sftp.normalize("files/../files/./") == "/files"
assert sftp.normalize(".") == "/"

# A name that is removed is gone; who has the file open goes on with it.
sftp.open("old.txt", "w").close()
for name, mode in (("new.txt", "w+"), ("old.txt", "w+"), ("edited.txt", "r+")):
    f = sftp.open(name, mode)
    f.seek(0)
    f.write("before ")
    sftp.remove(name)
    refused(errno.ENOENT, "[not-found]", sftp.stat, name)
    assert name not in other.listdir()
    f.write("and after")
    f.seek(0)
    assert f.read().startswith(b"before and after"), name
    f.close()
    refused(errno.ENOENT, "[not-found]", other.stat, name)
with sftp.open("pipelined.bin", "rb") as f:
    f.read(1)
    other.posix_rename("pipelined.bin", "renamed.bin")
    other.remove("renamed.bin")
    f.seek(3000000)
    assert f.read(100000) == big[3000000:3100000]

# A lock is taken once, by whoever comes first.
lock = sftp.open("lock", "wx")
refused(None, "[exists]", other.open, "lock", "wx")
refused(None, "[exists]", sftp.open, "lock", "wx")
lock.write("1")
lock.close()
refused(None, "[exists]", other.open, "lock", "wx")
sftp.remove("lock")
other.open("lock", "wx").close()
other.remove("lock")

# What is not there is an ENOENT with the server's own sentence.
sentence = "No such file or directory. Check the name; upper and lower case count. [not-found]"
for call in (sftp.stat, sftp.lstat, sftp.open, sftp.remove, sftp.rmdir, sftp.listdir, sftp.readlink):
    refused(errno.ENOENT, "/missing: " + sentence, call, "missing")
refused(errno.ENOENT, sentence, sftp.open, "missing/new", "w")

# Many at once.
sftp.mkdir("crowd")
crowd = [sftp.open("crowd/%03d" % i, "w") for i in range(200)]
for i, f in enumerate(crowd):
    f.write("content of %03d" % i)
for f in crowd:
    f.close()
crowd = [sftp.open("crowd/%03d" % i) for i in range(200)]
for i, f in reversed(list(enumerate(crowd))):
    assert f.read() == b"content of %03d" % i, i
for f in crowd:
    f.close()

entries = sftp.listdir_attr("many")
assert sorted(e.filename for e in entries) == ["name %04d" % i for i in range(3000)]
for e in entries:
    assert e.st_size == int(e.filename[-4:]) % 7 and stat.S_ISREG(e.st_mode), e
assert len(list(sftp.listdir_iter("many", read_aheads=10))) == 3000

sftp.close()
other.close()
by_key.close()
by_password.close()
