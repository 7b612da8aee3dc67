"""Health check of a container, which exits 0 if a port answers 200: `python -IS healthy.py PORT PATH`.

It imports next to nothing, as Docker runs it every few seconds.
"""

import socket
import sys

port, path = sys.argv[1:]
with socket.create_connection(("127.0.0.1", int(port)), timeout=2) as server:
    server.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    sys.exit(b" 200 " not in server.recv(64))
