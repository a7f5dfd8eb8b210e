package delta

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"breakwater/internal/strictjson"
	"breakwater/internal/table"
)

// Snapshot is a table at one version.
type Snapshot struct {
	Root     table.Root
	Version  table.Version
	Protocol Protocol
	Metadata Metadata
	// Txns is the last version that each streaming writer recorded, by its
	// application id. Whoever goes back to this version has to know that batches
	// up to there will be skipped when replayed (trap 9).
	Txns map[string]int64
	// Start is the checkpoint it was read from, or -1 for commit 0.
	Start int64

	files *fileSet
	log   []table.Object
	odd   []string
	oddly int // how many oddities were met, of which odd has the first
}

// Odd says what was met on the way that is optional or free in a log and not as it
// should be: odd statistics, a checksum file that nobody can read. It takes nothing
// from the version.
func (s *Snapshot) Odd() []string {
	if more := s.oddly - len(s.odd); more > 0 {
		return append(slices.Clip(s.odd), fmt.Sprintf("%d more of that kind", more))
	}
	return s.odd
}

// mostOdd is how many oddities a snapshot names.
const mostOdd = 10

func (s *Snapshot) oddity(key, format string, args ...any) {
	if s.oddly++; len(s.odd) < mostOdd {
		s.odd = append(s.odd, InLog(key)+": "+fmt.Sprintf(format, args...))
	}
}

// Len is how many logical files are live.
func (s *Snapshot) Len() int { return s.files.len() }

// Each yields the live files in no order, for callers that need none: ordering a
// million of them takes longer than most of what is done with them.
func (s *Snapshot) Each() iter.Seq[Add] {
	return func(yield func(Add) bool) {
		for a := range s.files.all() {
			if !yield(*a) {
				return
			}
		}
	}
}

// Files yields the live files in the order of their paths.
func (s *Snapshot) Files() iter.Seq[Add] {
	return func(yield func(Add) bool) {
		sorted := s.files.numbers()
		slices.SortFunc(sorted, func(i, j int) int {
			a, b := s.files.place(i), s.files.place(j)
			if c := cmp.Or(strings.Compare(a.bucket, b.bucket), strings.Compare(a.key, b.key)); c != 0 {
				return c
			}
			return strings.Compare(s.files.vector(i).ID(), s.files.vector(j).ID())
		})
		for _, i := range sorted {
			if !yield(s.files.at(i)) {
				return
			}
		}
	}
}

// Bytes is the size of all live data files.
func (s *Snapshot) Bytes() int64 {
	var sum int64
	for a := range s.files.all() {
		sum += a.Size
	}
	return sum
}

// Rows is the number of live rows by the log's statistics: those of the files
// less those that deletion vectors hide. It is -1 where any file has none.
func (s *Snapshot) Rows() int64 {
	var sum int64
	for a := range s.files.all() {
		n := a.Rows()
		if n < 0 {
			return -1
		}
		sum += n
	}
	return sum
}

