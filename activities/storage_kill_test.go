package activities

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// childEnv names the file that tells a child process of a test what to apply.
const childEnv = "BREAKWATER_APPLY_CHILD"

// childCall is one Apply in a process of its own, which can be killed.
type childCall struct {
	Action, Folder string
	Undo           bool
	Run            action.Run
	Item           estate.Item
	Estate         *estate.Estate
	Plan           *action.Change
	With           json.RawMessage
}

// applyChild does what the file says, and writes a line for every progress.
func applyChild(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c childCall
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	s := &Systems{Folder: c.Folder}
	defer s.Close()
	def, ok := Catalogue(s).Get(c.Action)
	if !ok {
		return fmt.Errorf("no action %s", c.Action)
	}
	apply := def.Apply
	if c.Undo {
		apply = def.UndoApply
	}
	fmt.Println("begins") //nolint:forbidigo // for the parent
	_, err = apply(context.Background(), action.Request{
		Run: c.Run, Item: c.Item, Plan: c.Plan, Estate: c.Estate, Records: noRecords{},
		Progress: func(done, _ int64, _ string) { fmt.Println(done) }, //nolint:forbidigo // for the parent
		Guard:    func(context.Context) error { return nil },
	}, c.With)
	return err
}

// killed applies in child processes, of which each but the last is killed: after
// a number of progress lines, and a little later. It returns how many were killed.
func (w *world) killed(r *rand.Rand, c childCall, lines int) int {
	w.t.Helper()
	c.Folder = w.systems.Folder
	raw, err := json.Marshal(c)
	w.must(err)
	file := filepath.Join(w.t.TempDir(), "call.json")
	w.must(os.WriteFile(file, raw, 0o600))
	self, err := os.Executable()
	w.must(err)
	kills := 0
	for attempt := range 4 {
		cmd := exec.CommandContext(w.t.Context(), self)
		cmd.Env = append(os.Environ(), childEnv+"="+file)
		out, err := cmd.StdoutPipe()
		w.must(err)
		cmd.Stderr = os.Stderr
		w.must(cmd.Start())
		left := r.IntN(lines + 2)
		pause := time.Duration(r.IntN(8000)) * time.Microsecond
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			if left--; left == 0 && attempt < 3 {
				<-time.After(pause)
				w.must(cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil {
			break
		} else if attempt == 3 || left > 0 {
			w.t.Fatalf("Apply in a process of its own: %v", err)
		}
		kills++
	}
	return kills
}

// seeds is how many of a torture's seeds this run takes.
func seeds(t *testing.T, sample int) int {
	t.Helper()
	if os.Getenv("BREAKWATER_TORTURE") != "1" {
		return sample
	}
	if n, err := strconv.Atoi(os.Getenv("SEEDS")); err == nil {
		return n
	}
	return 200
}

// TestTortureRewindKilled kills rewinds, and what takes them back, at random
// moments: the next attempt reaches the state at T, and the one before it again;
// no version of any object is lost.
func TestTortureRewindKilled(t *testing.T) {
	t.Parallel()
	s := newShelf(t, "")
	kills := 0
	first := rand.Uint64()
	for n := range seeds(t, 3) {
		seed := first + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s.t = t
			r := rand.New(rand.NewPCG(seed, 7))
			s.prefix = fmt.Sprintf("kill/%d/", seed)
			keys := 20 + r.IntN(60)
			key := func(i int) string {
				return fmt.Sprintf("%s/%04d.json", []string{"data", "t/_delta_log", "x y"}[i%3], i)
			}
			change := func(what string) {
				for i := range keys {
					switch r.IntN(4) {
					case 0:
						s.put(key(i), fmt.Sprintf("%s %d", what, i))
					case 1:
						s.remove(key(i))
					}
				}
			}
			change("one")
			change("two")
			want := s.holds(s.bucket, s.prefix)
			p := rewindParams{At: s.moment(), Prefix: s.prefix, UnmarkDelete: r.IntN(2) == 0}
			change("three")
			change("four")
			before := s.holds(s.bucket, s.prefix)
			versions := s.versions()

			def := s.action("storage.rewind")
			req := s.request(def, "lake")
			ch, err := def.Plan(t.Context(), req, with(t, p))
			s.must(err)
			req.Plan = &ch
			call := childCall{Action: def.Name, Run: req.Run, Item: req.Item, Estate: s.estate, Plan: &ch, With: with(t, p)}
			kills += s.killed(r, call, keys)
			got := s.holds(s.bucket, s.prefix)
			delete(got, "tick")
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("after the rewind (-want +got): %s", d)
			}
			if obs, err := def.Verify(t.Context(), req, with(t, p)); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("Verify: %v\n%s", err, told(obs))
			}
			if out, err := def.Apply(t.Context(), req, with(t, p)); err != nil || out.Mutations != 0 {
				t.Errorf("Apply once more = %+v, %v", out, err)
			}
			back, err := def.UndoPlan(t.Context(), req, with(t, p))
			s.must(err)
			call.Plan, call.Undo = &back, true
			kills += s.killed(r, call, keys)
			if d := cmp.Diff(before, s.holds(s.bucket, s.prefix)); d != "" {
				t.Errorf("after it was taken back (-want +got): %s", d)
			}
			now := s.versions()
			for id, v := range versions {
				if _, ok := now[id]; !ok && !v.DeleteMarker {
					t.Errorf("version %s of %s is lost", id, v.Key)
				}
			}
		})
	}
	s.t = t
	if kills == 0 {
		t.Error("nothing was killed")
	}
}

// versions is every version of the prefix, by id.
func (s *shelf) versions() map[string]objectstore.Version {
	s.t.Helper()
	all := map[string]objectstore.Version{}
	for v, err := range s.minio[west].Client(s.t).ListVersions(s.t.Context(), s.bucket, s.prefix) {
		s.must(err)
		all[v.VersionID] = v
	}
	return all
}

// TestTortureUndeleteKilled kills undeletions at random moments.
func TestTortureUndeleteKilled(t *testing.T) {
	t.Parallel()
	l := undeletable(t, 5, 12)
	path := "orders/orders"
	def := l.action("storage.undelete")
	version := int64(12)
	first := rand.Uint64()
	for n := range seeds(t, 2) {
		seed := first + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l.t = t
			r := rand.New(rand.NewPCG(seed, 8))
			p := undeleteParams{Version: &version, Copy: r.IntN(2) == 0}
			for key := range l.everything(path) {
				if r.IntN(2) == 0 {
					l.deletes(key)
				}
			}
			req := l.request(def, "orders")
			ch, err := def.Plan(t.Context(), req, with(t, p))
			l.must(err)
			req.Plan = &ch
			l.killed(r, childCall{Action: def.Name, Run: req.Run, Item: req.Item, Estate: l.estate, Plan: &ch, With: with(t, p)}, 12)
			if obs, err := def.Verify(t.Context(), req, with(t, p)); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("Verify: %v\n%s", err, told(obs))
			}
			l.reads("orders", 12)
		})
	}
	l.t = t
}
