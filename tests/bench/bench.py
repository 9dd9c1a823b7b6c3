#!/usr/bin/env python3
"""glha beside keepalived, in the same run: what `make bench` prints.

    tests/bench/bench.py [--runs N] [--only PART[,PART]] [--glha FILE] [--keepalived FILE]

Each daemon has a network namespace of its own, whose links end in another one, where this program is
the wire: it pretends to be the master, stops, and sees what the daemon sends, with the kernel's time
of each frame. The daemons take turns. A line is the median of the runs of each, and the ratio of the
two; only the ratio means something, since both had the same machine at the same time.

CPU time is that of the daemon's processes that live (/proc/PID/task/*/schedstat); memory their heaps and stacks (Pss_Anon, so a page shared after a fork
counts once). A system call is counted by strace, in a window of its own. Both daemons write to
standard error only: the price of a log is that of whoever reads it.

Nothing is asserted. Needs root, keepalived, iproute2 and strace; the machine's own network namespace
for `process`, since the kernel tells of processes nowhere else.
"""

import argparse
import ctypes
import os
import re
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
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


def conf(targets, interval, world, notifies=1, excluded=0, state="BACKUP", track=""):
    """A configuration with these instances; so many of them have a notify script."""
    path = world.folder.name
    out = ["global_defs {\n    router_id bench\n    vrrp_version 3\n    script_user root\n}\n"]
    out += [f"vrrp_track_process bench {{\n    process {track}\n}}\n"] if track else []
    for place, (link, vrid) in enumerate(targets):
        priority = 255 if state == "MASTER" else PRIORITY
        out.append(f"vrrp_instance I{place} {{\n    state {state}\n    interface b{link}\n    virtual_router_id {vrid}\n")
        out.append(f"    priority {priority}\n    advert_int {interval:g}\n    virtual_ipaddress {{\n        {vip(link, vrid)}\n    }}\n")
        if excluded:
            many = "".join(f"        10.{200 + n // 60000}.{n // 250 % 240}.{n % 250 + 1}\n" for n in range(excluded))
            out.append(f"    virtual_ipaddress_excluded {{\n{many}    }}\n")
        out += ["    track_process {\n        bench\n    }\n"] if track else []
        out += [f"    notify {path}/notify\n"] if place < notifies else []
        out.append("}\n")
    return "".join(out)


