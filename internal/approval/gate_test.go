package approval_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"
)

var (
	noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	root = ledger.Root([]ledger.Leaf{{Step: "Deny writes", Item: "lake", SHA256: "aa"}})
)

type tb interface {
	Helper()
	Fatal(args ...any)
}

func signer(t tb, n byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func member(t tb, name string, key byte) estate.Member {
	t.Helper()
	return estate.Member{Name: name, Key: sshsig.Public(signer(t, key)).String()}
}

// spec is a live gate for alice, bob and carol, of whom two must approve. dave
// has alice's key, and alice has a second one.
func spec(t tb) approval.Spec {
	t.Helper()
	return approval.Spec{
		About: approval.Statement{
			Namespace: "default", Run: ledger.Run{Workflow: "failover lab", FirstRun: "0191"}, Gate: "fence", Attempt: 2,
			Plan: root, Mode: "live", Direction: approval.Do, Estate: "e57a7e", Head: "12:abcd", Expires: noon.Add(time.Hour),
		},
		Role: estate.Role{Role: "incident-commander", Method: estate.Signed, Members: []estate.Member{
			member(t, "alice", 1), member(t, "bob", 2), member(t, "carol", 3), member(t, "dave", 1), member(t, "alice", 4),
		}},
		Offers: []approval.Offer{{Verb: approval.Approve, Quorum: 2}, approval.OfferOf(approval.Reject), approval.OfferOf(approval.Abort)},
		Live:   true,
	}
}

func open(t tb, s approval.Spec) approval.Gate {
	t.Helper()
	g, err := approval.NewGate(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func signed(t tb, key byte, s approval.Statement) approval.Decision {
	t.Helper()
	sig, err := s.Sign(signer(t, key))
	if err != nil {
		t.Fatal(err)
	}
	return approval.Decision{Verb: s.Decision, Signature: sig, Expires: s.Expires}
}

// by is a decision signed as it should be.
func by(t tb, g approval.Gate, key byte, v approval.Verb) approval.Decision {
	t.Helper()
	return signed(t, key, g.Statement(v))
}

func TestStatementText(t *testing.T) {
	s := open(t, spec(t)).Statement(approval.Approve)
	want := "Breakwater decision, version 2\ndecision: approve\ngate: fence\nattempt: 2\nplan: " + root + "\nmode: live\ndirection: do\nreason: \"\"\nitems: 0\nowner: \"\"\ndue: \"\"\nexpires: 2026-11-21T13:00:00Z\n" +
		"workflow: \"failover lab\"\nfirst run: 0191\nnamespace: default\nestate: e57a7e\nledger: 12:abcd\n"
	if got := string(s.Text()); got != want {
		t.Errorf("the text is\n%s\nwant\n%s", got, want)
	}
}

func TestShellSignsWithOpenSSH(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Fatal("this test needs ssh-keygen (OpenSSH 8.2 or later) on the PATH: people sign with it")
	}
	path := filepath.Join(t.TempDir(), "key")
	if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	s := spec(t)
	s.Role.Members = []estate.Member{{Name: "alice", Key: string(public)}, member(t, "bob", 2)}
	g := open(t, s)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", g.Statement(approval.Approve).Shell(path)).Output()
	if err != nil {
		t.Fatal(err)
	}
	pasted, err := json.Marshal(string(out))
	if err != nil {
		t.Fatal(err)
	}
	g, j := g.Judge(noon, approval.Decode(pasted).Under(approval.Approve), approval.Who{})
	if j.Outcome != approval.Counted || j.Person != "alice" {
		t.Fatalf("a pasted signature: %+v", j)
	}
	if g, j = g.Judge(noon, by(t, g, 2, approval.Approve), approval.Who{}); g.Decided != approval.Approve {
		t.Errorf("the second: %+v", j)
	}
}

func TestJudge(t *testing.T) {
	for name, tc := range map[string]struct {
		spec    func(*approval.Spec)
		before  func(approval.Gate) approval.Gate
		now     time.Time
		d       func(approval.Gate) approval.Decision
		who     approval.Who
		want    approval.Outcome
		says    string
		decided approval.Verb
	}{
		"first of two": {d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Approve) }, want: approval.Counted, says: "1 more needed"},
		"second of two": {before: vote(t, 1, approval.Approve), d: func(g approval.Gate) approval.Decision { return by(t, g, 2, approval.Approve) },
			want: approval.Settled, decided: approval.Approve},
		"one rejects": {before: vote(t, 1, approval.Approve), d: func(g approval.Gate) approval.Decision { return by(t, g, 2, approval.Reject) },
			want: approval.Settled, decided: approval.Reject},
		"all is named too": {d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Approve)
			d.Gate, d.Attempt, d.Plan, d.By = "fence", 2, root[:12], "alice"
			return d
		}, want: approval.Counted},
		"again": {before: vote(t, 1, approval.Approve), d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Approve) },
			want: approval.Duplicate, says: "already"},
		"again after the decision": {before: func(g approval.Gate) approval.Gate {
			return vote(t, 2, approval.Approve)(vote(t, 1, approval.Approve)(g))
		}, d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Approve) }, want: approval.Duplicate, decided: approval.Approve},
		"too late": {before: func(g approval.Gate) approval.Gate {
			return vote(t, 2, approval.Approve)(vote(t, 1, approval.Approve)(g))
		}, d: func(g approval.Gate) approval.Decision { return by(t, g, 3, approval.Reject) }, want: approval.Refused, says: "decided: approve", decided: approval.Approve},
		"the same key, another name": {before: vote(t, 1, approval.Approve), d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Approve)
			d.By = "dave"
			return d
		}, want: approval.Refused, says: "same person"},
		"the same name, another key": {before: vote(t, 1, approval.Approve), d: func(g approval.Gate) approval.Decision { return by(t, g, 4, approval.Approve) },
			want: approval.Duplicate},
		"one person by two names and two keys": {before: func(g approval.Gate) approval.Gate {
			d := by(t, g, 1, approval.Approve)
			d.By = "dave"
			g, _ = g.Judge(noon, d, approval.Who{})
			return g
		}, d: func(g approval.Gate) approval.Decision { return by(t, g, 4, approval.Approve) }, want: approval.Refused, says: "same person"},
		"against oneself": {before: vote(t, 1, approval.Approve), d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Reject) },
			want: approval.Settled, decided: approval.Reject},
		"a waiver of other items": {spec: func(s *approval.Spec) {
			s.Offers, s.Items = append(approval.Offers(approval.Waive), s.Offers...), []string{"s/a", "s/b"}
		}, before: func(g approval.Gate) approval.Gate {
			g, _ = g.Judge(noon, waive(t, g, 1, "by hand", "s/a"), approval.Who{})
			return g
		},
			d:    func(g approval.Gate) approval.Decision { return waive(t, g, 2, "by hand", "s/b") },
			want: approval.Counted, says: "1 more needed"},
		"a waiver of the same by two": {spec: func(s *approval.Spec) {
			s.Offers, s.Items = append(approval.Offers(approval.Waive), s.Offers...), []string{"s/a", "s/b"}
		}, before: func(g approval.Gate) approval.Gate {
			g, _ = g.Judge(noon, waive(t, g, 1, "by hand", "s/a"), approval.Who{})
			return g
		},
			d:    func(g approval.Gate) approval.Decision { return waive(t, g, 2, "I looked, too", "s/a") },
			want: approval.Settled, decided: approval.Waive},
		"a waiver without a reason":  {spec: waivable, d: func(g approval.Gate) approval.Decision { return waive(t, g, 1, " ", "s/a") }, want: approval.Refused, says: "needs a reason"},
		"a waiver of nothing":        {spec: waivable, d: func(g approval.Gate) approval.Decision { return waive(t, g, 1, "so") }, want: approval.Refused, says: "here are s/a; what counts is: breakwater decide 'failover lab' waive --item STEP/ITEM --reason TEXT --key FILE"},
		"a waiver of something else": {spec: waivable, d: func(g approval.Gate) approval.Decision { return waive(t, g, 1, "so", "s/z") }, want: approval.Refused, says: "none of those"},
		"a waiver's other reason": {spec: waivable, d: func(g approval.Gate) approval.Decision {
			d := waive(t, g, 1, "so", "s/a")
			d.Reason = "otherwise"
			return d
		}, want: approval.Refused, says: "does not match"},
		"items of an approval": {d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Approve)
			d.Items = []string{"s/a"}
			return d
		}, want: approval.Refused, says: "all of it"},
		"an owner with an approval": {d: func(g approval.Gate) approval.Decision { d := by(t, g, 1, approval.Approve); d.Owner = "zoe"; return d }, want: approval.Refused, says: "go with done"},
		"undo unsigned, live":       {spec: takes(approval.TakeBack), d: named(approval.TakeBack, "alice"), want: approval.Refused, says: "needs a signature"},
		"done unsigned, live":       {spec: takes(approval.Done), d: named(approval.Done, "alice"), want: approval.Refused, says: "breakwater decide 'failover lab' done --key FILE"},
		"resume unsigned, live":     {spec: takes(approval.Resume), d: named(approval.Resume, "alice"), want: approval.Refused, says: "needs a signature"},
		"undo by name, in a drill":  {spec: func(s *approval.Spec) { takes(approval.TakeBack)(s); s.Live = false }, d: named(approval.TakeBack, "alice"), want: approval.Settled, decided: approval.TakeBack},
		"undo signed, live":         {spec: takes(approval.TakeBack), d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.TakeBack) }, want: approval.Settled, decided: approval.TakeBack},
		"an owner put in place of another": {spec: takes(approval.Done), d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Done)
			d.Owner = "mallory"
			return d
		}, want: approval.Refused, says: "does not match"},
		"retry by nobody":      {spec: takes(approval.Retry), d: named(approval.Retry, ""), want: approval.Settled, says: "somebody unnamed", decided: approval.Retry},
		"retry by a stranger":  {spec: takes(approval.Retry), d: named(approval.Retry, "mallory"), want: approval.Refused, says: "not a member"},
		"reject by a stranger": {d: named(approval.Reject, "mallory"), want: approval.Settled, decided: approval.Reject},
		"reject under a broken signature": {d: func(approval.Gate) approval.Decision {
			return approval.Decision{Verb: approval.Reject, By: "alice", Signature: "me"}
		}, want: approval.Settled, decided: approval.Reject},
		"abort after approving": {before: vote(t, 1, approval.Approve), d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Abort) },
			want: approval.Settled, decided: approval.Abort},
		"no signature": {d: func(approval.Gate) approval.Decision { return approval.Decision{Verb: approval.Approve, By: "alice"} }, want: approval.Refused, says: "needs a signature"},
		"unknown key":  {d: func(g approval.Gate) approval.Decision { return by(t, g, 9, approval.Approve) }, want: approval.Refused, says: "unknown signer"},
		"malformed":    {d: func(approval.Gate) approval.Decision { return approval.Decode([]byte(`7`)) }, want: approval.Refused, says: approval.Example},
		"not offered":  {d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Retry) }, want: approval.Refused, says: "takes approve, reject, abort"},
		"signature no such": {d: func(approval.Gate) approval.Decision {
			return approval.Decision{Verb: approval.Approve, Signature: "me"}
		}, want: approval.Refused, says: "not an SSH signature"},
		"signed by another": {d: func(g approval.Gate) approval.Decision { d := by(t, g, 1, approval.Approve); d.By = "bob"; return d }, want: approval.Refused, says: `key of "alice"`},
		"other gate": {d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Approve)
			d.Gate = "writes"
			return d
		}, want: approval.Refused, says: `for gate "writes"`},
		"earlier attempt": {d: func(g approval.Gate) approval.Decision { d := by(t, g, 1, approval.Approve); d.Attempt = 1; return d }, want: approval.Refused, says: "attempt 1 of the gate"},
		"other plan": {d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Approve)
			d.Plan = "000000000000"
			return d
		}, want: approval.Refused, says: "for plan 0000"},
		"too little of plan": {d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Approve)
			d.Plan = root[:11]
			return d
		}, want: approval.Refused, says: "for plan"},
		"expired": {now: noon.Add(time.Hour), d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Approve) }, want: approval.Refused, says: "expired"},
		"own time expired": {now: noon.Add(time.Minute), d: func(g approval.Gate) approval.Decision {
			s := g.Statement(approval.Approve)
			s.Expires = noon.Add(time.Minute)
			return signed(t, 1, s)
		}, want: approval.Refused, says: "expired"},
		"own time beyond the gate's": {now: noon.Add(2 * time.Hour), d: func(g approval.Gate) approval.Decision {
			s := g.Statement(approval.Approve)
			s.Expires = noon.Add(3 * time.Hour)
			return signed(t, 1, s)
		}, want: approval.Refused, says: "expired"},
		"time moved": {d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Approve)
			d.Expires = noon.Add(50 * time.Minute)
			return d
		}, want: approval.Refused, says: "does not match"},
		"verb moved": {d: func(g approval.Gate) approval.Decision {
			d := by(t, g, 1, approval.Reject)
			d.Verb = approval.Approve
			return d
		}, want: approval.Refused, says: "does not match"},
		"not open":       {before: func(g approval.Gate) approval.Gate { g.Status = approval.NotOpen; return g }, d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Approve) }, want: approval.Refused, says: "not open yet"},
		"closed":         {before: func(g approval.Gate) approval.Gate { return g.Close("another plan took its place") }, d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Approve) }, want: approval.Refused, says: "another plan"},
		"the starter":    {spec: func(s *approval.Spec) { s.Excluded = "bob" }, d: func(g approval.Gate) approval.Decision { return by(t, g, 2, approval.Approve) }, want: approval.Refused, says: "started this run"},
		"starter's key":  {spec: func(s *approval.Spec) { s.Excluded = "dave"; s.Offers[0].Quorum = 1 }, d: func(g approval.Gate) approval.Decision { return by(t, g, 1, approval.Approve) }, want: approval.Refused, says: "started this run"},
		"claimed, drill": {spec: claimed, d: claim("alice"), want: approval.Counted},
		"claimed, live": {spec: claimed, before: func(g approval.Gate) approval.Gate { g.Spec.Live = true; return g }, d: claim("alice"),
			want: approval.Refused, says: "counts for nothing in live mode"},
		"claimed by a stranger": {spec: claimed, d: claim("mallory"), want: approval.Refused, says: "not a member"},
		"claimed by nobody":     {spec: claimed, d: claim(""), want: approval.Refused, says: `add "by"`},
		"claimed about nothing": {spec: claimed, d: func(approval.Gate) approval.Decision {
			return approval.Decision{Verb: approval.Approve, By: "alice"}
		}, want: approval.Refused, says: "does not say what it is about; name gate"},
		"stamped":               {spec: stamped, d: claim("bob"), who: approval.Who{Principal: "alice"}, want: approval.Counted, says: "by alice"},
		"not stamped":           {spec: stamped, d: claim("alice"), who: approval.Who{Identity: "alice"}, want: approval.Refused, says: "stamps"},
		"stamped as a stranger": {spec: stamped, d: claim("alice"), who: approval.Who{Principal: "mallory"}, want: approval.Refused, says: "not a member"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(t)
			if tc.spec != nil {
				tc.spec(&s)
			}
			g := open(t, s)
			if tc.before != nil {
				g = tc.before(g)
			}
			if tc.now.IsZero() {
				tc.now = noon
			}
			votes := len(g.Votes)
			after, j := g.Judge(tc.now, tc.d(g), tc.who)
			if j.Outcome != tc.want || !strings.Contains(j.Reason, tc.says) || j.Reason == "" || after.Decided != tc.decided {
				t.Errorf("judged %+v, decided %q; want %s, %q, decided %q", j, after.Decided, tc.want, tc.says, tc.decided)
			}
			if len(g.Votes) != votes {
				t.Error("the gate before was changed")
			}
		})
	}
}

