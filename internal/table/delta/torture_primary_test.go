package delta_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/table"
	"breakwater/internal/table/delta/deltatest"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/tabletest"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
)

// The primary of the torture: a table that is written to at random, as engines write.

// change is one write to the primary: a body, or nil for a deletion.
type change struct {
	key  string
	body []byte
}

// journal is the primary's store, remembering every change in order.
type journal struct {
	tabletest.Store
	changes []change
}

func (j *journal) Put(ctx context.Context, key string, body []byte) error {
	j.changes = append(j.changes, change{key, bytes.Clone(body)})
	return j.Store.Put(ctx, key, body)
}

func (j *journal) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	if err := j.Store.PutIfAbsent(ctx, key, body); err != nil {
		return err
	}
	j.changes = append(j.changes, change{key, bytes.Clone(body)})
	return nil
}

func (j *journal) drop(key string) {
	j.changes = append(j.changes, change{key, nil})
	j.Store.Delete(key)
}

func (j *journal) List(ctx context.Context, prefix string) iter.Seq2[table.Object, error] {
	return j.Store.List(ctx, prefix)
}

// liveFile is a file as the engine that wrote it knows it.
type liveFile struct {
	add     map[string]any // the action, as logged last
	ids     []int64        // of its rows, in order
	deleted map[int]bool
	objects map[string]int64 // by key, with the least size
}

// primary is an engine at work, with the truth of every version.
type primary struct {
	t        *testing.T
	rnd      *rand.Rand
	store    *journal
	table    *write.Table
	live     map[string]*liveFile // by path
	versions []map[string]*liveFile
	starts   map[int64]string // checkpoints' keys by version
	nextID   int64
	vectors  bool
}

const torturePrefix = "lake/orders"

func newPrimary(t *testing.T, seed uint64) *primary {
	p := &primary{t: t, rnd: rand.New(rand.NewPCG(seed, 7)), store: &journal{}, live: map[string]*liveFile{}, starts: map[int64]string{}}
	now := time.Unix(1_700_000_000, 0)
	var err error
	p.table, err = write.Create(t.Context(), p.store, root(torturePrefix),
		[]write.Column{{Name: "id", Type: write.Int64}, {Name: "p", Type: write.String, Partition: true}},
		write.Options{Now: func() time.Time { now = now.Add(time.Second); return now }})
	if err != nil {
		t.Fatal(err)
	}
	p.committed()
	return p
}

// committed records what is live at the version just made.
func (p *primary) committed() {
	now := map[string]*liveFile{}
	for path, f := range p.live {
		c := *f
		c.deleted, c.objects = maps.Clone(f.deleted), maps.Clone(f.objects)
		now[path] = &c
	}
	p.versions = append(p.versions, now)
}

func (p *primary) head() int { return len(p.versions) - 1 }

func (p *primary) append() {
	values := []string{"a b", "ü/1", "100%"}
	ids := map[string][]int64{}
	var rows []write.Row
	for range 1 + p.rnd.IntN(6) {
		p.nextID++
		v := values[p.rnd.IntN(len(values))]
		ids[v] = append(ids[v], p.nextID)
		rows = append(rows, write.Row{p.nextID, v})
	}
	v, err := p.table.Append(p.t.Context(), rows)
	if err != nil || v != int64(p.head()+1) {
		p.t.Fatalf("append: %d, %v", v, err)
	}
	body, err := p.store.Get(p.t.Context(), jsonKey(torturePrefix, int(v)))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range bytes.Lines(body) {
		var a struct {
			Add map[string]any `json:"add"`
		}
		if err := json.Unmarshal(line, &a); err != nil {
			p.t.Fatal(err)
		}
		if a.Add == nil {
			continue
		}
		path := a.Add["path"].(string)
		rel, err := url.PathUnescape(path)
		if err != nil {
			p.t.Fatal(err)
		}
		part := a.Add["partitionValues"].(map[string]any)["p"].(string)
		p.live[path] = &liveFile{
			add: a.Add, ids: ids[part], deleted: map[int]bool{},
			objects: map[string]int64{torturePrefix + "/" + rel: int64(a.Add["size"].(float64))},
		}
	}
	p.committed()
}