def many(count):
    return [(n // VRIDS, n % VRIDS + 1) for n in range(count)]


def skew(interval):
    return interval * (256 - PRIORITY) / 256


# The parts: each gives the figures of one run of one daemon.

def failover(world, program):
    """One instance: start, the silence of its master, memory."""
    interval, one = 0.1, [(0, 1)]
    out = {}
    world.pretend(one, interval)
    began = world.start(program, conf(one, interval, world))
    out["start to backup, ms"] = (world.wait_told("BACKUP")[0] - began) * 1e3
    world.run(1.5)
    out["memory of a backup, kB"] = world.memory_kb()
    advert_ms, arp_ms, address_ms, notify_ms = [], [], [], []
    for _ in range(5):
        world.frames()
        world.targets = []
        due = world.last + 3 * interval + skew(interval)
        told, addresses = world.run(due + 0.25 - time.time())
        seen = world.frames()
        at = lambda kind: next((frame[0] for frame in seen if frame[2] == kind), float("nan"))
        advert_ms.append((at("advert") - due) * 1e3)
        arp_ms.append((at("arp") - due) * 1e3)
        address_ms.append((addresses[0] - due) * 1e3 if addresses else float("nan"))
        notify_ms.append(next(((at - due) * 1e3 for at, word in told if word == "MASTER"), float("nan")))
        world.pretend(one, interval)
        world.wait_told("BACKUP")
        world.run(0.3)
    out["takeover: advert, ms"] = statistics.median(advert_ms)
    out["takeover: address, ms"] = statistics.median(address_ms)
    out["takeover: gratuitous ARP, ms"] = statistics.median(arp_ms)
    out["takeover: notify, ms"] = statistics.median(notify_ms)
    world.targets = []
    world.run(6.5)
    out["memory of a master, kB"] = world.memory_kb()
    world.stop()
    return out


def adverts(world, program):
    """50 instances, ten adverts a second each: what one costs."""
    interval, all_of = 0.1, many(50)
    out = {}
    for role in ("received", "sent"):
        if role == "received":
            world.pretend(all_of, interval)
        world.start(program, conf(all_of, interval, world, state="BACKUP" if role == "received" else "MASTER"))
        world.wait_told("BACKUP" if role == "received" else "MASTER")
        world.run(7)
        world.frames()
        sent, before = world.sent, world.cpu_us()
        world.run(3)
        used = world.cpu_us() - before
        # What was pretended, or what came out.
        out[f"CPU of an advert {role}, us"] = used / (world.sent - sent or len(world.frames()))
        sent, calls = world.sent, world.system_calls(2)
        out[f"system calls of an advert {role}"] = calls / (world.sent - sent or len(world.frames()))
        world.stop()
    return out


def instances(world, program):
    """1,000 instances: memory, and how evenly they advertise."""
    all_of, out = many(1000), {}
    world.pretend(all_of, 1.0)
    world.start(program, conf(all_of, 1.0, world))
    world.wait_told("BACKUP")
    world.run(3)
    out["memory of 1,000 backups, kB"] = world.memory_kb()
    world.stop()
    world.start(program, conf(all_of, 1.0, world, state="MASTER"))
    world.run(9)
    out["memory of 1,000 masters, kB"] = world.memory_kb()
    world.frames()
    world.run(5)
    sent = {}
    for at, link, kind, what, _ in world.frames():
        if kind == "advert":
            sent.setdefault((link, what), []).append(at)
    errors = sorted(abs(b - a - 1) * 1e3 for times in sent.values() for a, b in zip(times, times[1:]))
    out["1,000 masters: error of interval, p99, ms"] = errors[len(errors) * 99 // 100]
    world.stop()
    return out


def addresses(world, program):
    """10,000 addresses: memory, and when they come."""
    one, count, out = [(0, 1)], 10_000, {}
    world.pretend(one, 1.0)
    began = world.start(program, conf(one, 1.0, world, excluded=count - 1))
    out["10,000 addresses: start to backup, ms"] = (world.wait_told("BACKUP")[0] - began) * 1e3
    world.run(2)
    out["memory with 10,000 addresses, kB"] = world.memory_kb()
    due = world.resign(one, 1.0) + skew(1.0)
    _, came = world.run(30, count)
    out["first of 10,000 addresses, ms"] = (came[0] - due) * 1e3
    out["last of 10,000 addresses, ms"] = (came[-1] - due) * 1e3
    world.stop()
    return out


def notifies(world, program):
    """200 instances lose their master at once."""
    all_of, out = many(200), {}
    world.pretend(all_of, 1.0)
    world.start(program, conf(all_of, 1.0, world, notifies=200))
    world.wait_told("BACKUP", 200)
    world.run(1.5)
    due = world.resign(all_of, 1.0) + skew(1.0)
    times = world.wait_told("MASTER", 200)
    out["200 instances at once: first notify, ms"] = (times[0] - due) * 1e3
    out["200 instances at once: last notify, ms"] = (times[-1] - due) * 1e3
    world.stop()
    return out


def process(world, program):
    """A tracked process dies."""
    one, out = [(0, 1)], {}
    name = f"track{os.getpid()}"
    path = f"{world.folder.name}/{name}"
    with open("/bin/sleep", "rb") as sleep, open(path, "wb") as copy:
        copy.write(sleep.read())
    os.chmod(path, 0o755)
    target = subprocess.Popen([path, "1000"])
    try:
        prefix = f"net_namespace {world.host}\n"
        world.start(program, conf(one, 0.1, world, track=name), prefix)
        world.wait_told("MASTER")
        before = world.cpu_us()
        world.run(5)
        out["tracked process: CPU, us a second"] = (world.cpu_us() - before) / 5
        world.frames()
        killed = time.time()
        target.kill()
        told = world.wait_told("FAULT")[0]
        zero = next((frame[0] for frame in world.frames() if frame[4] == 0), float("nan"))
        out["tracked process dies: priority 0, ms"] = (zero - killed) * 1e3
        out["tracked process dies: notify, ms"] = (told - killed) * 1e3
        world.stop()
    finally:
        target.kill()
        target.wait()
    return out


PARTS = {"failover": (failover, 1), "adverts": (adverts, 1), "process": (process, 1), "notifies": (notifies, 1),
         "addresses": (addresses, 1), "instances": (instances, 4)}


def number(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def main():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    arguments = argparse.ArgumentParser(description="glha beside keepalived")
    arguments.add_argument("--runs", type=int, default=5, help="of each daemon (5)")
    arguments.add_argument("--only", default=",".join(PARTS), help="of " + ",".join(PARTS))
    arguments.add_argument("--glha", default=f"{root}/target/glha")
    arguments.add_argument("--keepalived", default="/usr/sbin/keepalived")
    given = arguments.parse_args()
    if os.geteuid():
        sys.exit("bench: needs root")
    programs = {"glha": os.path.abspath(given.glha), "keepalived": os.path.abspath(given.keepalived)}
    for program in programs.values():
        if not os.access(program, os.X_OK):
            sys.exit(f"bench: {program} is not there")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.nice(-10)
    print(f"{'':44} {'glha':>9} {'keepalived':>11} {'ratio':>7}")

    def line(label, figures):
        ours, theirs = (statistics.median(figures[name]) for name in programs)
        ratio = f"{ours / theirs:7.2f}" if theirs > 0 else f"{'':7}"
        print(f"{label:44} {number(ours):>9} {number(theirs):>11} {ratio}", flush=True)

    line("program, kB", {name: [os.path.getsize(path) / 1000] for name, path in programs.items()})
    for part in given.only.split(","):
        measure, links = PARTS[part]
        found = {}
        for run in range(given.runs):
            order = list(programs) if run % 2 else list(programs)[::-1]
            for name in order:
                world = World(links)
                try:
                    for label, value in measure(world, programs[name]).items():
                        found.setdefault(label, {}).setdefault(name, []).append(value)
                finally:
                    if world.daemon and world.daemon.poll() is None:
                        world.daemon.kill()
                        world.daemon.wait()
                    world.close()
        for label, figures in found.items():
            line(label, figures)


main()
