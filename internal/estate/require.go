package estate

import (
	"cmp"
	"fmt"
	"slices"

	"breakwater/internal/plural"
)

// Requirement is something that an action needs of an estate. What an estate lacks of it
// is known from the estate alone, so it is said before anything is started.
type Requirement struct {
	Says string // what is needed, for the documents
	// Lacks says what an estate lacks of it for what a step would act on.
	Lacks func(e *Estate, s Scope) []Lack
}

// Scope is what a step would act on.
type Scope struct {
	Source, Target string   // of the run; empty where the runbook has none
	Region         string   // the step's own, where it names one
	Items          []Item   // the step's; the estate itself where it acts once
	Groups         []string // in the run's scope; empty means all
}

// Lack is something that an estate has not, and what follows from that.
type Lack struct {
	Text string `json:"text"` // what is not there, and what to do about it
	// Price is what it costs to go on without. Empty: the step cannot pass.
	Price string `json:"price,omitempty"`
	// Foreign: the estate has nothing at all of the kind that the runbook is about, which
	// its owners may have chosen. The runbook is not for this estate, and nothing is
	// wrong with either.
	Foreign bool `json:"foreign,omitempty"`
}

// Stops reports whether a step can never pass for it.
func (l Lack) Stops() bool { return l.Price == "" }

// groups are the consistency groups of the scope's items.
func (s Scope) groups(e *Estate) []*Group {
	var all []*Group
	for i := range e.Groups {
		g := &e.Groups[i]
		if slices.ContainsFunc(s.Items, func(i Item) bool { return i.Kind == GroupKind && i.Name == g.Group }) {
			all = append(all, g)
		}
	}
	return all
}

// lack is the one thing missing, if it is.
func lack(missing bool, price, format string, args ...any) []Lack {
	if !missing {
		return nil
	}
	return []Lack{{Text: fmt.Sprintf(format, args...), Price: price}}
}

// foreign is the one thing missing, of a kind that the estate need not have.
func foreign(missing bool, format string, args ...any) []Lack {
	all := lack(missing, "", format, args...)
	for i := range all {
		all[i].Foreign = true
	}
	return all
}

// NeedsWitness is what the actions need that keep the journal.
func NeedsWitness() Requirement {
	return Requirement{"a witness's bucket", func(e *Estate, s Scope) []Lack {
		return foreign(e.Witness.Bucket == "" && len(s.Items) > 0, "the estate has no witness, so there is no journal to keep: add witness: {bucket, prefix}")
	}}
}

// NeedsSightings is what a cut is chosen better with.
func NeedsSightings() Requirement {
	return Requirement{"a witness, without which a group comes back to no moment after the last write to what of it rested longest", func(e *Estate, s Scope) []Lack {
		return lack(e.Witness.Bucket == "" && len(s.Items) > 0,
			"groups come back to the last write of what of them rested longest, and give up complete versions after it; where nothing of a group was ever written at about the same time, only the inputs assume_unchanged or leave_out help",
			"the estate has no witness, so nothing shows how long a version stayed the newest: add witness: {bucket, prefix}, and run Witness by a Schedule")
	}}
}

// NeedsWitnessedRows is what rows are held against.
func NeedsWitnessedRows() Requirement {
	return Requirement{"a witness, without which it becomes an obligation, accepted at a gate, that the rows are those of the source", func(e *Estate, s Scope) []Lack {
		return lack(e.Witness.Bucket == "" && len(s.Items) > 0,
			fmt.Sprintf("nobody wrote down what the rows of %s were: a gate must accept that, and each is left to prove as an obligation", plural.Of(len(s.Items), "table")),
			"the estate has no witness to hold rows against: add witness: {bucket, prefix}, and run Witness by a Schedule")
	}}
}

