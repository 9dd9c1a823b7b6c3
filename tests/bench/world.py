"""The host, the wire and the frames of the benchmark: see bench.py."""

import ctypes
import os
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SO_TIMESTAMPNS, SO_RCVBUFFORCE, SOL_PACKET_OUTGOING = 35, 33, 4
RTM_NEWADDR, RTMGRP_LINK_V4 = 20, 0x10
PRIORITY, PEER_PRIORITY = 200, 254
GROUP = socket.inet_aton("224.0.0.18")
VRIDS = 255  # of a link
NAME = f"glha-bench-{os.getpid()}"


def ip(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


def enter(namespace):
    fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    if LIBC.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns {namespace}")
    os.close(fd)


def inside(namespace, *kind):
    """A socket of another network namespace."""
    here = f"/proc/{os.getpid()}/ns/net"
    home = os.open(here, os.O_RDONLY | os.O_CLOEXEC)
    enter(f"/run/netns/{namespace}")
    try:
        made = socket.socket(*kind)
    finally:
        if LIBC.setns(home, CLONE_NEWNET):
            os._exit(70)  # never go on in the wrong one
        os.close(home)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 128 << 20)
    made.setblocking(False)
    return made


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def advert(link, vrid, priority, interval):
    """A frame: an advert of VRRP version 3, as a peer would send it."""
    source, address = socket.inet_aton(f"10.{link}.255.254"), socket.inet_aton(vip(link, vrid))
    said = struct.pack("!BBBBHH4s", 0x31, vrid, priority, 1, round(interval * 100), 0, address)
    pseudo = source + GROUP + struct.pack("!BBH", 0, 112, len(said))
    said = said[:6] + struct.pack("!H", checksum(pseudo + said)) + said[8:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0xC0, 20 + len(said), 1, 0, 255, 112, 0, source, GROUP)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return bytes.fromhex("01005e000012" "020000000999" "0800") + head + said


def vip(link, vrid):
    return f"10.{link}.100.{vrid}"


