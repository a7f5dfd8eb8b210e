package lineage_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/estate"
	"breakwater/internal/estate/load"
	"breakwater/internal/lineage"
	"breakwater/internal/mistake"
)

func example(t testing.TB) *estate.Estate {
	t.Helper()
	e, ms := load.File("../estate/load/testdata/every.yaml")
	if err := mistake.Error(ms); err != nil {
		t.Fatal(err)
	}
	return e
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func table(name string) lineage.Node { return lineage.Node{Kind: estate.TableKind, Name: name} }
func topic(name string) lineage.Node { return lineage.Node{Kind: estate.TopicKind, Name: name} }

func TestReadEvents(t *testing.T) {
	all, err := lineage.ReadEvents(file(t, "spark.jsonl"))
	if err != nil || len(all) != 3 {
		t.Fatalf("%d events, %v; want those of a run and of a job, and the dataset's passed over", len(all), err)
	}
	start, complete, static := all[0], all[1], all[2]
	if want := time.Date(2026, 11, 1, 1, 0, 0, 1e6, time.UTC); start.Type != "START" || !start.Time.Equal(want) || start.Inputs[0].Version != "7" || start.Inputs[0].Also[0].Name != "db.payments" {
		t.Errorf("START is %+v", start)
	}
	var inputs []string
	for _, d := range complete.Inputs {
		inputs = append(inputs, d.Name.String())
	}
	if diff := cmp.Diff([]string{"kafka://kafka-1.east.example.org:9092/payments.events", "s3://acme-lake-east/tables/payments"}, inputs); diff != "" {
		t.Errorf("inputs that column lineage alone names: %s", diff)
	}
	if static.RunID != "" || static.Job.String() != "dbt/marts.daily" {
		t.Errorf("the job's event is %+v", static)
	}
}

func TestReadEventsSaysWhatItCouldNotRead(t *testing.T) {
	const good = `{"eventType":"START","eventTime":"2026-11-01T02:00:00Z","run":{"runId":"r"},"job":{"namespace":"n","name":"j"}}`
	for text, want := range map[string]struct {
		n   int
		err string
	}{
		"":                                     {0, ""},
		good:                                   {1, ""},
		good + good:                            {2, ""},
		"[" + good + "," + good + "]\n" + good: {3, ""},
		good + "\n{\"eventType\"":              {1, "from event 2 on: it is not JSON"},
		good + "\nnot json\n" + good:           {1, "from event 2 on: it is not JSON"},
		"7":                                    {0, "event 1: it is a number, which does not belong there"},
		"[7," + good + ",8]":                   {1, "event 1: it is a number, which does not belong there; and 1 more"},
		`{}`:                                   {0, "event 1: it names no job"},
		strings.Replace(good, `"r"`, `""`, 1):  {0, "event 1: its run has no runId"},
		strings.Replace(good, `"j"`, `7`, 1):   {0, "event 1: /job/name is a number, which does not belong there"},
		strings.Replace(good, `00Z`, `00`, 1):  {0, `event 1: its eventTime "2026-11-01T02:00:00" is no time with a zone`},
		strings.Replace(good, `"j"}`, `"j"},"inputs":{}`, 1):  {0, "event 1: /inputs is an object, which does not belong there"},
		strings.Replace(good, `"j"}`, `"j"},"facets":[7]`, 1): {1, ""}, // of what is not read
	} {
		all, err := lineage.ReadEvents([]byte(text))
		if len(all) != want.n || (err == nil) != (want.err == "") || err != nil && !strings.HasPrefix(err.Error(), want.err) {
			t.Errorf("%s: %d events, %v; want %d, %q", text, len(all), err, want.n, want.err)
		}
	}
}

func TestPlaces(t *testing.T) {
	p := lineage.PlacesOf(example(t))
	for at, want := range map[[2]string]lineage.Node{
		{"s3://acme-lake-east", "tables/payments"}:                        table("payments"),
		{"s3a://acme-lake-west", "/tables/payments/"}:                     table("payments"), // the standby's copy
		{"s3://acme-lake-east/", "tables/payments/dt=2026-11-01"}:         table("payments"), // a part of it
		{"", "s3n://acme-lake-east/tables/refunds"}:                       table("refunds"),
		{"s3", "s3://acme-lake-east/tables/refunds"}:                      table("refunds"),
		{"s3://acme-lake-east", "tables/payments_old"}:                    {},
		{"s3://acme-lake-east", "tables"}:                                 {},
		{"s3://acme-lake-east", ""}:                                       {},
		{"file", "/tables/payments"}:                                      {},
		{"kafka://Kafka-1.east.example.org:9092", "payments.events"}:      topic("payments.events"),
		{"kafka://kafka-1.west.example.org:9092", "payments.events"}:      topic("payments.events"),
		{"kafka://kafka-1.elsewhere.example.org:9092", "payments.events"}: {},
		{"", ""}: {},
	} {
		if got, ok := p.At(at[0], at[1]); got != want || ok != (want != lineage.Node{}) {
			t.Errorf("%q: %v, %t; want %v", at, got, ok, want)
		}
	}
}

func TestMentions(t *testing.T) {
	e := example(t)
	named := func(name string) (lineage.Node, bool) {
		_, _, ok := e.Table(name)
		return table(name), ok
	}
	v := func(n int64) *int64 { return &n }
	for words, want := range map[string][]lineage.Mention{
		`{"operation":"CLONE","readVersion":-1,"operationParameters":{"source":"delta.` + "`s3a://acme-lake-east/tables/payments`" + `","sourceVersion":7,"isShallow":true}}`:  {{table("payments"), v(7)}},
		`{"operation":"CLONE","operationParameters":{"source":"spark_catalog.db.payments","sourceVersion":"7"}}`:                                                               {{table("payments"), v(7)}},
		`{"readVersion":7,"operation":"WRITE","operationParameters":{"path":"s3://acme-lake-east/tables/payments"}}`:                                                           {{table("payments"), nil}}, // readVersion is its own
		`{"userMetadata":"{\"inputs\":[{\"table\":\"s3://acme-lake-east/tables/payments\",\"version\":4},{\"table\":\"s3://acme-lake-east/tables/refunds\",\"version\":9}]}"}`: {{table("payments"), v(4)}, {table("refunds"), v(9)}},
		`{"userMetadata":"read from=s3://acme-lake-west/tables/payments, and more"}`:                                                                                           {{table("payments"), nil}},
		`{"operationParameters":{"predicate":"payments"},"engineInfo":"payments"}`:                                                                                             nil, // a name alone means nothing
		`{"sourceMetadata":{"sourceTable":"refunds","versionAsOf":3}}`:                                                                                                         {{table("refunds"), v(3)}},
		`not json`: nil, `7`: nil, ``: nil,
	} {
		if diff := cmp.Diff(want, lineage.Mentions([]byte(words), lineage.PlacesOf(e), named)); diff != "" {
			t.Errorf("%s: %s", words, diff)
		}
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add(file(f, "spark.jsonl"))
	f.Add([]byte(`[{"eventTime":"2026-11-01T02:00:00Z","job":{"name":"j"}},{}]{"dataset":1}`))
	e := example(f)
	places := lineage.PlacesOf(e)
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _ := lineage.ReadEvents(data)
		g := &lineage.Graph{}
		g.Runs(all, places, nil)
		for _, e := range all {
			if e.Job.Name == "" || e.Time.IsZero() && !strings.Contains(string(data), "0001-01-01") {
				t.Errorf("an event without a job or a time: %+v", e)
			}
		}
		for _, r := range g.Reach(map[lineage.Node]lineage.Held{table("payments"): {}}, func(_ lineage.Node, since time.Time) (lineage.Held, bool) {
			return lineage.Held{Since: since}, true
		}) {
			if len(r.By) == 0 || r.Name == "" && r.Kind == lineage.JobKind {
				t.Errorf("%+v was reached, and nothing says by what", r)
			}
		}
		lineage.Mentions(data, places, func(string) (lineage.Node, bool) { return lineage.Node{}, false })
	})
}
