"""What is measured: see bench.py. Each part gives the figures of one run of one daemon."""

import os
import signal
import statistics
import subprocess
import time

from neighbour import Neighbour
from world import PEER_PRIORITY, advert, conf, ip, many, skew, vip

NAN = float("nan")


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
        at = lambda kind: next((frame[0] for frame in seen if frame[2] == kind), NAN)
        advert_ms.append((at("advert") - due) * 1e3)
        arp_ms.append((at("arp") - due) * 1e3)
        address_ms.append((addresses[0] - due) * 1e3 if addresses else NAN)
        notify_ms.append(next(((at - due) * 1e3 for at, word in told if word == "MASTER"), NAN))
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
        zero = next((frame[0] for frame in world.frames() if frame[4] == 0), NAN)
        out["tracked process dies: priority 0, ms"] = (zero - killed) * 1e3
        out["tracked process dies: notify, ms"] = (told - killed) * 1e3
        world.stop()
    finally:
        target.kill()
        target.wait()
    return out


def first(times):
    return next(iter(times), NAN)


def kind_after(world, kind, since, priority=None):
    """When the first frame of a kind came, in ms from then."""
    seen = world.frames()
    is_it = lambda frame: frame[0] >= since and frame[2] == kind and priority in (None, frame[4])
    return (first(frame[0] for frame in seen if is_it(frame)) - since) * 1e3


def handover(world, program):
    """A master hears a better one; a backup hears that the master gives up."""
    interval, one, out = 0.1, [(0, 1)], {}
    world.start(program, conf(one, interval, world))
    world.wait_told("MASTER")
    world.run(0.5)
    began = time.time()
    world.pretend(one, interval)
    out["a better master: notify, ms"] = (world.wait_told("BACKUP")[0] - began) * 1e3
    world.run(0.5)
    world.frames()
    due = world.resign(one, interval) + skew(interval)
    told = world.wait_told("MASTER")
    out["the master gives up: advert, ms"] = kind_after(world, "advert", due)
    out["the master gives up: notify, ms"] = (told[0] - due) * 1e3
    world.stop()
    return out


def faults(world, program):
    """What makes a master give up, and a virtual address that somebody takes away."""
    interval, one, out = 0.1, [(0, 1)], {}
    flag, script = f"{world.folder.name}/bad", f"{world.folder.name}/check"
    with open(script, "w") as file:
        file.write(f"#!/bin/sh\n[ -e {flag} ] || exit 0\necho CHECK >{world.folder.name}/told\nexit 1\n")
    os.chmod(script, 0o755)
    world.start(program, conf(one, interval, world, checks=[script]))
    world.wait_told("MASTER")
    world.run(1.5)
    taken = []
    for _ in range(5):
        began = time.time()
        ip("-n", world.host, "addr", "del", f"{vip(0, 1)}/32", "dev", "b0")
        taken.append((first(world.run(5, 1)[1]) - began) * 1e3)
        world.run(0.3)
    out["an address is taken: back, ms"] = statistics.median(taken)
    world.frames()
    open(flag, "w").close()
    told = world.run(4)[0]
    failed = first(at for at, word in told if word == "CHECK")
    # The script tells it just before it ends.
    out["a check fails: priority 0, ms"] = kind_after(world, "advert", failed - 0.01, 0) - 10
    out["a check fails: notify, ms"] = (first(at for at, word in told if word == "FAULT") - failed) * 1e3
    os.unlink(flag)
    world.wait_told("MASTER")
    world.run(1)
    began = time.time()
    ip("-n", world.wire, "link", "set", "w0", "down")
    out["the link goes down: notify, ms"] = (world.wait_told("FAULT")[0] - began) * 1e3
    ip("-n", world.wire, "link", "set", "w0", "up")
    world.stop()
    return out


