package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/ledger/store"
	"breakwater/internal/sshsig"
	"breakwater/internal/takeover"

	"golang.org/x/crypto/ssh"
)

func lockSigner(t *testing.T, n byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append(make([]byte, 31), n)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// commanders are ana, who signs with key 0, and ben, with key 1.
func commanders(t *testing.T) estate.Role {
	t.Helper()
	role := estate.Role{Role: "incident-commander", Method: estate.Signed}
	for n, who := range []string{"ana", "ben"} {
		role.Members = append(role.Members, estate.Member{Name: who, Key: sshsig.Public(lockSigner(t, byte(n))).String()})
	}
	return role
}

// lockFolder is a ledger's location, and the folder that it is.
func lockFolder(t *testing.T) (*store.Folder, string) {
	t.Helper()
	dir := t.TempDir()
	folder, err := store.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { folder.Close() })
	return folder, dir
}

// TestTakeOver: two people of the role that may begin the runbook take a lock over, and
// nobody else, no sooner, and not for another run.
func TestTakeOver(t *testing.T) {
	folder, _ := lockFolder(t)
	role := commanders(t)
	role.Members = append(role.Members, estate.Member{Name: "ana", Key: sshsig.Public(lockSigner(t, 7)).String()}) // her second key
	other := estate.Role{Role: "data-owner", Method: estate.Signed, Members: []estate.Member{{Name: "cleo", Key: sshsig.Public(lockSigner(t, 3)).String()}}}
	e := &estate.Estate{Estate: "lab", Roles: []estate.Role{role, other}}
	out := &bytes.Buffer{}
	a := &app{out: out, err: out}
	lock, now := store.NewLock(folder, "lab"), time.Now().UTC()
	holder := store.Holder{Run: ledger.Run{Workflow: "old", FirstRun: "f"}, Runbook: "RegionalFailover", Mode: "live", Source: "us-east-1", Target: "us-west-2", Since: now}
	take := func(n byte, who, run string, at time.Time) error {
		f := takeFlags{run: run, reason: "its Temporal is gone", yes: true}
		return a.takeOver(t.Context(), e, folder, f, func() time.Time { return at }, func(estate.Role) (ssh.Signer, string, error) { return lockSigner(t, n), who, nil })
	}
	refused := func(what, says string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) || exitCode(err) != exitRefused {
			t.Errorf("%s: %v, exit %d; want it refused, saying %q", what, err, exitCode(err), says)
		}
	}
	refused("what nobody holds", "nobody holds it", take(0, "ana", "new", now))
	if _, err := lock.Acquire(t.Context(), holder, nil); err != nil {
		t.Fatal(err)
	}
	if err := take(0, "ana", "old", now); exitCode(err) != exitUsage {
		t.Errorf("for the run that holds it: %v", err)
	}
	// Whoever can write to the ledger can write a claim: it is in nobody's way.
	planted := takeover.Signed{Statement: takeover.Statement{Estate: "lab", Epoch: 1, Holder: holder.Run, Run: "theirs", Runbook: "RegionalFailover", Role: "incident-commander", At: now}}
	planted.Signatures = []string{"none"}
	if err := lock.Claim(t.Context(), planted, now, nil); err != nil {
		t.Fatal(err)
	}
	if err := take(0, "ana", "new", now); err != nil {
		t.Fatal(err)
	}
	late := now.Add(takeover.Wait + time.Minute)
	refused("too early", "too early", take(1, "ben", "new", now.Add(takeover.Wait/2)))
	if err := take(1, "ben", "", now.Add(takeover.Valid)); exitCode(err) != exitUsage { // it would be a first signature
		t.Errorf("too late: %v", err)
	}
	refused("the same person", "signed it already", take(0, "ana", "new", late))
	refused("the same person by another key", "signed it already", take(7, "ana", "new", late))
	refused("the same person by another name", "1 of 2", take(0, "anna", "new", late))
	refused("a stranger", "no member", take(9, "eve", "new", late))
	refused("another role", "no member", take(3, "cleo", "new", late))
	refused("for another run", "cannot be another one", take(1, "ben", "other", late))
	if err := take(1, "ben", "", late); err != nil {
		t.Fatal(err)
	}
	state, err := lock.State(t.Context())
	if err != nil || state.Epoch != 2 || state.TakenOver() == nil || state.Holder.Run.Workflow != "new" {
		t.Fatalf("the lock is %+v, %v", state, err)
	}
	if by, err := state.TakenOver().Check(role); err != nil || strings.Join(by, " ") != "ana ben" {
		t.Errorf("it was taken over by %v, %v", by, err)
	}
	if text := out.String(); !strings.Contains(text, "1 of 2") || !strings.Contains(text, "--id new --incident ID source=us-east-1 target=us-west-2") {
		t.Errorf("the command said\n%s", text)
	}
	// The run that it waits for may be lost as well.
	if err := take(0, "ana", "newer", late); err != nil {
		t.Errorf("take it over from a run that never began: %v", err)
	}
}

