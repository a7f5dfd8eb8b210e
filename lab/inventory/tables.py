import hashlib, json, os, sys
from deltalake import DeltaTable

def digest(lines):
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

q = json.load(sys.stdin)
answer = {}
for uri in q["tables"]:
    try:
        t = DeltaTable(uri, storage_options=q["options"])
        head = t.version()
        rows = [json.dumps(r, sort_keys=True, default=str) for r in t.to_pyarrow_table().to_pylist()]
        answer[uri] = "at version %d, %d rows, SHA-256 %s" % (head, len(rows), digest(rows))
    except Exception as e:  # a version whose data did not come: this is what a reader gets
        answer[uri] = "unreadable: " + type(e).__name__
        continue
    for v in range(head):
        try:
            t.load_as_version(v)
            answer["%s@%d" % (uri, v)] = digest(t.file_uris())
        except Exception as e:
            answer["%s@%d" % (uri, v)] = "unreadable: " + type(e).__name__
json.dump(answer, sys.stdout)
sys.stdout.flush()
os._exit(0)  # the library's threads do not always survive the interpreter's own end
