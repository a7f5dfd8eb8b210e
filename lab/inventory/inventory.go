// Package inventory counts what the servers of a laboratory hold, so that two moments can
// be compared: objects and what tables read as, policies and who has them, settings of
// buckets, secrets, topics with their records, groups and rights, connectors, Schedules.
//
// It asks with the servers' own clients as their root, and with delta-rs. It shares no code
// with the product: what an undo forgets to put back, an inventory must not forget to see.
package inventory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"
)

// Kind is what a fact is about.
type Kind string

// The kinds of facts.
const (
	Object       Kind = "object"  // what a reader gets under a key
	Version      Kind = "version" // of a key, the ones that nobody sees among them
	Upload       Kind = "unfinished upload"
	Setting      Kind = "setting" // of a bucket
	Quota        Kind = "quota of bucket"
	Remote       Kind = "replication target"
	User         Kind = "user"
	UserGroup    Kind = "group of users"
	Policy       Kind = "policy" // that users may have
	Table        Kind = "table"  // what delta-rs reads
	Secret       Kind = "secret"
	VaultPolicy  Kind = "policy of the vault"
	Mount        Kind = "mount of the vault"
	Topic        Kind = "topic"
	TopicSetting Kind = "settings of topic"
	Broker       Kind = "settings of broker"
	Log          Kind = "records of partition"
	ACL          Kind = "ACL"
	Group        Kind = "consumer group"
	Committed    Kind = "commit of"
	Connector    Kind = "configuration of connector"
	State        Kind = "state of connector"
	Delivered    Kind = "offsets of connector"
	Schedule     Kind = "Schedule"
	Pause        Kind = "pause of Schedule"
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{
		Object, Version, Upload, Setting, Quota, Remote, User, UserGroup, Policy, Table, Secret, VaultPolicy, Mount,
		Topic, TopicSetting, Broker, Log, ACL, Group, Committed, Connector, State, Delivered, Schedule, Pause,
	}
}

// Fact is one thing that a place has.
type Fact struct {
	Place string
	Kind  Kind
	Name  string
}

func (f Fact) String() string { return fmt.Sprintf("%s: %s %s", f.Place, f.Kind, f.Name) }

// Inventory is what there is of each fact. What is not there has no entry.
type Inventory map[Fact]string

// World is the servers that are asked. What a world does not have stays empty.
type World struct {
	Places    []Place
	Temporal  client.Client // of the Schedules; they are in no region
	Namespace string
	Python    string // an interpreter that has delta-rs
	partial   bool   // a place was left out
}

// Place is the servers of one region, with the credentials of their root.
type Place struct {
	Name    string
	Storage *Storage
	Vault   *Vault
	Broker  string // of Kafka, where whoever comes may do everything: host:port
	Connect string // URL of its worker
}

// Storage is a MinIO.
type Storage struct {
	Endpoint, Region     string // URL, and what signatures name
	AccessKey, SecretKey string
	Buckets              []string
	Tables               []string // s3://bucket/path
}

// Vault is a Vault, or an OpenBao.
type Vault struct{ Address, Token string }

// Without is the world without one place: one that is dead can be asked nothing.
func (w World) Without(place string) World {
	w.Places = slices.DeleteFunc(slices.Clone(w.Places), func(p Place) bool { return p.Name == place })
	w.partial = true
	return w
}

// Without are the facts of all places but one.
func (i Inventory) Without(place string) Inventory {
	rest := maps.Clone(i)
	maps.DeleteFunc(rest, func(f Fact, _ string) bool { return f.Place == place })
	return rest
}

