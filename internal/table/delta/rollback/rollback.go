// Package rollback plans and commits a RESTORE: a new commit after which a Delta
// table holds what an older version held.
//
// Nothing is truncated and no version number is used twice: the log grows by one
// commit, and the versions in between stay readable as evidence. The commit
// follows PROTOCOL.md of delta-io/delta and the RESTORE of its Spark engine:
//
//   - logical files are told apart by path and deletion vector; those that only
//     the target has are added again, with every field that their last add had,
//     and those that only the head has are removed, both as changes of data;
//   - metadata becomes the target's, but what counts upward never falls: identity
//     columns, row ids, column ids, the protocol, in-commit timestamps;
//   - transaction identifiers and the domains of users stay as they are.
//
// A [Plan] is worked out against one observed head and can be committed only
// right above it, by put-if-absent. Each commit carries the caller's token, so
// that a caller who lost the answer finds its own commit and makes no second one
// (trap 29).
//
// # What is refused
//
// A table whose commits belong to a catalog ([ErrCatalogManaged]), a protocol
// that asks writers for something unknown here ([FeatureError]), an append-only
// table from which files would be removed, and a target of which an object is
// gone or has another size ([MissingError]). All of them are [ErrRefused].
package rollback

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/plural"
	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"

	"golang.org/x/sync/errgroup"
)

// ErrRefused says that a rule of the protocol, or the state of the target,
// forbids the restore: no retry can help.
var ErrRefused = table.Kind("restore refused", table.ErrRefused)

// ErrMoved says that the head is no longer the one that was planned against.
// Nothing was written.
var ErrMoved = table.ErrHeadMoved

// ErrCatalogManaged says that a catalog, and not the file system, decides which
// commits of the table count. It is also an [ErrRefused].
var ErrCatalogManaged = fmt.Errorf("%w: its commits are managed by a catalog", ErrRefused)

// FeatureError names what the table asks of writers and is not known here.
type FeatureError struct {
	Table    string
	Version  int64
	Features []string
}

func (e *FeatureError) Error() string {
	return fmt.Sprintf("delta table %s at version %d asks its writers for what is not known here: %s; restore it with an engine that supports that",
		e.Table, e.Version, strings.Join(e.Features, ", "))
}

// Unwrap makes it an [ErrRefused].
func (e *FeatureError) Unwrap() error { return ErrRefused }

// MissingError tells of objects of the target that are not there as recorded.
type MissingError struct {
	Table   string
	Version int64
	Lacks   []table.Lack
	Of      int // objects that the version needs
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%d of the %s of version %d of delta table %s are not there as recorded, the first: %s; bring these %d back, or choose another version",
		len(e.Lacks), plural.Of(e.Of, "object"), e.Version, e.Table, e.Lacks[0], len(e.Lacks))
}

// Unwrap makes it an [ErrRefused], and a [table.ErrMissing].
func (e *MissingError) Unwrap() []error { return []error{ErrRefused, table.ErrMissing} }

// Plan is the exact commit that takes a table from the head that was seen back
// to the content of a version.
type Plan struct {
	Root         table.Root
	Head, Target table.Version
	Metrics      table.Metrics
	Between      table.Between
	Marks        Marks // that the restored table must not fall below
	// Digest is the SHA-256, in hexadecimal, of everything in the commit but its
	// time and its token: equal digests mean equal commits.
	Digest string
	// Outside names the folders outside of the table from which files are added
	// again.
	Outside []string
	// Kept names domains of metadata that stay as the head has them.
	Kept []string
	// Replays are the versions after the target that are kept, in order, and Later is what
	// becomes of every one, where any is to be kept.
	Replays []int64
	Later   []table.Later
	// Given is how many rows can be given up at most, -1 where the statistics do not say.
	Given int64
	// Differs says that the target's metadata is not the head's.
	Differs bool

	protocol   []byte
	metadata   map[string]json.RawMessage
	enablesICT bool // the commit turns in-commit timestamps on
	preserved  bool // stable row ids are all kept; false without row tracking
	domains    []domain
	removes    []removal
	adds       []added
}

// Empty reports whether the head has the target's files and metadata already.
func (p *Plan) Empty() bool { return len(p.adds) == 0 && len(p.removes) == 0 && !p.Differs }

// Added yields the paths of the files that are added again, in order.
func (p *Plan) Added() []string {
	paths := make([]string, len(p.adds))
	for i, a := range p.adds {
		paths[i] = a.path
	}
	return paths
}

// Removed yields the paths of the files that are removed, in order.
func (p *Plan) Removed() []string {
	paths := make([]string, len(p.removes))
	for i, r := range p.removes {
		paths[i] = pathOf(r)
	}
	return paths
}

// Configuration is the table's properties after the restore.
func (p *Plan) Configuration() map[string]string {
	var conf map[string]string
	if json.Unmarshal(p.metadata["configuration"], &conf) != nil {
		return nil // cannot be: merge wrote it, or read it before
	}
	return conf
}

