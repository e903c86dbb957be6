"""
Signs messages with dkimpy, an implementation that shares no code with ours.

Reads a JSON array of jobs on stdin: {"message", "key", "domain", "selector", "canonicalization", "algorithm"}, the
message and the private key as paths. Prints a JSON array of the messages with their signature on top, in base64.
"""
import base64
import json
import sys

import dkim

signed = []
for job in json.load(sys.stdin):
    with open(job["message"], "rb") as source:
        # As SMTP carries it.
        message = source.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    with open(job["key"], "rb") as source:
        key = source.read()
    signature = dkim.sign(
        message,
        job["selector"].encode(),
        job["domain"].encode(),
        key,
        canonicalize=tuple(part.encode() for part in job["canonicalization"].split("/")),
        signature_algorithm=job["algorithm"].encode(),
        include_headers=[b"from", b"to", b"subject"],
    )
    signed.append(base64.b64encode(signature + message).decode())
json.dump(signed, sys.stdout)
