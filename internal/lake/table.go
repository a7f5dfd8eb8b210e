// Package lake holds what the rooms of activities share: a table, a group's evidence
// and a group's backups where they stand, and trials with real credentials. It turns
// what it sees into observations, and changes nothing but the probes of a trial.
package lake

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/backup/depot"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/plural"
	"breakwater/internal/query"
	"breakwater/internal/table"
	"breakwater/internal/table/location"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"

	"golang.org/x/crypto/ssh"
)

// RegionFor is the region that a step about objects acts in.
func RegionFor(run action.Run, e *estate.Estate, asked string) (string, error) {
	name := asked
	if name == "" {
		name = run.Target
	}
	for _, r := range e.Regions {
		if r.Region == name || name == "" && r.Role == estate.Primary {
			return r.Region, nil
		}
	}
	return "", fmt.Errorf("%w: estate %s has no region %q; name one in the step's region", action.ErrRefused, e.Estate, name)
}

// Groups are the consistency groups in a run's scope.
func Groups(e *estate.Estate, run action.Run) []*estate.Group {
	var groups []*estate.Group
	for _, i := range e.Items(estate.GroupKind, estate.Filter{Groups: run.Groups}) {
		if g, ok := e.Group(i.Name); ok {
			groups = append(groups, g)
		}
	}
	return groups
}

// TableIn is a table in the region that a step about it acts in.
func (s Lake) TableIn(ctx context.Context, run action.Run, e *estate.Estate, asked, name string) (Table, error) {
	region, err := RegionFor(run, e, asked)
	if err != nil {
		return Table{}, err
	}
	return s.Table(ctx, e, region, name)
}

// systems is what the package needs of the outside systems.
type systems interface {
	Bucket(ctx context.Context, e *estate.Estate, region, logical string) (objectstore.Bucket, error)
	StorageAs(ctx context.Context, e *estate.Estate, region string, ref estate.Ref, who string) (objectstore.Store, error)
	Depot(ctx context.Context, e *estate.Estate) (depot.Depot, error)
	Format(word string) (table.Format, error)
	Signer(ctx context.Context, e *estate.Estate) (ssh.Signer, error)
}

// Lake finds what stands in the estate's storage.
type Lake struct{ systems }

// New returns a Lake over the systems.
func New(s systems) Lake { return Lake{s} }

// Table is a table in one region.
type Table struct {
	Name   string
	Group  *estate.Group
	Decl   *estate.Table
	Region string
	Bucket objectstore.Bucket
	Format table.Format
	Store  table.Store
	Root   table.Root
}

// Table finds a table in a region, seen with recovery's own credentials there.
func (s Lake) Table(ctx context.Context, e *estate.Estate, region, name string) (Table, error) {
	t, g, ok := e.Table(name)
	if !ok {
		return Table{}, fmt.Errorf("%w: estate %s has no table %q", action.ErrRefused, e.Estate, name)
	}
	b, err := s.Bucket(ctx, e, region, t.Bucket)
	if err != nil {
		return Table{}, err
	}
	f, err := s.Format(t.Format)
	if err != nil {
		return Table{}, fmt.Errorf("table %s: %w: %w", name, action.ErrRefused, err)
	}
	return Table{
		Name: name, Group: g, Decl: t, Region: region, Bucket: b, Format: f,
		Store: location.Bucket{Of: b}, Root: table.Root{Bucket: b.Name(), Prefix: t.Path},
	}, nil
}

// Open lists the table's log as it is now.
func (t Table) Open(ctx context.Context) (table.Table, error) {
	return t.Format.Open(ctx, t.Store, t.Root)
}

// LogDir is the prefix of the table's log.
func (t Table) LogDir() string { return t.Format.Log(t.Root) }

// Site is the table as who changes it is given it.
func (t Table) Site() table.Site {
	return table.Site{Store: location.Bucket{Of: t.Bucket}, Root: t.Root, Name: t.Name}
}

// Lacking holds a version against a fresh listing: what of it is not there as
// recorded, out of how many objects.
func (t Table) Lacking(ctx context.Context, s table.Snapshot) ([]table.Lack, int, error) {
	prefixes := []string{t.Root.Prefix + "/"}
	for _, uri := range s.Outside() { // folders of other tables, for shallow clones
		if dir, ok := strings.CutPrefix(uri, "s3://"+t.Root.Bucket+"/"); ok {
			prefixes = append(prefixes, dir+"/")
		}
	}
	return table.Lacking(ctx, s.Closure(), func(yield func(table.Object, error) bool) {
		for _, p := range prefixes {
			for o, err := range t.Store.List(ctx, p) {
				if !yield(o, err) {
					return
				}
			}
		}
	})
}

