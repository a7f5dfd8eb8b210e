package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"breakwater/internal/table"
)

// Add is one live logical file: a data file, and the deletion vector that hides
// some of its rows.
type Add struct {
	Path            string             // as in the log: a URI, relative or absolute
	Size            int64              // bytes
	Records         int64              // rows in the file by its statistics, deleted ones included; -1 where not recorded
	PartitionValues map[string]*string // shared by files with the same values: not to be changed
	DataChange      bool
	Vector          *DeletionVector

	at place
}

// File is where the data file lies: a key, and a bucket where that is not the
// table's own.
func (a Add) File() (bucket, key string) { return a.at.bucket, a.at.key }

// Rows is how many rows are live, or -1 where the statistics do not say.
func (a Add) Rows() int64 {
	if a.Records < 0 || a.Vector == nil {
		return a.Records
	}
	return max(a.Records-a.Vector.Cardinality, -1)
}

// needs are the objects that a live file stands for.
func (a Add) needs() []table.File {
	needs := []table.File{{Bucket: a.at.bucket, Key: a.at.key, Size: a.Size, Rows: a.Rows(), Why: table.Data}}
	if v := a.Vector; v != nil && v.at.key != "" {
		needs = append(needs, table.File{Bucket: v.at.bucket, Key: v.at.key, Size: v.end(), AtLeast: true, Rows: -1, Why: table.DeletionVector})
	}
	return needs
}

// fileID is the identity of a logical file. Keyed by path alone, a restore or a
// comparison would not see that rows were deleted (trap 8).
type fileID struct {
	place
	vector string
}

func (a Add) id() fileID { return fileID{a.at, a.Vector.ID()} }

// Protocol is what a table asks of its readers and writers.
type Protocol struct {
	MinReaderVersion int      `json:"minReaderVersion"`
	MinWriterVersion int      `json:"minWriterVersion"`
	ReaderFeatures   []string `json:"readerFeatures,omitempty"`
	WriterFeatures   []string `json:"writerFeatures,omitempty"`
}

// Metadata is a table's schema and configuration.
type Metadata struct {
	ID               string            `json:"id"`
	Name             string            `json:"name,omitempty"`
	SchemaString     string            `json:"schemaString"` // JSON, as the protocol's schema serialisation
	PartitionColumns []string          `json:"partitionColumns"`
	Configuration    map[string]string `json:"configuration"`
	Format           struct {
		Provider string `json:"provider"`
	} `json:"format"`
}

type commitInfo struct {
	Timestamp         *int64 `json:"timestamp"`
	InCommitTimestamp *int64 `json:"inCommitTimestamp"`
	Operation         string `json:"operation"`
}

type sidecar struct {
	Path        string `json:"path"`
	SizeInBytes int64  `json:"sizeInBytes"`
}

type txn struct {
	AppID   string `json:"appId"`
	Version int64  `json:"version"`
}

// fileAction is add or remove as JSON has it.
type fileAction struct {
	Path            string             `json:"path"`
	PartitionValues map[string]*string `json:"partitionValues"`
	Size            int64              `json:"size"`
	DataChange      bool               `json:"dataChange"`
	Stats           string             `json:"stats"`
	DeletionVector  *DeletionVector    `json:"deletionVector"`
}

// actions is the content of one commit, checkpoint part or sidecar.
type actions struct {
	info     commitInfo
	rawInfo  json.RawMessage
	protocol *Protocol
	metadata *Metadata
	adds     []Add
	files    fileList // a checkpoint's or sidecar's adds, instead
	removes  []fileID
	txns     []txn
	sidecars []sidecar
	count    int64 // of actions, as _last_checkpoint's size counts them
}