class World:
    """A host with its links, the wire at their ends, and what comes out of it."""

    def __init__(self, links=1):
        self.host, self.wire = f"{NAME}-host", f"{NAME}-wire"
        self.close()
        for name in (self.host, self.wire):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        self.ports = []
        for link in range(links):
            ip("link", "add", f"b{link}", "netns", self.host, "type", "veth", "peer", "name", f"w{link}", "netns", self.wire)
            ip("-n", self.host, "addr", "add", f"10.{link}.0.1/16", "dev", f"b{link}")
            ip("-n", self.host, "link", "set", f"b{link}", "up")
            ip("-n", self.wire, "link", "set", f"w{link}", "up")
            port = inside(self.wire, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            port.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            port.bind((f"w{link}", 3))
            self.ports.append(port)
        self.folder = tempfile.TemporaryDirectory(prefix="glha-bench-")
        path = self.folder.name
        os.mkfifo(f"{path}/told")
        self.told = os.open(f"{path}/told", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(f"{path}/notify", "w") as script:
            script.write(f"#!/bin/sh\necho $3 >{path}/told\n")
        os.chmod(f"{path}/notify", 0o755)
        self.news = inside(self.host, socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.news.bind((0, RTMGRP_LINK_V4))
        self.daemon, self.targets, self.sent, self.due = None, [], 0, 0

    def close(self):
        for name in (self.host, self.wire):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)

    def pretend(self, targets, interval, priority=PEER_PRIORITY):
        """From now on a master advertises for these (link, vrid), evenly over the interval."""
        self.targets = [(self.ports[link], advert(link, vrid, priority, interval)) for link, vrid in targets]
        self.interval, self.begun, self.sent = interval, time.time(), 0

    def resign(self, targets, interval):
        self.targets = []
        for link, vrid in targets:
            self.ports[link].send(advert(link, vrid, 0, interval))
        return time.time()

    def run(self, seconds, count=None):
        """Goes on so long, or until so many addresses have come; what was told and those, with times."""
        told, addresses, end = [], [], time.time() + seconds
        while (count is None or len(addresses) < count) and (now := time.time()) < end:
            while self.targets and self.sent < (now - self.begun) / self.interval * len(self.targets):
                port, frame = self.targets[self.sent % len(self.targets)]
                port.send(frame)
                self.last = time.time()
                self.sent += 1
            wait = min(0.002, end - now) if self.targets else min(0.02, end - now)
            ready, _, _ = select.select([self.told, self.news], [], [], max(0, wait))
            now = time.time()
            if self.told in ready:
                told += [(now, word) for word in os.read(self.told, 1 << 16).decode().split()]
            if self.news in ready:
                addresses += [now] * count_new(self.news)
        return told, addresses

    def frames(self):
        """All that was sent since the last call: (time, link, kind, VRID or address, priority)."""
        seen = []
        for link, port in enumerate(self.ports):
            while True:
                try:
                    frame, extra, _, (_, _, kind, *_) = port.recvmsg(128, 64)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # The link was down; the kernel says so once.
                if kind == SOL_PACKET_OUTGOING or not extra:
                    continue
                seconds, nanos = struct.unpack("qq", extra[0][2][:16])
                at = seconds + nanos * 1e-9
                if frame[12:14] == b"\x08\x06":
                    seen.append((at, link, "arp", socket.inet_ntoa(frame[28:32]), None))
                elif frame[12:14] == b"\x08\x00" and frame[23] == 112:
                    said = frame[14 + (frame[14] & 15) * 4:]
                    seen.append((at, link, "advert", said[1], said[2]))
        return sorted(seen)

    def start(self, program, conf, prefix=""):
        """Starts it; the time of its exec."""
        path = self.folder.name
        with open(f"{path}/conf", "w") as file:
            file.write(prefix + conf)
        # Through a pipe, as from a service manager.
        with open(f"{path}/log", "wb") as log:
            self.logger = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log, start_new_session=True)
        told_r, told_w = os.pipe()
        # keepalived enters it by itself where it has to be started outside.
        goes_in = f"/run/netns/{self.host}" if not prefix else f"/proc/{os.getpid()}/ns/net"

        def before():
            enter(goes_in)
            os.write(told_w, struct.pack("d", time.time()))

        words = [program, "-n", "-l", "-G", "-P", "-f", f"{path}/conf", "-p", f"{path}/pid", "-r", f"{path}/vrrp.pid"]
        self.daemon = subprocess.Popen(words, preexec_fn=before, stdin=subprocess.DEVNULL, stdout=self.logger.stdin, stderr=self.logger.stdin)
        self.logger.stdin.close()
        began = struct.unpack("d", os.read(told_r, 8))[0]
        os.close(told_r)
        os.close(told_w)
        return began

    def stop(self):
        """Ends it, and takes in what it said."""
        self.targets = []
        self.daemon.terminate()
        try:
            self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        self.logger.wait()
        self.run(0.05)
        self.frames()

    def wait_told(self, word, count=1, seconds=20):
        told = []
        end = time.time() + seconds
        while sum(said == word for _, said in told) < count and time.time() < end:
            told += self.run(0.02)[0]
        times = [at for at, said in told if said == word]
        if len(times) < count:
            log = open(f"{self.folder.name}/log").read()
            raise SystemExit(f"in vain waited for {word}; the log ends with\n{log[-2000:]}")
        return times

    def pids(self):
        found = [self.daemon.pid]
        for pid in found:
            found += map(int, read(f"/proc/{pid}/task/{pid}/children").split())
        return found

    def cpu_us_of_scripts(self):
        """What its children have used that have ended; to a hundredth of a second."""
        fields = [read(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in self.pids()]
        return sum(int(of[13]) + int(of[14]) for of in fields if of) * 1e6 / os.sysconf("SC_CLK_TCK")

    def waits(self):
        """How often it has gone to sleep."""
        found = [re.search(r"^voluntary_ctxt_switches:\s+(\d+)", read(f"/proc/{pid}/status"), re.M) for pid in self.pids()]
        return sum(int(of[1]) for of in found if of)

    def cpu_us(self):
        tasks = [f"/proc/{pid}/task/{task}/schedstat" for pid in self.pids() for task in os.listdir(f"/proc/{pid}/task")]
        return sum(int(read(task).split()[0]) for task in tasks) / 1000

    def memory_kb(self):
        rolls = [read(f"/proc/{pid}/smaps_rollup") for pid in self.pids()]
        return sum(int(size) for roll in rolls for size in re.findall(r"^Pss_Anon:\s+(\d+)", roll, re.M))

    def system_calls(self, seconds):
        """How many the daemon makes in so many seconds."""
        pids = [word for pid in self.pids() for word in ("-p", str(pid))]
        out = f"{self.folder.name}/strace"
        tracer = subprocess.Popen(["strace", "-qq", "-c", "-f", "-o", out, *pids], stderr=subprocess.DEVNULL)
        self.run(seconds)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        lines = [line.split() for line in read(out).splitlines()]
        return sum(int(line[3]) for line in lines if len(line) > 4 and line[3].isdigit() and line[-1] != "total")


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def count_new(news):
    data, count = news.recv(1 << 18), 0
    while len(data) >= 16:
        size, kind = struct.unpack_from("IH", data)
        count += kind == RTM_NEWADDR
        data = data[(size + 3) & ~3:]
    return count


def conf(targets, interval, world, notifies=1, excluded=0, state="BACKUP", track="", checks=(), tracks=""):
    """A configuration with these instances; so many of them have a notify script. All of them track the
    checks, which are commands that run once a second; `tracks` is what else each of them tracks."""
    path = world.folder.name
    out = ["global_defs {\n    router_id bench\n    vrrp_version 3\n    script_user root\n}\n"]
    out += [f"vrrp_track_process bench {{\n    process {track}\n}}\n"] if track else []
    for place, check in enumerate(checks):
        out.append(f"vrrp_script c{place} {{\n    script \"{check}\"\n    interval 1\n}}\n")
    for place, (link, vrid) in enumerate(targets):
        priority = 255 if state == "MASTER" else PRIORITY
        out.append(f"vrrp_instance I{place} {{\n    state {state}\n    interface b{link}\n    virtual_router_id {vrid}\n")
        out.append(f"    priority {priority}\n    advert_int {interval:g}\n    virtual_ipaddress {{\n        {vip(link, vrid)}\n    }}\n")
        if excluded:
            many = "".join(f"        10.{200 + n // 60000}.{n // 250 % 240}.{n % 250 + 1}\n" for n in range(excluded))
            out.append(f"    virtual_ipaddress_excluded {{\n{many}    }}\n")
        out += ["    track_process {\n        bench\n    }\n"] if track else []
        out.append(tracks)
        out += ["    track_script {\n", *(f"        c{place}\n" for place in range(len(checks))), "    }\n"] if checks else []
        out += [f"    notify {path}/notify\n"] if place < notifies else []
        out.append("}\n")
    return "".join(out)


def many(count):
    return [(n // VRIDS, n % VRIDS + 1) for n in range(count)]


def skew(interval):
    return interval * (256 - PRIORITY) / 256
