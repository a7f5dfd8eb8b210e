package estate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"
	"breakwater/internal/witness"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

func TestPreflight(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Brokers()
	def := w.Action("estate.preflight")
	r := w.Request(def, "")
	reg, _ := w.Estate.Region(world.West)
	prove.Action(t, def, r, slices.Concat(faults.Storages(w.Faults), faults.Vaults(w.Faults), faults.Accesses(w.Faults), faults.Regions(w.Faults),
		faults.Connects(faults.Kafka{Connect: reg.Connect.URL, Connector: reg.Connect.Source})))

	set := func(at *string, to string) func() func() {
		return func() func() {
			was := *at
			*at = to
			return func() { *at = was }
		}
	}
	east, _ := w.Estate.Region(world.East)
	for name, tc := range map[string]struct {
		with   string
		change func() (back func())
		say    string
	}{
		"one person cannot open a live gate": {`{"gates":["data-platform"]}`, func() func() { return func() {} }, "1 who may decide"},
		"a gate of an unknown role":          {`{"gates":["commander"]}`, func() func() { return func() {} }, "no such role"},
		"a role that only claims": {"", func() func() {
			w.Estate.Roles[0].Method = estate.Claimed
			return func() { w.Estate.Roles[0].Method = estate.Signed }
		}, "claimed proves nothing"},
		"two names with one key": {"", func() func() {
			m := w.Estate.Roles[0].Members
			was := m[1].Key
			m[1].Key = m[0].Key
			return func() { m[1].Key = was }
		}, "1 who may decide"},
		"nobody is named who replicates": {"", func() func() {
			was := reg.Storage.Replication
			reg.Storage.Replication = nil
			return func() { reg.Storage.Replication = was }
		}, "nobody is named"},
		"storage of a provider without access": {"", func() func() {
			reg.Storage.Provider = "aws"
			return func() { reg.Storage.Provider = "minio" }
		}, "not in this release"},
		"a user that is not there": {"", func() func() {
			a := w.Estate.Groups[0].Access
			was := a.Readers
			a.Readers = append(slices.Clone(was), estate.AccessPrincipal{Region: world.West, Name: "nobody", Credentials: w.User(world.West, "nobody")})
			return func() { a.Readers = was }
		}, "nobody is no user there"},
		"a credential that is not there": {"", func() func() {
			a := w.Estate.Groups[0].Access
			was := a.Readers
			a.Readers = []estate.AccessPrincipal{{Region: world.West, Name: "orders-reader", Credentials: "file:gone"}}
			return func() { a.Readers = was }
		}, "file:gone"},
		"a bucket that is not there": {"", func() func() {
			w.Estate.Buckets[1].In[world.West] = "archive-wset"
			return func() { w.Estate.Buckets[1].In[world.West] = "archive-west" }
		}, "no such bucket"},
		"a topic that is not mirrored": {"", func() func() {
			w.Estate.Groups[0].Topics[0].Topic = "ordres"
			return func() { w.Estate.Groups[0].Topics[0].Topic = "orders" }
		}, "ordres"},
		"a topic that is renamed, and is not there by that name": {"", func() func() {
			reg.Connect.PolicyIdentity = false
			return func() { reg.Connect.PolicyIdentity = true }
		}, "topic " + world.East + ".orders"},
		"a mirror that keeps names, and is said to rename": {"", func() func() {
			reg.Connect.PolicyIdentity = false
			return func() { reg.Connect.PolicyIdentity = true }
		}, "correct identity_policy under connect in the estate"},
		"a connector that Connect does not have": {"", func() func() {
			reg.Connect.Others = []string{"sink-to-lake"}
			return func() { reg.Connect.Others = nil }
		}, "not sink-to-lake"},
		"another alias of the source":       {"", set(&east.Kafka.Alias, "east"), "connector mirror-checkpoint has source.cluster.alias us-east-1, and the estate says east"},
		"another alias of the target":       {"", set(&reg.Kafka.Alias, "west"), "connector mirror-source has target.cluster.alias us-west-2, and the estate says west"},
		"a checkpoint connector for source": {"", set(&reg.Connect.Source, "mirror-checkpoint"), "connector mirror-checkpoint is a org.apache.kafka.connect.mirror.MirrorCheckpointConnector and no MirrorSourceConnector"},
		"a heartbeat for checkpoints":       {"", set(&reg.Connect.Checkpoint, "mirror-heartbeat"), "no MirrorCheckpointConnector: correct checkpoint of connect"},
		"a source for heartbeats":           {"", set(&reg.Connect.Heartbeat, "mirror-source"), "no MirrorHeartbeatConnector: correct heartbeat of connect"},
		"a topic of offsets that is none":   {"", set(&reg.Connect.OffsetsTopic, "mm2-offset"), "there is no topic mm2-offset: write the worker's offset.storage.topic"},
		"a topic of offsets without any":    {"", set(&reg.Connect.OffsetsTopic, "clicks"), "topic clicks has no offset of connector mirror-source, of which the worker knows 2"},
		"a worker of another cluster":       {"", set(&reg.Kafka.ClusterID, "of-last-year"), "is of cluster cluster-us-west-2, and the estate says of-last-year"},
		"a signer that is another": {"", func() func() {
			was := w.Estate.Ledger.Signers
			w.Estate.Ledger.Signers = []string{w.Member("mallory").Key}
			return func() { w.Estate.Ledger.Signers = was }
		}, "add its public key to signers of ledger"},
		"an administrator who is none": {"", func() func() {
			was := reg.Storage.Admin
			reg.Storage.Admin = w.User(world.West, "orders-reader")
			return func() { reg.Storage.Admin = was }
		}, "everybody to be let in or kept out"},
		"another cluster": {"", func() func() {
			reg.Kafka.ClusterID = "of-last-year"
			return func() { reg.Kafka.ClusterID = "cluster-" + world.West }
		}, "of-last-year"},
		"a ledger that is not there": {"", func() func() {
			w.Estate.Ledger.Bucket = "legder"
			return func() { w.Estate.Ledger.Bucket = "ledger" }
		}, "no such bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			back := tc.change()
			obs, err := def.Verify(t.Context(), r, json.RawMessage(tc.with))
			back()
			if err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(prove.Told(prove.OnlyBad(obs)), tc.say) {
				t.Errorf("want a failure that says %q, got %s, %v\n%s", tc.say, action.Worst(obs), err, prove.Told(prove.OnlyBad(obs)))
			}
		})
	}
}