// NeedsPeaks is what bounds a loss.
func NeedsPeaks() Requirement {
	return Requirement{"a peak rate of each table and topic, without which a loss has no upper bound while the source does not answer", func(e *Estate, s Scope) []Lack {
		var without []string
		for _, g := range s.groups(e) {
			for _, t := range g.Tables {
				if t.PeakRows == 0 {
					without = append(without, t.Table)
				}
			}
			for _, t := range g.Topics {
				if t.PeakMessages == 0 {
					without = append(without, t.Topic)
				}
			}
		}
		return lack(len(without) > 0, "while the source does not answer, what they lose has no upper bound, and no RPO is claimed to be met",
			"nothing promises how fast %s can grow: write peak_rows_per_second or peak_messages_per_second there", plural.Few(without))
	}}
}

// NeedsOwnLogs names the tables that do not come back by their log.
func NeedsOwnLogs() Requirement {
	return Requirement{"tables whose log alone says what was committed; others are left out of their group's cut", func(e *Estate, s Scope) []Lack {
		var by []string
		for _, g := range s.groups(e) {
			for _, t := range g.Tables {
				if t.LogStore == Catalog {
					by = append(by, t.Table)
				}
			}
		}
		return lack(len(by) > 0, "they do not come back here: a gate accepts that their groups come back without them, and each is recovered through its catalog",
			"a catalog decides which commits of %s count (log_store: catalog)", plural.Few(by))
	}}
}

// NeedsWriters is what a fence of a region's writers needs.
func NeedsWriters() Requirement {
	return Requirement{"storage.writers of the region that is fenced, with credentials", func(e *Estate, s Scope) []Lack {
		r, ok := e.Region(cmp.Or(s.Region, s.Source))
		return lack(ok && len(s.Items) > 0 && len(r.Storage.Writers) == 0, "",
			"region %q names no storage.writers, and a fence without them denies nobody: name who writes there, with credentials to prove it by", regionName(r))
	}}
}

// NeedsReplication is what the intake of a region is closed by.
func NeedsReplication() Requirement {
	return Requirement{"storage.replication of the target, with credentials", func(e *Estate, s Scope) []Lack {
		r, ok := e.Region(cmp.Or(s.Region, s.Target))
		return lack(ok && len(s.Items) > 0 && r.Storage.Replication == nil, "",
			"region %q names no storage.replication, so its intake of objects cannot be closed: name who delivers replicas there, with credentials to prove it by", regionName(r))
	}}
}

// NeedsMirror is what says how far topics are mirrored.
func NeedsMirror() Requirement {
	return Requirement{"connect of the target, where there are topics", func(e *Estate, s Scope) []Lack {
		r, ok := e.Region(s.Target)
		return lack(ok && len(s.Items) > 0 && r.Connect == nil, "",
			"region %q names no connect, so nobody can say how far topics are mirrored there: add the Kafka Connect that runs MirrorMaker 2 into it", regionName(r))
	}}
}

// NeedsCanary is what a record is sent through.
func NeedsCanary() Requirement {
	return Requirement{"a canary topic of each group that has topics", func(e *Estate, s Scope) []Lack {
		var without []string
		for _, g := range s.groups(e) {
			if len(g.Topics) > 0 && g.Canary == nil {
				without = append(without, g.Group)
			}
		}
		return lack(len(without) > 0, "", "no canary is named for %s, so no record can be sent through: add canary: {topic}, with a topic of its own if no other will do", plural.Few(without))
	}}
}

