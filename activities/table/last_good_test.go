package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/query"
	"breakwater/internal/query/duckdb"
	"breakwater/internal/record"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/lastgood"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// noBad is the quality query of these tests' tables.
const noBad = "no bad notes"

// turning is a table at the target that is good and bad by turns: + and -, a letter for
// each version. The first two are good. info gives what a version's commit records.
func turning(l *world.Lake, pattern string, info func(version int) string) {
	l.T.Helper()
	l.Systems.Engine = duckdb.Engine{}
	decl, _, _ := l.Estate.Table("orders")
	decl.Queries = []estate.Query{
		{Query: noBad, Quality: "SELECT id FROM orders WHERE note = 'bad'; -- of the night"},
		{Query: "count", Golden: "SELECT 1", Answer: []string{"[1]"}},
	}
	for _, region := range []string{world.East, world.West} {
		l.Empty(region, "orders/orders/")
		l.Unmark("orders/orders/")
	}
	delete(l.Truth, "orders")
	l.Create("orders", 0)
	l.Append("orders", 5)
	_, err := l.Writers["orders"].Append(l.T.Context(), []write.Row{{int64(1), "bad"}, {int64(2), "fine"}})
	l.Must(err)
	l.Replicate("orders", nil)
	at := world.Entry("orders/orders", 2)
	body, _, err := l.RootBucket(world.West).Get(l.T.Context(), at)
	l.Must(err)
	_, err = l.RootBucket(world.West).Delete(l.T.Context(), at)
	l.Must(err)
	var add string
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, `{"add":`) {
			add = strings.TrimSpace(line)
		}
	}
	was := byte('+')
	for v := 2; v < len(pattern); v++ {
		lines := []string{`{"commitInfo":` + info(v) + `}`}
		switch is := pattern[v]; {
		case was == '+' && is == '-':
			lines = append(lines, add)
		case was == '-' && is == '+':
			lines = append(lines, strings.Replace(add, `{"add":`, `{"remove":`, 1))
		}
		l.Commit(lines...)
		was = pattern[v]
	}
}

// written is what most of the commits of these tests record.
func written(version int) string {
	return fmt.Sprintf(`{"timestamp":%d,"operation":"WRITE","userName":"erin","job":{"jobId":"881","runId":"run-%d"}}`, 1795238390000+version, version)
}

func foundBy(l *world.Lake, with string) (lastgood.Found, action.Change, error) {
	l.T.Helper()
	d := l.Recorded("table.last-good")
	ch, err := d.Plan(l.T.Context(), l.Request(d, "orders"), json.RawMessage(with))
	if err != nil {
		return lastgood.Found{}, ch, err
	}
	f, err := action.Decode[lastgood.Found](ch.Data)
	l.Must(err)
	return f, ch, nil
}

func TestProveLastGood(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	turning(l, "++-", written)
	d := l.Recorded("table.last-good")
	prove.ActionWith(t, d, l.Request(d, "orders"), json.RawMessage(`{"query":"all","user":"erin"}`), l.FaultSet())
	f, _, err := record.LastGood.Read(t.Context(), l.Records, "orders")
	l.Must(err)
	if f.Good.Number != 1 || f.Bad.Number != 2 || f.Region != world.West || !slices.Equal(f.Asked, []string{noBad}) {
		t.Errorf("it leaves %+v", f)
	}
}

// TestLastGood takes one world through everything else that is promised.
func TestLastGood(t *testing.T) {
	t.Parallel()
	l := world.NewLake(t)
	for name, part := range map[string]func(*testing.T, *world.Lake){
		"by query": lastGoodByQuery, "by commits": lastGoodByCommits, "refusals": lastGoodRefuses, "what cannot be read": lastGoodWithLost, "what is broken": lastGoodOfBroken,
		"other tables": lastGoodWithOthers, "going on": lastGoodGoesOn, "rollback": rollbackToLastGood,
	} {
		t.Run(name, func(t *testing.T) {
			l.T = t
			part(t, l)
		})
	}
	l.T = t
}

