"""Run by an interpreter that has pysparkplug: a host application that reads messages (JSON lines of topic and payload in base64) in order,
keeps Sparkplug's rules of sessions, and prints what it broke and what it learnt, as JSON."""

from __future__ import annotations

import base64
import json
import sys

from pysparkplug import DBirth, DData, DDeath, NBirth, NDeath

broken: list[str] = []
learnt: list[list] = []
nodes: dict[str, dict] = {}

for number, line in enumerate(open(sys.argv[1], encoding="utf-8")):  # noqa: SIM115
    entry = json.loads(line)
    namespace, group, kind, node, *rest = entry["topic"].split("/")
    device = rest[0] if rest else None
    raw = base64.b64decode(entry["payload"])
    place = f"message {number} ({entry['topic']})"
    known = nodes.setdefault(f"{group}/{node}", {"live": False, "session": None, "devices": {}})
    if namespace != "spBv1.0" or (device is None) != kind.startswith("N"):
        broken.append(f"{place}: topic")
    if kind == "NBIRTH":
        birth = NBirth.decode(raw)
        metrics = {m.name: m for m in birth.metrics}
        session = metrics["bdSeq"].value
        if known["live"]:
            broken.append(f"{place}: a birth without a death before it")
        if birth.seq != 0 or (known["session"] is not None and session != (known["session"] + 1) % 256):
            broken.append(f"{place}: seq {birth.seq}, bdSeq {session} after {known['session']}")
        if metrics["Node Control/Rebirth"].value is not False:
            broken.append(f"{place}: no Node Control/Rebirth")
        known.update(live=True, session=session, seq=0, devices={})
        continue
    if kind == "NDEATH":
        death = NDeath.decode(raw)
        if not known["live"] or death.bd_seq_metric.value != known["session"]:
            broken.append(f"{place}: bdSeq {death.bd_seq_metric.value}, the session is {known['session']}")
        known["live"] = False
        continue
    if not known["live"]:
        broken.append(f"{place}: the node is dead")
    if kind == "DBIRTH":
        payload = DBirth.decode(raw)
        aliases = {m.alias: m.name for m in payload.metrics if m.alias}
        others = {a for d, (b, a_) in known["devices"].items() if d != device for a in a_}
        if device in known["devices"] or others & set(aliases):
            broken.append(f"{place}: born twice, or its aliases are another's")
        known["devices"][device] = (payload, aliases)
    elif kind == "DDEATH":
        payload = DDeath.decode(raw)
        if known["devices"].pop(device, None) is None:
            broken.append(f"{place}: died without a birth")
    elif device not in known["devices"]:
        broken.append(f"{place}: data before birth")
        continue
    else:
        birth, _ = known["devices"][device]
        payload = DData.decode(raw, birth=birth)
        for m in payload.metrics:
            learnt.append([device, m.name, m.timestamp, m.value, bool(m.is_historical)])
    known["seq"] = (known["seq"] + 1) % 256
    if payload.seq != known["seq"]:
        broken.append(f"{place}: seq {payload.seq}, expected {known['seq']}")
        known["seq"] = payload.seq

print(json.dumps({"broken": broken[:20], "count": len(broken), "learnt": learnt}))
