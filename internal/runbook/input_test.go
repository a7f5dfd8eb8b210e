package runbook_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/action"
	"breakwater/internal/mistake"
	"breakwater/internal/runbook"
	"breakwater/internal/runbook/load"
	"breakwater/internal/runbook/runbooktest"
	"breakwater/runbooks"
)

// shipped loads a runbook of this release.
func shipped(t *testing.T, name string) *runbook.Runbook {
	t.Helper()
	all, ms := load.FS(runbooks.FS)
	if err := mistake.Error(ms); err != nil {
		t.Fatal(err)
	}
	for _, rb := range all {
		if rb.Name == name {
			return rb
		}
	}
	t.Fatalf("no runbook %s", name)
	return nil
}

func TestParseInput(t *testing.T) {
	rb := shipped(t, "RegionalFailover")
	got, err := runbook.ParseInput(rb, runbooktest.Estate(), json.RawMessage(`{
		"estate": "example", "source": "us-east-1", "target": "us-west-2", "mode": "live", "incident": " INC-2041 ",
		"groups": ["payments", "clickstream", "payments"],
		"outage_start": "2026-11-21T03:00:00Z", "detected_at": "2026-11-21T03:04:05+01:00"}`))
	if err == nil || !strings.Contains(err.Error(), "detected_at 2026-11-21T03:04:05+01:00 is before outage_start") {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = runbook.ParseInput(rb, runbooktest.Estate(), json.RawMessage(`{
		"estate": "example", "source": "us-east-1", "target": "us-west-2", "mode": "live", "incident": " INC-2041 ",
		"groups": ["payments", "clickstream", "payments"], "detected_at": "2026-11-21T03:04:05Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	detected := time.Date(2026, 11, 21, 3, 4, 5, 0, time.UTC)
	want := runbook.Input{
		Estate: "example", Mode: action.ModeLive, Groups: []string{"clickstream", "payments"}, Incident: "INC-2041",
		DetectedAt: &detected, Own: map[string]string{"source": "us-east-1", "target": "us-west-2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, err = runbook.ParseInput(rb, runbooktest.Estate(), json.RawMessage(`{
		"estate": "example", "source": "us-east-1", "target": "us-west-2", "source_dead_since": "2026-11-21T03:04:05Z"}`))
	if err != nil || got.SourceDeadSince == nil || !got.SourceDeadSince.Equal(detected) {
		t.Errorf("dead since %v, %v; want %v", got.SourceDeadSince, err, detected)
	}
	if _, err = runbook.ParseInput(shipped(t, "StorageRewind"), runbooktest.Estate(), json.RawMessage(`{
		"estate": "example", "region": "us-east-1", "bucket": "lake", "at": "2026-11-21T03:00:00Z", "source_dead_since": "2026-11-21T03:04:05Z"}`)); err == nil ||
		!strings.Contains(err.Error(), "StorageRewind has no source") {
		t.Errorf("a runbook without a source takes it: %v", err)
	}
	got, err = runbook.ParseInput(rb, runbooktest.Estate(), runbooktest.Input())
	if err != nil || got.Mode != action.ModePlan {
		t.Errorf("an omitted mode is %q, %v", got.Mode, err)
	}
}

// TestBadInput: each is one sentence that says what to do.
func TestBadInput(t *testing.T) {
	rb, e := shipped(t, "RegionalFailover"), runbooktest.Estate()
	const example = `the input of RegionalFailover must be one flat JSON object such as {"estate":"example","source":"us-east-1","target":"us-west-2"}: `
	for raw, want := range map[string]string{
		`{"estate":"example"`:       example + "unexpected end of JSON input",
		``:                          example + "unexpected end of JSON input",
		`null`:                      example + "found null",
		`["example"]`:               example + "json: cannot unmarshal array into Go value of type map[string]json.RawMessage",
		`{"estate":"example"} {}`:   example + "invalid character '{' after top-level value",
		`{"mode":1,"mode":"live"}`:  example + `"mode" is given twice`,
		`{"target":1,"target":"x"}`: example + `"target" is given twice`,

		`{"source":"us-east-1","target":"us-west-2"}`:                                                 `estate is missing: name the estate, such as "example"`,
		`{"estate":"other","source":"us-east-1","target":"us-west-2"}`:                                `estate is "other", and the estate read is "example"`,
		`{"estate":"example","target":"us-west-2"}`:                                                   `source is missing: The region that is lost or being left.`,
		`{"estate":"example","source":"us-east-2","target":"us-west-2"}`:                              `source "us-east-2" is not a region of estate example: it has us-east-1, us-west-2, eu-west-1; did you mean "us-east-1"?`,
		`{"estate":"example","source":"us-east-1","target":7}`:                                        `target must be a text in quotes, found 7`,
		`{"estate":"example","source":"us-east-1","target":"us-east-1"}`:                              `source and target are both "us-east-1": a region cannot take over from itself`,
		`{"estate":"example","source":"eu-west-1","target":"us-west-2"}`:                              `source "eu-west-1" is the estate's standby, not its primary: going back is the failback runbook`,
		`{"estate":"example","source":"us-east-1","target":"us-west-2","mode":"live"}`:                `mode live needs an incident id, such as incident=INC-2041: it is the record of why this was done`,
		`{"estate":"example","source":"us-east-1","target":"us-west-2","mode":"live","incident":" "}`: `mode live needs an incident id, such as incident=INC-2041: it is the record of why this was done`,
		`{"estate":"example","source":"us-east-1","target":"us-west-2","mode":"LIVE"}`:                `mode "LIVE" is none of plan, drill, live`,
		`{"estate":"example","source":"us-east-1","target":"us-west-2","groups":"payments"}`:          `groups must be a list of texts, found "payments"`,
		`{"estate":"example","source":"us-east-1","target":"us-west-2","groups":["payment"]}`:         `group "payment" is not in estate example: it has payments, clickstream`,
		`{"estate":"example","source":"us-east-1","target":"us-west-2","detected_at":"yesterday"}`:    `detected_at must be a time such as 2026-11-21T03:04:05Z, found "yesterday"`,
		`{"estate":"example","source":"us-east-1","target":"us-west-2","tarhet":"us-west-2"}`:         `RegionalFailover takes no input "tarhet": it takes estate, mode, groups, incident, outage_start, detected_at, source_dead_since, source, target, assume_unchanged, leave_out; did you mean "target"?`,
		`{"estate":"example","source":"us-east-1","target":"us-west-2","Mode":"live"}`:                `RegionalFailover takes no input "Mode": it takes estate, mode, groups, incident, outage_start, detected_at, source_dead_since, source, target, assume_unchanged, leave_out; did you mean "mode"?`,
	} {
		in, err := runbook.ParseInput(rb, e, json.RawMessage(raw))
		if err == nil {
			t.Errorf("%s: accepted as %+v", raw, in)
			continue
		}
		if err.Error() != want {
			t.Errorf("%s\n got %s\nwant %s", raw, err, want)
		}
	}
}

// TestBadInputAtOnce: a person is told everything in one go.
func TestBadInputAtOnce(t *testing.T) {
	_, err := runbook.ParseInput(shipped(t, "RegionalFailover"), runbooktest.Estate(), json.RawMessage(`{"source":"mars","mode":"live","x":1}`))
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Errorf("want five sentences, got:\n%v", err)
	}
}

func TestInputTypes(t *testing.T) {
	e := runbooktest.Estate()
	for _, tc := range []struct {
		kind            runbook.InputType
		raw, want, fail string
	}{
		{runbook.StringInput, `"x y"`, "x y", ""},
		{runbook.StringInput, `7`, "", "n must be a text in quotes, found 7"},
		{runbook.IntegerInput, `7`, "7", ""},
		{runbook.IntegerInput, `7.5`, "", "n must be a whole number, found 7.5"},
		{runbook.IntegerInput, `"7"`, "", `n must be a whole number, found "7"`},
		{runbook.BoolInput, `true`, "true", ""},
		{runbook.BoolInput, `"yes"`, "", `n must be true or false, found "yes"`},
		{runbook.TableInput, `"refunds"`, "refunds", ""},
		{runbook.TableInput, `"refund"`, "", `n "refund" is not a table of estate example: it has clicks, payments, refunds; did you mean "refunds"?`},
		{runbook.GroupInput, `"payments"`, "payments", ""},
		{runbook.GroupInput, `"x"`, "", `n "x" is not a group of estate example: it has clickstream, payments`},
		{runbook.TimeInput, `"2026-11-21T03:04:05Z"`, "2026-11-21T03:04:05Z", ""},
		{runbook.TimeInput, `"3 a.m."`, "", `n must be a time such as 2026-11-21T03:04:05Z, found "3 a.m."`},
		{runbook.DurationInput, `"90s"`, "90s", ""},
		{runbook.DurationInput, `"soon"`, "", `n "soon" is not a duration such as 90s or 4h`},
	} {
		rb := &runbook.Runbook{Name: "Test", Inputs: []runbook.InputDecl{{Name: "n", Type: tc.kind, Help: "A value."}}}
		in, err := runbook.ParseInput(rb, e, json.RawMessage(`{"estate":"example","n":`+tc.raw+`}`))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tc.fail || in.Own["n"] != tc.want {
			t.Errorf("%s %s: %q, %q; want %q, %q", tc.kind, tc.raw, in.Own["n"], got, tc.want, tc.fail)
		}
	}
	rb := &runbook.Runbook{Name: "Test", Inputs: []runbook.InputDecl{{Name: "n", Type: runbook.TableInput, Optional: true}}}
	if in, err := runbook.ParseInput(rb, e, json.RawMessage(`{"estate":"example","n":""}`)); err != nil || len(in.Own) != 0 {
		t.Errorf("an optional input left empty: %+v, %v", in, err)
	}
}
