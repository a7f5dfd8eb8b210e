package port

import (
	"context"
	"fmt"
	"iter"

	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/check"
)

var (
	_ table.Inspector = opened{}
	_ table.Described = snapshot{}
)

// Point finds the version that is chosen.
func (o opened) Point(ctx context.Context, c table.Choice) (table.Point, error) {
	p, err := o.log.Point(ctx, c)
	out := table.Point{Time: p.Time, Complete: p.Complete, Lacks: p.Lacks, Objects: p.Objects, Above: p.Above, Outside: p.Outside, Warnings: p.Warnings}
	if p.Snapshot != nil {
		out.Snapshot = snapshot{p.Snapshot, o}
	}
	return out, err
}

// States yields what time travel finds.
func (o opened) States(ctx context.Context) iter.Seq2[table.State, error] { return o.log.States(ctx) }

// Check holds the table against what its log says of it.
func (o opened) Check(ctx context.Context, c table.CheckOptions) (table.Findings, error) {
	options := check.Options{Want: c.Choice, Sample: c.Sample, Seed: c.Seed, Now: c.Now}
	if c.Against != nil {
		var err error
		if options.Against, err = logOf(c.Against); err != nil {
			return table.Findings{}, err
		}
	}
	r, err := check.Table(ctx, o.store, o.log, options)
	if r.Snapshot != nil {
		r.Findings.Snapshot = snapshot{r.Snapshot, o}
	}
	return r.Findings, err
}

// Describe says what the version consists of.
func (s snapshot) Describe() table.Description {
	d := table.Description{
		ID: s.Metadata.ID, Name: s.Metadata.Name, Files: s.Len(), Bytes: s.Bytes(), Partition: s.Metadata.PartitionColumns,
		Protocol: protocol{s.Protocol}, Features: s.Protocol.Features(), Properties: s.Metadata.Configuration, Txns: s.Txns,
	}
	for a := range s.Files() {
		if a.Vector != nil {
			d.Deletes++
			d.Deleted += a.Vector.Cardinality
		}
	}
	return d
}

// protocol is Delta's, in words.
type protocol struct{ delta.Protocol }

func (p protocol) String() string {
	return fmt.Sprintf("reader %d, writer %d", p.MinReaderVersion, p.MinWriterVersion)
}

// CountRows counts by the log, and by footers where it does not say.
func (s snapshot) CountRows(ctx context.Context) (int64, int, error) {
	return check.Rows(ctx, s.of.store, s.Snapshot)
}
