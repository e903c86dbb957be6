"""
Verifies the seals of a message with dkimpy, an implementation that shares no code with ours.

usage: verify_arc.py ZONES.json MESSAGE.eml [MESSAGE.eml ...]
ZONES.json holds records by name in presentation form ("TXT v=DKIM1; ...").
Prints one JSON object a line: {"file", "arc", "sets": [{"instance", "seal", "message", "domain"}], "dkim": [bool, ...]}.
"""
import json
import sys

import dkim


def signature_holds(message, index, answer):
    try:
        return dkim.DKIM(message).verify(idx=index, dnsfunc=answer)
    except dkim.DKIMException:
        return False


def main(zones_path, *messages):
    with open(zones_path, encoding="utf-8") as source:
        zones = json.load(source)

    def answer(name, timeout=5):
        key = (name.decode() if isinstance(name, bytes) else name).rstrip(".").lower()
        for record in zones.get(key, []):
            if record.startswith("TXT "):
                return record[4:].encode()
        return None

    for path in messages:
        with open(path, "rb") as source:
            message = source.read()
        state, sets, _reason = dkim.arc_verify(message, dnsfunc=answer)
        signatures = sum(line.lower().startswith(b"dkim-signature:") for line in message.split(b"\r\n\r\n", 1)[0].split(b"\r\n"))
        print(json.dumps({
            "file": path,
            "arc": state.decode(),
            "sets": [{
                "instance": one["instance"],
                "seal": one["as-valid"],
                "message": one["ams-valid"],
                "domain": one["as-domain"].decode(),
            } for one in sets],
            "dkim": [signature_holds(message, index, answer) for index in range(signatures)],
        }))


if __name__ == "__main__":
    main(*sys.argv[1:])
