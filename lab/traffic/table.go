package traffic

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"path"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/objectstore"
	"breakwater/internal/objectstore/s3"
	"breakwater/internal/poll"
	"breakwater/internal/table"
	"breakwater/internal/table/delta/write"
	"breakwater/internal/table/location"
	"breakwater/lab/oracle"
)

// CheckpointEvery is the distance of the tables' checkpoints, in versions.
const CheckpointEvery = 10

// columns of every table of the laboratory.
func columns() []write.Column {
	return []write.Column{
		{Name: "id", Type: write.Int64},
		{Name: "event_time", Type: write.Timestamp},
		{Name: "payload", Type: write.String},
	}
}

// tableWriter appends to one table, one commit at a time.
type tableWriter struct {
	table  Table
	store  *journalled
	log    *write.Table
	pace   pace
	nextID int64
	count  int
}

// createTable opens a table, and makes it if it is not there.
func createTable(ctx context.Context, region string, t Table, share float64, j *oracle.Journal) (*tableWriter, error) {
	return newTableWriter(region, t, share, j, func(s write.Store, root table.Root, opts write.Options) (*write.Table, error) {
		log, err := write.Create(ctx, s, root, columns(), opts)
		if errors.Is(err, fs.ErrExist) {
			log, err = write.Open(ctx, s, root, columns(), opts)
		}
		return log, err
	})
}

// openTable opens a table; fs.ErrNotExist if it is not there.
func openTable(ctx context.Context, region string, t Table, share float64, j *oracle.Journal) (*tableWriter, error) {
	return newTableWriter(region, t, share, j, func(s write.Store, root table.Root, opts write.Options) (*write.Table, error) {
		return write.Open(ctx, s, root, columns(), opts)
	})
}

func newTableWriter(region string, t Table, share float64, j *oracle.Journal,
	open func(write.Store, table.Root, write.Options) (*write.Table, error),
) (*tableWriter, error) {
	c, err := s3.New(s3.Config{
		Endpoint: t.Store.Endpoint, Region: t.Store.Region, PathStyle: true,
		AccessKey: t.Store.AccessKey, SecretKey: t.Store.SecretKey,
	})
	if err != nil {
		return nil, fmt.Errorf("write to table %s: %w", t.Name, err)
	}
	s := &journalled{Bucket: location.Bucket{Of: c.Bucket(t.Bucket)}, journal: j, region: region, table: t.Name}
	root := table.Root{Bucket: t.Bucket, Prefix: t.Path}
	opts := write.Options{App: map[string]string{"lab": "traffic"}, CheckpointEvery: CheckpointEvery}
	log, err := open(s, root, opts)
	if err != nil {
		return nil, fmt.Errorf("write to table %s in %s: %w", t.Name, region, err)
	}
	return &tableWriter{
		table: t, store: s, log: log, pace: pace{rate: t.PeakRows * share},
		// Ids of processes that start at different moments never meet: nobody
		// writes a row per nanosecond.
		nextID: time.Now().UnixNano(),
	}, nil
}

// append writes n rows of about bytes in all as one commit, and returns once the
// oracle has it.
func (w *tableWriter) append(ctx context.Context, n, bytes int) error {
	if err := w.pace.wait(ctx, n); err != nil {
		return err
	}
	now := time.Now().Truncate(time.Microsecond)
	rows := make([]write.Row, n)
	known := make([]oracle.Row, n)
	for i := range n {
		payload := payload(max(16, bytes/n))
		rows[i] = write.Row{w.nextID, now, payload}
		known[i] = oracle.Row{ID: w.nextID, Time: now.UnixMicro(), Sum: oracle.Sum([]byte(payload))}
		w.nextID++
	}
	staged, err := w.log.Stage(ctx, rows)
	if err != nil {
		return err
	}
	w.store.commit = oracle.Commit{ID: staged.ID, Region: w.store.region, Table: w.table.Name, Rows: known}
	version, err := w.log.Commit(ctx, staged)
	if version < 0 {
		return err
	}
	// A version without its checkpoint is a version.
	done := w.store.commit
	done.Version = version
	return errors.Join(w.store.journal.Acked(done), err)
}

// payload is text of a size that no compression shrinks below three quarters.
func payload(size int) string {
	raw := make([]byte, size*3/4+1)
	rand.Read(raw)
	return base64.StdEncoding.EncodeToString(raw)[:size]
}

// run appends until ctx ends or the store is dead.
func (w *tableWriter) run(ctx context.Context, o Options, c *counts) error {
	p := pulse{patience: o.Patience}
	for {
		// Between half and one and a half of the mean, so that tables drift apart.
		mean := float64(time.Second) / o.Commits
		if poll.Wait(ctx, time.Duration(mean*(0.5+mathrand.Float64()))) != nil {
			return nil
		}
		size := o.Rows * 200
		if w.count++; o.LargeEvery > 0 && w.count%o.LargeEvery == 0 {
			size = o.LargeBytes
		}
		err := w.append(ctx, o.Rows, size)
		switch {
		case err == nil:
			p.answered()
			c.commits.Add(1)
			c.rows.Add(int64(o.Rows))
		case ctx.Err() != nil:
			return nil
		case kindOf(err) == unreachable:
			if p.silent() {
				c.died("table " + w.table.Name)
				return nil
			}
		case kindOf(err) == denied:
			p.answered()
			c.refused.Add(1)
		default:
			c.failed(err)
		}
	}
}

// seed appends rows in commits of a hundred.
func (w *tableWriter) seed(ctx context.Context, rows int, c *counts) error {
	for rows > 0 {
		n := min(rows, 100)
		if err := w.append(ctx, n, n*200); err != nil {
			return err
		}
		c.commits.Add(1)
		c.rows.Add(int64(n))
		rows -= n
	}
	return nil
}

// journalled is a bucket that notes every attempt at a log entry before it is
// sent: only here is the version known.
type journalled struct {
	location.Bucket
	journal *oracle.Journal
	region  string
	table   string
	commit  oracle.Commit // the one under way
}

var _ write.Store = (*journalled)(nil)

func (s *journalled) Put(ctx context.Context, key string, body []byte) error {
	_, err := s.Bucket.Of.Put(ctx, key, body)
	return err
}

func (s *journalled) PutIfAbsent(ctx context.Context, key string, body []byte) error {
	version, ok := entryVersion(key)
	ok = ok && s.commit.ID != "" && bytes.Contains(body, []byte(s.commit.ID))
	tried := s.commit
	if ok {
		tried.Version, tried.Time = version, time.Now()
		s.commit.Time = tried.Time
		if err := s.journal.Tried(tried); err != nil {
			return err
		}
	}
	_, err := s.Bucket.Of.PutIfAbsent(ctx, key, body)
	if errors.Is(err, objectstore.ErrSame) { // an earlier attempt of this very write
		return nil
	}
	if ok && errors.Is(err, fs.ErrExist) {
		return errors.Join(err, s.journal.Lost(tried))
	}
	return err
}

// entryVersion is the version whose log entry a key is.
func entryVersion(key string) (int64, bool) {
	dir, name := path.Split(key)
	digits, isJSON := strings.CutSuffix(name, ".json")
	if !strings.HasSuffix(dir, "/_delta_log/") || !isJSON || len(digits) != 20 {
		return 0, false
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	return v, err == nil
}
