package failover

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"

	"breakwater/internal/estate"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/recovery"
	"breakwater/internal/report"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
	"breakwater/internal/table/delta/rows"
	"breakwater/lab"
	"breakwater/lab/oracle"
)

// Truth is what a report is held against: the oracle, the estate, and the
// standby as it is now.
type truth struct {
	s      *Session
	estate *estate.Estate
	oracle *oracle.Oracle
	store  *s3.Client
	rep    report.Report
}

// HoldAgainstTruth compares a report, and the standby, with what the laboratory
// knows to have happened: every table holds at its recovery point what the
// primary held at that version, every true loss lies inside the interval that
// the report claims, no consumer group skips a record, and Kafka's own command
// agrees with every offset that the run promoted. It must be asked before any
// client moves on. All that is wrong is said at once.
func (s *Session) HoldAgainstTruth(ctx context.Context, rep report.Report) error {
	t, err := s.truth(rep)
	if err != nil {
		return err
	}
	errs := []error{t.promoted(ctx), t.topics(ctx)}
	for _, g := range t.estate.Groups {
		for _, table := range g.Tables {
			if err := t.table(ctx, table); err != nil {
				errs = append(errs, fmt.Errorf("table %s: %w", table.Table, err))
			}
		}
		for _, c := range g.ConsumerGroups {
			if err := t.consumers(ctx, g, c); err != nil {
				errs = append(errs, fmt.Errorf("consumer group %s: %w", c.ConsumerGroup, err))
			}
		}
	}
	return errors.Join(errs...)
}

// HoldTopicsAgainstTruth is [Session.HoldAgainstTruth], of what topics lost alone.
func (s *Session) HoldTopicsAgainstTruth(ctx context.Context, rep report.Report) error {
	t, err := s.truth(rep)
	if err != nil {
		return err
	}
	return t.topics(ctx)
}

func (s *Session) truth(rep report.Report) (*truth, error) {
	e, err := s.Estate()
	if err != nil {
		return nil, err
	}
	o, err := oracle.Read(s.Lab.OracleDir(), lab.Primary)
	if err != nil {
		return nil, err
	}
	store, err := s3.New(s.Lab.Storage(lab.Standby))
	return &truth{s: s, estate: e, oracle: o, store: store, rep: rep}, err
}

// claim is what the report says about a dataset.
func (t *truth) claim(kind, name string) (report.Recovered, error) {
	i := slices.IndexFunc(t.rep.Recovery, func(r report.Recovered) bool { return r.Kind == kind && r.Dataset == name })
	if i < 0 {
		return report.Recovered{}, errors.New("the report says nothing about it")
	}
	return t.rep.Recovery[i], nil
}

func (t *truth) table(ctx context.Context, decl estate.Table) error {
	claim, err := t.claim("table", decl.Table)
	if err != nil {
		return err
	}
	if claim.Version == nil {
		return errors.New("the report names no version")
	}
	version := *claim.Version
	want, err := t.oracle.RowsAt(decl.Table, version)
	if err != nil {
		return err
	}
	got, err := t.rows(ctx, decl, version)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("version %d holds %d rows at the standby, and the primary held %d there; the first difference is %s",
			version, len(got), len(want), firstDifference(got, want))
	}
	if err := t.deltaRS(ctx, decl, version, want); err != nil {
		return err
	}
	var lost missed
	for _, c := range t.oracle.After(decl.Table, version) {
		lost.least += int64(len(c.Rows))
		lost.last = c.Time
	}
	lost.most = lost.least
	return inside(claim.Loss, lost)
}

// missed is a true loss: of a compacted topic, how many records it is lies between two
// numbers.
type missed struct {
	least, most int64
	last        time.Time // when the newest was written
}

// inside asks that a true loss lies in the claimed interval. In seconds the
// clocks of this machine are one, so nothing but the commit's own time counts.
func inside(claim recovery.Loss, lost missed) error {
	if lost.least < claim.Count.AtLeast || claim.Count.AtMost != nil && lost.most > *claim.Count.AtMost {
		return fmt.Errorf("%d to %d %s were lost, and the report claims %s", lost.least, lost.most, claim.Unit, interval(claim.Count))
	}
	if claim.Exact && lost.least != lost.most {
		return fmt.Errorf("%d to %d %s were lost, and the report claims exactly %s", lost.least, lost.most, claim.Unit, interval(claim.Count))
	}
	const slack = 0.05
	seconds := 0.0
	if lost.most > 0 {
		seconds = lost.last.Sub(claim.RecoveryPoint).Seconds()
	}
	if most := claim.Seconds.AtMost; most != nil && seconds > *most+slack {
		return fmt.Errorf("%.2f s were lost, and the report claims at most %.2f s", seconds, *most)
	}
	if least := claim.Seconds.AtLeast; seconds < least-slack {
		return fmt.Errorf("%.2f s were lost, and the report claims at least %.2f s", seconds, least)
	}
	return nil
}

