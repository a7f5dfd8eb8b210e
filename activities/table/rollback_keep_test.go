package table

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/record"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// Who wrote what, in these tests.
const (
	erin    = `"userName":"erin","job":{"jobId":"881"}`
	mallory = `"userName":"mallory","job":{"jobId":"666"}`
)

// found is the table orders at the target, whose bad version is found after OPTIMIZE and
// three good commits: 1 and 2 are good, 3 is bad, 4 is OPTIMIZE, 5 to 7 are good. It gives
// what the table would hold without the bad one.
func found(l *world.Lake) table.Digest {
	l.T.Helper()
	for _, name := range []string{"orders", "payments"} {
		for _, region := range []string{world.East, world.West} {
			l.Empty(region, "orders/"+name+"/")
		}
		l.Unmark("orders/" + name + "/")
		delete(l.Truth, name)
		l.Create(name, 0)
	}
	rows := [][]int64{1: {1, 2, 3}, 2: {4, 5}, 3: {100, 101}, 4: {1, 2, 3, 4, 5, 100, 101}, 5: {6}, 6: {7, 8}, 7: {9}}
	for v, ids := range rows[1:] {
		batch := make([]write.Row, len(ids))
		for i, id := range ids {
			batch[i] = write.Row{id, fmt.Sprint("row ", id)}
		}
		_, err := l.Writers["orders"].Append(l.T.Context(), batch)
		l.Must(err)
		if v+1 != 3 && v+1 != 4 {
			_, err := l.Writers["payments"].Append(l.T.Context(), batch)
			l.Must(err)
		}
	}
	l.Replicate("orders", nil)
	adds := make([]string, len(rows))
	for v := 1; v < len(rows); v++ {
		body, _, err := l.RootBucket(world.West).Get(l.T.Context(), world.Entry("orders/orders", v))
		l.Must(err)
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, `{"add":`) {
				adds[v] = strings.TrimSpace(line)
			}
		}
		if v > 2 {
			l.Deletes(world.Entry("orders/orders", v))
		}
	}
	info := func(operation, by string) string {
		return fmt.Sprintf(`{"commitInfo":{"timestamp":1795238390000,"operation":%q,"operationParameters":{"mode":"Append"},%s}}`, operation, by)
	}
	l.Commit(info("WRITE", mallory), adds[3])
	l.Commit(append([]string{info("OPTIMIZE", erin), still(adds[4])}, removed(adds[1:4]...)...)...)
	for v := 5; v <= 7; v++ {
		l.Commit(info("WRITE", erin), adds[v])
	}
	log, store := l.Log(world.East, "payments")
	s, err := log.Snapshot(l.T.Context(), log.Head())
	l.Must(err)
	d, err := scan.Sum(l.T.Context(), store, s)
	l.Must(err)
	return d
}

// still is an action that changes no data.
func still(action string) string {
	return strings.Replace(action, `"dataChange":true`, `"dataChange":false`, 1)
}

// removed are the removes of adds, by a commit that changes no data.
func removed(adds ...string) (all []string) {
	for _, a := range adds {
		all = append(all, still(strings.Replace(a, `{"add":`, `{"remove":`, 1)))
	}
	return all
}

// TestProveRollbackThatKeeps passes over four commits and keeps two that came before them,
// a delete by deletion vectors and an append.
func TestProveRollbackThatKeeps(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	l.Plant("dv", 8)
	want, bad := l.Rows(4), l.Rows(8)
	d, r := l.Rollback()
	prove.ActionWith(t, d, r, json.RawMessage(`{"to_version":2,"keep":[3,4]}`), l.FaultSet())
	if got := l.Rows(9); got != want {
		t.Errorf("version 9 reads as %v, want %v", got, want)
	}
	if got := l.Rows(10); got != bad {
		t.Errorf("taken back, version 10 reads as %v, want version 8's %v", got, bad)
	}
}

// TestRollbackKeeps takes one world through what else keeping commits promises.
func TestRollbackKeeps(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	for name, part := range map[string]func(*testing.T, *world.Lake){
		"others": rollbackKeepsOthers, "what is said": rollbackSaysWhatItKeeps, "refusals": rollbackRefusesToKeep, "a kept row that goes": rollbackSeesALostRow,
	} {
		t.Run(name, func(t *testing.T) {
			l.T = t
			part(t, l)
		})
	}
	l.T = t
}

