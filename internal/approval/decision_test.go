package approval_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"breakwater/internal/approval"

	"pgregory.net/rapid"
)

func TestDecode(t *testing.T) {
	whole := approval.Decision{
		Gate: "fence", Attempt: 2, Verb: approval.Approve, Plan: "3f5a", By: "alice", Reason: "declared",
		Expires: time.Date(2026, 11, 21, 3, 30, 0, 0, time.UTC),
	}
	text := `{"gate":"fence","attempt":2,"decision":"approve","plan":"3f5a","by":"alice","reason":"declared","expires":"2026-11-21T03:30:00Z"}`
	quoted, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		data string
		want approval.Decision
	}{
		"object":               {text, whole},
		"one-element array":    {"[" + text + "]", whole},
		"object in a string":   {string(quoted), whole},
		"string in an array":   {"[" + string(quoted) + "]", whole},
		"attempt in quotes":    {strings.Replace(text, "2,", `"2",`, 1), whole},
		"members in capitals":  {`{"Gate":"fence","DECISION":"Approve"}`, approval.Decision{Gate: "fence", Verb: approval.Approve}},
		"verb":                 {`"approve"`, approval.Decision{Verb: approval.Approve}},
		"verb, quoted twice":   {`"\"Approve\""`, approval.Decision{Verb: approval.Approve}},
		"verb without quotes":  {` approve `, approval.Decision{Verb: approval.Approve}},
		"unknown verb":         {`"frobnicate"`, approval.Decision{Verb: "frobnicate"}}, // for the gate to refuse
		"signature":            {`"-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----"`, approval.Decision{Signature: "-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----"}},
		"signature, unquoted":  {"-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----\n", approval.Decision{Signature: "-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----"}},
		"no members, no lies":  {`{}`, approval.Decision{}},
		"verb in a long array": {`["approve"]`, approval.Decision{Verb: approval.Approve}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := approval.Decode([]byte(tc.data)); !reflect.DeepEqual(got, tc.want) {
				t.Errorf("read as %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestDecodeMalformed(t *testing.T) {
	for name, tc := range map[string]struct{ data, says string }{
		"nothing":         {``, "empty"},
		"null":            {`null`, "empty"},
		"empty array":     {`[]`, "list of 0"},
		"two decisions":   {`["approve","reject"]`, "list of 2"},
		"a number":        {`1`, "neither an object nor a verb"},
		"a sentence":      {`"yes please"`, "neither an object nor a verb"},
		"broken":          {`{"gate":`, "unexpected end"},
		"mistyped member": {`{"decision":"approve","expire":"2026-11-21T03:30:00Z"}`, `unknown field "expire"`},
		"twice":           {`{"decision":"reject","decision":"approve"}`, "stands twice"},
		"wrong type":      {`{"decision":{"approve":true}}`, "cannot unmarshal"},
		"attempt zero":    {`{"attempt":0}`, "not a number from 1"},
		"no time":         {`{"expires":"tomorrow"}`, "not a time"},
		"nested, object":  {`{"gate":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`, "cannot unmarshal"},
		"nested for ever": {strings.Repeat("[", 50) + strings.Repeat("]", 50), "too many times"},
	} {
		t.Run(name, func(t *testing.T) {
			var got approval.Decision
			if err := got.UnmarshalJSON([]byte(tc.data)); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got.Malformed, tc.says) || !strings.Contains(got.Malformed, approval.Example) || got.Raw != tc.data {
				t.Errorf("read as %+v, want it to say %q", got, tc.says)
			}
		})
	}
	if d := approval.Decode([]byte(approval.Example)); d.Malformed != "" {
		t.Errorf("the example itself: %s", d.Malformed)
	}
}

// Whatever is received survives a workflow's state, and stays malformed if it was.
func TestDecodeNeverFails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.OneOf(
			rapid.SliceOf(rapid.Byte()),
			rapid.Map(rapid.StringMatching(`(\{"(gate|attempt|decision|by|x)":("a"|1|null|\[\])\}|"approve"|\[|\]|"|\\|null){0,4}`), func(s string) []byte { return []byte(s) }),
		).Draw(t, "data")
		d := approval.Decode(data).Under(approval.Approve)
		kept, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var again approval.Decision
		if err := json.Unmarshal(kept, &again); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(d, again) {
			t.Errorf("%q is read as %#v and, once kept as %s, as %#v", data, d, kept, again)
		}
	})
}

func TestUnder(t *testing.T) {
	bare := approval.Decode([]byte(`{"gate":"fence"}`)).Under(approval.Reject)
	if bare.Verb != approval.Reject || bare.Malformed != "" {
		t.Errorf("a decision without a verb is %+v", bare)
	}
	if d := approval.Decode([]byte(`"reject"`)).Under(approval.Approve); d.Malformed == "" {
		t.Errorf("a rejection sent as an approval is %+v", d)
	}
}

// What editors, shells and shaky hands make of a decision is refused with a reason and an
// example, or is what it says.
func TestPayloads(t *testing.T) {
	for text, want := range map[string]struct {
		verb approval.Verb
		says string // of what is malformed
	}{
		"“approve”":                                  {says: "typographic quotes"},
		"{“decision”:“approve”}":                     {says: "typographic quotes"},
		"‘approve’":                                  {says: "typographic quotes"},
		"\ufeff{\"decision\":\"approve\"}":           {verb: approval.Approve},
		"\ufeff\"approve\"":                          {verb: approval.Approve},
		"{decision:approve,gate:fence}":              {says: "invalid character"},
		"'approve'":                                  {says: "neither an object nor a verb"},
		"\"approve\"\r\n":                            {verb: approval.Approve},
		`{"decision":"APPROVE "}`:                    {verb: approval.Approve},
		`{"Decision":"approve"}`:                     {verb: approval.Approve},
		`{"decision":"approve","decision":"reject"}`: {says: "stands twice"},
		`{"decision":"approve","approver":"alice"}`:  {says: `unknown field "approver"`},
		"approve reject":                             {says: "neither an object nor a verb"},
		"1":                                          {says: "neither an object nor a verb"},
		`["approve","reject"]`:                       {says: "a list of 2"},
		"\x00\x01\x02":                               {says: "neither an object nor a verb"},
		"":                                           {says: "it is empty"},
		`{"gate":"fence","attempt":"1","decision":"approve"}`:  {verb: approval.Approve},
		`{"gate":"fence","attempt":1.0,"decision":"approve"}`:  {says: "attempt is 1.0"},
		`{"gate":"fence","attempt":null,"decision":"approve"}`: {says: "attempt is null"},
		`{"decision":"approve","reason":"the “hot” one"}`:      {verb: approval.Approve},
		`{"decision":"approve","by":"José"}`:                   {verb: approval.Approve},
	} {
		d := approval.Decode([]byte(text))
		if d.Verb != want.verb || (d.Malformed == "") != (want.says == "") || !strings.Contains(d.Malformed, want.says) {
			t.Errorf("%q is %q, malformed %q; want %q, and %q", text, d.Verb, d.Malformed, want.verb, want.says)
		}
		if d.Malformed != "" && (!strings.Contains(d.Malformed, approval.Example) || strings.ContainsRune(d.Malformed, 'â')) {
			t.Errorf("%q: %s; want an example, and no letters that nobody wrote", text, d.Malformed)
		}
	}
}
