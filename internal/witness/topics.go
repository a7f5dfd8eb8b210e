package witness

import (
	"context"
	"net/url"
	"slices"
	"time"
)

// TopicEnds are the ends of all partitions of a topic at its source, seen the
// same from First to Last. As in a table's sightings, of many looks that saw the
// same the first and the last say everything. Times are on the readers' clocks.
type TopicEnds struct {
	First      time.Time       `json:"first"`
	Last       time.Time       `json:"last"`
	Partitions []PartitionEnds `json:"partitions"` // by number
	Run        string          `json:"run"`        // that saw them last
	// ID is the topic's id (KIP-516), another one for a topic that was created anew;
	// empty where a journal or a broker is too old to know it.
	ID string `json:"id,omitempty"`
}

// PartitionEnds is where one partition ends at its source.
type PartitionEnds struct {
	Partition int32 `json:"partition"`
	// Data is the position after the newest committed data record: what a mirror
	// that reads committed records can reach. While a transaction is open it is
	// End, since others' records lie above Stable.
	Data   int64     `json:"data"`
	Stable int64     `json:"stable"`          // last stable offset
	End    int64     `json:"end"`             // log end offset
	Newest time.Time `json:"newest,omitzero"` // timestamp of the newest data record
	// Undated means that a new data record carries no time: a mirror may stamp it with that
	// of copying.
	Undated bool `json:"undated,omitempty"`
}

// TopicJournal keeps a topic's ends beside a table's sightings, in the witness's
// journal: <prefix>/topics/<topic>.json, one object that holds the newest [Kept] of
// them and is replaced by compare-and-set. What replacing leaves behind in a
// versioned bucket, a lifecycle rule for noncurrent versions bounds.
type TopicJournal struct{ Journal }

// Key is where a topic's ends lie.
func (j TopicJournal) Key(topic string) string {
	return j.key("topics", url.PathEscape(topic)+".json")
}

func (j TopicJournal) ends(topic string) list[TopicEnds] {
	key := j.Key(topic)
	return list[TopicEnds]{
		journal: j.Journal, key: key, read: "read what the witness saw of topic " + topic,
		malformed: "read what the witness saw of topic " + topic + " in " + j.Bucket.URL(key), write: "note the ends of topic " + topic,
	}
}

// Read returns a topic's ends, oldest first; none for a topic never seen.
func (j TopicJournal) Read(ctx context.Context, topic string) ([]TopicEnds, error) {
	return j.ends(topic).get(ctx)
}

// See adds what was seen at one time. A run's second look changes nothing; changed
// tells.
func (j TopicJournal) See(ctx context.Context, topic string, now TopicEnds) (changed bool, err error) {
	return j.ends(topic).change(ctx, func(all []TopicEnds) ([]TopicEnds, bool) {
		if slices.ContainsFunc(all, func(e TopicEnds) bool { return e.Run == now.Run }) {
			return all, false
		}
		return addEnds(all, now), true
	})
}

// addEnds adds a look after all others: what was seen the same the last time is
// seen on, and only the newest are kept.
func addEnds(all []TopicEnds, now TopicEnds) []TopicEnds {
	out := slices.Clone(all)
	if n := len(out); n > 0 && out[n-1].ID == now.ID && slices.Equal(out[n-1].Partitions, now.Partitions) && !now.Last.Before(out[n-1].Last) {
		out[n-1].Last, out[n-1].Run = now.Last, now.Run
		return out
	}
	out = append(out, now)
	slices.SortStableFunc(out, func(a, b TopicEnds) int { return a.Last.Compare(b.Last) })
	return out[max(0, len(out)-Kept):]
}

// Noted finds what a run noted of a topic.
func (j TopicJournal) Noted(ctx context.Context, topic, run string) (TopicEnds, bool, error) {
	all, err := j.Read(ctx, topic)
	i := slices.IndexFunc(all, func(e TopicEnds) bool { return e.Run == run })
	if i < 0 {
		return TopicEnds{}, false, err
	}
	return all[i], true, err
}
