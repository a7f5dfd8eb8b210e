package obligations

import (
	"context"
	"testing"

	"breakwater/activities/host"
	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/world"
)

// TestObligations reads the obligations of a run as the Host does, out of a
// ledger in a real bucket.
func TestObligations(t *testing.T) {
	t.Parallel()
	w := world.Bare(t)
	w.Estate.Roles = []estate.Role{{Role: "data-platform", Method: estate.Signed, Members: []estate.Member{w.Member("erin")}}}
	server := miniotest.Start(t)
	c := server.Client(t)
	w.Must(c.CreateBucket(t.Context(), "ledger", true))
	run := ledger.Run{Workflow: w.Run.Workflow, FirstRun: w.Run.FirstRun}
	in := store.NewS3(c.Bucket("ledger"), "test")
	chain := ledger.NewChain(run)
	def := w.Action("obligations.assigned")
	r := w.Request(def, "")
	worker, err := w.Systems.Signer(t.Context(), w.Estate)
	w.Must(err)
	r.Records, err = host.RecordsOf(w.Estate, in, run)
	w.Must(err)

	owed := action.Obligation{ID: "fence/storage.fence/1", Step: "fence/storage.fence", Title: "Fence", What: "Fence the writers"}
	other := owed
	other.ID = "declare/region.probe/1"
	with := func(o action.Obligation, owner, due string) *action.Obligation {
		o.Owner, o.Due = owner, due
		return &o
	}
	enter := func(kind ledger.Kind, step string, body any) {
		raw, err := action.Encode(body)
		w.Must(err)
		data, head, err := chain.Append(ledger.Entry{Time: w.Run.Started, Kind: kind, Step: step, Body: raw})
		w.Must(err)
		w.Must(store.Append(t.Context(), in, head, data))
		signed, err := ledger.SignHead(worker, head)
		w.Must(err)
		w.Must(store.PutHead(t.Context(), in, signed))
	}
	// Each run's ledger begins with an entry: one without any is not this run's.
	if obs, err := def.Verify(t.Context(), r, nil); err != nil || action.Worst(obs) != verdict.Unknown {
		t.Errorf("without an entry: %v\n%s", err, prove.Told(obs))
	}
	enter(ledger.RunStarted, "", wire.StartedBody{Run: w.Run})
	for _, tc := range []struct {
		name  string
		entry *action.Obligation // appended before the look
		want  verdict.Verdict
	}{
		{"nothing is owed", nil, verdict.Pass},
		{"nobody owns it", &owed, verdict.Fail},
		{"a stranger owns it", with(owed, "mallory", "2026-11-02"), verdict.Fail},
		{"no date", with(owed, "erin", ""), verdict.Fail},
		{"a date that has passed", with(owed, "erin", "2026-10-31"), verdict.Fail},
		{"assigned, due on the day of the run", with(owed, "erin", "2026-11-01"), verdict.Pass},
		{"another one, unassigned", &other, verdict.Fail},
		{"both assigned", with(other, "erin", "2026-11-30"), verdict.Pass},
	} {
		if tc.entry != nil {
			enter(ledger.Obligation, tc.entry.Step, tc.entry)
		}
		obs, err := def.Verify(t.Context(), r, nil)
		w.Must(err)
		if got := action.Worst(obs); got != tc.want {
			t.Errorf("%s: %s, want %s\n%s", tc.name, got, tc.want, prove.Told(obs))
		}
	}
	prove.Action(t, def, r, faults.Ledgers(faults.Ledger{
		Storage: faults.Storage{Endpoint: server.Endpoint, AccessKey: miniotest.RootUser, SecretKey: miniotest.RootPassword, Bucket: "ledger"},
		Chain:   "test/" + ledger.ChainPrefix(run),
		Sign: func(entry []byte) (string, []byte, error) {
			e, err := ledger.ParseEntry(entry)
			w.Must(err)
			signed, err := ledger.SignHead(worker, ledger.Head{Run: run, Seq: e.Seq, Hash: ledger.Digest(entry)})
			return "test/" + ledger.HeadKey(run, e.Seq), signed.Bytes(), err
		},
		Stop:  func(context.Context) error { server.Kill(); return nil },
		Start: server.Run,
	}))
}
