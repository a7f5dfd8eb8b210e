package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"

	"breakwater/internal/fault"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/madmin-go/v3"
)

// Tables are the faults of a Delta table at the target, which lies under the
// prefix of the environment's group, and of the witness's journal there.
func Tables(e Env) fault.Set {
	t := tableAt{e.Target.Storage, e.Group.Prefix}
	return fault.Set{
		t.fault("table.data-file-gone", "a data file that every version needs is deleted", t.dataFileGone),
		t.fault("table.data-file-truncated", "a data file that every version needs has lost its second half", t.dataFileTruncated),
		t.fault("table.log-gone", "every log entry and checkpoint of a table is deleted", t.hide(t.log(`\d{20}\..*`))),
		t.fault("table.log-entry-gone", "one log entry of a table, the second, is deleted", t.hide(t.log(`0{19}1\.json`))),
		t.fault("table.late-commit", "a log entry arrives above the head of a table", t.lateCommit),
		t.fault("table.late-replica", "a log entry arrives once more where one was moved aside, and is deleted again", t.lateReplica),
		t.fault("table.hint-above", "the hint to the last checkpoint comes back and names one that is not there", t.hintAbove),
		t.fault("table.quarantine-gone", "what was moved aside is deleted", t.hide(regexp.MustCompile(`/\.breakwater/quarantine/`))),
		t.fault("table.rollback-forgets-vectors", "the newest log entry loses its files with deletion vectors, as if those were keyed by path", t.forgetVectors),
		t.fault("table.rollback-forgets-a-file", "the newest log entry loses the last file that it adds, as if a commit that is kept had been forgotten", t.forgetFile),
		t.fault("table.rollback-lowers-protocol", "the newest log entry sets the oldest protocol", t.lowerProtocol),
		t.fault("table.newest-entries-swapped", "the newest two log entries have each other's content", t.swapEntries),
		t.fault("table.newest-entry-emptied", "the newest log entry loses all its files", t.emptyEntry),
		t.fault("table.newest-author-changed", "the newest log entry says that somebody else wrote it", t.changeAuthor),
		revoked(e.Target),
		t.whole().fault("witness.record-changed", "the hash in every record of the witness is another, which nobody signed", t.whole().recordChanged),
		t.whole().fault("witness.record-gone", "every record of the witness is deleted", t.whole().hide(record)),
		t.whole().fault("witness.heads-gone", "the witness's sightings are deleted", t.whole().hide(regexp.MustCompile(`(^|/)heads/[^/]+\.json$`))),
	}
}

var record = regexp.MustCompile(`(^|/)tables/[^/]+/\d{20}\.json$`)

// tableAt is a prefix of the bucket that faults break.
type tableAt struct {
	Storage
	prefix string
}

// whole is all of the bucket.
func (t tableAt) whole() tableAt { return tableAt{t.Storage, ""} }

// log matches files of the table's own log; what was moved aside has the same
// names elsewhere.
func (t tableAt) log(name string) *regexp.Regexp {
	return regexp.MustCompile("^" + regexp.QuoteMeta(t.prefix) + "/_delta_log/" + name + "$")
}

// made is a version, or a delete marker, that a fault wrote.
type made struct{ key, version string }

// fault makes a fault of something that only adds versions and markers: removing
// those again brings back what was there.
func (t tableAt) fault(name fault.Name, doc string, inject func(context.Context, *s3.Client) ([]made, error)) fault.Fault {
	var k kept[[]made]
	undo := func(ctx context.Context, c *s3.Client, all []made) error {
		for i := len(all) - 1; i >= 0; i-- {
			if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &t.Bucket, Key: &all[i].key, VersionId: &all[i].version}); err != nil {
				return fmt.Errorf("take back what %s wrote over %s: %w", name, all[i].key, err)
			}
		}
		return nil
	}
	return fault.Fault{
		Name: name, Doc: doc,
		Available: needs(map[string]string{"target's endpoint": t.Endpoint, "target's bucket": t.Bucket, "target's root key": t.AccessKey}),
		Inject: func(ctx context.Context) error {
			c := t.s3()
			all, err := inject(ctx, c)
			if err == nil && len(all) == 0 {
				err = errors.New("there is nothing here to break")
			}
			if err == nil {
				err = k.put(all)
			}
			if err != nil {
				return fmt.Errorf("inject %s: %w", name, errors.Join(err, undo(ctx, c, all)))
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(all []made) error { return undo(ctx, t.s3(), all) })
		},
	}
}

// keys lists what is there under the prefix and matches.
func (t tableAt) keys(ctx context.Context, c *s3.Client, match *regexp.Regexp) ([]string, error) {
	var keys []string
	prefix := t.prefix
	if prefix != "" {
		prefix += "/"
	}
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: &t.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			if match.MatchString(*o.Key) {
				keys = append(keys, *o.Key)
			}
		}
	}
	return keys, nil
}

func (t tableAt) get(ctx context.Context, c *s3.Client, key string) ([]byte, error) {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &t.Bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(out.Body)
	return body, errors.Join(err, out.Body.Close())
}

func (t tableAt) put(ctx context.Context, c *s3.Client, key string, body []byte) ([]made, error) {
	out, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &t.Bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		return nil, err
	}
	return []made{{key, aws.ToString(out.VersionId)}}, nil
}

