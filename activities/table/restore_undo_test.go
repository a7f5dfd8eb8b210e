package table

import (
	"context"
	"errors"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/lake"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestRestoreTakenBackBesideAWriter: what somebody writes after it was planned to take a
// restore back is not covered unseen.
func TestRestoreTakenBackBesideAWriter(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	v.Replicate("orders", nil)
	v.Take("one")
	put := func(key, body string) {
		t.Helper()
		_, err := v.S3[world.West].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: &key, Body: strings.NewReader(body)})
		v.Must(err)
	}
	data, entry, above := v.DataOf("orders", 2)[0], world.Entry("orders/orders", 1), world.Entry("orders/orders", 9)
	fresh := v.DataOf("orders", 1)[0]
	d := v.Lake.World.Action("table.restore")
	for name, tc := range map[string]struct {
		key    string
		before bool // before the first look of Apply, or else between its look and its change
	}{
		"over what comes back, before":  {data, true},
		"over what comes back, between": {data, false},
		"over the log, between":         {entry, false},
		"over what goes, before":        {fresh, true},
		"over what goes, between":       {fresh, false},
		"where it was hidden, between":  {above, false},
	} {
		v.As(name)
		put(data, "garbage, "+name)
		put(entry, "{}\n")
		put(above, "{}\n")
		_, err := v.RootBucket(world.West).Delete(t.Context(), fresh)
		v.Must(err)
		r := v.Request(d, "orders")
		v.Act(d, &r, nil)
		back, err := d.UndoPlan(t.Context(), r, nil)
		v.Must(err)
		r.Plan = &back
		wrote := false
		write := func() {
			if !wrote {
				put(tc.key, "somebody else's, "+name)
			}
			wrote = true
		}
		if tc.before {
			write()
		}
		r.Guard = func(context.Context) error { write(); return nil }
		_, err = d.UndoApply(t.Context(), r, nil)
		if err != nil && !errors.Is(err, action.ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
		body, _, gone := v.RootBucket(world.West).Get(t.Context(), tc.key)
		if gone == nil && string(body) == "somebody else's, "+name {
			if err == nil {
				t.Errorf("%s: it is there, and nobody says so", name)
			}
			continue
		}
		obs, err := d.UndoVerify(t.Context(), r, nil)
		if err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(prove.Told(obs), lake.WhatBuried) {
			t.Errorf("%s: it is buried unseen: %v\n%s", name, err, prove.Told(obs))
		}
	}
}