func lastGoodByQuery(t *testing.T, l *world.Lake) {
	turning(l, "++-+++---", written)
	f, ch, err := foundBy(l, `{"query":"no bad notes"}`)
	l.Must(err)
	if f.Good.Number != 5 || f.Bad.Number != 6 || f.Head.Number != 8 || f.Times != 9 || f.Of != 9 || len(f.Islands) != 1 || f.Islands[0].String() != "2" {
		t.Errorf("%+v", f)
	}
	told := ch.Summary + fmt.Sprint(ch.Effects) + fmt.Sprint(ch.Accepts)
	for _, want := range []string{
		`last good at version 5 of 20`, `quality query "no bad notes" passes there, and not at version 6, WRITE by erin for 881, run-6 at 20`,
		"9 versions of 9 that can be read, 0 to 8, were asked", "each one of 0 to 8, which are all", "version 2 fail, before the last good version", "it was bad before, at version 2",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the plan does not say %q:\n%s\n%+v\n%+v", want, ch.Summary, ch.Effects, ch.Accepts)
		}
	}
	// Without a scan it is the bisection alone, and the plan says what that does not see.
	f, ch, err = foundBy(l, `{"query":"no bad notes","scan":0}`)
	l.Must(err)
	if f.Good.Number != 5 || f.Times > 6 || !strings.Contains(fmt.Sprint(ch.Effects), "by bisection alone") {
		t.Errorf("%+v: %v", f, ch.Effects)
	}
	// Commits propose, and the query proves: two questions and the bad end.
	f, ch, err = foundBy(l, `{"query":"no bad notes","scan":0,"job":"run-6"}`)
	l.Must(err)
	if f.Good.Number != 5 || f.Times != 3 || !strings.Contains(ch.Summary, `named was job "run-6"`) {
		t.Errorf("%+v: %s", f, ch.Summary)
	}
	// A query that selects more rows than an answer may have has its answer.
	l.Systems.Engine = duckdb.Engine{MaxRows: 1}
	decl, _, _ := l.Estate.Table("orders")
	own := decl.Queries
	decl.Queries = []estate.Query{{Query: "few", Quality: "SELECT o.* FROM orders o, orders p WHERE o.note = 'bad' AND p.id > 0"}}
	if f, _, err = foundBy(l, `{"query":"few"}`); err != nil || f.Good.Number != 5 {
		t.Errorf("%+v, %v", f, err)
	}
	decl.Queries, l.Systems.Engine = own, duckdb.Engine{}
	// The same write, named by a version that holds it.
	f, _, err = foundBy(l, `{"query":"no bad notes","bad_version":2}`)
	l.Must(err)
	if f.Good.Number != 1 || f.Bad.Number != 2 {
		t.Errorf("%+v", f)
	}
}

func lastGoodByCommits(t *testing.T, l *world.Lake) {
	turning(l, "++++-----", func(v int) string {
		if v == 4 {
			return `{"timestamp":1,"operation":"DELETE","userName":"bob","userId":"77","clusterId":"c-9","engineInfo":"Databricks-Runtime/17.1"}`
		}
		return written(v)
	})
	log, _ := l.Log(world.West, "orders")
	times, err := log.Times(t.Context())
	l.Must(err)
	v4, _ := times.Of(4)
	for with, want := range map[string]int64{
		`{"bad_version":4}`: 3, `{"user":"bob"}`: 3, `{"user":"77"}`: 3, `{"operation":"delete"}`: 3, `{"job":"c-9"}`: 3, `{"job":"run-7"}`: 6, `{"user":"erin","bad_version":3}`: 2,
		fmt.Sprintf(`{"bad_since":%q}`, v4.Time.Format(time.RFC3339Nano)): 3,
	} {
		f, ch, err := foundBy(l, with)
		l.Must(err)
		if f.Good.Number != want || f.Bad.Number != want+1 || f.Proven() || !strings.Contains(ch.Summary, "no query was asked") || len(ch.Accepts) != 1 || ch.Accepts[0].ID != "unproven orders" {
			t.Errorf("%s: %s, %+v", with, ch.Summary, ch.Accepts)
		}
	}
	d := l.Recorded("table.last-good")
	r := l.Request(d, "orders")
	with := json.RawMessage(`{"user":"bob"}`)
	l.Act(d, &r, with)
	obs, err := d.Verify(t.Context(), r, with)
	l.Must(err)
	if action.Worst(obs) != verdict.Pass || len(obs) != 4 {
		t.Errorf("Verify:\n%s", prove.Told(obs))
	}
	_, ch, err := foundBy(l, fmt.Sprintf(`{"bad_since":%q}`, v4.Time.Format(time.RFC3339Nano)))
	l.Must(err)
	if !strings.Contains(fmt.Sprint(ch.Effects), "times are those of its log's objects") {
		t.Errorf("the plan does not say by which clock: %+v", ch.Effects)
	}
	// Who cannot ask again has seen nothing.
	with = json.RawMessage(`{"query":"all","operation":"delete"}`)
	r.Plan = nil
	l.Act(d, &r, with)
	decl, _, _ := l.Estate.Table("orders")
	for says, spoil := range map[string]func(){
		"no query engine": func() { l.Systems.Engine = nil },
		"none of them":    func() { decl.Queries = nil },
	} {
		own := decl.Queries
		spoil()
		obs, err := d.Verify(t.Context(), r, with)
		l.Must(err)
		if action.Worst(obs) != verdict.Unknown || !strings.Contains(prove.Told(obs), says) {
			t.Errorf("%s:\n%s", says, prove.Told(obs))
		}
		l.Systems.Engine, decl.Queries = duckdb.Engine{}, own
	}
}

