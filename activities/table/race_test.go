package table

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/recovery"
	"breakwater/internal/table"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/server/miniotest"
)

// A writer that was not stopped acts right before any one request of a rollback, a
// promotion, or what takes them back: see [raced.run].

// meddling is what the writer does: it puts an object, or deletes it where there is no
// body.
type meddling struct {
	key    string
	body   string
	absent bool // only where nothing is, as a writer of Delta commits
	needed bool // the version that is asked for cannot do without what it destroys
}

// act is an operation that is raced.
type act struct {
	name   string
	target int // the version that it makes the head's content
	next   int // the version that it writes, or moves aside first
	begin  func(s *stand) (*action.Definition, action.Request, json.RawMessage)
	undo   bool // what begin planned is taken back, and that is raced
}

// rollsBack is a table of five versions, of which the sixth removed a file, to go back.
func rollsBack(s *stand, deleted bool) (*action.Definition, action.Request, json.RawMessage) {
	s.write(5, 4)
	s.commit(6, s.removal(2)...)
	if deleted {
		s.deletes(s.dataOf(2))
	}
	d, r := s.planned("table.rollback", toVersion(5))
	return d, r, toVersion(5)
}

func promotes(versions, to int) func(s *stand) (*action.Definition, action.Request, json.RawMessage) {
	return func(s *stand) (*action.Definition, action.Request, json.RawMessage) {
		s.write(versions, 3)
		s.point = int64(to)
		d, r := s.planned("table.promote", nil)
		return d, r, nil
	}
}

// promotesUnhinted promotes a table with checkpoints and without a hint to one, which
// the promotion gives it.
func promotesUnhinted(s *stand) (*action.Definition, action.Request, json.RawMessage) {
	s.write(8, 3)
	s.deletes(s.path + "/_delta_log/_last_checkpoint")
	s.point = 5
	d, r := s.planned("table.promote", nil)
	return d, r, nil
}

var acts = []act{
	{name: "rollback", target: 5, next: 7, begin: func(s *stand) (*action.Definition, action.Request, json.RawMessage) { return rollsBack(s, false) }},
	{name: "rollback with what was deleted", target: 5, next: 7, begin: func(s *stand) (*action.Definition, action.Request, json.RawMessage) { return rollsBack(s, true) }},
	{name: "rollback taken back", target: 6, next: 8, undo: true, begin: func(s *stand) (*action.Definition, action.Request, json.RawMessage) { return rollsBack(s, false) }},
	{name: "promotion", target: 5, next: 6, begin: promotes(8, 5)},
	{name: "promotion that leaves no checkpoint", target: 2, next: 3, begin: promotes(5, 2)},
	{name: "promotion where there was no hint", target: 5, next: 6, begin: promotesUnhinted},
	{name: "promotion where there was no hint taken back", target: 8, next: 9, undo: true, begin: promotesUnhinted},
	{name: "promotion taken back", target: 8, next: 9, undo: true, begin: promotes(8, 5)},
	{name: "promotion that left no checkpoint taken back", target: 5, next: 6, undo: true, begin: promotes(5, 2)},
}

// meddlings are what the writer may do to the table, by name. Data files are named
// before anything is moved aside.
func (a act) meddlings(s *stand) map[string]meddling {
	commit := `{"commitInfo":{"timestamp":1795238390000,"operation":"WRITE"}}` + "\n" +
		`{"add":{"path":"theirs.parquet","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}` + "\n"
	log := s.path + "/_delta_log/"
	data := !a.undo || strings.HasPrefix(a.name, "rollback") // what takes a promotion back looks at the log alone
	all := map[string]meddling{
		"the same commit":                            {key: s.entry(a.next), body: commit, absent: true},
		"the same commit, over whatever is there":    {key: s.entry(a.next), body: commit},
		"a commit above":                             {key: s.entry(a.next + 1), body: commit},
		"a commit far above":                         {key: s.entry(a.next + 9), body: commit},
		"the last commit of all, over what is there": {key: s.entry(a.last()), body: commit},
		"the last commit of all, deleted":            {key: s.entry(a.last())},
		"a data file, written over":                  {key: s.dataOf(1), body: "theirs", needed: data},
		"a data file, deleted":                       {key: s.dataOf(1), needed: data},
		"the version's own entry, deleted":           {key: s.entry(a.target), needed: true},
		"another hint":                               {key: log + "_last_checkpoint", body: `{"version":0,"size":7}`},
		"a hint above":                               {key: log + "_last_checkpoint", body: fmt.Sprintf(`{"version":%d,"size":7}`, a.next+1)},
		"the hint, deleted":                          {key: log + "_last_checkpoint"},
		"a checkpoint of the same version":           {key: fmt.Sprintf("%s%020d.checkpoint.parquet", log, a.next), body: "theirs"},
		"a checkpoint above":                         {key: fmt.Sprintf("%s%020d.checkpoint.parquet", log, a.next+1), body: "theirs"},
	}
	if strings.HasPrefix(a.name, "rollback") {
		all["a file that comes back, written over"] = meddling{key: s.dataOf(2), body: "theirs", needed: a.target == 5}
		all["a file that comes back, deleted"] = meddling{key: s.dataOf(2), needed: a.target == 5}
	}
	return all
}