func (t tableAt) mark(ctx context.Context, c *s3.Client, key string) ([]made, error) {
	out, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &t.Bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	return []made{{key, aws.ToString(out.VersionId)}}, nil
}

// hide deletes every key that matches, as a delete marker.
func (t tableAt) hide(match *regexp.Regexp) func(context.Context, *s3.Client) ([]made, error) {
	return func(ctx context.Context, c *s3.Client) ([]made, error) {
		keys, err := t.keys(ctx, c, match)
		if err != nil {
			return nil, err
		}
		var all []made
		for _, key := range keys {
			m, err := t.mark(ctx, c, key)
			if all = append(all, m...); err != nil {
				return all, err
			}
		}
		return all, nil
	}
}

// firstFile is the data file that the earliest log entry with one adds. In a
// table that is only appended to, every later version needs it.
func (t tableAt) firstFile(ctx context.Context, c *s3.Client) (string, error) {
	keys, err := t.keys(ctx, c, t.log(`\d{20}\.json`))
	if err != nil {
		return "", err
	}
	for _, key := range keys {
		body, err := t.get(ctx, c, key)
		if err != nil {
			return "", err
		}
		for line := range bytes.Lines(body) {
			var entry struct {
				Add struct {
					Path string `json:"path"`
				} `json:"add"`
			}
			if json.Unmarshal(line, &entry) == nil && entry.Add.Path != "" {
				return t.prefix + "/" + entry.Add.Path, nil
			}
		}
	}
	return "", fmt.Errorf("no log entry under %s adds a file", t.prefix)
}

func (t tableAt) dataFileGone(ctx context.Context, c *s3.Client) ([]made, error) {
	key, err := t.firstFile(ctx, c)
	if err != nil {
		return nil, err
	}
	return t.mark(ctx, c, key)
}

func (t tableAt) dataFileTruncated(ctx context.Context, c *s3.Client) ([]made, error) {
	key, err := t.firstFile(ctx, c)
	if err != nil {
		return nil, err
	}
	body, err := t.get(ctx, c, key)
	if err != nil {
		return nil, err
	}
	return t.put(ctx, c, key, body[:len(body)/2])
}

// lateCommit copies the newest log entry to the number after it.
func (t tableAt) lateCommit(ctx context.Context, c *s3.Client) ([]made, error) {
	keys, err := t.keys(ctx, c, t.log(`\d{20}\.json`))
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	last := keys[len(keys)-1]
	var n int64
	if _, err := fmt.Sscanf(path.Base(last), "%020d.json", &n); err != nil {
		return nil, err
	}
	body, err := t.get(ctx, c, last)
	if err != nil {
		return nil, err
	}
	return t.put(ctx, c, fmt.Sprintf("%s/%020d.json", path.Dir(last), n+1), body)
}

// lateReplica writes over a key that a delete marker hides, and hides it again.
func (t tableAt) lateReplica(ctx context.Context, c *s3.Client) ([]made, error) {
	prefix := t.prefix + "/_delta_log/"
	out, err := c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &t.Bucket, Prefix: &prefix})
	if err != nil {
		return nil, err
	}
	for _, m := range out.DeleteMarkers {
		if !aws.ToBool(m.IsLatest) || !strings.HasSuffix(*m.Key, ".json") {
			continue
		}
		written, err := t.put(ctx, c, *m.Key, []byte(`{"commitInfo":{"timestamp":0}}`+"\n"))
		if err != nil {
			return written, err
		}
		hidden, err := t.mark(ctx, c, *m.Key)
		return append(written, hidden...), err
	}
	return nil, nil
}

func (t tableAt) hintAbove(ctx context.Context, c *s3.Client) ([]made, error) {
	return t.put(ctx, c, t.prefix+"/_delta_log/_last_checkpoint", []byte(`{"version":999999,"size":1}`))
}

func (t tableAt) recordChanged(ctx context.Context, c *s3.Client) ([]made, error) {
	keys, err := t.keys(ctx, c, record)
	if err != nil {
		return nil, err
	}
	var all []made
	for _, key := range keys {
		body, err := t.get(ctx, c, key)
		if err != nil {
			return all, err
		}
		var r map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&r); err != nil {
			return all, err
		}
		r["hash"] = strings.Repeat("0", 64)
		if body, err = json.Marshal(r); err != nil {
			return all, err
		}
		m, err := t.put(ctx, c, key, body)
		if all = append(all, m...); err != nil {
			return all, err
		}
	}
	return all, nil
}

// revoked takes recovery's own access to the target's storage away.
func revoked(r Region) fault.Fault {
	status := func(ctx context.Context, s madmin.AccountStatus) error {
		c, err := r.Storage.admin()
		if err != nil {
			return err
		}
		if err := c.SetUserStatus(ctx, r.Storage.Recovery.Name, s); err != nil {
			return fmt.Errorf("make user %s at %s %s: %w", r.Storage.Recovery.Name, r.Name, s, err)
		}
		return nil
	}
	return fault.Fault{
		Name: "table.access-revoked", Doc: "recovery's own credentials at the target's storage are disabled",
		Available: needs(map[string]string{"target's endpoint": r.Storage.Endpoint, "recovery's user": r.Storage.Recovery.Name}),
		Inject:    func(ctx context.Context) error { return status(ctx, madmin.AccountDisabled) },
		Heal:      func(ctx context.Context) error { return status(ctx, madmin.AccountEnabled) },
	}
}
