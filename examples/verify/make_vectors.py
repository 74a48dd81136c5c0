#!/usr/bin/env python3
"""Writes the golden vectors of threadline-seal with the second implementation, verify.py.

    make_vectors.py threadline-seal/vectors

The formats do not change after a release, so the files do not either: the tests compare them.
"""

import base64
import hashlib
import json
import os
import sys

import verify as v

ORIGIN = "example.com/trail"
SEED = bytes(range(32))


def compress(point):
    inverse = pow(point[2], -1, v.P)
    x, y = point[0] * inverse % v.P, point[1] * inverse % v.P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def sign(seed, message):
    digest = hashlib.sha512(seed).digest()
    scalar = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
    key = compress(v.multiply(v.BASE, scalar))
    nonce = int.from_bytes(hashlib.sha512(digest[32:] + message).digest(), "little") % v.ORDER
    commit = compress(v.multiply(v.BASE, nonce))
    challenge = int.from_bytes(hashlib.sha512(commit + key + message).digest(), "little")
    return key, commit + ((nonce + challenge * scalar) % v.ORDER).to_bytes(32, "little")


def key_id(key):
    return v.sha256(ORIGIN.encode() + b"\n\x01" + key)[:4]


def checkpoint(size, root):
    text = f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"
    key, signature = sign(SEED, text.encode())
    return f"{text}\n— {ORIGIN} {base64.b64encode(key_id(key) + signature).decode()}\n"


def secret(number):
    return v.sha256(b"secret %d" % number)[:16]


AT = "2026-11-21T09:30:00.%06dZ"
TRANSACTION = "000303c4-c5f8-7600-0000-0000000003e9"
ACTION = "01a1fd70-f1c0-7abc-8def-0123456789ab"


def change(number, op, **more):
    table = more.pop("table", ("public", "members"))
    fields = {
        "id": str(number), "captured_at": AT % number, "transaction_id": TRANSACTION, "op": op,
        "table_schema": table[0], "table_name": table[1],
    }
    return "change", number, fields | {name.replace("__", "/"): value for name, value in more.items()}


def records():
    """(kind, id, fields) of the golden log."""
    yield "genesis", 1, {"from_id": "1", "began_at": AT % 0, "origin": ORIGIN, "began_by": "postgres"}
    yield "transaction", 2, {
        "id": TRANSACTION, "occurred_at": AT % 2, "actor": "user:42", "request_id": "r-1", "xid": "1001",
        "db_user": "app", "backend_pid": "4711", "context/source": '"http"',
        "context/meta/ip": '"192.0.2.7"', "context/meta/": "null", "context/remote_addr": '"192.0.2.7"',
    }
    yield change(2, "insert", row_key="1", table_pk='{"id": "1"}', data_after__id="1",
                 data_after__email='"ada@example.com"', data_after__total="1.10", data_after__note="null")
    yield change(3, "update", row_key="1", data_after__id="1", data_after__email='"eve@example.com"',
                 data_after__total='"NaN"', changed_from__email='"ada@example.com"', changed_from__total="1.10")
    yield "action", 4, {
        "id": ACTION, "order_id": "4", "transaction_id": TRANSACTION, "recorded_at": AT % 4,
        "name": "member.rename", "status": "ok", "reason": "asked by the member", "meta/ticket": "17",
    }
    yield change(6, "truncate", table=("Sales", 'Ab/c"d'))
    yield "enrolment", 7, {
        "order_id": "7", "transaction_id": TRANSACTION, "table_schema": "public", "table_name": "members",
        "event": "enabled", "recorded_at": AT % 7, "recorded_by": "postgres",
    }
    yield "suspension", 8, {
        "order_id": "8", "transaction_id": TRANSACTION, "suspended_at": AT % 8, "suspended_by": "postgres",
        "reason": "import", "tables": '["public.members"]',
    }
    yield "evidence", 9, {
        "order_id": "9", "transaction_id": TRANSACTION, "recorded_at": AT % 9, "recorded_by": "worker",
        "basis": "checked", "subject": "capture_coverage", "outcome": "pass", "detail": "{}",
    }
    yield "removal", 10, {
        "order_id": "10", "transaction_id": TRANSACTION, "removed_at": AT % 10, "removed_by": "postgres",
        "kind": "erasure", "reason": "request 5", "change_count": "1",
        "scope": '{"leaves": {"3": ["data_after/email", "changed_from/email"]}, "row_key": "1"}',
    }
    yield "removal", 11, {
        "order_id": "11", "transaction_id": TRANSACTION, "removed_at": AT % 11, "removed_by": "postgres",
        "kind": "retention", "reason": "policy", "change_count": "1",
        "scope": '{"cutoffs": {"\\"Sales\\".\\"Ab/c\\"\\"d\\"": "2026-11-21T09:30:00.000007+00:00"}}',
    }
    yield "clock", 11, {"settled_to": "11", "read_at": AT % 12, "system_identifier": "7445566778899001122",
                        "lsn": "0/16B3748"}


