// Package batchtest is S3 Control as far as batches go, for tests: a fake that
// answers as AWS documents it, copies on the stores of the test, and writes its
// report there. It can lie and fail in the ways in which batches do.
package batchtest

import (
	"bytes"
	"context"
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
	"breakwater/internal/objectstore/batch"
	"breakwater/internal/objectstore/s3"
)

// Account and Role are whose batches a [Control] runs.
const (
	Account = "111122223333"
	Role    = "arn:aws:iam::" + Account + ":role/batch"
)

// Control is a fake of S3 Control. A batch is New when it is created, then Active,
// then Complete, a state further each time that it is asked about; it copies when it
// is asked about while Active. As a transport it takes the place of the network.
type Control struct {
	Faults
	From   *s3.Client // where the objects are
	To     *s3.Client // where copies, manifests and reports are
	Region string     // in which it must be asked

	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex
	last    map[string][]byte // of each token, what was asked for
	batches []*job
}

// Faults are what goes wrong. None does in the zero value.
type Faults struct {
	Refuse     string // a key on which it fails
	Quiet      bool   // the summary does not tell of failures
	Drop       string // a key that the report leaves out
	Twice      bool   // the report names its first line twice
	Foreign    bool   // the report names an object that is not in the manifest
	WrongMD5   bool   // of the result's file
	Failures   int64  // added to the number of failures
	Fewer      int64  // taken off the total
	NoSummary  bool   // no numbers at all
	NoReport   bool   // although objects were tried
	Elsewhere  bool   // the report is in parts of somebody else's bucket
	Schema     string // other columns
	Format     string // of the report
	Ends       string // how it ends, if not Complete
	Untried    bool   // no object is tried
	Cut        bool   // the report's file ends in the middle of a row
	LoseAnswer bool   // of the first creation
	Status     int    // answered to everything
	Lose       string // a key that is reported as copied, and is not
	Alter      string // a key whose copy has other bytes of the same length
	Unheld     string // a key whose copy is not locked
	Unsummed   bool   // the store keeps no checksum of a copy
}

type job struct {
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

// New starts a fake, which the test's end stops.
func New(t testing.TB, from, to *s3.Client, region string) *Control {
	f := &Control{t: t, From: from, To: to, Region: region, last: map[string][]byte{}}
	f.server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.server.Close)
	return f
}

// Stop lets it answer no more.
func (f *Control) Stop() { f.server.Close() }

// Created is how many batches there are.
func (f *Control) Created() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.batches)
}

// Finished adds a batch of the id that has copied so many lines, with an empty
// report in that place.
func (f *Control) Finished(r *http.Request, id string, lines int64, report batch.Place) error {
	b := &job{id: id, status: "Complete", total: lines, good: lines}
	b.in.Report.Bucket, b.in.Report.Prefix = arn+report.Bucket, report.Prefix
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, b)
	return f.report(r, b, nil)
}

const arn = "arn:aws:s3:::"

