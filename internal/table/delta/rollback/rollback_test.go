package rollback_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/table/tabletest"

	"github.com/google/go-cmp/cmp"
)

// store is a store in memory that commits can be made in.
type store struct{ *tabletest.Store }

var _ rollback.Store = store{}

func (s store) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	return s.Store.PutIfAbsent(ctx, key, body)
}

func at(prefix string) table.Root { return table.Root{Bucket: deltatest.Bucket, Prefix: prefix} }

func load(t testing.TB, name string) store {
	t.Helper()
	s, err := deltatest.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return store{s}
}

func open(t testing.TB, s table.Store, name string) *delta.Log {
	t.Helper()
	l, err := delta.Open(t.Context(), s, at("delta/"+name))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// headAt removes what speaks of later versions than head.
func headAt(s store, name string, head int64) {
	for _, key := range s.Keys("delta/" + name + "/_delta_log/") {
		base := key[strings.LastIndexByte(key, '/')+1:]
		var v int64
		if _, err := fmt.Sscanf(base, "%020d.", &v); err == nil && v > head {
			s.Delete(key)
		}
	}
	s.Delete("delta/" + name + "/_delta_log/_last_checkpoint")
}

func entry(name string, v int64) string {
	return fmt.Sprintf("delta/%s/_delta_log/%020d.json", name, v)
}

// lines are the actions of a commit: of each kind, what is compared.
func lines(t testing.TB, s store, name string, v int64) map[string][]map[string]any {
	t.Helper()
	body, err := s.Get(t.Context(), entry(name, v))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]map[string]any{}
	for line := range bytes.Lines(body) {
		var a map[string]map[string]any
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		for kind, v := range a {
			all[kind] = append(all[kind], v)
		}
	}
	for _, of := range all {
		slices.SortFunc(of, func(a, b map[string]any) int { return strings.Compare(fmt.Sprint(a["path"]), fmt.Sprint(b["path"])) })
	}
	return all
}

