#!/usr/bin/env python3
"""Verifies a sealed export of a Threadline audit trail. Python's standard library is all it needs.

    verify.py --vkey FILE --checkpoints DIR --export FILE [--size N]
    verify.py --vkey FILE --proof FILE

A second implementation of threadline-seal/FORMAT.md, which shares no code with threadline-verify. It prints one
JSON object and exits with 0 (verified), 1 (not verified), 2 (wrong usage) or 3 (could not read).
"""

import argparse
import base64
import bisect
import datetime
import hashlib
import json
import os
import re
import sys

KINDS = {
    # name: (letter, field with the id, field with the time)
    "genesis": (b"G", "from_id", "began_at"),
    "transaction": (b"T", None, "id"),
    "change": (b"C", "id", "captured_at"),
    "action": (b"A", "order_id", "id"),
    "removal": (b"R", "order_id", "removed_at"),
    "suspension": (b"S", "order_id", "suspended_at"),
    "evidence": (b"E", "order_id", "recorded_at"),
    "enrolment": (b"N", "order_id", "recorded_at"),
    "clock": (b"K", "settled_to", "read_at"),
}
ERASED_VALUES = ("[ERASED]", '"[ERASED]"')


class NotVerified(Exception):
    """The first finding: a reason, a detail, and the record if there is one."""

    def __init__(self, reason, detail, leaf=None, entry=None):
        super().__init__(detail)
        self.reason, self.detail, self.leaf, self.entry = reason, detail, leaf, entry


# Records.

def sha256(data):
    return hashlib.sha256(data).digest()


def u32(number):
    return number.to_bytes(4, "big")


def i64(number):
    return number.to_bytes(8, "big", signed=True)


def salt_of(secret, path):
    return sha256(b"\x03" + secret + path.encode())[:16]


def commitment(salt, path, value):
    path = path.encode()
    return sha256(b"\x02" + salt + u32(len(path)) + path + value.encode())


def content(commitments):
    parts = [b"\x04", u32(len(commitments))]
    for path, digest in sorted((path.encode(), digest) for path, digest in commitments.items()):
        parts += [u32(len(path)), path, digest]
    return sha256(b"".join(parts))


EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|\+00:00)", re.ASCII)


def micros(text):
    """Microseconds since 1970-01-01 UTC."""
    if text in ("infinity", "-infinity"):
        return 2**63 - 1 if text == "infinity" else -(2**63)
    match = INSTANT.fullmatch(text)
    if not match:
        raise ValueError(f"not an instant: {text!r}")
    seconds = datetime.datetime.fromisoformat(match[1] + "+00:00") - EPOCH
    return seconds // datetime.timedelta(microseconds=1) + int((match[2] or "0").ljust(6, "0"))


def time_of(kind, text):
    if kind == "transaction":
        return int(text.replace("-", "")[:16], 16) + 946_684_800_000_000
    if kind == "action":
        return int(text.replace("-", "")[:12], 16) * 1000
    return micros(text)


def table_tag(schema, table):
    return sha256(schema.encode() + b"\x00" + table.encode())[:8]


def entry_of(kind, number, fields, digest):
    """The 60 bytes of a record's entry."""
    letter, id_field, time_field = KINDS[kind]
    if id_field and fields[id_field] != str(number):
        raise ValueError(f"{id_field} is not the id")
    tag = bytes(8)
    if kind in ("change", "enrolment"):
        tag = table_tag(fields["table_schema"], fields["table_name"])
    return b"TL\x01" + letter + i64(number) + i64(time_of(kind, fields[time_field])) + tag + digest


def sealed_entry(kind, number, fields, secret):
    salted = {path: commitment(salt_of(secret, path), path, value) for path, value in fields.items()}
    return entry_of(kind, number, fields, content(salted))


# The tree.

def leaf_hash(entry):
    return sha256(b"\x00" + entry)


def node_hash(left, right):
    return sha256(b"\x01" + left + right)


class Frontier:
    """The roots of the complete subtrees, the largest first."""

    def __init__(self):
        self.size, self.nodes = 0, []

    def push(self, leaf):
        size = self.size
        while size & 1:
            leaf = node_hash(self.nodes.pop(), leaf)
            size >>= 1
        self.nodes.append(leaf)
        self.size += 1

    def root(self):
        if not self.nodes:
            return sha256(b"")
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = node_hash(node, root)
        return root


# Signed notes with Ed25519 (RFC 8032).

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        raise ValueError("not a point")
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        raise ValueError("not a point")
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def add(a, b):
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    c = 2 * a[3] * b[3] * D % P
    d = 2 * a[2] * b[2] % P
    g, h, i, j = f - e, d - c, d + c, f + e
    return (g * h % P, i * j % P, h * i % P, g * j % P)


