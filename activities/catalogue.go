// Package activities lists the rooms of the house: one per first word of an action's
// name, each a package of its own that registers its actions. Package host serves
// them as Temporal activities.
package activities

import (
	"breakwater/activities/access"
	"breakwater/activities/backup"
	"breakwater/activities/estate"
	"breakwater/activities/group"
	"breakwater/activities/host"
	"breakwater/activities/kafka"
	"breakwater/activities/obligations"
	"breakwater/activities/pipelines"
	"breakwater/activities/region"
	"breakwater/activities/routing"
	"breakwater/activities/secrets"
	"breakwater/activities/storage"
	"breakwater/activities/table"
	"breakwater/internal/action"
	"breakwater/internal/system"
)

var _ host.Estates = (*system.Systems)(nil)

// Room is one room: the first word of its actions' names, and what registers them.
type Room struct {
	Name string
	Add  func(*action.Catalogue, *system.Systems)
}

// Rooms lists all rooms, by name.
func Rooms() []Room {
	return []Room{
		{"access", access.Add},
		{"backup", backup.Add},
		{"estate", estate.Add},
		{"group", group.Add},
		{"kafka", kafka.Add},
		{"obligations", obligations.Add},
		{"pipelines", pipelines.Add},
		{"region", region.Add},
		{"routing", routing.Add},
		{"secrets", secrets.Add},
		{"storage", storage.Add},
		{"table", table.Add},
	}
}

// Catalogue is every action that a worker serves. Docs are generated from it.
func Catalogue(s *system.Systems) *action.Catalogue {
	c := action.NewCatalogue()
	for _, r := range Rooms() {
		r.Add(c, s)
	}
	return c
}
