package lineage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"breakwater/internal/clip"
	"breakwater/internal/strictjson"
)

// Event is what one OpenLineage event says: of a run, or, without RunID, of a job in
// general. Events of one run add up.
type Event struct {
	Type    string    // START, RUNNING, COMPLETE, ABORT, FAIL or OTHER; empty of a job in general
	Time    time.Time // when it happened, by the clock of whoever says so
	RunID   string
	Job     Name
	Inputs  []Dataset
	Outputs []Dataset
}

// Name is a name in a namespace.
type Name struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is the name with its namespace.
func (n Name) String() string { return n.Namespace + "/" + n.Name }

// Dataset is what a run read or wrote, by all of its names.
type Dataset struct {
	Name
	Also    []Name // what the symlinks facet calls it
	Version string // which one was read or written, as the engine counts; empty where it does not say
}

// event is an event as it is written. What is not read here may be anything.
type event struct {
	Type string `json:"eventType"`
	Time string `json:"eventTime"`
	Run  *struct {
		ID string `json:"runId"`
	} `json:"run"`
	Job     *Name          `json:"job"`
	Inputs  []written      `json:"inputs"`
	Outputs []written      `json:"outputs"`
	Dataset jsontext.Value `json:"dataset"` // of an event that is of a dataset alone
}

// written is a dataset as it is written.
type written struct {
	Name
	Facets struct {
		Version *struct {
			Version jsontext.Value `json:"datasetVersion"`
		} `json:"version"`
		Symlinks *struct {
			Identifiers []Name `json:"identifiers"`
		} `json:"symlinks"`
		Columns *struct {
			Fields map[string]struct {
				From []Name `json:"inputFields"`
			} `json:"fields"`
			Dataset []Name `json:"dataset"`
		} `json:"columnLineage"`
	} `json:"facets"`
}

// ReadEvents reads OpenLineage events: JSON values one after the other, on one line each
// or not, or lists of them. What can be read comes back beside the error, which says what
// could not be, and how much: whoever goes on without it does not know what is in it. An
// event of a dataset in general says of no reader, and is passed over.
func ReadEvents(data []byte) ([]Event, error) {
	var all []Event
	var bad []error
	d := jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for n := 1; ; {
		raw, err := d.ReadValue()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			bad = append(bad, fmt.Errorf("from event %d on: %w", n, strictjson.Plain(err)))
			break
		}
		one := []jsontext.Value{raw}
		if raw.Kind() == '[' {
			if err := json.Unmarshal(raw, &one, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
				bad = append(bad, fmt.Errorf("from event %d on: %w", n, strictjson.Plain(err)))
				continue
			}
		}
		for _, raw := range one {
			e, ok, err := readEvent(raw)
			if err != nil {
				bad = append(bad, fmt.Errorf("event %d: %w", n, err))
			} else if ok {
				all = append(all, e)
			}
			n++
		}
	}
	return all, firstOf(bad)
}

// firstOf is the first of some errors, and how many more there are.
func firstOf(all []error) error {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return fmt.Errorf("%w; and %d more", all[0], len(all)-1)
}

// readEvent reads one event; false of one that says of no job.
func readEvent(raw jsontext.Value) (Event, bool, error) {
	var w event
	if err := json.Unmarshal(raw, &w, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return Event{}, false, strictjson.Plain(err)
	}
	at, err := time.Parse(time.RFC3339Nano, w.Time)
	switch {
	case w.Run == nil && w.Job == nil && w.Dataset != nil:
		return Event{}, false, nil
	case w.Job == nil || w.Job.Name == "":
		return Event{}, false, errors.New("it names no job")
	case w.Run != nil && w.Run.ID == "":
		return Event{}, false, errors.New("its run has no runId")
	case err != nil:
		return Event{}, false, fmt.Errorf("its eventTime %q is no time with a zone", clip.Text(w.Time, 60))
	}
	e := Event{Type: w.Type, Time: at.UTC(), Job: *w.Job}
	if w.Run != nil {
		e.RunID = w.Run.ID
	}
	for _, d := range w.Inputs {
		e.Inputs = append(e.Inputs, d.read())
	}
	for _, d := range w.Outputs {
		e.Outputs = append(e.Outputs, d.read())
		if c := d.Facets.Columns; c != nil { // of some engines the only inputs
			from := slices.Clone(c.Dataset)
			for _, f := range c.Fields {
				from = append(from, f.From...)
			}
			slices.SortFunc(from, Name.compare)
			for _, n := range slices.Compact(from) {
				if !slices.ContainsFunc(e.Inputs, func(d Dataset) bool { return d.Name == n }) {
					e.Inputs = append(e.Inputs, Dataset{Name: n})
				}
			}
		}
	}
	return e, true, nil
}

func (n Name) compare(o Name) int {
	return cmp.Or(cmp.Compare(n.Namespace, o.Namespace), cmp.Compare(n.Name, o.Name))
}

func (w written) read() Dataset {
	d := Dataset{Name: w.Name}
	if s := w.Facets.Symlinks; s != nil {
		d.Also = s.Identifiers
	}
	if v := w.Facets.Version; v != nil { // a text by the specification, a number by some
		d.Version = string(v.Version)
		if text, err := jsontext.AppendUnquote(nil, v.Version); err == nil {
			d.Version = string(text)
		}
	}
	return d
}

// Runs adds what events say to a graph. A run's inputs went into its outputs, at the time
// of its last event at the latest. What the estate has goes by its own name, as does a
// job that is called as one of its pipelines or their schedules.
func (g *Graph) Runs(events []Event, places Places, pipelines map[string]Node) {
	last := map[string]time.Time{} // of each run
	said := map[read]bool{}        // of which inputs of runs a version is known
	for _, e := range events {
		if e.Time.After(last[e.RunID]) {
			last[e.RunID] = e.Time
		}
		for _, d := range e.Inputs {
			if d.version() != nil {
				said[read{e.RunID, d.node(places)}] = true
			}
		}
	}
	for _, e := range events {
		job, known := pipelines[e.Job.Name]
		if !known {
			job = Node{JobKind, e.Job.String()}
		}
		run, at := job, time.Time{}
		if e.RunID != "" {
			run, at = Node{runKind, e.RunID}, last[e.RunID]
			g.Add(Edge{From: run, To: job, At: at})
		}
		for _, d := range e.Inputs {
			from := d.node(places)
			edge := Edge{From: from, To: run, Says: fmt.Sprintf("an OpenLineage event says that it read %s", from), At: at}
			if edge.Version = d.version(); edge.Version == nil && said[read{e.RunID, from}] {
				continue
			}
			g.Add(edge)
		}
		for _, d := range e.Outputs {
			g.Add(Edge{From: run, To: d.node(places), Says: fmt.Sprintf("an OpenLineage event says that %s wrote it", job), At: at})
		}
	}
}

// read is an input of a run.
type read struct {
	run  string
	from Node
}

// version is which version of a table it is; nil where that is not said, or not in
// whole numbers.
func (d Dataset) version() *int64 {
	v, err := strconv.ParseInt(d.Version, 10, 64)
	if err != nil {
		return nil
	}
	return &v
}

// node is what a dataset is in the estate, or by its own name.
func (d Dataset) node(places Places) Node {
	for _, n := range append([]Name{d.Name}, d.Also...) {
		if found, ok := places.At(n.Namespace, n.Name); ok {
			return found
		}
	}
	return Node{DatasetKind, d.Name.String()}
}
