package delta

import (
	"encoding/json"
	"testing"

	"breakwater/internal/table"

	"github.com/google/go-cmp/cmp"
)

func TestAuthorOf(t *testing.T) {
	for name, tc := range map[string]struct {
		info string
		apps []string
		want table.Author
	}{
		"Databricks": {`{"timestamp":1,"userId":"7712","userName":"erin@example.org","operation":"MERGE","operationParameters":{"predicate":"x"},
			"job":{"jobId":"881","jobName":"nightly","runId":"90017","jobOwnerId":"7712","triggerType":"periodic"},"notebook":{"notebookId":"431"},
			"clusterId":"1120-0912","readVersion":4,"isolationLevel":"WriteSerializable","engineInfo":"Databricks-Runtime/17.1","txnId":"a-b"}`, nil,
			table.Author{Users: []string{"erin@example.org", "7712"}, Runs: []string{"90017"}, Jobs: []string{"881", "nightly", "431", "1120-0912"}, Engine: "Databricks-Runtime/17.1"}},
		"numbers as ids": {`{"job":{"jobId":881,"jobRunId":12}}`, nil, table.Author{Runs: []string{"12"}, Jobs: []string{"881"}}},
		"Spark": {`{"timestamp":1795238071698,"operation":"WRITE","operationParameters":{"mode":"Append"},"isolationLevel":"Serializable","isBlindAppend":true,
			"operationMetrics":{"numFiles":"12"},"engineInfo":"Apache-Spark/4.1.4 Delta-Lake/4.4.0","txnId":"a578e4ee","userMetadata":"load 7"}`, []string{"stream-1", "stream-1"},
			table.Author{Jobs: []string{"load 7", "stream-1"}, Engine: "Apache-Spark/4.1.4 Delta-Lake/4.4.0"}},
		"delta-rs": {`{"timestamp":1,"operation":"DELETE","operationParameters":{"predicate":"id % 7 = 0"},"readVersion":2,"engineInfo":"delta-rs:py-1.6.6",
			"operationMetrics":{"num_added_files":3},"clientVersion":"delta-rs.py-1.6.6","userName":"bob","airflow_run":"manual__2026-11-01","pipeline":"orders","app":{"name":"loader"}}`, nil,
			table.Author{Users: []string{"bob"}, Jobs: []string{"manual__2026-11-01", "loader", "orders"}, Engine: "delta-rs:py-1.6.6"}},
		"nothing":   {``, nil, table.Author{}},
		"no object": {`"erin"`, nil, table.Author{}},
		"odd kinds": {`{"userName":{"a":1},"job":"nightly","userId":null,"clusterId":[1]}`, nil, table.Author{Jobs: []string{"nightly"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tc.want, AuthorOf(table.Commit{Info: json.RawMessage(tc.info), Apps: tc.apps})); d != "" {
				t.Error(d)
			}
		})
	}
}
