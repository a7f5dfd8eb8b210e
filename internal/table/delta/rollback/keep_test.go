package rollback_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rollback"
	"breakwater/internal/table/tabletest"
)

// digestOf is what rows come to in a table of their own.
func digestOf(t *testing.T, ids []int64) table.Digest {
	t.Helper()
	h := begin(t)
	if len(ids) > 0 {
		h.commit("WRITE", nil, true, nil, []lineFile{h.file(ids...)})
	}
	_, d := content(t, h.s, line, int64(min(1, len(ids))))
	return d
}

// looked looks at a rollback as it is looked at after it was made.
func looked(t *testing.T, s store, v, target int64, kept []int64) []table.Look {
	t.Helper()
	l := open(t, s, line)
	at := func(v int64) *delta.Snapshot {
		snap, err := l.Snapshot(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	return []table.Look{
		rollback.SameFiles(t.Context(), l, at(target), kept, at(v)),
		rollback.SameRows(t.Context(), s, l, v-1, at(target), kept, at(v), nil),
		rollback.MarksHold(t.Context(), l, v-1, at(target), at(v)),
	}
}

func allGood(looks []table.Look) bool {
	return !slices.ContainsFunc(looks, func(l table.Look) bool { return l.Err != nil || !l.OK })
}

// TestKeepsWhatFits: of random histories, a rollback that keeps random commits gives the
// rows of the target and what those changed, or is refused by the name of the one that
// cannot be told apart; taken back, it gives the rows of the head.
func TestKeepsWhatFits(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	kept, refused := 0, 0
	for n := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, n))
		h := begin(t)
		for range 4 + r.IntN(8) {
			h.step(r, true)
		}
		head := h.commits[len(h.commits)-1].version
		target := int64(r.IntN(int(head)))
		var keep []int64
		for v := target + 1; v <= head; v++ {
			if r.IntN(3) > 0 {
				keep = append(keep, v)
			}
		}
		told := fmt.Sprintf("history %d of seed %d, to %d of %d, keeping %v", n, seed, target, head, keep)
		rows, bad := h.truth(target, keep)
		_, before := content(t, h.s, line, head)
		p, err := rollback.New(t.Context(), h.s, open(t, h.s, line), target, keep...)
		if bad > 0 {
			if !errors.Is(err, rollback.ErrRefused) || !strings.Contains(err.Error(), fmt.Sprintf("version %d (", bad)) || !strings.Contains(err.Error(), "cannot be kept") {
				t.Fatalf("%s: %v; want version %d refused", told, err, bad)
			}
			refused++
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", told, err)
		}
		if p.Empty() {
			if want := digestOf(t, rows); want != before {
				t.Fatalf("%s: nothing is to be done, and the head reads as %v, want %v", told, before, want)
			}
			continue
		}
		v := commit(t, h.s, p, "a")
		if _, got := content(t, h.s, line, v); got != digestOf(t, rows) {
			t.Fatalf("%s: it reads as %v, want rows %v", told, got, rows)
		}
		if looks := looked(t, h.s, v, target, p.Replays); !allGood(looks) {
			t.Fatalf("%s: %+v", told, looks)
		}
		if given := p.Given; given >= 0 && given < before.Rows-int64(len(rows)) {
			t.Errorf("%s: at most %d rows are said to be given up, of %d there are %d", told, given, before.Rows, len(rows))
		}
		if again, err := rollback.New(t.Context(), h.s, open(t, h.s, line), target, keep...); err != nil || !again.Empty() || !slices.Equal(again.Replays, p.Replays) {
			t.Fatalf("%s: planned again it is not empty: %v", told, err)
		}
		commit(t, h.s, plan(t, h.s, line, head), "back")
		if _, got := content(t, h.s, line, v+1); got != before {
			t.Fatalf("%s: taken back it reads as %v, want %v", told, got, before)
		}
		kept += len(p.Replays)
	}
	if kept < 50 || refused < 10 {
		t.Errorf("%d commits were kept, %d rollbacks refused", kept, refused)
	}
}

// scenario is a bad write that is found after OPTIMIZE and three good commits.
func scenario(t *testing.T) (h *history, good []int64) {
	h = begin(t)
	h.append(3)                                                     // 1
	h.append(2)                                                     // 2, the last good version
	h.commit("WRITE", nil, true, nil, []lineFile{h.file(900, 901)}) // 3, bad
	h.optimize(slices.Clone(h.live))                                // 4
	return h, []int64{h.append(1), h.append(2), h.append(1)}        // 5 to 7
}

