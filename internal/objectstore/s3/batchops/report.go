package batchops

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3control/types"

	"breakwater/internal/objectstore/batch"
	"breakwater/internal/plural"
)

// Judge is that of [batch.Copier].
func (c *Client) Judge(ctx context.Context, id string, r batch.Request) error {
	s, err := c.State(ctx, id)
	if err != nil {
		return err
	}
	fail := func(format string, args ...any) error {
		return fmt.Errorf("batch %s: %w: "+format, append([]any{id, batch.ErrIncomplete}, args...)...)
	}
	var wrong []string
	if s.Status != string(types.JobStatusComplete) {
		wrong = append(wrong, strings.TrimSpace("it is "+s.Status+" "+strings.Join(s.Reasons, "; ")))
	}
	switch {
	case !s.Counted:
		wrong = append(wrong, "it does not say how many objects it tried")
	case s.Total != r.Manifest.Lines || s.Succeeded != s.Total || s.Failed != 0:
		wrong = append(wrong, fmt.Sprintf("of %d lines of the manifest it tried %d, failed on %d and copied %d", r.Manifest.Lines, s.Total, s.Failed, s.Succeeded))
	}
	// Read in any case: it has the names.
	said, err := c.read(ctx, id, r)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.Total == 0 && len(wrong) > 0:
		return fail("%s; no object was tried, so there is no report", strings.Join(wrong, "; "))
	case errors.Is(err, batch.ErrIncomplete), errors.Is(err, fs.ErrNotExist):
		return fail("%s", strings.Join(append(wrong, "the report proves nothing: "+err.Error()), "; "))
	case err != nil && len(wrong) > 0:
		return fail("%s; and its report could not be read: %v", strings.Join(wrong, "; "), err)
	case err != nil:
		return fmt.Errorf("batch %s: read its report: %w", id, err)
	}
	if said.failed > 0 {
		wrong = append(wrong, fmt.Sprintf("%s failed: %s", plural.Of(said.failed, "object"), batch.List(said.names, said.failed)))
	}
	if len(said.left) > 0 {
		names, err := c.names(ctx, r.Manifest, said.left)
		if err != nil {
			return fmt.Errorf("batch %s: name what its report lacks: %w", id, err)
		}
		wrong = append(wrong, fmt.Sprintf("the report lacks %d lines of the manifest: %s", len(said.left), batch.List(names, len(said.left))))
	}
	if len(wrong) > 0 {
		return fail("%s; copy again under another token", strings.Join(wrong, "; "))
	}
	return nil
}

// digest stands for a line: 16 bytes, so that the lines of a large bucket fit into
// memory.
type digest [16]byte

func digestOf(l batch.Line) digest {
	sum := sha256.Sum256([]byte(l.Bucket + "\x00" + l.VersionID + "\x00" + l.Key))
	return digest(sum[:16])
}

// reported is what a report says, held against the manifest.
type reported struct {
	left   map[digest]struct{} // lines of which it says nothing
	failed int
	names  []string // the first that failed
}

// index is a report's manifest.json.
type index struct {
	Format       string
	ReportSchema string
	Results      []struct{ TaskExecutionStatus, Bucket, Key, MD5Checksum string }
}

// read reads the whole report. batch.ErrIncomplete means that it contradicts itself or the
// manifest.
func (c *Client) read(ctx context.Context, id string, r batch.Request) (reported, error) {
	said := reported{left: map[digest]struct{}{}}
	under := r.Report.Key("job-" + id + "/")
	data, _, err := c.store.Get(ctx, r.Report.Bucket, under+"manifest.json")
	if err != nil {
		return said, err
	}
	var in index
	if err := json.Unmarshal(data, &in); err != nil {
		return said, fmt.Errorf("%w: %smanifest.json: %w", batch.ErrIncomplete, under, err)
	}
	if in.Format != string(types.JobReportFormatReportCsv20180820) {
		return said, fmt.Errorf("%w: %smanifest.json has format %q, and we read %s", batch.ErrIncomplete, under, in.Format, types.JobReportFormatReportCsv20180820)
	}
	columns, err := in.columns()
	if err != nil {
		return said, err
	}
	err = c.lines(ctx, r.Manifest, func(l batch.Line) bool {
		said.left[digestOf(l)] = struct{}{}
		return true
	})
	if err != nil {
		return said, err
	}
	if int64(len(said.left)) != r.Manifest.Lines {
		return said, fmt.Errorf("%w: the manifest has %d different lines, and was written with %d", batch.ErrIncomplete, len(said.left), r.Manifest.Lines)
	}
	for _, f := range in.Results {
		if f.Bucket != r.Report.Bucket || !strings.HasPrefix(f.Key, under) {
			return said, fmt.Errorf("%w: s3://%s/%s is no part of the report of this batch", batch.ErrIncomplete, f.Bucket, f.Key)
		}
		if err := c.result(ctx, f.Bucket, f.Key, f.MD5Checksum, columns, &said); err != nil {
			return said, err
		}
	}
	return said, nil
}