// commit writes a version by hand.
func (p *primary) commit(actions ...map[string]any) {
	lines := []any{map[string]any{"commitInfo": map[string]any{"timestamp": 1_700_000_000_000 + 1000*int64(p.head()), "operation": "DELETE", "n": p.rnd.Int64()}}}
	for _, a := range actions {
		lines = append(lines, a)
	}
	var b bytes.Buffer
	for _, l := range lines {
		if err := json.NewEncoder(&b).Encode(l); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.store.PutIfAbsent(p.t.Context(), jsonKey(torturePrefix, p.head()+1), b.Bytes()); err != nil {
		p.t.Fatal(err)
	}
	p.committed()
}

func (p *primary) any() (string, *liveFile) {
	if len(p.live) == 0 {
		return "", nil
	}
	paths := slices.Sorted(maps.Keys(p.live))
	path := paths[p.rnd.IntN(len(paths))]
	return path, p.live[path]
}

func removeOf(f *liveFile) map[string]any {
	r := map[string]any{"path": f.add["path"], "dataChange": true, "deletionTimestamp": 1}
	if dv, ok := f.add["deletionVector"]; ok {
		r["deletionVector"] = dv
	}
	return map[string]any{"remove": r}
}

func (p *primary) removeFile() {
	path, f := p.any()
	if f == nil {
		return
	}
	delete(p.live, path)
	p.commit(removeOf(f))
}

// deleteRows hides more rows of a file by a new deletion vector.
func (p *primary) deleteRows() {
	_, f := p.any()
	if f == nil || len(f.deleted) == len(f.ids) {
		return
	}
	p.vectors = true
	was := removeOf(f)
	f.deleted = maps.Clone(f.deleted)
	for {
		if i := p.rnd.IntN(len(f.ids)); !f.deleted[i] {
			f.deleted[i] = true
			break
		}
	}
	bits := roaring64.New()
	for i := range f.deleted {
		bits.Add(uint64(i))
	}
	raw := binary.LittleEndian.AppendUint32(nil, 1681511377)
	var portable bytes.Buffer
	if _, err := bits.WriteTo(&portable); err != nil {
		p.t.Fatal(err)
	}
	raw = append(raw, portable.Bytes()...)
	dv := map[string]any{"sizeInBytes": len(raw), "cardinality": len(f.deleted)}
	f.objects = maps.Clone(f.objects)
	for k := range f.objects {
		if strings.HasSuffix(k, ".bin") {
			delete(f.objects, k)
		}
	}
	var id [16]byte
	for i := range id {
		id[i] = byte(p.rnd.Uint32())
	}
	file := fmt.Sprintf("%s/deletion_vector_%x-%x-%x-%x-%x.bin", torturePrefix, id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	framed := binary.BigEndian.AppendUint32([]byte{1}, uint32(len(raw)))
	framed = binary.BigEndian.AppendUint32(append(framed, raw...), crc32.ChecksumIEEE(raw))
	kind := p.rnd.IntN(3)
	if kind > 0 {
		if err := p.store.PutIfAbsent(p.t.Context(), file, framed); err != nil {
			p.t.Fatal(err)
		}
		f.objects[file] = int64(len(framed))
		dv["offset"] = 1
	}
	switch kind {
	case 0:
		padded := append(raw, make([]byte, (4-len(raw)%4)%4)...)
		dv["storageType"], dv["pathOrInlineDv"] = "i", encode85(padded)
	case 1:
		dv["storageType"], dv["pathOrInlineDv"] = "u", encode85(id[:])
	case 2:
		dv["storageType"], dv["pathOrInlineDv"] = "p", "s3://"+deltatest.Bucket+"/"+file
	}
	f.add = maps.Clone(f.add)
	f.add["deletionVector"] = dv
	p.commit(was, map[string]any{"add": f.add})
}

// encode85 is ZeroMQ's base 85.
func encode85(b []byte) string {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
	var out []byte
	for i := 0; i < len(b); i += 4 {
		n := binary.BigEndian.Uint32(b[i:])
		var five [5]byte
		for j := 4; j >= 0; j-- {
			five[j], n = digits[n%85], n/85
		}
		out = append(out, five[:]...)
	}
	return string(out)
}

// checkpoint writes a classic checkpoint while the table has no vectors, which
// that writer does not know, and a v2 one in JSON from then on.
func (p *primary) checkpoint() {
	v := int64(p.head())
	if _, ok := p.starts[v]; ok {
		return
	}
	if !p.vectors {
		if err := p.table.Checkpoint(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
		p.starts[v] = logKey(torturePrefix, fmt.Sprintf("%020d.checkpoint.parquet", v))
		return
	}
	first, err := p.store.Get(p.t.Context(), jsonKey(torturePrefix, 0))
	if errors.Is(err, context.Canceled) {
		p.t.Fatal(err)
	}
	if err != nil { // cleaned up: its protocol and metadata are in the journal
		first = p.store.changes[0].body
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"checkpointMetadata":{"version":%d}}`+"\n", v)
	for line := range bytes.Lines(first) {
		if !bytes.Contains(line, []byte("commitInfo")) {
			b.Write(line)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(p.live)) {
		if err := json.NewEncoder(&b).Encode(map[string]any{"add": p.live[path].add}); err != nil {
			p.t.Fatal(err)
		}
	}
	p.starts[v] = logKey(torturePrefix, fmt.Sprintf("%020d.checkpoint.%08x-0000-4000-8000-%012x.json", v, p.rnd.Uint32(), v))
	if err := p.store.PutIfAbsent(p.t.Context(), p.starts[v], b.Bytes()); err != nil {
		p.t.Fatal(err)
	}
}

// vacuum deletes what the head does not need.
func (p *primary) vacuum() {
	needed := map[string]bool{}
	for _, f := range p.live {
		for k := range f.objects {
			needed[k] = true
		}
	}
	for _, k := range p.store.Keys(torturePrefix + "/") {
		if !needed[k] && !strings.Contains(k, "/_delta_log/") {
			p.store.drop(k)
		}
	}
}

// cleanUp deletes the commits below the newest checkpoint.
func (p *primary) cleanUp() {
	newest := int64(-1)
	for v := range p.starts {
		newest = max(newest, v)
	}
	for v := range newest {
		if key := jsonKey(torturePrefix, int(v)); len(p.store.Keys(key)) > 0 {
			p.store.drop(key)
		}
	}
}
