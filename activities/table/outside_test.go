package table

import (
	"errors"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A clone's log names the files of its source by absolute paths. Where those lead
// into the source region, the version cannot be promoted as it is; where they lead
// to another table beside it, that is a decision.
func TestTrap27AbsolutePathsAreDecidedOn(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	for range 4 {
		l.Tick(10e9)
		for _, name := range []string{"orders", "payments", "clicks"} {
			if l.Writers[name] == nil {
				l.Create(name, 0)
			} else {
				l.Append(name, 5)
			}
		}
	}
	l.Replicate("payments", nil)
	l.Replicate("clicks", nil)
	// The log of orders from its version 2 on, with paths that lead elsewhere.
	far := func(to string, from int) {
		t.Helper()
		l.Empty(world.West, "orders/orders/")
		l.Replicate("orders", nil)
		bucket := "lake-west"
		for v := from; v < 4; v++ {
			body, _, err := l.RootBucket(world.East).Get(t.Context(), world.Entry("orders/orders", v))
			l.Must(err)
			changed := strings.ReplaceAll(string(body), `"path":"`, `"path":"`+to)
			key := world.Entry("orders/orders", v)
			_, err = l.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(changed)})
			l.Must(err)
		}
	}
	d := l.Recorded("group.recovery-point")
	l.Lost()

	far("s3://lake-east/clicks/clicks/", 1) // into the source region, from the first data on
	l.Empty(world.West, world.Entry("orders/orders", 0))
	_, err := d.Plan(t.Context(), l.Request(d, "orders"), nil)
	if err == nil || !strings.Contains(err.Error(), "orders") {
		t.Fatalf("a table without a beginning: %v", err)
	}
	l.Carry(world.Entry("orders/orders", 0))
	ch, err := d.Plan(t.Context(), l.Request(d, "orders"), nil)
	l.Must(err)
	if got := acceptedBy(ch, "absolute-paths orders"); !strings.Contains(got, "from 1 on") || !strings.Contains(got, "lake-east/clicks/clicks/") {
		t.Errorf("versions given up for absolute paths: %q", got)
	}

	// Every version needs the source region.
	first := world.Entry("orders/orders", 0)
	body, _, err := l.RootBucket(world.West).Get(t.Context(), first)
	l.Must(err)
	clone := string(body) + `{"add":{"path":"s3a://lake-east/clicks/clicks/x.parquet","size":1,"partitionValues":{},"modificationTime":1,"dataChange":true,"stats":"{\"numRecords\":1}"}}` + "\n"
	_, err = l.RootBucket(world.West).Put(t.Context(), first, []byte(clone))
	l.Must(err)
	_, err = d.Plan(t.Context(), l.Request(d, "orders"), nil)
	if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "which is table clicks in region "+world.East) {
		t.Errorf("a clone of a table of the source region = %v; want it refused and named", err)
	}
	promote := l.Recorded("table.promote")
	site, err := lake.New(l.Systems).Table(t.Context(), l.Estate, world.West, "orders")
	l.Must(err)
	log, err := site.Open(t.Context())
	l.Must(err)
	snap, err := log.Snapshot(t.Context(), 3)
	l.Must(err)
	if err := site.RefuseElsewhere(l.Estate, snap); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "table clicks in region "+world.East) {
		t.Errorf("refuseElsewhere = %v", err)
	}

	// Beside it in its own bucket: another group's table is a decision.
	far("s3://lake-west/clicks/clicks/", 1)
	for _, key := range l.Objects("orders") {
		if !strings.Contains(key, "_delta_log") { // what the paths now say
			body, _, err := l.RootBucket(world.East).Get(t.Context(), key)
			l.Must(err)
			_, err = l.RootBucket(world.West).Put(t.Context(), strings.Replace(key, "orders/orders/", "clicks/clicks/", 1), body)
			l.Must(err)
		}
	}
	l.Do("group.recovery-point", "orders")
	ch, err = promote.Plan(t.Context(), l.Request(promote, "orders"), nil)
	l.Must(err)
	if p, _, _ := l.Point("orders").Table("orders"); p.Version < 1 {
		t.Errorf("orders comes back to %d, and the files of later versions are there", p.Version)
	}
	if got := acceptedBy(ch, "outside orders"); !strings.Contains(got, "s3://lake-west/clicks/clicks, which is table clicks in region "+world.West) {
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
