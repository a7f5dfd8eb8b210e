package takeover_test

import (
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/sshsig"
	"breakwater/internal/takeover"

	"golang.org/x/crypto/ssh"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func signer(t *testing.T, n byte) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(append(make([]byte, 31), n)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func member(t *testing.T, name string, key byte) estate.Member {
	return estate.Member{Name: name, Key: sshsig.Public(signer(t, key)).String()}
}

func statement() takeover.Statement {
	return takeover.Statement{
		Estate: "lab", Epoch: 3, Holder: ledger.Run{Workflow: "old", FirstRun: "f"}, Run: "new", Runbook: "Switch", Role: "commander", Reason: "it is dead", At: noon,
	}
}

// sign is a statement as these keys signed it; edit changes it afterwards.
func sign(t *testing.T, edit func(*takeover.Statement), keys ...byte) takeover.Signed {
	t.Helper()
	s := takeover.Signed{Statement: statement()}
	for _, n := range keys {
		sig, err := s.Statement.Sign(signer(t, n))
		if err != nil {
			t.Fatal(err)
		}
		s.Signatures = append(s.Signatures, sig)
	}
	if edit != nil {
		edit(&s.Statement)
	}
	return s
}

// TestWaitOutlastsEveryRequest: when the second signature counts, no request of the former
// holder is under way, also where clocks differ a little.
func TestWaitOutlastsEveryRequest(t *testing.T) {
	if margin := takeover.Wait - action.LongestRequest; margin < 10*time.Second {
		t.Errorf("people wait %s, and a request may take %s: %s between them is too little for clocks that differ", takeover.Wait, action.LongestRequest, margin)
	}
	s := statement()
	if s.Lapses().Sub(s.Until()) < action.LongestRequest {
		t.Errorf("the second signature counts until %s, and the holder goes on at %s: a request of it may meet the new holder", s.Until(), s.Lapses())
	}
}

// TestWhoTakesOver: two people of the role do, told apart by name and by key.
func TestWhoTakesOver(t *testing.T) {
	role := estate.Role{Role: "commander", Method: estate.Signed, Members: []estate.Member{
		member(t, "ana", 1), member(t, "ben", 2), member(t, "ana", 3), member(t, "anna", 1),
	}}
	claimed := role
	claimed.Method = estate.Claimed
	other := role
	other.Role = "owner"
	for name, tc := range map[string]struct {
		s    takeover.Signed
		role estate.Role
		by   string // empty where they do not
	}{
		"two people":              {sign(t, nil, 1, 2), role, "ana ben"},
		"the other way about":     {sign(t, nil, 2, 1), role, "ben ana"},
		"nobody":                  {sign(t, nil), role, ""},
		"one":                     {sign(t, nil, 1), role, ""},
		"one twice":               {sign(t, nil, 1, 1), role, ""},
		"one by two keys":         {sign(t, nil, 1, 3), role, ""},
		"a stranger first":        {sign(t, nil, 9, 1), role, ""},
		"a stranger then":         {sign(t, nil, 1, 9), role, ""},
		"three":                   {sign(t, nil, 1, 2, 9), role, ""},
		"another role":            {sign(t, nil, 1, 2), other, ""},
		"a role that only claims": {sign(t, nil, 1, 2), claimed, ""},
		"another estate":          {sign(t, func(s *takeover.Statement) { s.Estate = "prod" }, 1, 2), role, ""},
		"another epoch":           {sign(t, func(s *takeover.Statement) { s.Epoch++ }, 1, 2), role, ""},
		"another holder":          {sign(t, func(s *takeover.Statement) { s.Holder.FirstRun = "g" }, 1, 2), role, ""},
		"another run":             {sign(t, func(s *takeover.Statement) { s.Run = "mine" }, 1, 2), role, ""},
		"another runbook":         {sign(t, func(s *takeover.Statement) { s.Runbook = "mine" }, 1, 2), role, ""},
		"another reason":          {sign(t, func(s *takeover.Statement) { s.Reason = "" }, 1, 2), role, ""},
		"another time":            {sign(t, func(s *takeover.Statement) { s.At = s.At.Add(time.Hour) }, 1, 2), role, ""},
	} {
		by, err := tc.s.Check(tc.role)
		if strings.Join(by, " ") != tc.by || (err == nil) != (tc.by != "") || err != nil && !errors.Is(err, takeover.ErrUnsigned) {
			t.Errorf("%s: by %v, %v; want %q", name, by, err, tc.by)
		}
	}
	if err := sign(t, nil, 1, 2).Statement.For("new", "Switch"); err != nil {
		t.Error(err)
	}
	for _, run := range [][2]string{{"new", "Other"}, {"another", "Switch"}} {
		if err := statement().For(run[0], run[1]); err == nil {
			t.Errorf("it counts for run %s of %s", run[0], run[1])
		}
	}
}

// TestWhoStopsTheHolder: the first signature of a member does, for a while.
func TestWhoStopsTheHolder(t *testing.T) {
	role := estate.Role{Role: "commander", Method: estate.Signed, Members: []estate.Member{member(t, "ana", 1), member(t, "ben", 2)}}
	for name, tc := range map[string]struct {
		s   takeover.Signed
		at  time.Duration // after it was signed
		who string
	}{
		"a member":                   {sign(t, nil, 1), 0, "ana"},
		"at its end":                 {sign(t, nil, 1), takeover.Valid - time.Second, "ana"},
		"after it":                   {sign(t, nil, 1), takeover.Valid, ""},
		"by a clock that is ahead":   {sign(t, nil, 1), -time.Minute, "ana"},
		"by a clock that is wrong":   {sign(t, nil, 1), -time.Hour, ""},
		"nobody":                     {sign(t, nil), 0, ""},
		"a stranger":                 {sign(t, nil, 9), 0, ""},
		"a stranger before a member": {sign(t, nil, 9, 1), 0, ""},
		"another statement":          {sign(t, func(s *takeover.Statement) { s.Run = "mine" }, 1), 0, ""},
	} {
		if who := tc.s.Claims(role, noon.Add(tc.at)); who != tc.who {
			t.Errorf("%s: %q stops it, want %q", name, who, tc.who)
		}
	}
	s := sign(t, nil, 1, 2)
	if err := s.Begins(noon.Add(time.Hour)); err != nil {
		t.Error(err)
	}
	if err := s.Begins(noon.Add(25 * time.Hour)); err == nil {
		t.Error("a run may begin a day after it was signed for")
	}
}
