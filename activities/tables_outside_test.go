package activities

import (
	"errors"
	"strings"
	"testing"

	"breakwater/internal/action"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A clone's log names the files of its source by absolute paths. Where those lead
// into the source region, the version cannot be promoted as it is; where they lead
// to another table beside it, that is a decision.
func TestTrap27AbsolutePathsAreDecidedOn(t *testing.T) {
	t.Parallel()
	l := newLake(t)
	for range 4 {
		l.tick(10e9)
		for _, name := range []string{"orders", "payments", "clicks"} {
			if l.writers[name] == nil {
				l.create(name, 0)
			} else {
				l.append(name, 5)
			}
		}
	}
	l.replicate("payments", nil)
	l.replicate("clicks", nil)
	// The log of orders from its version 2 on, with paths that lead elsewhere.
	far := func(to string, from int) {
		t.Helper()
		l.empty(west, "orders/orders/")
		l.replicate("orders", nil)
		bucket := "lake-west"
		for v := from; v < 4; v++ {
			body, _, err := l.rootBucket(east).Get(t.Context(), entry("orders/orders", v))
			l.must(err)
			changed := strings.ReplaceAll(string(body), `"path":"`, `"path":"`+to)
			key := entry("orders/orders", v)
			_, err = l.s3[west].PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(changed)})
			l.must(err)
		}
	}
	d := l.recorded("group.recovery-point")
	l.lost()

	far("s3://lake-east/clicks/clicks/", 1) // into the source region, from the first data on
	l.empty(west, entry("orders/orders", 0))
	_, err := d.Plan(t.Context(), l.request(d, "orders"), nil)
	if err == nil || !strings.Contains(err.Error(), "orders") {
		t.Fatalf("a table without a beginning: %v", err)
	}
	l.carry(entry("orders/orders", 0))
	ch, err := d.Plan(t.Context(), l.request(d, "orders"), nil)
	l.must(err)
	if got := acceptedBy(ch, "absolute-paths orders"); !strings.Contains(got, "from 1 on") || !strings.Contains(got, "lake-east/clicks/clicks/") {
		t.Errorf("versions given up for absolute paths: %q", got)
	}

	// Every version needs the source region.
	first := entry("orders/orders", 0)
	body, _, err := l.rootBucket(west).Get(t.Context(), first)
	l.must(err)
	clone := string(body) + `{"add":{"path":"s3a://lake-east/clicks/clicks/x.parquet","size":1,"partitionValues":{},"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":1}"}}` + "\n"
	_, err = l.rootBucket(west).Put(t.Context(), first, []byte(clone))
	l.must(err)
	_, err = d.Plan(t.Context(), l.request(d, "orders"), nil)
	if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "which is table clicks in region "+east) {
		t.Errorf("a clone of a table of the source region = %v; want it refused and named", err)
	}
	promote := l.recorded("table.promote")
	log, _ := l.log(west, "orders")
	snap, err := log.Snapshot(t.Context(), 3)
	l.must(err)
	site, err := l.systems.site(t.Context(), l.estate, west, "orders")
	l.must(err)
	if err := site.refuseElsewhere(l.estate, snap); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "table clicks in region "+east) {
		t.Errorf("refuseElsewhere = %v", err)
	}

	// Beside it in its own bucket: another group's table is a decision.
	far("s3://lake-west/clicks/clicks/", 1)
	for _, key := range l.objects("orders") {
		if !strings.Contains(key, "_delta_log") { // what the paths now say
			body, _, err := l.rootBucket(east).Get(t.Context(), key)
			l.must(err)
			_, err = l.rootBucket(west).Put(t.Context(), strings.Replace(key, "orders/orders/", "clicks/clicks/", 1), body)
			l.must(err)
		}
	}
	l.do("group.recovery-point", "orders")
	ch, err = promote.Plan(t.Context(), l.request(promote, "orders"), nil)
	l.must(err)
	if p, _, _ := l.point("orders").Table("orders"); p.Version < 1 {
		t.Errorf("orders comes back to %d, and the files of later versions are there", p.Version)
	}
	if got := acceptedBy(ch, "outside orders"); !strings.Contains(got, "s3://lake-west/clicks/clicks, which is table clicks in region "+west) {
		t.Errorf("accepted: %q", got)
	}
}

func acceptedBy(ch action.Change, id string) string {
	for _, a := range ch.Accepts {
		if a.ID == id {
			return a.Sentence
		}
	}
	return ""
}
