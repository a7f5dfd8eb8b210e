package kafka

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// bytesOf reads hexadecimal digits, with spaces between fields.
func bytesOf(t *testing.T, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordBytes(t *testing.T) {
	// Laid out by hand after org.apache.kafka.connect.mirror of Kafka 4.3.
	ms := time.UnixMilli(0x0000018bcfe56800).UTC()
	for name, tc := range map[string]struct {
		key, value string
		decode     func(key, value []byte) (any, error)
		want       interface {
			Encode() (key, value []byte, err error)
		}
	}{
		"checkpoint": {
			"0004 73696e6b 0006 6f7264657273 00000002", "0000 00000000000003e8 00000000000003ed 0001 6d",
			func(k, v []byte) (any, error) { return DecodeCheckpoint(k, v) },
			Checkpoint{"sink", Partition{"orders", 2}, 1000, 1005, "m"},
		},
		"offset sync": {
			"0006 6f7264657273 00000002", "00000000000003e8 00000000000003ed",
			func(k, v []byte) (any, error) { return DecodeOffsetSync(k, v) },
			OffsetSync{Partition{"orders", 2}, 1000, 1005},
		},
		"heartbeat": {
			"0007 7374616e646279 0007 7072696d617279", "0000 0000018bcfe56800",
			func(k, v []byte) (any, error) { return DecodeHeartbeat(k, v) },
			Heartbeat{"standby", "primary", ms},
		},
	} {
		t.Run(name, func(t *testing.T) {
			key, value := bytesOf(t, tc.key), bytesOf(t, tc.value)
			got, err := tc.decode(key, value)
			if diff := cmp.Diff(any(tc.want), got); diff != "" || err != nil {
				t.Fatalf("decoded otherwise (-want +got), error %v:\n%s", err, diff)
			}
			k, v, err := tc.want.Encode()
			if !cmp.Equal(k, key) || !cmp.Equal(v, value) || err != nil {
				t.Errorf("encoded %x %x, %v; want %x %x", k, v, err, key, value)
			}
			for i := range key {
				if got, err := tc.decode(key[:i], value); err == nil {
					t.Errorf("a key of %d bytes was taken for %+v", i, got)
				}
			}
			for i := range value {
				if got, err := tc.decode(key, value[:i]); err == nil {
					t.Errorf("a value of %d bytes was taken for %+v", i, got)
				}
			}
			if _, err := tc.decode(append(key[:len(key):len(key)], 0), value); err == nil {
				t.Error("a byte too many in the key was ignored")
			}
			if _, err := tc.decode(key, append(value[:len(value):len(value)], 0)); err == nil {
				t.Error("a byte too many in the value was ignored")
			}
		})
	}
}

func TestRecordRefusals(t *testing.T) {
	checkpointKey := "0001 67 0001 74 00000000"
	for name, tc := range map[string]struct {
		key, value string
		decode     func(key, value []byte) error
	}{
		"a later version of checkpoints": {checkpointKey, "0001 0000000000000001 0000000000000001 0000",
			func(k, v []byte) error { _, err := DecodeCheckpoint(k, v); return err }},
		"a negative length": {"ffff", "0000 0000000000000001 0000000000000001 0000",
			func(k, v []byte) error { _, err := DecodeCheckpoint(k, v); return err }},
		"a negative partition": {"0001 74 ffffffff", "0000000000000001 0000000000000001",
			func(k, v []byte) error { _, err := DecodeOffsetSync(k, v); return err }},
		"a topic that is no text": {"0001 ff 00000000", "0000000000000001 0000000000000001",
			func(k, v []byte) error { _, err := DecodeOffsetSync(k, v); return err }},
		"a later version of heartbeats": {"0001 61 0001 62", "0001 0000018bcfe56800",
			func(k, v []byte) error { _, err := DecodeHeartbeat(k, v); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.decode(bytesOf(t, tc.key), bytesOf(t, tc.value)); err == nil {
				t.Error("it was decoded")
			}
		})
	}
}

func TestDecodeConnectOffset(t *testing.T) {
	const key = `["mm2-source",{"cluster":"primary","partition":2,"topic":"orders"}]`
	at := ConnectOffset{"mm2-source", "primary", Partition{"orders", 2}, 2499}
	deleted := at
	deleted.Delivered = -1
	for name, tc := range map[string]struct {
		key, value string
		want       ConnectOffset
		ok, other  bool
	}{
		"as Connect writes it":       {key, `{"offset":2499}`, at, true, false},
		"deleted":                    {key, ``, deleted, true, false},
		"deleted as JSON":            {key, `null`, deleted, true, false},
		"of a checkpoint connector":  {`["mm2-checkpoint",{"group":"g","topic":"orders","partition":2}]`, `{"offset":0}`, ConnectOffset{Connector: "mm2-checkpoint"}, false, true},
		"no array":                   {`{}`, `{"offset":1}`, ConnectOffset{}, false, false},
		"one element":                {`["mm2-source"]`, `{"offset":1}`, ConnectOffset{}, false, false},
		"a partition that is text":   {`["mm2-source",{"cluster":"primary","partition":"2","topic":"orders"}]`, `{"offset":1}`, ConnectOffset{}, false, false},
		"a negative partition":       {`["mm2-source",{"cluster":"primary","partition":-2,"topic":"orders"}]`, `{"offset":1}`, ConnectOffset{}, false, false},
		"no offset":                  {key, `{}`, ConnectOffset{}, false, false},
		"a negative offset":          {key, `{"offset":-1}`, ConnectOffset{}, false, false},
		"an offset that is too high": {key, `{"offset":9223372036854775807}`, ConnectOffset{}, false, false},
		"broken":                     {key, `{"offset":1`, ConnectOffset{}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeConnectOffset([]byte(tc.key), []byte(tc.value))
			if got != tc.want || (err == nil) != tc.ok || errors.Is(err, errOther) != tc.other {
				t.Fatalf("got %+v, %v; want %+v, ok %t, another's %t", got, err, tc.want, tc.ok, tc.other)
			}
			if !tc.ok {
				return
			}
			k, v, err := got.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := DecodeConnectOffset(k, v); again != got || err != nil {
				t.Errorf("round trip gave %+v, %v", again, err)
			}
			if string(k) != tc.key {
				t.Errorf("key is %s, want %s: Connect would keep both", k, tc.key)
			}
		})
	}
	if at.Next() != 2500 || deleted.Next() != 0 {
		t.Errorf("next are %d and %d, want 2500 and 0", at.Next(), deleted.Next())
	}
}

