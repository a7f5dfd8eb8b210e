package approval_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/ledger"

	"pgregory.net/rapid"
)

// drawStatement makes a statement of whatever text.
func drawStatement(t *rapid.T, n string) approval.Statement {
	text := rapid.OneOf(rapid.SampledFrom([]string{"", "a", "a\ngate: b", `"a"`, "a b", "ä", "\xff", "never"}), rapid.String())
	s := approval.Statement{
		Namespace: text.Draw(t, "namespace"+n), Run: ledger.Run{Workflow: text.Draw(t, "workflow"+n), FirstRun: text.Draw(t, "run"+n)},
		Gate: text.Draw(t, "gate"+n), Attempt: rapid.IntRange(1, 3).Draw(t, "attempt"+n), Decision: approval.Verb(text.Draw(t, "verb"+n)),
		Plan: text.Draw(t, "plan"+n), Mode: text.Draw(t, "mode"+n), Direction: text.Draw(t, "direction"+n), Reason: text.Draw(t, "reason"+n),
		Owner: text.Draw(t, "owner"+n), Due: text.Draw(t, "due"+n), Estate: text.Draw(t, "estate"+n), Head: text.Draw(t, "head"+n),
	}
	if rapid.Bool().Draw(t, "expires"+n) {
		s.Expires = noon.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "at"+n)) * time.Second)
	}
	if items := rapid.SliceOfN(text, 0, 3).Draw(t, "items"+n); len(items) > 0 {
		s.Items = items
	}
	return s
}

// Two statements with one text would let a signature stand for both; a text that is
// read as another statement would let a border act on what nobody signed.
func TestStatementTextTellsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawStatement(t, "1"), drawStatement(t, "2")
		if reflect.DeepEqual(a, b) != bytes.Equal(a.Text(), b.Text()) {
			t.Errorf("%+v and %+v read the same:\n%s", a, b, a.Text())
		}
		back, err := approval.ParseStatement(a.Text())
		if err != nil || !reflect.DeepEqual(back, a) {
			t.Errorf("%+v is read back as %+v, %v:\n%s", a, back, err, a.Text())
		}
	})
}

// Whatever is read as a statement is its text, to the byte.
func FuzzParseStatement(f *testing.F) {
	whole := approval.Statement{
		Namespace: "default", Run: ledger.Run{Workflow: "failover lab", FirstRun: "0191"}, Gate: "fence", Attempt: 2, Decision: approval.Waive,
		Plan: root, Mode: "live", Direction: approval.Do, Reason: approval.ReasonDigest("by hand"), Items: []string{"fence/1-storage.fence/lake"},
		Estate: "e57a7e", Head: "12:abcd", Expires: noon,
	}
	f.Add(whole.Text())
	f.Add([]byte(version1))
	f.Add([]byte("Breakwater decision, version 2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := approval.ParseStatement(data)
		if err == nil && !bytes.Equal(s.Text(), data) {
			t.Errorf("%q is read as %+v, whose text is %q", data, s, s.Text())
		}
		if s, err := approval.ParseVersion1(data); err == nil && bytes.Equal(s.Text(), data) {
			t.Errorf("%q is of version 1 and of version 2", data)
		}
	})
}

// version1 is a text as earlier releases had it signed.
const version1 = "Breakwater decision, version 1\ndecision: approve\ngate: fence\nattempt: 2\nplan: 3f5a\nexpires: never\n" +
	"workflow: \"failover lab\"\nfirst run: 0191\nnamespace: default\nestate: e57a7e\nledger: 12:abcd\n"

func TestVersion1IsRead(t *testing.T) {
	s, err := approval.ParseVersion1([]byte(version1))
	want := approval.Statement{
		Namespace: "default", Run: ledger.Run{Workflow: "failover lab", FirstRun: "0191"}, Gate: "fence", Attempt: 2,
		Decision: approval.Approve, Plan: "3f5a", Estate: "e57a7e", Head: "12:abcd",
	}
	if err != nil || !reflect.DeepEqual(s, want) {
		t.Errorf("read as %+v, %v", s, err)
	}
	if _, err := approval.ParseStatement([]byte(version1)); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("a statement of version 1 passes for one of version 2: %v", err)
	}
}

func TestWhatIsNoStatement(t *testing.T) {
	good := string(open(t, spec(t)).Statement(approval.Approve).Text())
	for name, bad := range map[string]string{
		"nothing":           "",
		"half":              good[:len(good)/2],
		"something after":   good + "more\n",
		"a line twice":      strings.Replace(good, "gate: fence\n", "gate: fence\ngate: fence\n", 1),
		"a number spelt":    strings.Replace(good, "attempt: 2", "attempt: +2", 1),
		"quoted for no use": strings.Replace(good, "gate: fence", `gate: "fence"`, 1),
		"an open quote":     strings.Replace(good, "gate: fence", `gate: "fence`, 1),
		"items, none given": strings.Replace(good, "items: 0", "items: 1", 1),
		"items below none":  strings.Replace(good, "items: 0", "items: -1", 1),
		"a time elsewhere":  strings.Replace(good, "13:00:00Z", "14:00:00+01:00", 1),
		"no time":           strings.Replace(good, "expires: 2026", "expires: x2026", 1),
		"windows' lines":    strings.ReplaceAll(good, "\n", "\r\n"),
	} {
		if s, err := approval.ParseStatement([]byte(bad)); err == nil {
			t.Errorf("%s is read as %+v", name, s)
		}
	}
}

// What a person signed for one mode, direction, reason or set of items counts for no
// other.
func TestASignatureCountsForWhatItSays(t *testing.T) {
	for name, edit := range map[string]func(*approval.Statement){
		"another mode":      func(s *approval.Statement) { s.Mode = "drill" },
		"another direction": func(s *approval.Statement) { s.Direction = approval.Undo },
		"items":             func(s *approval.Statement) { s.Items = []string{"fence/1-storage.fence/lake"} },
		"an owner":          func(s *approval.Statement) { s.Owner = "mallory" },
		"a date":            func(s *approval.Statement) { s.Due = "2099-01-01" },
		"a reason":          func(s *approval.Statement) { s.Reason = approval.ReasonDigest("because") },
	} {
		g := open(t, spec(t))
		s := g.Statement(approval.Approve)
		s.Items = slices.Clone(s.Items)
		edit(&s)
		if after, j := g.Judge(noon, signed(t, 1, s), approval.Who{}); j.Outcome != approval.Refused || len(after.Votes) > 0 {
			t.Errorf("signed for %s: %+v", name, j)
		}
	}
}
