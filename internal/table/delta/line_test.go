package delta

import (
	"fmt"
	"strings"
	"testing"
)

// A line has one action, by its exact name. What is there and null is not there, and
// what is not clear is refused by name: an action that is lost in silence is a wrong
// table.
func TestLines(t *testing.T) {
	for line, want := range map[string]string{
		`{"add":{"path":"f"}}`:                                `add {"path":"f"}`,
		`  {"add": {"path":"f"} }  `:                          `add {"path":"f"}`,
		`{"commitInfo":null,"add":{"path":"f"}}`:              `add {"path":"f"}`,
		`{"add":{"path":"f"},"remove":null,"protocol":null}`:  `add {"path":"f"}`,
		`{"commitInfo":[1]}`:                                  `commitInfo [1]`,
		`{"commitInfo":"a\ud800"}`:                            `commitInfo "a\ud800"`,
		`{"commitInfo":{"a":1,"a":2}}`:                        `commitInfo {"a":1,"a":2}`,
		`{"someday":{"a":1}}`:                                 `someday {"a":1}`,
		`{"someday":{"a":1},"add":{"path":"f"}}`:              `someday {"a":1} add {"path":"f"}`,
		`{"add":null,"remove":null}`:                          ``,
		`{}`:                                                  ``,
		`{"add":{"path":"f"},"remove":{"path":"g"}}`:          `error holds both add and remove`,
		`{"commitInfo":{},"protocol":{"minReaderVersion":3}}`: `error holds both commitInfo and protocol`,
		`{"add":{"path":"f"},"add":{"path":"g"}}`:             `error names add twice`,
		`{"ADD":{"path":"f"}}`:                                `error names an action "ADD"`,
		`{"metadata":{"id":"a"}}`:                             `error names an action "metadata"`,
		`[1]`:                                                 `error is not an object`,
		`{"add":{"path":"f"}} {}`:                             `error goes on after its object`,
		`{"add":{"path":"f"}`:                                 `error is not an object`,
		`{"add":{"path":`:                                     `error is not JSON`,
		"\xef\xbb\xbf{}":                                      `error is not an object`,
	} {
		var got []string
		all, err := members([]byte(strings.TrimSpace(line)))
		for _, m := range all {
			got = append(got, m.kind+" "+string(m.body))
		}
		if err != nil {
			got = []string{"error " + err.Error()}
		}
		if text := strings.Join(got, " "); text != want && (err == nil || !strings.HasPrefix(text, want)) {
			t.Errorf("%s: %q, want %q", line, text, want)
		}
	}
}

// The two who read lines read the same of them: an action that one of them takes, the
// other one hands on.
func FuzzLines(f *testing.F) {
	for _, line := range []string{`{"add":{"path":"f"}}`, `{"commitInfo":null,"protocol":{"minReaderVersion":1}}`, `{"add":{},"remove":{}}`, `{"x":1}`, `{"Add":{}}`, `{"add":5}`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		acts, err := parseActions(fuzzRoot, "k", body)
		if err != nil {
			return
		}
		kinds := map[string]int{}
		for a, err := range lineActions(1, "k", body) {
			if err != nil {
				t.Fatalf("parsed, and refused line by line: %v", err)
			}
			kinds[a.Kind]++
		}
		got := fmt.Sprint(kinds["add"], kinds["remove"], kinds["txn"], kinds["protocol"] > 0, kinds["metaData"] > 0, kinds["commitInfo"] > 0)
		if want := fmt.Sprint(len(acts.adds), len(acts.removes), len(acts.txns), acts.protocol != nil, acts.metadata != nil, acts.rawInfo != nil); got != want {
			t.Errorf("parsed %s, handed on %s", want, got)
		}
	})
}