// TestPreflightWitness: a witness that lags behind an objective bounds no loss within it.
func TestPreflightWitness(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Brokers()
	w.Estate.Witness = estate.Witness{Bucket: "lake", Prefix: "_witness"}
	w.Estate.Tiers[0].RPO = estate.Duration(time.Minute)
	j := w.Journal(objectstore.Bind(w.Minio[world.West].Client(t), w.Bucket(world.West)))
	def := w.Action("estate.preflight")
	east, _ := w.Estate.Region(world.East)
	group := w.Estate.Groups[0]
	look := func(run string, at time.Time) {
		t.Helper()
		for _, tb := range group.Tables {
			_, err := j.See(t.Context(), tb.Table, witness.Sighting{Version: 1, Rows: 1, Last: at, Run: run})
			w.Must(err)
		}
	}
	now := time.Now().UTC()
	hour := now.Add(-time.Hour)
	for _, tc := range []struct {
		name   string
		before func()
		outage *time.Time
		silent bool
		want   verdict.Verdict
		say    string
	}{
		{"never seen", func() {}, nil, false, verdict.Fail, ", never"},
		{"seen long ago", func() { look("a", hour) }, nil, false, verdict.Fail, "at " + hour.Format(time.RFC3339)},
		{"seen long ago, and the source is silent for who knows how long", func() {}, nil, true, verdict.Unknown, "no outage_start was given"},
		{"seen before the outage", func() {}, &hour, true, verdict.Pass, ""},
		{"seen now", func() { look("b", now.Add(time.Minute)) }, nil, false, verdict.Pass, ""},
	} {
		tc.before()
		east.Storage.Endpoint = "http://" + w.Address(world.East)
		if tc.silent {
			east.Storage.Endpoint = "http://127.0.0.1:9"
		}
		r := w.Request(def, "")
		r.Run.Groups, r.Run.OutageStart = []string{group.Group}, tc.outage
		obs, err := def.Verify(t.Context(), r, nil)
		w.Must(err)
		looked := false
		for _, o := range obs {
			if !strings.Contains(o.What, "within its RPO") {
				continue
			}
			if looked = true; o.Verdict != tc.want || !strings.Contains(o.Got, tc.say) {
				t.Errorf("%s: %s", tc.name, action.Finding(o))
			}
		}
		if !looked {
			t.Errorf("%s: nobody looked:\n%s", tc.name, prove.Told(obs))
		}
	}
}

