// Package kafka starts Apache Kafka as child processes on loopback ports: one
// broker per region, and at the standby a Connect worker that runs
// MirrorMaker 2's three connectors.
//
// The servers are the released jars, unchanged; the recipe keeps them small
// (96 MB of heap each, about 570 MB of memory for all three) and quick (ready in
// a few seconds). Every server lives in one folder, which holds its ports, its
// pid and its log beside its data: started again on the same folder it has the
// same addresses, and a later command finds a server that an earlier one left
// running ([OpenBroker], [OpenConnect]).
//
// Listeners of a broker: ADMIN and MIRROR are PLAINTEXT, and who comes in there
// is a super-user; CLIENT is SASL_PLAINTEXT and obeys the ACLs. MIRROR may
// advertise another address than its own ([Config].MirrorVia), so that the
// mirror's traffic, and it alone, goes through a proxy that adds latency or cuts
// the line.
package kafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"breakwater/internal/kafka"
	"breakwater/lab/server"
)

// heapMB is each virtual machine's heap: two brokers and Connect share a laptop.
const heapMB = 96

// Config describes one broker.
type Config struct {
	Dir  string // its folder; made if it is not there
	Jars string // folder of Kafka's jars, see [Jars]
	Name string // of the region, for file names and errors
	// Bound ends the broker with the process that starts it, however that ends.
	Bound bool

	// Users are the names and passwords that CLIENT knows (SASL/PLAIN). They may
	// do nothing until an ACL allows it.
	Users map[string]string
	// SuperUsers are those of them who may do everything.
	SuperUsers []string
	// Open leaves the authorizer out: the broker knows no ACLs.
	Open bool

	// MirrorVia is the address that the MIRROR listener advertises, host:port;
	// empty for its own. Something must forward it to [Broker.MirrorListen].
	MirrorVia string

	// Doors opens two listeners more, for who comes in by the wrong one: [Broker.Scram]
	// and [Broker.TLS].
	Doors bool
}

// Broker is one KRaft broker with its controller.
type Broker struct {
	*server.Server
	Config Config
	state  brokerState
}

// brokerState is what a broker keeps over restarts.
type brokerState struct {
	ClusterID  string `json:"cluster_id"`
	Admin      int    `json:"admin"`
	Client     int    `json:"client"`
	Mirror     int    `json:"mirror"`
	Controller int    `json:"controller"`
	Doors      int    `json:"doors,omitempty"` // the first of two
}

// Admin is the address for administrators, without authentication.
func (b *Broker) Admin() string { return server.Address(b.state.Admin) }

// Client is the address for producers and consumers, SASL/PLAIN.
func (b *Broker) Client() string { return server.Address(b.state.Client) }

// Scram is the address of a listener that knows SCRAM-SHA-256 alone.
func (b *Broker) Scram() string { return server.Address(b.state.Doors) }

// TLS is the address of a listener that speaks TLS, with a certificate that nobody trusts.
func (b *Broker) TLS() string { return server.Address(b.state.Doors + 1) }

// MirrorListen is the address on which the MIRROR listener accepts.
func (b *Broker) MirrorListen() string { return server.Address(b.state.Mirror) }

// MirrorAddress is where a mirror must connect: MirrorVia, else [Broker.MirrorListen].
func (b *Broker) MirrorAddress() string {
	if b.Config.MirrorVia != "" {
		return b.Config.MirrorVia
	}
	return b.MirrorListen()
}

// ClusterID is the id with which the storage was formatted.
func (b *Broker) ClusterID() string { return b.state.ClusterID }