// parseActions reads newline-separated JSON actions, of a commit or of a v2
// checkpoint. Actions that it does not know are skipped, as the protocol asks:
// what a reader must understand is announced by the protocol action.
func parseActions(root folder, key string, body []byte) (*actions, error) {
	acts := &actions{}
	for n := 1; len(body) > 0; n++ {
		var line []byte
		line, body, _ = bytes.Cut(body, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := acts.parse(root, line); err != nil {
			return nil, badLog(key, "line %d: %w", n, err)
		}
	}
	if acts.count == 0 {
		return nil, badLog(key, "holds no action")
	}
	return acts, acts.unique(key)
}

func (acts *actions) parse(root folder, line []byte) error {
	var a struct {
		CommitInfo json.RawMessage `json:"commitInfo"`
		Protocol   *Protocol       `json:"protocol"`
		Metadata   *Metadata       `json:"metaData"`
		Add        *fileAction     `json:"add"`
		Remove     *fileAction     `json:"remove"`
		Txn        *txn            `json:"txn"`
		Sidecar    *sidecar        `json:"sidecar"`
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return err
	}
	acts.count++
	switch {
	case a.CommitInfo != nil:
		acts.rawInfo = a.CommitInfo
		return json.Unmarshal(a.CommitInfo, &acts.info)
	case a.Protocol != nil:
		acts.protocol = a.Protocol
	case a.Metadata != nil:
		acts.metadata = a.Metadata
	case a.Txn != nil:
		acts.txns = append(acts.txns, *a.Txn)
	case a.Sidecar != nil:
		acts.sidecars = append(acts.sidecars, *a.Sidecar)
	case a.Add != nil:
		return acts.add(root, *a.Add)
	case a.Remove != nil:
		add, err := newAdd(root, *a.Remove)
		acts.removes = append(acts.removes, add.id())
		return err
	}
	return nil
}

func (acts *actions) add(root folder, f fileAction) error {
	add, err := newAdd(root, f)
	acts.adds = append(acts.adds, add)
	return err
}

func newAdd(root folder, f fileAction) (Add, error) {
	a := Add{
		Path: f.Path, Size: f.Size, Records: numRecords([]byte(f.Stats)),
		PartitionValues: f.PartitionValues, DataChange: f.DataChange, Vector: f.DeletionVector,
	}
	return a, a.locate(root)
}

// locate works out where the file and its vector lie.
func (a *Add) locate(root folder) error {
	var err error
	if a.at, err = root.resolve(a.Path); err != nil {
		return err
	}
	if a.Size < 0 {
		return fmt.Errorf("%w: size %d of %s is negative", ErrCorrupt, a.Size, a.Path)
	}
	if a.Vector != nil {
		return a.Vector.locate(root)
	}
	return nil
}

// local reports whether the file lies in the table and has no vector elsewhere.
func (a *Add) local(root table.Root) bool {
	return a.at.bucket == "" && a.Vector == nil && within(root.Prefix, a.at.key)
}

// within reports whether a key lies in the folder; an empty one is the bucket.
func within(folder, key string) bool {
	return folder == "" || len(key) > len(folder) && key[len(folder)] == '/' && key[:len(folder)] == folder
}

// each yields the files that are added.
func (acts *actions) each() iter.Seq[*Add] {
	return func(yield func(*Add) bool) {
		for i := range acts.adds {
			if !yield(&acts.adds[i]) {
				return
			}
		}
	}
}

// unique refuses a logical file named twice in one commit or checkpoint: the
// order of actions has no meaning, so nobody could say which one holds.
func (acts *actions) unique(key string) error {
	seen := make(map[fileID]bool, len(acts.adds)+len(acts.removes))
	for _, a := range acts.adds {
		if seen[a.id()] {
			return badLog(key, "adds %s with deletion vector %q twice", a.Path, a.Vector.ID())
		}
		seen[a.id()] = true
	}
	for _, id := range acts.removes {
		if seen[id] {
			return badLog(key, "names %s with deletion vector %q twice", id.key, id.vector)
		}
		seen[id] = true
	}
	return nil
}

// appended is how many rows the commit brought: those of files that it adds as a
// change of data, but not of files whose deletion vector it replaces.
func (acts *actions) appended() int64 {
	removed := make(map[place]bool, len(acts.removes))
	for _, id := range acts.removes {
		removed[id.place] = true
	}
	var rows int64
	for _, a := range acts.adds {
		switch n := a.Rows(); {
		case !a.DataChange || removed[a.at]:
		case n < 0:
			return -1
		default:
			rows += n
		}
	}
	return rows
}

// timeOf is when a version was committed. In-commit timestamps hold only while
// the table's configuration enables them. Other times are moved past the
// previous version's where they are not already, as the protocol does, so that
// times never contradict the order of versions.
func timeOf(n int64, info commitInfo, meta *Metadata, o table.Object, prev time.Time) table.Version {
	v := table.Version{Number: n}
	switch {
	case info.InCommitTimestamp != nil && meta != nil && meta.Configuration["delta.enableInCommitTimestamps"] == "true":
		v.Time, v.From = time.UnixMilli(*info.InCommitTimestamp).UTC(), table.InCommit
		return v
	case info.Timestamp != nil:
		v.Time, v.From = time.UnixMilli(*info.Timestamp).UTC(), table.CommitInfo
	case !o.Modified.IsZero():
		v.Time, v.From = o.Modified.UTC(), table.ObjectTime
	default:
		return v
	}
	if !prev.IsZero() && !v.Time.After(prev) {
		v.Time = prev.Add(time.Millisecond)
	}
	return v
}
