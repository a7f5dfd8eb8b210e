package delta_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/tabletest"
)

// Trap 3: a log that arrived before its data is not the recovery point, however
// well it reads.
func TestTrap03LogBeforeData(t *testing.T) {
	s := deltatest.Loaded(t, "many_commits")
	l := open(t, s, "delta/many_commits")
	head, err := l.Snapshot(t.Context(), l.Head())
	if err != nil {
		t.Fatal(err)
	}
	before, err := l.Snapshot(t.Context(), l.Head()-1)
	if err != nil {
		t.Fatal(err)
	}
	var late []string // objects that the head alone needs
	had := map[string]bool{}
	for f := range before.Closure() {
		had[f.Key] = true
	}
	for f := range head.Closure() {
		if f.Why != table.LogEntry && !had[f.Key] {
			late = append(late, f.Key)
		}
	}
	if len(late) == 0 {
		t.Fatal("the newest commit brought no object")
	}
	for _, key := range late {
		some := s.Clone()
		some.Delete(key)
		got, err := open(t, some, "delta/many_commits").NewestComplete(t.Context(), time.Time{})
		if err != nil || got.Snapshot.Version.Number != l.Head()-1 || len(got.Above) != 1 || got.Above[0].Lacks[0].File.Key != key {
			t.Errorf("without %s: %+v, %v", key, got, err)
		}
	}
}

// Trap 24: a table whose commits a catalog ratifies is refused with what lies
// beside its log.
func TestTrap24StagedCommits(t *testing.T) {
	s := appends(t, "t", 2)
	put(t, s, jsonKey("t", 0), `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged","inCommitTimestamp"]}}`+"\n"+metadataLine)
	put(t, s, logKey("t", "_staged_commits/00000000000000000003.0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.json"), infoLine(1))
	_, err := open(t, s, "t").NewestComplete(t.Context(), time.Time{})
	var f *delta.FeatureError
	if !errors.As(err, &f) || f.Staged != 1 || !strings.Contains(err.Error(), "managed by a catalog (catalogManaged)") || !strings.Contains(err.Error(), "1 staged") {
		t.Errorf("%v", err)
	}
}

// Trap 24, for tables whose writers ask a commit coordinator: what is published is
// read, and what is not is no reason to take an older version for the newest.
func TestTrap24UnpublishedCommits(t *testing.T) {
	property := strings.Replace(metadataLine, `"configuration":{}`, `"configuration":{"delta.coordinatedCommits.commitCoordinator-preview":"dynamodb"}`, 1)
	feature := `{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["coordinatedCommits-preview","inCommitTimestamp"]}}`
	for name, first := range map[string]string{
		"dynamodb":                   protocolLine + "\n" + property,
		"coordinatedCommits-preview": feature + "\n" + metadataLine,
	} {
		s := appends(t, "t", 2)
		put(t, s, jsonKey("t", 0), infoLine(1000)+"\n"+first)
		put(t, s, logKey("t", "_commits/00000000000000000002.0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.json"), infoLine(1)) // published since
		snap, err := open(t, s, "t").Snapshot(t.Context(), 2)
		if err != nil || snap.Len() != 2 || !strings.Contains(snap.Coordinator(), name) {
			t.Errorf("%s, all published: %+v, %v", name, snap, err)
		}
		put(t, s, logKey("t", "_commits/00000000000000000003.0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.json"), infoLine(1))
		for what, read := range map[string]func(*delta.Log) error{
			"newest complete": func(l *delta.Log) error { _, err := l.NewestComplete(t.Context(), time.Time{}); return err },
			"version 1":       func(l *delta.Log) error { _, err := l.Snapshot(t.Context(), 1); return err },
		} {
			var f *delta.FeatureError
			err := read(open(t, s, "t"))
			if !errors.As(err, &f) || f.Staged != 1 || !f.Managed() || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "have it publish (backfill) them") {
				t.Errorf("%s, one not published, %s: %v", name, what, err)
			}
		}
	}
	for _, feature := range []string{"catalogManaged", "catalogManaged-preview", "catalogOwned", "catalogOwned-preview"} {
		s := appends(t, "t", 2)
		put(t, s, jsonKey("t", 0), `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["`+feature+`"],"writerFeatures":["`+feature+`"]}}`+"\n"+metadataLine)
		var f *delta.FeatureError
		if _, err := open(t, s, "t").Snapshot(t.Context(), 2); !errors.As(err, &f) || !f.Managed() || !strings.Contains(err.Error(), "managed by a catalog ("+feature+")") || !strings.Contains(err.Error(), "recover it through its catalog") {
			t.Errorf("%s: %v", feature, err)
		}
	}
	plain := appends(t, "t", 2) // nobody's commits: a table that put-if-absent decides about
	put(t, plain, logKey("t", "_commits/00000000000000000003.0c8b9a52-1b0e-4f0a-9a53-0d3f5c1f7c11.json"), infoLine(1))
	if snap, err := open(t, plain, "t").Snapshot(t.Context(), 2); err != nil || snap.Coordinator() != "" {
		t.Errorf("of a table without a coordinator: %+v, %v", snap, err)
	}
}