func waivable(s *approval.Spec) {
	s.Offers, s.Items = append(approval.Offers(approval.Waive), s.Offers...), []string{"s/a"}
}

// takes makes a question that takes one verb, and an abort.
func takes(v approval.Verb) func(*approval.Spec) {
	return func(s *approval.Spec) { s.Offers = approval.Offers(v, approval.Abort) }
}

func named(v approval.Verb, who string) func(approval.Gate) approval.Decision {
	return func(approval.Gate) approval.Decision { return approval.Decision{Verb: v, By: who} }
}

func waive(t tb, g approval.Gate, key byte, reason string, items ...string) approval.Decision {
	t.Helper()
	d := approval.Decision{Verb: approval.Waive, Reason: reason, Items: items}
	sig, err := g.StatementOf(d).Sign(signer(t, key))
	if err != nil {
		t.Fatal(err)
	}
	d.Signature, d.Expires = sig, g.Spec.About.Expires
	return d
}

func vote(t *testing.T, key byte, v approval.Verb) func(approval.Gate) approval.Gate {
	return func(g approval.Gate) approval.Gate {
		g, j := g.Judge(noon, by(t, g, key, v), approval.Who{})
		if j.Outcome == approval.Refused {
			t.Fatalf("setting up: %s", j.Reason)
		}
		return g
	}
}

