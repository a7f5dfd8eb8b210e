package rollback_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
)

// lineFile is a logical file of a history: the rows of a data file, and which are hidden.
type lineFile struct {
	path   string
	size   int
	ids    []int64
	hidden []uint64
	vector map[string]any
}

// id tells it from every other one.
func (f lineFile) id() string { return fmt.Sprint(f.path, f.hidden) }

// live are the rows that a reader sees.
func (f lineFile) live() (all []int64) {
	for i, id := range f.ids {
		if !slices.Contains(f.hidden, uint64(i)) {
			all = append(all, id)
		}
	}
	return all
}

// lineCommit is what one version did.
type lineCommit struct {
	version   int64
	operation string
	changes   bool // data
	adds      []lineFile
	removes   []lineFile
}

// history is a table that is written by hand, and everything that was done to it.
type history struct {
	t       *testing.T
	s       store
	w       *write.Table
	live    []lineFile
	commits []lineCommit // after version 0, in order
	next    int64        // row id
}

const line = "line"

var lineColumns = []write.Column{{Name: "id", Type: write.Int64}, {Name: "note", Type: write.String}}

func begin(t *testing.T) *history {
	t.Helper()
	h := &history{t: t, s: store{&tabletest.Store{}}}
	w, err := write.Create(t.Context(), h.s, at("delta/"+line), lineColumns, write.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h.w = w
	rewrite(t, h.s, line, 0, func(text string) string { // so that it may have deletion vectors
		return strings.ReplaceAll(text, `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`, `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}`)
	})
	return h
}

// plain makes it a table that every engine reads.
func (h *history) plain() *history {
	rewrite(h.t, h.s, line, 0, func(text string) string {
		return strings.ReplaceAll(text, `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}`, `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`)
	})
	return h
}

func note(id int64) string { return fmt.Sprintf("row %d", id) }

// file writes a data file of rows.
func (h *history) file(ids ...int64) lineFile {
	h.t.Helper()
	rows := make([]write.Row, len(ids))
	for i, id := range ids {
		rows[i] = write.Row{id, note(id)}
	}
	staged, err := h.w.Stage(h.t.Context(), rows)
	if err != nil {
		h.t.Fatal(err)
	}
	body, err := h.s.Get(h.t.Context(), staged.Keys[0])
	if err != nil {
		h.t.Fatal(err)
	}
	return lineFile{path: strings.TrimPrefix(staged.Keys[0], "delta/"+line+"/"), size: len(body), ids: ids}
}

// fresh are ids that no row had before.
func (h *history) fresh(n int) (ids []int64) {
	for range n {
		h.next++
		ids = append(ids, h.next)
	}
	return ids
}

// hiding is a file with one more row hidden.
func (h *history) hiding(f lineFile, row uint64) lineFile {
	h.t.Helper()
	f.hidden = slices.Sorted(slices.Values(append(slices.Clone(f.hidden), row)))
	bits := roaring64.BitmapOf(f.hidden...)
	var b bytes.Buffer
	b.Write(binary.LittleEndian.AppendUint32(nil, 1681511377))
	if _, err := bits.WriteTo(&b); err != nil {
		h.t.Fatal(err)
	}
	size := b.Len()
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
	f.vector = map[string]any{"storageType": "i", "pathOrInlineDv": z85(b.Bytes()), "sizeInBytes": size, "cardinality": len(f.hidden)}
	return f
}

// z85 is ZeroMQ's base 85.
func z85(raw []byte) string {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
	var out []byte
	for i := 0; i < len(raw); i += 4 {
		n := binary.BigEndian.Uint32(raw[i:])
		var five [5]byte
		for j := 4; j >= 0; j-- {
			five[j], n = alphabet[n%85], n/85
		}
		out = append(out, five[:]...)
	}
	return string(out)
}

func (f lineFile) action(change bool) map[string]any {
	a := map[string]any{"path": f.path, "partitionValues": map[string]any{}, "size": f.size, "dataChange": change}
	if f.vector != nil {
		a["deletionVector"] = f.vector
	}
	return a
}

// commit writes a version.
func (h *history) commit(operation string, info map[string]any, changes bool, removes, adds []lineFile) int64 {
	h.t.Helper()
	all := map[string]any{"timestamp": noon.UnixMilli(), "operation": operation}
	maps.Copy(all, info)
	actions := []map[string]any{{"commitInfo": all}}
	for _, f := range removes {
		r := f.action(changes)
		r["deletionTimestamp"] = noon.UnixMilli()
		actions = append(actions, map[string]any{"remove": r})
		h.live = slices.DeleteFunc(h.live, func(o lineFile) bool { return o.id() == f.id() })
	}
	for _, f := range adds {
		a := f.action(changes)
		a["modificationTime"], a["stats"] = noon.UnixMilli(), fmt.Sprintf(`{"numRecords":%d}`, len(f.ids))
		actions = append(actions, map[string]any{"add": a})
		h.live = append(slices.DeleteFunc(h.live, func(o lineFile) bool { return o.id() == f.id() }), f)
	}
	v := appendCommit(h.t, h.s, line, actions...)
	h.commits = append(h.commits, lineCommit{v, operation, changes, adds, removes})
	return v
}

func (h *history) append(n int) int64 {
	return h.commit("WRITE", map[string]any{"isBlindAppend": true}, true, nil, []lineFile{h.file(h.fresh(n)...)})
}

// delete takes a row out of a file: by a deletion vector, or by writing the others again.
func (h *history) delete(f lineFile, byVector bool) int64 {
	live := f.live()
	if byVector {
		return h.commit("DELETE", nil, true, []lineFile{f}, []lineFile{h.hiding(f, uint64(slices.Index(f.ids, live[0])))})
	}
	var adds []lineFile
	if len(live) > 1 {
		adds = append(adds, h.file(live[1:]...))
	}
	return h.commit("DELETE", nil, true, []lineFile{f}, adds)
}

// optimize makes one file of several.
func (h *history) optimize(files []lineFile) int64 {
	var ids []int64
	for _, f := range files {
		ids = append(ids, f.live()...)
	}
	return h.commit("OPTIMIZE", nil, false, files, []lineFile{h.file(ids...)})
}

func (h *history) some(r *rand.Rand, most int) []lineFile {
	all := slices.Clone(h.live)
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), 1+r.IntN(most))]
}

