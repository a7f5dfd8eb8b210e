package ledger_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/ledger"

	"pgregory.net/rapid"
)

var (
	run  = ledger.Run{Workflow: "failover/2026 €", FirstRun: "0191-a"}
	noon = time.Date(2026, 11, 21, 12, 0, 0, 120_000_000, time.UTC)
)

func TestEntryBytesAreCanonical(t *testing.T) {
	chain := ledger.NewChain(run)
	data, head, err := chain.Append(ledger.Entry{
		Time: noon.In(time.FixedZone("", 3600)), Kind: ledger.Intent, Stage: "Fence", Step: "Deny <writes>",
		Body: json.RawMessage(`{"b": 1.10, "a": [true, null, "x<y"] }`),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"seq":1,"prev":"","time":"2026-11-21T12:00:00.12Z","run":{"workflow":"failover/2026 €","first_run":"0191-a"},` +
		`"kind":"intent","stage":"Fence","step":"Deny <writes>","body":{"a":[true,null,"x<y"],"b":1.10}}` + "\n"
	if string(data) != want {
		t.Errorf("bytes are\n%s want\n%s", data, want)
	}
	sum := sha256.Sum256([]byte(want))
	if head.Hash != hex.EncodeToString(sum[:]) || head.Seq != 1 || chain.Head != head {
		t.Errorf("head is %s, chain's %s", head, chain.Head)
	}
	next, _, err := chain.Append(ledger.Entry{Time: noon, Kind: ledger.RunEnded})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := ledger.ParseEntry(next); err != nil || e.Prev != head.Hash || e.Seq != 2 || e.Run != run {
		t.Errorf("second entry is %+v, %v", e, err)
	}
}

func TestAppendRefuses(t *testing.T) {
	for name, e := range map[string]ledger.Entry{
		"unknown kind":    {Time: noon, Kind: "guess"},
		"no time":         {Kind: ledger.Note},
		"body not JSON":   {Time: noon, Kind: ledger.Note, Body: json.RawMessage(`{"a":`)},
		"two values":      {Time: noon, Kind: ledger.Note, Body: json.RawMessage(`1 2`)},
		"too deep":        {Time: noon, Kind: ledger.Note, Body: json.RawMessage(strings.Repeat("[", 1e6) + strings.Repeat("]", 1e6))},
		"name stands two": {Time: noon, Kind: ledger.Note, Body: json.RawMessage(`{"a":1,"\u0061":2}`)},
	} {
		t.Run(name, func(t *testing.T) {
			chain := ledger.NewChain(run)
			if data, _, err := chain.Append(e); err == nil {
				t.Errorf("appended %s", data)
			}
			if chain.Head.Seq != 0 {
				t.Errorf("a refused entry moved the head to %s", chain.Head)
			}
		})
	}
}

func TestParseEntryRefuses(t *testing.T) {
	chain := ledger.NewChain(run)
	good, _, err := chain.Append(ledger.Entry{Time: noon, Kind: ledger.Note})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"unknown member": strings.Replace(string(good), `"seq"`, `"x":1,"seq"`, 1),
		"white space":    strings.Replace(string(good), `"seq":1`, `"seq": 1`, 1),
		"truncated":      string(good[:20]),
		"empty":          "",
		"two entries":    string(good) + string(good),
	} {
		if e, err := ledger.ParseEntry([]byte(data)); err == nil {
			t.Errorf("%s: read as %+v", name, e)
		}
	}
}

// value draws any JSON value, as text with arbitrary white space left out.
func value(depth int) *rapid.Generator[any] {
	leaf := rapid.OneOf(rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Int64().AsAny(), rapid.Just[any](nil))
	if depth == 0 {
		return leaf
	}
	return rapid.OneOf(leaf,
		rapid.SliceOfN(value(depth-1), 0, 4).AsAny(),
		rapid.MapOfN(rapid.String(), value(depth-1), 0, 4).AsAny())
}

func TestCanonicalIsAFixedPoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := value(3).Draw(t, "value")
		pretty, err := json.MarshalIndent(v, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		once, err := ledger.Canonical(pretty)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := ledger.Encode(v)
		if err != nil || string(encoded) != string(once)+"\n" {
			t.Errorf("Encode gives %s, Canonical %s (%v)", encoded, once, err)
		}
		var a, b any
		if json.Unmarshal(pretty, &a) != nil || json.Unmarshal(once, &b) != nil {
			t.Fatalf("not JSON: %s", once)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if string(x) != string(y) {
			t.Errorf("canonical form of %s is %s", x, y)
		}
	})
}

func TestKeysAreReversible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[./=A-Z0-9%]{0,20}`), rapid.StringMatching(`[.a]{190,420}`))
		id := ledger.DocID{
			Run:  ledger.Run{Workflow: text.Draw(t, "workflow"), FirstRun: text.Draw(t, "first run")},
			Step: text.Draw(t, "step"), Item: text.Draw(t, "item"),
			Attempt: rapid.IntRange(1, 20_000).Draw(t, "attempt"), Name: text.Draw(t, "name"),
		}
		key := ledger.DocKey(id.Run, id.Step, id.Item, id.Attempt, id.Name)
		got, err := ledger.ParseDocKey(key)
		if err != nil || got != id {
			t.Fatalf("%q is read as %+v, %v; want %+v", key, got, err, id)
		}
		for part := range strings.SplitSeq(key, "/") {
			if part == "" || part[0] == '.' || len(part) > 210 {
				t.Fatalf("key %q has the part %q", key, part)
			}
		}
		if strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.=/") != "" {
			t.Fatalf("key %q has characters that stores mistreat", key)
		}
	})
}

