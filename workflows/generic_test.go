package workflows_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/runbook"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// Three generic tests hold for every file in runbooks/: each step run twice, a
// fault at every part of every step with an approved undo after it, and each
// undo run twice. A new runbook gets them without a line of test code.

// inputs is what a live failover of one group is started with: enough where more than one
// tells nothing else, at two thirds of the steps.
const inputs = `{"estate":"lab","mode":"live","incident":"INC-1","groups":["orders"],"source":"us-east-1","target":"us-west-2"}`

// inputsOf is what a live run of any shipped runbook is started with: an input of
// its own gets something of the bench's estate that has its type.
func inputsOf(t *testing.T, rb *runbook.Runbook) string {
	t.Helper()
	in := map[string]any{"estate": "lab", "mode": "live", "incident": "INC-1", "groups": []string{"orders"}}
	for _, decl := range rb.Inputs {
		in[decl.Name] = map[runbook.InputType]any{
			runbook.RegionInput: "us-east-1", runbook.TableInput: "orders", runbook.GroupInput: "orders", runbook.StringInput: "lake",
			runbook.TimeInput: "2026-11-21T03:04:05Z", runbook.IntegerInput: 1, runbook.BoolInput: true, runbook.DurationInput: "90s",
		}[decl.Type]
		if decl.Name == "target" {
			in[decl.Name] = "us-west-2"
		}
	}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// compiled is the runbook as the bench's estate compiles it.
func compiled(t *testing.T, b *bench, rb *runbook.Runbook) *runbook.Compiled {
	t.Helper()
	in, err := runbook.ParseInput(rb, b.estate, []byte(inputsOf(t, rb)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := runbook.Compile(rb, b.estate, b.host.Catalogue, in)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// once returns an error the first time that key is seen.
func once() func(key string) error {
	var mu sync.Mutex
	seen := map[string]bool{}
	return func(key string) error {
		mu.Lock()
		defer mu.Unlock()
		if seen[key] {
			return nil
		}
		seen[key] = true
		return fmt.Errorf("the answer of %s got lost", key)
	}
}

func TestEachStepTwice(t *testing.T) {
	for _, rb := range shipped(t) {
		t.Run(rb.Name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			lost := once()
			b.model.after = func(a, item string, p wire.Phase) error { return lost(string(p) + " " + a + "/" + item) }
			res, err := b.carry(b.start(rb.Name, inputsOf(t, rb)), nil)
			if err != nil || res.Verdict != verdict.Pass {
				t.Fatalf("the run ended with %+v, %v", res, err)
			}
			for _, s := range compiled(t, b, rb).Stages {
				for _, st := range s.Steps {
					if st.Kind != runbook.Do {
						continue
					}
					for _, item := range st.Names {
						key := st.Action + "/" + item
						if n, e := b.model.applies[key], b.model.effects[key]; n < 2 || e != 1 {
							t.Errorf("%s was applied %d times with %d effects, want at least 2 and 1", key, n, e)
						}
					}
				}
			}
		})
	}
}

// place is where a fault is injected.
type place struct {
	step  runbook.Step
	item  string
	phase wire.Phase
	after bool // the effect took place
}

func (p place) String() string {
	when := "before"
	if p.after {
		when = "after"
	}
	return fmt.Sprintf("%s of %s on %s, %s the effect", p.phase, p.step.Action, p.item, when)
}

// places derives every place of a fault from the compiled run.
func places(c *runbook.Compiled) []place {
	var ps []place
	for _, s := range c.Stages {
		for _, st := range s.Steps {
			item := st.Names[0]
			if st.Kind == runbook.Do {
				ps = append(ps, place{st, item, wire.PlanPhase, false}, place{st, item, wire.ApplyPhase, false}, place{st, item, wire.ApplyPhase, true})
			}
			ps = append(ps, place{st, item, wire.VerifyPhase, false})
		}
	}
	return ps
}

func TestFaultAtEachStepIsUndone(t *testing.T) {
	for _, rb := range shipped(t) {
		all := places(compiled(t, newBench(t, shipped(t)), rb))
		if os.Getenv("BREAKWATER_TORTURE") == "" {
			all = sample(t, all)
		}
		for _, p := range all {
			t.Run(rb.Name+"/"+strings.ReplaceAll(p.String(), " ", "-"), func(t *testing.T) {
				t.Parallel()
				faultAndUndo(t, rb, p)
			})
		}
	}
}

// sample is an eighth of the places, at least one of every phase; make torture takes
// all. BREAKWATER_SEED repeats a sample.
func sample(t *testing.T, all []place) []place {
	t.Helper()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("BREAKWATER_SEED"), fmt.Sprint(rand.Uint32())), 10, 64)
	if err != nil {
		t.Fatalf("BREAKWATER_SEED: %v", err)
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	type kind struct {
		phase wire.Phase
		after bool
	}
	of := map[kind][]place{}
	for _, p := range all {
		of[kind{p.phase, p.after}] = append(of[kind{p.phase, p.after}], p)
	}
	var some []place
	for _, ps := range of {
		some = append(some, ps[:(len(ps)+7)/8]...)
	}
	return some
}

// faultAndUndo runs a runbook into a fault and asks that it stops there, and
// that an approved undo takes back exactly what ran, last first, although every
// undo runs twice.
func faultAndUndo(t *testing.T, rb *runbook.Runbook, p place) {
	b := newBench(t, shipped(t))
	hit := false
	fault := func(a, item string, ph wire.Phase) error {
		if a != p.step.Action || item != p.item || ph != p.phase {
			return nil
		}
		hit = true
		return fmt.Errorf("%w: %w", action.ErrRefused, errRed)
	}
	lost := once()
	if p.after {
		b.model.after = fault
	} else {
		b.model.break_(fault)
	}
	undoTwice := func(a, item string, ph wire.Phase) error {
		if ph == wire.UndoApplyPhase {
			return lost(a + "/" + item)
		}
		if p.after {
			return fault(a, item, ph)
		}
		return nil
	}
	b.model.after = undoTwice
	r := b.start(rb.Name, inputsOf(t, rb))
	offered := false
	_, err := b.carry(r, func(s wire.Status) approval.Decision {
		if s.Ask.Step != p.step.ID && p.phase != wire.PlanPhase && !strings.HasPrefix(p.step.ID, s.Ask.Step) {
			t.Errorf("the run stopped at %s, want %s", s.Ask.Step, p.step.ID)
		}
		verb := approval.Verb("abort")
		if slices.Contains(s.Ask.Choices, "undo") && p.phase != wire.PlanPhase && s.Ask.Step == p.step.ID {
			verb, offered = "undo", true
		}
		return approval.Decision{Gate: s.Ask.ID, Verb: verb, By: "ana"}
	})
	if !hit {
		t.Fatal("the fault was never met")
	}
	if !offered {
		endedAs(t, err, wire.ErrTypeAborted)
		return
	}
	endedAs(t, err, wire.ErrTypeUndone)
	var did, undid []string
	for _, line := range b.model.order {
		phase, key, _ := strings.Cut(line, " ")
		a, _, _ := strings.Cut(key, "/")
		switch {
		case phase == string(wire.UndoApplyPhase):
			undid = append(undid, key)
		case undoable(b, a):
			did = append(did, key)
		}
		if phase == string(wire.UndoApplyPhase) && b.model.effects[key] != 2 {
			t.Errorf("%s: %d effects, want one apply and one undo", key, b.model.effects[key])
		}
	}
	for _, key := range did {
		if b.model.state[key] != "" {
			t.Errorf("%s is still applied", key)
		}
	}
	if got, want := steps(undid), steps(did); !slices.Equal(got, reversed(want)) {
		t.Errorf("taken back in the order %v, done in the order %v", got, want)
	}
	s, err := b.status(r)
	if err != nil {
		t.Fatal(err)
	}
	if ev := b.evidence(s); ev.Fault != nil || !ev.Ended {
		t.Errorf("evidence: %+v", ev)
	}
}

func undoable(b *bench, a string) bool {
	d, _ := b.host.Catalogue.Get(a)
	return d.CanUndo()
}

// steps gives the actions of keys, each run of the same one once: the items of a
// step have no order among themselves.
func steps(keys []string) []string {
	var as []string
	for _, k := range keys {
		a, _, _ := strings.Cut(k, "/")
		if len(as) == 0 || as[len(as)-1] != a {
			as = append(as, a)
		}
	}
	return as
}

func reversed(s []string) []string {
	s = slices.Clone(s)
	slices.Reverse(s)
	return s
}

// A failed undo stops there, so that no fence is lifted under what is not taken back, asks,
// and outranks whatever stops the run then.
func TestFailedUndoOutranksEverything(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"abort", "cancel", "retry"} {
		t.Run(last, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, shipped(t))
			heal := false
			b.model.break_(func(a, _ string, p wire.Phase) error {
				if a == "storage.stop-replication" && p == wire.VerifyPhase || a == "storage.stop-replication" && p == wire.UndoVerifyPhase && !heal {
					return errRed
				}
				return nil
			})
			r := b.start("RegionalFailover", inputs)
			asked := 0
			_, err := b.carry(r, func(s wire.Status) approval.Decision {
				if asked++; asked == 1 {
					return approval.Decision{Gate: s.Ask.ID, Verb: approval.TakeBack}
				}
				if asked > 2 || slices.Contains(s.Ask.Choices, "undo") || !strings.Contains(s.Ask.Question, "Taking back") {
					t.Errorf("question %d: %+v", asked, s.Ask)
				}
				b.model.mu.Lock()
				lifted := b.model.state["storage.fence/lake"] == "" || b.model.state["pipelines.pause/lab"] == ""
				heal = true
				b.model.mu.Unlock()
				if lifted {
					t.Error("the fence was lifted although what came after it was not taken back")
				}
				if last == "cancel" {
					if err := b.client.CancelWorkflow(b.t.Context(), r.GetID(), ""); err != nil {
						t.Error(err)
					}
					return approval.Decision{}
				}
				return approval.Decision{Gate: s.Ask.ID, Verb: approval.Verb(last)}
			})
			want := wire.ErrTypeUndoFailed
			if last == "retry" {
				want = wire.ErrTypeUndone
			}
			endedAs(t, err, want)
			if lifted := b.model.state["storage.fence/lake"] == ""; lifted != (last == "retry") {
				t.Errorf("after %s the fence is lifted: %v", last, lifted)
			}
		})
	}
}