// last is the highest version that is there before.
func (a act) last() int {
	switch {
	case a.undo || strings.HasPrefix(a.name, "rollback"):
		return a.next - 1
	case a.target == 2:
		return 5
	}
	return 8
}

// point is the records of a run: the recovery point of the one table.
type point int64

func (p point) Outcome(context.Context, string, string) (action.Outcome, error) {
	at := recovery.GroupPoint{
		Group:  "orders",
		Cut:    recovery.Cut{Tables: []recovery.TablePoint{{Name: "orders", Version: int64(p)}}},
		Losses: []recovery.Loss{{Kind: "table", Dataset: "orders"}},
	}
	raw, err := action.Encode(at)
	return action.Outcome{Data: raw}, err
}

func (point) Observations(context.Context, string, string) ([]action.Observation, error) {
	return nil, fs.ErrNotExist
}

func (point) Obligations(context.Context) ([]action.Obligation, error) { return nil, nil }

// wire is where requests pass: what is told of each before it is answered.
type wire struct {
	mu     sync.Mutex
	n      int
	before func(n int)
}

func (w *wire) pass() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	if w.before != nil {
		w.before(w.n)
	}
}

// watch counts from now on.
func (w *wire) watch(before func(n int)) (count func() int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n, w.before = 0, before
	return func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.before = nil
		return w.n
	}
}

// ground gives a table in an empty place, and the wire to it.
type ground func(t *testing.T) (*stand, *wire)

func memoryGround(deaf bool) ground {
	return func(t *testing.T) (*stand, *wire) {
		s, store := inMemory(t, deaf)
		w := &wire{}
		store.before = func(string, string) { w.pass() }
		return s, w
	}
}

// minioGround passes requests on to MinIO. Every table has a folder of its own.
func minioGround(t *testing.T) ground {
	t.Helper()
	minio := miniotest.Shared(t)
	client, lake := minio.Client(t), minio.Bucket(t, "lake", true)
	to, err := url.Parse(minio.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }} // signatures cover the host
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.pass(); pass.ServeHTTP(rw, r) }))
	t.Cleanup(front.Close)
	cfg := minio.Config()
	cfg.Endpoint = front.URL
	acts, err := s3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	return func(t *testing.T) (*stand, *wire) {
		n++
		return standIn(t, client.Bucket(lake), acts, fmt.Sprintf("t%d/orders", n)), w
	}
}

// raced is one race.
type raced struct {
	act  act
	what string // the meddling's name; drawn where it is empty
	at   int    // the request before which it is done, or afterwards where there are fewer
	dies int    // how many requests later Apply dies, 0 for never
}

func (r raced) String() string {
	return fmt.Sprintf("%s; %s before request %d; dies after %d", r.act.name, r.what, r.at, r.dies)
}

// begun is an act with its plan.
type begun struct {
	*stand
	d    *action.Definition
	r    action.Request
	with json.RawMessage
	undo bool
}

func (a act) begun(s *stand) begun {
	b := begun{stand: s, undo: a.undo}
	b.d, b.r, b.with = a.begin(s)
	if a.undo {
		_, err := b.d.Apply(s.t.Context(), b.r, b.with)
		s.must(err)
		back, err := b.d.UndoPlan(s.t.Context(), b.r, b.with)
		s.must(err)
		b.r.Plan = &back
	}
	return b
}

func (b begun) apply(ctx context.Context) error {
	f := b.d.Apply
	if b.undo {
		f = b.d.UndoApply
	}
	_, err := f(ctx, b.r, b.with)
	return err
}

func (b begun) verify() (verdict.Verdict, string) {
	f := b.d.Verify
	if b.undo {
		f = b.d.UndoVerify
	}
	obs, err := f(b.t.Context(), b.r, b.with)
	if err != nil {
		return verdict.Unknown, err.Error()
	}
	return action.Worst(obs), prove.Told(obs)
}