def line(leaf, kind, number, fields):
    """The line of the export: leaf 3 has erased fields, leaf 5 was removed."""
    known = secret(leaf)
    entry = v.sealed_entry(kind, number, fields, known)
    record = {"leaf": leaf, "kind": kind, "id": number, "entry": entry.hex()}
    if leaf == 3:
        gone = ["changed_from/email", "data_after/email"]
        salts = {path: v.salt_of(known, path) for path in fields}
        record["fields"] = dict(sorted((fields | {path: '"[ERASED]"' for path in gone}).items()))
        record["erased"] = {path: v.commitment(salts[path], path, fields[path]).hex() for path in gone}
        record["salts"] = {path: salts[path].hex() for path in sorted(fields) if path not in gone}
    elif leaf != 5:
        record["secret"] = known.hex()
        record["fields"] = dict(sorted(fields.items()))
    return entry, json.dumps(record, ensure_ascii=False, separators=(",", ":"))


FIELDS = [
    {"a": "1"},
    {"data_after/n": '"NaN"', "data_after/x": "1.10"},
    {"data_after/n": "123456789012345678901234567890.123456789012345678901234567890"},
    {"data_after/t": '"\\u0001\\t\\u001f"', "reason": "line\nfeed\u0007"},
    {"data_after/e": '"\U0001f9f5 \u00e9 e\u0301"'},
    {"data_after/": "null", "data_after": "{}"},
    {'data_after/Ab/c"d': "true", "data_after/\u00e4": "[]", "data_after/a": "{}"},
    {"context/meta/": '{"k": [1, 2.50]}', "context/source": '"job"'},
    {},
]


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def main(folder):
    vectors = []
    for number, fields in enumerate(FIELDS):
        salts = {path: v.salt_of(secret(number), path) for path in fields}
        digests = {path: v.commitment(salts[path], path, value) for path, value in fields.items()}
        vectors.append({
            "secret": secret(number).hex(), "fields": fields,
            "salts": {path: salt.hex() for path, salt in salts.items()},
            "commitments": {path: digest.hex() for path, digest in digests.items()},
            "content": v.content(digests).hex(),
        })
    write(folder, "fields.json", json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")

    frontier, lines, roots = v.Frontier(), [], [v.sha256(b"").hex()]
    entries = []
    for leaf, record in enumerate(records()):
        entry, text = line(leaf, *record)
        frontier.push(v.leaf_hash(entry))
        entries.append({"kind": record[0], "entry": entry.hex(), "leaf_hash": v.leaf_hash(entry).hex()})
        roots.append(frontier.root().hex())
        lines.append(text + "\n")
        if leaf in (4, len(list(records())) - 1):
            note = checkpoint(frontier.size, frontier.root())
            write(folder, f"log/checkpoints/{frontier.size:020}", note)
    write(folder, "log/checkpoint", note)
    write(folder, "log/export.ndjson", "".join(lines))
    key = sign(SEED, b"")[0]
    encoded = base64.b64encode(b"\x01" + key).decode()
    write(folder, "log/vkey", f"{ORIGIN}+{key_id(key).hex()}+{encoded}\n")
    tree = {"entries": entries, "roots": roots, "seed": SEED.hex()}
    write(folder, "tree.json", json.dumps(tree, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