// StartBroker starts the broker of c.Dir, formatting its storage the first time
// (about 3 s), and returns without waiting until it serves, for which Ready is. It refuses with
// fs.ErrExist when it runs already.
func StartBroker(ctx context.Context, c Config) (*Broker, error) {
	fail := func(doing string, err error) (*Broker, error) {
		return nil, fmt.Errorf("start broker %s: %s: %w", c.Name, doing, err)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	logConf, err := logging(c.Dir)
	if err != nil {
		return nil, err
	}
	b := newBroker(c)
	conf := filepath.Join(c.Dir, "server.properties")
	fresh := false
	if err := load(b.statePath(), &b.state); errors.Is(err, fs.ErrNotExist) {
		fresh = true
		port, err := server.Ports(6, nil)
		if err != nil {
			return nil, err
		}
		b.state = brokerState{clusterID(), port, port + 1, port + 2, port + 3, port + 4}
	} else if err != nil {
		return fail("read its state", err)
	}
	properties := b.properties()
	if c.Doors {
		if properties, err = b.withDoors(properties); err != nil {
			return fail("write its configuration", err)
		}
	}
	if err := os.WriteFile(conf, []byte(properties), 0o600); err != nil {
		return fail("write its configuration", err)
	}
	if fresh {
		if err := b.format(ctx, conf); err != nil {
			return fail("format its storage", err)
		}
		if err := save(b.statePath(), b.state); err != nil {
			return fail("keep its state", err)
		}
	}
	if err := start(ctx, b.Server, jvm(logConf, c.Jars, "kafka.Kafka", conf)); err != nil {
		return nil, err
	}
	return b, nil
}

// newBroker is a broker whose state is not known yet.
func newBroker(c Config) *Broker {
	b := &Broker{Config: c}
	b.Server = newServer("broker-"+c.Name, c.Dir, c.Bound, b.serves)
	return b
}

// OpenBroker finds the broker of c.Dir that runs already; fs.ErrNotExist if none does.
func OpenBroker(c Config) (*Broker, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	b := newBroker(c)
	if err := load(b.statePath(), &b.state); err != nil {
		return nil, fmt.Errorf("open broker %s: %w", c.Name, err)
	}
	if err := adopt(b.Server); err != nil {
		return nil, err
	}
	return b, nil
}

// serves asks whether the broker answers a metadata request with its own id, and
// listens everywhere: it opens one listener after the other, and ends when it
// cannot open the last of them, having answered at the first.
func (b *Broker) serves(ctx context.Context) error {
	for _, addr := range []string{b.Admin(), b.Client(), b.MirrorListen()} {
		if err := server.Accepts(ctx, addr); err != nil {
			return err
		}
	}
	cl, err := kafka.New(kafka.Config{Brokers: []string{b.Admin()}, ClientID: "breakwater-lab"})
	if err != nil {
		return err
	}
	defer cl.Close()
	id, err := cl.ClusterID(ctx)
	if err == nil && id != b.state.ClusterID {
		err = fmt.Errorf("%s answers as cluster %s, want %s: another server has the port", b.Admin(), id, b.state.ClusterID)
	}
	return err
}

// check makes the folder absolute and refuses what cannot be written into a
// Java properties file with a quoted password.
func (c *Config) check() error {
	if c.Dir == "" || c.Name == "" {
		return errors.New("start a broker: Dir and Name are needed")
	}
	if err := complete(c.Jars); err != nil {
		return fmt.Errorf("start broker %s: %w", c.Name, err)
	}
	for user, password := range c.Users {
		if strings.ContainsAny(user+password, "\"\\\n ;=") || user == "" {
			return fmt.Errorf("start broker %s: user %q: names and passwords are without quotes, spaces, backslashes, ; and =", c.Name, user)
		}
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return fmt.Errorf("start broker %s: %w", c.Name, err)
	}
	if c.Jars, err = filepath.Abs(c.Jars); err != nil {
		return fmt.Errorf("start broker %s: %w", c.Name, err)
	}
	return nil
}

func (b *Broker) statePath() string { return filepath.Join(b.Config.Dir, "broker.json") }

// format writes the cluster id into the storage folder.
func (b *Broker) format(ctx context.Context, conf string) error {
	bin, err := java()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, bin, jvm("", b.Config.Jars, "kafka.tools.StorageTool",
		"format", "--cluster-id", b.state.ClusterID, "--config", conf)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// properties is the broker's configuration. Every internal topic has one
// replica and few partitions, and a group's first member does not wait for others.
// A killed broker may register again when its session is over: 9 s by default.
func (b *Broker) properties() string {
	var users strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.Config.Users)) {
		fmt.Fprintf(&users, " user_%s=%q", name, b.Config.Users[name])
	}
	authorizer := ""
	if !b.Config.Open {
		authorizer = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS"
		for _, name := range b.Config.SuperUsers {
			authorizer += ";User:" + name
		}
		authorizer += "\nallow.everyone.if.no.acl.found=false\n"
	}
	s := b.state
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[4]d
listeners=ADMIN://127.0.0.1:%[1]d,CLIENT://127.0.0.1:%[2]d,MIRROR://127.0.0.1:%[3]d,CONTROLLER://127.0.0.1:%[4]d
advertised.listeners=ADMIN://127.0.0.1:%[1]d,CLIENT://127.0.0.1:%[2]d,MIRROR://%[5]s
listener.security.protocol.map=ADMIN:PLAINTEXT,CLIENT:SASL_PLAINTEXT,MIRROR:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=ADMIN
controller.listener.names=CONTROLLER
log.dirs=%[6]s
sasl.enabled.mechanisms=PLAIN
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required%[7]s;
%[8]sauto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
num.recovery.threads.per.data.dir=1
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=8388608
group.coordinator.threads=1
transaction.abort.timed.out.transaction.cleanup.interval.ms=2000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=4000
`, s.Admin, s.Client, s.Mirror, s.Controller, b.MirrorAddress(), filepath.Join(b.Config.Dir, "data"), users.String(), authorizer)
}

// clusterID makes an id as Kafka does: 16 random bytes in URL-safe base64, never
// starting with a dash, which a command line would take for an option.
func clusterID() string {
	for {
		id := make([]byte, 16)
		rand.Read(id)
		if text := base64.RawURLEncoding.EncodeToString(id); text[0] != '-' {
			return text
		}
	}
}

func load(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func save(path string, from any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