// Trap 24, asked without reading a table's files: the head decides, from a checkpoint on
// and from what of the commits above is there.
func TestTrap24IsScreened(t *testing.T) {
	catalog := `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged"]}}`
	coordinated := strings.Replace(metadataLine, `"configuration":{}`, `"configuration":{"delta.coordinatedCommits.commitCoordinator-preview":"dynamodb"}`, 1)
	for _, truth := range deltatest.All(t) {
		name := truth.Name
		s := deltatest.Loaded(t, name)
		l := open(t, s, "delta/"+name)
		snap, unread := l.Snapshot(t.Context(), l.Head())
		by, err := l.Screen(t.Context())
		var unknown *delta.FeatureError
		switch {
		case errors.As(unread, &unknown):
			var f *delta.FeatureError
			if !errors.As(err, &f) || !slices.Equal(f.Features, unknown.Features) {
				t.Errorf("%s: %q, %v; want %v", name, by, err, unread)
			}
			continue
		case unread == nil && (err != nil || by != snap.Coordinator()):
			t.Errorf("%s: %q, %v", name, by, err)
		}
		_, before := s.Calls()
		put(t, s, jsonKey("delta/"+name, int(l.Head()+1)), catalog)
		if _, err := open(t, s, "delta/"+name).Screen(t.Context()); !errors.As(err, &unknown) || !unknown.Managed() {
			t.Errorf("%s, given to a catalog: %v", name, err)
		}
		s.Delete(jsonKey("delta/"+name, int(l.Head()+1)))
		put(t, s, jsonKey("delta/"+name, int(l.Head()+3)), coordinated) // a part between has not arrived
		if by, err := open(t, s, "delta/"+name).Screen(t.Context()); err != nil || !strings.Contains(by, "dynamodb") {
			t.Errorf("%s, given to a coordinator: %q, %v", name, by, err)
		}
		if _, after := s.Calls(); after-before > 400 {
			t.Errorf("%s: %d reads", name, after-before)
		}
	}
	s := appends(t, "t", 2)
	lost := errors.New("no answer")
	s.Fail = func(did, _ string) error {
		if did == "get" {
			return lost
		}
		return nil
	}
	if by, err := open(t, s, "t").Screen(t.Context()); !errors.Is(err, lost) {
		t.Errorf("without an answer: %q, %v", by, err)
	}
}

// The checksum file tells where the log's content is not what was committed.
func TestChecksumFile(t *testing.T) {
	const at = "delta/dv/_delta_log/00000000000000000005.crc"
	for _, change := range [][2]string{
		{`"numFiles":`, `"numFiles":1`}, {`"tableSizeBytes":`, `"tableSizeBytes":1`},
		{`"numDeletedRecordsOpt":`, `"numDeletedRecordsOpt":1`}, {`"numDeletionVectorsOpt":`, `"numDeletionVectorsOpt":1`},
		{`"configuration":{`, `"configuration":{"delta.appendOnly":"true",`}, {`"partitionColumns":[`, `"partitionColumns":["p"`},
		{`"writerFeatures":[`, `"writerFeatures":["identityColumns",`}, {`"minReaderVersion":3`, `"minReaderVersion":2`},
		{`"setTransactions":[`, `"setTransactions":[{"appId":"stream","version":7}`},
	} {
		s := deltatest.Loaded(t, "dv")
		body, err := s.Get(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(body), change[0], change[1], 1)
		if changed == string(body) {
			t.Errorf("the checksum file has no %s", change[0])
		}
		put(t, s, at, changed)
		if _, err := open(t, s, "delta/dv").Snapshot(t.Context(), 5); !errors.Is(err, delta.ErrCorrupt) {
			t.Errorf("with %s: %v", change[1], err)
		}
	}
}