func plan(t testing.TB, s store, name string, target int64) *rollback.Plan {
	t.Helper()
	p, err := rollback.New(t.Context(), s, open(t, s, name), target)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func stamp(token string) table.Stamp { return table.Stamp{Token: token, Run: "test", Now: noon} }

func commit(t testing.TB, s store, p *rollback.Plan, token string) int64 {
	t.Helper()
	v, wrote, err := p.Commit(t.Context(), s, stamp(token))
	if err != nil || !wrote {
		t.Fatalf("commit: version %d, wrote %v, %v", v, wrote, err)
	}
	return v
}

// Where Spark restored a fixture, the same restore is planned action by action.
func TestSameAsSpark(t *testing.T) {
	t.Parallel()
	compared := 0
	for _, truth := range deltatest.All(t) {
		for _, v := range truth.Versions {
			if v.Operation != "RESTORE" || strings.HasPrefix(truth.Name, "rs_") { // delta-rs restores in its own way
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", truth.Name, v.Version), func(t *testing.T) {
				s := load(t, truth.Name)
				spark := lines(t, s, truth.Name, v.Version)
				to := int64(spark["commitInfo"][0]["operationParameters"].(map[string]any)["version"].(float64))
				headAt(s, truth.Name, v.Version-1)
				commit(t, s, plan(t, s, truth.Name, to), "a")
				ours := lines(t, s, truth.Name, v.Version)
				for _, side := range []map[string][]map[string]any{spark, ours} {
					for _, r := range side["remove"] {
						if r["deletionTimestamp"] == nil {
							t.Errorf("remove of %s has no time", r["path"])
						}
						delete(r, "deletionTimestamp")
						maps.DeleteFunc(r["partitionValues"].(map[string]any), func(_ string, v any) bool { return v == nil }) // Spark leaves nulls out
					}
					for _, m := range side["metaData"] {
						var schema any
						if err := json.Unmarshal([]byte(m["schemaString"].(string)), &schema); err != nil {
							t.Fatal(err)
						}
						m["schemaString"] = schema
						if truth.Name == "ict_enabled_later" { // Spark turns the timestamps off again
							delete(m, "configuration")
						}
					}
					for _, p := range side["protocol"] {
						for _, k := range []string{"readerFeatures", "writerFeatures"} {
							if list, ok := p[k].([]any); ok {
								slices.SortFunc(list, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
							}
						}
					}
				}
				if d := cmp.Diff(spark["commitInfo"][0]["operationMetrics"], ours["commitInfo"][0]["operationMetrics"]); d != "" {
					t.Errorf("metrics: %s", d)
				}
				if truth.Name == "clustered_domainmeta" { // Spark writes it whether it changed or not
					delete(spark, "domainMetadata")
					delete(ours, "domainMetadata")
				}
				for _, side := range []map[string][]map[string]any{spark, ours} {
					delete(side, "commitInfo")
				}
				if d := cmp.Diff(spark, ours); d != "" {
					t.Errorf("Spark's restore (-) and ours (+) differ:\n%s", d)
				}
			})
			compared++
		}
	}
	if compared < 10 {
		t.Errorf("only %d restores by Spark to compare with", compared)
	}
}

// content is what a version holds: its logical files, and its rows as read.
func content(t testing.TB, s store, name string, v int64) (files []string, rows table.Digest) {
	t.Helper()
	l := open(t, s, name)
	snap, err := l.Snapshot(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	for a := range snap.Files() {
		files = append(files, a.Path+" "+a.Vector.ID())
	}
	slices.Sort(files)
	if rows, err = scan.Sum(t.Context(), s, snap); err != nil {
		t.Fatalf("%s at %d: %v", name, v, err)
	}
	return files, rows
}

// Any readable version of any table can come back, from its head or an earlier
// one, and back again.
func TestRestoresEveryTable(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for _, truth := range deltatest.All(t) {
		if truth.Name == "clone_shallow" { // needs its source beside it
			continue
		}
		var readable []int64
		for _, v := range truth.Versions {
			if v.Readable {
				readable = append(readable, v.Version)
			}
		}
		for range 2 {
			target, head := readable[r.IntN(len(readable))], readable[r.IntN(len(readable))]
			if target > head {
				target, head = head, target
			}
			t.Run(fmt.Sprintf("%s/%d to %d", truth.Name, head, target), func(t *testing.T) {
				s := load(t, truth.Name)
				headAt(s, truth.Name, head)
				wantFiles, wantRows := content(t, s, truth.Name, target)
				oldFiles, oldRows := content(t, s, truth.Name, head)
				l := open(t, s, truth.Name)
				was, err := l.Snapshot(t.Context(), head)
				if err != nil {
					t.Fatal(err)
				}
				p := plan(t, s, truth.Name, target)
				v := commit(t, s, p, "there")
				if v != head+1 {
					t.Errorf("committed version %d above %d", v, head)
				}
				files, rows := content(t, s, truth.Name, v)
				if !slices.Equal(files, wantFiles) || rows != wantRows {
					t.Errorf("holds %v in %d files, want %v in %d", rows, len(files), wantRows, len(wantFiles))
				}
				now := open(t, s, truth.Name)
				is, err := now.Snapshot(t.Context(), v)
				if err != nil {
					t.Fatal(err)
				}
				marks, err := rollback.MarksOf(t.Context(), now, is)
				if err != nil {
					t.Fatal(err)
				}
				if low := marks.Below(p.Marks); low != nil {
					t.Errorf("marks fell: %q", low)
				}
				if d := cmp.Diff(was.Txns, is.Txns); d != "" {
					t.Errorf("transaction identifiers changed: %s", d)
				}
				if again := plan(t, s, truth.Name, target); !again.Empty() {
					t.Errorf("restored twice: %+v", again.Metrics)
				}
				commit(t, s, plan(t, s, truth.Name, head), "back")
				files, rows = content(t, s, truth.Name, v+1)
				if !slices.Equal(files, oldFiles) || rows != oldRows {
					t.Errorf("back again it holds %v in %d files, want %v in %d", rows, len(files), oldRows, len(oldFiles))
				}
			})
		}
	}
}
