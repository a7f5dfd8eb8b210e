package table

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
)

// TestRestorePlannedAgain breaks a restore off again and again, plans it anew each
// time, from another backup once, and while somebody else writes. Taking back what
// was planned last brings back what was there before the first attempt, and leaves
// what somebody else wrote.
func TestRestorePlannedAgain(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	v.Replicate("orders", nil)
	v.Take("one")
	v.Tick(time.Minute)
	v.Append("orders", 7)
	v.Append("orders", 2)
	v.Take("two")
	put := func(key, body string) {
		t.Helper()
		_, err := v.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: &key, Body: strings.NewReader(body)})
		v.Must(err)
	}
	data := []string{v.DataOf("orders", 1)[0], v.DataOf("orders", 2)[0], v.DataOf("orders", 3)[0]}
	put(data[0], "garbage")
	put(data[1], "more garbage")
	put(world.Entry("orders/orders", 7), "{}\n") // which the first backup does not have, and the second has
	put(world.Entry("orders/orders", 9), "{}\n") // which none has
	for _, key := range []string{data[2], world.Entry("orders/orders", 5)} {
		_, err := v.S3[world.West].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("lake-west"), Key: &key})
		v.Must(err)
	}
	before := v.Everything("orders/orders")

	v.As("again")
	d := v.Lake.World.Action("table.restore")
	r := v.Request(d, "orders")
	var seen []map[string]string
	attempt := func(guards int, from string) {
		t.Helper()
		ch, err := d.Plan(t.Context(), r, nil)
		v.Must(err)
		if !strings.Contains(ch.Summary, "backup "+from) {
			t.Fatalf("attempt %d: %s", len(seen)+1, ch.Summary)
		}
		r.Plan = &ch
		asked := 0
		r.Guard = func(context.Context) error {
			if asked++; asked > guards {
				return prove.ErrGuard
			}
			return nil
		}
		if _, err := d.Apply(t.Context(), r, nil); guards < 100 && !errors.Is(err, prove.ErrGuard) || guards >= 100 && err != nil {
			t.Fatalf("attempt %d: %v", len(seen)+1, err)
		}
		seen = append(seen, v.Everything("orders/orders"))
	}
	lose, find := v.ObjectGone(2)
	v.Must(lose(t.Context()))
	attempt(2, "orders/1") // the data, and the log is hidden
	v.Must(find(t.Context()))
	put(data[1], "somebody else's")
	expected := maps.Clone(before)
	expected[data[1]] = v.Everything("orders/orders")[data[1]]
	attempt(0, "orders/2") // nothing at all
	attempt(1, "orders/2")
	attempt(100, "orders/2")
	if cmp.Equal(seen[0], before) || cmp.Equal(seen[2], seen[1]) || cmp.Equal(seen[3], seen[2]) {
		t.Error("an attempt did nothing, so the test shows nothing")
	}
	obs, err := d.Verify(t.Context(), r, nil)
	v.Must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Fatalf("after all attempts: %s\n%s", got, prove.Told(obs))
	}
	first := r.Plan
	if out, err := d.Apply(t.Context(), r, nil); err != nil || out.Mutations != 0 {
		t.Errorf("Apply again = %+v, %v", out, err)
	}
	attempt(100, "orders/2") // there is nothing left to do
	if len(r.Plan.Effects) > 0 || len(first.Effects) == 0 {
		t.Errorf("planned after all was done: %+v", r.Plan.Effects)
	}

	back, err := d.UndoPlan(t.Context(), r, nil)
	v.Must(err)
	r.Plan = &back
	_, err = d.UndoApply(t.Context(), r, nil)
	v.Must(err)
	obs, err = d.UndoVerify(t.Context(), r, nil)
	v.Must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Errorf("taken back: %s\n%s", got, prove.Told(obs))
	}
	if diff := cmp.Diff(expected, v.Everything("orders/orders")); diff != "" {
		t.Errorf("taken back, but (-before +after):\n%s", diff)
	}
}

// TestRestoreOfAnotherPlan: an attempt whose plan is not the newest changes nothing.
func TestRestoreOfAnotherPlan(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	v.Take("one")
	v.As("two at once")
	d := v.Lake.World.Action("table.restore")
	old := v.Request(d, "payments")
	old.Guard = func(context.Context) error { return nil }
	ch, err := d.Plan(t.Context(), old, nil)
	v.Must(err)
	old.Plan = &ch
	decl, _, _ := v.Estate.Table("payments")
	_, err = v.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: aws.String(world.Entry(decl.Path, 77)), Body: strings.NewReader("{}\n")})
	v.Must(err)
	fresh := old
	again, err := d.Plan(t.Context(), fresh, nil)
	v.Must(err)
	fresh.Plan = &again
	_, err = d.Apply(t.Context(), fresh, nil)
	v.Must(err)
	_, err = v.S3[world.West].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("lake-west"), Key: aws.String(v.DataOf("payments", 1)[0])})
	v.Must(err)
	was := v.Everything(decl.Path)
	if out, err := d.Apply(t.Context(), old, nil); !errors.Is(err, action.ErrMoved) || out.Mutations != 0 {
		t.Errorf("Apply of the older plan = %+v, %v; want ErrMoved", out, err)
	}
	if diff := cmp.Diff(was, v.Everything(decl.Path)); diff != "" {
		t.Errorf("it changed something: %s", diff)
	}
}
