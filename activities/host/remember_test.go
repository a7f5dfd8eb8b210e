package host

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io/fs"
	"iter"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/authority"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/runbook"
	"breakwater/internal/sshsig"
	"breakwater/internal/wire"

	"golang.org/x/crypto/ssh"
)

// many is the ledger of as many runs as anybody asks for, each with what it was compiled
// to, and the estate of them all. It counts what is read of each.
type many struct {
	t      *testing.T
	estate *estate.Estate
	signer ssh.Signer
	more   map[string][]byte // what was written beside

	mu   sync.Mutex
	gets map[string]int // by the run's workflow
	last ledger.Run     // whose objects are in at
	at   map[string][]byte
}

func newMany(t *testing.T) *many {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return &many{
		t: t, signer: s, gets: map[string]int{}, more: map[string][]byte{},
		estate: &estate.Estate{Estate: "lab", Ledger: estate.Ledger{Signers: []string{sshsig.Public(s).String()}}},
	}
}

// write makes the objects of a run.
func (m *many) write(run ledger.Run) map[string][]byte {
	check := func(err error) {
		if err != nil {
			m.t.Error(err)
		}
	}
	at := map[string][]byte{}
	doc := func(name string, v any) ledger.DocRef {
		key := compiledKey(run, "lab", name)
		body, err := ledger.Encode(v)
		check(err)
		at[key], err = ledger.SealDoc(m.signer, key, body)
		check(err)
		return ledger.Ref(key, body)
	}
	digest, err := m.estate.Digest()
	check(err)
	long := run.Workflow + strings.Repeat(" and so on", 1000)
	docs := []ledger.DocRef{doc(docCompiled, runbook.Compiled{Engine: runbook.Engine, Estate: "lab", Summary: long}), doc(docEstate, m.estate)}
	chain := ledger.NewChain(run)
	enter := func(kind ledger.Kind, body any, docs ...ledger.DocRef) {
		raw, err := json.Marshal(body)
		check(err)
		data, head, err := chain.Append(ledger.Entry{Time: time.Unix(1, 0), Kind: kind, Body: raw, Docs: docs})
		check(err)
		signed, err := ledger.SignHead(m.signer, head)
		check(err)
		at[ledger.ChainKey(run, head.Seq)], at[ledger.HeadKey(run, head.Seq)] = data, signed.Bytes()
	}
	enter(ledger.RunStarted, wire.StartedBody{Run: action.Run{Workflow: run.Workflow, Incident: long}})
	enter(ledger.Compiled, wire.CompiledBody{Estate: "lab", EstateDigest: digest}, docs...)
	return at
}

func (m *many) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	run, _, err := ledger.ParseKey(key)
	if err != nil {
		return nil, err
	}
	m.gets[run.Workflow]++
	if m.last != run {
		m.last, m.at = run, m.write(run)
	}
	if data, ok := m.at[key]; ok {
		return data, nil
	}
	if data, ok := m.more[key]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (m *many) PutIfAbsent(_ context.Context, key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.more[key] = data
	return nil
}

func (m *many) Swap(context.Context, string, []byte, []byte) error { return fs.ErrPermission }
func (m *many) List(context.Context, string) iter.Seq2[string, error] {
	return func(func(string, error) bool) {}
}

func (m *many) Load(context.Context, string) (*estate.Estate, error)        { return m.estate, nil }
func (m *many) Ledger(context.Context, *estate.Estate) (store.Store, error) { return m, nil }
func (m *many) Signer(context.Context, *estate.Estate) (ssh.Signer, error)  { return m.signer, nil }
func (m *many) caller(n int) caller {
	return caller{run: ledger.Run{Workflow: fmt.Sprintf("w-%d", n), FirstRun: "f"}}
}

func (m *many) read(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gets[m.caller(n).run.Workflow]
}

// TestAWorkerForgets: a worker that has served thousands of runs needs no more memory than
// after a few hundred; a run that it forgot it reads again, and whoever still works on
// what was forgotten sees what is written meanwhile.
func TestAWorkerForgets(t *testing.T) {
	const runs, most = 2000, 16 << 20
	m := newMany(t)
	h := &Host{Estates: m}
	ask := func(n int) *chain {
		t.Helper()
		p, err := h.place(t.Context(), "lab")
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.chainOf(t.Context(), p, m.caller(n), "lab", 2)
		if err != nil {
			t.Fatal(err)
		}
		compiled, _, err := h.pinned(t.Context(), c)
		if err != nil || !strings.HasPrefix(compiled.Summary, c.run.Workflow+" ") {
			t.Fatalf("run %d was compiled to %.20q, %v", n, compiled.Summary, err)
		}
		return c
	}
	held := func() uint64 {
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := held()
	first := ask(0)
	for n := 1; n < runs; n++ {
		ask(n)
	}
	if grown := int64(held()) - int64(before); grown > most {
		t.Errorf("after %d runs the worker holds %d MB more", runs, grown>>20)
	}
	if was := m.read(runs - 1); ask(runs-1) == nil || m.read(runs-1) != was {
		t.Errorf("the last run was read again: %d requests more", m.read(runs-1)-was)
	}
	was := m.read(0)
	again := ask(0)
	if m.read(0) == was {
		t.Error("the first run was not read again")
	}
	raw, err := json.Marshal(action.Obligation{ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	next := ledger.Chain{Head: again.view.Head}
	data, head, err := next.Append(ledger.Entry{Time: time.Unix(2, 0), Kind: ledger.Obligation, Body: raw})
	if err == nil {
		err = again.append(t.Context(), head, data)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*chain{"the one that was forgotten": first, "the new one": again} {
		err := c.readOn(t.Context())
		c.read(func(v *authority.View) {
			if err != nil || v.Head != head || len(v.Obligations) != 1 {
				t.Errorf("%s stands at %s with %d obligations, %v; want %s with 1", name, v.Head, len(v.Obligations), err, head)
			}
		})
	}
}

// TestAWorkerForgetsItsCallers: Temporal is asked once who an execution is, and again when
// thousands have called since.
func TestAWorkerForgetsItsCallers(t *testing.T) {
	h := &Host{}
	asked := map[string]int{}
	call := func(n int) {
		t.Helper()
		id := fmt.Sprintf("e-%d", n)
		c, err := h.callerOf("w", id, func() (caller, error) {
			asked[id]++
			return caller{run: ledger.Run{Workflow: "w", FirstRun: id}}, nil
		})
		if err != nil || c.run.FirstRun != id {
			t.Fatalf("%s is %+v, %v", id, c, err)
		}
	}
	const most = 5000
	for n := range most {
		call(n)
		call(n)
	}
	call(most - 1)
	call(0)
	if asked["e-0"] != 2 || asked[fmt.Sprintf("e-%d", most-1)] != 1 {
		t.Errorf("Temporal was asked %d times about the first and %d about the last, want 2 and 1", asked["e-0"], asked[fmt.Sprintf("e-%d", most-1)])
	}
}