// TestALostLock: where somebody took the lock's object away, the command shows what was
// recorded, and two people take the lock over as from a run that does not answer.
func TestALostLock(t *testing.T) {
	folder, dir := lockFolder(t)
	role := commanders(t)
	e := &estate.Estate{Estate: "lab", Roles: []estate.Role{role}}
	out := &bytes.Buffer{}
	a := &app{out: out, err: out}
	lock, now := store.NewLock(folder, "lab"), time.Now().UTC()
	old := store.Holder{Run: ledger.Run{Workflow: "old", FirstRun: "f"}, Runbook: "RegionalFailover", Mode: "live", Source: "us-east-1", Target: "us-west-2", Since: now}
	state, err := lock.Acquire(t.Context(), old, nil)
	if err == nil {
		err = lock.Keep(t.Context(), lockSigner(t, 9), nil, state)
	}
	if err == nil {
		err = lock.Release(t.Context(), old.Run)
	}
	if err == nil {
		err = os.Remove(filepath.Join(dir, filepath.FromSlash(ledger.LockKey("lab"))))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Acquire(t.Context(), store.Holder{Run: ledger.Run{Workflow: "new", FirstRun: "f"}}, nil); !errors.Is(err, store.ErrHeld) {
		t.Fatalf("a new run: %v", err)
	}
	for n, who := range []string{"ana", "ben"} {
		at := now.Add(time.Duration(n) * (takeover.Wait + time.Minute))
		f := takeFlags{run: "new", reason: "somebody removed the lock", yes: true}
		if err := a.takeOver(t.Context(), e, folder, f, func() time.Time { return at }, func(estate.Role) (ssh.Signer, string, error) { return lockSigner(t, byte(n)), who, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if text := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(text, "Careful: the lock is gone, and by the record lock/lab/epochs/000000000001.json") || !strings.Contains(text, "2 of 2") {
		t.Errorf("the command said\n%s", out)
	}
	state, err = lock.Acquire(t.Context(), store.Holder{Run: ledger.Run{Workflow: "new", FirstRun: "g"}, Runbook: "RegionalFailover"}, func(takeover.Signed) error { return nil })
	if err != nil || state.Epoch != 2 {
		t.Errorf("the run that it waits for got %+v, %v", state, err)
	}
}

// TestALedgerLostForGood: where the ledger is gone with all that was in it, two people take
// the estate over at an empty location, and nowhere else.
func TestALedgerLostForGood(t *testing.T) {
	folder, _ := lockFolder(t)
	role := commanders(t)
	e := &estate.Estate{Estate: "lab", Roles: []estate.Role{role}}
	out := &bytes.Buffer{}
	a := &app{out: out, err: out}
	now := time.Now().UTC()
	head := "31:" + strings.Repeat("ab", 32)
	take := func(n byte, f takeFlags, at time.Time) error {
		f.run, f.reason, f.yes = "new", "the bucket is gone", true
		return a.takeOver(t.Context(), e, folder, f, func() time.Time { return at }, func(estate.Role) (ssh.Signer, string, error) {
			return lockSigner(t, n), role.Members[n].Name, nil
		})
	}
	lost := takeFlags{lost: head, holder: "old/f", epoch: 3, book: "RegionalFailover"}
	for _, f := range []takeFlags{
		{lost: "31", holder: "old/f", epoch: 3, book: "RegionalFailover"}, {lost: head, holder: "old", epoch: 3, book: "RegionalFailover"},
		{lost: head, holder: "old/f", book: "RegionalFailover"}, {lost: head, holder: "old/f", epoch: 3},
	} {
		if err := take(0, f, now); exitCode(err) != exitUsage {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if err := take(0, lost, now); err != nil {
		t.Fatal(err)
	}
	lock := store.NewLock(folder, "lab")
	if _, err := lock.Acquire(t.Context(), store.Holder{Run: ledger.Run{Workflow: "other", FirstRun: "f"}}, nil); !errors.Is(err, store.ErrHeld) {
		t.Errorf("another run, after one signature: %v", err)
	}
	for _, f := range []takeFlags{lost, {}} { // with the same words, or none
		if err := take(1, f, now.Add(takeover.Wait/2)); exitCode(err) != exitRefused {
			t.Errorf("too early: %v", err)
		}
	}
	if err := take(1, takeFlags{}, now.Add(takeover.Wait+time.Minute)); err != nil {
		t.Fatal(err)
	}
	state, err := lock.State(t.Context())
	if err != nil || state.Epoch != 4 || state.TakenOver() == nil || state.TakenOver().Statement.Lost != head {
		t.Fatalf("the lock is %+v, %v", state, err)
	}
	if by, err := state.TakenOver().Check(role); err != nil || len(by) != 2 {
		t.Errorf("it was taken over by %v, %v", by, err)
	}
	forged := *state.TakenOver()
	forged.Statement.Lost = "9:" + strings.Repeat("cd", 32)
	if _, err := forged.Check(role); err == nil {
		t.Error("another head than the signed one is believed")
	}
	if text := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(text, "entry 31:abab") || !strings.Contains(text, "2 of 2") {
		t.Errorf("the command said\n%s", out)
	}
	if err := take(0, takeFlags{lost: "40:" + strings.Repeat("ab", 32), holder: "new/f", epoch: 4, book: "RegionalFailover"}, now); exitCode(err) != exitRefused {
		t.Errorf("where something is: %v", err)
	}
}
