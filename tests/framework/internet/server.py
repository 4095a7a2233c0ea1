"""A server in a box, over both versions of IP: greets (2000), counts until its client has ended (2001), over UDP answers
who asks (2002)."""

import socket
import threading


def listen(kind, port):
    listener = socket.socket(socket.AF_INET6, kind)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    return listener


def serve(port, answer):
    listener = listen(socket.SOCK_STREAM, port)
    listener.listen(512)
    while True:
        connection, caller = listener.accept()
        threading.Thread(target=answer, args=(connection, caller), daemon=True).start()


def greet(connection, caller):
    with connection:
        connection.sendall(f"220 {caller[0]}\r\n".encode())
        connection.recv(1)


def count(connection, caller):
    with connection:
        total = 0
        while received := connection.recv(65536):
            total += len(received)
        connection.sendall(f"{total} bytes\r\n".encode())


for port, answer in ((2000, greet), (2001, count)):
    threading.Thread(target=serve, args=(port, answer), daemon=True).start()
datagrams = listen(socket.SOCK_DGRAM, 2002)
print("ready", flush=True)
while True:
    received, caller = datagrams.recvfrom(2048)
    datagrams.sendto(received.upper(), caller)
