package table

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/lineage"
	"breakwater/internal/plural"
)

// reachWords says in one line what a fault reached.
func reachWords(r lineage.Radius) string {
	of := map[string]int{}
	unknown := 0
	for _, i := range r.Items {
		of[strings.ReplaceAll(string(i.Kind), "-", " ")]++
		if !i.Known {
			unknown++
		}
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, plural.Of(of[kind], kind))
	}
	words := "nothing, as far as traces tell"
	if len(parts) > 0 {
		words = strings.Join(parts, ", ")
	}
	if unknown > 0 {
		words += fmt.Sprintf("; %d of them the estate does not know", unknown)
	}
	if len(r.Unread) > 0 {
		words += fmt.Sprintf("; %s of traces could not be read", plural.Of(len(r.Unread), "source"))
	}
	return fmt.Sprintf("the fault in %s of group %s reached %s", plural.Few(originNames(r)), r.Group, words)
}

func originNames(r lineage.Radius) []string {
	var names []string
	for _, o := range r.Origins {
		names = append(names, lineage.Node{Kind: o.Kind, Name: o.Name}.String())
	}
	return names
}

// blastEffects are what the record says: everything that the fault reached, and what
// becomes of it.
func blastEffects(r lineage.Radius) []action.EffectLine {
	all := []action.EffectLine{{On: "group " + r.Group, Do: "record " + reachWords(r)}}
	for _, i := range r.Items {
		do := "record what becomes of it: "
		if !i.Known {
			do = "record what becomes of it, which is not in the estate: "
		}
		all = append(all, action.EffectLine{On: i.String(), Do: do + strings.Join(i.Why, "; "), From: itemFrom(i), To: string(i.Decided)})
	}
	for _, u := range r.Unread {
		all = append(all, action.EffectLine{On: u.Name, Do: "record that it could not be read: " + u.Why})
	}
	return all
}

// itemFrom says since when an item may hold the fault.
func itemFrom(i lineage.Item) string {
	if i.First != nil {
		return fmt.Sprintf("version %d", *i.First)
	}
	return ""
}

// blastAccepts are the decision for each item, and what is not known.
func blastAccepts(r lineage.Radius) []action.Acceptance {
	var all []action.Acceptance
	for _, i := range r.Items {
		all = append(all, action.Acceptance{ID: "downstream " + i.ID(), Sentence: decisionWords(i)})
	}
	for _, u := range r.Unread {
		all = append(all, action.Acceptance{ID: "unread " + u.Name, Sentence: fmt.Sprintf(
			"Of the %s nothing is known: %s. Whoever is in there and read the fault is not among what is shown.", u.Name, u.Why)})
	}
	return all
}

// decisionWords says what becomes of an item, and who has to do something about it.
func decisionWords(i lineage.Item) string {
	name := i.String()
	what := map[lineage.Decision]string{
		lineage.RollBack: "is rolled back to before the fault",
		lineage.Rebuild:  "is made again once what goes into it is right",
		lineage.Leave:    "stays as it is",
	}[i.Decided]
	switch {
	case i.Kind == estate.ConsumerGroupKind && i.Decided == lineage.RollBack:
		what = "is set back to before the fault"
	case i.Kind == estate.TopicKind && i.Decided == lineage.Rebuild:
		what = "keeps the records that were made of the fault, and gets those that correct them"
	case i.Kind == estate.PipelineKind && i.Decided == lineage.Rebuild:
		what = "runs again for what it made of the fault"
	case !i.Known && i.Decided == lineage.Leave:
		what += ", and whoever it belongs to must be told"
	case i.Kind == lineage.BackupKind && i.Decided == lineage.Leave:
		what += ", and nothing is to be restored from it"
	}
	if i.Kind == estate.TableKind && i.Decided == lineage.RollBack && i.First != nil {
		what = fmt.Sprintf("is rolled back to version %d, the last one before the fault came to it", *i.First-1)
	}
	if !i.Known {
		what = "is not in the estate. It " + what
	}
	return fmt.Sprintf("%s %s: %s.", strings.ToUpper(name[:1])+name[1:], what, strings.Join(i.Why, "; "))
}