// NeedsAccess is what rights are given by; able says why a region's storage cannot be
// told to give any.
func NeedsAccess(able func(*Region) error) Requirement {
	return Requirement{"access of each group with tables, and the target's storage.admin", func(e *Estate, s Scope) []Lack {
		r, ok := e.Region(s.Target)
		if !ok {
			return nil
		}
		var nobody, somebody []string
		for _, g := range s.groups(e) {
			readers, writers := g.AccessIn(s.Target)
			switch {
			case len(g.Tables) == 0:
			case len(readers)+len(writers) == 0:
				nobody = append(nobody, g.Group)
			default:
				somebody = append(somebody, g.Group)
			}
		}
		all := lack(len(nobody) > 0, "nobody is let in there by the run, and nothing proves who can write: rights are given by hand",
			"nobody is named who reads or writes %s in region %q: write access in the group", plural.Few(nobody), r.Region)
		if len(somebody) == 0 {
			return all
		}
		if r.Storage.Admin == "" {
			return append(all, lack(true, "", "region %q names no storage.admin, and rights to %s are given with it: add it", r.Region, plural.Few(somebody))...)
		}
		if err := able(r); err != nil {
			all = append(all, Lack{Text: err.Error()})
		}
		return all
	}}
}

// NeedsRouting is what clients are pointed by.
func NeedsRouting() Requirement {
	return Requirement{"routing of each group whose clients are to follow", func(e *Estate, s Scope) []Lack {
		var without []string
		for _, g := range s.groups(e) {
			if g.Routing == nil {
				without = append(without, g.Group)
			}
		}
		return lack(len(without) > 0, "their clients go on asking the source until somebody changes by hand what they read",
			"no routing is named for %s: write routing: {secret, values} in the group", plural.Few(without))
	}}
}

// NeedsDeleteMarkers is what deletions are held against.
func NeedsDeleteMarkers() Requirement {
	return decided("delete_markers", "replicate or keep", func(b Bucket) string { return b.DeleteMarkers })
}

// NeedsReverseRule is what the rule back is held against.
func NeedsReverseRule() Requirement {
	return decided("reverse_rule", "enabled or disabled", func(b Bucket) string { return b.ReverseRule })
}

// decided is a decision about each bucket.
func decided(key, allowed string, of func(Bucket) string) Requirement {
	return Requirement{key + " of each bucket", func(e *Estate, s Scope) []Lack {
		var without []string
		for _, i := range s.Items {
			if b, ok := e.Bucket(i.Name); ok && of(*b) == "" {
				without = append(without, b.Bucket)
			}
		}
		return lack(len(without) > 0, "", "nobody has decided %s of bucket %s: write %s there", key, plural.Few(without), allowed)
	}}
}

// NeedsLineage is what tells of those who read a table and left no trace in it.
func NeedsLineage() Requirement {
	return Requirement{"reads and writes of each pipeline, and lineage, without which who read a table is known by commits and brokers alone", func(e *Estate, s Scope) []Lack {
		const price = "who read a bad version without leaving a trace in a table's log or at a broker is not found"
		var silent []string
		for _, g := range s.groups(e) {
			for _, p := range g.Pipelines {
				if len(p.Reads)+len(p.Writes) == 0 {
					silent = append(silent, p.Pipeline)
				}
			}
		}
		return slices.Concat(
			lack(len(silent) > 0, price, "nobody says what pipeline %s is about: write reads and writes there", plural.Few(silent)),
			lack(e.Lineage == nil && len(s.Items) > 0, price, "the estate names no OpenLineage events: add lineage: {bucket, prefix}, where engines report what they ran"),
		)
	}}
}

// NeedsBackup is the place where backups are.
func NeedsBackup() Requirement {
	return Requirement{"a backup place", func(e *Estate, s Scope) []Lack {
		return foreign(e.Backup == nil && len(s.Items) > 0, "the estate has no backup place: add backup")
	}}
}

// NeedsExpiry is who may delete what no lock holds.
func NeedsExpiry() Requirement {
	return Requirement{"expiry of the backup place", func(e *Estate, s Scope) []Lack {
		return foreign(e.Backup != nil && e.Backup.Expiry == "" && len(s.Items) > 0, "the backup place names nobody who may delete what no lock holds, so nothing expires: add expiry to backup")
	}}
}

func regionName(r *Region) string {
	if r == nil {
		return ""
	}
	return r.Region
}