def bfd(world, program):
    """A master tracks a neighbour by BFD at 50 ms; the neighbour falls silent."""
    transmit, multiplier, out = 0.05, 3, {}
    neighbour = Neighbour(world, transmit, multiplier)
    session = f"bfd_instance N {{\n    neighbor_ip {neighbour.ip}\n    source_ip 10.0.0.1\n    min_rx 50\n    min_tx 50\n    multiplier {multiplier}\n}}\n"
    tracks = "    track_bfd {\n        N\n    }\n"
    world.start(program, session + conf([(0, 1)], 0.1, world, tracks=tracks))
    told, end = [], time.time() + 20
    while "MASTER" not in told and time.time() < end:
        neighbour.speak(0.02)
        told += [word for _, word in world.run(0.001)[0]]
    neighbour.speak(1)
    world.run(0.001)
    before, count = world.cpu_us(), neighbour.heard
    neighbour.speak(5)
    out["BFD at 50 ms and adverts at 100: CPU, us a second"] = (world.cpu_us() - before) / 5
    out["BFD at 50 ms: packets a second"] = (neighbour.heard - count) / 5
    world.frames()
    due = neighbour.last + transmit * multiplier
    told = world.run(2)[0]
    out["a neighbour is silent: priority 0, ms"] = kind_after(world, "advert", due - 0.2, 0) - 200
    out["a neighbour is silent: notify, ms"] = (first(at for at, word in told if word == "FAULT") - due) * 1e3
    world.stop()
    return out


def checks(world, program):
    """200 checks a second, and none."""
    one, seconds, out = [(0, 1)], 5, {}
    world.start(program, conf(one, 1.0, world, checks=["/bin/true"] * 200))
    world.wait_told("MASTER")
    world.run(3)
    own, all_of = world.cpu_us(), world.cpu_us_of_scripts()
    world.run(seconds)
    own, all_of = world.cpu_us() - own, world.cpu_us_of_scripts() - all_of
    out["200 checks a second: CPU of a run, us"] = own / 200 / seconds
    out["200 checks a second: the same with the script's own, us"] = (own + all_of) / 200 / seconds
    world.stop()
    world.start(program, conf(one, 10.0, world, state="MASTER"))
    world.wait_told("MASTER")
    world.run(7)
    before = world.waits()
    world.run(10)
    out["idle master: wake-ups in 10 s"] = world.waits() - before
    world.stop()
    return out


def reload(world, program):
    """A reload of 1,000 masters in which nothing is different."""
    all_of, out = many(1000), {}
    world.start(program, conf(all_of, 1.0, world, state="MASTER"))
    world.run(9)
    world.frames()
    before = world.cpu_us()
    for pid in world.pids()[:1]:
        os.kill(pid, signal.SIGHUP)
    world.run(6)
    out["reload of 1,000 masters: CPU, ms"] = (world.cpu_us() - before) / 1e3 if len(world.pids()) else NAN
    out["reload of 1,000 masters: longest silence, ms"] = longest_silence(world.frames()) * 1e3
    world.stop()
    return out


def longest_silence(frames):
    sent = {}
    for at, link, kind, what, _ in frames:
        if kind == "advert":
            sent.setdefault((link, what), []).append(at)
    return max((b - a for times in sent.values() for a, b in zip(times, times[1:])), default=NAN)


def hostile(world, program):
    """A segment full of adverts: of other routers, and of a worse master."""
    interval, one, out = 0.1, [(0, 1)], {}
    world.start(program, conf(one, interval, world, state="MASTER"))
    world.wait_told("MASTER")
    world.run(1)
    for what, frame in (("foreign", advert(0, 77, 100, interval)), ("worse", advert(0, 1, 100, interval))):
        world.frames()
        before, end, count = world.cpu_us(), time.time() + 3, 0
        while time.time() < end:
            for _ in range(100):
                try:
                    world.ports[0].send(frame)
                    count += 1
                except OSError:
                    pass
        used = world.cpu_us() - before
        out[f"a flood of {what} adverts: CPU of one, us"] = used / count
        out[f"a flood of {what} adverts: longest silence, ms"] = longest_silence(world.frames()) * 1e3
        world.run(2)
    size = os.path.getsize(f"{world.folder.name}/log")
    out["the log afterwards, kB"] = size / 1e3
    world.stop()
    return out


# What is measured, how many links it needs, and whether it is quick.
PARTS = {
    "failover": (failover, 1, True),
    "handover": (handover, 1, True),
    "faults": (faults, 1, True),
    "adverts": (adverts, 1, False),
    "process": (process, 1, True),
    "checks": (checks, 1, False),
    "bfd": (bfd, 1, False),
    "notifies": (notifies, 1, True),
    "hostile": (hostile, 1, False),
    "addresses": (addresses, 1, False),
    "instances": (instances, 4, False),
    "reload": (reload, 4, False),
}