// run races once. What the writer did is the truth that readers see, or a later plan
// named it, or Verify is red for it; whether Apply ends well, is refused, or dies and is
// planned anew. And where the writer destroyed what the version needs, Verify is red.
func (r raced) run(t *testing.T, on ground, draw *rand.Rand) {
	t.Helper()
	s, w := on(t)
	s.t = t
	b := r.act.begun(s)
	kinds := r.act.meddlings(s)
	if r.what == "" {
		names := slices.Sorted(maps.Keys(kinds))
		r.what = names[draw.IntN(len(names))]
	}
	m := kinds[r.what]
	ctx, die := context.WithCancel(t.Context())
	defer die()
	wrote, theirs := false, objectstore.Object{}
	var failed error
	meddle := func() { wrote, theirs, failed = s.meddle(m) }
	met := false
	done := w.watch(func(n int) {
		if n == r.at {
			met = true
			meddle()
		}
		if r.dies > 0 && n == r.at+r.dies {
			die()
		}
	})
	err := b.apply(ctx)
	done()
	if !met {
		meddle()
	}
	s.must(failed)
	died := ctx.Err() != nil
	if err != nil && !died && !refused(err) {
		t.Errorf("%s: Apply = %v", r, err)
	}
	if !wrote {
		return
	}
	seen := s.shows(m)
	got, told := b.verify()
	if err == nil && got == verdict.Pass && (!seen || m.needed) {
		t.Errorf("%s: it passes, and %s shows what was written: %v\n%s", r, m.key, seen, told)
	}
	if err == nil || b.undo {
		return
	}
	// People plan again, and what they approve is all that may be covered.
	ch, err := b.d.Plan(t.Context(), b.r, b.with)
	if err != nil {
		if !refused(err) {
			t.Errorf("%s: planned again: %v", r, err)
		}
		return
	}
	named := m.body == "" && seen || theirs.ETag != "" && bytes.Contains(ch.Data, []byte(strings.Trim(theirs.ETag, `"`)))
	for _, e := range ch.Effects {
		named = named || strings.HasSuffix(e.On, m.key) && strings.Contains(e.From, theirs.VersionID)
	}
	b.r.Plan = &ch
	err = b.apply(t.Context())
	if err != nil && !refused(err) {
		t.Errorf("%s: Apply again = %v", r, err)
	}
	got, told = b.verify()
	if err == nil && got == verdict.Pass && !named && !s.shows(m) {
		t.Errorf("%s: planned again it passes, and %s is buried\n%s", r, m.key, told)
	}
}

// refused reports whether an error says that the world moved, or that a log entry
// changed while it was read, which the next attempt sees.
func refused(err error) bool {
	return errors.Is(err, action.ErrMoved) || errors.Is(err, action.ErrRefused) || errors.Is(err, table.ErrBroken)
}

// meddle does it, and says whether it was done, and the version.
func (s *stand) meddle(m meddling) (wrote bool, o objectstore.Object, err error) {
	switch {
	case m.body == "" && s.shows(m): // it is gone already
		return false, o, nil
	case m.body == "":
		o.VersionID, err = s.bucket.Delete(s.t.Context(), m.key)
	case m.absent:
		o, err = s.bucket.PutIfAbsent(s.t.Context(), m.key, []byte(m.body))
		if errors.Is(err, fs.ErrExist) {
			return false, o, nil
		}
	default:
		o, err = s.bucket.Put(s.t.Context(), m.key, []byte(m.body))
	}
	return err == nil, o, err
}

// shows reports whether a reader sees what was done.
func (s *stand) shows(m meddling) bool {
	s.t.Helper()
	body, _, err := s.bucket.Get(s.t.Context(), m.key)
	if errors.Is(err, fs.ErrNotExist) {
		return m.body == ""
	}
	s.must(err)
	return m.body != "" && string(body) == m.body
}

// races are all races on a ground: of every act, everything that can be done to it,
// right before each of its requests and after the last.
func races(t *testing.T, on ground) (all []raced) {
	t.Helper()
	for _, a := range acts {
		s, w := on(t)
		b := a.begun(s)
		kinds := a.meddlings(s)
		count := w.watch(nil)
		s.must(b.apply(t.Context()))
		n := count()
		if n >= requests {
			t.Errorf("%s makes %d requests: draw from more", a.name, n)
		}
		if got, told := b.verify(); got != verdict.Pass {
			t.Fatalf("%s, undisturbed: %s\n%s", a.name, got, told)
		}
		for what := range kinds {
			for at := range n + 1 {
				all = append(all, raced{a, what, at + 1, 0}, raced{a, what, at + 1, 1 + at%3})
			}
		}
	}
	return all
}

// requests is more than any of the acts makes.
const requests = 30

// race runs all races, or as many as a run of the tests takes.
func race(t *testing.T, on ground, sample int) {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("BREAKWATER_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	draw := rand.New(rand.NewPCG(seed, 9))
	var all []raced
	if os.Getenv("BREAKWATER_TORTURE") == "1" {
		all = races(t, on)
	} else {
		for range sample {
			all = append(all, raced{acts[draw.IntN(len(acts))], "", 1 + draw.IntN(requests), draw.IntN(4)})
		}
	}
	at := time.Now()
	for _, r := range all {
		r.run(t, on, draw)
	}
	t.Logf("%d races with seed %d took %v", len(all), seed, time.Since(at))
}

// TestTortureRacesInMemory races on a store that honours conditions, and on a deaf one.
func TestTortureRacesInMemory(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("deaf %v", deaf), func(t *testing.T) { race(t, memoryGround(deaf), 150) })
	}
}

// TestTortureRacesOnMinIO races at the transport before a real store.
func TestTortureRacesOnMinIO(t *testing.T) {
	t.Parallel()
	race(t, minioGround(t), 15)
}