// TestKeepsThreeGoodCommitsAfterOptimize names what is kept and what is passed over, and
// turns red where any of it is missing.
func TestKeepsThreeGoodCommitsAfterOptimize(t *testing.T) {
	t.Parallel()
	h, good := scenario(t)
	all := append([]int64{4}, good...)
	p, err := rollback.New(t.Context(), h.s, open(t, h.s, line), 2, all...)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.Replays, good) || p.Given != 2 || p.Metrics.RowsAfter != 9 || len(p.Added()) != 2 || len(p.Removed()) != 1 {
		t.Errorf("it keeps %v and gives up %d rows: %+v", p.Replays, p.Given, p.Metrics)
	}
	for i, want := range []string{"WRITE false false", "OPTIMIZE true false", "WRITE true true", "WRITE true true", "WRITE true true"} {
		if got := fmt.Sprint(p.Later[i].Operation, " ", p.Later[i].Named, " ", p.Later[i].Kept); got != want || p.Later[i].Version != int64(3+i) || p.Later[i].Reads {
			t.Errorf("version %d: %s, want %s: %+v", 3+i, got, want, p.Later[i])
		}
	}
	other, err := rollback.New(t.Context(), h.s, open(t, h.s, line), 2, good[:2]...)
	if err != nil || other.Digest == p.Digest {
		t.Errorf("what is kept is not in the digest: %v", err)
	}
	v := commit(t, h.s, p, "a")
	if looks := looked(t, h.s, v, 2, good); !allGood(looks) {
		t.Errorf("%+v", looks)
	}
	for what, kept := range map[string][]int64{"nothing": nil, "one less": good[:2], "the bad one, too": append([]int64{3}, good...)} {
		looks := looked(t, h.s, v, 2, kept)
		if looks[0].OK || looks[1].OK {
			t.Errorf("looked at as if %s were kept: %+v", what, looks)
		}
	}
	for _, path := range append(p.Added(), h.commits[4].adds[0].path) {
		broken := store{&tabletest.Store{}}
		for _, key := range h.s.Keys("delta/" + line) {
			body, err := h.s.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			broken.Write(key, body, noon)
		}
		rewrite(t, broken, line, v, func(text string) string {
			var out strings.Builder
			for l := range strings.Lines(text) {
				if !strings.HasPrefix(l, `{"add":`) || !strings.Contains(l, path) {
					out.WriteString(l)
				}
			}
			if path == h.commits[4].adds[0].path { // which is not in the commit, since the head has it
				fmt.Fprintf(&out, `{"remove":{"path":%q,"dataChange":true,"deletionTimestamp":1}}`+"\n", path)
			}
			return out.String()
		})
		if looks := looked(t, broken, v, 2, good); looks[0].OK || looks[1].OK {
			t.Errorf("without %s: %+v", path, looks)
		}
	}
}

// TestKeepRefuses: each overlap is named, with the next move.
func TestKeepRefuses(t *testing.T) {
	t.Parallel()
	h, _ := scenario(t)
	late := h.delete(h.live[0], false) // of what OPTIMIZE made, 8
	bad := h.append(2)                 // 9
	after := h.delete(h.live[len(h.live)-1], true)
	added := h.commits[len(h.commits)-1].adds[0]
	more := h.delete(added, true)
	l := open(t, h.s, line)
	for what, tc := range map[string]struct {
		keep []int64
		says string
	}{
		"of what OPTIMIZE made":      {[]int64{4, late}, fmt.Sprintf("version %d (DELETE) cannot be kept, since it removes file", late)},
		"by OPTIMIZE, which says it": {[]int64{late}, "which version 4 (OPTIMIZE) made of rows of which nobody can tell which are to be kept"},
		"of what is not kept":        {[]int64{after}, fmt.Sprintf("which version %d (WRITE) brought, and that is not kept: leave version %d out of those that are kept, and make its change again afterwards, or keep version %d, too", bad, after, bad)},
		"a vector over a vector":     {[]int64{bad, more}, fmt.Sprintf("with a deletion vector, which version %d (DELETE) brought", after)},
		"the target":                 {[]int64{2}, "version 2 cannot be kept, since it is none of those after version 2"},
	} {
		if _, err := rollback.New(t.Context(), h.s, l, 2, tc.keep...); !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", what, err, tc.says)
		}
	}
	if p, err := rollback.New(t.Context(), h.s, l, 2, bad, after, more); err != nil || !p.Later[len(p.Later)-1].Reads {
		t.Errorf("a delete that is kept with what it deletes from: %v", err)
	}
	for what, tc := range map[string]struct {
		action string
		keep   func(v int64) []int64
		says   string
	}{
		"a schema":                   {`{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}`, func(v int64) []int64 { return []int64{v} }, "changes the table's schema or partitioning: leave it out"},
		"written under that schema":  {`{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}`, func(v int64) []int64 { return []int64{v + 1} }, "was written under the schema or partitioning that version"},
		"a protocol":                 {`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors","appendOnly"]}}`, func(v int64) []int64 { return []int64{v} }, "changes the table's protocol"},
		"a commit that is not there": {"", func(v int64) []int64 { return []int64{v + 1} }, "is gone from the log and what it did is not known"},
	} {
		h, _ := scenario(t)
		v := open(t, h.s, line).Head() + 1
		if err := h.s.PutIfAbsent(t.Context(), entry(line, v), []byte(`{"commitInfo":{"operation":"SET"}}`+"\n"+tc.action+"\n")); err != nil {
			t.Fatal(err)
		}
		h.append(1)
		if tc.action == "" {
			if err := h.w.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.s.Delete(entry(line, v))
		}
		if _, err := rollback.New(t.Context(), h.s, open(t, h.s, line), 2, tc.keep(v)...); !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", what, err, tc.says)
		}
	}
}

