package activities

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/fault"
)

// proofs names the test that takes an action through proveAction.
var proofs = map[string]string{
	"access.golden-queries":    "TestProveHistoryAndGoldenQueries/access.golden-queries",
	"access.read-only":         "TestAccess/read-only",
	"access.read-write":        "TestAccess/read-write",
	"backup.expire":            "TestExpire/prove",
	"backup.restorable":        "TestBackup/restorable",
	"backup.take":              "TestBackup/take",
	"backup.walled":            "TestBackup/walled",
	"estate.preflight":         "TestPreflight",
	"group.recovery-point":     "TestProveRecoveryPoint",
	"kafka.promote":            "TestKafka/promote/read_all",
	"kafka.recovery-point":     "TestKafka/recovery_point",
	"kafka.stop-mirror":        "TestKafka/stop",
	"kafka.witness":            "TestKafka/witness",
	"obligations.assigned":     "TestObligations",
	"pipelines.canary":         "TestKafka/canary",
	"pipelines.pause":          "TestPipelines/pause",
	"pipelines.resume":         "TestPipelines/resume",
	"region.probe":             "TestRegionProbe",
	"routing.secret":           "TestRoutingSecret/life",
	"secrets.readable":         "TestSecretsReadable",
	"storage.fence":            "TestStorageFence",
	"storage.rewind":           "TestProveRewind",
	"storage.late-replicas":    "TestLateReplicas",
	"storage.replication":      "TestReplication",
	"storage.standby-ready":    "TestStandbyReady",
	"storage.stop-replication": "TestStopReplication",
	"storage.undelete":         "TestProveUndelete",
	"table.history":            "TestProveHistoryAndGoldenQueries/table.history",
	"table.promote":            "TestProvePromotion",
	"table.rollback":           "TestProveRollback",
	"table.restore":            "TestRestore/prove",
	"table.witness":            "TestProveWitness",
}

// seenRed are the faults under which this run of the tests has seen each action's
// Verify with the verdict that its RedWhen wants.
var seenRed = struct {
	sync.Mutex
	by map[string]map[fault.Name]bool
}{by: map[string]map[fault.Name]bool{}}

func sawRed(name string, f fault.Name) {
	seenRed.Lock()
	defer seenRed.Unlock()
	if seenRed.by[name] == nil {
		seenRed.by[name] = map[fault.Name]bool{}
	}
	seenRed.by[name][f] = true
}

// TestMain fails a run of the whole package in which a fault of a RedWhen was not
// seen to force its verdict: no test can, since the others end after it.
func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if file := os.Getenv(childEnv); file != "" { // a child of a test that kills it
		return 0, applyChild(file)
	}
	if furnished.folder, err = os.MkdirTemp("", "breakwater-activities-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(furnished.folder)) }()
	whole := true
	for _, filter := range []string{"run", "skip", "list"} {
		whole = whole && flag.Lookup("test."+filter).Value.String() == ""
	}
	code = m.Run()
	if code == 0 && whole {
		for _, missing := range unproven(Catalogue(&Systems{}).All(), seenRed.by) {
			fmt.Fprintln(os.Stderr, "--- FAIL: TestEveryActionIsProven:", missing)
			code = 1
		}
	}
	return code, nil
}

// unproven says what of the actions' RedWhen was not seen.
func unproven(all []*action.Definition, seen map[string]map[fault.Name]bool) []string {
	var missing []string
	for _, d := range all {
		for _, red := range d.RedWhen {
			if !seen[d.Name][red.Fault] {
				missing = append(missing, fmt.Sprintf("no test saw %s %s under %s: take it through proveAction", d.Name, red.Want, red.Fault))
			}
		}
	}
	return missing
}

// TestEveryActionIsProven holds the list of proofs against the catalogue; that
// each proof does what it is listed for, TestMain and TestAlwaysPassIsCaught see.
func TestEveryActionIsProven(t *testing.T) {
	c := Catalogue(&Systems{})
	if err := c.Err(); err != nil {
		t.Error(err)
	}
	for _, d := range c.All() {
		if proofs[d.Name] == "" {
			t.Errorf("%s has no proof: take it through proveAction, and list the test in proofs", d.Name)
		}
	}
	for name, test := range proofs {
		if _, ok := c.Get(name); !ok {
			t.Errorf("%s proves %s, which is not in the catalogue", test, name)
		}
	}
	all := c.All()
	seen := map[string]map[fault.Name]bool{}
	for _, d := range all {
		seen[d.Name] = map[fault.Name]bool{}
		for _, red := range d.RedWhen {
			seen[d.Name][red.Fault] = true
		}
	}
	if missing := unproven(all, seen); len(missing) > 0 {
		t.Errorf("everything was seen, and yet: %q", missing)
	}
	delete(seen["secrets.readable"], "vault.sealed")
	if missing := unproven(all, seen); len(missing) != 1 || !strings.Contains(missing[0], "secrets.readable fail under vault.sealed") {
		t.Errorf("what was not seen is %q", missing)
	}
}

// mutateEnv names the action whose Verify always passes, in a child process of
// TestAlwaysPassIsCaught.
const mutateEnv = "BREAKWATER_MUTATE"

// mutated is the action, or with its Verify replaced if the environment asks.
func mutated(d *action.Definition) *action.Definition {
	if os.Getenv(mutateEnv) != d.Name {
		return d
	}
	a := action.Action[map[string]any]{
		Name: d.Name, Doc: d.Doc, Over: d.Over, Needs: d.Needs, Effect: d.Effect, Drill: d.Drill, Timing: d.Timing, RedWhen: d.RedWhen,
		Verify: func(context.Context, action.Call[map[string]any]) ([]action.Observation, error) {
			return []action.Observation{saw("anything", "what is there", "it", true)}, nil
		},
	}
	if !d.IsCheck() {
		a.Plan, a.Apply = handed(d.Plan), handed(d.Apply)
	}
	if d.CanUndo() {
		a.Undo = &action.Undo[map[string]any]{Plan: handed(d.UndoPlan), Apply: handed(d.UndoApply), Verify: handed(d.UndoVerify)}
	}
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

// TestAlwaysPassIsCaught runs the proof of an action whose Verify always passes:
// it must fail, and name the action. BREAKWATER_TORTURE=1 takes every action.
func TestAlwaysPassIsCaught(t *testing.T) {
	t.Parallel()
	if os.Getenv(mutateEnv) != "" {
		t.Fatalf("%s is for the children of this test", mutateEnv)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sample(t) {
		t.Run(name, func(t *testing.T) {
			pattern := "^" + strings.ReplaceAll(proofs[name], "/", "$/^") + "$"
			cmd := exec.CommandContext(t.Context(), self, "-test.run="+pattern, "-test.failfast", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), mutateEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if caught := regexp.MustCompile(regexp.QuoteMeta(name) + " on .*: verdict pass, want "); err == nil || !caught.Match(out) {
				t.Errorf("%s does not notice that Verify of %s always passes: %v\n%s", proofs[name], name, err, out)
			}
		})
	}
}

// sample is all actions, or a check and one more whose proofs are fast.
func sample(t *testing.T) []string {
	t.Helper()
	if os.Getenv("BREAKWATER_TORTURE") == "1" {
		return slices.Sorted(maps.Keys(proofs))
	}
	fast := []string{"access.read-only", "routing.secret", "storage.fence", "storage.stop-replication", "table.promote", "table.witness"}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return []string{"secrets.readable", fast[rand.New(rand.NewPCG(seed, 0)).IntN(len(fast))]}
}
