# Carries standard input and output to a port: HOST PORT.
import os
import socket
import sys
import threading

s = socket.create_connection((sys.argv[1], int(sys.argv[2])))


def up():
    while b := os.read(0, 1 << 16):
        s.sendall(b)
    s.shutdown(socket.SHUT_WR)


threading.Thread(target=up, daemon=True).start()
while b := s.recv(1 << 16):
    while b:
        b = b[os.write(1, b):]