func claimed(s *approval.Spec) { s.Role.Method, s.Live = estate.Claimed, false }
func stamped(s *approval.Spec) { s.Role.Method = estate.PrincipalMethod }

func claim(name string) func(approval.Gate) approval.Decision {
	return func(g approval.Gate) approval.Decision {
		return approval.Decision{Gate: "fence", Attempt: 2, Verb: approval.Approve, Plan: g.Spec.About.Plan, By: name}
	}
}

func TestNewGateRefusesWhatCanNeverBeDecided(t *testing.T) {
	for says, edit := range map[string]func(*approval.Spec){
		"claimed proves nothing":                func(s *approval.Spec) { s.Role.Method = estate.Claimed },
		"needs 4 people and the role has 3":     func(s *approval.Spec) { s.Offers[0].Quorum = 4 },
		"needs 3 people and the role has 2":     func(s *approval.Spec) { s.Offers[0].Quorum = 3; s.Excluded = "dave" },
		"member bob: SSH public key":            func(s *approval.Spec) { s.Role.Members[1].Key = "" },
		`"approve" stands twice`:                func(s *approval.Spec) { s.Offers[1].Verb = approval.Approve },
		"takes anybody's word, and so a quorum": func(s *approval.Spec) { s.Offers[1].Quorum = 2 },
		"a quorum of at least 1":                func(s *approval.Spec) { s.Offers[0].Quorum = 0 },
		"nothing to decide":                     func(s *approval.Spec) { s.Offers = nil },
		`method "guess" is unknown`:             func(s *approval.Spec) { s.Role.Method = "guess" },
		"nobody approves what they did not see": func(s *approval.Spec) { s.About.Plan = "" },
		`mode "dry" is unknown`:                 func(s *approval.Spec) { s.About.Mode = "dry" },
		`direction "" is neither`:               func(s *approval.Spec) { s.About.Direction = "" },
		"first run must all be said":            func(s *approval.Spec) { s.About.Run.FirstRun = "" },
		"has no name":                           func(s *approval.Spec) { s.Role.Members[0].Name = "" },
	} {
		s := spec(t)
		edit(&s)
		if g, err := approval.NewGate(s); err == nil || !strings.Contains(err.Error(), says) || g.Status == approval.Open {
			t.Errorf("gate %+v, error %v; want %q", g.Status, err, says)
		}
	}
}