// Take asks every server of a world.
func Take(ctx context.Context, w World) (Inventory, error) {
	t := taken{all: Inventory{}, partial: w.partial}
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range w.Places {
		if p.Storage != nil {
			g.Go(func() error { return t.storage(ctx, p.Name, *p.Storage) })
			if len(p.Storage.Tables) > 0 {
				g.Go(func() error { return t.tables(ctx, w.Python, p.Name, *p.Storage) })
			}
		}
		if p.Vault != nil {
			g.Go(func() error { return t.vault(ctx, p.Name, *p.Vault) })
		}
		if p.Broker != "" {
			g.Go(func() error { return t.kafka(ctx, p.Name, p.Broker) })
		}
		if p.Connect != "" {
			g.Go(func() error { return t.connect(ctx, p.Name, p.Connect) })
		}
	}
	if w.Temporal != nil {
		g.Go(func() error { return t.schedules(ctx, w.Temporal, w.Namespace) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("take an inventory: %w", err)
	}
	return t.all, nil
}

// taken is an inventory that several write.
type taken struct {
	mu      sync.Mutex
	all     Inventory
	partial bool // a place of the world is left out
}

// note writes a fact down. What is no text is written as JSON, which has one form.
func (t *taken) note(place string, kind Kind, name string, value any) error {
	text, ok := value.(string)
	if !ok {
		raw, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
		text = string(raw)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[Fact{place, kind, name}] = text
	return nil
}

// Rule is something that may differ although everything is as it was before.
type Rule struct {
	What, Why string
	covers    func(f Fact, was, is string) bool // empty: it is not there
}

// Rules are all that may differ when a run was taken back. Whatever else differs was not
// put back as it was.
func Rules() []Rule {
	return []Rule{
		{
			What: "a new version of an object",
			Why:  "a bucket keeps every version, and nothing is deleted for good: what was hidden or replaced comes back as a version above",
			covers: func(f Fact, was, _ string) bool {
				return f.Kind == Version && was == ""
			},
		},
		{
			What: "a new copy in a table's quarantine",
			Why:  "log files that were moved aside are copied back, and the copies stay as evidence; no reader of the table lists them",
			covers: func(f Fact, was, _ string) bool {
				return f.Kind == Object && was == "" && strings.Contains(f.Name, "/.breakwater/quarantine/")
			},
		},
		{
			What: "a consumer group that holds nothing",
			Why:  "where a group had read nothing, its commits are deleted; what is left of it is as good as never there, and Kafka removes that by itself within minutes",
			covers: func(f Fact, was, is string) bool {
				return f.Kind == Group && was == "" && is == holdsNothing
			},
		},
		{
			What: "a topic of the brokers' own",
			Why:  "a broker makes the topic in which it keeps commits when it is first asked for a group, by whomever",
			covers: func(f Fact, was, _ string) bool {
				return (f.Kind == Topic || f.Kind == TopicSetting) && was == "" && strings.HasPrefix(f.Name, "__")
			},
		},
	}
}

// WhileDead is what may differ beside that while a region is dead.
func WhileDead() Rule {
	return Rule{
		What: "the tasks of a connector that runs",
		Why:  "the mirror asks the cluster that it reads what there is to do: while that is dead it finds nothing, and lets its tasks go and take them up again by itself",
		covers: func(f Fact, was, is string) bool {
			runs := func(state string) bool { return strings.HasPrefix(state, `["RUNNING"`) }
			return f.Kind == State && runs(was) && runs(is)
		},
	}
}

// Compare says in a sentence for each what is otherwise than before, beside what the rules
// cover.
func Compare(before, after Inventory, rules ...Rule) []string {
	facts := map[Fact]bool{}
	for _, i := range []Inventory{before, after} {
		for f := range i {
			facts[f] = true
		}
	}
	var sentences []string
	for _, f := range slices.SortedFunc(maps.Keys(facts), compareFacts) {
		was, had := before[f]
		is, has := after[f]
		if had && has && was == is || slices.ContainsFunc(rules, func(r Rule) bool { return r.covers(f, was, is) }) {
			continue
		}
		switch {
		case !had:
			sentences = append(sentences, fmt.Sprintf("%s is new: %s", f, is))
		case !has:
			sentences = append(sentences, fmt.Sprintf("%s is gone, and was %s", f, was))
		default:
			sentences = append(sentences, fmt.Sprintf("%s was %s, and is %s", f, was, is))
		}
	}
	return sentences
}

func compareFacts(a, b Fact) int {
	return cmp.Or(cmp.Compare(a.Place, b.Place), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// compact is JSON in one form: protojson spaces it at random.
func compact(raw []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return string(raw)
	}
	return b.String()
}