// step does anything.
func (h *history) step(r *rand.Rand, vectors bool) {
	files := h.some(r, 3)
	switch n := r.IntN(10); {
	case len(files) == 0 || n < 3:
		h.append(1 + r.IntN(3))
	case n < 5 && len(files[0].live()) > 0:
		h.delete(files[0], vectors && r.IntN(2) == 0 && len(files[0].live()) > 1)
	case n == 5:
		h.commit("WRITE", map[string]any{"operationParameters": map[string]any{"mode": "Overwrite"}}, true, files, []lineFile{h.file(h.fresh(2)...)})
	case n == 6 && len(h.commits) > 0: // brings back what a version before removed
		c := h.commits[r.IntN(len(h.commits))]
		back := slices.DeleteFunc(slices.Clone(c.removes), func(f lineFile) bool {
			return slices.ContainsFunc(h.live, func(o lineFile) bool { return o.path == f.path })
		})
		if len(back) > 0 {
			h.commit("RESTORE", nil, true, nil, back)
			return
		}
		h.append(1)
	case n == 7: // says again what is there
		h.commit("COMPUTE STATS", nil, false, nil, files[:1])
	default:
		ids := 0
		for _, f := range files {
			ids += len(f.live())
		}
		if ids == 0 {
			h.append(1)
			return
		}
		h.optimize(files)
	}
}

// truth is what keeping some commits comes to, worked out from what the test itself did:
// the rows, and the version that cannot be kept, 0 for none.
func (h *history) truth(target int64, keep []int64) (rows []int64, refused int64) {
	state, live := map[string]lineFile{}, map[string]lineFile{}
	at := func(files map[string]lineFile, path string) bool {
		for _, f := range files {
			if f.path == path {
				return true
			}
		}
		return false
	}
	do := func(files map[string]lineFile, c lineCommit) {
		for _, f := range c.removes {
			delete(files, f.id())
		}
		for _, f := range c.adds {
			files[f.id()] = f
		}
	}
	count := map[int64]int{}
	for _, c := range h.commits {
		if c.version <= target {
			do(state, c)
			do(live, c)
			continue
		}
		fits := slices.Contains(keep, c.version)
		named := fits
		after := maps.Clone(state)
		for _, f := range c.removes {
			if _, ok := state[f.id()]; !ok {
				fits = false
			}
			delete(after, f.id())
		}
		for _, f := range c.adds {
			_, here := after[f.id()]
			_, there := live[f.id()]
			if here != there || !here && at(after, f.path) {
				fits = false
			}
		}
		if named && c.changes && !fits {
			return nil, c.version
		}
		if fits {
			do(state, c)
		}
		do(live, c)
	}
	for _, f := range state {
		for _, id := range f.live() {
			count[id]++
			rows = append(rows, id)
		}
	}
	// By rows alone, as if there were no files.
	byRows := map[int64]int{}
	for _, c := range h.commits {
		if c.version > target && (!c.changes || !slices.Contains(keep, c.version)) {
			continue
		}
		for _, f := range c.removes {
			for _, id := range f.live() {
				byRows[id]--
			}
		}
		for _, f := range c.adds {
			for _, id := range f.live() {
				if c.changes || c.version <= target && len(c.removes) > 0 {
					byRows[id]++
				}
			}
		}
	}
	maps.DeleteFunc(byRows, func(_ int64, n int) bool { return n == 0 })
	if !maps.Equal(count, byRows) {
		h.t.Fatalf("the test contradicts itself: %v by files, %v by rows", count, byRows)
	}
	slices.Sort(rows)
	return rows, 0
}
