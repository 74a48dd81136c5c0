"""Reads an archive with pyarrow and DuckDB, compares it with the trail, and runs the SQL of the guide."""

import glob
import json
import os
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

directory, expected_path, sql_path = sys.argv[1:]
os.chdir(directory)
expected = json.load(open(expected_path))
key = {"changes": "id", "transactions": "id", "actions": "id"}


def plain(value):
    """A value as the trail has it: instants in microseconds."""
    if hasattr(value, "timestamp"):
        return round(value.timestamp() * 1_000_000)
    return value


for kind, rows in expected.items():
    files = sorted(glob.glob(f"archive/{kind}/v1/day=*/*.parquet"))
    assert files, kind
    tables = [pq.ParquetFile(file).read() for file in files]
    for table in tables:
        assert "day" not in table.schema.names
        assert table.schema.field("seal_leaf").type == pa.int64()
        assert table.schema.field("seal_secret").type == pa.string()
        for name in ("captured_at", "occurred_at", "recorded_at"):
            if name in table.schema.names:
                assert table.schema.field(name).type == pa.timestamp("us", "UTC"), name
    read = [row for table in tables for row in table.to_pylist()]
    read.sort(key=lambda row: row["id"])
    assert len(read) == len(rows), (kind, len(read), len(rows))
    for found, wanted in zip(read, rows):
        for name, value in wanted.items():
            assert plain(found[name]) == value, (kind, name, found[name], value)
        assert len(found["seal_secret"]) == 32

db = duckdb.connect()
db.execute("SET TimeZone = 'UTC'")
for kind, rows in expected.items():
    counted = db.execute(
        f"SELECT count(*), count(DISTINCT day) FROM read_parquet('archive/{kind}/v1/*/*.parquet', hive_partitioning = true)"
    ).fetchone()
    assert counted[0] == len(rows), (kind, counted)
assert db.execute("SELECT count(*) FROM read_parquet('archive/records/v1/*/*.parquet')").fetchone()[0] > 0

timeline, history, as_of = json.load(open(sql_path))
rows = db.execute(timeline).fetchall()
columns = [column[0] for column in db.description]
assert rows and "actor" in columns and "correlation_id" in columns, columns
ids = [row[columns.index("id")] for row in rows]
assert ids == sorted(ids, reverse=True)
rows = db.execute(history).fetchall()
columns = [column[0] for column in db.description]
assert [row[columns.index("op")] for row in rows] == ["insert", "update"], rows
rows = db.execute(as_of).fetchall()
assert len(rows) == 1 and json.loads(rows[0][0])["email"] == "eve@example.com", rows
print("ok")
