package access

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/lake"
	"breakwater/internal/recovery"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// Whoever can write to the standby's bucket can damage a table there, and write the
// witness's record anew so that it says what the damaged table holds. That must not pass:
// a record is believed for its signature.
func TestForgedRecordOfTheWitness(t *testing.T) {
	t.Parallel()
	l := world.PromotedLake(t)
	d := l.Recorded("access.golden-queries")
	l.Verified("access.golden-queries", l.Request(d, "orders"), verdict.Pass)
	b := l.RootBucket(world.West)
	cut := l.Point("orders").Cut.Tables
	version := cut[slices.IndexFunc(cut, func(t recovery.TablePoint) bool { return t.Name == "orders" })].Version

	// A data file has the rows of another table, which are as many and of the same columns,
	// and its log entry says the size of that.
	decl, _, _ := l.Estate.Table("orders")
	file, entry := l.DataOf("orders", int(version))[0], world.Entry(decl.Path, int(version))
	had, _, err := b.Get(t.Context(), file)
	l.Must(err)
	rows, _, err := b.Get(t.Context(), l.DataOf("payments", int(version))[0])
	l.Must(err)
	said, _, err := b.Get(t.Context(), entry)
	l.Must(err)
	says := bytes.Replace(said, fmt.Appendf(nil, `"size":%d`, len(had)), fmt.Appendf(nil, `"size":%d`, len(rows)), 1)
	if bytes.Equal(said, says) {
		t.Fatalf("the log does not say that %s has %d bytes: %s", file, len(had), said)
	}
	for key, body := range map[string][]byte{file: rows, entry: says} {
		_, err = b.Put(t.Context(), key, body)
		l.Must(err)
	}
	l.Verified("access.golden-queries", l.Request(d, "orders"), verdict.Fail)

	site, err := lake.New(l.Systems).Table(t.Context(), l.Estate, world.West, "orders")
	l.Must(err)
	log, err := site.Open(t.Context())
	l.Must(err)
	forged, err := lake.ReadVersion(t.Context(), site, log, version)
	l.Must(err)
	record := witness.Journal{Prefix: "_witness"}.RecordKey("orders", version)
	was, _, err := b.Get(t.Context(), record)
	l.Must(err)
	line, trailer, _ := bytes.Cut(was, []byte("\n"))
	var r map[string]any
	l.Must(json.Unmarshal(line, &r))
	r["hash"], r["rows"] = forged.Hash, forged.Rows
	text, err := json.Marshal(r)
	l.Must(err)
	for name, body := range map[string][]byte{
		"without a signature":   text,
		"with the old one":      fmt.Appendf(nil, "%s\n%s", text, trailer),
		"as another's document": nil, // below
	} {
		if body == nil {
			other, _, err := b.Get(t.Context(), witness.Journal{Prefix: "_witness"}.RecordKey("payments", version))
			l.Must(err)
			body = other
		}
		_, err = b.Put(t.Context(), record, body)
		l.Must(err)
		obs := l.Verified("access.golden-queries", l.Request(d, "orders"), verdict.Unknown)
		if told := prove.Told(obs); !strings.Contains(told, record) || !strings.Contains(told, "no signer of the estate") {
			t.Errorf("forged %s, it does not say what lies where:\n%s", name, told)
		}
	}
	// With its own record back the table is as damaged as before.
	_, err = b.Put(t.Context(), record, was)
	l.Must(err)
	l.Verified("access.golden-queries", l.Request(d, "orders"), verdict.Fail)
}
