package prove

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/fault"
	"breakwater/internal/system"
)

// seen are the faults under which this run of the tests has seen each action's
// Verify with the verdict that its RedWhen wants.
var seen = struct {
	sync.Mutex
	by map[string]map[fault.Name]bool
}{by: map[string]map[fault.Name]bool{}}

func sawRed(name string, f fault.Name) {
	seen.Lock()
	defer seen.Unlock()
	if seen.by[name] == nil {
		seen.by[name] = map[fault.Name]bool{}
	}
	seen.by[name][f] = true
}

// Catalogue is what rooms add, over the systems.
func Catalogue(s *system.Systems, rooms ...func(*action.Catalogue, *system.Systems)) *action.Catalogue {
	c := action.NewCatalogue()
	for _, add := range rooms {
		add(c, s)
	}
	return c
}

// Definitions are the actions that a room adds, by name.
func Definitions(room func(*action.Catalogue, *system.Systems)) []*action.Definition {
	return Catalogue(&system.Systems{}, room).All()
}

// Missing says what of the actions' RedWhen this run of the tests has not seen.
func Missing(all []*action.Definition) []string {
	seen.Lock()
	defer seen.Unlock()
	return unproven(all, seen.by)
}

func unproven(all []*action.Definition, seen map[string]map[fault.Name]bool) []string {
	var missing []string
	for _, d := range all {
		for _, red := range d.RedWhen {
			if !seen[d.Name][red.Fault] {
				missing = append(missing, fmt.Sprintf("no test saw %s %s under %s: take it through prove.Action", d.Name, red.Want, red.Fault))
			}
		}
	}
	return missing
}

// Listed holds the list of a room's proofs, test by action, against its actions;
// that each proof does what it is listed for, the room's Main and
// [AlwaysPassIsCaught] see.
func Listed(t *testing.T, room func(*action.Catalogue, *system.Systems), proofs map[string]string) {
	t.Helper()
	all := Definitions(room)
	for _, d := range all {
		if proofs[d.Name] == "" {
			t.Errorf("%s has no proof: take it through prove.Action, and list the test in proofs", d.Name)
		}
	}
	for name, test := range proofs {
		if !slices.ContainsFunc(all, func(d *action.Definition) bool { return d.Name == name }) {
			t.Errorf("%s proves %s, which is not in the room", test, name)
		}
	}
}

// mutateEnv names the action whose Verify always passes, in a child process of
// [AlwaysPassIsCaught].
const mutateEnv = "BREAKWATER_MUTATE"

// mutated is the action, or with its Verify replaced if the environment asks.
func mutated(d *action.Definition) *action.Definition {
	if os.Getenv(mutateEnv) != d.Name {
		return d
	}
	return rebuilt(d, func(a *action.Action[map[string]any]) {
		a.Verify = func(context.Context, action.Call[map[string]any]) ([]action.Observation, error) {
			return []action.Observation{action.Saw("anything", "what is there", "it", true)}, nil
		}
	})
}

// Recording is the action with an Apply that gives its outcome to put, too.
func Recording(d *action.Definition, put func(item string, o action.Outcome)) *action.Definition {
	return rebuilt(d, func(a *action.Action[map[string]any]) {
		apply := a.Apply
		a.Apply = func(ctx context.Context, c action.Call[map[string]any]) (action.Outcome, error) {
			o, err := apply(ctx, c)
			if err == nil {
				put(c.Item.Name, o)
			}
			return o, err
		}
	})
}

// rebuilt is the action with a change.
func rebuilt(d *action.Definition, change func(*action.Action[map[string]any])) *action.Definition {
	a := action.Action[map[string]any]{
		Name: d.Name, Doc: d.Doc, Over: d.Over, Needs: d.Needs, Effect: d.Effect, Drill: d.Drill, Timing: d.Timing, RedWhen: d.RedWhen,
		Things: d.Things, Verify: handed(d.Verify), Show: d.Show, ShowPart: d.ShowPart, Rules: d.Rules, Permits: d.Permits,
	}
	if !d.IsCheck() {
		a.Plan, a.Apply = handed(d.Plan), handed(d.Apply)
	}
	if d.CanUndo() {
		a.Undo = &action.Undo[map[string]any]{Plan: handed(d.UndoPlan), Apply: handed(d.UndoApply), Verify: handed(d.UndoVerify), Show: d.ShowUndo}
	}
	change(&a)
	c := action.NewCatalogue()
	action.Add(c, a)
	m, _ := c.Get(d.Name)
	return m
}

// handed gives a call on to the phase of another definition, with whatever
// parameters the proof has.
func handed[R any](phase func(context.Context, action.Request, json.RawMessage) (R, error)) func(context.Context, action.Call[map[string]any]) (R, error) {
	return func(ctx context.Context, c action.Call[map[string]any]) (R, error) {
		with, err := json.Marshal(c.With)
		if err != nil || len(c.With) == 0 {
			with = nil
		}
		return phase(ctx, c.Request, with)
	}
}

// AlwaysPassIsCaught runs the proof of an action whose Verify always passes: it must
// fail, and name the action. It takes one of those whose proofs are fast, if the room
// has any, by a seed that it logs and that BREAKWATER_SEED repeats; with
// BREAKWATER_TORTURE=1 it takes all of the room.
func AlwaysPassIsCaught(t *testing.T, proofs map[string]string, fast ...string) {
	t.Helper()
	if os.Getenv(mutateEnv) != "" {
		t.Fatalf("%s is for the children of this test", mutateEnv)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sample(t, proofs, fast) {
		t.Run(name, func(t *testing.T) {
			pattern := "^" + strings.ReplaceAll(proofs[name], "/", "$/^") + "$"
			cmd := exec.CommandContext(t.Context(), self, "-test.run="+pattern, "-test.failfast", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), mutateEnv+"="+name)
			out, err := cmd.CombinedOutput()
			caught := regexp.MustCompile(regexp.QuoteMeta(name) + "( on .*: verdict pass, want | passes before anything was done)")
			if err == nil || !caught.Match(out) {
				t.Errorf("%s does not notice that Verify of %s always passes: %v\n%s", proofs[name], name, err, out)
			}
		})
	}
}

func sample(t *testing.T, proofs map[string]string, fast []string) []string {
	t.Helper()
	if os.Getenv("BREAKWATER_TORTURE") == "1" {
		return slices.Sorted(maps.Keys(proofs))
	}
	if len(fast) == 0 {
		return nil
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("BREAKWATER_SEED"), fmt.Sprint(rand.Uint32())), 10, 64)
	if err != nil {
		t.Fatalf("BREAKWATER_SEED: %v", err)
	}
	t.Logf("seed %d", seed)
	return []string{fast[rand.New(rand.NewPCG(seed, 0)).IntN(len(fast))]}
}
