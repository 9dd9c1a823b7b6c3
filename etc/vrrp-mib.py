"""Answers snmpd for VRRP-MIB (RFC 2787), as keepalived does with enable_snmp_rfcv2.

In snmpd.conf:

    pass .1.3.6.1.2.1.68.1.3.1 /usr/bin/python3 /usr/local/share/glha/vrrp-mib.py [FILE]

FILE holds what `glha status --json` says; without one, glha is asked, which only root may do. Of the
table vrrpOperTable these columns are there, by ifIndex and virtual router: vrrpOperState (1 initialize,
2 backup, 3 master), vrrpOperPriority, vrrpOperIpAddrCount and vrrpOperMasterIpAddr.
"""

import ipaddress
import json
import socket
import subprocess
import sys

ENTRY = (1, 3, 6, 1, 2, 1, 68, 1, 3, 1, 1)
STATES = {"BACKUP": 2, "MASTER": 3}


def status(path):
    """What glha says of its instances; nothing, if it does not run."""
    try:
        if path:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        else:
            # Its exit status says whether all is well, and is no failure here.
            command = ["glha", "status", "--json"]
            text = subprocess.run(command, capture_output=True, timeout=5, check=False, text=True).stdout
        return json.loads(text).get("instances", [])
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def master_address(instance):
    """The address of the master, as far as it is known and of IPv4."""
    address = instance.get("source") if instance["state"] == "MASTER" else None
    for peer in instance.get("peers", []):
        if peer.get("followed"):
            address = address or peer["address"]
    try:
        return str(ipaddress.IPv4Address(address))
    except ValueError:
        return "0.0.0.0"


def rows(instances):
    """(OID, type, value) of everything there is, in the order of SNMP."""
    found = []
    for instance in instances:
        try:
            index = socket.if_nametoindex(instance["interface"])
        except (OSError, KeyError, TypeError):
            continue
        columns = {
            3: ("integer", STATES.get(instance["state"], 1)),
            5: ("integer", instance["priority"]["effective"]),
            6: ("integer", len(instance["addresses"])),
            7: ("ipaddress", master_address(instance)),
        }
        for column, (kind, value) in columns.items():
            found.append((ENTRY + (column, index, instance["vrid"]), kind, value))
    return sorted(found)


def main(words):
    """Arguments of snmpd: -g OID for this one, -n OID for the next one."""
    path = words.pop(0) if words and not words[0].startswith("-") else None
    if len(words) < 2 or words[0] not in ("-g", "-n"):
        print("not-writable")
        return
    asked = tuple(int(part) for part in words[1].strip(".").split("."))
    for oid, kind, value in rows(status(path)):
        if oid == asked if words[0] == "-g" else oid > asked:
            print("." + ".".join(map(str, oid)), kind, value, sep="\n")
            return


main(sys.argv[1:])
