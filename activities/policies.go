package activities

import (
	"breakwater/internal/estate"
	"breakwater/internal/permit"
	"breakwater/internal/runbook"
	"breakwater/internal/system"
)

// Policies gives what runs of some runbooks need in an estate: a policy for each
// credential with which the worker asks outside systems.
func Policies(books []*runbook.Runbook, e *estate.Estate) ([]permit.Policy, error) {
	s := &system.Systems{}
	cat := Catalogue(s)
	uses := []permit.Use{{Permits: permit.Always()}}
	for _, rb := range books {
		for _, u := range runbook.Uses(rb, cat, e) {
			u.AtTarget, u.Notes = s.Names(e, u.Source, u.Target).AtTarget, s.MirrorNotes(e, u.Source, u.Target)
			uses = append(uses, u)
		}
	}
	return permit.Policies(e, system.Speaks, uses)
}
