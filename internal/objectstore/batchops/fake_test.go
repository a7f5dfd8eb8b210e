package batchops_test

import (
	"bytes"
	"crypto/md5"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/batchops"
)

// control is S3 Control as far as batches go. It copies on a MinIO, and writes the
// report there. A batch is New when it is created, then Active, then Complete.
type control struct {
	t      *testing.T
	store  *objectstore.Client
	server *httptest.Server

	// Faults.
	refuse     string // a key on which it fails
	quiet      bool   // the summary does not tell of failures
	drop       string // a key that the report leaves out
	twice      bool   // the report names its first line twice
	foreign    bool   // the report names an object that is not in the manifest
	wrongMD5   bool   // of the result's file
	failures   int64  // added to the number of failures
	fewer      int64  // taken off the total
	noSummary  bool   // no numbers at all
	noReport   bool   // although objects were tried
	elsewhere  bool   // the report is in parts of somebody else's bucket
	schema     string // other columns
	format     string // of the report
	ends       string // how it ends, if not Complete
	untried    bool   // no object is tried
	cut        bool   // the report's file ends in the middle of a row
	loseAnswer bool   // of the first creation
	status     int    // answered to everything

	mu      sync.Mutex
	last    map[string][]byte // of each token, what was asked for
	batches []*batch
}

type batch struct {
	id, token        string
	in               created
	status           string
	total, bad, good int64
}

type created struct {
	ClientRequestToken, RoleArn string
	ConfirmationRequired        bool
	Operation                   struct {
		S3PutObjectCopy struct {
			TargetResource, TargetKeyPrefix, ObjectLockMode, ObjectLockRetainUntilDate, ChecksumAlgorithm string
		}
	}
	Report   struct{ Bucket, Prefix, Format, ReportScope, Enabled string }
	Manifest struct {
		Location struct{ ETag, ObjectArn, ObjectVersionId string }
		Spec     struct {
			Format string
			Fields struct {
				Member []string `xml:"member"`
			}
		}
	}
}