// Names count with their case: what engines take for a field that they do not know must
// not be read here, and what they need must not be missed.
func TestNamesHaveCase(t *testing.T) {
	for line, want := range map[string]string{
		`{"add":{"path":"f","size":1,"dataChange":true,"stats":"{\"NUMRECORDS\":7}"}}`:      "rows -1; the statistics of f name NUMRECORDS instead of numRecords, and are left out",
		`{"add":{"path":"f","size":1,"dataChange":true,"stats":"{\"numRecords\":7}"}}`:      "rows 7;",
		`{"add":{"path":"f","size":1,"dataChange":true,"stats":"{\"numRecords\":-7}"}}`:     "rows -1; the statistics of f say that numRecords is -7, and are left out",
		`{"add":{"path":"f","size":1,"dataChange":true,"stats":"{\"numRecords\":7.5}"}}`:    "rows -1; the statistics of f say that numRecords is 7.5, and are left out",
		`{"add":{"path":"f","size":1,"dataChange":true,"stats":"{\"minValues\""}}`:          "rows -1; the statistics of f are no JSON object, and are left out",
		`{"add":{"path":"f","size":1,"dataChange":true,"stats":{"numRecords":7}}}`:          "rows -1; the statistics of f are no text, and are left out",
		`{"add":{"path":"f","size":1,"dataChange":true,"stats":null}}`:                      "rows -1;",
		`{"add":{"path":"f","size":1,"dataChange":true,"stats":""}}`:                        "rows -1;",
		`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerfeatures":["new"]}}`: `error k: line 1: protocol: names a field "readerfeatures"`,
		`{"metaData":{"id":"x","PartitionColumns":["p"]}}`:                                  `error k: line 1: metaData: names a field "PartitionColumns"`,
		`{"add":{"path":"f","path":"g","size":1,"dataChange":true}}`:                        `error k: line 1: add: `,
	} {
		acts, err := parseActions(fuzzRoot, "k", []byte(line))
		got := ""
		switch {
		case err != nil:
			got = "error " + strings.TrimPrefix(err.Error(), ErrCorrupt.Error()+": ")
		case len(acts.adds) == 1:
			got = fmt.Sprintf("rows %d; %s", acts.adds[0].Records, strings.Join(acts.odd, "; "))
		}
		if strings.TrimSpace(got) != want && (err == nil || !strings.HasPrefix(got, want)) {
			t.Errorf("%s\n got %q\nwant %q", line, got, want)
		}
	}
}

// What a commit says of itself is free: whatever it is, the commit counts.
func TestOddCommitInfo(t *testing.T) {
	for info, want := range map[string]string{
		`{"timestamp":5,"operation":"WRITE"}`: `5 "WRITE" `,
		`{"timestamp":null}`:                  `none "" `,
		`{}`:                                  `none "" `,
		`{"timestamp":"2026-11-01T00:00:00Z","operation":"WRITE"}`: `none "WRITE" the timestamp of its commitInfo is no whole number of milliseconds: "2026-11-01T00:00:00Z"`,
		`{"timestamp":1.5}`:                    `none "" the timestamp of its commitInfo is no whole number of milliseconds: 1.5`,
		`{"timestamp":99999999999999999999}`:   `none "" the timestamp of its commitInfo is no whole number of milliseconds: 99999999999999999999`,
		`{"timestamp":5,"operation":{"a":1}}`:  `5 "" the operation of its commitInfo is no text`,
		`[1]`:                                  `none "" its commitInfo is no object`,
		`"a text"`:                             `none "" its commitInfo is no object`,
		`7`:                                    `none "" its commitInfo is no object`,
		`{"timestamp":5,"timestamp":6}`:        `6 "" `,
		`{"timestamp":5,"user":"a\ud800b"}`:    `5 "" `,
		`{"Timestamp":5}`:                      `none "" `,
		`{"timestamp":-1,"operation":"RESTO"}`: `-1 "RESTO" `,
	} {
		acts, err := parseActions(fuzzRoot, "k", []byte(`{"commitInfo":`+info+`}`))
		if err != nil {
			t.Errorf("%s: %v", info, err)
			continue
		}
		stamp := "none"
		if acts.info.Timestamp != nil {
			stamp = fmt.Sprint(*acts.info.Timestamp)
		}
		if got := fmt.Sprintf("%s %q %s", stamp, acts.info.Operation, strings.Join(acts.odd, "; ")); got != want {
			t.Errorf("%s:\n got %s\nwant %s", info, got, want)
		}
	}
}