// TestLastGoodRefuses: each refusal is one sentence with the next move, and names what it
// is about.
func lastGoodRefuses(t *testing.T, l *world.Lake) {
	turning(l, "++++--", written)
	refused := func(with string, says ...string) {
		t.Helper()
		_, _, err := foundBy(l, with)
		if !errors.Is(err, action.ErrRefused) {
			t.Errorf("%s: %v, want it refused", with, err)
			return
		}
		for _, want := range append(says, "table orders in us-west-2") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want it to say %q", with, err, want)
			}
		}
	}
	decl, _, _ := l.Estate.Table("orders")
	own := decl.Queries
	ask := func(sql string) { decl.Queries = []estate.Query{{Query: "q", Quality: sql}} }
	refused(`{}`, "give bad_version, bad_since, job, user, operation or query")
	refused(`{"query":"count"}`, `no quality query "count"`, noBad)
	refused(`{"query":"all","scan":-1}`, "scan is -1")
	refused(`{"bad_version":99}`, "no commit of version 99, and those from 0 to 5")
	refused(`{"query":"all","bad_version":99}`, "no commit of version 99, and those from 0 to 5")
	refused(`{"bad_version":0}`, "no version before 0", "restore the table from a backup")
	refused(`{"query":"all","bad_version":3}`, "it passes at version 3, which is named")
	refused(`{"user":"erin"}`, "4 commits are by user", "name one run")
	refused(`{"job":"nightly"}`, `is by job "nightly"`, "run-5")
	refused(`{"query":"all","job":"run-5"}`, "passes at version 3 and fails at 4", "none of the commits named, 5")
	refused(`{"bad_since":"2036-01-01T00:00:00Z"}`, "nothing was committed at or after")
	ask("SELECT 1 FROM orders WHERE false")
	refused(`{"query":"q"}`, `quality query "q"`, "it passes at version 5, the newest", "ask what sees the fault")
	ask("SELECT 1")
	refused(`{"query":"q"}`, "it fails at version 0, the oldest that can be read, and at version 5, and at 4 more versions between", "restore the table from a backup")
	ask("SELECT nope FROM orders")
	refused(`{"query":"q"}`, "ask version 5", "nope", "that all of them can answer")
	ask("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 1")
	refused(`{"query":"q","within":"200ms"}`, "it took longer than 200ms", "give more by within")
	decl.Queries = nil
	refused(`{"query":"all"}`, "has no quality query in the estate")
	decl.Queries = own

	// A protocol that is not known here, from some version on.
	l.Commit(`{"commitInfo":{"timestamp":1}}`, `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["timeReversal"],"writerFeatures":["timeReversal"]}}`)
	refused(`{"query":"all"}`, "timeReversal")
	// And one that is: the plan says that it stays.
	turning(l, "++--", written)
	l.Commit(`{"commitInfo":{"timestamp":1}}`, `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}`)
	_, ch, err := foundBy(l, `{"query":"all"}`)
	l.Must(err)
	if !slices.ContainsFunc(ch.Effects, func(e action.EffectLine) bool {
		return strings.Contains(e.Do, "its protocol changed since") && e.From == "reader 1, writer 2, features appendOnly, invariants" && strings.Contains(e.To, "deletionVectors")
	}) {
		t.Errorf("the plan does not say that the protocol changed: %+v", ch.Effects)
	}

	l.Systems.Engine = nil
	refused(`{"query":"all"}`, "no query engine")
}

