package kafka_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/kafka"
)

func TestPartitionText(t *testing.T) {
	in := kafka.Offsets{{Topic: "orders", ID: 2}: 7, {Topic: "a-1", ID: 10}: 8, {Topic: "-", ID: 0}: 9}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out kafka.Offsets
	if err := json.Unmarshal(text, &out); err != nil || !cmp.Equal(in, out) {
		t.Errorf("%s became %v, %v", text, out, err)
	}
	for _, bad := range []string{"", "orders", "-1", "orders-", "orders-x", "orders--1x", "orders-+1", "orders-99999999999"} {
		var p kafka.Partition
		if err := p.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, p)
		}
	}
}