func TestQuorum(t *testing.T) {
	for _, tc := range []struct {
		asked       int
		live, known bool
		want        int
	}{{0, false, false, 1}, {1, true, false, 2}, {1, true, true, 1}, {3, true, false, 3}, {2, false, false, 2}} {
		if got := approval.Quorum(tc.asked, tc.live, tc.known); got != tc.want {
			t.Errorf("Quorum(%d, %v, %v) = %d, want %d", tc.asked, tc.live, tc.known, got, tc.want)
		}
	}
}

func TestSampleIsADecision(t *testing.T) {
	g := open(t, spec(t))
	d := g.Sample(approval.Approve)
	d.Signature = by(t, g, 1, approval.Approve).Signature
	sent, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if _, j := g.Judge(noon, approval.Decode(sent), approval.Who{}); j.Outcome != approval.Counted {
		t.Errorf("%s: %+v", sent, j)
	}
}

// Whatever arrives, in whatever order: a gate is decided once, and by no fewer
// distinct people, with keys of their own, than its quorum.
func TestAnyInterleaving(t *testing.T) {
	verbs := []approval.Verb{approval.Approve, approval.Approve, approval.Approve, approval.Reject, approval.Retry, approval.Abort, ""}
	rapid.Check(t, func(t *rapid.T) {
		s := spec(t)
		s.Offers[0].Quorum = rapid.IntRange(1, 3).Draw(t, "quorum")
		g := open(t, s)
		said := map[approval.Verb]map[byte]bool{} // keys of right signatures; 4 is alice's as well as 1
		for range rapid.IntRange(1, 25).Draw(t, "decisions") {
			if rapid.IntRange(0, 30).Draw(t, "close") == 0 {
				was := g
				if g = g.Close("time passed"); was.Status != approval.Open && g.Status != was.Status {
					t.Fatalf("%s became %s", was.Status, g.Status)
				}
				continue
			}
			key, verb := rapid.ByteRange(1, 5).Draw(t, "key"), rapid.SampledFrom(verbs).Draw(t, "verb")
			statement := g.Statement(verb)
			right := true
			switch rapid.IntRange(0, 9).Draw(t, "flaw") {
			case 0:
				statement.Attempt, right = 1, false
			case 1:
				statement.Plan, right = "other", false
			case 2:
				statement.Run.FirstRun, right = "other", false
			}
			d := signed(t, key, statement)
			d.By = rapid.SampledFrom([]string{"", "", "alice", "bob", "carol", "dave"}).Draw(t, "by")
			now := noon.Add(time.Duration(rapid.IntRange(0, 70).Draw(t, "minute")) * time.Minute)
			if right && key != 5 && now.Before(s.About.Expires) {
				if key == 4 {
					key = 1
				}
				if said[verb] == nil {
					said[verb] = map[byte]bool{}
				}
				said[verb][key] = true
			}
			was := g
			var j approval.Judgement
			g, j = g.Judge(now, d, approval.Who{})
			if was.Status != approval.Open && (g.Status != was.Status || g.Decided != was.Decided || len(g.Votes) != len(was.Votes)) {
				t.Fatalf("a gate that was %s (%s) became %s (%s)", was.Status, was.Decided, g.Status, g.Decided)
			}
			if settled := was.Status == approval.Open && g.Status == approval.Decided; settled != (j.Outcome == approval.Settled) {
				t.Fatalf("%s to %s with outcome %s", was.Status, g.Status, j.Outcome)
			}
			if (j.Outcome == approval.Refused || j.Outcome == approval.Duplicate) != (len(was.Votes) == len(g.Votes) && reflect.DeepEqual(was.Votes, g.Votes)) {
				t.Fatalf("outcome %s, votes %v, then %v", j.Outcome, was.Votes, g.Votes)
			}
			if g.Status != approval.Decided {
				continue
			}
			for _, o := range s.Offers {
				if o.Verb == g.Decided && o.Proof == approval.Always && len(said[o.Verb]) < o.Quorum {
					t.Fatalf("decided %s by %d people, quorum %d", o.Verb, len(said[o.Verb]), o.Quorum)
				}
			}
		}
	})
}