func TestParseDocKeyRefuses(t *testing.T) {
	for _, key := range []string{
		"", "runs/", "runs/a/b/chain/000000000001.json", "runs/a/b/docs/s/i/1/plan.json", "runs/a/b/docs/s/i/0001/plan",
		"runs/a/b/docs/../i/0001/plan.json", "runs/a/b/docs/s/=2f/0001/plan.json", "runs/a/b/docs/s/i/0001/x/plan.json",
		"runs/a/b/docs/s//0001/plan.json", "lock/lab.json", "runs/a/b/docs/s/=4/0001/plan.json",
	} {
		if id, err := ledger.ParseDocKey(key); err == nil {
			t.Errorf("%q is read as %+v", key, id)
		}
	}
}

func TestKeyLayout(t *testing.T) {
	r := ledger.Run{Workflow: "w", FirstRun: "f"}
	for _, tc := range []struct{ got, want string }{
		{ledger.ChainKey(r, 7), "runs/w/f/chain/000000000007.json"},
		{ledger.HeadKey(r, 7), "runs/w/f/heads/000000000007.sig"},
		{ledger.DocKey(r, "Promote tables", "sales/orders", 2, ledger.DocPlan), "runs/w/f/docs/Promote=20tables/sales=2Forders/0002/plan.json"},
		{ledger.DocKey(r, "Stop", "", 1, ledger.DocOutcome), "runs/w/f/docs/Stop/=/0001/outcome.json"},
		{ledger.PartKey(r, "0a1b"), "runs/w/f/parts/0a1b"},
		{ledger.LockKey("lab"), "lock/lab.json"},
	} {
		if tc.got != tc.want {
			t.Errorf("key is %q, want %q", tc.got, tc.want)
		}
	}
}

func TestRootDependsOnWhatIsPlanned(t *testing.T) {
	if got := ledger.Root(nil); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("the root of nothing is %s", got)
	}
	leaf := rapid.Custom(func(t *rapid.T) ledger.Leaf {
		text := rapid.StringMatching(`[ab]{0,2}`)
		return ledger.Leaf{Step: text.Draw(t, "step"), Item: text.Draw(t, "item"), SHA256: text.Draw(t, "digest")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOfN(leaf, 0, 6).Draw(t, "a"), rapid.SliceOfN(leaf, 0, 6).Draw(t, "b")
		before := slices.Clone(a)
		shuffled := rapid.Permutation(a).Draw(t, "shuffled")
		if ledger.Root(a) != ledger.Root(shuffled) {
			t.Errorf("the order of %v changes the root", a)
		}
		if !slices.Equal(a, before) {
			t.Errorf("Root reordered its argument")
		}
		byText := func(x, y ledger.Leaf) int {
			return strings.Compare(x.Step+"|"+x.Item+"|"+x.SHA256, y.Step+"|"+y.Item+"|"+y.SHA256)
		}
		slices.SortFunc(a, byText)
		slices.SortFunc(b, byText)
		if same := slices.Equal(a, b); same != (ledger.Root(a) == ledger.Root(b)) {
			t.Errorf("%v and %v: same is %v, but the roots say otherwise", a, b, same)
		}
	})
}

// The root of three leaves, by hand: RFC 6962 hashes the first two together.
func TestRootIsThatOfRFC6962(t *testing.T) {
	hash := func(parts ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(parts, "")))
		return string(sum[:])
	}
	leaf := func(name string) string {
		return hash("\x00", "\x00\x00\x00\x00\x00\x00\x00\x01s", "\x00\x00\x00\x00\x00\x00\x00\x01"+name, "\x00\x00\x00\x00\x00\x00\x00\x02aa")
	}
	want := hash("\x01", hash("\x01", leaf("1"), leaf("2")), leaf("3"))
	got := ledger.Root([]ledger.Leaf{{"s", "3", "aa"}, {"s", "1", "aa"}, {"s", "2", "aa"}})
	if got != hex.EncodeToString([]byte(want)) {
		t.Errorf("the root is %s, want %x", got, want)
	}
}

func TestLeafForgetsTheAttempt(t *testing.T) {
	doc := func(attempt int) ledger.DocRef {
		return ledger.Ref(ledger.DocKey(run, "s", "i/j", attempt, ledger.DocPlan), []byte("same"))
	}
	a, err := doc(1).Leaf()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := doc(2).Leaf(); err != nil || a != b || a.Step != "s" || a.Item != "i/j" {
		t.Errorf("leaves %+v and %+v, %v", a, b, err)
	}
}
