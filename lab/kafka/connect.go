package kafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"breakwater/internal/mirror/mm2"
	"breakwater/lab/server"
)

// The names that a worker and its three connectors have in the laboratory.
const (
	SourceConnector     = "mm2-source"
	CheckpointConnector = "mm2-checkpoint"
	HeartbeatConnector  = "mm2-heartbeat"

	OffsetsTopic = "connect-offsets" // of the worker: how far the source connector has come
)

// ConnectConfig describes a Connect worker.
type ConnectConfig struct {
	Dir    string // its folder; made if it is not there
	Jars   string // folder of Kafka's jars, see [Jars]
	Name   string // of the region, for file names and errors
	Broker string // address of its region's broker, where it keeps its state: [Broker.Admin]
	Bound  bool   // it ends with the process that starts it, however that ends
}

// Connect is one worker in distributed mode, with exactly-once delivery.
type Connect struct {
	*server.Server
	Config ConnectConfig
	state  connectState
}

type connectState struct {
	REST int `json:"rest"`
}

// URL is the address of the worker's REST interface.
func (c *Connect) URL() string { return "http://" + server.Address(c.state.REST) }

// StartConnect starts the worker of c.Dir and returns without waiting until
// it serves, for which Ready is. Connectors that it ran before run again by themselves. It
// refuses with fs.ErrExist when it runs already.
func StartConnect(ctx context.Context, c ConnectConfig) (*Connect, error) {
	fail := func(doing string, err error) (*Connect, error) {
		return nil, fmt.Errorf("start connect %s: %s: %w", c.Name, doing, err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	logConf, err := logging(c.Dir)
	if err != nil {
		return nil, err
	}
	w := newConnect(c)
	if err := load(w.statePath(), &w.state); errors.Is(err, fs.ErrNotExist) {
		if w.state.REST, err = server.Ports(1, nil); err != nil {
			return nil, err
		}
		if err := save(w.statePath(), w.state); err != nil {
			return fail("keep its state", err)
		}
	} else if err != nil {
		return fail("read its state", err)
	}
	conf := filepath.Join(c.Dir, "connect.properties")
	if err := os.WriteFile(conf, []byte(w.properties()), 0o644); err != nil {
		return fail("write its configuration", err)
	}
	if err := start(ctx, w.Server, jvm(logConf, c.Jars, "org.apache.kafka.connect.cli.ConnectDistributed", conf)); err != nil {
		return nil, err
	}
	return w, nil
}

// newConnect is a worker whose state is not known yet.
func newConnect(c ConnectConfig) *Connect {
	w := &Connect{Config: c}
	w.Server = newServer("connect-"+c.Name, c.Dir, c.Bound, w.serves)
	return w
}

// OpenConnect finds the worker of c.Dir that runs already; fs.ErrNotExist if none does.
func OpenConnect(c ConnectConfig) (*Connect, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	w := newConnect(c)
	if err := load(w.statePath(), &w.state); err != nil {
		return nil, fmt.Errorf("open connect %s: %w", c.Name, err)
	}
	if err := adopt(w.Server); err != nil {
		return nil, err
	}
	return w, nil
}

// serves asks whether the worker lists its connectors.
func (c *Connect) serves(ctx context.Context) error {
	cl, err := mm2.NewWorker(c.URL(), mm2.Login{})
	if err != nil {
		return err
	}
	_, err = cl.Names(ctx)
	return err
}

func (c *ConnectConfig) check() error {
	if c.Dir == "" || c.Name == "" || c.Broker == "" {
		return errors.New("start connect: Dir, Name and Broker are needed")
	}
	if err := complete(c.Jars); err != nil {
		return fmt.Errorf("start connect %s: %w", c.Name, err)
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return fmt.Errorf("start connect %s: %w", c.Name, err)
	}
	if c.Jars, err = filepath.Abs(c.Jars); err != nil {
		return fmt.Errorf("start connect %s: %w", c.Name, err)
	}
	return nil
}

func (c *Connect) statePath() string { return filepath.Join(c.Config.Dir, "connect.json") }

func (c *Connect) properties() string {
	return fmt.Sprintf(`bootstrap.servers=%s
group.id=mm2-connect
listeners=%s
rest.advertised.host.name=127.0.0.1
key.converter=org.apache.kafka.connect.converters.ByteArrayConverter
value.converter=org.apache.kafka.connect.converters.ByteArrayConverter
header.converter=org.apache.kafka.connect.converters.ByteArrayConverter
config.storage.topic=connect-configs
offset.storage.topic=%s
status.storage.topic=connect-status
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=1
status.storage.partitions=1
offset.flush.interval.ms=1000
exactly.once.source.support=enabled
connector.client.config.override.policy=All
scheduled.rebalance.max.delay.ms=0
plugin.discovery=service_load
`, c.Config.Broker, c.URL(), OffsetsTopic)
}

// MirrorConfig describes a mirror of one region's topics in another.
type MirrorConfig struct {
	Source, Target             string   // aliases, as topics and records name the clusters
	SourceBroker, TargetBroker string   // addresses: [Broker.MirrorAddress] and [Broker.Admin]
	Topics                     []string // regular expressions, as MirrorMaker takes them
	Groups                     []string // the same for consumer groups; all if empty
	GroupsAs                   *Login   // who moves consumer groups at the target; whoever TargetBroker lets in if nil

	// Renaming makes a second mirror, of connectors of its own, which names topics by the
	// DefaultReplicationPolicy. It leaves heartbeats to the first.
	Renaming bool
}

// Login is how one comes in at [Broker.Client].
type Login struct{ Broker, User, Password string }

// The names of the connectors of a mirror that renames.
const (
	RenamingSource     = "mm2-renaming-source"
	RenamingCheckpoint = "mm2-renaming-checkpoint"
)

// PutMirror makes the worker at url mirror m: the source connector copies
// records exactly once and reads only committed ones, the checkpoint connector
// translates and syncs groups, and the heartbeat connector writes into the
// *source*, so that an arriving heartbeat proves the whole way. Intervals are
// seconds instead of minutes. Putting the same again changes nothing.
func PutMirror(ctx context.Context, url string, m MirrorConfig) error {
	cl, err := mm2.NewWorker(url, mm2.Login{})
	if err != nil {
		return err
	}
	for name, config := range m.connectors() {
		if err := cl.Put(ctx, name, config); err != nil {
			return fmt.Errorf("put the mirror of %s in %s: %w", m.Source, m.Target, err)
		}
	}
	return nil
}

func (m MirrorConfig) connectors() map[string]map[string]string {
	const pack, policy = "org.apache.kafka.connect.mirror.", "replication.policy.class"
	topics := strings.Join(m.Topics, ",")
	groups := strings.Join(m.Groups, ",")
	if groups == "" {
		groups = ".*"
	}
	with := func(class, source, sourceBroker, target, targetBroker string, own map[string]string) map[string]string {
		own["connector.class"] = pack + class
		own["source.cluster.alias"], own["source.cluster.bootstrap.servers"] = source, sourceBroker
		own["target.cluster.alias"], own["target.cluster.bootstrap.servers"] = target, targetBroker
		own[policy] = pack + "IdentityReplicationPolicy"
		// A connector that is told to stop first waits for what it asked of a dead
		// source, each by default for 60 s: its scheduler's round, and its requests.
		own["admin.timeout.ms"] = "6000"
		own["admin.default.api.timeout.ms"], own["admin.request.timeout.ms"] = "6000", "5000"
		return own
	}
	all := map[string]map[string]string{
		SourceConnector: with("MirrorSourceConnector", m.Source, m.SourceBroker, m.Target, m.TargetBroker, map[string]string{
			"tasks.max": "2",
			// Heartbeats in the source are an ordinary topic to be copied.
			"topics":                                topics + ",heartbeats",
			"replication.factor":                    "1",
			"refresh.topics.interval.seconds":       "2",
			"offset-syncs.topic.location":           "target",
			"offset-syncs.topic.replication.factor": "1",
			"offset.lag.max":                        "10",
			"sync.topic.configs.interval.seconds":   "5",
			"sync.topic.acls.enabled":               "false",
			"source.consumer.isolation.level":       "read_committed",
			"exactly.once.support":                  "required",
		}),
		CheckpointConnector: with("MirrorCheckpointConnector", m.Source, m.SourceBroker, m.Target, m.TargetBroker, map[string]string{
			"tasks.max":                             "1",
			"topics":                                topics,
			"groups":                                groups,
			"offset-syncs.topic.location":           "target",
			"offset-syncs.topic.replication.factor": "1",
			"checkpoints.topic.replication.factor":  "1",
			"emit.checkpoints.interval.seconds":     "1",
			"refresh.groups.interval.seconds":       "2",
			"sync.group.offsets.enabled":            "true",
			"sync.group.offsets.interval.seconds":   "1",
		}),
		// An exactly-once worker writes elsewhere only if all three of its clients
		// are told so and the offsets have a topic there; otherwise the task says
		// RUNNING and hangs after one record, in an open transaction.
		HeartbeatConnector: with("MirrorHeartbeatConnector", m.Target, m.TargetBroker, m.Source, m.SourceBroker, map[string]string{
			"tasks.max":                           "1",
			"producer.override.bootstrap.servers": m.SourceBroker,
			"consumer.override.bootstrap.servers": m.SourceBroker,
			"admin.override.bootstrap.servers":    m.SourceBroker,
			"offsets.storage.topic":               "connect-offsets-heartbeat",
			"heartbeats.topic.replication.factor": "1",
			"emit.heartbeats.interval.seconds":    "1",
		}),
	}
	if as := m.GroupsAs; as != nil {
		own := all[CheckpointConnector]
		own["target.cluster.bootstrap.servers"], own["target.cluster.security.protocol"], own["target.cluster.sasl.mechanism"] = as.Broker, "SASL_PLAINTEXT", "PLAIN"
		own["target.cluster.sasl.jaas.config"] = fmt.Sprintf("org.apache.kafka.common.security.plain.PlainLoginModule required username=%q password=%q;", as.User, as.Password)
	}
	if !m.Renaming {
		return all
	}
	source, checkpoint := all[SourceConnector], all[CheckpointConnector]
	source["topics"] = topics
	delete(source, policy)
	delete(checkpoint, policy)
	return map[string]map[string]string{RenamingSource: source, RenamingCheckpoint: checkpoint}
}