def multiply(point, factor):
    total = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = add(total, point)
        point = add(point, point)
        factor >>= 1
    return total


def equal(a, b):
    return (a[0] * b[2] - b[0] * a[2]) % P == 0 and (a[1] * b[2] - b[1] * a[2]) % P == 0


BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def ed25519_verify(key, message, signature):
    try:
        point, commit = decompress(key), decompress(signature[:32])
    except ValueError:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    challenge = int.from_bytes(digest, "little") % ORDER
    return equal(multiply(BASE, scalar), add(commit, multiply(point, challenge)))


def read_keys(path):
    keys = {}
    with open(path, encoding="utf-8") as file:
        for line in filter(None, map(str.strip, file)):
            name, number, encoded = line.split("+", 2)
            key = base64.b64decode(encoded, validate=True)
            key_id = sha256(name.encode() + b"\n" + key)[:4]
            if key[:1] != b"\x01" or len(key) != 33 or key_id.hex() != number:
                raise ValueError(f"{path}: not a public key")
            keys[name, key_id] = key[1:]
    return keys


def open_checkpoint(note, keys):
    """The origin, size and root of a signed checkpoint."""
    text, separator, signatures = note.rpartition(b"\n\n")
    if not separator or not signatures.endswith(b"\n"):
        raise ValueError("not a signed note")
    text += b"\n"
    signers = set()
    for line in signatures.decode().splitlines():
        dash, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded, validate=True)
        key = keys.get((name, signature[:4]))
        if dash != "—":
            raise ValueError("not a signature line")
        if key is not None:
            if not ed25519_verify(key, text, signature[4:]):
                raise ValueError(f"the signature of {name} is not valid")
            signers.add(name)
    origin, size, root = text.decode().split("\n")[:3]
    if origin not in signers:
        raise ValueError("not signed by a known key of this origin")
    return origin, int(size), base64.b64decode(root, validate=True)


def read_checkpoints(directory, keys):
    folder = os.path.join(directory, "checkpoints")
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    latest = os.path.join(directory, "checkpoint")
    found, origins = {}, set()
    for path in paths + [latest] * os.path.exists(latest):
        with open(path, "rb") as file:
            note = file.read(65537)
        try:
            origin, size, root = open_checkpoint(note, keys)
        except ValueError as error:
            raise NotVerified("signature_bad", f"{path}: {error}") from None
        origins.add(origin)
        if found.setdefault(size, root) != root or len(origins) > 1:
            raise NotVerified("inconsistent_checkpoints", f"{path}: another checkpoint contradicts it")
        if path != latest and os.path.basename(path) != f"{size:020}":
            raise NotVerified("inconsistent_checkpoints", f"{path}: it is of size {size}")
    return found


# The export.