// What was vacuumed is passed over, and said.
func lastGoodWithLost(t *testing.T, l *world.Lake) {
	turning(l, "++++--", written)
	// The file of the second version is gone, so that versions 1 and up cannot be read.
	gone := l.DataAt(1)
	_, err := l.RootBucket(world.West).Delete(t.Context(), gone)
	l.Must(err)
	_, _, err = foundBy(l, `{"query":"all"}`)
	if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "it passes at version 0, the newest that can be read") {
		t.Errorf("%v", err)
	}
	l.Unmark("orders/orders/")
	_, err = l.RootBucket(world.West).Delete(t.Context(), world.Entry("orders/orders", 0))
	l.Must(err)
	if _, _, err = foundBy(l, `{"query":"all"}`); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "no version that can be read") {
		t.Errorf("%v", err)
	}
	l.Plant("vacuumed", -1)
	refusedHere := func(with, says string) {
		t.Helper()
		if _, _, err := foundBy(l, with); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", with, err, says)
		}
	}
	refusedHere(`{"query":"all","bad_version":3}`, "version 3 is none of 4 versions that can be read, 0 to 7")
	// Of it 0 and 5 to 7 can be read.
	f, ch, err := foundBy(l, `{"bad_version":5}`)
	l.Must(err)
	if f.Good.Number != 0 || f.Oldest != 0 || fmt.Sprint(f.Lost) != "[1 to 4]" || !strings.Contains(fmt.Sprint(ch.Accepts), "unread orders") {
		t.Errorf("%+v, %+v", f, ch.Accepts)
	}
}

// A version that is there and holds no rows does not pass; what is not there is not asked.
func lastGoodOfBroken(t *testing.T, l *world.Lake) {
	turning(l, "+++---", written)
	var bad string
	log, _ := l.Log(world.West, "orders")
	before, err := log.Snapshot(t.Context(), 2)
	l.Must(err)
	after, err := log.Snapshot(t.Context(), 3)
	l.Must(err)
	var size int64
	for a := range after.Files() {
		if !before.Has(a) {
			_, bad = a.File()
			size = a.Size
		}
	}
	l.Writes(bad, strings.Repeat("x", int(size)))
	f, ch, err := foundBy(l, `{"query":"all"}`)
	l.Must(err)
	if f.Good.Number != 2 || f.Bad.Number != 3 || !strings.Contains(f.Broken, bad[len("orders/orders/"):]) || !strings.Contains(ch.Summary, "whose rows cannot be read (") {
		t.Errorf("%+v: %s", f, ch.Summary)
	}
	_, err = l.RootBucket(world.West).Delete(t.Context(), bad)
	l.Must(err)
	if _, _, err := foundBy(l, `{"query":"all"}`); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "versions 3 to 5, lacks objects and was not asked: bring those back first, or go to version 2 by its number") {
		t.Errorf("%v", err)
	}
}

// A query over two tables reads the other one as it was then.
func lastGoodWithOthers(t *testing.T, l *world.Lake) {
	turning(l, "+++++", written)
	decl, _, _ := l.Estate.Table("orders")
	decl.Queries = []estate.Query{{Query: "no more than payments", Quality: "SELECT 1 FROM (SELECT count(*) n FROM orders) o, (SELECT count(*) n FROM payments) p WHERE o.n > 0 AND p.n > 0"}}
	l.Create("payments", 0)
	l.Replicate("payments", nil)
	_, _, err := foundBy(l, `{"query":"all"}`)
	if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "it passes at version 4") && !strings.Contains(err.Error(), "table payments as it was then") {
		t.Errorf("payments came later: %v", err)
	}
	l.Append("payments", 3)
	l.Replicate("payments", nil)
	before := l.Commit(`{"commitInfo":` + written(5) + `}`)
	f, _, err := foundBy(l, fmt.Sprintf(`{"query":"all","bad_version":%d}`, before))
	if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "table payments as it was then") {
		t.Errorf("older versions than payments has: %+v, %v", f, err)
	}
}

