package lineage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/mistake"
)

// The kinds of what a fault reached beside those of a graph.
const (
	CopyKind   estate.Kind = "copy"   // a table's copy in another region
	BackupKind estate.Kind = "backup" // a backup of the table's group
)

// Decision is what becomes of something that a fault reached.
type Decision string

// The decisions.
const (
	RollBack Decision = "roll back" // it goes back to before the fault
	Rebuild  Decision = "rebuild"   // it is made again of what is right by then
	Leave    Decision = "leave"     // it stays as it is
)

// Decisions lists them.
func Decisions() []Decision { return []Decision{RollBack, Rebuild, Leave} }

// Radius is what a fault in a consistency group reached, as far as traces tell.
type Radius struct {
	Group   string   `json:"group"`
	Region  string   `json:"region"` // whose copies of the tables hold the fault
	Origins []Origin `json:"origins"`
	Items   []Item   `json:"items"`           // by kind, name and place
	Read    []Source `json:"read"`            // the traces that were read
	Unread  []Source `json:"unread"`          // those that could not be: who is in them is not known
	Order   []string `json:"order,omitempty"` // the pipelines among the items, each after what goes into it
}

// Origin is a table or a topic that holds the fault.
type Origin struct {
	Kind  estate.Kind `json:"kind"`
	Name  string      `json:"name"`
	Since time.Time   `json:"since"`
	Bad   *int64      `json:"bad,omitempty"`  // the first bad version of a table
	Head  *int64      `json:"head,omitempty"` // its newest one, as it was found
	By    string      `json:"by"`             // who says so
}

// Source is where traces are, and what of it could not be read.
type Source struct {
	Name string `json:"name"`
	Why  string `json:"why,omitempty"`
}

// Item is one thing that the fault reached.
type Item struct {
	Kind  estate.Kind `json:"kind"`
	Name  string      `json:"name"`
	Where string      `json:"where,omitempty"` // a region, or what else holds it; empty where that is not known
	Why   []string    `json:"why"`             // by which traces
	Since time.Time   `json:"since,omitzero"`  // from when on it may hold the fault
	// First and Last are versions: of a table the first that may be of the fault; of a copy
	// or a backup those of the origin that it holds.
	First   *int64   `json:"first,omitempty"`
	Last    *int64   `json:"last,omitempty"`
	Streams []string `json:"streams,omitempty"` // the streaming writers that brought batches since (Delta's txn)
	Known   bool     `json:"known"`             // to the estate
	Decided Decision `json:"decision"`
}

// ID names the item, of which there is one in a radius.
func (i Item) ID() string {
	id := string(i.Kind) + ":" + i.Name
	if i.Where != "" {
		id += "@" + i.Where
	}
	return id
}

// String names the item for people.
func (i Item) String() string {
	s := Node{i.Kind, i.Name}.String()
	if i.Kind == CopyKind {
		s = "copy of table " + i.Name
	}
	if i.Where != "" {
		s += " in " + i.Where
	}
	return s
}

// byDefault is what becomes of an item unless people decide otherwise. Nothing is done to
// what the estate does not know, and to what cannot be changed.
func (i Item) byDefault() Decision {
	switch {
	case !i.Known || i.Kind == BackupKind:
		return Leave
	case i.Kind == estate.PipelineKind || i.Kind == estate.TopicKind || i.Kind == estate.TableKind && i.First != nil && *i.First == 0:
		return Rebuild
	}
	return RollBack
}

// Sorted puts items in order, joins those that are one, and gives each its decision.
func Sorted(items []Item) []Item {
	at := map[string]int{}
	var all []Item
	for _, i := range items {
		n, known := at[i.ID()]
		if !known {
			at[i.ID()] = len(all)
			all = append(all, i)
			continue
		}
		all[n].Why = append(all[n].Why, i.Why...)
		if i.Since.Before(all[n].Since) {
			all[n].Since = i.Since
		}
	}
	for n := range all {
		slices.Sort(all[n].Why)
		all[n].Why = slices.Compact(all[n].Why)
		all[n].Decided = cmp.Or(all[n].Decided, all[n].byDefault())
	}
	slices.SortFunc(all, func(a, b Item) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Where, b.Where))
	})
	return all
}

// Decide sets what people decided: KIND:NAME=DECISION, or KIND:NAME@PLACE=DECISION,
// separated by commas. Without a place it is meant everywhere.
func Decide(items []Item, said string) error {
	for text := range strings.SplitSeq(said, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		at := strings.LastIndexByte(text, '=')
		if at < 0 {
			return fmt.Errorf("%q decides nothing: write KIND:NAME=DECISION, such as table:orders=leave", text)
		}
		what, d := strings.TrimSpace(text[:at]), Decision(strings.TrimSpace(text[at+1:]))
		if !slices.Contains(Decisions(), d) {
			return fmt.Errorf("%q is no decision: write roll back, rebuild or leave", d)
		}
		found := false
		for n, i := range items {
			if what == i.ID() || what == string(i.Kind)+":"+i.Name {
				items[n].Decided, found = d, true
			}
		}
		if !found {
			var there []string
			for _, i := range items {
				there = append(there, i.ID(), string(i.Kind)+":"+i.Name)
			}
			return fmt.Errorf("%q is not among what the fault reached%s", what, mistake.DidYouMean(what, there))
		}
	}
	return nil
}