// wanted are the columns that we read, in our order.
var wanted = []string{"Bucket", "Key", "VersionId", "TaskStatus", "ErrorCode", "HTTPStatusCode", "ResultMessage"}

// columns says where the wanted ones are.
func (in index) columns() ([]int, error) {
	has := strings.Split(in.ReportSchema, ",")
	for i := range has {
		has[i] = strings.TrimSpace(has[i])
	}
	at := make([]int, len(wanted))
	for i, w := range wanted {
		if at[i] = slices.Index(has, w); at[i] < 0 {
			return nil, fmt.Errorf("%w: the report has no column %s, but %q", batch.ErrIncomplete, w, in.ReportSchema)
		}
	}
	return at, nil
}

// result reads one file of a report and holds it against its MD5.
func (c *Client) result(ctx context.Context, bucket, key, sum string, columns []int, said *reported) error {
	body, _, err := c.store.VersionReader(ctx, bucket, key, "")
	if err != nil {
		return err
	}
	hash := md5.New()
	all := io.TeeReader(body, hash)
	wrong := said.rows(all, columns)
	_, err = io.Copy(io.Discard, all) // what a mistake in a row has left
	if err := errors.Join(err, body.Close()); err != nil {
		return batch.Broken(fmt.Errorf("s3://%s/%s: %w", bucket, key, err))
	}
	if got := hex.EncodeToString(hash.Sum(nil)); !strings.EqualFold(got, sum) {
		return fmt.Errorf("%w: s3://%s/%s has MD5 %s, and the report says %q", batch.ErrIncomplete, bucket, key, got, sum)
	}
	if wrong != nil {
		return fmt.Errorf("s3://%s/%s: %w", bucket, key, wrong)
	}
	return nil
}

// rows takes the rows of a file off what is left.
func (said *reported) rows(r io.Reader, columns []int) error {
	in := csv.NewReader(r)
	in.FieldsPerRecord, in.ReuseRecord = -1, true
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", batch.ErrIncomplete, err)
		}
		if len(row) <= slices.Max(columns) {
			return fmt.Errorf("%w: a row has %s: %q", batch.ErrIncomplete, plural.Of(len(row), "column"), row)
		}
		at := func(i int) string { return row[columns[i]] }
		l, err := batch.ParseLine(at(0), at(1), at(2))
		if err != nil {
			return fmt.Errorf("%w: %w", batch.ErrIncomplete, err)
		}
		if _, ok := said.left[digestOf(l)]; !ok {
			return fmt.Errorf("%w: %s is no line of the manifest, or is reported twice", batch.ErrIncomplete, l)
		}
		delete(said.left, digestOf(l))
		if at(3) != "succeeded" || at(4) != "" {
			if said.failed++; len(said.names) < batch.Named {
				said.names = append(said.names, fmt.Sprintf("%s (%s)", l, strings.Join(strings.Fields(strings.Join([]string{at(3), at(4), at(5), at(6)}, " ")), " ")))
			}
		}
	}
}

// lines goes through the manifest as it is in its place, until each says no.
func (c *Client) lines(ctx context.Context, m batch.Manifest, each func(batch.Line) bool) error {
	body, o, err := c.store.VersionReader(ctx, m.Bucket, m.Key, m.VersionID)
	if err != nil {
		return err
	}
	if o.ETag != m.ETag {
		return errors.Join(fmt.Errorf("%w: manifest s3://%s/%s has ETag %s, and was written with %s", batch.ErrIncomplete, m.Bucket, m.Key, o.ETag, m.ETag), body.Close())
	}
	for l, err := range batch.ReadManifest(body) {
		if err != nil {
			return errors.Join(err, body.Close())
		}
		if !each(l) {
			break
		}
	}
	return body.Close()
}

// names are the first lines of the manifest that are left.
func (c *Client) names(ctx context.Context, m batch.Manifest, left map[digest]struct{}) ([]string, error) {
	var names []string
	err := c.lines(ctx, m, func(l batch.Line) bool {
		if _, ok := left[digestOf(l)]; ok {
			names = append(names, l.String())
		}
		return len(names) < min(batch.Named, len(left))
	})
	return names, err
}
