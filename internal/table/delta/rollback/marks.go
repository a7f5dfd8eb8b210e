package rollback

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"breakwater/internal/table/delta"
)

// Marks are what only ever grows in a table. If one of them fell, numbers that
// were given out once would be given out again (trap 12).
type Marks struct {
	// Identity is the last value given by each identity column, by the column's
	// physical name.
	Identity map[string]int64 `json:"identity,omitempty"`
	// Down names the identity columns that count downwards.
	Down []string `json:"down,omitempty"`
	// RowID is the highest row id given, -1 where none was.
	RowID int64 `json:"row_id"`
	// ColumnID is the highest column id given by column mapping, 0 without it.
	ColumnID int64 `json:"column_id,omitempty"`
	// Protocol is what readers and writers must support.
	Protocol delta.Protocol `json:"protocol"`
}

// Below says in words which marks are lower than want's; none is the good answer.
func (m Marks) Below(want Marks) []string {
	var low []string
	for _, c := range slices.Sorted(maps.Keys(want.Identity)) {
		got, ok := m.Identity[c]
		if down := slices.Contains(want.Down, c); !ok || down && got > want.Identity[c] || !down && got < want.Identity[c] {
			low = append(low, fmt.Sprintf("identity column %s is at %d and gave out %d", c, got, want.Identity[c]))
		}
	}
	if m.RowID < want.RowID {
		low = append(low, fmt.Sprintf("row ids are at %d and %d was given out", m.RowID, want.RowID))
	}
	if m.ColumnID < want.ColumnID {
		low = append(low, fmt.Sprintf("column ids are at %d and %d was given out", m.ColumnID, want.ColumnID))
	}
	if !covers(m.Protocol, want.Protocol) {
		low = append(low, fmt.Sprintf("the protocol is %+v and was %+v", m.Protocol, want.Protocol))
	}
	return low
}

// MarksOf reads the marks of a version.
func MarksOf(ctx context.Context, l *delta.Log, s *delta.Snapshot) (Marks, error) {
	domains := map[string]domain{}
	for a, err := range l.ActionsOf(ctx, s) {
		if err == nil && a.Kind == "domainMetadata" {
			err = set(domains, a)
		}
		if err != nil {
			return Marks{}, fmt.Errorf("read the high-water marks of delta table %s at version %d: %w", s.Root, s.Version.Number, err)
		}
	}
	return marks(s, domains)
}

func marks(s *delta.Snapshot, domains map[string]domain) (Marks, error) {
	m := Marks{RowID: -1, Protocol: s.Protocol}
	cols, err := identities(s.Metadata.SchemaString)
	if err != nil {
		return m, err
	}
	for _, name := range slices.Sorted(maps.Keys(cols)) {
		c := cols[name]
		if c.Mark == nil {
			continue
		}
		if m.Identity == nil {
			m.Identity = map[string]int64{}
		}
		m.Identity[name] = *c.Mark
		if c.Step < 0 {
			m.Down = append(m.Down, name)
		}
	}
	if m.ColumnID, err = columnID(s.Metadata.Configuration); err != nil {
		return m, err
	}
	if d, ok := domains[rowTracking]; ok {
		m.RowID, err = rowMark(d)
	}
	return m, err
}

const (
	rowTracking = "delta.rowTracking"
	clustering  = "delta.clustering"
	maxColumn   = "delta.columnMapping.maxColumnId"
)

func columnID(conf map[string]string) (int64, error) {
	text, ok := conf[maxColumn]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: property %s is %q", delta.ErrCorrupt, maxColumn, text)
	}
	return n, nil
}

func rowMark(d domain) (int64, error) {
	var c struct {
		Mark *int64 `json:"rowIdHighWaterMark"`
	}
	if err := json.Unmarshal([]byte(d.Configuration), &c); err != nil || c.Mark == nil {
		return -1, fmt.Errorf("%w: domain %s holds no rowIdHighWaterMark: %s", delta.ErrCorrupt, rowTracking, d.Configuration)
	}
	return *c.Mark, nil
}

// identity is an identity column.
type identity struct {
	Step int64  `json:"delta.identity.step"`
	Mark *int64 `json:"delta.identity.highWaterMark"`
}

// higher reports whether a mark was given out after the column's.
func (i identity) higher(mark int64) bool {
	return i.Mark == nil || i.Step >= 0 && mark > *i.Mark || i.Step < 0 && mark < *i.Mark
}

// identities are the identity columns of a schema, by physical name. They are
// never nested.
func identities(schema string) (map[string]identity, error) {
	if !bytes.Contains([]byte(schema), []byte("delta.identity.")) {
		return nil, nil
	}
	var s struct {
		Fields []struct {
			Name     string          `json:"name"`
			Metadata json.RawMessage `json:"metadata"`
		} `json:"fields"`
	}
	if err := json.Unmarshal([]byte(schema), &s); err != nil {
		return nil, fmt.Errorf("%w: schema: %w", delta.ErrCorrupt, err)
	}
	cols := map[string]identity{}
	for _, f := range s.Fields {
		if !bytes.Contains(f.Metadata, []byte("delta.identity.step")) {
			continue
		}
		var i identity
		var physical struct {
			Name string `json:"delta.columnMapping.physicalName"`
		}
		if err := json.Unmarshal(f.Metadata, &i); err != nil {
			return nil, fmt.Errorf("%w: identity column %s: %w", delta.ErrCorrupt, f.Name, err)
		}
		if err := json.Unmarshal(f.Metadata, &physical); err != nil {
			return nil, fmt.Errorf("%w: identity column %s: %w", delta.ErrCorrupt, f.Name, err)
		}
		if physical.Name == "" {
			physical.Name = f.Name
		}
		cols[physical.Name] = i
	}
	return cols, nil
}

// raised is the schema with every identity column at the highest mark that it has
// in any of the later schemas; the very same text where none is higher.
func raised(schema string, later []string) (string, error) {
	cols, err := identities(schema)
	if err != nil || len(cols) == 0 {
		return schema, err
	}
	up := map[string]int64{}
	for _, text := range later {
		newer, err := identities(text)
		if err != nil {
			return "", err
		}
		for name, i := range newer {
			if c, ok := cols[name]; ok && i.Mark != nil && c.higher(*i.Mark) {
				c.Mark = i.Mark
				cols[name] = c
				up[name] = *i.Mark
			}
		}
	}
	if len(up) == 0 {
		return schema, nil
	}
	var s map[string]any
	d := json.NewDecoder(bytes.NewReader([]byte(schema)))
	d.UseNumber()
	if err := d.Decode(&s); err != nil {
		return "", fmt.Errorf("%w: schema: %w", delta.ErrCorrupt, err)
	}
	fields, _ := s["fields"].([]any)
	for _, f := range fields {
		field, _ := f.(map[string]any)
		meta, _ := field["metadata"].(map[string]any)
		name, ok := meta["delta.columnMapping.physicalName"].(string)
		if !ok {
			name, _ = field["name"].(string)
		}
		if mark, ok := up[name]; ok {
			meta["delta.identity.highWaterMark"] = mark
		}
	}
	raw, err := encode(s)
	return string(raw), err
}
