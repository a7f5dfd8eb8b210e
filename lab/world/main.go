package world

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/record"
	"breakwater/internal/system"
	"breakwater/lab/prove"
)

// Add registers the actions of a room.
type Add = func(*action.Catalogue, *system.Systems)

// rooms are those whose actions the worlds of this test binary offer; [Main] sets
// them before any test begins. The laboratory itself knows no room, since a room's
// tests know the laboratory.
var rooms []Add

// Main runs the tests of a room. Worlds offer the room's own actions and those of the
// other rooms that its tests need. A run of all tests fails where a fault of a RedWhen
// of the room was not seen to force its verdict.
func Main(m *testing.M, room Add, others ...Add) {
	flag.Parse()
	rooms = append([]Add{room}, others...)
	code, err := run(m, room)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M, room Add) (code int, err error) {
	if file := os.Getenv(childEnv); file != "" { // a child of a test that kills it
		return 0, applyChild(file)
	}
	if own, err = os.MkdirTemp("", "breakwater-world-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(own)) }()
	whole := true
	for _, filter := range []string{"run", "skip", "list"} {
		whole = whole && flag.Lookup("test."+filter).Value.String() == ""
	}
	code = m.Run()
	if code == 0 && whole {
		for _, missing := range prove.Missing(prove.Definitions(room)) {
			fmt.Fprintln(os.Stderr, "--- FAIL: TestEveryActionIsProven:", missing)
			code = 1
		}
	}
	return code, nil
}

// Action is a definition of the rooms that the test's [Main] names.
func (w *World) Action(name string) *action.Definition {
	w.T.Helper()
	all := slices.Clone(rooms)
	if w.Instead != nil {
		all[0] = w.Instead
	}
	def, ok := prove.Catalogue(w.Systems, all...).Get(name)
	if !ok {
		w.T.Fatalf("no room of this test has %s: name the room in its Main", name)
	}
	return def
}

// Recorded is [World.Action], and the Apply of an action whose outcome is read again
// leaves it in the records, as the ledger keeps it.
func (l *Lake) Recorded(name string) *action.Definition {
	l.T.Helper()
	def := l.Action(name)
	if name != record.GroupPoint.Action && name != record.LastGood.Action && name != record.BlastRadius.Action {
		return def
	}
	return prove.Recording(def, func(item string, o action.Outcome) { l.Records.Put(name, item, o) })
}

// applyChild does what the file says, and writes a line for every progress.
func applyChild(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c ChildCall
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	s := &system.Systems{Folder: c.Folder}
	defer s.Close()
	def, ok := prove.Catalogue(s, rooms...).Get(c.Action)
	if !ok {
		return fmt.Errorf("no action %s", c.Action)
	}
	apply := def.Apply
	if c.Undo {
		apply = def.UndoApply
	}
	fmt.Println("begins")
	_, err = apply(context.Background(), action.Request{
		Run: c.Run, Item: c.Item, Plan: c.Plan, Estate: c.Estate, Records: NoRecords{}, Parts: &PlanParts{All: c.Parts},
		Progress: func(done, _ int64, _ string) { fmt.Println(done) },
		Guard:    func(context.Context) error { return nil },
	}, c.With)
	return err
}