func pathOf(fields map[string]json.RawMessage) string {
	var path string
	if json.Unmarshal(fields["path"], &path) != nil {
		return string(fields["path"])
	}
	return path
}

// added is an add action, and its path as the log has it.
type added struct {
	path string
	body json.RawMessage
}

// removal is a remove action without its time.
type removal = map[string]json.RawMessage

type fileID struct{ bucket, key, vector string }

func idOf(a delta.Add) fileID {
	bucket, key := a.File()
	return fileID{bucket, key, a.Vector.ID()}
}

// New plans the restore of a version against the log's head, and keeps the commits named
// after it. It reads the log and lists the table once, and asks for no object by itself.
func New(ctx context.Context, store table.Store, l *delta.Log, target int64, keep ...int64) (*Plan, error) {
	fail := func(doing string, err error) (*Plan, error) {
		return nil, fmt.Errorf("plan to restore delta table %s to version %d: %s: %w", l.Root(), target, doing, err)
	}
	if beyond := l.Beyond(); len(beyond) > 0 {
		return fail("look above its head", fmt.Errorf("%w: objects of the log speak of versions above the head %d: %d, the first %s; they would be taken to speak of the restore's commit: bring the commits that they belong to, or move them aside (table.promote to version %d does)",
			ErrRefused, l.Head(), len(beyond), beyond[0], l.Head()))
	}
	if pending := l.Pending(); len(pending) > 0 {
		return fail("look above its head", fmt.Errorf("%w: %s; the restore's commit would bury it", ErrRefused, pending[0]))
	}
	// The listing takes longest, and most of that in the server: everything that the
	// log says is worked out meanwhile.
	var have holdings
	var p *Plan
	var to *Aimed
	var d diff
	work, wctx := errgroup.WithContext(ctx)
	work.Go(func() (err error) {
		have, err = listed(wctx, store, l.Root())
		return err
	})
	work.Go(func() (err error) {
		if to, err = Aim(wctx, l, target, keep); err != nil {
			return err
		}
		p, d, err = fromLog(wctx, l, to)
		return err
	})
	if err := work.Wait(); err != nil {
		return fail("look at it", err)
	}
	if err := present(ctx, store, to.Snapshot, d, have, p); err != nil {
		return fail("look for its objects", err)
	}
	return p, nil
}

// Aim is what a table holds after the restore of a version that keeps the commits named
// after it. Its number is the version's.
func Aim(ctx context.Context, l *delta.Log, target int64, keep []int64) (*Aimed, error) {
	then, err := snapshot(l.Snapshot(ctx, target))
	if err != nil {
		return nil, fmt.Errorf("read that version: %w", err)
	}
	to, err := aimAt(ctx, l, then, keep)
	if err != nil {
		return nil, fmt.Errorf("keep commits after it: %w", err)
	}
	return to, nil
}

// fromLog is the plan as the log alone gives it, and what it changes.
func fromLog(ctx context.Context, l *delta.Log, then *Aimed) (*Plan, diff, error) {
	fail := func(doing string, err error) (*Plan, diff, error) {
		return nil, diff{}, fmt.Errorf("%s: %w", doing, err)
	}
	now, err := snapshot(l.SnapshotAfter(ctx, then.target, l.Head()))
	if err != nil {
		return fail("read its head", err)
	}
	d := difference(now, then.Snapshot)
	p := &Plan{Root: l.Root(), Head: now.Version, Target: then.Version, Replays: then.kept, Later: then.later}
	p.Metrics = table.Metrics{
		Restored: len(d.back), Removed: len(d.away), FilesAfter: then.Len(), BytesAfter: then.Bytes(),
		RowsBefore: now.Rows(), RowsAfter: then.Rows(), RowsRemoved: rowsOf(maps.Values(d.away)),
	}
	p.Given = then.atMost(p.Metrics.RowsRemoved)
	h, err := replay(ctx, l, now, then.Snapshot, d)
	if err != nil {
		return fail("read its log", err)
	}
	p.Between = then.between(h.between)
	if err := p.merge(now, then.Snapshot, h); err != nil {
		return fail("merge its metadata", err)
	}
	if err := p.collect(d, h); err != nil {
		return fail("collect its files", err)
	}
	if err := p.appendOnly(now); err != nil {
		return fail("remove files", err)
	}
	if p.Digest, err = p.digest(); err != nil {
		return fail("sum it up", err)
	}
	return p, d, nil
}

// snapshot is a version that a restore may start from or go to.
func snapshot(s *delta.Snapshot, err error) (*delta.Snapshot, error) {
	var feature *delta.FeatureError
	if errors.As(err, &feature) && feature.Managed() {
		return nil, fmt.Errorf("%w (%s): restore it through its catalog or commit coordinator: %w", ErrCatalogManaged, strings.Join(feature.Features, ", "), err)
	}
	if err != nil {
		return nil, err
	}
	return s, writable(s)
}