func (f *control) RoundTrip(r *http.Request) (*http.Response, error) {
	if want := "111122223333.s3-control.eu-central-1.amazonaws.com"; r.URL.Host != want || r.URL.Scheme != "https" {
		f.t.Errorf("asked %s://%s; want %s", r.URL.Scheme, r.URL.Host, want)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(f.server.URL, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

func (f *control) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, one := strings.CutPrefix(r.URL.Path, "/v20180820/jobs/")
	switch {
	case f.status != 0:
		refusal(w, f.status, "Refused")
	case r.Method == http.MethodPost && r.URL.Path == "/v20180820/jobs":
		f.create(w, r)
	case r.Method == http.MethodGet && one:
		f.describe(w, r, id)
	default:
		refusal(w, http.StatusNotFound, "NoSuchOperation")
	}
}

func refusal(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse><Error><Code>%s</Code><Message>no</Message></Error></ErrorResponse>`, code)
}

func (f *control) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b := &batch{id: fmt.Sprintf("b%d", len(f.batches)+1), status: "New"}
	if err == nil {
		err = xml.Unmarshal(body, &b.in)
	}
	if err != nil || len(b.in.ClientRequestToken) > 64 || b.in.ClientRequestToken == "" || b.in.ConfirmationRequired {
		refusal(w, http.StatusBadRequest, "BadRequestException")
		return
	}
	for _, old := range f.batches {
		if old.in.ClientRequestToken != b.in.ClientRequestToken {
			continue
		}
		if !bytes.Equal(f.last[b.in.ClientRequestToken], body) {
			refusal(w, http.StatusBadRequest, "IdempotencyException")
			return
		}
		b = old
	}
	if b.token == "" {
		b.token = b.in.ClientRequestToken
		f.batches, f.last[b.token] = append(f.batches, b), body
	}
	if f.loseAnswer {
		f.loseAnswer = false
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil || conn.Close() != nil {
			f.t.Errorf("the answer could not be lost: %v", err)
		}
		return
	}
	fmt.Fprintf(w, `<CreateJobResult><JobId>%s</JobId></CreateJobResult>`, b.id)
}

func (f *control) describe(w http.ResponseWriter, r *http.Request, id string) {
	var b *batch
	for _, have := range f.batches {
		if have.id == id {
			b = have
		}
	}
	if b == nil {
		refusal(w, http.StatusNotFound, "NoSuchJob")
		return
	}
	said := b.status
	switch b.status {
	case "New":
		b.status = "Active"
	case "Active":
		if err := f.run(r, b); err != nil {
			f.t.Errorf("the fake could not run a batch: %v", err)
		}
		if b.status = "Complete"; f.ends != "" {
			b.status = f.ends
		}
	}
	summary := fmt.Sprintf(`<ProgressSummary><TotalNumberOfTasks>%d</TotalNumberOfTasks><NumberOfTasksSucceeded>%d</NumberOfTasksSucceeded><NumberOfTasksFailed>%d</NumberOfTasksFailed></ProgressSummary>`, b.total, b.good, b.bad)
	if f.noSummary {
		summary = ""
	}
	var why string
	if said == "Failed" {
		why = `<FailureReasons><member><FailureCode>ManifestNotFound</FailureCode><FailureReason>it is gone</FailureReason></member></FailureReasons>`
	}
	fmt.Fprintf(w, `<DescribeJobResult><Job><JobId>%s</JobId><Status>%s</Status>%s%s</Job></DescribeJobResult>`, id, said, summary, why)
}

func (f *control) run(r *http.Request, b *batch) error {
	if f.untried {
		return nil
	}
	ctx, arn := r.Context(), "arn:aws:s3:::"
	at := b.in.Manifest.Location
	bucket, key, _ := strings.Cut(strings.TrimPrefix(at.ObjectArn, arn), "/")
	data, o, err := f.store.GetVersion(ctx, bucket, key, at.ObjectVersionId)
	if err != nil {
		return err
	}
	op := b.in.Operation.S3PutObjectCopy
	if spec := b.in.Manifest.Spec; o.ETag != at.ETag || spec.Format != "S3BatchOperations_CSV_20180820" || strings.Join(spec.Fields.Member, " ") != "Bucket Key VersionId" ||
		op.ChecksumAlgorithm != "SHA256" || b.in.Report.ReportScope != "AllTasks" || b.in.Report.Enabled != "true" {
		return fmt.Errorf("it was asked for %+v", b.in)
	}
	target := strings.TrimPrefix(op.TargetResource, arn)
	var file bytes.Buffer
	out := csv.NewWriter(&file)
	for line := range strings.Lines(string(data)) {
		row := strings.Split(strings.TrimSuffix(line, "\n"), ",")
		for l, err := range batchops.ReadManifest(strings.NewReader(line)) {
			if err != nil {
				return err
			}
			b.total++
			said := []string{"succeeded", "", "200", "Successful"}
			if l.Key == f.refuse {
				said = []string{"failed", "AccessDenied", "403", `no "access"`}
				if !f.quiet {
					b.bad++
				}
			} else {
				to := op.TargetKeyPrefix + "/" + l.Key
				o, err := f.store.Copy(ctx, objectstore.Source{Bucket: l.Bucket, Key: l.Key, VersionID: l.VersionID}, target, to)
				if err == nil && op.ObjectLockMode != "" {
					var until time.Time
					if until, err = time.Parse(time.RFC3339, op.ObjectLockRetainUntilDate); err == nil {
						err = f.store.Hold(ctx, target, to, o.VersionID, objectstore.Hold{Mode: objectstore.LockMode(op.ObjectLockMode), Until: until})
					}
				}
				if err != nil {
					return err
				}
			}
			if l.Key == f.drop {
				continue
			}
			n := 1
			if f.twice && b.total == 1 {
				n = 2
			}
			for range n {
				if err := out.Write(append(row, said...)); err != nil {
					return err
				}
			}
		}
	}
	if f.foreign {
		if err := out.Write([]string{"lake", "somebody-elses", "v1", "succeeded", "", "200", ""}); err != nil {
			return err
		}
	}
	b.good = b.total - b.bad
	if f.quiet {
		b.good = b.total
	}
	b.bad += f.failures
	b.total -= f.fewer
	b.good -= f.fewer
	if out.Flush(); f.noReport {
		return out.Error()
	}
	return f.report(r, b, file.Bytes())
}

func (f *control) report(r *http.Request, b *batch, file []byte) error {
	bucket, under := strings.TrimPrefix(b.in.Report.Bucket, "arn:aws:s3:::"), b.in.Report.Prefix+"/job-"+b.id
	if f.cut {
		file = file[:len(file)-5]
	}
	sum := md5.Sum(file)
	if f.wrongMD5 {
		sum[0]++
	}
	in := map[string]any{
		"Format": "Report_CSV_20180820", "ReportCreationDate": "2026-11-21T12:00:00.000Z",
		"ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage",
	}
	if f.format != "" {
		in["Format"] = f.format
	}
	if f.schema != "" {
		in["ReportSchema"] = f.schema
	}
	part := map[string]string{"TaskExecutionStatus": "succeeded", "Bucket": bucket, "Key": under + "/results/1.csv", "MD5Checksum": hex.EncodeToString(sum[:])}
	if _, err := f.store.Put(r.Context(), bucket, part["Key"], file); err != nil {
		return err
	}
	if f.elsewhere {
		part["Bucket"] = "somebody-elses"
	}
	in["Results"] = []any{part}
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, err = f.store.Put(r.Context(), bucket, under+"/manifest.json", data)
	return err
}
