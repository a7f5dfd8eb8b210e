package activities

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/verdict"

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
	v := newVaulted(t)
	v.written()
	v.replicate("orders", nil)
	v.take("one")
	v.tick(time.Minute)
	v.append("orders", 7)
	v.append("orders", 2)
	v.take("two")
	put := func(key, body string) {
		t.Helper()
		_, err := v.s3[west].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: &key, Body: strings.NewReader(body)})
		v.must(err)
	}
	data := []string{v.dataOf("orders", 1)[0], v.dataOf("orders", 2)[0], v.dataOf("orders", 3)[0]}
	put(data[0], "garbage")
	put(data[1], "more garbage")
	put(entry("orders/orders", 7), "{}\n") // which the first backup does not have, and the second has
	put(entry("orders/orders", 9), "{}\n") // which none has
	for _, key := range []string{data[2], entry("orders/orders", 5)} {
		_, err := v.s3[west].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("lake-west"), Key: &key})
		v.must(err)
	}
	before := v.everything("orders/orders")

	v.as("again")
	d := v.action("table.restore")
	r := v.request(d, "orders")
	var seen []map[string]string
	attempt := func(guards int, from string) {
		t.Helper()
		ch, err := d.Plan(t.Context(), r, nil)
		v.must(err)
		if !strings.Contains(ch.Summary, "backup "+from) {
			t.Fatalf("attempt %d: %s", len(seen)+1, ch.Summary)
		}
		r.Plan = &ch
		asked := 0
		r.Guard = func(context.Context) error {
			if asked++; asked > guards {
				return errGuard
			}
			return nil
		}
		if _, err := d.Apply(t.Context(), r, nil); guards < 100 && !errors.Is(err, errGuard) || guards >= 100 && err != nil {
			t.Fatalf("attempt %d: %v", len(seen)+1, err)
		}
		seen = append(seen, v.everything("orders/orders"))
	}
	lose, find := v.objectGone(2)
	v.must(lose(t.Context()))
	attempt(2, "orders/1") // the data, and the log is hidden
	v.must(find(t.Context()))
	put(data[1], "somebody else's")
	expected := maps.Clone(before)
	expected[data[1]] = v.everything("orders/orders")[data[1]]
	attempt(0, "orders/2") // nothing at all
	attempt(1, "orders/2")
	attempt(100, "orders/2")
	if cmp.Equal(seen[0], before) || cmp.Equal(seen[2], seen[1]) || cmp.Equal(seen[3], seen[2]) {
		t.Error("an attempt did nothing, so the test shows nothing")
	}
	obs, err := d.Verify(t.Context(), r, nil)
	v.must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Fatalf("after all attempts: %s\n%s", got, told(obs))
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
	v.must(err)
	r.Plan = &back
	_, err = d.UndoApply(t.Context(), r, nil)
	v.must(err)
	obs, err = d.UndoVerify(t.Context(), r, nil)
	v.must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Errorf("taken back: %s\n%s", got, told(obs))
	}
	if diff := cmp.Diff(expected, v.everything("orders/orders")); diff != "" {
		t.Errorf("taken back, but (-before +after):\n%s", diff)
	}
}

// TestRestoreOfAnotherPlan: an attempt whose plan is not the newest changes nothing.
func TestRestoreOfAnotherPlan(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.written()
	v.take("one")
	v.as("two at once")
	d := v.action("table.restore")
	old := v.request(d, "payments")
	old.Guard = func(context.Context) error { return nil }
	ch, err := d.Plan(t.Context(), old, nil)
	v.must(err)
	old.Plan = &ch
	decl, _, _ := v.estate.Table("payments")
	_, err = v.s3[west].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: aws.String(entry(decl.Path, 77)), Body: strings.NewReader("{}\n")})
	v.must(err)
	fresh := old
	again, err := d.Plan(t.Context(), fresh, nil)
	v.must(err)
	fresh.Plan = &again
	_, err = d.Apply(t.Context(), fresh, nil)
	v.must(err)
	_, err = v.s3[west].DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("lake-west"), Key: aws.String(v.dataOf("payments", 1)[0])})
	v.must(err)
	was := v.everything(decl.Path)
	if out, err := d.Apply(t.Context(), old, nil); !errors.Is(err, action.ErrMoved) || out.Mutations != 0 {
		t.Errorf("Apply of the older plan = %+v, %v; want ErrMoved", out, err)
	}
	if diff := cmp.Diff(was, v.everything(decl.Path)); diff != "" {
		t.Errorf("it changed something: %s", diff)
	}
}
