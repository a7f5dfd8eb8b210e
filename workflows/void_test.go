package workflows_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"
)

// lookBook has a gate at a stage that only looks, so that no Apply follows it.
const lookBook = `runbook: Small
summary: Looks.
owner: data-platform
stages:
  - stage: Look
    approval: {role: incident-commander}
    steps:
      - step: Buckets are there
        check: storage.late-replicas
        each: bucket
`

// playWithout plays a book with three commanders. What is returned takes ana out of the
// estate as the worker has it.
func playWithout(t *testing.T, book string) (p *play, remove func()) {
	t.Helper()
	p = newPlayOf(t, book)
	commanders := &p.estate.Roles[0]
	commanders.Members = append(commanders.Members, estate.Member{Name: "cleo", Key: sshsig.Public(signer(t, byte(slices.Index(people, "cleo")))).String()})
	served := &changed{estates: estates{e: p.estate, ledger: p.hooked, key: signer(t, 99)}}
	p.host.Estates = served
	edited := copyOf(t, p.estate)
	edited.Roles[0].Members = edited.Roles[0].Members[1:]
	for i := range edited.Roles[0].Members { // which is nobody's removal
		edited.Roles[0].Members[i].Contact = "another telephone"
	}
	return p, func() { served.now.Store(edited) }
}

// closed are the bodies of the gates that a run has closed.
func (p *play) closed() (all []wire.GateBody) {
	p.t.Helper()
	runs, err := store.Runs(p.t.Context(), p.ledger)
	if err != nil || len(runs) != 1 {
		p.t.Fatalf("the ledger holds %v, %v", runs, err)
	}
	entries, _, err := store.Load(p.t.Context(), p.ledger, runs[0])
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind != ledger.GateClosed {
			continue
		}
		var b wire.GateBody
		if err := json.Unmarshal(e.Body, &b); err != nil {
			p.t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

func (p *play) says(who string) *told {
	return p.send(p.signed(p.now(), approval.Decision{Verb: approval.Approve, By: who}))
}

// TestAVoteWhoseKeyWasTakenAway: a key that is taken out of the worker's estate counts no
// longer where votes are counted, nor where the gate is closed, also if no Apply follows.
// That is said, and others decide instead.
func TestAVoteWhoseKeyWasTakenAway(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		early bool   // the vote never counted
		while string // what is written when the key is taken away
	}{
		"before the vote":            {early: true, while: `"kind":"compiled"`},
		"before the next vote":       {while: `"who":"ana"`},
		"before the gate was closed": {while: `"who":"ben"`},
	} {
		for stage, book := range map[string]string{"looks": lookBook, "acts": smallBook} {
			t.Run(name+", the stage "+stage, func(t *testing.T) {
				t.Parallel()
				p, remove := playWithout(t, book)
				p.wrote = func(data []byte) {
					if bytes.Contains(data, []byte(tc.while)) && !bytes.Contains(data, []byte(`"kind":"refused"`)) {
						remove()
					}
				}
				said := map[string]*told{}
				var refusals string
				p.gate = func(s wire.Status) {
					for _, r := range s.Refusals {
						refusals += r.Who + ": " + r.Reason + "\n"
					}
					switch {
					case said["ana"] == nil:
						said["ana"] = p.says("ana")
					case said["ben"] == nil:
						said["ben"] = p.says("ben")
					case said["cleo"] == nil:
						if !slices.Equal(s.Gate.Approved, []string{"ben"}) {
							t.Errorf("the open gate has the votes of %q, want that of ben", s.Gate.Approved)
						}
						said["cleo"] = p.says("cleo")
					}
				}
				res, err := p.run()
				if err != nil {
					t.Fatalf("the run ended with %+v, %v", res, err)
				}
				if said["cleo"] == nil {
					t.Fatalf("ana and ben closed the gate: %+v", p.closed())
				}
				if said["ana"].Counted == tc.early {
					t.Errorf("ana was told %+v", said["ana"])
				}
				if !strings.Contains(refusals, "ana: ") || !strings.Contains(refusals, "present") {
					t.Errorf("nothing says that the vote of ana does not count: %q", refusals)
				}
				if all := p.closed(); len(all) != 1 || !slices.Equal(all[0].By, []string{"ben", "cleo"}) {
					t.Errorf("the gate was closed as %+v", all)
				}
			})
		}
	}
}
