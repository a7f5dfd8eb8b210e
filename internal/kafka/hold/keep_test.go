package hold_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

// groups is the target, with one group.
type groups struct {
	mu      sync.Mutex
	at      kafka.Offsets
	members int
	moved   time.Time                 // when the abandoned task last moved the group
	commits func(kafka.Offsets) error // between a commit and its reading back
}

func (g *groups) GroupState(_ context.Context, group string) (kafka.Group, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.members > 0:
		return kafka.Group{Name: group, State: "Stable", Members: g.members}, nil
	case len(g.at) == 0:
		return kafka.Group{Name: group, State: "Dead"}, fs.ErrNotExist
	}
	return kafka.Group{Name: group, State: "Empty"}, nil
}

func (g *groups) CommittedOffsets(context.Context, string) (kafka.Offsets, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.at), nil
}

func (g *groups) CommitOffsets(_ context.Context, _ string, to kafka.Offsets) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.members > 0 {
		return kafka.ErrGroupActive
	}
	maps.Copy(g.at, to)
	if g.commits != nil {
		return g.commits(g.at)
	}
	return nil
}

func (g *groups) DeleteOffsets(_ context.Context, _ string, in []kafka.Partition) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range in {
		delete(g.at, p)
	}
	return nil
}

// abandoned plays the task that outlives its stop: as often as it may, it moves
// partition 1 forward from wherever it is lower. It returns how often it did.
func (g *groups) abandoned(t *testing.T, to int64, times int) (ended func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	n := 0
	wait.Go(func() {
		for n < times && poll.Wait(ctx, 1010*time.Millisecond) == nil {
			g.mu.Lock()
			if at, ok := g.at[p1]; !ok || at < to {
				g.at[p1], g.moved = to, time.Now()
				n++
			}
			g.mu.Unlock()
		}
	})
	ended = sync.OnceValue(func() int { cancel(); wait.Wait(); return n })
	t.Cleanup(func() { ended() })
	return ended
}

func (g *groups) stands(t *testing.T, want kafka.Offsets) {
	t.Helper()
	if at, err := g.CommittedOffsets(t.Context(), "held"); !maps.Equal(at, want) || err != nil {
		t.Errorf("the group is at %v, want %v", at, want)
	}
}

// world is a group that is to be placed and held.
type world struct {
	hold.Keeper
	groups *groups
	hold   *hold.Hold
	said   []string
}

func newWorld(t *testing.T, at kafka.Offsets) *world {
	t.Helper()
	w := &world{groups: &groups{at: kafka.Offsets{}}}
	maps.Copy(w.groups.at, at)
	w.Keeper = hold.Keeper{
		Groups: w.groups, Group: "held", Region: "west",
		Guard:    func(context.Context) error { return nil },
		Progress: func(_, _ int64, doing string) { w.said = append(w.said, doing) },
	}
	var err error
	if w.hold, err = hold.Plan(t.Context(), notes{every: time.Second, known: known()}, logs{}, "held", both(cut), hold.Real); err != nil {
		t.Fatal(err)
	}
	return w
}

// keep keeps the group at the cut.
func (w *world) keep(t *testing.T) (hold.Kept, error) {
	return w.keepAt(t, both(cut))
}

func (w *world) keepAt(t *testing.T, to kafka.Offsets) (hold.Kept, error) {
	return w.Keep(t.Context(), to, to, w.hold)
}

const ever = 1 << 30

// TestEnds places a group below where its stopped mirror syncs it, while a task of
// that mirror lives on for a while.
func TestEnds(t *testing.T) {
	for name, to := range map[string]int64{"at the checkpoint": point, "at a checkpoint that was never written down": newest + 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, both(to))
				ended := w.groups.abandoned(t, to, 3)
				out, err := w.keep(t)
				if err != nil {
					t.Fatal(err)
				}
				if n := ended(); n != 3 {
					t.Errorf("the task moved the group %d times", n)
				}
				if quiet := time.Since(w.groups.moved); quiet < 3*time.Second {
					t.Errorf("it was watched for %s after the last move", quiet)
				}
				w.groups.stands(t, both(cut))
				if out.Mutations != 2+3 || out.Text != ", and stayed there for 3s; placed again 3 times" {
					t.Errorf("outcome %+v", out)
				}
				if text := fmt.Sprintf("orders-1 from %d to %d", cut, to); !slices.ContainsFunc(w.said, func(s string) bool {
					return strings.Contains(s, text) && strings.Contains(s, "restart the Connect worker")
				}) {
					t.Errorf("progress does not say what happens and what to do: %q", w.said)
				}
				begun := time.Now()
				out, err = w.Keep(t.Context(), nil, both(cut), w.hold)
				if err != nil || out.Mutations != 0 || out.Text != ", and stayed there for 3s" || time.Since(begun) < 3*time.Second {
					t.Errorf("begun anew: %+v, %v, after %s", out, err, time.Since(begun))
				}
			})
		})
	}
}

// TestWithoutHold watches nothing.
func TestWithoutHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, both(end))
		w.hold = nil
		begun := time.Now()
		out, err := w.keepAt(t, kafka.Offsets{p0: cut, p1: hold.NoCommit})
		if err != nil || out != (hold.Kept{Mutations: 2}) || time.Since(begun) != 0 {
			t.Errorf("outcome %+v, %v, after %s", out, err, time.Since(begun))
		}
		w.groups.stands(t, kafka.Offsets{p0: cut})
	})
}