// Closure is every object that this version needs: the log objects it was read
// from, its data files and its files of deletion vectors.
func (s *Snapshot) Closure() table.Closure {
	return func(yield func(table.File, error) bool) {
		for _, o := range s.log {
			if !yield(table.File{Key: o.Key, Size: o.Size, Rows: -1, Why: table.LogEntry}, nil) {
				return
			}
		}
		vectors := map[place]table.File{} // one file holds several: the one that ends last bounds it
		for a := range s.Files() {
			for _, f := range a.needs() {
				if f.Why == table.DeletionVector {
					at := place{f.Bucket, f.Key}
					f.Size = max(f.Size, vectors[at].Size)
					vectors[at] = f
				} else if !yield(f, nil) {
					return
				}
			}
		}
		for _, f := range slices.SortedFunc(maps.Values(vectors), func(a, b table.File) int {
			return cmp.Or(strings.Compare(a.Bucket, b.Bucket), strings.Compare(a.Key, b.Key))
		}) {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// Outside names, as URIs, the folders outside of the table that hold objects it
// needs: a shallow clone needs its source. A recovery of this table alone does
// not bring them back (trap 27).
func (s *Snapshot) Outside() []string {
	dirs := map[string]bool{}
	for a := range s.files.all() {
		if a.local(s.Root) {
			continue
		}
		for _, f := range a.needs() {
			if f.Bucket != "" || !strings.HasPrefix(f.Key, s.Root.Key("")) {
				dirs[outside(s.Root, f)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(dirs))
}

// outside names a file's table folder as well as a path lets us: without the
// partition folders and the file name.
func outside(r table.Root, f table.File) string {
	parts := strings.Split(f.Key, "/")
	parts = parts[:len(parts)-1]
	for len(parts) > 0 && strings.Contains(parts[len(parts)-1], "=") {
		parts = parts[:len(parts)-1]
	}
	if _, _, mapped := cutScheme(f.Key); f.Bucket == "" && mapped {
		return strings.Join(parts, "/")
	}
	return table.BucketURI(cmp.Or(f.Bucket, r.Bucket)) + "/" + strings.Join(parts, "/")
}

// Snapshot reconstructs a version. [ErrNoStart] says that the log cannot give
// it, [fs.ErrNotExist] that it lies outside of the log, [ErrCorrupt] that what
// it gives is contradicted by the version's checksum file.
func (l *Log) Snapshot(ctx context.Context, v int64) (*Snapshot, error) {
	if head := l.Head(); v < 0 || v > head {
		return nil, fmt.Errorf("delta table %s has no version %d, its head is %d: %w", l.root, v, head, fs.ErrNotExist)
	}
	var why []error
	bottom := v // of the commits that lead to v without a gap
	for ; bottom >= 0; bottom-- {
		if _, ok := l.commits[bottom]; !ok {
			break
		}
	}
	for _, c := range l.starts(v) {
		if c.version < bottom { // it would only run into the gap
			why = append(why, l.absent(bottom))
			break
		}
		r, err := l.start(ctx, c)
		if err == nil {
			err = l.replay(ctx, r, v, nil)
		}
		if err == nil {
			err = l.audit(ctx, r.s)
		}
		if err == nil {
			return r.s, nil
		}
		var feature *FeatureError
		if !broken(err) || errors.As(err, &feature) {
			return nil, err
		}
		why = append(why, err)
	}
	return nil, fmt.Errorf("delta table %s at version %d: %w: no commit 0 and no usable checkpoint from which the commits are contiguous; restore the missing part of the log: %w",
		l.root, v, ErrNoStart, errors.Join(why...))
}

// SnapshotAfter is [Log.Snapshot] for a version after one that was read from this
// log already: it reads the commits in between alone, unless there is a later
// start than that one's.
func (l *Log) SnapshotAfter(ctx context.Context, s *Snapshot, v int64) (*Snapshot, error) {
	if starts := l.starts(v); v <= l.Head() && v >= s.Version.Number && len(starts) > 0 && starts[0].version <= s.Version.Number {
		r := &replayer{l: l, s: s.clone()}
		err := l.replay(ctx, r, v, nil)
		if err == nil {
			err = l.audit(ctx, r.s)
		}
		if err == nil {
			return r.s, nil
		}
	}
	return l.Snapshot(ctx, v) // which says why not
}

// clone is a snapshot to carry forward.
func (s *Snapshot) clone() *Snapshot {
	c := *s
	c.Txns, c.files, c.log, c.odd = maps.Clone(s.Txns), s.files.clone(), slices.Clone(s.log), slices.Clone(s.odd)
	return &c
}

// Has reports whether a logical file is live: one of that path with that deletion
// vector.
func (s *Snapshot) Has(a Add) bool {
	_, _, ok := s.files.find(a.at, a.Vector.ID())
	return ok
}

// Find gives the live file that is the same logical file as one of another version.
func (s *Snapshot) Find(a Add) (Add, bool) {
	i, _, ok := s.files.find(a.at, a.Vector.ID())
	if !ok {
		return Add{}, false
	}
	return s.files.at(i), true
}

// starts returns where a replay up to v may begin, the newest first. Version -1
// stands for the empty table before commit 0.
func (l *Log) starts(v int64) []checkpoint {
	var out []checkpoint
	for _, c := range l.checkpoints {
		if c.version >= 0 && c.version <= v {
			out = append(out, c)
		}
	}
	if _, ok := l.commits[0]; ok {
		out = append(out, checkpoint{version: -1})
	}
	return out
}

// replayer carries a snapshot forward, commit by commit.
type replayer struct {
	l *Log
	s *Snapshot
	// actions are those of the checkpoint's parts, as its hint counts them.
	actions int64
}

// start reads a checkpoint, or begins with nothing.
func (l *Log) start(ctx context.Context, c checkpoint) (*replayer, error) {
	s := &Snapshot{Root: l.root.Root, Start: c.version, Txns: map[string]int64{}}
	s.Version.Number = c.version
	r := &replayer{l: l, s: s}
	if c.version < 0 {
		s.files, _ = newFileSet(fileList{})
		return r, nil
	}
	acts, objects, err := l.readCheckpoint(ctx, c)
	if err != nil {
		return nil, err
	}
	r.actions = acts.inParts
	var twice *Add
	if s.files, twice = newFileSet(acts.files); twice != nil {
		return nil, badLog(c.parts[0].Key, "adds %s%s twice", twice.Path, under(twice.Vector.ID()))
	}
	s.log = slices.Clone(objects)
	for _, text := range acts.odd {
		s.oddity(c.parts[0].Key, "%s", text)
	}
	// The checkpoint does not tell when its version was committed; its commit
	// does, where log cleanup has left it.
	var info commitInfo
	if own, err := l.commit(ctx, c.version); err == nil {
		info = own.info
	} else if !broken(err) {
		return nil, err
	}
	o, ok := l.commits[c.version]
	if !ok {
		o = c.parts[0]
	}
	return r, r.apply(acts, info, c.version, o)
}

// apply adds one commit's (or checkpoint's) actions.
func (r *replayer) apply(acts *actions, info commitInfo, v int64, o table.Object) error {
	s := r.s
	if acts.protocol != nil {
		s.Protocol = *acts.protocol
	}
	if acts.metadata != nil {
		s.Metadata = *acts.metadata
	}
	if s.Metadata.ID == "" || s.Protocol.MinReaderVersion == 0 {
		return badLog(o.Key, "version %d of a table without protocol or metadata", v)
	}
	if err := s.Protocol.check(r.l.root.Root, v); err != nil {
		if err.Managed() {
			err.Staged = len(r.l.staged)
		}
		return err
	}
	if err := r.l.coordinated(s, v); err != nil {
		return err
	}
	for _, id := range acts.removes {
		s.files.remove(id)
	}
	for _, a := range acts.adds {
		s.files.put(a)
	}
	for _, t := range acts.txns {
		s.Txns[t.AppID] = t.Version
	}
	s.Version = timeOf(v, info, &s.Metadata, o)
	return nil
}

// replay applies the commits after the replayer's version up to and including
// to, and tells each to after. It fails where a commit is missing or corrupt,
// leaving the replayer at the version before.
func (l *Log) replay(ctx context.Context, r *replayer, to int64, after func(*actions)) error {
	versions := func(yield func(int64) bool) {
		for v := r.s.Version.Number + 1; v <= to && yield(v); v++ {
		}
	}
	for f := range l.commitsOf(ctx, versions) {
		if err := f.err; err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = fmt.Errorf("%w: %w", ErrNoStart, err)
			}
			return err
		}
		o := l.commits[f.version]
		if err := r.apply(f.actions, f.info, f.version, o); err != nil {
			return err
		}
		r.s.log = append(r.s.log, o)
		for _, text := range f.odd {
			r.s.oddity(o.Key, "%s", text)
		}
		if ahead := f.info.ahead(o); ahead > wellAhead {
			r.s.oddity(o.Key, "its writer's clock said %s, when the store's said %s: the store's time counts",
				time.UnixMilli(*f.info.Timestamp).UTC().Format(time.RFC3339), o.Modified.UTC().Format(time.RFC3339))
		}
		if after != nil {
			after(f.actions)
		}
	}
	return ctx.Err()
}

// The reader features under which files, sizes and deletion vectors of the log
// mean what this package takes them to mean. Features of the data itself are
// package scan's concern. catalogManaged is not here: its commits may lie
// outside of the log (trap 24).
var knownFeatures = map[string]bool{
	"columnMapping": true, "deletionVectors": true, "timestampNtz": true,
	"typeWidening": true, "typeWidening-preview": true, "v2Checkpoint": true, "vacuumProtocolCheck": true,
	"variantType": true, "variantType-preview": true, "variantShredding": true, "variantShredding-preview": true,
}

// check refuses what this package cannot read.
func (p Protocol) check(root table.Root, v int64) *FeatureError {
	var unknown []string
	if p.MinReaderVersion > 3 {
		unknown = append(unknown, fmt.Sprintf("minReaderVersion %d", p.MinReaderVersion))
	}
	for _, f := range p.ReaderFeatures {
		if !knownFeatures[f] {
			unknown = append(unknown, f)
		}
	}
	if unknown == nil {
		return nil
	}
	return &FeatureError{Table: root.String(), Version: v, Features: unknown}
}

// audit holds a snapshot against what else is known of its version.
func (l *Log) audit(ctx context.Context, s *Snapshot) error {
	if a, b := s.files.double(); a != nil {
		return fmt.Errorf("%w: delta table %s at version %d has %s live twice, with deletion vectors %q and %q: its rows would count double",
			ErrCorrupt, l.root, s.Version.Number, a.Path, a.Vector.ID(), b.Vector.ID())
	}
	o, ok := l.crcs[s.Version.Number]
	if !ok {
		return nil
	}
	body, err := l.get(ctx, o)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // optional, and gone since the listing
		}
		return err
	}
	return s.checksum(o.Key, body)
}

// checksum compares the snapshot with its version checksum file (.crc). The file is
// optional, so that one that cannot be read is an oddity; one that says otherwise
// than the log is evidence that a part of the log is not what was written.
func (s *Snapshot) checksum(key string, body []byte) error {
	var crc struct {
		TableSizeBytes *int64    `json:"tableSizeBytes"`
		NumFiles       *int64    `json:"numFiles"`
		Metadata       *Metadata `json:"metadata"`
		Protocol       *Protocol `json:"protocol"`
		ICT            *int64    `json:"inCommitTimestampOpt"`
		Vectors        *int64    `json:"numDeletionVectorsOpt"`
		Deleted        *int64    `json:"numDeletedRecordsOpt"`
		Txns           []txn     `json:"setTransactions"`
	}
	if err := strictjson.Unmarshal(body, &crc); err != nil {
		s.oddity(key, "it cannot be read as a checksum file, and is left out: %v", err)
		return nil
	}
	differs := func(what string, want, got any) error {
		return badLog(key, "records %s %v, the log gives %v; a part of the log may be missing or replaced", what, want, got)
	}
	for _, t := range crc.Txns {
		if have, ok := s.Txns[t.AppID]; !ok || have != t.Version {
			return differs("transaction of "+t.AppID, t.Version, have)
		}
	}
	var vectors, deleted int64
	for a := range s.files.all() {
		if a.Vector != nil {
			vectors++
			deleted += a.Vector.Cardinality
		}
	}
	switch {
	case crc.NumFiles != nil && *crc.NumFiles != int64(s.Len()):
		return differs("numFiles", *crc.NumFiles, s.Len())
	case crc.TableSizeBytes != nil && *crc.TableSizeBytes != s.Bytes():
		return differs("tableSizeBytes", *crc.TableSizeBytes, s.Bytes())
	case crc.Metadata != nil && crc.Metadata.ID != s.Metadata.ID:
		return differs("table id", crc.Metadata.ID, s.Metadata.ID)
	case crc.Metadata != nil && crc.Metadata.SchemaString != s.Metadata.SchemaString:
		return differs("schema", crc.Metadata.SchemaString, s.Metadata.SchemaString)
	case crc.Metadata != nil && !maps.Equal(crc.Metadata.Configuration, s.Metadata.Configuration):
		return differs("properties", crc.Metadata.Configuration, s.Metadata.Configuration)
	case crc.Metadata != nil && !slices.Equal(crc.Metadata.PartitionColumns, s.Metadata.PartitionColumns):
		return differs("partition columns", crc.Metadata.PartitionColumns, s.Metadata.PartitionColumns)
	case crc.Protocol != nil && (crc.Protocol.MinReaderVersion != s.Protocol.MinReaderVersion || crc.Protocol.MinWriterVersion != s.Protocol.MinWriterVersion):
		return differs("protocol", *crc.Protocol, s.Protocol)
	case crc.Protocol != nil && !slices.Equal(crc.Protocol.Features(), s.Protocol.Features()):
		return differs("features", crc.Protocol.Features(), s.Protocol.Features())
	case crc.Vectors != nil && *crc.Vectors != vectors:
		return differs("deletion vectors", *crc.Vectors, vectors)
	case crc.Deleted != nil && *crc.Deleted != deleted:
		return differs("deleted rows", *crc.Deleted, deleted)
	case crc.ICT != nil && s.Version.From == table.InCommit && !s.Version.Time.Equal(time.UnixMilli(*crc.ICT)):
		return differs("in-commit timestamp", time.UnixMilli(*crc.ICT).UTC(), s.Version.Time)
	}
	return nil
}