// diff is what tells two versions apart by path and deletion vector.
type diff struct {
	back, away  map[fileID]delta.Add // only the target has, only the head has
	paths, gone map[string]fileID    // of these, as in the log; a path that a deletion vector goes with has no key
}

func difference(now, then *delta.Snapshot) diff {
	d := diff{back: map[fileID]delta.Add{}, away: map[fileID]delta.Add{}}
	for a := range now.Each() {
		if !then.Has(a) {
			d.away[idOf(a)] = a
		}
	}
	for a := range then.Each() {
		if !now.Has(a) {
			d.back[idOf(a)] = a
		}
	}
	d.paths, d.gone = pathsOf(d.back), pathsOf(d.away)
	return d
}

func pathsOf(files map[fileID]delta.Add) map[string]fileID {
	paths := make(map[string]fileID, len(files))
	for id, a := range files {
		if _, twice := paths[a.Path]; twice || a.Vector != nil {
			id = fileID{}
		}
		paths[a.Path] = id
	}
	return paths
}

// rowsOf is how many rows are live in files, -1 where one does not say.
func rowsOf(files iter.Seq[delta.Add]) int64 {
	var sum int64
	for a := range files {
		n := a.Rows()
		if n < 0 {
			return -1
		}
		sum += n
	}
	return sum
}

// holdings are the objects of a listing: their sizes, and those of which it does not tell
// whether they lie in an archive.
type holdings struct {
	sizes map[string]int64
	ask   map[string]table.Object
}

// listed is every object of the table, as one listing shows them.
func listed(ctx context.Context, store table.Store, root table.Root) (holdings, error) {
	prefix := ""
	if root.Prefix != "" {
		prefix = root.Prefix + "/"
	}
	have := holdings{map[string]int64{}, map[string]table.Object{}}
	for o, err := range store.List(ctx, prefix) {
		if err != nil {
			return have, fmt.Errorf("list its objects: %w", reach.Mark(err))
		}
		if have.sizes[o.Key] = o.Found(); o.Ask != nil {
			have.ask[o.Key] = o
		}
	}
	return have, nil
}

// settle asks of what a version needs whether it lies in an archive, where the listing
// does not tell.
func (h holdings) settle(ctx context.Context, then *delta.Snapshot) error {
	needed := map[string]table.Object{}
	for a := range then.Each() {
		for _, f := range a.Needs() {
			if o, ok := h.ask[f.Key]; ok && f.Bucket == "" {
				needed[f.Key] = o
			}
		}
	}
	return table.Ask(ctx, maps.Values(needed), func(key string, size int64) { h.sizes[key] = size })
}

// present holds the target against one listing of the table, and of the folders
// in its bucket that it needs besides. Files that are live already and lie in a
// bucket that is not listed here are none of its business; files that come back
// must be seen.
func present(ctx context.Context, store table.Store, then *delta.Snapshot, d diff, have holdings, p *Plan) error {
	p.Outside = then.Outside()
	for _, uri := range p.Outside {
		dir, ok := strings.CutPrefix(uri, "s3://"+then.Root.Bucket+"/")
		if !ok {
			continue
		}
		more, err := listed(ctx, store, table.Root{Prefix: dir})
		if err != nil {
			return err
		}
		maps.Copy(have.sizes, more.sizes)
		maps.Copy(have.ask, more.ask)
	}
	if err := have.settle(ctx, then); err != nil {
		return err
	}
	var lacks []table.Lack
	told := map[[2]string]bool{} // one file holds several deletion vectors
	of := 0
	for a := range then.Each() {
		for _, f := range a.Needs() {
			if f.Bucket != "" {
				if _, back := d.back[idOf(a)]; !back {
					continue
				}
			}
			of++
			found, ok := have.sizes[f.Key]
			if !ok || f.Bucket != "" {
				found = -1
			}
			if lack, bad := table.Judge(f, found); bad && !told[[2]string{f.Bucket, f.Key}] {
				told[[2]string{f.Bucket, f.Key}] = true
				lacks = append(lacks, lack)
			}
		}
	}
	if len(lacks) > 0 {
		slices.SortFunc(lacks, table.Lack.Compare)
		return &MissingError{then.Root.String(), then.Version.Number, lacks, of}
	}
	return nil
}

// appendOnly refuses to remove files from a table that promises to keep them.
func (p *Plan) appendOnly(now *delta.Snapshot) error {
	if len(p.removes) > 0 && now.Metadata.Configuration["delta.appendOnly"] == "true" {
		return fmt.Errorf("%w: the table is append-only and %s would be removed; set delta.appendOnly to false first", ErrRefused, plural.Of(len(p.removes), "file"))
	}
	return nil
}

// encode is JSON without escapes that only HTML needs.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
