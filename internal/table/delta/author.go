package delta

import (
	"maps"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"breakwater/internal/strictjson"
	"breakwater/internal/table"
)

// ownWords are the fields of commitInfo whose text says what was done or how, and not
// by whom. delta-rs puts what its callers give it beside them, under any name.
var ownWords = map[string]bool{
	"operation": true, "isolationLevel": true, "engineInfo": true, "clientVersion": true, "txnId": true, "readVersion": true, "timestamp": true,
	"inCommitTimestamp": true, "isBlindAppend": true, "userName": true, "userId": true, "version": true,
	"operationParameters": true, "operationMetrics": true, "tags": true, "job": true, "notebook": true,
}

// AuthorOf reads by whom a commit is, from its commitInfo and its txn actions. What
// Databricks writes (userName, userId, job, notebook, clusterId), what Spark takes from its
// caller (userMetadata), and any text that delta-rs was given all count.
func AuthorOf(c table.Commit) table.Author {
	var a table.Author
	add := func(to *[]string, all ...string) {
		for _, s := range all {
			if s = strings.TrimSpace(s); s != "" && !slices.Contains(*to, s) {
				*to = append(*to, s)
			}
		}
	}
	fields := texts(c.Info)
	add(&a.Users, fields["userName"]...)
	add(&a.Users, fields["userId"]...)
	add(&a.Runs, fields["job.jobRunId"]...)
	add(&a.Runs, fields["job.runId"]...)
	for _, name := range []string{"job.jobId", "job.jobName", "notebook.notebookId", "clusterId"} {
		add(&a.Jobs, fields[name]...)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if field, _, _ := strings.Cut(name, "."); !ownWords[field] || name == "job" || name == "notebook" {
			add(&a.Jobs, fields[name]...)
		}
	}
	add(&a.Jobs, c.Apps...)
	a.Engine = strings.Join(fields["engineInfo"], "")
	return a
}

// texts are the texts and numbers of an object and of the objects in it, by their names
// with a dot between.
func texts(raw []byte) map[string][]string {
	all := map[string][]string{}
	var fields map[string]jsontext.Value
	if jsonv2.Unmarshal(raw, &fields, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) != nil {
		return all // free-form by the protocol
	}
	for name, v := range fields {
		switch v.Kind() {
		case '"':
			var s string
			if strictjson.Unmarshal(v, &s) == nil {
				all[name] = []string{s}
			}
		case '0': // ids are numbers for some writers
			all[name] = []string{v.String()}
		case '{':
			for inner, texts := range texts(v) {
				all[name+"."+inner] = texts
			}
		}
	}
	return all
}