// A checkpoint without all its parts or sidecars does not exist. An older start
// serves, and where there is none, nothing is replayed from the middle.
func TestIncompleteCheckpoints(t *testing.T) {
	const (
		multi = "delta/checkpoint_multipart"
		v2    = "delta/checkpoint_v2"
		v2j   = "delta/checkpoint_v2_json"
	)
	first := func(s *tabletest.Store, prefix, contains string) string {
		i := slices.IndexFunc(s.Keys(prefix), func(k string) bool { return strings.Contains(k, contains) })
		return s.Keys(prefix)[i]
	}
	for name, tc := range map[string]struct {
		prefix string
		damage func(t *testing.T, s *tabletest.Store)
	}{
		"part missing": {multi, func(_ *testing.T, s *tabletest.Store) { s.Delete(first(s, multi, "0000000007.0000000013.parquet")) }},
		"part of zeros": {multi, func(_ *testing.T, s *tabletest.Store) {
			s.Damage(first(s, multi, "0000000002.00000"), func(b []byte) { clear(b) })
		}},
		"sidecar missing": {v2, func(_ *testing.T, s *tabletest.Store) { s.Delete(first(s, v2, "_sidecars/00000000000000000009")) }},
		"another sidecar": {v2j, func(t *testing.T, s *tabletest.Store) { // good in itself, but not this one
			other, err := s.Get(t.Context(), first(s, v2j, "_sidecars/00000000000000000003"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, first(s, v2j, "_sidecars/00000000000000000006"), string(other))
			for _, k := range s.Keys(v2j) { // which would notice too
				if strings.HasSuffix(k, ".crc") {
					s.Delete(k)
				}
			}
		}},
		"json's sidecar": {v2j, func(_ *testing.T, s *tabletest.Store) { s.Delete(first(s, v2j, "_sidecars/00000000000000000006")) }},
		"top file cut short": {v2j, func(t *testing.T, s *tabletest.Store) {
			put(t, s, first(s, v2j, "6.checkpoint."), `{"checkpointMetadata":{"vers`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := deltatest.Loaded(t)
			l := open(t, s, tc.prefix)
			want, err := l.Snapshot(t.Context(), l.Head())
			if err != nil {
				t.Fatal(err)
			}
			tc.damage(t, s)
			got, err := open(t, s, tc.prefix).Snapshot(t.Context(), l.Head())
			if err != nil || got.Start >= want.Start || filesSHA(got, true) != filesSHA(want, true) {
				t.Fatalf("without the checkpoint: %+v, %v", got, err)
			}
			// The log as cleanup leaves it, with the damaged checkpoint its only start.
			for v := range int(want.Start) {
				s.Delete(jsonKey(tc.prefix, v))
			}
			for _, k := range s.Keys(tc.prefix + "/_delta_log/") {
				if strings.Contains(k, ".checkpoint") && !strings.Contains(k, fmt.Sprintf("%020d.checkpoint", want.Start)) {
					s.Delete(k)
				}
			}
			if got, err := open(t, s, tc.prefix).Snapshot(t.Context(), l.Head()); !errors.Is(err, delta.ErrNoStart) {
				t.Errorf("without a start: %+v, %v", got, err)
			}
			if got, err := open(t, s, tc.prefix).NewestComplete(t.Context(), time.Time{}); !errors.Is(err, table.ErrNoneComplete) {
				t.Errorf("without a start: newest is %+v, %v", got.Snapshot, err)
			}
		})
	}
}

// Contiguous commits without their beginning replay to a plausible wrong table.
func TestMissingPrefixIsRefused(t *testing.T) {
	s := appends(t, "t", 6)
	s.Delete(jsonKey("t", 0))
	s.Delete(jsonKey("t", 1))
	l := open(t, s, "t")
	if got, err := l.Snapshot(t.Context(), 6); !errors.Is(err, delta.ErrNoStart) {
		t.Errorf("Snapshot = %+v, %v", got, err)
	}
	if l.Versions() != nil {
		t.Errorf("Versions = %v", l.Versions())
	}
	// Even where version 2 carries protocol and metadata, it is no beginning.
	put(t, s, jsonKey("t", 2), protocolLine+"\n"+metadataLine+"\n"+addLine("f2.parquet", 2, 20))
	if got, err := open(t, s, "t").NewestComplete(t.Context(), time.Time{}); !errors.Is(err, table.ErrNoneComplete) || len(got.Above) == 0 {
		t.Errorf("NewestComplete = %+v, %v", got, err)
	}
}

func TestUnknownFeaturesAreRefusedByName(t *testing.T) {
	for name, protocol := range map[string]string{
		"catalogManaged":     `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","catalogManaged"],"writerFeatures":["catalogManaged"]}}`,
		"minReaderVersion 4": `{"protocol":{"minReaderVersion":4,"minWriterVersion":7}}`,
	} {
		s := appends(t, "t", 3)
		put(t, s, jsonKey("t", 2), protocol)
		l := open(t, s, "t")
		if _, err := l.Snapshot(t.Context(), 1); err != nil {
			t.Errorf("before %s: %v", name, err)
		}
		_, err := l.Snapshot(t.Context(), 3)
		_, nerr := l.NewestComplete(t.Context(), time.Time{})
		for _, err := range []error{err, nerr} {
			var f *delta.FeatureError
			if !errors.As(err, &f) || !slices.Equal(f.Features, []string{name}) || f.Version != 2 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A file live under two deletion vectors would count its rows twice.
func TestFileLiveTwiceIsCorrupt(t *testing.T) {
	dv := func(id string) string {
		return strings.Replace(addLine("f1.parquet", 1, 10), `"dataChange"`, `"deletionVector":{"storageType":"u","pathOrInlineDv":"`+id+`","offset":1,"sizeInBytes":34,"cardinality":1},"dataChange"`, 1)
	}
	s := appends(t, "t", 1)
	put(t, s, jsonKey("t", 2), dv("@n:}SA2zyxZRx+7KyJH)"))
	if _, err := open(t, s, "t").Snapshot(t.Context(), 2); !errors.Is(err, delta.ErrCorrupt) {
		t.Errorf("added beside itself: %v", err)
	}
	put(t, s, jsonKey("t", 2), dv("@n:}SA2zyxZRx+7KyJH)")+"\n"+`{"remove":{"path":"f1.parquet","dataChange":true}}`)
	got, err := open(t, s, "t").Snapshot(t.Context(), 2)
	if err != nil || got.Len() != 1 || got.Rows() != 9 {
		t.Errorf("replaced: %+v, %v", got, err)
	}
	if rows, err := open(t, s, "t").CommitRows(t.Context(), 2); err != nil || rows != 0 {
		t.Errorf("a replaced vector brings %d rows, %v", rows, err)
	}
}

// A gap is known from the listing: nothing is read to run into it.
func TestGapCostsNoReads(t *testing.T) {
	s := deltatest.Loaded(t, "basic_part")
	s.Delete(jsonKey("delta/basic_part", 13))
	s.Delete(jsonKey("delta/basic_part", 10))
	put(t, s, jsonKey("delta/basic_part", 14), infoLine(1))
	l := open(t, s, "delta/basic_part")
	_, err := l.Snapshot(t.Context(), 14)
	if _, gets := s.Calls(); !errors.Is(err, delta.ErrNoStart) || gets > 0 {
		t.Errorf("%d reads, %v", gets, err)
	}
	if got := l.Gaps(); !slices.Equal(got, []table.Range{{First: 10, Last: 10}, {First: 13, Last: 13}}) {
		t.Errorf("Gaps = %v", got)
	}
	if got := l.Versions(); !slices.Equal(got, []table.Range{{First: 0, Last: 9}, {First: 12, Last: 12}}) {
		t.Errorf("Versions = %v", got)
	}
}

// A log that changes under its reader is noticed: the listing and what it named
// no longer belong together.
func TestChangedSinceListing(t *testing.T) {
	s := appends(t, "t", 2)
	l := open(t, s, "t")
	put(t, s, jsonKey("t", 2), infoLine(1002)+"\n"+addLine("another.parquet", 2, 20))
	if got, err := l.Snapshot(t.Context(), 2); !errors.Is(err, delta.ErrCorrupt) {
		t.Errorf("%+v, %v", got, err)
	}
}
