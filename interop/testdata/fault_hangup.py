"""Uploads a file over bare sockets and leaves without waiting for the 226.

Arguments are name=value. end=quit: sends QUIT and hangs up at once after the
data, as scanners and cameras do. end=killed: dies when all is sent, the control connection untouched;
with "wait" it closes the data connection and dies so many seconds later.
"""

import os
import re
import signal
import socket
import ssl
import sys
import time

opt = dict(arg.split("=", 1) for arg in sys.argv[1:])

ctx = None
if opt["tls"] != "plain":
    ctx = ssl.create_default_context(cafile=opt["ca"] or None)
    if not opt["ca"]:
        ctx.check_hostname = False
        ctx.verify_mode = ssl.CERT_NONE

control = socket.create_connection((opt["host"], int(opt["port"])), timeout=30)
buffer = b""


def reply():
    global buffer
    lines = []
    while True:
        while b"\n" not in buffer:
            got = control.recv(4096)
            if not got:
                sys.exit("the server hung up")
            buffer += got
        line, buffer = buffer.split(b"\n", 1)
        lines.append(line.decode())
        if re.match(r"\d{3} ", lines[-1]):
            return "\n".join(lines)


def ask(line, want):
    control.sendall(line.encode() + b"\r\n")
    got = reply()
    if not got.startswith(want):
        sys.exit(line + ": " + got)
    return got


reply()
if ctx:
    ask("AUTH TLS", "234")
    control = ctx.wrap_socket(control, server_hostname=opt["host"])
ask("USER " + opt["user"], "331")
ask("PASS " + opt["password"], "230")
if ctx:
    ask("PBSZ 0", "200")
    ask("PROT P", "200")
ask("TYPE I", "200")
port = int(re.search(r"\|\|\|(\d+)\|", ask("EPSV", "229")).group(1))
data = socket.create_connection((opt["host"], port), timeout=30)
ask("STOR " + opt["remote"], "150")
if ctx:
    data = ctx.wrap_socket(data, server_hostname=opt["host"])
with open(opt["file"], "rb") as f:
    content = f.read()
# In two halves 50 ms apart: the server gives uploads below 20 ms no grace.
data.sendall(content[: len(content) // 2])
time.sleep(0.05)
data.sendall(content[len(content) // 2 :])
if ctx:
    data = data.unwrap()  # close_notify both ways
if opt["end"] == "quit":
    data.close()
    control.sendall(b"QUIT\r\n")
    control.close()
    sys.exit()
if float(opt["wait"]) > 0:
    data.close()
    time.sleep(float(opt["wait"]))
os.kill(os.getpid(), signal.SIGKILL)  # without wait the kernel closes both, one after the other