func interval(c recovery.CountInterval) string {
	if c.AtMost == nil {
		return fmt.Sprintf("at least %d", c.AtLeast)
	}
	return fmt.Sprintf("%d to %d", c.AtLeast, *c.AtMost)
}

func firstDifference(got, want []oracle.Row) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("row %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	return fmt.Sprintf("after row %d", min(len(got), len(want)))
}

// rows reads a version at the standby.
func (t *truth) rows(ctx context.Context, decl estate.Table, version int64) ([]oracle.Row, error) {
	bucket, err := t.estate.RealBucket(decl.Bucket, lab.Standby)
	if err != nil {
		return nil, err
	}
	store := bucketStore{t.store.Bucket(bucket)}
	log, err := delta.Open(ctx, store, table.Root{Bucket: bucket, Prefix: decl.Path})
	if err != nil {
		return nil, err
	}
	snap, err := log.Snapshot(ctx, version)
	if err != nil {
		return nil, err
	}
	content, err := rows.Of(store, snap)
	if err != nil {
		return nil, err
	}
	r, err := content.Read(ctx, []string{"id", "event_time", "payload"})
	if err != nil {
		return nil, err
	}
	defer r.Release()
	var all []oracle.Row
	for r.Next() {
		b := r.RecordBatch()
		id, ok1 := b.Column(0).(*array.Int64)
		at, ok2 := b.Column(1).(*array.Timestamp)
		payload, ok3 := b.Column(2).(*array.String)
		if !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("columns of %s are %s", decl.Path, b.Schema())
		}
		for i := range int(b.NumRows()) {
			all = append(all, oracle.Row{ID: id.Value(i), Time: int64(at.Value(i)), Sum: oracle.Sum([]byte(payload.Value(i)))})
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b oracle.Row) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// reader lets delta-rs, which shares no code with ours, read a version.
const reader = `
import json, os, sys
from deltalake import DeltaTable
q = json.load(sys.stdin)
t = DeltaTable(q["uri"], version=q["version"], storage_options=q["options"]).to_pyarrow_table(columns=["id"])
ids = t.column("id").to_pylist()
json.dump({"rows": len(ids), "sum": str(sum(ids) % 2**64)}, sys.stdout)
sys.stdout.flush()
os._exit(0)  # the library's threads do not always survive the interpreter's own end
`

// deltaRS asks that delta-rs reads the same version, where the tests' Python is
// at hand: it is in `+"`make demo` and `make test`"+`.
func (t *truth) deltaRS(ctx context.Context, decl estate.Table, version int64, want []oracle.Row) error {
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		return nil
	}
	bucket, err := t.estate.RealBucket(decl.Bucket, lab.Standby)
	if err != nil {
		return err
	}
	cfg := t.s.Lab.Storage(lab.Standby)
	query, err := json.Marshal(map[string]any{
		"uri": "s3://" + bucket + "/" + decl.Path, "version": version,
		"options": map[string]string{
			"AWS_ENDPOINT_URL": cfg.Endpoint, "AWS_ACCESS_KEY_ID": cfg.AccessKey, "AWS_SECRET_ACCESS_KEY": cfg.SecretKey,
			"AWS_REGION": cfg.Region, "AWS_ALLOW_HTTP": "true",
		},
	})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, python, "-c", reader)
	cmd.Stdin = bytes.NewReader(query)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("delta-rs could not read version %d: %w: %s", version, err, stderr.String())
	}
	var got struct {
		Rows int64
		Sum  uint64 `json:",string"`
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return fmt.Errorf("delta-rs answered %q: %w", out, err)
	}
	sum := uint64(0)
	for _, r := range want {
		sum += uint64(r.ID)
	}
	if got.Rows != int64(len(want)) || got.Sum != sum {
		return fmt.Errorf("delta-rs reads %d rows with sum %d at version %d, the primary held %d with sum %d", got.Rows, got.Sum, version, len(want), sum)
	}
	return nil
}