// TestKeepOfOddLogs: what a log may say and no engine means is refused, or passed over where
// it says that no data changed. The file one is at the target; what is not kept does
// something to it.
func TestKeepOfOddLogs(t *testing.T) {
	t.Parallel()
	for what, tc := range map[string]struct {
		bad  func(h *history, one, two lineFile) // versions 3 and 4
		keep func(h *history, one, two lineFile)
		says string // empty: it is passed over
	}{
		"a file under a vector that was taken back": {
			func(h *history, one, _ lineFile) {
				h.delete(one, true)
				h.commit("DELETE", nil, true, []lineFile{h.hiding(one, 0)}, nil)
			},
			func(h *history, one, _ lineFile) { h.commit("RESTORE", nil, true, nil, []lineFile{h.hiding(one, 0)}) },
			"it adds file",
		},
		"the same, rearranging": {
			func(h *history, one, _ lineFile) {
				h.delete(one, true)
				h.commit("DELETE", nil, true, []lineFile{h.hiding(one, 0)}, nil)
			},
			func(h *history, one, two lineFile) {
				h.commit("REORG", nil, false, []lineFile{two}, []lineFile{h.hiding(one, 0)})
			}, "",
		},
		"a file that is gone is removed once more": {
			func(h *history, one, _ lineFile) {
				h.commit("DELETE", nil, true, []lineFile{one}, nil)
				h.append(1)
			},
			func(h *history, one, _ lineFile) { h.commit("DELETE", nil, true, []lineFile{one}, nil) },
			"(DELETE) removed before, and that is not kept",
		},
		"the same, rearranging once more": {
			func(h *history, one, _ lineFile) {
				h.commit("DELETE", nil, true, []lineFile{one}, nil)
				h.append(1)
			},
			func(h *history, one, _ lineFile) { h.optimize([]lineFile{one}) }, "",
		},
		"a file that is not kept is added again": {
			func(h *history, _, _ lineFile) {
				h.append(1)
				h.append(1)
			},
			func(h *history, _, _ lineFile) { h.commit("WRITE", nil, true, nil, []lineFile{h.commits[2].adds[0]}) },
			"it adds again file",
		},
		"rows from nowhere that are said to be no change": {
			func(h *history, _, _ lineFile) {
				h.append(1)
				h.append(1)
			},
			func(h *history, _, _ lineFile) {
				h.commit("OPTIMIZE", nil, false, nil, []lineFile{h.file(h.fresh(1)...)})
			}, "",
		},
	} {
		h := begin(t)
		h.append(3)
		h.append(2)
		one, two := h.live[0], h.live[1]
		tc.bad(h, one, two)
		tc.keep(h, one, two)
		p, err := rollback.New(t.Context(), h.s, open(t, h.s, line), 2, 5)
		if tc.says != "" {
			if !errors.Is(err, table.ErrRefused) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s: %v, want %q", what, err, tc.says)
			}
			continue
		}
		if err != nil || len(p.Replays) > 0 || p.Metrics.RowsAfter != 5 {
			t.Errorf("%s: %v, %+v", what, err, p)
		}
	}
}