// A name is the same however its letters are written, for who decides, who may not, and
// who has decided already.
func TestNamesAsReadersSeeThem(t *testing.T) {
	const composed, decomposed = "Jos\u00e9", "Jose\u0301"
	s := spec(t)
	s.Live = false
	s.Role = estate.Role{Role: "dr-approver", Method: estate.Claimed, Members: []estate.Member{{Name: composed}, {Name: "bob"}}}
	s.About.Expires = time.Time{}
	judge := func(g approval.Gate, by string) (approval.Gate, approval.Judgement) {
		return g.Judge(noon, approval.Decision{Gate: "fence", Attempt: 2, Plan: root, Verb: approval.Approve, By: by}, approval.Who{})
	}
	open := func() approval.Gate {
		t.Helper()
		g, err := approval.NewGate(s)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g, j := judge(open(), decomposed)
	if j.Outcome != approval.Counted || j.Person != composed {
		t.Errorf("by %+q: %+v; want it to count for %+q", decomposed, j, composed)
	}
	if _, j = judge(g, composed); j.Outcome != approval.Duplicate {
		t.Errorf("by the other spelling once more: %+v; want a duplicate", j)
	}
	for _, by := range []string{"JOS\u00c9", composed + "\u00a0", "zoe"} {
		if _, j := judge(open(), by); j.Outcome != approval.Refused || !strings.Contains(j.Reason, `which has "Jos\u00e9", "bob"`) {
			t.Errorf("by %+q: %+v; want a refusal that shows the difference", by, j)
		}
	}
	s.Excluded, s.Offers = decomposed, []approval.Offer{{Verb: approval.Approve, Quorum: 1}}
	if _, j := judge(open(), composed); j.Outcome != approval.Refused || !strings.Contains(j.Reason, "started this run") {
		t.Errorf("who started the run decides under another spelling: %+v", j)
	}
}