// What an attempt before this one asked is not asked again.
func lastGoodGoesOn(t *testing.T, l *world.Lake) {
	turning(l, "++++----", written)
	d := l.Recorded("table.last-good")
	r := l.Request(d, "orders")
	counting := &counted{Engine: duckdb.Engine{}}
	l.Systems.Engine = counting
	var kept any
	r.Save = func(halfway any) { kept = halfway }
	_, err := d.Plan(t.Context(), r, json.RawMessage(`{"query":"all"}`))
	l.Must(err)
	if counting.n != 8 {
		t.Errorf("asked %d times, of 8 versions", counting.n)
	}
	r.Resume, err = json.Marshal(kept)
	l.Must(err)
	_, err = d.Plan(t.Context(), r, json.RawMessage(`{"query":"all"}`))
	l.Must(err)
	if counting.n != 8 {
		t.Errorf("asked %d times in both attempts", counting.n)
	}
}

// counted counts queries.
type counted struct {
	query.Engine
	n int
}

func (c *counted) Query(ctx context.Context, tables map[string]query.Table, sql string) (query.Result, error) {
	c.n++
	return c.Engine.Query(ctx, tables, sql)
}

// A rollback goes where the record says, of this run and this region, and asks where it
// fits no other table of the group.
func rollbackToLastGood(t *testing.T, l *world.Lake) {
	turning(l, "+++---", written)
	const with = `{"to_last_good":true}`
	refused := func(with string, says string) {
		t.Helper()
		if _, err := l.Planned(json.RawMessage(with)); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it refused, saying %q", with, err, says)
		}
	}
	l.Records.Forget()
	refused(with, "put table.last-good before it")
	refused(`{"to_last_good":true,"to_version":1}`, "exactly one")
	d := l.Recorded("table.last-good")
	r := l.Request(d, "orders")
	l.Act(d, &r, json.RawMessage(`{"query":"all"}`))
	refused(`{"to_last_good":true,"region":"us-east-1"}`, "was found in us-west-2")
	want := l.Rows(2)
	ch, err := l.Planned(json.RawMessage(with))
	l.Must(err)
	if !strings.Contains(ch.Summary, `goes back from version 5 to the content of version 2, its last good one by quality query "no bad notes"`) || accepted(ch, "unasked") != "" {
		t.Errorf("%s, %+v", ch.Summary, ch.Accepts)
	}
	// Another table of the group, which was replaced before this one's good version came.
	f, _, err := record.LastGood.Read(t.Context(), l.Records, "orders")
	l.Must(err)
	other := f
	other.Table, other.Good.Number, other.Bad.Number = "payments", 7, 8
	other.Good.Time, other.Bad.Time = f.Good.Time.Add(-time.Hour), f.Good.Time.Add(-time.Minute)
	leave := func(other lastgood.Found) {
		data, err := action.Encode(other)
		l.Must(err)
		l.Records.Put("table.last-good", "payments", action.Outcome{Data: data})
	}
	asked := func() (all []string) {
		ch, err := l.Planned(json.RawMessage(with))
		l.Must(err)
		for _, a := range ch.Accepts {
			if strings.HasPrefix(a.ID, "two-cuts ") {
				all = append(all, a.Sentence)
			}
		}
		return all
	}
	leave(other)
	if all := asked(); len(all) != 1 || !strings.Contains(all[0], "Tables payments and orders of group orders go back to two moments: version 7 of") || !strings.Contains(all[0], "to_time "+other.Good.Time.UTC().Format(time.RFC3339Nano)) {
		t.Errorf("asked %q", all)
	}
	other.Bad.Time = f.Good.Time.Add(time.Minute)
	leave(other)
	if all := asked(); len(all) != 0 {
		t.Errorf("both were there together, and asked is %q", all)
	}
	l.Commit(`{"commitInfo":` + written(6) + `}`)
	ch, err = l.Planned(json.RawMessage(with))
	l.Must(err)
	if got := accepted(ch, "unasked"); !strings.Contains(got, "was at version 5 when its last good version was looked for, and is at version 6") {
		t.Errorf("accepted: %q", got)
	}
	back, req := l.Rollback()
	req.Plan = &ch
	_, err = back.Apply(t.Context(), req, json.RawMessage(with))
	l.Must(err)
	obs, err := back.Verify(t.Context(), req, json.RawMessage(with))
	l.Must(err)
	if action.Worst(obs) != verdict.Pass || l.Rows(7) != want {
		t.Errorf("version 7 reads as %v, want %v\n%s", l.Rows(7), want, prove.Told(obs))
	}
}
