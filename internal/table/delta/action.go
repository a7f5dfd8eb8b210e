package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"breakwater/internal/clip"
	"breakwater/internal/strictjson"
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

// commitInfo is what of a commit's own words this package reads. All of it is
// free-form: what is not of the expected kind is left out, and odd says so.
type commitInfo struct {
	Timestamp         *int64
	InCommitTimestamp *int64
	Operation         string
	odd               string
}

// readInfo reads the action commitInfo, whatever it is.
func readInfo(raw []byte) (info commitInfo) {
	var fields map[string]jsontext.Value
	if err := jsonv2.Unmarshal(raw, &fields, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		info.odd = "its commitInfo is no object"
		return info
	}
	number := func(name string) *int64 {
		text, ok := fields[name]
		if !ok || string(text) == "null" {
			return nil
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			info.odd = fmt.Sprintf("the %s of its commitInfo is no whole number of milliseconds: %s", name, clip.Text(string(text), 60))
			return nil
		}
		return &n
	}
	info.Timestamp, info.InCommitTimestamp = number("timestamp"), number("inCommitTimestamp")
	if text := fields["operation"]; text != nil && strictjson.Unmarshal(text, &info.Operation) != nil {
		info.odd = "the operation of its commitInfo is no text"
	}
	return info
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
	Stats           jsontext.Value     `json:"stats"`
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
	inParts  int64 // of them in a checkpoint's own parts
	odd      []string
	bare     bool // of a checkpoint only the protocol and the metadata are wanted
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
	all, err := members(line)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		acts.count++
	}
	for _, m := range all {
		if err := acts.member(root, m); err != nil {
			return fmt.Errorf("%s: %w", m.kind, err)
		}
	}
	return nil
}

func (acts *actions) member(root folder, m member) error {
	switch m.kind {
	case "commitInfo":
		acts.rawInfo, acts.info = m.body, readInfo(m.body)
		if acts.info.odd != "" {
			acts.odd = append(acts.odd, acts.info.odd)
		}
	case "protocol":
		acts.protocol = &Protocol{}
		return whole(m.body, acts.protocol, "minReaderVersion", "minWriterVersion", "readerFeatures", "writerFeatures")
	case "metaData":
		acts.metadata = &Metadata{}
		return whole(m.body, acts.metadata, "id", "schemaString", "partitionColumns", "configuration")
	case "txn":
		var t txn
		if err := strictjson.Unmarshal(m.body, &t); err != nil {
			return err
		}
		acts.txns = append(acts.txns, t)
	case "sidecar":
		var s sidecar
		if err := strictjson.Unmarshal(m.body, &s); err != nil {
			return err
		}
		acts.sidecars = append(acts.sidecars, s)
	case "add":
		var f fileAction
		if err := strictjson.Unmarshal(m.body, &f); err != nil {
			return err
		}
		return acts.add(root, f)
	case "remove":
		var f fileAction
		if err := strictjson.Unmarshal(m.body, &f); err != nil {
			return err
		}
		add, _, err := newAdd(root, f)
		acts.removes = append(acts.removes, add.id())
		return err
	}
	return nil
}

func (acts *actions) add(root folder, f fileAction) error {
	add, odd, err := newAdd(root, f)
	acts.adds = append(acts.adds, add)
	if odd != "" {
		acts.odd = append(acts.odd, fmt.Sprintf("the statistics of %s %s, and are left out", add.Path, odd))
	}
	return err
}

// newAdd is the file of an action; odd says what is odd in its statistics.
func newAdd(root folder, f fileAction) (a Add, odd string, err error) {
	a = Add{
		Path: f.Path, Size: f.Size,
		PartitionValues: f.PartitionValues, DataChange: f.DataChange, Vector: f.DeletionVector,
	}
	a.Records, odd = recordsIn(f.Stats)
	return a, odd, a.locate(root)
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

// under names a file's deletion vector; nothing where it has none.
func under(vector string) string {
	if vector == "" {
		return ""
	}
	return fmt.Sprintf(" with deletion vector %q", vector)
}

// unique refuses a logical file named twice in one commit or checkpoint: the
// order of actions has no meaning, so nobody could say which one holds.
func (acts *actions) unique(key string) error {
	seen := make(map[fileID]bool, len(acts.adds)+len(acts.removes))
	for _, a := range acts.adds {
		if seen[a.id()] {
			return badLog(key, "adds %s%s twice", a.Path, under(a.Vector.ID()))
		}
		seen[a.id()] = true
	}
	for _, id := range acts.removes {
		if seen[id] {
			return badLog(key, "names %s%s twice", strings.TrimPrefix(id.key, strings.TrimSuffix(key, InLog(key))), under(id.vector))
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
// the table's configuration enables them. The clock of whoever committed counts up to
// the time at which the store wrote the commit: it may be set wrong, or count something
// else than milliseconds. A version's time is its own: it does not depend on where
// reading began, and may contradict the order of versions, which package recovery
// settles where that matters.
func timeOf(n int64, info commitInfo, meta *Metadata, o table.Object) table.Version {
	v := table.Version{Number: n}
	switch {
	case info.InCommitTimestamp != nil && meta != nil && meta.Configuration["delta.enableInCommitTimestamps"] == "true":
		v.Time, v.From = time.UnixMilli(*info.InCommitTimestamp).UTC(), table.InCommit
	case info.Timestamp != nil && info.ahead(o) <= 0:
		v.Time, v.From = time.UnixMilli(*info.Timestamp).UTC(), table.CommitInfo
	case !o.Modified.IsZero():
		v.Time, v.From = o.Modified.UTC(), table.ObjectTime
	}
	return v
}

// ahead is by how much a commit's own time is later than the store's, which stores tell
// in whole seconds; not positive where it is not, or where one of them is not known.
func (i commitInfo) ahead(o table.Object) time.Duration {
	if i.Timestamp == nil || o.Modified.IsZero() {
		return 0
	}
	latest := o.Modified
	if latest.Nanosecond() == 0 {
		latest = latest.Add(time.Second - time.Nanosecond)
	}
	return time.UnixMilli(*i.Timestamp).Sub(latest)
}

// wellAhead is how far ahead a commit's own time is not worth a word: clocks differ.
const wellAhead = time.Minute