// What is by others than whom table.last-good was told is kept, once, in one commit that a
// second attempt finds; delta-rs reads it.
func rollbackKeepsOthers(t *testing.T, l *world.Lake) {
	const with = `{"to_last_good":true,"keep_others":true}`
	want := found(l)
	l.Records.Forget()
	find := l.Recorded("table.last-good")
	r := l.Request(find, "orders")
	l.Act(find, &r, json.RawMessage(`{"job":"666"}`))
	f, _, err := record.LastGood.Read(t.Context(), l.Records, "orders")
	l.Must(err)
	if f.Said.Job != "666" || f.Good.Number != 2 {
		t.Fatalf("recorded is %+v", f)
	}
	d, r := l.Rollback()
	ch, err := l.Planned(json.RawMessage(with))
	l.Must(err)
	if got := accepted(ch, "others"); !strings.Contains(got, `those by job "666" go, 1 of them, and 4 to 7 stay because they are by others`) {
		t.Errorf("accepted: %q", got)
	}
	if !strings.Contains(ch.Summary, "with what versions 5 to 7 changed") {
		t.Errorf("it says %q", ch.Summary)
	}
	r.Plan = &ch
	for n := range int64(2) {
		o, err := d.Apply(t.Context(), r, json.RawMessage(with))
		l.Must(err)
		var left record.RolledBack
		l.Must(json.Unmarshal(o.Data, &left))
		if o.Mutations != 1-n || fmt.Sprint(left.Kept) != "[5 6 7]" {
			t.Errorf("attempt %d: %+v, %+v", n+1, o, left)
		}
	}
	again, err := l.Planned(json.RawMessage(with))
	l.Must(err)
	if len(again.Effects) > 0 {
		t.Errorf("planned again after it died: %+v", again.Effects)
	}
	r.Plan = &again
	o, err := d.Apply(t.Context(), r, json.RawMessage(with))
	l.Must(err)
	obs, err := d.Verify(t.Context(), r, json.RawMessage(with))
	l.Must(err)
	if log, _ := l.Log(world.West, "orders"); log.Head() != 8 || o.Mutations != 0 || action.Worst(obs) != verdict.Pass || l.Rows(8) != want {
		t.Errorf("head %d, %d mutations, %v instead of %v\n%s", log.Head(), o.Mutations, l.Rows(8), want, prove.Told(obs))
	}
	got := l.DeltaRS("orders/orders", map[string]any{"do": "read", "versions": []int{8}})
	if fmt.Sprint(got["8"]) != "map[rows:9 sum:45]" {
		t.Errorf("delta-rs reads %v", got)
	}
	back, err := d.UndoPlan(t.Context(), r, json.RawMessage(with))
	l.Must(err)
	r.Plan = &back
	_, err = d.UndoApply(t.Context(), r, json.RawMessage(with))
	l.Must(err)
	if got := l.DeltaRS("orders/orders", map[string]any{"do": "read", "versions": []int{9}}); fmt.Sprint(got["9"]) != "map[rows:11 sum:246]" {
		t.Errorf("taken back, delta-rs reads %v", got)
	}
	// Taken back and asked for once more, neither of our own commits is one of others.
	r = l.Request(d, "orders")
	r.Step = "once more"
	if ch, err := d.Plan(t.Context(), r, json.RawMessage(with)); err == nil || !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "version 8 (RESTORE) cannot be kept") {
		t.Errorf("another step keeps another's rollback: %v, %s", err, ch.Summary)
	}
	if ch, err := l.Planned(json.RawMessage(with)); err != nil || !strings.Contains(ch.Summary, "with what versions 5 to 7 changed") {
		t.Errorf("the same step once more: %v, %s", err, ch.Summary)
	}
}

