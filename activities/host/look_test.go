package host

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"

	"golang.org/x/crypto/ssh"
)

// TestADeadSourceIsAcceptedOnce: of many unknowns that have the unreachable source as
// their one cause, the gate accepts one thing, and the summary names one obligation.
func TestADeadSourceIsAcceptedOnce(t *testing.T) {
	const owed = "When us-east-1 answers again, prove that its writers are fenced before anybody uses it"
	dead := action.Observation{What: "the kafka of us-east-1 answers", Want: "an answer", Got: "silence", Verdict: verdict.Unknown, Cause: action.CauseSourceUnreachable, Obligation: owed}
	well := action.Saw("the kafka of us-west-2 answers", "an answer", "an answer", true)
	obs := []action.Observation{well, dead, dead}
	run := action.Run{Source: "us-east-1", Target: "us-west-2"}
	if got := accepts(run, obs); len(got) != 1 || got[0].ID != action.AcceptSourceUnreachable {
		t.Errorf("the gate accepts %+v", got)
	}
	if l := summarize(obs); !slices.Equal(l.Obligations, []string{owed}) || l.Unknown != 2 || l.Passed != 1 || !l.OnlySource {
		t.Errorf("summary %+v", l)
	}
	since := time.Date(2026, 11, 21, 3, 4, 5, 0, time.UTC)
	run.SourceDeadSince = &since
	if got := accepts(run, obs); len(got) != 2 || got[1].ID != action.AcceptSourceDead || !strings.Contains(got[1].Sentence, "2026-11-21T03:04:05Z") {
		t.Errorf("said to be dead, and the gate accepts %+v", got)
	}
	run.SourceUnreachable = true
	if got := accepts(run, obs); len(got) != 0 {
		t.Errorf("accepted already, and yet the gate accepts %+v", got)
	}
	run.SourceUnreachable = false
	obs[2].Cause, obs[2].Obligation = action.CauseOther, ""
	if got := accepts(run, obs); len(got) != 0 {
		t.Errorf("with another cause beside it the gate accepts %+v", got)
	}
}

// TestATableIsLeftOutOnce: a table that does not come back here is accepted by name,
// beside a source that does not answer, and not a second time.
func TestATableIsLeftOutOnce(t *testing.T) {
	dead := action.Observation{What: "an answer", Verdict: verdict.Unknown, Cause: action.CauseSourceUnreachable}
	left := action.NotHere("orders", "it is back", "a version", "a catalog decides", "recover it")
	run := action.Run{Source: "us-east-1"}
	ids := func(obs ...action.Observation) (all []string) {
		for _, a := range accepts(run, obs) {
			all = append(all, a.ID)
		}
		return all
	}
	if got := ids(left, dead, left); !slices.Equal(got, []string{action.AcceptSourceUnreachable, "left-out orders"}) {
		t.Errorf("the gate accepts %q", got)
	}
	if got := stable([]action.Observation{left}); got[0].Got != "a catalog decides" {
		t.Errorf("what the gate shows: %+v", got)
	}
	if l := summarize([]action.Observation{left, dead}); l.OnlySource || !slices.Equal(l.Owed, []string{"left-out orders", action.AcceptSourceUnreachable}) {
		t.Errorf("summary %+v", l)
	}
	failed := action.Saw("a bucket", "versions", "none", false)
	if l := summarize([]action.Observation{left, failed}); l.Owed != nil || ids(left, failed) != nil {
		t.Errorf("beside a failure: %+v", l)
	}
	run.LeftOut = []string{"orders"}
	if got := ids(left, dead); !slices.Equal(got, []string{action.AcceptSourceUnreachable}) {
		t.Errorf("accepted already, and the gate accepts %q", got)
	}
}

// TestNoEntriesAreNoList: a ledger without any entry of the run says nothing of its
// obligations, since each run begins with an entry.
func TestNoEntriesAreNoList(t *testing.T) {
	folder, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close() //nolint:errcheck // the test is over
	r, err := RecordsOf(&estate.Estate{Estate: "lab"}, folder, ledger.Run{Workflow: "w", FirstRun: "f"})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := r.Obligations(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("obligations of a run without entries: %v, %v", all, err)
	}
}

// TestForgedObligations: what no signer of the estate vouches for is no obligation, and
// assigns none.
func TestForgedObligations(t *testing.T) {
	run := ledger.Run{Workflow: "w", FirstRun: "f"}
	key := func(n byte) ssh.Signer {
		s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append(make([]byte, 31), n)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	e := &estate.Estate{Estate: "lab", Ledger: estate.Ledger{Signers: []string{sshsig.Public(key(1)).String()}}}
	owed := action.Obligation{ID: "fence/1", What: "Fence the writers"}
	other := owed
	other.ID = "probe/1"
	assigned := owed
	assigned.Owner, assigned.Due = "mallory", "2099-01-01"
	for name, tc := range map[string]struct {
		forged action.Obligation
		by     ssh.Signer // nil for nobody
		want   []action.Obligation
		said   string // in the error
	}{
		"by nobody":          {other, nil, []action.Obligation{owed}, ""},
		"assigned by nobody": {assigned, nil, []action.Obligation{owed}, ""},
		"by somebody else":   {assigned, key(2), nil, "signed head"},
		"by a signer":        {assigned, key(1), []action.Obligation{assigned}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			folder, err := store.OpenFolder(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close() //nolint:errcheck // the test is over
			chain := ledger.NewChain(run)
			enter := func(by ssh.Signer, kind ledger.Kind, body any) {
				t.Helper()
				raw, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				data, head, err := chain.Append(ledger.Entry{Time: time.Unix(1, 0), Kind: kind, Body: raw})
				if err == nil {
					err = store.Append(t.Context(), folder, head, data)
				}
				if err == nil && by != nil {
					var signed ledger.SignedHead
					if signed, err = ledger.SignHead(by, head); err == nil {
						err = store.PutHead(t.Context(), folder, signed)
					}
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			enter(key(1), ledger.RunStarted, wire.StartedBody{})
			enter(key(1), ledger.Obligation, owed)
			enter(tc.by, ledger.Obligation, tc.forged)
			r, err := RecordsOf(e, folder, run)
			if err != nil {
				t.Fatal(err)
			}
			all, err := r.Obligations(t.Context())
			if tc.said != "" {
				if err == nil || !strings.Contains(err.Error(), tc.said) {
					t.Errorf("obligations %+v, %v; want an error about its %s", all, err, tc.said)
				}
				return
			}
			if err != nil || !slices.Equal(all, tc.want) {
				t.Errorf("obligations %+v, %v; want %+v", all, err, tc.want)
			}
		})
	}
}

// TestTheGateSaysWhatThereIsNoneOf: the summary of a check with nothing to look at counts
// no observation as passed.
func TestTheGateSaysWhatThereIsNoneOf(t *testing.T) {
	none, pass := action.Nothing("the secret store serves", "one", "the estate names none"), action.Saw("it is there", "yes", "yes", true)
	lab := estate.Item{Name: "lab"}
	if got, want := sentence(lab, []action.Observation{none}), "estate: nothing to do: the estate names none"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if got, want := sentence(lab, []action.Observation{none, pass}), "estate: 1 of 1 observation pass"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if l := summarize([]action.Observation{none, pass}); l.Nothing != 1 || l.Passed != 1 || l.Verdict != verdict.Pass || len(l.Findings) != 0 {
		t.Errorf("summary %+v", l)
	}
}