// TestNoCommit holds a group that is to have no commit.
func TestNoCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, both(point))
		w.groups.abandoned(t, point, 2)
		out, err := w.keepAt(t, both(hold.NoCommit))
		if err != nil || out.Mutations != 2+2 || !strings.HasSuffix(out.Text, "placed again 2 times") {
			t.Errorf("outcome %+v, %v", out, err)
		}
		w.groups.stands(t, nil)
	})
}

// TestSeesWhatWasNotKept lets the task move the group before its commit is read back.
func TestSeesWhatWasNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.groups.commits = func(at kafka.Offsets) error {
			w.groups.commits, at[p0] = nil, point
			return kafka.ErrNotKept
		}
		out, err := w.keep(t)
		if err != nil || out.Mutations != 2+1 || !strings.HasSuffix(out.Text, "placed again once") {
			t.Errorf("outcome %+v, %v", out, err)
		}
		w.groups.stands(t, both(cut))
		w.hold, w.groups.commits = nil, func(kafka.Offsets) error { return kafka.ErrNotKept }
		if out, err := w.keep(t); !errors.Is(err, hold.ErrMoved) || !errors.Is(err, kafka.ErrNotKept) || out.Mutations != 0 {
			t.Errorf("without a hold: %+v, %v; want ErrMoved", out, err)
		}
	})
}

// TestRefusals meets a broker that does not commit.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		refusal error
		moved   bool
	}{{kafka.ErrGroupActive, true}, {kafka.ErrOutOfLog, true}, {fs.ErrPermission, false}, {reach.ErrUnreachable, false}} {
		w := newWorld(t, nil)
		w.groups.commits = func(kafka.Offsets) error { return tc.refusal }
		out, err := w.keep(t)
		if !errors.Is(err, tc.refusal) || errors.Is(err, hold.ErrMoved) != tc.moved || err.Error() != tc.refusal.Error() || out.Mutations != 0 {
			t.Errorf("%v: %+v, %v; ErrMoved wanted: %t", tc.refusal, out, err, tc.moved)
		}
	}
}

// TestGivesUp meets a task that does not end.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, both(point))
		w.groups.abandoned(t, point, ever)
		begun := time.Now()
		_, err := w.keep(t)
		if !errors.Is(err, hold.ErrMoved) {
			t.Fatalf("Keep = %v, want ErrMoved", err)
		}
		for _, want := range []string{"consumer group held in west was placed", "orders-1 from 5 to 15", "within 10m", "restart the Connect worker, then retry"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
		if took := time.Since(begun); took < 10*time.Minute || took > 11*time.Minute {
			t.Errorf("it gave up after %s", took)
		}
	})
}

var errGuard = errors.New("the guard")

// TestIsBegunAnew kills it between two commits, while the task lives.
func TestIsBegunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil) // the group has no commit yet
		ended := w.groups.abandoned(t, point, ever)
		guard, n := w.Guard, 0
		w.Guard = func(context.Context) error {
			if n++; n == 3 {
				return errGuard
			}
			return nil
		}
		out, err := w.keep(t)
		if !errors.Is(err, errGuard) || out.Mutations != 2+1 {
			t.Fatalf("Keep = %+v, %v; want it to ask the guard before each commit", out, err)
		}
		w.Guard = guard
		ended() // after it moved the group
		if out, err = w.Keep(t.Context(), kafka.Offsets{p1: cut}, both(cut), w.hold); err != nil || out.Mutations != 1 || out.Text != ", and stayed there for 3s" {
			t.Errorf("begun anew: %+v, %v", out, err)
		}
		w.groups.stands(t, both(cut))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGuard)
		defer cancel()
		if out, err = w.Keep(ctx, nil, both(cut), w.hold); !errors.Is(err, errGuard) || out.Text != "" {
			t.Errorf("killed while it watched: %+v, %v", out, err)
		}
	})
}

// TestIsAgainstTheMirrorAlone lets others move the group while it is watched.
func TestIsAgainstTheMirrorAlone(t *testing.T) {
	for name, to := range map[string]int64{"back": cut - 1, "past every sync": end} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				w.Progress = func(int64, int64, string) { w.groups.at[p0] = to }
				_, err := w.keep(t)
				if want := fmt.Sprintf("somebody moved consumer group held in west, which is idle: orders-0 from %d to %d", cut, to); !errors.Is(err, hold.ErrMoved) || !strings.Contains(err.Error(), want) {
					t.Errorf("Keep = %v, want ErrMoved and where", err)
				}
			})
		})
	}
	t.Run("deleted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.Progress = func(int64, int64, string) { delete(w.groups.at, p0) }
			if _, err := w.keep(t); !errors.Is(err, hold.ErrMoved) || !strings.Contains(err.Error(), "orders-0 from 5 to no commit") {
				t.Errorf("Keep = %v, want ErrMoved and where", err)
			}
		})
	})
	t.Run("its members", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.Progress = func(int64, int64, string) { w.groups.members, w.groups.at[p0] = 1, end }
			if out, err := w.keep(t); err != nil || out.Text != ", and became Stable with 1 member after 300ms" {
				t.Errorf("outcome %+v, %v", out, err)
			}
		})
	})
}

func TestDidSync(t *testing.T) {
	w := newWorld(t, nil)
	for name, tc := range map[string]struct {
		h    *hold.Hold
		at   int64
		want bool
	}{"its checkpoint": {w.hold, point, true}, "another place": {w.hold, point + 1, false}, "without a hold": {nil, point, false}} {
		if got := tc.h.DidSync(p0, tc.at); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if w.hold.DidSync(kafka.Partition{Topic: "other"}, point) {
		t.Error("in a partition without a checkpoint")
	}
}
