"""A neighbour on the wire that speaks BFD (RFC 5880, asynchronous mode), for the benchmark."""

import select
import socket
import struct
import time

from world import inside, ip

PORT, SOURCE_PORT = 3784, 49152
DOWN, INIT, UP = 1, 2, 3


class Neighbour:
    """It sends at its interval, while it is told to."""

    def __init__(self, world, transmit, multiplier):
        self.ip, self.peer = "10.0.255.254", "10.0.0.1"
        self.transmit, self.multiplier = transmit, multiplier
        self.state, self.theirs, self.heard, self.last, self.final = DOWN, 0, 0, 0.0, False
        ip("-n", world.wire, "addr", "add", f"{self.ip}/16", "dev", "w0")
        self.ear = inside(world.wire, socket.AF_INET, socket.SOCK_DGRAM)
        self.ear.bind((self.ip, PORT))
        self.mouth = inside(world.wire, socket.AF_INET, socket.SOCK_DGRAM)
        self.mouth.bind((self.ip, SOURCE_PORT))
        self.mouth.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)

    def speak(self, seconds):
        """Goes on so long; the session comes up, or stays up."""
        end = time.time() + seconds
        while (now := time.time()) < end:
            due = self.last + self.transmit
            if now >= due or self.final:
                self.send()
            ready, _, _ = select.select([self.ear], [], [], max(0, min(due, end) - now))
            if ready:
                self.hear(self.ear.recv(64))

    def send(self):
        micros = int(self.transmit * 1e6)
        flags = self.state << 6 | (0x10 if self.final else 0)
        said = struct.pack("!BBBBIIIII", 0x20, flags, self.multiplier, 24, 7, self.theirs, micros, micros, 0)
        try:
            self.mouth.sendto(said, (self.peer, PORT))
        except OSError:
            pass  # Nobody listens there yet.
        if not self.final:
            self.last = time.time()
        self.final = False

    def hear(self, said):
        flags, self.theirs = said[1], struct.unpack("!I", said[4:8])[0]
        self.heard += 1
        self.final |= bool(flags & 0x20)
        theirs = flags >> 6
        if self.state == DOWN and theirs in (DOWN, INIT):
            self.state = INIT if theirs == DOWN else UP
        elif self.state == INIT and theirs in (INIT, UP):
            self.state = UP
        elif self.state == UP and theirs == DOWN:
            self.state = DOWN
