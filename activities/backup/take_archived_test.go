package backup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/lake"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/memory"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/port"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
)

// oneBucket is a region with one bucket in memory.
type oneBucket struct {
	systems
	bucket objectstore.Bucket
}

func (o oneBucket) Bucket(context.Context, *estate.Estate, string, string) (objectstore.Bucket, error) {
	return o.bucket, nil
}

func (oneBucket) Format(string) (table.Format, error) { return port.Format{}, nil }

// TestBackupOfWhatIsArchived: the plan of a backup says what has to come out of an archive
// first, and not the copy that fails for it hours later.
func TestBackupOfWhatIsArchived(t *testing.T) {
	for _, tc := range []struct {
		class    string
		restored bool
	}{{"GLACIER", false}, {"GLACIER", true}, {"INTELLIGENT_TIERING", false}, {"INTELLIGENT_TIERING", true}} {
		m := memory.New()
		m.Create("lake", memory.Versioned)
		s := oneBucket{bucket: objectstore.Bind(m.Owner(), "lake")}
		b := location.Bucket{Of: s.bucket}
		w, err := write.Create(t.Context(), deltatest.Writing{Bucket: b}, table.Root{Bucket: "lake", Prefix: "t"}, []write.Column{{Name: "id", Type: write.Int64}}, write.Options{})
		if err == nil {
			_, err = w.Append(t.Context(), []write.Row{{int64(1)}})
		}
		if err != nil {
			t.Fatal(err)
		}
		for o, err := range b.List(t.Context(), "t/part-") {
			if err == nil {
				err = m.Archive("lake", o.Key, tc.class, tc.restored)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		e := &estate.Estate{Estate: "e", Backup: &estate.Backup{}, Groups: []estate.Group{{Group: "g", Tables: []estate.Table{{Table: "t", Bucket: "lake", Path: "t"}}}}}
		r := room{systems: s, lake: lake.New(s)}
		_, needs, err := r.needs(t.Context(), action.Call[action.None]{Request: action.Request{Estate: e, Run: action.Run{Source: "here"}}}, "t", 1)
		switch refused := errors.Is(err, action.ErrRefused); {
		case refused == tc.restored, !refused && (err != nil || len(needs) != 3):
			t.Errorf("%+v: %d objects, %v", tc, len(needs), err)
		case refused && !strings.Contains(err.Error(), "lies in an archive: restore it from there first"):
			t.Errorf("%+v: it says %v", tc, err)
		}
	}
}

// TestRestoreOfWhatIsArchived: a copy in the backup place that a lifecycle rule moved to an
// archive cannot be restored before it comes out of there, and that is what is said.
func TestRestoreOfWhatIsArchived(t *testing.T) {
	m := memory.New()
	m.Create("vault", memory.Locked)
	d := depot.Depot{Adder: m.Owner(), Reader: m.Owner(), Bucket: "vault", Prefix: "p/"}
	until := time.Now().Add(time.Hour)
	a, err := d.AddBytes(t.Context(), "g", 1, []byte("content"), until)
	if err != nil {
		t.Fatal(err)
	}
	for _, restored := range []bool{false, true} {
		if err := m.Archive("vault", d.Prefix+a.Key, "DEEP_ARCHIVE", restored); err != nil {
			t.Fatal(err)
		}
		wrong, err := d.Held(t.Context(), backup.Stored(a.Stored), until)
		if err != nil || (wrong == "") != restored || !restored && !strings.Contains(wrong, "lies in an archive; restore it from there first") {
			t.Errorf("restored %v: %q, %v", restored, wrong, err)
		}
	}
}
