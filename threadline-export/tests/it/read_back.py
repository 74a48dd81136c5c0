"""Reads an export with independent readers and compares every value with the trail.

Usage: read_back.py FORMAT EXPORT TRAIL. TRAIL is JSON: a list of rows, each an object of texts and
nulls. Documents are compared with their numbers as they are written.
"""

import csv
import datetime
import gzip
import json
import sys

DOCUMENTS = {
    "table_pk", "changed_fields", "changed_from", "data_after", "actor_ref", "on_behalf_of", "meta",
}


def document(text):
    """Parses JSON; numbers stay text."""
    return json.loads(text, parse_float=lambda n: ("number", n), parse_int=lambda n: ("number", n))


def from_csv(path, guarded):
    csv.field_size_limit(sys.maxsize)
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, strict=True):
            if guarded:
                row = {name: text[1:] if text[:1] == "'" else text for name, text in row.items()}
            yield row


def from_object(row):
    """Converts an object of an export into a row of the trail."""
    return {
        name: str(value[1]) if isinstance(value, tuple) and name not in DOCUMENTS else value
        for name, value in row.items()
    }


def from_parquet(path):
    import pyarrow
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    schema = file.schema_arrow
    instant = pyarrow.timestamp("us", tz="UTC")
    assert schema.field("id").type == pyarrow.int64()
    assert schema.field("captured_at").type == instant, schema.field("captured_at").type
    assert schema.field("changed_fields").type.value_type == pyarrow.string()
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    summary = json.loads(file.metadata.metadata[b"threadline.export"])
    assert summary["row_count"] == file.metadata.num_rows
    for row in file.read().to_pylist():
        for name, value in row.items():
            if isinstance(value, datetime.datetime):
                row[name] = value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            elif isinstance(value, int):
                row[name] = str(value)
            elif name in DOCUMENTS and isinstance(value, str):
                row[name] = document(value)
        yield row


def from_duckdb(kind, path):
    """Reads a CSV with DuckDB, which distinguishes NULL from the empty string."""
    import duckdb

    session = duckdb.connect()
    if kind == "duckdb-csv":
        session.execute(
            "CREATE VIEW export AS SELECT * FROM read_csv($path, header = true, all_varchar = true,"
            " delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false,"
            " max_line_size = 20000000, parallel = false)".replace("$path", f"'{path}'")
        )
    else:
        session.execute(f"CREATE VIEW export AS SELECT * FROM read_parquet('{path}')")
    types = {name: kind for name, kind, *_ in session.execute("DESCRIBE export").fetchall()}
    names = list(types)
    if kind == "duckdb-parquet":
        assert types["id"] == "BIGINT", types
        assert types["captured_at"] == "TIMESTAMP WITH TIME ZONE", types
        assert types["changed_fields"] == "VARCHAR[]", types
    columns = ", ".join(
        f'epoch_us("{name}")' if types[name].startswith("TIMESTAMP") else f'"{name}"'
        for name in names
    )
    for values in session.execute(f"SELECT {columns} FROM export").fetchall():
        row = dict(zip(names, values))
        for name, value in row.items():
            if value is None:
                continue
            if types[name].startswith("TIMESTAMP"):
                at = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=value)
                row[name] = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            elif isinstance(value, int):
                row[name] = str(value)
            elif name in DOCUMENTS and isinstance(value, str):
                row[name] = document(value)
        yield row


def read(kind, path):
    if kind.startswith("duckdb"):
        return from_duckdb(kind, path)
    if kind in ("csv", "csv-unguarded"):
        return from_csv(path, kind == "csv")
    if kind == "parquet":
        return from_parquet(path)
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        if kind == "ndjson":
            rows = [document(line) for line in file.read().split("\n")[:-1]]
        else:
            whole = document(file.read())
            assert whole["manifest"]["row_count"] == ("number", str(len(whole["changes"])))
            rows = whole["changes"]
    return map(from_object, rows)


def expected(row, kind):
    """Converts a row of the trail into the form of the reader."""
    in_csv = kind.startswith("csv")
    return {
        name: ("" if in_csv else None)
        if text is None
        else document(text)
        if name in DOCUMENTS and not in_csv
        else text
        for name, text in row.items()
    }


def main():
    kind, export, trail = sys.argv[1:]
    with open(trail, encoding="utf-8") as file:
        rows = [expected(row, kind) for row in json.load(file)]
    found = list(read(kind, export))
    assert len(found) == len(rows), f"{len(found)} rows, not {len(rows)}"
    for there, here in zip(rows, found):
        assert list(there) == list(here), f"columns: {list(here)}"
        for name in there:
            if kind.startswith("csv") and name in ("actor_ref", "on_behalf_of", "changed_fields"):
                same = there[name] == here[name] or document(there[name]) == document(here[name])
            else:
                same = there[name] == here[name]
            assert same, f"{name}: {here[name]!r}, not {there[name]!r}"
    print(f"{len(found)} rows agree")


main()
