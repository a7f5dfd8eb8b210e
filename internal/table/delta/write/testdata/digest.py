"""Reads Delta tables with delta-rs and digests their rows as package scan does.

Usage: digest.py DIRECTORY[@VERSION]...   One JSON line per argument.
An own implementation of the encoding, so that it checks the Go one.
"""
import datetime
import decimal
import hashlib
import json
import math
import struct
import sys

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder

EPOCH = datetime.datetime(1970, 1, 1)


def uvarint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def micros(t):
    if t.tzinfo is not None:
        t = t.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    return (t - EPOCH) // datetime.timedelta(microseconds=1)


def encode(v, kind):
    if v is None:
        return b"\0"
    if pa.types.is_boolean(kind):
        return b"b" + struct.pack(">q", v)
    if pa.types.is_integer(kind):
        return b"i" + struct.pack(">q", v)
    if pa.types.is_floating(kind):
        return b"f" + (bytes.fromhex("7ff8000000000000") if math.isnan(v) else struct.pack(">d", v))
    if pa.types.is_date(kind):
        return b"D" + struct.pack(">q", (v - EPOCH.date()).days)
    if pa.types.is_timestamp(kind):
        return (b"t" if kind.tz else b"n") + struct.pack(">q", micros(v))
    if pa.types.is_decimal(kind):
        digits = str(int(v.scaleb(kind.scale, decimal.Context(prec=80)))).encode()
        return b"d" + struct.pack(">q", kind.scale) + uvarint(len(digits)) + digits
    v = v.encode() if isinstance(v, str) else bytes(v)
    return b"s" + uvarint(len(v)) + v


def digest(where):
    path, _, version = where.partition("@")
    table = DeltaTable(path, version=int(version) if version else None)
    # Not to_pyarrow_table: it reads tables with column mapping as nulls.
    rows = pa.table(QueryBuilder().register("t", table).execute("select * from t"))
    names = sorted(rows.schema.names, key=str.encode)
    total = 0
    for row in rows.to_pylist():
        enc = b""
        for name in names:
            enc += uvarint(len(name.encode())) + name.encode() + encode(row[name], rows.schema.field(name).type)
        total += int.from_bytes(hashlib.sha256(enc).digest(), "big")
    return {"version": table.version(), "rows": rows.num_rows, "sum": f"{total % (1 << 256):064x}"}


for arg in sys.argv[1:]:
    try:
        print(json.dumps(digest(arg)), flush=True)
    except Exception as e:  # one table's refusal must not hide the others
        print(json.dumps({"version": -1, "error": f"{type(e).__name__}: {e}"}), flush=True)