// The plan names each commit, and what can be given up is less by what is kept.
func rollbackSaysWhatItKeeps(t *testing.T, l *world.Lake) {
	found(l)
	all, err := l.Planned(toVersion(2))
	l.Must(err)
	if all.Loss.AtLeast != 6 || *all.Loss.AtMost != 11 {
		t.Errorf("without keeping any, %d to %d rows are given up", all.Loss.AtLeast, *all.Loss.AtMost)
	}
	log, _ := l.Log(world.West, "orders")
	s, err := log.Snapshot(t.Context(), 7)
	l.Must(err)
	path := ""
	for a := range s.Files() {
		if a.Records == 1 {
			path = a.Path
		}
	}
	l.Commit(`{"commitInfo":{"timestamp":1,"operation":"DELETE"}}`, fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true,"deletionTimestamp":1}}`, path), `{"txn":{"appId":"kept","version":3}}`)
	l.Commit(`{"commitInfo":{"timestamp":1,"operation":"STREAMING UPDATE"}}`, `{"txn":{"appId":"gone","version":4}}`)
	ch, err := l.Planned(json.RawMessage(`{"to_version":2,"keep":[4,5,6,7,8]}`))
	l.Must(err)
	for _, want := range []string{"pass over version 3, WRITE", "pass over version 4, OPTIMIZE", "replay version 5, WRITE", "replay version 6, WRITE", "replay version 7, WRITE", "replay version 8, DELETE"} {
		seen := 0
		for _, e := range ch.Effects {
			if e.Do == want {
				seen++
			}
		}
		if seen != 1 {
			t.Errorf("%q is said %d times: %+v", want, seen, ch.Effects)
		}
	}
	if ch.Loss.AtLeast != 2 || *ch.Loss.AtMost != 2 || ch.Loss.SecondsAtLeast != 0 {
		t.Errorf("%d to %d rows are given up", ch.Loss.AtLeast, *ch.Loss.AtMost)
	}
	if got := accepted(ch, "kept-reads"); !strings.Contains(got, "8 (DELETE)") || strings.Contains(got, "5 (") {
		t.Errorf("accepted: %q", got)
	}
	skipped := ""
	for _, a := range ch.Accepts {
		if strings.HasPrefix(a.ID, "skipped-batches") {
			skipped += a.Sentence
		}
	}
	if !strings.Contains(skipped, `"gone"`) || strings.Contains(skipped, `"kept"`) {
		t.Errorf("skipped batches: %q", skipped)
	}
}

func rollbackRefusesToKeep(t *testing.T, l *world.Lake) {
	found(l)
	l.Records.Forget()
	refused := func(with, says string) {
		t.Helper()
		if _, err := l.Planned(json.RawMessage(with)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it refused, saying %q", with, err, says)
		}
	}
	refused(`{"to_version":2,"keep_others":true}`, "put table.last-good before it and go to_last_good, or name the versions in keep")
	refused(`{"to_version":2,"keep_others":true,"keep":[5]}`, "either keep or keep_others")
	refused(`{"to_version":2,"keep":[2]}`, "version 2 cannot be kept, since it is none of those after version 2")
	refused(`{"to_version":2,"keep":[8]}`, "up to the head 7")
	find := l.Recorded("table.last-good")
	r := l.Request(find, "orders")
	l.Act(find, &r, json.RawMessage(`{"bad_version":3}`))
	refused(`{"to_last_good":true,"keep_others":true}`, "was told no job, user or operation")
	log, _ := l.Log(world.West, "orders")
	s, err := log.Snapshot(t.Context(), 4)
	l.Must(err)
	for a := range s.Files() {
		l.Commit(`{"commitInfo":{"timestamp":1,"operation":"DELETE"}}`, fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true,"deletionTimestamp":1}}`, a.Path))
	}
	refused(`{"to_version":2,"keep":[4,5,6,7,8]}`, "version 8 (DELETE) cannot be kept, since it removes file")
}

// A kept row that is missing turns it red, also where its file is not of the rollback's own
// commit.
func rollbackSeesALostRow(t *testing.T, l *world.Lake) {
	found(l)
	const with = `{"to_version":2,"keep":[5,6,7]}`
	d, r := l.Rollback()
	ch, err := l.Planned(json.RawMessage(with))
	l.Must(err)
	r.Plan = &ch
	_, err = d.Apply(t.Context(), r, json.RawMessage(with))
	l.Must(err)
	at := world.Entry("orders/orders", 8)
	body, _, err := l.RootBucket(world.West).Get(t.Context(), at)
	l.Must(err)
	log, _ := l.Log(world.West, "orders")
	s, err := log.Snapshot(t.Context(), 8)
	l.Must(err)
	for a := range s.Files() {
		var lines []string
		for line := range strings.Lines(string(body)) {
			if !strings.HasPrefix(line, `{"add":`) || !strings.Contains(line, a.Path) {
				lines = append(lines, line)
			}
		}
		if len(lines) == strings.Count(string(body), "\n") {
			lines = append(lines, fmt.Sprintf(`{"remove":{"path":%q,"dataChange":true,"deletionTimestamp":1}}`+"\n", a.Path))
		}
		l.Writes(at, strings.Join(lines, ""))
		obs, err := d.Verify(t.Context(), r, json.RawMessage(with))
		l.Must(err)
		if action.Worst(obs) != verdict.Fail {
			t.Errorf("without %s: %s", a.Path, prove.Told(obs))
		}
	}
	l.Writes(at, string(body))
	prove.Passes(t, d, r, json.RawMessage(with))
}

// TestRollbackKeepsWhatWasDeleted: files that only a kept commit brought come back, too, and
// none of a commit that goes.
func TestRollbackKeepsWhatWasDeleted(t *testing.T) {
	t.Parallel()
	s, _ := inMemory(t, false)
	s.write(6, 0)
	s.commit(7, append(s.removal(5), s.removal(4)[1:]...)...)
	s.deletes(s.dataOf(4), s.dataOf(5))
	with := json.RawMessage(`{"to_version":3,"keep":[5,6]}`)
	d, r := s.planned("table.rollback", with)
	if _, do := effect(r.Plan, s.dataOf(5)); do == "" {
		t.Errorf("the file of version 5 does not come back: %+v", r.Plan.Effects)
	}
	if _, do := effect(r.Plan, s.dataOf(4)); do != "" {
		t.Errorf("the file of version 4 comes back: %s", do)
	}
	out, err := d.Apply(t.Context(), r, with)
	s.must(err)
	if out.Mutations != 2 {
		t.Errorf("%d mutations", out.Mutations)
	}
	prove.Passes(t, d, r, with)
}