// Whole observes that every object of a version is present at its size.
func (t Table) Whole(ctx context.Context, run action.Run, l table.Table, version int64) action.Observation {
	what := fmt.Sprintf("every object of version %d is present at its size", version)
	done, err := reading(ctx, l)
	if err != nil {
		return t.NotSeen(run, what, "memory to read it in", err)
	}
	defer done()
	s, err := l.Snapshot(ctx, version)
	if err != nil {
		return t.NotSeen(run, what, "a version that its log gives", err)
	}
	lacks, n, err := t.Lacking(ctx, s)
	if err != nil {
		return t.NotSeen(run, what, "a listing", err)
	}
	want, got := plural.Of(n, "object"), plural.Of(n, "object")
	if len(lacks) > 0 {
		got = fmt.Sprintf("%d of %d lack, the first: %s", len(lacks), n, lacks[0])
	}
	return t.About(action.Saw(what, want, got, len(lacks) == 0 && n > 0))
}

// About names the table in an observation.
func (t Table) About(o action.Observation) action.Observation {
	o.Item = t.Name
	return o
}

// NotSeen is the observation of something that could not be read: fail where the
// store's answer shows that it is gone or broken, else unknown.
func (t Table) NotSeen(run action.Run, what, want string, err error) action.Observation {
	if !Answered(err) {
		return t.About(action.Unknown(run, t.Region, what, want, err, fmt.Sprintf("look at table %s in %s again: %s", t.Name, t.Region, what)))
	}
	return t.About(action.Observation{What: what, Want: want, Got: err.Error(), Verdict: verdict.Fail})
}

// Answered reports whether an error about a table says something about the table,
// rather than about our way to it or what we know of its format.
func Answered(err error) bool {
	return objectstore.Answered(err) && !errors.Is(err, table.ErrUnsupported)
}

// LogBroken reports whether an error says that an object of the log is gone or
// unreadable, which one can step around.
func LogBroken(err error) bool {
	return Answered(err) && (errors.Is(err, table.ErrBroken) || errors.Is(err, fs.ErrNotExist))
}

func sum(ctx context.Context, format string, snap table.Snapshot) (table.Digest, error) {
	r, err := table.Able[table.RowReader](format, snap, "read row by row")
	if err != nil {
		return table.Digest{}, Classed(err)
	}
	return r.Sum(ctx)
}

// Queryable is a version of a table as SQL reads it.
func Queryable(t Table, snap table.Snapshot) (query.Table, error) {
	source, err := table.Able[query.Source](t.Format.Name(), snap, "queried")
	if err != nil {
		return nil, Classed(err)
	}
	return source.Queryable()
}

// ReadVersion is [RecordOf] a version by its number.
func ReadVersion(ctx context.Context, t Table, l table.Table, version int64) (witness.Record, error) {
	snap, err := l.Snapshot(ctx, version)
	if err != nil {
		return witness.Record{}, err
	}
	return RecordOf(ctx, t, snap)
}

// RecordOf reads all rows of a version. Where a column's type cannot be read, the record
// has no hash, and the rows that the log says.
func RecordOf(ctx context.Context, t Table, snap table.Snapshot) (r witness.Record, err error) {
	r = witness.Record{Table: t.Name, Version: snap.Version().Number, CommittedAt: snap.Version().Time}
	r.Rows, r.Hash, err = RowsOf(ctx, t.Format.Name(), snap)
	return r, err
}

// Read is how a version was read beside what is kept of its files.
type Read struct {
	Writes int64    // objects that keep what was read
	Words  string   // how many files were read
	Notes  []string // see [witness.Files]
}

// RecordKept is [RecordOf] that reads only the files of which the journal has not kept
// what they came to, and keeps that of those. Guard is asked before each write.
func RecordKept(ctx context.Context, t Table, snap table.Snapshot, j witness.Journal, guard func(context.Context) error) (r witness.Record, read Read, err error) {
	files, err := table.Able[table.FileReader](t.Format.Name(), snap, "read file by file")
	if err != nil {
		r, err = RecordOf(ctx, t, snap)
		return r, read, err
	}
	r = witness.Record{Table: t.Name, Version: snap.Version().Number, CommittedAt: snap.Version().Time}
	reading, err := files.Reading()
	if errors.Is(err, table.ErrColumn) {
		r.Rows = snap.Rows()
		return r, read, nil
	}
	if err != nil {
		return r, read, err
	}
	of := sha256.Sum256(append([]byte(t.Region+" "+t.Name+" "), reading[:]...)) // files of another region may be others of the same name
	kept, err := j.Files(ctx, t.Name, of, guard)
	if err != nil {
		return r, read, err
	}
	d, n, err := files.SumWith(ctx, kept)
	if err == nil {
		err = kept.Save(ctx)
	}
	r.Rows, r.Hash = d.Rows, d.Hash()
	return r, Read{kept.Writes, fmt.Sprintf("read %d of its %s", n, plural.Of(n+kept.Reused, "file")), kept.Notes}, err
}
