package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// told is a run with a step of each state.
func told() wire.Status {
	const noVault = "the estate names no secret store in us-west-2"
	return wire.Status{
		State: wire.StateRunning, Doing: "Deny writes to the source", Current: 1,
		Stages: []wire.StageStatus{
			{ID: "choose", Title: "Choose", State: wire.NothingToDo, Steps: []wire.StepStatus{{ID: "t", Title: "Where topics stand", State: wire.NothingToDo, None: []string{"no topic"}}}},
			{ID: "fence", Title: "Fence", State: "applying", Steps: []wire.StepStatus{
				{ID: "p", Title: "Pause", Items: 1, State: "proven", Verdict: verdict.Pass},
				{ID: "s", Title: "Secrets are readable", Items: 1, State: wire.NothingToDo, Verdict: verdict.Nothing, None: []string{noVault}},
				{ID: "f", Title: "Deny writes", Items: 1, State: "unknown"},
				{ID: "m", Title: "Stop the mirror", Items: 1, State: "failed", Verdict: verdict.Fail},
			}},
		},
		Proven: []string{"Pause (pipelines.pause)"},
	}
}

// named are styles that say which they are, where a terminal has colours.
func named() styles {
	as := func(name string) func(...string) string {
		return func(s ...string) string { return "<" + name + ":" + strings.Join(s, " ") + ">" }
	}
	return styles{title: as("title"), good: as("good"), bad: as("bad"), wait: as("wait"), dim: as("dim")}
}

// TestNothingAndUnknownOnAScreen: what had nothing to do is not shown as good, and what is
// unknown not as bad, in 80 columns.
func TestNothingAndUnknownOnAScreen(t *testing.T) {
	s := told()
	text := picture(s, "", time.Now(), 200, 40, named())
	for _, want := range []string{"<good:proven>", "<dim:nothing to do>", "<wait:unknown>", "<bad:failed>", "1 of 4 proven<dim:, 1 nothing to do>"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	for v, want := range map[verdict.Verdict]string{
		verdict.Pass: "<good:ENDED: pass>", verdict.Nothing: "<dim:ENDED: nothing to do>", verdict.Unknown: "<wait:ENDED: unknown>", verdict.Fail: "<bad:ENDED: fail>",
	} {
		s.State, s.Verdict, s.Doing = wire.StateEnded, v, "pass: 24 steps proven, 3 had nothing to do"
		if text := picture(s, "", time.Now(), 200, 40, named()); !strings.Contains(text, want) || !strings.Contains(text, s.Doing) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if text := picture(told(), "", time.Now(), 80, 40, plainStyles()); !strings.Contains(text, "applying 1 of 4 proven, 1 nothing to do\n") {
		t.Errorf("it does not fit into 80 columns:\n%s", text)
	}
	s = told()
	s.State, s.Gate = wire.StateGate, &wire.GateStatus{Stage: "Fence", Quorum: 1, Plan: []wire.StepPlan{{Step: "Where topics stand"}, {Step: "Deny writes", Items: 1, Effects: 2}}}
	text = picture(s, "", time.Now(), 80, 40, plainStyles())
	if !strings.Contains(text, "Where topics stand: nothing to do\n") || !strings.Contains(text, "Deny writes: 1 item, 2 changes") {
		t.Errorf("the gate:\n%s", text)
	}
	for _, l := range strings.Split(text, "\n") {
		if len([]rune(l)) > 80 {
			t.Errorf("%d columns: %s", len([]rune(l)), l)
		}
	}
}

// TestNothingInLines: for logs and pipes each step says once what it is, and why there
// was nothing to do.
func TestNothingInLines(t *testing.T) {
	var out bytes.Buffer
	v := &lines{out: &out}
	v.show(told(), "")
	v.show(told(), "")
	for _, want := range []string{
		"Choose / Where topics stand: nothing to do: no topic\n", "Fence / Secrets are readable: nothing to do: the estate names no secret store in us-west-2\n",
		"Fence / Deny writes: unknown\n", "Fence / Stop the mirror: failed\n",
	} {
		if strings.Count(out.String(), want) != 1 {
			t.Errorf("%q is not once in\n%s", want, out.String())
		}
	}
}

// TestUnknownEndsInOtherWords: the words of the end of a run tell unknown from failed.
func TestUnknownEndsInOtherWords(t *testing.T) {
	for v, want := range map[verdict.Verdict]string{verdict.Unknown: "ended unknown: nothing was seen to be wrong", verdict.Fail: "ended without a pass"} {
		if err := ended("r", v, wire.ErrTypeAborted, "aborted by ana"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", v, err, want)
		}
	}
}

// TestNothingInThePlan: whoever decides reads which steps have nothing to do.
func TestNothingInThePlan(t *testing.T) {
	f := newForger(t)
	f.planned.Steps = []wire.StepPlan{
		{Step: "Where topics stand", Action: "kafka.recovery-point", Summary: []string{"nothing to do: no topic of the estate is in the scope of this step"}},
		{Step: "Deny writes", Action: "storage.fence", Items: 1, Summary: []string{"deny writes"}},
	}
	p := &reviewed{plan: &plan{body: f.planned, docs: []wire.PlanDoc{{Step: "fence/1-storage.fence", Action: "storage.fence"}}}}
	var out bytes.Buffer
	p.show(&out, plainStyles(), false, time.Now())
	if want := "Nothing to do\n  Where topics stand (kafka.recovery-point): no topic of the estate is in the\n"; !strings.Contains(out.String(), want) {
		t.Errorf("the plan:\n%s", out.String())
	}
	if strings.Count(out.String(), "Deny writes") != 0 && strings.Contains(out.String(), "Nothing to do\n  Deny") {
		t.Error(fmt.Sprint("a step with items is said to have nothing to do:\n", out.String()))
	}
}