// fuzz checks that what is accepted is written again as the same bytes.
func fuzz[T interface {
	Encode() (key, value []byte, err error)
}](f *testing.F, decode func(key, value []byte) (T, error)) {
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := decode(key, value)
		if err != nil {
			return
		}
		k, v, err := r.Encode()
		if err != nil || string(k) != string(key) || string(v) != string(value) {
			t.Errorf("%+v of %x %x is encoded as %x %x, %v", r, key, value, k, v, err)
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	k, v, err := Checkpoint{"sink", Partition{"orders", 2}, 1000, 1005, "m"}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k, v)
	fuzz(f, DecodeCheckpoint)
}

func FuzzOffsetSync(f *testing.F) {
	k, v, err := OffsetSync{Partition{"orders", 2}, 1000, 1005}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k, v)
	fuzz(f, DecodeOffsetSync)
}

func FuzzHeartbeat(f *testing.F) {
	k, v, err := Heartbeat{"standby", "primary", time.UnixMilli(1700000000000)}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k, v)
	fuzz(f, DecodeHeartbeat)
}

func FuzzConnectOffset(f *testing.F) {
	f.Add([]byte(`["mm2-source",{"cluster":"primary","partition":2,"topic":"orders"}]`), []byte(`{"offset":2499}`))
	f.Add([]byte(`["mm2-source",{"cluster":"primary","partition":2,"topic":"orders"}]`), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		// JSON has many spellings of the same: what is accepted must mean the same again.
		o, err := DecodeConnectOffset(key, value)
		if err != nil {
			return
		}
		k, v, err := o.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeConnectOffset(k, v); again != o || err != nil {
			t.Errorf("%+v became %+v, %v", o, again, err)
		}
	})
}

func TestPartitionText(t *testing.T) {
	in := Offsets{{"orders", 2}: 7, {"a-1", 10}: 8, {"-", 0}: 9}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Offsets
	if err := json.Unmarshal(text, &out); err != nil || !cmp.Equal(in, out) {
		t.Errorf("%s became %v, %v", text, out, err)
	}
	for _, bad := range []string{"", "orders", "-1", "orders-", "orders-x", "orders--1x", "orders-+1", "orders-99999999999"} {
		var p Partition
		if err := p.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was read as %+v", bad, p)
		}
	}
}

// TestJSON sends what is known over a wire: a partition that is text must not
// make text of what contains it.
func TestJSON(t *testing.T) {
	p := Partition{"orders", 2}
	in := struct {
		Places map[Partition]Place
		At     MirrorPosition
		Offset ConnectOffset
		Plan   []Placement
	}{
		map[Partition]Place{p: {End: 9, Checkpoint: &Checkpoint{"g", p, 3, 4, "m"}, Syncs: Syncs{{p, 1, 2}}, Cut: ptr[int64](7)}},
		MirrorPosition{Partition: p, Delivered: true, Next: 8, Newest: time.UnixMilli(1).UTC(), Source: &Ends{1, 2, 3}},
		ConnectOffset{"c", "primary", p, 7},
		[]Placement{{p, 5, Exact, "why", 4}},
	}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := in
	out.Places, out.At, out.Offset, out.Plan = nil, MirrorPosition{}, ConnectOffset{}, nil
	if err := json.Unmarshal(text, &out); err != nil || !cmp.Equal(in, out) {
		t.Errorf("%s became other (-in +out), %v:\n%s", text, err, cmp.Diff(in, out))
	}
}
