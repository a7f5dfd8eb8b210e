package load_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/estate/load"
	"breakwater/internal/mistake"
	runbookload "breakwater/internal/runbook/load"
	"breakwater/internal/runbook/runbooktest"
	"breakwater/runbooks"
)

func good(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func read(t *testing.T, path string) *estate.Estate {
	t.Helper()
	e, ms := load.File(path)
	if err := mistake.Error(ms); err != nil {
		t.Fatal(err)
	}
	return e
}

func digest(t *testing.T, e *estate.Estate) string {
	t.Helper()
	d, err := e.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestGood(t *testing.T) {
	e := read(t, "testdata/good.yaml")
	table, group, ok := e.Table("payments")
	if !ok || group.Group != "payments" || table.PeakRows != 500 || table.Path != "tables/payments" {
		t.Errorf("table payments: %+v in %+v", table, group)
	}
	if tier, ok := e.Tier(2); !ok || tier.RTO.Std() != 4*time.Hour {
		t.Errorf("tier 2: %+v", tier)
	}
	west, ok := e.Region("us-west-2")
	if !ok || west.Connect == nil || !west.Connect.PolicyIdentity || len(west.Connect.Connectors()) != 4 {
		t.Errorf("us-west-2: %+v", west)
	}
	if got := e.Groups[0].Routing.Values["us-west-2"]["bootstrap"]; got != "kafka-1.west.example.org:9092" {
		t.Errorf("routing: %q", got)
	}
	if _, ms := runbookload.Lint(runbooks.FS, runbooktest.Catalogue(), e); len(ms) > 0 {
		t.Errorf("the shipped runbooks do not suit the example:\n%v", mistake.Error(ms))
	}
}

// TestDigest: layout and comments do not count, content does.
func TestDigest(t *testing.T) {
	data := good(t)
	want := digest(t, read(t, "testdata/good.yaml"))
	relaid := strings.ReplaceAll(string(data), "\n  - group: clickstream", "\n  # a note\n\n  - group:   'clickstream'   # another")
	e, ms := load.Bytes([]byte(relaid), "f")
	if err := mistake.Error(ms); err != nil {
		t.Fatal(err)
	}
	if got := digest(t, e); got != want {
		t.Errorf("a comment changed the digest: %s, was %s", got, want)
	}
	e, ms = load.Bytes(bytes.ReplaceAll(data, []byte("rto: 15m"), []byte("rto: 16m")), "f")
	if err := mistake.Error(ms); err != nil {
		t.Fatal(err)
	}
	if digest(t, e) == want {
		t.Error("another objective has the same digest")
	}
}

// TestFolder: an estate in several files is the one in a single file.
func TestFolder(t *testing.T) {
	all := string(good(t))
	at := strings.Index(all, "\n  - group: clickstream")
	dir := filepath.Join(t.TempDir(), "estate [lab]*")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("10-all.yaml", all[:at]+"\n")
	write("20-clickstream.yaml", "groups:\n"+all[at+1:])
	write("notes.txt", "not: [yaml")
	if got, want := digest(t, read(t, dir)), digest(t, read(t, "testdata/good.yaml")); got != want {
		t.Errorf("the folder has digest %s, the file %s", got, want)
	}

	write("20-clickstream.yaml", "estate: other\ngroups:\n"+strings.ReplaceAll(all[at+1:], "table: clicks", "table: refunds"))
	_, ms := load.File(dir)
	if len(ms) != 2 {
		t.Fatalf("%v", mistake.Error(ms))
	}
	for i, want := range []string{
		`20-clickstream.yaml:1:1: key "estate" is given twice: it stands at `,
		`20-clickstream.yaml:7:17: table "refunds" is declared twice: it stands at `,
	} {
		if got := ms[i].Error(); !strings.Contains(got, want) || !strings.Contains(got, "10-all.yaml:") {
			t.Errorf("got %s, want %s…", got, want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	empty := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(empty, "none.yaml"): "no such file or directory",
		empty:                             "the folder holds no *.yaml file",
	} {
		e, ms := load.File(path)
		if e != nil || len(ms) != 1 || !strings.Contains(ms[0].Error(), want) || !strings.HasPrefix(ms[0].Error(), path+":1:1: ") {
			t.Errorf("%s: %v, %v", path, e, ms)
		}
	}
}

// TestSecretIsNotShown: what was pasted where a reference belongs stays off the
// screen, the log and the history.
func TestSecretIsNotShown(t *testing.T) {
	for _, secret := range []string{"wJalrXUtnFEMIK7MDENG", "pass:wJalrXUtnFEMIK7MDENG", "vault:wJalrXUtnFEMIK7MDENG"} {
		data := bytes.ReplaceAll(good(t), []byte("credentials: env:WEST_S3\n"), []byte("credentials: "+secret+"\n"))
		_, ms := load.Bytes(data, "f")
		if len(ms) != 1 || strings.Contains(ms[0].Error(), "wJalr") {
			t.Errorf("%v", mistake.Error(ms))
		}
	}
}

// TestSeveralMistakesAtOnce: all of them, in file order.
func TestSeveralMistakesAtOnce(t *testing.T) {
	text := string(good(t))
	for old, slip := range map[string]string{"provider: minio": "provider: mino", "rto: 4h, ": "", "owner: data-owner": "owner: nobody", "format: delta": "format: hudi"} {
		text = strings.ReplaceAll(text, old, slip)
	}
	_, ms := load.Bytes([]byte(text), "f")
	var lines []int
	for _, m := range ms {
		lines = append(lines, m.At.Line)
	}
	if len(ms) != 6 {
		t.Errorf("%d mistakes in lines %v:\n%v", len(ms), lines, mistake.Error(ms))
	}
}

// TestOtherPlaces: the same rules hold wherever a part of their kind stands.
func TestOtherPlaces(t *testing.T) {
	for _, tc := range []struct{ old, slip, want string }{
		{"address: https://vault.west.example.org:8200", "address: vault.west:8200", `address "vault.west:8200" must be a URL such as https://host:port`},
		{"endpoint: http://minio.west.example.org:9000", "endpoint: minio:9000", `endpoint "minio:9000" must be a URL such as https://host:port`},
		{"endpoint: https://s3.eu-central-1.amazonaws.com", "endpoint: s3", `endpoint "s3" must be a URL such as https://host:port`},
		{"in: {us-east-1: acme-raw-east, us-west-2: acme-raw-west}", "in: {us-east-1: acme-raw-east}", `bucket "raw" has nothing for region "us-west-2": failover and failback need both sides`},
		{"us-west-2: settle-west}", "us-west-2: settle-west, us-west-3: x}", `region "us-west-3" is not in the estate: it has us-east-1, us-west-2; did you mean "us-west-2"?`},
		{"        us-east-1: {region: us-east-1, bootstrap: 'kafka-1.east.example.org:9092'}\n", "", `routing of group "payments" has nothing for region "us-east-1": failover and failback need both sides`},
		{"path: tables/refunds", "path: tables/../refunds", `path "tables/../refunds" must be a prefix without slashes at its ends, empty parts, . or ..`},
		{"credentials: env:LEDGER_S3", "credentials: vault:secret", `credential "vault:…" must be vault:mount/path#field, env:NAME or file:path`},
		{"{region: us-west-2, name: spark, credentials: env:WEST_SPARK}", "{region: us-west-2, name: spark, credentials: env:WEST SPARK}", `credential "env:…" must be vault:mount/path#field, env:NAME or file:path`},
	} {
		text := strings.Replace(string(good(t)), tc.old, tc.slip, 1)
		_, ms := load.Bytes([]byte(text), "f")
		if len(ms) != 1 || ms[0].Text != tc.want {
			t.Errorf("%s\n got %v\nwant %s", tc.slip, mistake.Error(ms), tc.want)
		}
	}
}

// TestManyNames: a list that nobody reads is not printed.
func TestManyNames(t *testing.T) {
	for n, want := range map[int]string{
		100:  `topic "payment.events" is not in the estate; did you mean "payments.events"?`,
		5000: `topic "payment.events" is not in the estate`,
	} {
		b := &strings.Builder{}
		b.WriteString(strings.Replace(string(good(t)), "topics: [payments.events]", "topics: [payment.events]", 1))
		for i := range n {
			fmt.Fprintf(b, "      - {topic: more-%d}\n", i)
		}
		_, ms := load.Bytes([]byte(b.String()), "f")
		if len(ms) != 1 || ms[0].Text != want {
			t.Errorf("%d topics: got %v, want %s", n, mistake.Error(ms), want)
		}
	}
}
