package table

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// witnessed plans and applies table.witness in a run of its own.
func witnessed(l *world.Lake, name, run string) action.Outcome {
	l.T.Helper()
	d := l.Recorded("table.witness")
	r := l.Request(d, name)
	r.Run.Workflow = run
	ch, err := d.Plan(l.T.Context(), r, nil)
	l.Must(err)
	r.Plan = &ch
	out, err := d.Apply(l.T.Context(), r, nil)
	l.Must(err)
	return out
}

// TestWitnessReadsWhatIsNew: a new head costs the rows that are new. That nothing else
// is read shows by its not being there.
func TestWitnessReadsWhatIsNew(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Tick(time.Second)
	l.Create("orders", 0)
	l.Append("orders", 12)
	l.Append("orders", 5)
	witnessed(l, "orders", "witness-1")
	l.Tick(time.Second)
	l.Append("orders", 3)
	for _, v := range []int{1, 2} {
		for _, key := range l.DataOf("orders", v) {
			_, err := l.RootBucket(world.East).Delete(t.Context(), key)
			l.Must(err)
		}
	}
	if o := witnessed(l, "orders", "witness-2"); !strings.Contains(o.Summary, "read 1 of its 3 files") {
		t.Errorf("the outcome is %q; want it said how many files were read", o.Summary)
	}
	j := l.Journal(l.RootBucket(world.West))
	r, err := j.Record(t.Context(), "orders", 3)
	l.Must(err)
	if want := l.Truth["orders"][3]; r.Rows != want.Rows || r.Hash != want.Hash() {
		t.Errorf("the journal has %d rows with hash %s, the source %v", r.Rows, r.Hash, want)
	}
}

// TestWitnessOfAKnownHead: a head that has a record was looked through when that was
// made. It costs its listing, and no file of the log or of the table.
func TestWitnessOfAKnownHead(t *testing.T) {
	t.Parallel()
	s, store := inMemory(t, false)
	s.write(7, 0)
	with := json.RawMessage(`{}`)
	for n, run := range []string{"one", "two"} {
		s.run.Workflow = run
		count, stop := store.counting()
		d, r := s.planned("table.witness", with)
		out, err := d.Apply(t.Context(), r, with)
		s.must(err)
		if n == 0 {
			continue // its record is made
		}
		stop()
		asked := 0
		for key, times := range count {
			if strings.HasPrefix(key, s.path+"/") && !strings.HasSuffix(key, "/") {
				asked += times
			}
		}
		if asked > 0 || out.Mutations != 1 {
			t.Errorf("a head with a record costs %d requests for files, and %d changes: %v", asked, out.Mutations, count)
		}
		count, stop = store.counting()
		prove.Passes(t, d, r, with)
		stop()
		// The log says whether it is still about the same version: each entry once.
		for key, times := range count {
			if strings.HasPrefix(key, s.path+"/_delta_log/0") && times > 1 {
				t.Errorf("Verify asks for %s %d times", key, times)
			}
		}
	}
}

// TestWitnessDamagedFiles: what is kept of files is a cache, and one that is damaged
// costs that they are read, which is said.
func TestWitnessDamagedFiles(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Tick(time.Second)
	l.Create("orders", 0)
	l.Append("orders", 12)
	witnessed(l, "orders", "witness-1")
	j := l.Journal(l.RootBucket(world.West))
	body, _, err := j.Bucket.Get(t.Context(), j.FilesKey("orders", 0))
	l.Must(err)
	body[len(body)/2] ^= 1
	_, err = j.Bucket.Put(t.Context(), j.FilesKey("orders", 0), body)
	l.Must(err)
	l.Append("orders", 3)
	for run, want := range []string{"read 2 of its 2 files; what is kept", "read 1 of its 3 files"} {
		if o := witnessed(l, "orders", "damaged-"+string(rune('a'+run))); !strings.Contains(o.Summary, want) {
			t.Errorf("the outcome is %q; want %q", o.Summary, want)
		}
		r, err := j.Record(t.Context(), "orders", int64(2+run))
		l.Must(err)
		if want := l.Truth["orders"][2+run]; r.Rows != want.Rows || r.Hash != want.Hash() {
			t.Errorf("the journal has %d rows with hash %s, the source %v", r.Rows, r.Hash, want)
		}
		l.Append("orders", 1)
	}
}

// TestWitnessOfAnUnknownType: a column that nobody can read here leaves no hash, and the
// rows of the log.
func TestWitnessOfAnUnknownType(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Tick(time.Second)
	l.Create("orders", 0)
	l.Append("orders", 12)
	decl, _, _ := l.Estate.Table("orders")
	b := l.RootBucket(world.East)
	body, _, err := b.Get(t.Context(), world.Entry(decl.Path, 0))
	l.Must(err)
	other := bytes.Replace(body, []byte(`\"long\"`), []byte(`\"variant\"`), 1)
	if bytes.Equal(body, other) {
		t.Fatalf("no column of type long in %s", body)
	}
	_, err = b.Put(t.Context(), world.Entry(decl.Path, 0), other)
	l.Must(err)
	r, o := l.Do("table.witness", "orders")
	if !strings.Contains(o.Summary, "12 rows by the log: a column's type cannot be read") {
		t.Errorf("the outcome is %q", o.Summary)
	}
	l.Verified("table.witness", r, verdict.Pass)
}
