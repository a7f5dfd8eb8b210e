"""delta-rs, which shares no code with ours, at the far end of a test: it makes a
table and vacuums it, or reads versions of one and says what is in them."""
import json, os, sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

q = json.load(sys.stdin)
answer = {}
if q["do"] == "make":
    for rows in q["rows"]:  # each overwrites the one before
        write_deltalake(q["uri"], pa.table({"id": pa.array(rows, pa.int64())}), mode="overwrite", storage_options=q["options"])
    gone = DeltaTable(q["uri"], storage_options=q["options"]).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False)
    answer["vacuumed"] = len(gone)
else:
    head = DeltaTable(q["uri"], storage_options=q["options"])
    answer["head"] = head.version()
    for v in q["versions"]:
        ids = DeltaTable(q["uri"], version=v, storage_options=q["options"]).to_pyarrow_table(columns=["id"]).column("id").to_pylist()
        answer[str(v)] = {"rows": len(ids), "sum": str(sum(ids))}
json.dump(answer, sys.stdout)
sys.stdout.flush()
os._exit(0)  # the library's threads do not always survive the interpreter's own end
