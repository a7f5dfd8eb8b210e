package lake

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/table"
)

// outside is a folder that holds objects of a table and is no part of it: its log
// names them by absolute paths, as that of a shallow clone does (traps 5 and 27).
type outside struct {
	uri    string
	region string // whose bucket it is; empty where the estate has no such bucket
	table  string // of the estate whose folder it is; empty where none is
	group  string // of that table
}

// outsideOf says where a version's files lie that are no part of the table.
func outsideOf(e *estate.Estate, s table.Snapshot) []outside {
	var all []outside
	for _, uri := range s.Outside() {
		o := outside{uri: uri}
		bucket, dir, _ := strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
		logical := ""
		for _, b := range e.Buckets {
			for region, real := range b.In {
				if real == bucket && strings.HasPrefix(uri, "s3://") {
					logical, o.region = b.Bucket, region
				}
			}
		}
		for _, g := range e.Groups {
			for _, t := range g.Tables {
				if t.Bucket == logical && (dir == t.Path || strings.HasPrefix(dir, t.Path+"/")) {
					o.table, o.group = t.Table, g.Group
				}
			}
		}
		all = append(all, o)
	}
	return all
}

// elsewhere are the folders in buckets other than the table's own: nothing at the
// target can show that what they hold is there, and readers of the promoted table
// would go on reading there.
func (t Table) elsewhere(e *estate.Estate, s table.Snapshot) []outside {
	return slices.DeleteFunc(outsideOf(e, s), func(o outside) bool {
		return strings.HasPrefix(o.uri, "s3://"+t.Root.Bucket+"/")
	})
}

func (o outside) String() string {
	switch {
	case o.region == "":
		return o.uri + ", in no bucket of the estate"
	case o.table == "":
		return fmt.Sprintf("%s, in region %s", o.uri, o.region)
	}
	return fmt.Sprintf("%s, which is table %s in region %s", o.uri, o.table, o.region)
}

// RefuseElsewhere refuses a version that needs other buckets. Promoting leaves
// every byte of the log as it is, so absolute paths would still lead there.
func (t Table) RefuseElsewhere(e *estate.Estate, s table.Snapshot) error {
	far := t.elsewhere(e, s)
	if len(far) == 0 {
		return nil
	}
	return fmt.Errorf("version %d of table %s names files by absolute paths in %s; promoted, its readers would go on reading there: rewrite it into files of its own (a copy, or OPTIMIZE of all of it) while that region answers, or take the table out of the estate's group: %w",
		s.Version().Number, t.Name, far[0], action.ErrRefused)
}

// AcceptOutside asks for what a version needs in its own bucket and outside of
// the table: a table of the same group comes back at the same cut, everything else
// may be older or newer there than this table believes.
func (t Table) AcceptOutside(e *estate.Estate, s table.Snapshot) []action.Acceptance {
	var all []action.Acceptance
	for _, o := range outsideOf(e, s) {
		if o.table != "" && o.group == t.Group.Group {
			continue
		}
		all = append(all, action.Acceptance{
			ID:       "outside " + t.Name,
			Sentence: fmt.Sprintf("Table %s needs files in %s, which comes back on its own or not at all. They are there now; whoever deletes or vacuums there breaks this table.", t.Name, o),
		})
	}
	return all
}

// AbsolutePaths refuses a table of which no version can come back because its
// files lie in other buckets, and tells of the versions that are given up for it.
func (ev *GroupEvidence) AbsolutePaths(ctx context.Context, e *estate.Estate) ([]action.Acceptance, error) {
	var all []action.Acceptance
	for _, t := range ev.Tables {
		if t.Log == nil {
			continue
		}
		first := slices.IndexFunc(t.above, func(a table.Above) bool {
			return slices.ContainsFunc(a.Lacks, func(l table.Lack) bool { return l.Fault == table.Elsewhere })
		})
		if t.Newest != nil && first < 0 {
			continue
		}
		head, err := t.Log.Snapshot(ctx, t.Log.Extent().Head)
		if err != nil && !LogBroken(err) {
			return nil, err
		}
		if t.Newest == nil {
			if err == nil {
				err = t.RefuseElsewhere(e, head)
			}
			if err != nil && !LogBroken(err) {
				return nil, err
			}
			continue
		}
		lack := t.above[first].Lacks[slices.IndexFunc(t.above[first].Lacks, func(l table.Lack) bool { return l.Fault == table.Elsewhere })]
		all = append(all, action.Acceptance{
			ID: "absolute-paths " + t.Name,
			Sentence: fmt.Sprintf("Versions of table %s from %d on name files by absolute paths in another bucket, the first %s. They cannot come back here and are given up.",
				t.Name, t.above[first].Version.Number, lack.File.URI()),
		})
	}
	return all, nil
}