// TestPreflightLeavesOut: a table whose commits a catalog decides is named, and is no
// reason to find anything else red.
func TestPreflightLeavesOut(t *testing.T) {
	t.Parallel()
	w := world.New(t)
	w.Brokers()
	w.Estate.Witness = estate.Witness{Bucket: "lake", Prefix: "_witness"}
	w.Estate.Tiers[0].RPO = estate.Duration(time.Hour)
	lake := objectstore.Bind(w.Minio[world.West].Client(t), w.Bucket(world.West))
	g := w.Estate.Groups[0]
	j := w.Journal(lake)
	for _, tb := range g.Tables[1:] {
		_, err := j.See(t.Context(), tb.Table, witness.Sighting{Version: 1, Rows: 1, Last: time.Now().UTC(), Run: "a"})
		w.Must(err)
	}
	out := g.Tables[0]
	_, err := lake.Put(t.Context(), world.Entry(out.Path, 1), []byte(`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged"]}}`))
	w.Must(err)
	def := w.Action("estate.preflight")
	r := w.Request(def, "")
	r.Run.Groups = []string{g.Group}
	obs, err := def.Verify(t.Context(), r, nil)
	w.Must(err)
	if owed := action.Owed(obs); !slices.Equal(owed, []string{"left-out " + out.Table}) {
		t.Errorf("it owes %q:\n%s", owed, prove.Told(prove.OnlyBad(obs)))
	}
	if bad := prove.OnlyBad(obs); len(bad) != 1 || bad[0].Item != out.Table || !strings.Contains(bad[0].Got, "recover it through its catalog") {
		t.Errorf("want the one table alone:\n%s", prove.Told(bad))
	}

	// As the estate says, it owes nothing; and it says where commits are staged, which the
	// estate does not.
	d := &w.Estate.Groups[0].Tables[0]
	d.LogStore = estate.Catalog
	other := g.Tables[1]
	_, err = lake.Put(t.Context(), other.Path+"/_delta_log/.tmp/00000000000000000007.json.8f3a", []byte("{}"))
	w.Must(err)
	obs, err = def.Verify(t.Context(), r, nil)
	w.Must(err)
	if bad := prove.OnlyBad(obs); len(bad) > 0 {
		t.Errorf("what the estate says is no news:\n%s", prove.Told(bad))
	}
	if told := prove.Told(obs); !strings.Contains(told, other.Table+" commits through DynamoDB") || !strings.Contains(told, "write log_store: s3-dynamodb there") || !strings.Contains(told, "version 7, of which the log has no commit, may have been acknowledged") {
		t.Errorf("it does not say what is staged:\n%s", told)
	}
	w.Estate.Groups[0].Tables[1].LogStore = estate.S3DynamoDB
	obs, err = def.Verify(t.Context(), r, nil)
	w.Must(err)
	if told := prove.Told(obs); !strings.Contains(told, "as the estate says (log_store: s3-dynamodb)") || action.Worst(obs) != verdict.Pass {
		t.Errorf("with a log store that is declared:\n%s", told)
	}
}
