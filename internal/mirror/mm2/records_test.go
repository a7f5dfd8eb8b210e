package mm2

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/kafka"
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
	for name, tc := range map[string]struct {
		key, value string
		decode     func(key, value []byte) (any, error)
		want       interface {
			Encode() (key, value []byte, err error)
		}
	}{
		"checkpoint": {
			"0004 73696e6b 0006 6f7264657273 00000002", "0000 00000000000003e8 00000000000003ed 0001 6d",
			func(k, v []byte) (any, error) { return decodeCheckpoint(k, v) },
			Checkpoint{"sink", kafka.Partition{Topic: "orders", ID: 2}, 1000, 1005, "m"},
		},
		"offset sync": {
			"0006 6f7264657273 00000002", "00000000000003e8 00000000000003ed",
			func(k, v []byte) (any, error) { return decodeOffsetSync(k, v) },
			OffsetSync{Partition: kafka.Partition{Topic: "orders", ID: 2}, Upstream: 1000, Downstream: 1005},
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
			func(k, v []byte) error { _, err := decodeCheckpoint(k, v); return err }},
		"a negative length": {"ffff", "0000 0000000000000001 0000000000000001 0000",
			func(k, v []byte) error { _, err := decodeCheckpoint(k, v); return err }},
		"a negative partition": {"0001 74 ffffffff", "0000000000000001 0000000000000001",
			func(k, v []byte) error { _, err := decodeOffsetSync(k, v); return err }},
		"a topic that is no text": {"0001 ff 00000000", "0000000000000001 0000000000000001",
			func(k, v []byte) error { _, err := decodeOffsetSync(k, v); return err }},
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
	at := connectOffset{Connector: "mm2-source", Cluster: "primary", Partition: kafka.Partition{Topic: "orders", ID: 2}, Delivered: 2499}
	deleted := at
	deleted.Delivered = -1
	for name, tc := range map[string]struct {
		key, value string
		want       connectOffset
		ok, other  bool
	}{
		"as Connect writes it":       {key, `{"offset":2499}`, at, true, false},
		"deleted":                    {key, ``, deleted, true, false},
		"deleted as JSON":            {key, `null`, deleted, true, false},
		"of a checkpoint connector":  {`["mm2-checkpoint",{"group":"g","topic":"orders","partition":2}]`, `{"offset":0}`, connectOffset{}, false, true},
		"of a hub's reader":          {`["hub-reader",{"hub":"meters","partition":"3"}]`, `{"offset":"3:17"}`, connectOffset{}, false, true},
		"of a file's reader":         {`["files",{"filename":"/a"}]`, `{"position":7}`, connectOffset{}, false, true},
		"of three parts":             {`["files","a","b"]`, `1`, connectOffset{}, false, true},
		"of another mirror":          {`["mm2-back",{"cluster":"standby","partition":2,"topic":"orders"}]`, `{"offset":1}`, connectOffset{}, false, true},
		"no array":                   {`{}`, `{"offset":1}`, connectOffset{}, false, true},
		"no JSON":                    {`x`, `{"offset":1}`, connectOffset{}, false, true},
		"a key that lacks its topic": {`["mm2-source",{"cluster":"primary","partition":2}]`, `{"offset":1}`, connectOffset{}, false, true},
		"one element":                {`["mm2-source"]`, `{"offset":1}`, connectOffset{}, false, false},
		"a partition that is text":   {`["mm2-source",{"cluster":"primary","partition":"2","topic":"orders"}]`, `{"offset":1}`, connectOffset{}, false, false},
		"a negative partition":       {`["mm2-source",{"cluster":"primary","partition":-2,"topic":"orders"}]`, `{"offset":1}`, connectOffset{}, false, false},
		"no offset":                  {key, `{}`, connectOffset{}, false, false},
		"a negative offset":          {key, `{"offset":-1}`, connectOffset{}, false, false},
		"an offset that is too high": {key, `{"offset":9223372036854775807}`, connectOffset{}, false, false},
		"broken":                     {key, `{"offset":1`, connectOffset{}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeConnectOffset("mm2-source", []byte(tc.key), []byte(tc.value))
			if got != tc.want || (err == nil) != tc.ok || errors.Is(err, errOther) != tc.other {
				t.Fatalf("got %+v, %v; want %+v, ok %t, another's %t", got, err, tc.want, tc.ok, tc.other)
			}
			if !tc.ok {
				return
			}
			k, v, err := got.encode()
			if err != nil {
				t.Fatal(err)
			}
			if again, err := decodeConnectOffset("mm2-source", k, v); again != got || err != nil {
				t.Errorf("round trip gave %+v, %v", again, err)
			}
			if string(k) != tc.key {
				t.Errorf("key is %s, want %s: Connect would keep both", k, tc.key)
			}
		})
	}
	if at.next() != 2500 || deleted.next() != 0 {
		t.Errorf("next are %d and %d, want 2500 and 0", at.next(), deleted.next())
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
	k, v, err := Checkpoint{"sink", kafka.Partition{Topic: "orders", ID: 2}, 1000, 1005, "m"}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k, v)
	fuzz(f, decodeCheckpoint)
}

func FuzzOffsetSync(f *testing.F) {
	k, v, err := OffsetSync{Partition: kafka.Partition{Topic: "orders", ID: 2}, Upstream: 1000, Downstream: 1005}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k, v)
	fuzz(f, decodeOffsetSync)
}

func FuzzConnectOffset(f *testing.F) {
	f.Add([]byte(`["mm2-source",{"cluster":"primary","partition":2,"topic":"orders"}]`), []byte(`{"offset":2499}`))
	f.Add([]byte(`["mm2-source",{"cluster":"primary","partition":2,"topic":"orders"}]`), []byte{})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		// JSON has many spellings of the same: what is accepted must mean the same again.
		o, err := decodeConnectOffset("mm2-source", key, value)
		if err != nil {
			return
		}
		k, v, err := o.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeConnectOffset("mm2-source", k, v); again != o || err != nil {
			t.Errorf("%+v became %+v, %v", o, again, err)
		}
	})
}