def unique(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("repeated member")
    return members


def from_hex(text, length):
    if not re.fullmatch(r"[0-9a-f]*", text) or len(text) != 2 * length:
        raise ValueError("not lower-case hexadecimal digits")
    return bytes.fromhex(text)


def parse_line(line):
    record = json.loads(line, object_pairs_hook=unique)
    members = set(record) - {"leaf", "kind", "id", "entry"}
    if members not in (set(), {"fields", "secret"}, {"fields", "erased", "salts"}):
        raise ValueError("unexpected members")
    entry = from_hex(record["entry"], 60)
    if entry[:4] != b"TL\x01" + KINDS[record["kind"]][0] or entry[4:12] != i64(record["id"]):
        raise ValueError("the entry has another kind or id")
    record["entry"] = entry
    return record


def check_content(record):
    if "fields" not in record:
        return
    fields = record["fields"]
    if "secret" in record:
        entry = sealed_entry(record["kind"], record["id"], fields, from_hex(record["secret"], 16))
    else:
        commitments = {path: from_hex(text, 32) for path, text in record["erased"].items()}
        for path, text in record["salts"].items():
            if path in commitments:
                raise ValueError(f"{path} has a salt and a commitment")
            commitments[path] = commitment(from_hex(text, 16), path, fields[path])
        if not fields.keys() <= commitments.keys():
            raise ValueError("a field has neither salt nor commitment")
        entry = entry_of(record["kind"], record["id"], fields, content(commitments))
    if entry != record["entry"]:
        raise ValueError("the fields do not have the digest of the entry")


IDENTIFIER = r'("(?:[^"]|"")+"|[^".]+)'


def split_name(name):
    match = re.fullmatch(IDENTIFIER + r"\." + IDENTIFIER, name, re.DOTALL)
    if not match:
        raise ValueError(f"not a table: {name!r}")
    return [part[1:-1].replace('""', '"') if part[0] == '"' else part for part in match.groups()]


class Removals:
    """What the sealed removals of an export explain."""

    def __init__(self):
        self.cutoffs, self.erased = {}, {}

    def read(self, record):
        fields = record.get("fields", {})
        scope = json.loads(fields.get("scope", "{}"))
        if fields.get("kind") == "retention":
            cutoffs = {table_tag(*split_name(name)): at for name, at in scope.get("cutoffs", {}).items()}
            for kind in ("transaction", "action"):
                if scope.get(kind + "s") and "before" in scope:
                    cutoffs[kind] = scope["before"]
            for key, at in cutoffs.items():
                kept = [known for known in self.cutoffs.get(key, []) if known[1] > micros(at)]
                self.cutoffs[key] = kept + [(record["leaf"], micros(at))]
        elif fields.get("kind") == "erasure":
            for leaf, paths in scope.get("leaves", {}).items():
                erasure = (record["leaf"], paths, scope.get("pseudonym"))
                self.erased.setdefault(int(leaf), []).append(erasure)

    def explain_removal(self, record):
        entry = record["entry"]
        key = entry[20:28] if record["kind"] == "change" else record["kind"]
        time = int.from_bytes(entry[12:20], "big", signed=True)
        return any(leaf > record["leaf"] and at > time for leaf, at in self.cutoffs.get(key, []))

    def explain_erasure(self, record, path):
        value = record["fields"].get(path)
        return any(
            leaf > record["leaf"] and path in paths
            and (value is None or value in ERASED_VALUES
                 or pseudonym is not None and ":" in value and value.split(":", 1)[1] == pseudonym)
            for leaf, paths, pseudonym in self.erased.get(record["leaf"], [])
        )


MALFORMED = (ValueError, KeyError, TypeError, AttributeError)


def find_unexplained(record, removals):
    leaf, entry = record["leaf"], record["entry"]
    if "fields" not in record and not removals.explain_removal(record):
        return NotVerified("removal_unexplained", "no later removal covers the record", leaf, entry)
    for path in record.get("erased", {}):
        if not removals.explain_erasure(record, path):
            return NotVerified("erasure_unexplained", f"no later removal covers {path}", leaf, entry)
    return None


def lines_of(path):
    with open(path, "rb") as file:
        yield from file


def verify(keys, directory, export, size=None):
    checkpoints = read_checkpoints(directory, keys)
    sizes = sorted(known for known in checkpoints if size is None or known <= size)
    if not sizes:
        raise OSError("no checkpoints")
    check = ExportCheck(checkpoints, sizes[-1], read_removals(export))
    for line in lines_of(export):
        if size is not None and check.frontier.size == check.size:
            break  # What is after the requested size is not verified.
        try:
            check.check_line(line)
        except NotVerified as finding:
            raise check.choose(finding) from None
    check.finish()
    frontier = check.frontier
    return {"verified": True, "size": frontier.size, "root": frontier.root().hex(),
            "checkpoints": bisect.bisect_right(sizes, frontier.size)}


def inclusion_root(leaf, digest, size, proof):
    """The root that a proof leads to (RFC 9162, 2.1.3.2)."""
    node, last = leaf, size - 1
    for sibling in proof:
        if last == 0:
            raise ValueError("the proof is too long")
        if node & 1 or node == last:
            digest = node_hash(sibling, digest)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return digest


def verify_proof(keys, path):
    """Verifies a proof of one record (C2SP tlog-proof)."""
    with open(path, "rb") as file:
        text = file.read()
    try:
        proof, separator, note = text.partition(b"\n\n")
        header, extra, index, *hashes = proof.split(b"\n")
        if header != b"c2sp.org/tlog-proof@v1" or not separator or extra[:6] != b"extra ":
            raise ValueError("not a proof")
        record = parse_line(base64.b64decode(extra[6:], validate=True))
        if index != b"index %d" % record["leaf"]:
            raise ValueError("index is not the leaf of the record")
        hashes = [base64.b64decode(line, validate=True) for line in hashes]
        if any(len(digest) != 32 for digest in hashes):
            raise ValueError("a line is not a hash")
    except MALFORMED as error:
        raise NotVerified("proof_bad", str(error)) from None
    leaf, entry = record["leaf"], record["entry"]
    try:
        origin, size, root = open_checkpoint(note, keys)
    except MALFORMED as error:
        raise NotVerified("signature_bad", str(error), leaf, entry) from None
    try:
        check_content(record)
    except MALFORMED as error:
        raise NotVerified("content_differs", str(error), leaf, entry) from None
    try:
        if leaf >= size or inclusion_root(leaf, leaf_hash(entry), size, hashes) != root:
            raise ValueError("the proof does not lead to the root")
    except ValueError as error:
        raise NotVerified("proof_bad", str(error), leaf, entry) from None
    return {"verified": True, "origin": origin, "size": size, "root": root.hex(), "leaf": leaf,
            "kind": record["kind"], "id": record["id"]}


def read_removals(export):
    removals = Removals()
    for line in lines_of(export):
        try:
            if b"removal" in line and parse_line(line)["kind"] == "removal":
                removals.read(parse_line(line))
        except MALFORMED:
            pass  # The next pass names the line.
    return removals


class ExportCheck:
    """The state of a verification between two lines."""

    def __init__(self, checkpoints, size, removals):
        self.checkpoints, self.size, self.removals = checkpoints, size, removals
        self.frontier, self.previous = Frontier(), None
        self.matched, self.differing, self.unexplained = 0, None, None

    def check_line(self, line):
        leaf = self.frontier.size
        try:
            record = parse_line(line)
        except MALFORMED as error:
            raise NotVerified("content_differs", str(error), leaf) from None
        entry = record["entry"]
        if record["leaf"] != leaf:
            reason = "missing" if record["leaf"] > leaf else "order_broken"
            raise NotVerified(reason, f"the line has leaf {record['leaf']}", leaf)
        if (record["kind"] == "genesis") != (leaf == 0):
            raise NotVerified("order_broken", "a log begins with its only genesis record", leaf, entry)
        if record["kind"] not in ("genesis", "clock"):
            place = (record["id"], record["kind"] != "transaction")
            if self.previous is not None and place <= self.previous:
                raise NotVerified("order_broken", "the id is not greater than the one before", leaf, entry)
            self.previous = place
        if leaf >= self.size:
            raise NotVerified("unsealed", "no checkpoint covers the record", leaf, entry)
        try:
            check_content(record)
        except MALFORMED as error:
            raise NotVerified("content_differs", str(error), leaf, entry) from None
        self.compare_root(entry)
        self.unexplained = self.unexplained or find_unexplained(record, self.removals)

    def compare_root(self, entry):
        self.frontier.push(leaf_hash(entry))
        size = self.frontier.size
        if size not in self.checkpoints:
            return
        if self.frontier.root() != self.checkpoints[size]:
            self.differing = self.differing or size
        elif self.differing:
            detail = f"the signed checkpoints of sizes {self.differing} and {size} are not of one log"
            raise NotVerified("inconsistent_checkpoints", detail)
        else:
            self.matched = size

    def choose(self, finding):
        """An unexplained record comes first, unless the later finding may be its cause: a damaged removal."""
        other = finding.reason == "content_differs" and finding.entry and finding.entry[3:4] != b"R"
        return self.unexplained if self.unexplained and other else finding

    def finish(self):
        if self.frontier.size < self.size:
            raise NotVerified("missing", "the export ends before the checkpoint", self.frontier.size)
        if self.unexplained:
            raise self.unexplained
        if self.differing:
            detail = f"leaves {self.matched} to {self.differing - 1}"
            raise NotVerified("root_differs", detail, self.matched)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vkey", required=True)
    parser.add_argument("--checkpoints")
    parser.add_argument("--export")
    parser.add_argument("--proof")
    parser.add_argument("--size", type=int)
    arguments = parser.parse_args()
    if not arguments.proof and not (arguments.checkpoints and arguments.export):
        parser.error("pass --proof, or --checkpoints and --export")
    if arguments.proof and (arguments.checkpoints or arguments.export or arguments.size is not None):
        parser.error("--proof is verified alone")
    try:
        keys = read_keys(arguments.vkey)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 3 if isinstance(error, OSError) else 2
    try:
        if arguments.proof:
            answer = verify_proof(keys, arguments.proof)
        else:
            answer = verify(keys, arguments.checkpoints, arguments.export, arguments.size)
    except NotVerified as finding:
        answer = {"verified": False, "reason": finding.reason, "detail": finding.detail}
        if finding.leaf is not None:
            answer["leaf"] = finding.leaf
        if finding.entry is not None:
            answer["id"] = int.from_bytes(finding.entry[4:12], "big", signed=True)
    except OSError as error:
        print(error, file=sys.stderr)
        return 3
    print(json.dumps(answer))
    return 0 if answer["verified"] else 1


if __name__ == "__main__":
    sys.exit(main())