// TestKeepByAbsolutePaths: a file is the same one by whatever path a commit names it.
func TestKeepByAbsolutePaths(t *testing.T) {
	t.Parallel()
	h := begin(t)
	h.append(3)
	h.append(2)
	h.append(2) // bad
	far := h.live[0]
	far.path = fmt.Sprintf("s3://%s/delta/%s/%s", at("").Bucket, line, far.path)
	rest := h.hiding(h.live[1], 0)
	rest.path = fmt.Sprintf("s3a://%s/delta/%s/%s", at("").Bucket, line, rest.path)
	h.commit("DELETE", nil, true, []lineFile{far, h.live[1]}, []lineFile{rest}) // 4
	p, err := rollback.New(t.Context(), h.s, open(t, h.s, line), 2, 4)
	if err != nil {
		t.Fatal(err)
	}
	v := commit(t, h.s, p, "a")
	if looks := looked(t, h.s, v, 2, []int64{4}); !allGood(looks) {
		t.Errorf("%+v", looks)
	}
	if _, got := content(t, h.s, line, v); got != digestOf(t, []int64{5}) {
		t.Errorf("it reads as %v", got)
	}
	if looks := looked(t, h.s, v, 2, nil); looks[0].OK || looks[1].OK {
		t.Errorf("as if nothing were kept: %+v", looks)
	}
}

// TestKeptVersionsAreInTheDigest: also where no file tells whether they are kept.
func TestKeptVersionsAreInTheDigest(t *testing.T) {
	t.Parallel()
	h := begin(t)
	h.append(1)
	h.append(1) // bad
	h.append(1)
	h.commit("DELETE", nil, true, h.live[2:], nil)
	l := open(t, h.s, line)
	none := plan(t, h.s, line, 1)
	both, err := rollback.New(t.Context(), h.s, l, 1, 3, 4)
	if err != nil || !slices.Equal(none.Removed(), both.Removed()) || len(both.Added()) > 0 || none.Digest == both.Digest {
		t.Errorf("%v: %s and %s", err, none.Digest, both.Digest)
	}
}

// TestKeepOfWhatOthersRead: an append that a writer calls blind, or that appends, asks for
// nothing; whatever may have read the table is told.
func TestKeepOfWhatOthersRead(t *testing.T) {
	t.Parallel()
	h := begin(t)
	h.append(2)
	bad := h.append(2)
	for _, tc := range []struct {
		operation string
		info      map[string]any
		reads     bool
	}{
		{"WRITE", map[string]any{"isBlindAppend": true}, false},
		{"WRITE", map[string]any{"operationParameters": map[string]any{"mode": "Append"}}, false},
		{"STREAMING UPDATE", map[string]any{"operationParameters": map[string]any{"outputMode": "Append"}}, false},
		{"WRITE", map[string]any{"isBlindAppend": false, "operationParameters": map[string]any{"mode": "Append"}}, true},
		{"MERGE", nil, true},
		{"WRITE", nil, true},
	} {
		v := h.commit(tc.operation, tc.info, true, nil, []lineFile{h.file(h.fresh(1)...)})
		p, err := rollback.New(t.Context(), h.s, open(t, h.s, line), bad-1, v)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Later[len(p.Later)-1]; got.Reads != tc.reads || !got.Kept {
			t.Errorf("%s %v: %+v, want that it reads: %v", tc.operation, tc.info, got, tc.reads)
		}
	}
}

// TestDeltaRSReadsWhatIsKept: another engine reads the rows that the test counts.
func TestDeltaRSReadsWhatIsKept(t *testing.T) {
	t.Parallel()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		t.Log("BREAKWATER_PYTHON is not set: read with our own reader only, not with delta-rs")
		return
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	type answer struct {
		Rows, Sum int64
		Error     string
	}
	var asked bytes.Buffer
	var want []answer
	for n := uint64(0); len(want) < 6; n++ {
		r := rand.New(rand.NewPCG(seed, n))
		h := begin(t).plain()
		for range 8 {
			h.step(r, false)
		}
		keep := []int64{6, 8}
		rows, bad := h.truth(4, keep)
		if bad > 0 {
			continue
		}
		p, err := rollback.New(t.Context(), h.s, open(t, h.s, line), 4, keep...)
		if err != nil {
			t.Fatal(err)
		}
		v := int64(8)
		if !p.Empty() {
			v = commit(t, h.s, p, "a")
		}
		dir := t.TempDir()
		onDisk(t, h.s, line, dir)
		a := answer{Rows: int64(len(rows))}
		for _, id := range rows {
			a.Sum += id
		}
		want = append(want, a)
		if err := json.NewEncoder(&asked).Encode(map[string]any{"dir": dir, "version": v}); err != nil {
			t.Fatal(err)
		}
	}
	answers := byDeltaRS(t, python, &asked)
	for i, w := range want {
		var got answer
		if err := answers.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got != w {
			t.Errorf("history %d: delta-rs reads %+v, want %+v", i, got, w)
		}
	}
}
