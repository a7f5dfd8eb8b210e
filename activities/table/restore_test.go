package table

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/lake"
	"breakwater/internal/table/delta/scan"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestRestore(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	v.Replicate("orders", nil)
	v.Take("one")
	v.Tick(time.Minute)
	v.Append("orders", 7)
	v.Append("payments", 3)
	v.Take("two")
	wanted := map[string]string{} // the digest of each table's second backup
	for _, name := range []string{"orders", "payments"} {
		wanted[name] = v.Truth[name][len(v.Truth[name])-1].String()
	}

	t.Run("prove", func(t *testing.T) {
		// What is there is half another table: garbage, missing and later files.
		v.T.Helper()
		d := v.Lake.World.Action("table.restore")
		data := v.DataOf("orders", 2)
		_, err := v.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: &data[0], Body: strings.NewReader("garbage")})
		v.Must(err)
		_, err = v.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: aws.String(world.Entry("orders/orders", 9)), Body: strings.NewReader("{}\n")})
		v.Must(err)
		before := v.Everything("orders/orders")
		prove.Action(t, d, v.Request(d, "orders"), v.FaultSet())
		if after := v.Everything("orders/orders"); len(after) != len(before) {
			t.Errorf("after undo %d objects, had %d", len(after), len(before))
		}
	})
	t.Run("broken off", func(t *testing.T) {
		d := v.Lake.World.Action("table.restore")
		prove.Halfway(t, d, v.Request(d, "payments"))
	})
	t.Run("in place, the plan says what is given up", func(t *testing.T) {
		v.As("in place")
		d := v.Lake.World.Action("table.restore")
		ch, err := d.Plan(t.Context(), v.Request(d, "orders"), nil)
		v.Must(err)
		if len(ch.Accepts) != 1 || !strings.Contains(ch.Accepts[0].Sentence, "cannot be read, so that nobody can say what is lost") {
			t.Errorf("over what cannot be read it asks for %+v", ch.Accepts)
		}
		_, err = v.RootBucket(world.West).Delete(t.Context(), world.Entry("orders/orders", 9))
		v.Must(err)
		v.Replicate("orders", nil)
		ch, err = d.Plan(t.Context(), v.Request(d, "orders"), json.RawMessage(`{"manifest":"orders/1"}`))
		v.Must(err)
		last := len(v.Truth["orders"]) - 1
		says := fmt.Sprintf("is now at version %d", last)
		if len(ch.Accepts) != 1 || ch.Accepts[0].ID != "gives-up orders" || !strings.Contains(ch.Accepts[0].Sentence, says) ||
			!strings.Contains(ch.Accepts[0].Sentence, fmt.Sprintf("with %d rows", v.Truth["orders"][last].Rows)) {
			t.Errorf("it asks for %+v; want that it %s", ch.Accepts, says)
		}
		if ch, err := d.Plan(t.Context(), v.Request(d, "orders"), json.RawMessage(`{"manifest":"orders/1","prefix":"restored/empty"}`)); err != nil || len(ch.Accepts) > 0 {
			t.Errorf("in an empty place it asks for %+v, %v", ch.Accepts, err)
		}
		// Somebody commits between the look and the change.
		r := v.Request(d, "orders")
		r.Plan = &ch
		late := world.Entry("orders/orders", last)
		r.Guard = func(context.Context) error {
			if !strings.HasPrefix(late, "-") {
				_, err := v.RootBucket(world.West).Put(t.Context(), late, []byte(`{"commitInfo":{"operation":"WRITE"}}`))
				v.Must(err)
				late = "-"
			}
			return nil
		}
		if _, err := d.Apply(t.Context(), r, json.RawMessage(`{"manifest":"orders/1"}`)); err != nil && !errors.Is(err, action.ErrMoved) {
			t.Fatal(err)
		}
		obs, err := d.Verify(t.Context(), r, json.RawMessage(`{"manifest":"orders/1"}`))
		v.Must(err)
		if action.Worst(obs) != verdict.Fail || !strings.Contains(prove.Told(obs), lake.WhatBuried) {
			t.Errorf("a commit in between is buried unseen:\n%s", prove.Told(obs))
		}
		back, err := d.UndoPlan(t.Context(), r, json.RawMessage(`{"manifest":"orders/1"}`))
		v.Must(err)
		r.Plan = &back
		_, err = d.UndoApply(t.Context(), r, json.RawMessage(`{"manifest":"orders/1"}`))
		v.Must(err)
		if body, _, err := v.RootBucket(world.West).Get(t.Context(), world.Entry("orders/orders", last)); err != nil || !strings.Contains(string(body), `"WRITE"`) || len(body) > 60 {
			t.Errorf("after undo the commit in between reads %q, %v", body, err)
		}
		v.Replicate("orders", nil)
		// A coordinator decides its commits.
		entry := fmt.Sprintf("orders/orders/_delta_log/%020d.json", last+1)
		_, err = v.RootBucket(world.West).Put(t.Context(), entry, []byte(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[],"writerFeatures":["coordinatedCommits-preview"]}}`))
		v.Must(err)
		if ch, err := d.Plan(t.Context(), v.Request(d, "orders"), json.RawMessage(`{"manifest":"orders/1"}`)); err != nil || len(ch.Accepts) != 1 || ch.Accepts[0].ID != "left-out orders" || !strings.Contains(ch.Accepts[0].Sentence, "coordinatedCommits") {
			t.Errorf("over a table that is coordinated: %+v, %v", ch.Accepts, err)
		}
		_, err = v.RootBucket(world.West).Delete(t.Context(), entry)
		v.Must(err)
	})
	t.Run("by name and by time, beside", func(t *testing.T) {
		v.As("beside")
		ch, _ := v.Restored("orders", map[string]any{"manifest": "orders/1", "prefix": "restored/one"})
		if !strings.Contains(ch.Summary, "orders/1") {
			t.Error(ch.Summary)
		}
		cut := v.Manifests()[0].Manifest.Cut
		if ch, _ := v.Restored("orders", map[string]any{"at": cut.Add(time.Second), "prefix": "restored/then"}); !strings.Contains(ch.Summary, "orders/1") {
			t.Error(ch.Summary)
		}
		for what, with := range map[string]string{
			"of another group": `{"manifest":"clicks/1"}`, "that is not there": `{"manifest":"orders/9"}`, "without a number": `{"manifest":"orders"}`,
		} {
			d := v.Lake.World.Action("table.restore")
			if _, err := d.Plan(t.Context(), v.Request(d, "orders"), json.RawMessage(with)); !errors.Is(err, action.ErrRefused) {
				t.Errorf("a backup %s: %v, want ErrRefused", what, err)
			}
		}
	})
	t.Run("a damaged newest manifest is stepped over", func(t *testing.T) {
		v.As("older")
		set := v.FaultSet()
		for _, name := range []string{"backup.manifest-damaged", "backup.object-of-the-newest-gone"} {
			f, err := set.Find("backup.manifest-damaged")
			v.Must(err)
			inject, heal := f.Inject, f.Heal
			if name != "backup.manifest-damaged" {
				inject, heal = v.ObjectGone(2)
			}
			v.Must(inject(t.Context()))
			d := v.Lake.World.Action("table.restore")
			ch, err := d.Plan(t.Context(), v.Request(d, "orders"), json.RawMessage(`{"prefix":"restored/older"}`))
			if err != nil || !strings.Contains(ch.Summary, "backup orders/1") || !strings.Contains(ch.Summary, "stepped over orders/2") {
				t.Errorf("%s: %s, %v", name, ch.Summary, err)
			}
			if _, err := d.Plan(t.Context(), v.Request(d, "orders"), json.RawMessage(`{"manifest":"orders/2"}`)); !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("%s, by name: %v, want ErrDamaged", name, err)
			}
			v.Must(heal(t.Context()))
		}
	})
	t.Run("ransom", func(t *testing.T) {
		// Both regions hold garbage in every object of every table; nothing of them is
		// read to bring the tables back.
		v.As("ransom")
		for _, name := range []string{"orders", "payments"} {
			v.Overwrite(world.East, name)
			v.Overwrite(world.West, name)
			stale := "orders/" + name + "/_delta_log/00000000000000000000.00000000000000000001.compacted.json"
			_, err := v.RootBucket(world.West).Put(t.Context(), stale, []byte("{}\n"))
			v.Must(err)
			v.Restored(name, map[string]any{})
			log, store := v.Log(world.West, name)
			if all := log.Compactions(); len(all) > 0 {
				t.Errorf("%s is still there: Spark reads it in place of what came back", all[0].Key)
			}
			snap, err := log.Snapshot(t.Context(), log.Head())
			v.Must(err)
			got, err := scan.Sum(t.Context(), store, snap)
			v.Must(err)
			if !strings.Contains(wanted[name], got.Hash()) {
				t.Errorf("%s restored: %s, want %s", name, got, wanted[name])
			}
			v.DeltaRS(name, int(got.Rows), len(v.Truth[name])-1)
		}
	})
}