// RoundTrip sends a request to the fake, wherever it was to go.
func (f *Control) RoundTrip(r *http.Request) (*http.Response, error) {
	if want := Account + ".s3-control." + f.Region + ".amazonaws.com"; r.URL.Host != want || r.URL.Scheme != "https" {
		f.t.Errorf("asked %s://%s; want %s", r.URL.Scheme, r.URL.Host, want)
	}
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(f.server.URL, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

func (f *Control) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r = r.WithContext(context.WithoutCancel(r.Context())) // a batch does not end with who asks about it
	id, one := strings.CutPrefix(r.URL.Path, "/v20180820/jobs/")
	switch {
	case f.Status != 0:
		refusal(w, f.Status, "Refused")
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

func (f *Control) create(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b := &job{id: fmt.Sprintf("b%d", len(f.batches)+1), status: "New"}
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
	if f.LoseAnswer {
		f.LoseAnswer = false
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil || conn.Close() != nil {
			f.t.Errorf("the answer could not be lost: %v", err)
		}
		return
	}
	fmt.Fprintf(w, `<CreateJobResult><JobId>%s</JobId></CreateJobResult>`, b.id)
}

func (f *Control) describe(w http.ResponseWriter, r *http.Request, id string) {
	var b *job
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
		if b.status = "Complete"; f.Ends != "" {
			b.status = f.Ends
		}
	}
	summary := fmt.Sprintf(`<ProgressSummary><TotalNumberOfTasks>%d</TotalNumberOfTasks><NumberOfTasksSucceeded>%d</NumberOfTasksSucceeded><NumberOfTasksFailed>%d</NumberOfTasksFailed></ProgressSummary>`, b.total, b.good, b.bad)
	if f.NoSummary {
		summary = ""
	}
	var why string
	if said == "Failed" {
		why = `<FailureReasons><member><FailureCode>ManifestNotFound</FailureCode><FailureReason>it is gone</FailureReason></member></FailureReasons>`
	}
	fmt.Fprintf(w, `<DescribeJobResult><Job><JobId>%s</JobId><Status>%s</Status>%s%s</Job></DescribeJobResult>`, id, said, summary, why)
}

func (f *Control) run(r *http.Request, b *job) error {
	if f.Untried {
		return nil
	}
	ctx := r.Context()
	at := b.in.Manifest.Location
	bucket, key, _ := strings.Cut(strings.TrimPrefix(at.ObjectArn, arn), "/")
	data, o, err := f.To.GetVersion(ctx, bucket, key, at.ObjectVersionId)
	if err != nil {
		return err
	}
	op := b.in.Operation.S3PutObjectCopy
	if spec := b.in.Manifest.Spec; o.ETag != at.ETag || spec.Format != "S3BatchOperations_CSV_20180820" || strings.Join(spec.Fields.Member, " ") != "Bucket Key VersionId" ||
		op.ChecksumAlgorithm != "SHA256" || b.in.Report.ReportScope != "AllTasks" || b.in.Report.Enabled != "true" || b.in.RoleArn != Role {
		return fmt.Errorf("it was asked for %+v", b.in)
	}
	var file bytes.Buffer
	out := csv.NewWriter(&file)
	for line := range strings.Lines(string(data)) {
		row := strings.Split(strings.TrimSuffix(line, "\n"), ",")
		for l, err := range batch.ReadManifest(strings.NewReader(line)) {
			if err != nil {
				return err
			}
			b.total++
			said := []string{"succeeded", "", "200", "Successful"}
			if l.Key == f.Refuse {
				said = []string{"failed", "AccessDenied", "403", `no "access"`}
				if !f.Quiet {
					b.bad++
				}
			} else if err := f.copy(r, b, l); err != nil {
				return err
			}
			if l.Key == f.Drop {
				continue
			}
			n := 1
			if f.Twice && b.total == 1 {
				n = 2
			}
			for range n {
				if err := out.Write(append(row, said...)); err != nil {
					return err
				}
			}
		}
	}
	if f.Foreign {
		if err := out.Write([]string{"lake", "somebody-elses", "v1", "succeeded", "", "200", ""}); err != nil {
			return err
		}
	}
	b.good = b.total - b.bad
	if f.Quiet {
		b.good = b.total
	}
	b.bad += f.Failures
	b.total -= f.Fewer
	b.good -= f.Fewer
	if out.Flush(); f.NoReport {
		return out.Error()
	}
	return f.report(r, b, file.Bytes())
}

// copy copies one line, as AWS does with a checksum that is asked for.
func (f *Control) copy(r *http.Request, b *job, l batch.Line) error {
	op := b.in.Operation.S3PutObjectCopy
	bucket, key := strings.TrimPrefix(op.TargetResource, arn), op.TargetKeyPrefix+"/"+l.Key
	body, _, err := f.From.GetVersion(r.Context(), l.Bucket, l.Key, l.VersionID)
	if err != nil || l.Key == f.Lose {
		return err
	}
	if l.Key == f.Alter {
		body[len(body)/2] ^= 1
	}
	var hold objectstore.Hold
	if op.ObjectLockMode != "" && l.Key != f.Unheld {
		hold.Mode = objectstore.LockMode(op.ObjectLockMode)
		if hold.Until, err = time.Parse(time.RFC3339, op.ObjectLockRetainUntilDate); err != nil {
			return err
		}
	}
	if !f.Unsummed {
		_, err = f.To.Add(r.Context(), bucket, key, body, hold)
		return err
	}
	o, err := f.To.Put(r.Context(), bucket, key, body)
	if err == nil && hold.Mode != "" {
		err = f.To.Hold(r.Context(), bucket, key, o.VersionID, hold)
	}
	return err
}

func (f *Control) report(r *http.Request, b *job, file []byte) error {
	bucket, under := strings.TrimPrefix(b.in.Report.Bucket, arn), b.in.Report.Prefix+"/job-"+b.id
	if f.Cut {
		file = file[:len(file)-5]
	}
	sum := md5.Sum(file)
	if f.WrongMD5 {
		sum[0]++
	}
	in := map[string]any{
		"Format": "Report_CSV_20180820", "ReportCreationDate": "2026-11-21T12:00:00.000Z",
		"ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage",
	}
	if f.Format != "" {
		in["Format"] = f.Format
	}
	if f.Schema != "" {
		in["ReportSchema"] = f.Schema
	}
	part := map[string]string{"TaskExecutionStatus": "succeeded", "Bucket": bucket, "Key": under + "/results/1.csv", "MD5Checksum": hex.EncodeToString(sum[:])}
	if _, err := f.To.Put(r.Context(), bucket, part["Key"], file); err != nil {
		return err
	}
	if f.Elsewhere {
		part["Bucket"] = "somebody-elses"
	}
	in["Results"] = []any{part}
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, err = f.To.Put(r.Context(), bucket, under+"/manifest.json", data)
	return err
}
